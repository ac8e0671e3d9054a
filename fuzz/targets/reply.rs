#![no_main]
//! What a server answers a script with, as bytes on the wire.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(value) = redis::parse_redis_value(bytes) {
        let _ = understudy::store::answer(&value);
    }
});
