#![no_main]
//! A record that somebody else wrote: nine fields, one a line.

use libfuzzer_sys::fuzz_target;
use redis::Value;

fuzz_target!(|bytes: &[u8]| {
    let mut fields: Vec<Value> = bytes
        .split(|byte| *byte == b'\n')
        .map(|field| Value::BulkString(field.to_vec()))
        .collect();
    fields.resize(9, Value::Nil);
    let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
    let reply = Value::Array(vec![
        text("looked"),
        text("0"),
        text("1700000000000000"),
        Value::Nil,
        Value::Int(-2),
        text("g - - - - - - - - -"),
        Value::Array(fields),
        text("g"),
        text("7"),
        text("0000"),
        text("used_memory:1\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n"),
    ]);
    // A record that makes no sense is a view of its own, never an error that hides the rest.
    assert!(understudy::store::answer(&reply).is_ok());
});
