//! The table of errors, the texts of the engines, and what only looks like them.

use super::StoreFault::*;
use super::reading::TOKENS;
use super::*;

const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn every_row_of_the_table() {
    let rows = [
        (OOM, OutOfMemory, true),
        (
            "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist",
            Misconf,
            true,
        ),
        (
            "READONLY You can't write against a read only replica.",
            ReadOnly,
            true,
        ),
        (
            "NOREPLICAS Not enough good replicas to write.",
            NoReplicas,
            true,
        ),
        (
            "LOADING Redis is loading the dataset in memory",
            Loading,
            true,
        ),
        (
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            Topology,
            true,
        ),
        ("CLUSTERDOWN Hash slot not served", Topology, true),
        (
            "TRYAGAIN Multiple keys request during rehashing of slot",
            Topology,
            true,
        ),
        ("MOVED 3999 127.0.0.1:6381", Topology, true),
        ("ASK 3999 127.0.0.1:6381", Topology, true),
        (
            "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
            Busy,
            true,
        ),
        (
            "UNKILLABLE Sorry the script already executed write commands",
            Unkillable,
            false,
        ),
        ("NOAUTH Authentication required.", Auth, false),
        (
            "WRONGPASS invalid username-password pair or user is disabled.",
            Auth,
            false,
        ),
        ("ERR invalid password", Auth, false),
        // To more words, or a longer one, than a stranger may send: Redis hangs up behind it.
        (
            "ERR Protocol error: unauthenticated multibulk length",
            Auth,
            false,
        ),
        (
            "ERR Protocol error: unauthenticated bulk length",
            Auth,
            false,
        ),
        (
            "NOPERM this user has no permissions to run the 'set' command",
            NoPermission,
            false,
        ),
        (
            "ERR The user executing the script can't run this command or subcommand script: 1, on @user_script:1.",
            NoPermission,
            false,
        ),
        (
            "ERR ACL failure in script: User default has no permissions to run the 'set' command",
            NoPermission,
            false,
        ),
        (
            "NOSCRIPT No matching script. Please use EVAL.",
            NoScript,
            true,
        ),
        (
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            WrongType,
            false,
        ),
        (
            "CROSSSLOT Keys in request don't hash to the same slot",
            ClientBug,
            false,
        ),
        (
            "EXECABORT Transaction discarded because of previous errors.",
            ClientBug,
            false,
        ),
        ("dial tcp 10.0.0.1:6379: i/o timeout", TimedOut, true),
        ("context deadline exceeded", TimedOut, true),
        (
            "dial tcp 127.0.0.1:6379: connect: connection refused",
            Unreachable,
            true,
        ),
        ("read: connection reset by peer", Unreachable, true),
        ("write: broken pipe", Unreachable, true),
        ("getting the lock: EOF", Unreachable, true),
        ("ERR syntax error", Other, false),
        ("", Other, false),
    ];
    for (message, fault, retryable) in rows {
        assert_eq!(StoreFault::classify(message), fault, "{message}");
        assert_eq!(fault.retryable(), retryable, "{message}");
        let chain = format!("attempting leadership: redis script failed: {message}");
        assert_eq!(StoreFault::classify(&chain), fault, "{chain}");
    }
}

/// The mission accepts every error with the substring `OOM`; the errors of engines among them are
/// all accepted here.
#[test]
fn every_oom_error_of_an_engine_is_out_of_memory() {
    for message in [
        OOM,
        "-OOM command not allowed when used memory > 'maxmemory'.",
        "OOM command not allowed when used memory > 'maxmemory'. script: 5bb…, on @user_script:1.",
        "OOM command not allowed under OOM prevention.",
        "OOM: command not allowed when used memory > 'maxmemory'.",
        "OOM Out of memory",
        "Out of memory",
        "ERR Out of memory",
        "ERR DB capacity quota exceeded",
        "ERR Error running script (call to f_29b): @user_script:1: @user_script: 1: -OOM command not allowed when used memory > 'maxmemory'. ",
        "ERR Error running script (call to f_29b): @user_script:1: OOM command not allowed when used memory > 'maxmemory'.",
        "command not allowed when used memory > 'maxmemory'.",
        "ReplyError: OOM command not allowed when used memory > 'maxmemory'.",
        "redis: script: \"OOM command not allowed when used memory > 'maxmemory'.\"",
    ] {
        assert_eq!(StoreFault::classify(message), OutOfMemory, "{message}");
    }
}

#[test]
fn what_only_looks_like_out_of_memory_is_not() {
    for message in [
        "OOM",
        "OOM ",
        "BLOOM filter is full",
        "ROOM command not found",
        "ZOOM command",
        "OOMcommand x",
        "ERR unknown command 'OOM', with args beginning with: 'OOM command not allowed' ",
        "ERR unknown command `X`, with args beginning with: `OOM-1`, `: OOM command not allowed`, ",
        "ERR Error running script (call to f_1): @user_script:1: user_script:1: bad: OOM command x",
        "MISCONF see the log: OOM command not allowed",
        "instance OOM-1: connection refused",
    ] {
        assert_ne!(StoreFault::classify(message), OutOfMemory, "{message}");
    }
}

#[test]
fn an_error_that_a_script_met_is_known_by_its_own_token() {
    let wrapped = |error| {
        format!("ERR Error running script (call to f_1): @user_script:9: @user_script: 9: {error}")
    };
    assert_eq!(
        StoreFault::classify(&wrapped("-READONLY You can't write")),
        ReadOnly
    );
    assert_eq!(StoreFault::classify(&wrapped("-MISCONF Redis is")), Misconf);
    assert_eq!(
        StoreFault::classify(&wrapped("attempt to index nil")),
        Other
    );
    let newer = "WRONGTYPE Operation against a key script: 1, on @user_script:1.";
    assert_eq!(StoreFault::classify(newer), WrongType);
}

#[test]
fn every_fault_has_a_hint() {
    for fault in
        TOKENS
            .iter()
            .map(|(_, fault)| *fault)
            .chain([OutOfMemory, TimedOut, Unreachable, Other])
    {
        assert!(fault.hint().len() > 10);
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(message in ".*", links in "(: |-|ERR |@user_script:|1:| |OOM)*") {
        let _ = StoreFault::classify(&message);
        let _ = StoreFault::classify(&links);
    }
}
