#![no_main]
//! INFO, from a server that may say anything.

use libfuzzer_sys::fuzz_target;
use understudy::health::{EngineInfo, MemoryReading};

fuzz_target!(|text: &str| {
    if let Ok(reading) = MemoryReading::parse(text) {
        // −1 where there is no limit.
        let ratio = reading.usage_ratio();
        assert!(ratio >= 0.0 || ratio == -1.0);
        let _ = (reading.out_of_memory(), reading.evicting(), reading.above(0.9));
    }
    let engine = EngineInfo::parse(text);
    assert!(engine.version.chars().count() <= 101 && engine.engine.chars().count() <= 101);
});
