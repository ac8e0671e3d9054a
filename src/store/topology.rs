//! Where the server is that holds the lock, at this moment.
//!
//! Under Sentinel and in a cluster another server may be made the primary while the old one still takes
//! writes. So before every command all who have a say are asked, and more than half of them must name the
//! same server. Two majorities share a voice, and no voice goes back to an older primary: so once a standby
//! was sent to a new primary, no leader is sent to the old one any more, and the last lease that was
//! renewed there ends before the standby's wait does. (Quorum intersection: Gifford, "Weighted voting for
//! replicated data", SOSP 1979.)
//!
//! Who has a say is told by those who are asked, each by its id, so that nobody has two votes. Those who agree
//! must be a majority of all that **each of them** knows; and somebody among them must know a group of three or
//! more, or else they must also be more than half of the hosts in the URL: one that was cast out and knows
//! nobody but itself does not speak for the others.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::voice::{MAX_MEMBERS, Member, Question, Voice, Vote};
use crate::endpoint::{RedisAddress, RedisEndpoint, RedisPlace};
use crate::fault::{StoreError, StoreFault};

pub(super) struct Topology {
    endpoint: Arc<RedisEndpoint>,
    place: Place,
}

enum Place {
    Server(RedisAddress),
    Named {
        question: Question,
        /// Those of the URL.
        known: Vec<RedisAddress>,
        voices: Vec<Voice>,
    },
}

impl Topology {
    /// `key` is the one that must be found.
    pub fn new(endpoint: &Arc<RedisEndpoint>, key: &str) -> Self {
        let named = |known: &Vec<RedisAddress>, question| Place::Named {
            question,
            known: known.clone(),
            voices: known.iter().cloned().map(Voice::new).collect(),
        };
        let place = match &endpoint.place {
            RedisPlace::Server(address) => Place::Server(address.clone()),
            RedisPlace::Sentinel { sentinels, master } => {
                let master = master.clone();
                named(sentinels, Question::Sentinel { master })
            }
            RedisPlace::Cluster { seeds } => named(seeds, Question::Cluster { key: key.into() }),
        };
        Self {
            endpoint: Arc::clone(endpoint),
            place,
        }
    }

    pub fn endpoint(&self) -> &Arc<RedisEndpoint> {
        &self.endpoint
    }

    /// Where the primary is.
    ///
    /// # Errors
    /// No majority says so.
    pub async fn locate(&mut self) -> Result<RedisAddress, StoreError> {
        let (question, known, voices) = match &mut self.place {
            Place::Server(address) => return Ok(address.clone()),
            Place::Named {
                question,
                known,
                voices,
            } => (question, known, voices),
        };
        let mut ballot = Ballot::default();
        let mut asked = 0;
        // The URL may not list all: also ask those that they name, and those that these name.
        while asked < voices.len() {
            let asking = voices.get(asked..).unwrap_or_default();
            ask(&self.endpoint, asking, question, known, &mut ballot).await;
            asked = voices.len();
            if ballot.primary(known).is_none() {
                let unheard = ballot.unheard(voices);
                voices.extend(unheard.into_iter().map(Voice::new));
            }
        }
        if !ballot.answers.is_empty() {
            voices.retain(|voice| known.contains(&voice.address) || ballot.of(&voice.address));
        }
        ballot.majority(known)
    }
}

/// What was said, until one server had a majority or nobody was left to ask.
#[derive(Debug, Default)]
struct Ballot {
    /// Who was asked, and what the answer was.
    answers: Vec<(RedisAddress, Vote)>,
    /// Why some could not say.
    errors: Vec<StoreError>,
}

/// Asks them at the same time.
async fn ask(
    endpoint: &Arc<RedisEndpoint>,
    voices: &[Voice],
    question: &Question,
    known: &[RedisAddress],
    ballot: &mut Ballot,
) {
    let mut asking = JoinSet::new();
    for voice in voices {
        let (voice, endpoint, question) = (voice.clone(), Arc::clone(endpoint), question.clone());
        asking.spawn(async move {
            let said = voice.ask(&endpoint, &question).await;
            (voice.address, said)
        });
    }
    while let Some(said) = asking.join_next().await {
        match said {
            Ok((address, Ok(answer))) => ballot.answers.push((address, answer)),
            Ok((_, Err(error))) => ballot.errors.push(error),
            Err(panicked) => ballot
                .errors
                .push(StoreError::nonsense(panicked.to_string())),
        }
        if ballot.primary(known).is_some() {
            // Who is slower need not be heard, and keeps the connection for the next time.
            asking.detach_all();
            return;
        }
    }
}

