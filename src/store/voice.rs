//! A server that can say where the primary is: a sentinel, or a node of a cluster.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisResult, Value};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::dial::{Credentials, dial, on_open_connection};
use super::error::store_error;
use crate::endpoint::{RedisAddress, RedisEndpoint};
use crate::fault::StoreError;

/// More than any deployment that elects by asking all of them should have.
pub(super) const MAX_MEMBERS: usize = 256;

/// A sentinel or node for which the vote did not wait keeps its connection if it answers within this time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Clones share the connection.
#[derive(Clone)]
pub(super) struct Voice {
    pub address: RedisAddress,
    connection: Arc<Mutex<Option<MultiplexedConnection>>>,
}

/// What one of them says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Vote {
    /// The voter's id: the same at each of its addresses.
    pub id: String,
    pub primary: RedisAddress,
    /// All who have a say, as far as it knows, itself included.
    pub members: Vec<Member>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub id: String,
    pub address: RedisAddress,
}

#[derive(Debug, Clone)]
pub(super) enum Question {
    Sentinel { master: String },
    Cluster { key: String },
}

impl Voice {
    pub fn new(address: RedisAddress) -> Self {
        Self {
            address,
            connection: Arc::default(),
        }
    }

    /// Asks on the connection there is, or on a new one.
    ///
    /// # Errors
    /// It cannot say. Then it has no connection any more.
    pub async fn ask(
        &self,
        endpoint: &Arc<RedisEndpoint>,
        question: &Question,
    ) -> Result<Vote, StoreError> {
        let asked = timeout(ANSWER_TIMEOUT, self.ask_patiently(endpoint, question)).await;
        asked.unwrap_or_else(|_| {
            let late = format!("{}: no answer within {ANSWER_TIMEOUT:.0?}", self.address);
            Err(StoreError::timed_out(late))
        })
    }

    async fn ask_patiently(
        &self,
        endpoint: &Arc<RedisEndpoint>,
        question: &Question,
    ) -> Result<Vote, StoreError> {
        let address = &self.address;
        let at = |error| {
            let error = store_error(error);
            // It is about none of them.
            if error.fault.waits_for_file() {
                return error;
            }
            StoreError {
                message: format!("{address}: {}", error.message),
                ..error
            }
        };
        let credentials = match question {
            Question::Sentinel { .. } => Credentials::Sentinel,
            Question::Cluster { .. } => Credentials::Redis,
        };
        let mut kept = self.connection.lock().await;
        let ask = |mut connection, _| async move {
            match question {
                Question::Sentinel { master } => primary_of(&mut connection, master, address).await,
                Question::Cluster { key } => owner_of(&mut connection, key, address).await,
            }
        };
        let dial = dial(endpoint, address, credentials);
        let (connection, answer) = on_open_connection(kept.take(), dial, ask).await;
        let answer = answer.map_err(at)?.ok_or_else(|| match question {
            Question::Sentinel { master } => StoreError::nonsense(format!(
                "the sentinel {address} knows no primary called {master}"
            )),
            Question::Cluster { .. } => StoreError::new(format!(
                "CLUSTERDOWN the node {address} knows no owner of the lock's slot"
            )),
        })?;
        *kept = connection;
        Ok(answer)
    }
}

/// <https://redis.io/docs/latest/develop/reference/sentinel-clients/>
async fn primary_of(
    sentinel: &mut MultiplexedConnection,
    master: &str,
    from: &RedisAddress,
) -> RedisResult<Option<Vote>> {
    type Said = (Option<(String, u16)>, String, Vec<HashMap<String, String>>);
    let mut ask = redis::pipe();
    ask.cmd("SENTINEL")
        .arg("get-master-addr-by-name")
        .arg(master);
    ask.cmd("SENTINEL").arg("myid");
    ask.cmd("SENTINEL").arg("sentinels").arg(master);
    let (place, id, others): Said = match ask.query_async(sentinel).await {
        Err(error) if error.to_string().contains("No such master") => return Ok(None),
        said => said?,
    };
    Ok(place.and_then(|(host, port)| {
        let others = others.iter().map(|other| sentinel_in(other, from));
        let itself = Member {
            id: id.clone(),
            address: from.clone(),
        };
        let members: Option<Vec<_>> = [Some(itself)].into_iter().chain(others).collect();
        let members = members.filter(|members| members.len() <= MAX_MEMBERS);
        members.map(|members| Vote {
            id,
            primary: named(&host, port, from),
            members,
        })
    }))
}

