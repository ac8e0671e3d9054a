//! What agents tell each other on the events channel: `begun`, `renewed` or `released`, holder and token.

use super::view::{Record, Token};

/// An event of this lock, as somebody told it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Announcement {
    pub happened: Happened,
    pub holder: String,
    pub token: Token,
    /// With a release, unless somebody else held the lock by then.
    pub basis: Option<Basis>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Happened {
    Begun,
    Renewed,
    Released,
}

/// What the next begin is judged on, as a release tells it: generation and record, as one text and as that text reads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Basis {
    pub judged: String,
    pub generation: String,
    pub record: Record,
}

impl Announcement {
    /// It leaves the next term to somebody else than `holder`.
    pub(super) fn names_another(&self, holder: &str) -> bool {
        let successor = self.basis.as_ref().map(|it| &*it.record.successor);
        successor.is_some_and(|it| !it.is_empty() && it != holder)
    }

    /// `basis` reads what follows the token. In the other events that is for later versions.
    #[must_use]
    pub fn parse(message: &str, basis: impl Fn(&str) -> Option<Basis>) -> Option<Self> {
        let mut words = message.splitn(4, ' ');
        let happened = match words.next()? {
            "begun" => Happened::Begun,
            "renewed" => Happened::Renewed,
            "released" => Happened::Released,
            _ => return None,
        };
        let holder = words.next().filter(|holder| !holder.is_empty())?;
        let token = words.next()?.parse().ok()?;
        let rest = words.next().filter(|_| happened == Happened::Released);
        Some(Self {
            happened,
            holder: holder.to_owned(),
            token,
            basis: rest.and_then(basis),
        })
    }
}