/// A group of at least this size needs no confirmation by the hosts of the URL.
const MIN_GROUP_MEMBERS: usize = 3;

impl Ballot {
    /// Those who name this primary.
    fn voters<'a>(&'a self, primary: &'a RedisAddress) -> impl Iterator<Item = &'a Vote> {
        let answers = self.answers.iter().map(|(_, answer)| answer);
        answers.filter(move |answer| answer.primary == *primary)
    }

    fn ids<'a>(&'a self, primary: &'a RedisAddress) -> BTreeSet<&'a str> {
        self.voters(primary).map(|it| it.id.as_str()).collect()
    }

    /// How many have a say beside these voters, themselves included.
    fn electorate(&self, primary: &RedisAddress, known: &[RedisAddress]) -> usize {
        let most = self.voters(primary).map(|it| it.members.len()).max();
        let group = most.filter(|most| *most >= MIN_GROUP_MEMBERS);
        group.unwrap_or_else(|| known.len().max(most.unwrap_or(0)))
    }

    fn elects(&self, primary: &RedisAddress, known: &[RedisAddress]) -> bool {
        let ids = self.ids(primary);
        let of_all_it_knows = |voter: &Vote| {
            let agree = |member: &&Member| ids.contains(member.id.as_str());
            2 * voter.members.iter().filter(agree).count() > voter.members.len()
        };
        let in_url = |host: &&RedisAddress| {
            let mut named = self.answers.iter();
            named.any(|(asked, answer)| asked == *host && answer.primary == *primary)
        };
        self.voters(primary).all(of_all_it_knows)
            && (self
                .voters(primary)
                .any(|it| it.members.len() >= MIN_GROUP_MEMBERS)
                || 2 * known.iter().filter(in_url).count() > known.len())
    }

    fn primary(&self, known: &[RedisAddress]) -> Option<&RedisAddress> {
        let mut named: Vec<&RedisAddress> = Vec::new();
        for (_, answer) in &self.answers {
            if !named.contains(&&answer.primary) {
                named.push(&answer.primary);
            }
        }
        let mut named = named.into_iter();
        named.find(|primary| self.elects(primary, known))
    }

    /// Somebody named it as one who has a say.
    fn of(&self, address: &RedisAddress) -> bool {
        let mut members = self.answers.iter().flat_map(|(_, it)| &it.members);
        members.any(|member| member.address == *address)
    }

    /// Where those are who have a say and were not asked yet.
    fn unheard(&self, voices: &[Voice]) -> Vec<RedisAddress> {
        let answered = |id: &str| self.answers.iter().any(|(_, it)| it.id == id);
        let mut addresses: Vec<RedisAddress> = Vec::new();
        for member in self.answers.iter().flat_map(|(_, it)| &it.members) {
            let asked = voices.iter().any(|voice| voice.address == member.address);
            let room = voices.len() + addresses.len() < MAX_MEMBERS;
            if room && !asked && !answered(&member.id) && !addresses.contains(&member.address) {
                addresses.push(member.address.clone());
            }
        }
        addresses
    }

