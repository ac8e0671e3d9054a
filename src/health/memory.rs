//! INFO MEMORY as numbers, and what follows from them.

use super::info::{InfoError, field, number, shortened};

/// The policy of a server that does not report one: such a server has none.
const NO_EVICTION: &str = "noeviction";

/// One reading of INFO MEMORY.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MemoryReading {
    /// `used_memory`, in bytes.
    pub used_bytes: u64,
    /// `maxmemory`, in bytes; 0: no limit.
    pub max_bytes: u64,
    /// `mem_not_counted_for_evict`, in bytes: buffers that do not count against the limit.
    pub not_counted_bytes: u64,
    /// `maxmemory_policy`, as the server names it: `noeviction`, `allkeys-lru`, …
    pub policy: String,
}

// === impl MemoryReading ===

impl MemoryReading {
    /// Reads INFO MEMORY. A server that reports no limit, policy or buffers has none: managed services leave them out.
    ///
    /// # Errors
    /// `used_memory` is missing, or a number does not parse.
    pub fn parse(info: &str) -> Result<Self, InfoError> {
        let policy = field(info, "maxmemory_policy").unwrap_or(NO_EVICTION);
        Ok(Self {
            used_bytes: number(info, "used_memory")?.ok_or(InfoError::Missing("used_memory"))?,
            max_bytes: number(info, "maxmemory")?.unwrap_or(0),
            not_counted_bytes: number(info, "mem_not_counted_for_evict")?.unwrap_or(0),
            policy: shortened(policy),
        })
    }

    /// used / max; −1 without a limit.
    #[must_use]
    #[allow(
        clippy::cast_precision_loss,
        reason = "a ratio of bytes needs no last digit"
    )]
    pub fn usage_ratio(&self) -> f64 {
        match self.max_bytes {
            0 => -1.0,
            max => self.used_bytes as f64 / max as f64,
        }
    }

    /// Whether Redis counts itself out of memory: the memory that counts is above the limit.
    #[must_use]
    pub fn out_of_memory(&self) -> bool {
        let counted = self.used_bytes.saturating_sub(self.not_counted_bytes);
        self.max_bytes > 0 && counted > self.max_bytes
    }

    /// Whether Redis may evict keys to make room: a limit is set, and the policy is not `noeviction`.
    #[must_use]
    pub fn evicting(&self) -> bool {
        self.max_bytes > 0 && self.policy != NO_EVICTION
    }

    /// Whether usage is above `ratio`; never without a limit.
    #[must_use]
    pub fn above(&self, ratio: f64) -> bool {
        self.usage_ratio() > ratio
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(used: u64, not_counted: u64, max: u64, policy: &str) -> MemoryReading {
        MemoryReading::parse(&format!(
            "# Memory\r\nused_memory:{used}\r\nmaxmemory:{max}\r\nmaxmemory_policy:{policy}\r\n\
             mem_not_counted_for_evict:{not_counted}\r\n"
        ))
        .unwrap()
    }

    #[test]
    fn the_ratio_is_minus_one_without_a_limit() {
        assert!((reading(50, 0, 100, "noeviction").usage_ratio() - 0.5).abs() < 1e-9);
        assert!((reading(50, 0, 0, "noeviction").usage_ratio() + 1.0).abs() < 1e-9);
        assert!(reading(91, 0, 100, "noeviction").above(0.9));
        assert!(!reading(90, 0, 100, "noeviction").above(0.9));
        assert!(!reading(90, 0, 0, "noeviction").above(0.9));
    }

    #[test]
    fn out_of_memory_is_told_without_the_buffers() {
        assert!(reading(101, 0, 100, "noeviction").out_of_memory());
        assert!(!reading(101, 1, 100, "noeviction").out_of_memory());
        assert!(!reading(101, 0, 0, "noeviction").out_of_memory());
        assert!(!reading(1, 9, 100, "noeviction").out_of_memory());
    }

    #[test]
    fn a_policy_evicts_only_under_a_limit() {
        assert!(reading(1, 0, 100, "volatile-lru").evicting());
        assert!(reading(1, 0, 100, "allkeys-random").evicting());
        assert!(!reading(1, 0, 0, "allkeys-lru").evicting());
        assert!(!reading(1, 0, 100, "noeviction").evicting());
    }

    #[test]
    fn nonsense_is_an_error_that_names_the_field() {
        for text in ["", "garbage", "maxmemory:1\r\n", "used_memory_human:1M\r\n"] {
            assert_eq!(
                MemoryReading::parse(text),
                Err(InfoError::Missing("used_memory")),
                "{text}"
            );
        }
        for value in ["", "-1", "1e9", "x", "99999999999999999999999"] {
            let error = MemoryReading::parse(&format!("used_memory:{value}\r\n")).unwrap_err();
            assert!(error.to_string().contains("used_memory"), "{error}");
        }
        let error = MemoryReading::parse("used_memory:1\nmaxmemory:lots\n").unwrap_err();
        assert!(error.to_string().contains("maxmemory:lots"), "{error}");
        let long = format!("used_memory:{}\n", "9".repeat(100_000));
        let error = MemoryReading::parse(&long).unwrap_err().to_string();
        assert!(
            error.len() < 120 && error.contains("used_memory:999"),
            "{error}"
        );
    }

    #[test]
    fn what_a_server_does_not_tell_it_does_not_have() {
        let reading = MemoryReading::parse("used_memory:7").unwrap();
        assert_eq!((reading.used_bytes, reading.max_bytes), (7, 0));
        assert_eq!(
            (reading.not_counted_bytes, &*reading.policy),
            (0, "noeviction")
        );
        assert!(!reading.out_of_memory() && !reading.evicting() && !reading.above(0.0));
    }

    #[test]
    fn the_largest_numbers_are_numbers() {
        let most = reading(u64::MAX, 0, u64::MAX, "noeviction");
        assert!(!most.out_of_memory() && (most.usage_ratio() - 1.0).abs() < 1e-9);
        assert!(reading(u64::MAX, 0, 1, "noeviction").out_of_memory());
        assert!(!reading(0, u64::MAX, 1, "noeviction").out_of_memory());
    }

    /// Dragonfly's INFO MEMORY has a limit and no `mem_not_counted_for_evict`.
    #[test]
    fn an_engine_may_tell_less() {
        let text = "# Memory\r\nused_memory:2622669152\r\nused_memory_human:2.44GiB\r\nmaxmemory:2147483648\r\n\
                    maxmemory_human:2.00GiB\r\ncache_mode:store\r\nmaxmemory_policy:noeviction\r\n";
        let reading = MemoryReading::parse(text).unwrap();
        assert!(reading.out_of_memory() && reading.above(1.2));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*", used in ".*", max in proptest::prelude::any::<u64>()) {
            let _ = MemoryReading::parse(&text);
            let _ = MemoryReading::parse(&format!("used_memory:{used}\r\nmaxmemory:{max}\r\n"));
        }
    }
}
