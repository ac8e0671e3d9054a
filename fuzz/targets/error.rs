#![no_main]
//! An error's text, from a server or anything in between.

use libfuzzer_sys::fuzz_target;
use understudy::fault::StoreFault;

fuzz_target!(|text: &str| {
    assert!(!StoreFault::classify(text).hint().is_empty());
});
