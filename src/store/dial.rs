//! One connection to one server.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::io::tcp::TcpSettings;
use redis::io::tcp::socket2::TcpKeepalive;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, RedisError, RedisResult, ServerErrorKind,
};

use super::files::LoadedFiles;
use super::pushes::{Pushes, pushes};
use crate::endpoint::{RedisAddress, RedisEndpoint, Secret};

/// A peer that vanished without a word (its host died, a NAT forgot the connection) is found by the kernel's keepalive,
/// within `KEEPALIVE_IDLE` and `USER_TIMEOUT`, so that the next command need not find it by waiting for its timeout. It
/// costs a packet for every `KEEPALIVE_IDLE` of silence, which also keeps a NAT from forgetting; it costs Redis no command.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(3);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
/// How long data or keepalive probes may stay unacknowledged before the kernel reports the connection dead.
const USER_TIMEOUT: Duration = Duration::from_secs(4);

/// Which login to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Credentials {
    /// Of a Redis server.
    Redis,
    /// Of a sentinel.
    Sentinel,
}

/// The caller bounds the whole; the library's own limits would only hide what was slow.
pub(super) async fn dial(
    endpoint: &Arc<RedisEndpoint>,
    address: &RedisAddress,
    credentials: Credentials,
) -> RedisResult<MultiplexedConnection> {
    let client = client(endpoint, address, credentials, ProtocolVersion::RESP2).await?;
    client
        .get_multiplexed_async_connection_with_config(&unlimited())
        .await
}

/// A connection on which one may listen and send commands, by HELLO 3; where the server, or what stands before it, does not
/// know that, one for commands alone.
pub(super) async fn dial_to_listen_and_ask(
    endpoint: &Arc<RedisEndpoint>,
    address: &RedisAddress,
) -> RedisResult<(MultiplexedConnection, Option<Pushes>)> {
    match dial_resp3(endpoint, address).await {
        Err(error) if may_not_know_hello(&error) => {
            let connection = dial(endpoint, address, Credentials::Redis).await?;
            Ok((connection, None))
        }
        dialled => dialled.map(|(connection, pushes)| (connection, Some(pushes))),
    }
}

async fn dial_resp3(
    endpoint: &Arc<RedisEndpoint>,
    address: &RedisAddress,
) -> RedisResult<(MultiplexedConnection, Pushes)> {
    let (sender, pushes) = pushes();
    let config = unlimited().set_push_sender(sender);
    let client = client(
        endpoint,
        address,
        Credentials::Redis,
        ProtocolVersion::RESP3,
    )
    .await?;
    let mut connection = client
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    let login = client.get_connection_info().redis_settings();
    if let (None, Some(password)) = (login.username(), login.password()) {
        // HELLO takes any password for a user who needs none; the election's AUTH does not, and a check must tell.
        let mut auth = redis::cmd("AUTH");
        auth.arg(password).exec_async(&mut connection).await?;
    }
    Ok((connection, pushes))
}

/// It said so in one way or another, or hung up.
fn may_not_know_hello(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::AuthenticationFailed => false,
        ErrorKind::RESP3NotSupported => true,
        ErrorKind::Server(kind) => {
            matches!(
                kind,
                ServerErrorKind::ResponseError | ServerErrorKind::NoPerm
            )
        }
        ErrorKind::Extension => error.code() == Some("NOPROTO"),
        _ => error.is_connection_dropped() && !error.is_connection_refusal(),
    }
}

fn unlimited() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
}

/// Whether something was sent before, on a connection that turned out to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Try {
    First,
    Again,
}

