//! Where the server is that holds the lock, at this moment.
//!
//! Under Sentinel and in a cluster another server may be made the primary while the old one still takes
//! writes. So before every command all who have a say are asked, and more than half of them must name the
//! same server. Two majorities share a voice, and no voice goes back to an older primary: so once a standby
//! was sent to a new primary, no leader is sent to the old one any more, and the last lease that was
//! renewed there ends before the standby's wait does. (Quorum intersection: Gifford, "Weighted voting for
//! replicated data", SOSP 1979.)

use std::sync::Arc;

use tokio::task::JoinSet;

use super::voice::{Answer, Question, Voice};
use crate::config::{RedisAddress, RedisEndpoint, RedisPlace};
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
        let mut heard = ask(&self.endpoint, voices, question).await;
        // The nodes of a cluster know who they are; those of the URL need not be all.
        let members = heard.members();
        if !members.is_empty() && !same(&members, voices) {
            meet(voices, members);
            heard = ask(&self.endpoint, voices, question).await;
        }
        if heard.nobody() && !same(known, voices) {
            // They may all have moved.
            meet(voices, known.clone());
        }
        heard.majority()
    }
}

fn same(addresses: &[RedisAddress], voices: &[Voice]) -> bool {
    addresses.len() == voices.len()
        && voices
            .iter()
            .all(|voice| addresses.contains(&voice.address))
}

/// From now on these are asked; who was asked before keeps the connection.
fn meet(voices: &mut Vec<Voice>, members: Vec<RedisAddress>) {
    let mut before = std::mem::take(voices);
    voices.extend(members.into_iter().map(|address| {
        let met = before.iter().position(|voice| voice.address == address);
        met.map_or_else(|| Voice::new(address), |at| before.swap_remove(at))
    }));
}

/// What was said, until one server had a majority or nobody was left to ask.
#[derive(Debug, Default)]
struct Heard {
    asked: usize,
    answers: Vec<Answer>,
    /// Why some could not say.
    errors: Vec<StoreError>,
}

/// Asks all of them at the same time.
async fn ask(endpoint: &Arc<RedisEndpoint>, voices: &mut [Voice], question: &Question) -> Heard {
    let mut heard = Heard {
        asked: voices.len(),
        ..Heard::default()
    };
    let mut asking = JoinSet::new();
    for (index, voice) in voices.iter_mut().enumerate() {
        // Whoever does not answer in time keeps no connection.
        let mut asked = Voice::new(voice.address.clone());
        asked.connection = voice.connection.take();
        let (endpoint, question) = (Arc::clone(endpoint), question.clone());
        asking.spawn(async move {
            let said = asked.ask(&endpoint, &question).await;
            (index, asked, said)
        });
    }
    while let Some(said) = asking.join_next().await {
        match said {
            Ok((index, asked, said)) => {
                if let Some(voice) = voices.get_mut(index) {
                    *voice = asked;
                }
                match said {
                    Ok(answer) => heard.answers.push(answer),
                    Err(error) => heard.errors.push(error),
                }
            }
            Err(panicked) => heard
                .errors
                .push(StoreError::nonsense(panicked.to_string())),
        }
        if heard.leading().1 >= heard.needed() {
            break;
        }
    }
    heard
}

impl Heard {
    fn needed(&self) -> usize {
        self.asked / 2 + 1
    }

    fn nobody(&self) -> bool {
        self.answers.is_empty()
    }

    /// Who has a say, by the first who answered.
    fn members(&self) -> Vec<RedisAddress> {
        let first = self.answers.first();
        first.map_or_else(Vec::new, |answer| answer.members.clone())
    }

    fn leading(&self) -> (Option<&RedisAddress>, usize) {
        let votes = |primary: &RedisAddress| {
            let for_it = |answer: &&Answer| answer.primary == *primary;
            self.answers.iter().filter(for_it).count()
        };
        let named = self.answers.iter().map(|answer| &answer.primary);
        let most = named.max_by_key(|primary| votes(primary));
        (most, most.map_or(0, votes))
    }

    fn majority(&self) -> Result<RedisAddress, StoreError> {
        let (asked, needed) = (self.asked, self.needed());
        let what = match self.leading() {
            (Some(primary), votes) if votes >= needed => return Ok(primary.clone()),
            (Some(primary), votes) => {
                format!("only {votes} of {asked} name {primary} as the primary, {needed} must")
            }
            (None, _) => format!("none of {asked} names a primary"),
        };
        // Whoever refuses tells more than whoever is silent.
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

    fn names(host: &str) -> Answer {
        Answer {
            primary: at(host),
            members: Vec::new(),
        }
    }

    #[test]
    fn more_than_half_of_all_must_agree() {
        let mut heard = Heard {
            asked: 4,
            answers: vec![names("a"), names("b"), names("b")],
            errors: Vec::new(),
        };
        let error = heard.majority().unwrap_err();
        assert_eq!(error.fault, StoreFault::Topology);
        assert!(error.message.contains("only 2 of 4 name b:1"), "{error}");
        heard.errors.push(StoreError::unreachable("gone"));
        heard
            .errors
            .push(StoreError::new("NOAUTH Authentication required."));
        assert_eq!(heard.majority().unwrap_err().fault, StoreFault::Auth);
        heard.answers.push(names("b"));
        assert_eq!(heard.majority(), Ok(at("b")));
    }

    #[test]
    fn the_members_of_a_cluster_are_asked_as_they_are_now() {
        let mut voices: Vec<_> = [at("a"), at("b")].into_iter().map(Voice::new).collect();
        assert!(same(&[at("b"), at("a")], &voices));
        meet(&mut voices, vec![at("b"), at("c"), at("d")]);
        assert!(same(&[at("b"), at("c"), at("d")], &voices));
        assert!(!same(&[at("b"), at("c")], &voices));
    }
}
