//! This instance's name. It is a label and part of every holder id, and may be as long as a pod's name.

/// The longest name, as labels of Kubernetes and metrics take it.
const MAX_BYTES: usize = 63;
/// The longest name of a Kubernetes object.
const MAX_GIVEN_BYTES: usize = 253;

/// What is expected of a name.
pub(super) const EXPECTED: &str = "1 to 253 of A-Z a-z 0-9 . _ -";

/// The name to use, shortened if necessary; `None` if it is not a valid name.
pub(super) fn short(name: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !(1..=MAX_GIVEN_BYTES).contains(&name.len()) || !name.bytes().all(plain) {
        return None;
    }
    if name.len() <= MAX_BYTES {
        return Some(name.to_owned());
    }
    let hash = format!("-{:016x}", hash(name));
    let beginning = name.get(..MAX_BYTES - hash.len())?;
    Some(format!(
        "{}{hash}",
        beginning.trim_end_matches(['.', '_', '-'])
    ))
}

/// FNV-1a: the same in every version and on every machine.
/// <http://www.isthe.com/chongo/tech/comp/fnv/>
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_shortened_and_stays_its_own() {
        assert_eq!(short("miner-0").as_deref(), Some("miner-0"));
        let longest = "a".repeat(63);
        assert_eq!(short(&longest), Some(longest));
        assert_eq!(hash("a"), 0xaf63_dc4c_8601_ec8c);
        let of = |ordinal: u32| short(&format!("{}-{ordinal}", "long-name-of-a-set".repeat(13)));
        let names: std::collections::BTreeSet<_> = (0..1000).map(|it| of(it).unwrap()).collect();
        assert_eq!(names.len(), 1000);
        for name in names {
            assert!(name.len() <= 63 && name.starts_with("long-name-of-a-setlong-name"));
            assert_eq!(short(&name), Some(name), "it is a name itself");
        }
        assert!(short(&"a".repeat(253)).is_some());
        for bad in ["", "a b", "ä", &"a".repeat(254)] {
            assert_eq!(short(bad), None, "{bad}");
        }
    }
}
