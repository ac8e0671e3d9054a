//! What the library says went wrong, in the store's words.

use redis::{ErrorKind, RedisError};

use crate::fault::{StoreError, StoreFault};

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
    let text = error.to_string();
    if ["peer certificate", "fatal alert"]
        .iter()
        .any(|it| text.contains(it))
    {
        return StoreError::unreachable(format!(
            "{text} (TLS: see --redis-ca-file, --redis-cert-file and --redis-key-file)"
        ));
    }
    if error.is_io_error() || error.is_connection_dropped() || error.is_connection_refusal() {
        return StoreError::unreachable(text);
    }
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => StoreError::new(format!("{code} {detail}")),
        (Some(code), None) => StoreError::new(code.to_owned()),
        (None, _) => StoreError::nonsense(text),
    }
}
