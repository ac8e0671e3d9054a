//! Generation and record as one text, as `judged()` in `view.lua` writes it: `GENERATION LENGTH:FIELD LENGTH:FIELD …`, with
//! a `-` for a field that is not there.

use crate::election::{Basis, RecordFields, RecordSeen};

/// How many fields a record has: those of `FIELDS` in `view.lua`.
pub(super) const FIELDS: usize = 11;

/// Such a text, by which a begin is judged. A script compares it with its own.
pub(super) fn write(generation: &str, fields: impl IntoIterator<Item = Option<String>>) -> String {
    let told = |field: Option<String>| match field {
        Some(text) => format!("{}:{text}", text.len()),
        None => "-".to_owned(),
    };
    let generation = std::iter::once(generation.to_owned());
    let words: Vec<_> = generation.chain(fields.into_iter().map(told)).collect();
    words.join(" ")
}

/// The fields that are read, of all in their order.
pub(super) fn record(fields: [Option<&str>; FIELDS]) -> RecordSeen {
    let [
        schema,
        holder,
        token,
        _deadline,
        ttl,
        released,
        generation,
        successor,
        _hold_off,
        _process,
        _attempt,
    ] = fields;
    RecordSeen::parse(RecordFields {
        schema,
        holder,
        token,
        ttl,
        released,
        generation,
        successor,
    })
}

/// Reads such a text; anybody may have published it.
pub(super) fn read(judged: &str) -> Option<Basis> {
    let (generation, mut rest) = judged.split_once(' ')?;
    let mut fields = [None; FIELDS];
    for (number, field) in fields.iter_mut().enumerate() {
        if number > 0 {
            rest = rest.strip_prefix(' ')?;
        }
        if let Some(after) = rest.strip_prefix('-') {
            rest = after;
            continue;
        }
        let (length, after) = rest.split_once(':')?;
        let (text, after) = after.split_at_checked(length.parse().ok()?)?;
        (*field, rest) = (Some(text), after);
    }
    let record = record(fields).known()?.clone();
    rest.is_empty().then(|| Basis {
        judged: judged.to_owned(),
        generation: generation.to_owned(),
        record,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const JUDGED: &str =
        "r:p 1:1 9:my host-1 2:50 - 5:30000 1:1 3:r:p 0: 1:0 16:00000000000000aa 2:16";

    #[test]
    fn what_a_release_tells_is_read_as_it_was_written() {
        let basis = read(JUDGED).expect("a basis");
        assert_eq!((&*basis.judged, &*basis.generation), (JUDGED, "r:p"));
        let fields = [
            Some("1"),
            Some("my host-1"),
            Some("50"),
            None,
            Some("30000"),
            Some("1"),
            Some("r:p"),
            Some(""),
            Some("0"),
            Some("00000000000000aa"),
            Some("16"),
        ];
        assert_eq!(write("r:p", fields.map(|it| it.map(str::to_owned))), JUDGED);
        let record = basis.record;
        assert_eq!((&*record.holder, record.token), ("my host-1", 50));
        assert!(record.released && record.generation == "r:p" && record.successor.is_empty());
    }

    #[test]
    fn what_is_not_wholly_such_a_text_is_none() {
        for end in 0..JUDGED.len() {
            assert_eq!(read(&JUDGED[..end]), None, "{}", &JUDGED[..end]);
        }
        for other in [
            format!("{JUDGED} 1:1"),
            JUDGED.replace("1:1 9", "1:2 9"),
            JUDGED.replace("9:", "99999999999999999999:"),
            JUDGED.replace("9:my host-1", "3:ä-1"),
            "r:p - - - - - - - - - - -".into(),
        ] {
            assert_eq!(read(&other), None, "{other}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*", fields in "(g)( -| [0-9]{1,20}:.{0,9}){0,12}") {
            let _ = read(&text);
            let _ = read(&fields);
        }
    }
}