fn sentinel_in(said: &HashMap<String, String>, from: &RedisAddress) -> Option<Member> {
    Some(Member {
        id: said.get("runid")?.clone(),
        address: named(said.get("ip")?, said.get("port")?.parse().ok()?, from),
    })
}

async fn owner_of(
    node: &mut MultiplexedConnection,
    key: &str,
    from: &RedisAddress,
) -> RedisResult<Option<Vote>> {
    let mut ask = redis::pipe();
    ask.cmd("CLUSTER").arg("KEYSLOT").arg(key);
    ask.cmd("CLUSTER").arg("NODES");
    let mut shards = redis::cmd("CLUSTER");
    shards.arg("SHARDS");
    let mut other = node.clone();
    let (said, shards) = tokio::join!(ask.query_async(node), shards.query_async(&mut other));
    let (slot, nodes): (u16, String) = said?;
    let endpoints = match shards {
        Ok(shards) => read_shards(&shards),
        Err(error) if error.is_io_error() => return Err(error),
        // Redis 6.2 knows no such command, and no other name for a node than its IP address.
        Err(_) => Endpoints::new(),
    };
    Ok(read_nodes(&nodes, slot, from, &endpoints))
}

/// By a node's id, the host by which it wants to be reached (`cluster-preferred-endpoint-type`): a name, an address, or
/// nothing, which stands for the host that was asked.
type Endpoints = HashMap<String, String>;

/// Shards, each with nodes, each with fields. What cannot be read is left out: then the IP address must do.
/// <https://redis.io/docs/latest/commands/cluster-shards/>
fn read_shards(reply: &Value) -> Endpoints {
    let nodes_of = |shard: &Value| {
        let nodes = field(shard, "nodes");
        nodes
            .and_then(Value::as_sequence)
            .unwrap_or_default()
            .to_vec()
    };
    let shards = reply.as_sequence().unwrap_or_default();
    let nodes = shards.iter().flat_map(nodes_of);
    nodes
        .filter_map(|node| {
            let text = |value: &Value| String::from_redis_value_ref(value).ok();
            let endpoint = match field(&node, "endpoint")? {
                Value::Nil => String::new(),
                endpoint => text(endpoint)?,
            };
            // It prefers a name and has none.
            if endpoint == "?" {
                return None;
            }
            Some((text(field(&node, "id")?)?, endpoint))
        })
        .collect()
}

/// The value behind a name in a list of names and values.
fn field<'a>(fields: &'a Value, name: &str) -> Option<&'a Value> {
    let mut fields = fields.as_sequence()?.chunks_exact(2);
    fields.find_map(|pair| match pair {
        [Value::BulkString(it), value] if it == name.as_bytes() => Some(value),
        [Value::SimpleString(it), value] if it == name => Some(value),
        _ => None,
    })
}

/// One line per node: id, address, flags, its primary, ping, pong, epoch, link, slots.
/// <https://redis.io/docs/latest/commands/cluster-nodes/>
fn read_nodes(text: &str, slot: u16, from: &RedisAddress, endpoints: &Endpoints) -> Option<Vote> {
    let (mut itself, mut primary) = (None, None);
    let mut members = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [id, place, flags, _, _, _, _, _, slots @ ..] = words.as_slice() else {
            return None;
        };
        let has = |flag: &str| flags.split(',').any(|it| it == flag);
        if has("noaddr") || has("handshake") {
            continue;
        }
        // `host:port@bus`, and a host name behind a comma.
        let (place, _) = place.split_once('@')?;
        let (ip, port) = place.rsplit_once(':')?;
        let host = endpoints.get(*id).map_or(ip, String::as_str);
        let address = named(host, port.parse().ok()?, from);
        let id = (*id).to_owned();
        if has("myself") {
            itself = Some(id.clone());
        }
        if has("master") && slots.iter().any(|range| holds(range, slot)) {
            primary = Some(address.clone());
        }
        members.push(Member { id, address });
    }
    (members.len() <= MAX_MEMBERS).then_some(Vote {
        id: itself?,
        primary: primary?,
        members,
    })
}

/// `7`, `0-5460`; one that is on its way in or out stands in brackets and is still where it was.
fn holds(range: &str, slot: u16) -> bool {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let number = |text: &str| text.parse::<u16>().ok();
    number(first).is_some_and(|first| first <= slot)
        && number(last).is_some_and(|last| slot <= last)
}