    fn majority(&self, known: &[RedisAddress]) -> Result<RedisAddress, StoreError> {
        if let Some(primary) = self.primary(known) {
            return Ok(primary.clone());
        }
        // Nobody was asked.
        if let Some(error) = self.errors.iter().find(|it| it.fault.waits_for_file()) {
            return Err(error.clone());
        }
        let named = self.answers.iter().map(|(_, answer)| &answer.primary);
        let what = match named.max_by_key(|primary| self.ids(primary).len()) {
            Some(primary) => {
                let (votes, of) = (self.ids(primary).len(), self.electorate(primary, known));
                format!(
                    "only {votes} of {of} name {primary} as the primary, {} must",
                    of / 2 + 1
                )
            }
            None => format!("none of {} names a primary", known.len()),
        };
        // A refusal says more than a timeout.
        let telling = |error: &&StoreError| !error.fault.lost_connection();
        let errors = &self.errors;
        Err(match errors.iter().find(telling).or(errors.first()) {
            Some(error) => StoreError {
                fault: error.fault,
                message: format!("{what}: {}", error.message),
            },
            None => StoreError {
                fault: StoreFault::Topology,
                message: format!("{what}: a failover may be under way"),
            },
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    fn at(host: &str) -> RedisAddress {
        RedisAddress::Tcp {
            host: host.into(),
            port: 1,
        }
    }

    /// `who` names `primary`, and knows itself and `others`, each at an address like its name.
    fn says(who: &str, primary: &str, others: &[&str]) -> (RedisAddress, Vote) {
        let member = |id: &&str| Member {
            id: (*id).into(),
            address: at(id),
        };
        let answer = Vote {
            id: who.into(),
            primary: at(primary),
            members: [&who].into_iter().chain(others).map(member).collect(),
        };
        (at(who), answer)
    }

    fn heard(answers: &[(RedisAddress, Vote)]) -> Ballot {
        Ballot {
            answers: answers.to_vec(),
            errors: Vec::new(),
        }
    }

    #[test]
    fn more_than_half_of_all_must_agree() {
        let known = [at("a"), at("b"), at("c"), at("d")];
        let mut ballot = heard(&[
            says("a", "x", &["b", "c", "d"]),
            says("b", "y", &["a", "c", "d"]),
            says("c", "y", &["a", "b", "d"]),
        ]);
        let error = ballot.majority(&known).unwrap_err();
        assert_eq!(error.fault, StoreFault::Topology);
        assert!(error.message.contains("only 2 of 4 name y:1"), "{error}");
        ballot.errors.push(StoreError::unreachable("gone"));
        ballot
            .errors
            .push(StoreError::new("NOAUTH Authentication required."));
        assert_eq!(ballot.majority(&known).unwrap_err().fault, StoreFault::Auth);
        ballot.answers.push(says("d", "y", &["a", "b", "c"]));
        assert_eq!(ballot.majority(&known), Ok(at("y")));
    }

    /// A node that was cast out, or a sentinel that has just been born, knows itself alone.
    #[test]
    fn nobody_speaks_for_hosts_of_the_url_that_it_does_not_know() {
        let alone = heard(&[says("alien", "alien", &[])]);
        let three = [at("alien"), at("b"), at("c")];
        let error = alone.majority(&three).unwrap_err();
        assert!(error.message.contains("only 1 of 3 name"), "{error}");
        assert_eq!(
            alone.majority(&three[..1]),
            Ok(at("alien")),
            "a group of one"
        );
        // The others outvote it in any order of answers; half of them are enough seeds for all.
        let both = heard(&[
            says("alien", "alien", &[]),
            says("b", "x", &["c", "d"]),
            says("c", "x", &["b", "d"]),
        ]);
        assert_eq!(both.majority(&[at("alien"), at("b")]), Ok(at("x")));
        assert_eq!(both.unheard(&[]), [at("d")]);
    }

    /// One name for all of them: the one that answers names the others.
    #[test]
    fn one_voice_of_three_is_no_majority_however_the_url_names_it() {
        let mut one = heard(&[says("a", "x", &["b", "c"])]);
        let error = one.majority(&[at("service")]).unwrap_err();
        assert!(error.message.contains("only 1 of 3 name"), "{error}");
        let (_, again) = says("a", "x", &["b", "c"]);
        one.answers.push((at("alias"), again));
        assert!(one.majority(&[at("a"), at("alias")]).is_err(), "one vote");
        one.answers.push(says("b", "x", &["a", "c"]));
        assert_eq!(one.majority(&[at("service")]), Ok(at("x")));
    }

    /// Each counts by what it knows: a list of more that only one has holds for it too.
    #[test]
    fn they_are_a_majority_of_all_that_each_of_them_knows() {
        let split = heard(&[
            says("a", "x", &["b", "c"]),
            says("b", "x", &["a", "c", "d", "e"]),
        ]);
        assert!(split.majority(&[at("a"), at("b"), at("c")]).is_err());
    }
}
