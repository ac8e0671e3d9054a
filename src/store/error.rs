//! What the library says went wrong, in the store's words.

use std::error::Error;
use std::io;
use std::sync::Arc;

use redis::{ErrorKind, RedisError};

use crate::fault::{StoreError, StoreFault};

/// An error of the library, as the store's: by what the server said, if it said something.
pub(super) fn store_error(error: RedisError) -> StoreError {
    if let Some(ours) = ours(&error) {
        return ours.clone();
    }
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
    if error.is_io_error() || error.is_connection_dropped() || error.is_connection_refusal() {
        return match StoreError::new(text) {
            error if error.fault == StoreFault::Tls => error,
            error => StoreError::unreachable(error.message),
        };
    }
    // Of several commands that were sent together, the first that was refused.
    let refused = error.into_server_errors();
    match refused.as_deref().and_then(<[_]>::first) {
        Some((_, error)) => StoreError::new(match error.details() {
            Some(detail) => format!("{} {detail}", error.code()),
            None => error.code().to_owned(),
        }),
        None => StoreError::nonsense(text),
    }
}

/// What the store itself found wrong before it dialled, which the library hands back in two wrappings.
fn ours(error: &RedisError) -> Option<&StoreError> {
    let kept = error
        .source()?
        .downcast_ref::<Arc<dyn Error + Send + Sync>>()?;
    kept.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref()
}