/// A node that does not know its own host leaves it out.
fn named(host: &str, port: u16, from: &RedisAddress) -> RedisAddress {
    let host = match (host, from) {
        ("" | "?", RedisAddress::Tcp { host, .. }) => host,
        (host, _) => host.trim_matches(['[', ']']),
    };
    RedisAddress::Tcp {
        host: host.into(),
        port,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> RedisAddress {
        RedisAddress::Tcp {
            host: host.into(),
            port,
        }
    }

    #[test]
    fn the_owner_of_a_slot_is_the_primary_that_names_it() {
        let nodes = "\
a 10.0.0.1:6379@16379,one.example master,fail - 1 2 1 disconnected 0-99
b :6380@16380 myself,master - 0 0 2 connected 100-150 160 [170-<-a]
c ::1:6381@16381 slave b 0 1 2 connected
d :0@0 slave,noaddr b 0 1 2 disconnected
";
        let asked = at("asked", 6380);
        let answer = read_nodes(nodes, 160, &asked, &Endpoints::new()).unwrap();
        assert_eq!(answer.primary, asked, "it does not know its name");
        assert_eq!(answer.id, "b");
        let places = [
            ("a", at("10.0.0.1", 6379)),
            ("b", asked.clone()),
            ("c", at("::1", 6381)),
        ];
        let members = places.map(|(id, address)| Member {
            id: id.into(),
            address,
        });
        assert_eq!(answer.members, members, "a failed node still has a say");
        let first = read_nodes(nodes, 99, &asked, &Endpoints::new()).unwrap();
        assert_eq!(first.primary, at("10.0.0.1", 6379));
        for slot in [159, 170, 300] {
            let found = read_nodes(nodes, slot, &asked, &Endpoints::new());
            assert_eq!(found, None, "{slot}");
        }
        let crowd = nodes.repeat(100);
        let found = read_nodes(&crowd, 160, &asked, &Endpoints::new());
        assert_eq!(found, None, "too many to ask");
        for nonsense in ["nonsense", "a b c d e f g h", "a x:y@z master - 0 0 0 c 1"] {
            assert_eq!(read_nodes(nonsense, 1, &asked, &Endpoints::new()), None);
        }
    }

    fn shards(nodes: &[(&str, Value)]) -> Value {
        let text = |it: &str| Value::BulkString(it.into());
        let node = |(id, endpoint): &(&str, Value)| {
            let pairs = [
                ("id", text(id)),
                ("port", Value::Int(1)),
                ("endpoint", endpoint.clone()),
            ];
            let flat = pairs
                .into_iter()
                .flat_map(|(name, value)| [text(name), value]);
            Value::Array(flat.collect())
        };
        let nodes = Value::Array(nodes.iter().map(node).collect());
        let shard = vec![text("slots"), Value::Array(vec![]), text("nodes"), nodes];
        Value::Array(vec![Value::Array(shard)])
    }

    #[test]
    fn a_node_is_reached_by_the_name_that_it_prefers() {
        let nodes = "\
a 10.0.0.1:6379@16379,one.example master - 1 2 1 connected 0-99
b 10.0.0.2:6380@16380 myself,master - 0 0 2 connected 100-150
c 10.0.0.3:6381@16381 slave b 0 1 2 connected
";
        let endpoints = read_shards(&shards(&[
            ("a", Value::BulkString("one.example".into())),
            ("b", Value::Nil),
            ("c", Value::BulkString("?".into())),
            ("d", Value::BulkString("two.example".into())),
        ]));
        let asked = at("asked", 1);
        let primary = |slot| read_nodes(nodes, slot, &asked, &endpoints).unwrap().primary;
        assert_eq!(primary(99), at("one.example", 6379));
        assert_eq!(primary(100), at("asked", 6380), "it does not say by which");
        let members = read_nodes(nodes, 1, &asked, &endpoints).unwrap().members;
        assert_eq!(members[2].address, at("10.0.0.3", 6381), "it has no name");
        for nonsense in [Value::Nil, Value::Int(7), Value::Array(vec![Value::Nil])] {
            assert_eq!(read_shards(&nonsense), Endpoints::new());
        }
    }

    proptest::proptest! {
        #[test]
        fn no_list_of_nodes_makes_it_panic(text in "([a-z0-9 :@,.\\-\\[\\]\n]|master| 1 2 3 4 ){0,40}", slot: u16) {
            let _ = read_nodes(&text, slot, &at("asked", 1), &Endpoints::new());
        }
    }
}
