//! One connection to one server.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo, RedisError,
    RedisResult, TlsCertificates,
};

use crate::config::{Login, RedisAddress, RedisEndpoint, TlsFiles};

/// How long the kernel keeps trying to deliver what was written before it reports the connection dead.
const USER_TIMEOUT: Duration = Duration::from_secs(10);

/// As whom one comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guest {
    /// Of a Redis server.
    Redis,
    /// Of a sentinel.
    Sentinel,
}

/// The caller bounds the whole; the library's own limits would only hide what was slow.
pub(super) async fn dial(
    endpoint: &Arc<RedisEndpoint>,
    address: &RedisAddress,
    guest: Guest,
) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None);
    let client = client(endpoint, address, guest).await?;
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
}

pub(super) async fn dial_to_listen(
    endpoint: &Arc<RedisEndpoint>,
    address: &RedisAddress,
    guest: Guest,
) -> RedisResult<PubSub> {
    let client = client(endpoint, address, guest).await?;
    client.get_async_pubsub().await
}

/// Reads passwords and certificates as they stand on the disk now, which may be slow.
async fn client(
    endpoint: &Arc<RedisEndpoint>,
    address: &RedisAddress,
    guest: Guest,
) -> RedisResult<Client> {
    let (endpoint, address) = (Arc::clone(endpoint), address.clone());
    tokio::task::spawn_blocking(move || build(&endpoint, &address, guest))
        .await
        .map_err(io::Error::other)?
}

fn build(endpoint: &RedisEndpoint, address: &RedisAddress, guest: Guest) -> RedisResult<Client> {
    let (login, database) = match guest {
        Guest::Redis => (&endpoint.login, endpoint.database),
        Guest::Sentinel => (&endpoint.sentinel_login, 0),
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
    let settings = let_in(settings.set_skip_set_lib_name(), login)?;
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        .set_user_timeout(USER_TIMEOUT);
    let info = info.set_redis_settings(settings).set_tcp_settings(tcp);
    match &endpoint.tls {
        Some(files) => Client::build_with_tls(info, certificates(files)?),
        None => Client::open(info),
    }
}

fn let_in(
    mut settings: redis::RedisConnectionInfo,
    login: &Login,
) -> RedisResult<redis::RedisConnectionInfo> {
    if let Some(username) = &login.username {
        settings = settings.set_username(username);
    }
    if let Some(password) = &login.password {
        let needed = |needed| io::Error::other(format!("the password needs {needed}"));
        settings = settings.set_password(password.read().map_err(needed)?.expose());
    }
    Ok(settings)
}

fn certificates(files: &TlsFiles) -> Result<TlsCertificates, RedisError> {
    let read = |path: &Path| {
        fs::read(path).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
    };
    let client_tls = match &files.client {
        Some((cert, key)) => Some(ClientTlsConfig {
            client_cert: read(cert)?,
            client_key: read(key)?,
        }),
        None => None,
    };
    let root_cert = files.ca.as_deref().map(read).transpose()?;
    // The first caller sets it for the process; any other finds the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(TlsCertificates {
        client_tls,
        root_cert,
    })
}
