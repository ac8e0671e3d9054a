//! INFO MEMORY as numbers, and what follows from them.

use super::info::{InfoError, field, number};

/// The policy of a server that does not tell one: it has none.
const NO_EVICTION: &str = "noeviction";
const LONGEST_POLICY: usize = 40;

/// One reading of INFO MEMORY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryReading {
    /// `used_memory`, in bytes.
    pub used_bytes: u64,
    /// `maxmemory`, in bytes; 0: no limit.
    pub max_bytes: u64,
    /// `mem_not_counted_for_evict`, in bytes: buffers that do not count against the limit.
    pub not_counted_bytes: u64,
    /// `maxmemory_policy`.
    pub policy: String,
}

impl MemoryReading {
    /// # Errors
    /// `used_memory` is missing, or a number does not parse.
    pub fn parse(info: &str) -> Result<Self, InfoError> {
        let policy = field(info, "maxmemory_policy").unwrap_or(NO_EVICTION);
        Ok(Self {
            used_bytes: number(info, "used_memory")?.ok_or(InfoError::Missing("used_memory"))?,
            max_bytes: number(info, "maxmemory")?.unwrap_or(0),
            not_counted_bytes: number(info, "mem_not_counted_for_evict")?.unwrap_or(0),
            policy: policy.chars().take(LONGEST_POLICY).collect(),
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

    /// Redis counts itself out of memory: what counts is above the limit.
    #[must_use]
    pub fn out_of_memory(&self) -> bool {
        let counted = self.used_bytes.saturating_sub(self.not_counted_bytes);
        self.max_bytes > 0 && counted > self.max_bytes
    }

    /// Redis may throw keys away to make room.
    #[must_use]
    pub fn evicting(&self) -> bool {
        self.max_bytes > 0 && self.policy != NO_EVICTION
    }

    /// Usage is above `ratio`; never without a limit.
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
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*", used in ".*", max in proptest::prelude::any::<u64>()) {
            let _ = MemoryReading::parse(&text);
            let _ = MemoryReading::parse(&format!("used_memory:{used}\r\nmaxmemory:{max}\r\n"));
        }
    }
}
