//! One connection to Redis, dialled when it is needed and dropped whenever it is in doubt.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo, RedisError,
    RedisResult,
};
use tokio::time::timeout;

use crate::config::{RedisAddress, RedisEndpoint};
use crate::fault::{StoreError, StoreFault};

/// How long the kernel keeps trying to deliver what was written before it reports the connection dead.
const USER_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Link {
    client: Client,
    /// For whoever reads the error at night.
    address: String,
    connection: Option<MultiplexedConnection>,
}

impl Link {
    /// # Errors
    /// The endpoint cannot be used. Nothing is dialled yet.
    pub fn new(endpoint: &RedisEndpoint) -> Result<Self, StoreError> {
        Ok(Self {
            client: client(endpoint)?,
            address: endpoint.address.to_string(),
            connection: None,
        })
    }

    /// Runs `work` on the connection, dialling first if there is none, all within `limit`.
    ///
    /// After a timeout, an I/O error or an answer that speaks of another server the connection is
    /// dropped: what was sent may still arrive, and the next command must not wait behind it.
    ///
    /// # Errors
    /// What Redis or the way to it answered. After a timeout or a broken connection the outcome of a
    /// write is unknown.
    pub async fn run<T>(
        &mut self,
        limit: Duration,
        work: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> Result<T, StoreError> {
        let kept = self.connection.take();
        let run = async {
            let mut connection = match kept {
                Some(connection) => connection,
                None => dial(&self.client).await?,
            };
            let result = work(&mut connection).await;
            Ok((connection, result))
        };
        let address = &self.address;
        let (connection, result) = timeout(limit, run)
            .await
            .map_err(|_| {
                StoreError::timed_out(format!("no answer from {address} within {limit:.0?}"))
            })?
            .map_err(|error| at(address, store_error(error)))?;
        let result = result.map_err(|error| at(address, store_error(error)));
        let in_doubt = matches!(&result, Err(error) if error.fault.lost_connection());
        if !in_doubt {
            self.connection = Some(connection);
        }
        result
    }
}

/// An error that is about the way to the server names it.
fn at(address: &str, error: StoreError) -> StoreError {
    if !matches!(error.fault, StoreFault::TimedOut | StoreFault::Unreachable) {
        return error;
    }
    StoreError {
        message: format!("{address}: {}", error.message),
        ..error
    }
}

async fn dial(client: &Client) -> RedisResult<MultiplexedConnection> {
    // `Link::run` bounds the whole; the library's own limits would only hide what was slow.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None);
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
}

/// # Errors
/// The library does not accept the endpoint.
pub(super) fn client(endpoint: &RedisEndpoint) -> Result<Client, StoreError> {
    let address = match &endpoint.address {
        RedisAddress::Tcp { host, port } => ConnectionAddr::Tcp(host.clone(), *port),
        RedisAddress::Unix(path) => ConnectionAddr::Unix(path.clone()),
    };
    let info = address.into_connection_info().map_err(store_error)?;
    let mut settings = info.redis_settings().clone().set_db(endpoint.database);
    if let Some(username) = &endpoint.username {
        settings = settings.set_username(username);
    }
    if let Some(password) = &endpoint.password {
        settings = settings.set_password(password.expose());
    }
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        .set_user_timeout(USER_TIMEOUT);
    Client::open(info.set_redis_settings(settings).set_tcp_settings(tcp)).map_err(store_error)
}

/// An error of the library, as the store's: by what the server said, if it said something.
#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(super) fn store_error(error: RedisError) -> StoreError {
    if error.kind() == ErrorKind::AuthenticationFailed {
        return StoreError {
            fault: StoreFault::Auth,
            message: error.to_string(),
        };
    }
    if error.is_timeout() {
        return StoreError::timed_out(error.to_string());
    }
    if error.is_io_error() || error.is_connection_dropped() || error.is_connection_refusal() {
        return StoreError::unreachable(error.to_string());
    }
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => StoreError::new(format!("{code} {detail}")),
        (Some(code), None) => StoreError::new(code.to_owned()),
        (None, _) => StoreError::nonsense(error.to_string()),
    }
}