/// Runs `work` on `kept`, or on a new connection, for which `dial` is awaited, if there is none or it turns out to be
/// closed. Returns the connection with the answer; there is none after a dial that failed.
///
/// A server closes a connection on which nothing happens (`timeout`), and so does what stands in between. That says
/// nothing about Redis: the connection is dialled again at once and `work` is done on the new one. What fails there has
/// failed. `work` may have been carried out on the first connection too, or be later, so it must be harmless twice: reads
/// are; each script that writes compares first what it was judged on, or the term that it extends or ends, and is told
/// which try it is, because no two writes may leave the same record.
pub(super) async fn on_open_connection<C: Clone, T, F: Future<Output = RedisResult<T>>>(
    kept: Option<C>,
    dial: impl Future<Output = RedisResult<C>>,
    work: impl Fn(C, Try) -> F,
) -> (Option<C>, RedisResult<T>) {
    let mut nth = Try::First;
    if let Some(kept) = kept {
        nth = Try::Again;
        match work(kept.clone(), Try::First).await {
            Err(error) if closed(&error) => {}
            result => return (Some(kept), result),
        }
    }
    match dial.await {
        Ok(connection) => {
            let result = work(connection.clone(), nth).await;
            (Some(connection), result)
        }
        Err(error) => (None, Err(error)),
    }
}

/// Before the answer, or in the middle of it.
fn closed(error: &RedisError) -> bool {
    error.is_io_error() || error.kind() == ErrorKind::Parse
}

pub(super) async fn dial_to_listen(
    endpoint: &Arc<RedisEndpoint>,
    address: &RedisAddress,
    credentials: Credentials,
) -> RedisResult<PubSub> {
    let client = client(endpoint, address, credentials, ProtocolVersion::RESP2).await?;
    client.get_async_pubsub().await
}

/// Reads passwords and certificates, which may be slow.
async fn client(
    endpoint: &Arc<RedisEndpoint>,
    address: &RedisAddress,
    credentials: Credentials,
    protocol: ProtocolVersion,
) -> RedisResult<Client> {
    let (endpoint, address) = (Arc::clone(endpoint), address.clone());
    tokio::task::spawn_blocking(move || build(&endpoint, &address, credentials, protocol))
        .await
        .map_err(io::Error::other)?
}

fn build(
    endpoint: &RedisEndpoint,
    address: &RedisAddress,
    credentials: Credentials,
    protocol: ProtocolVersion,
) -> RedisResult<Client> {
    // Nothing is sent before everything that is named is there.
    let loaded = LoadedFiles::read(endpoint).map_err(io::Error::other)?;
    let (login, password, database) = match credentials {
        Credentials::Redis => (&endpoint.login, loaded.redis, endpoint.database),
        Credentials::Sentinel => (&endpoint.sentinel_login, loaded.sentinel, 0),
    };
    let place = match address {
        RedisAddress::Tcp { host, port } if endpoint.tls.is_some() => ConnectionAddr::TcpTls {
            host: host.clone(),
            port: *port,
            insecure: false,
            tls_params: None,
        },
        RedisAddress::Tcp { host, port } => ConnectionAddr::Tcp(host.clone(), *port),
        RedisAddress::Unix(path) => ConnectionAddr::Unix(path.clone()),
    };
    let info = place.into_connection_info()?;
    // What the library says of itself is one command more for an ACL to refuse.
    let settings = info.redis_settings().clone().set_db(database);
    let settings = settings.set_protocol(protocol);
    let username = login.username.as_deref();
    let settings = let_in(settings.set_skip_set_lib_name(), username, password);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL);
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(keepalive)
        .set_user_timeout(USER_TIMEOUT);
    let info = info.set_redis_settings(settings).set_tcp_settings(tcp);
    match loaded.tls {
        Some(certificates) => Client::build_with_tls(info, certificates),
        None => Client::open(info),
    }
}

fn let_in(
    mut settings: RedisConnectionInfo,
    username: Option<&str>,
    password: Option<Secret>,
) -> RedisConnectionInfo {
    if let Some(username) = username {
        settings = settings.set_username(username);
    }
    if let Some(password) = password {
        settings = settings.set_password(password.expose());
    }
    settings
}
