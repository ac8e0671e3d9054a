//! The words of engines and clients as they were measured (Redis 6.2.5, 7.0.15, Valkey 8.1.8, 9.1.2;
//! redis-rs 1.8.1, redis-py 8.1), and what must not be taken for them.

use super::StoreFault::{self, *};

fn all(fault: StoreFault, texts: &[&str]) {
    for text in texts {
        // Only what stood on the wire like that has the wire's minus.
        let wire = text.starts_with(|it: char| it.is_ascii_alphabetic());
        let minus = if wire { "-" } else { "" };
        let forms = [
            (*text).to_owned(),
            format!("{minus}{text}"),
            format!("renewing: redis script failed: {text}"),
            format!("renewing\n\nCaused by:\n    0: redis\n    1: {text}"),
            format!("[ReplyError: {text}]"),
            format!("Pipeline failure: [(Index 0, error: {text})]"),
        ];
        for form in forms {
            assert_eq!(StoreFault::classify(&form), fault, "{form}");
        }
    }
}

#[test]
fn out_of_memory_in_every_engine_s_words() {
    all(
        OutOfMemory,
        &[
            "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'",
            "OOM command not allowed when used memory > 'maxmemory'. script: on @user_script:1.",
            "EXECABORT Transaction discarded because of: OOM command not allowed when used memory > 'maxmemory'.",
            "@user_script: 1: -OOM command not allowed when used memory > 'maxmemory'.",
            "ERR user_script:1: OOM command not allowed when used memory > 'maxmemory'. script: on @user_script:1.",
            "ERR Error running script (call to f_ac0c): @user_script:1: user_script:1: @user_script: 1: -OOM command not allowed when used memory > 'maxmemory'.",
            "ERR Error running script (call to f_d895): @user_script:1: user_script:1: renewing: @user_script: 1: -OOM command not allowed when used memory > 'maxmemory'.",
            "ERR DB capacity quota exceeded. Threshold: 268435456 bytes, Usage: 276006634 bytes",
            "\"OOM\": command not allowed when used memory > 'maxmemory'.",
            "\"OOM\": command not allowed under OOM prevention.",
            "\"\\\"OOM\\\": command not allowed under OOM prevention.\"",
            "ResponseError: Error running script (call to f_67ed): @user_script:1: @user_script: 1: -OOM command not allowed when used memory > 'maxmemory'.",
            "redis.exceptions.OutOfMemoryError: command not allowed when used memory > 'maxmemory'.",
            "Command # 1 (SET a 1) of pipeline caused error: command not allowed when used memory > 'maxmemory'.",
        ],
    );
}

#[test]
fn the_other_faults_in_redis_rs_and_redis_py_s_words() {
    all(
        ReadOnly,
        &[
            "ReadOnly: You can't write against a read only replica.",
            "You can't write against a read only replica.",
        ],
    );
    all(
        Loading,
        &[
            "BusyLoading: Redis is loading the dataset in memory",
            "Redis is loading the dataset in memory",
            "LOADING Dragonfly is loading the dataset in memory",
        ],
    );
    all(
        Topology,
        &[
            "MasterDown: Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "Moved: 3999 127.0.0.1:6381",
            "Ask: 3999 127.0.0.1:6381",
            "TryAgain: Multiple keys request during rehashing of slot",
            "ClusterDown: Hash slot not served",
        ],
    );
    all(
        NoScript,
        &[
            "NoScript: No matching script. Please use EVAL.",
            "NOSCRIPT No matching script.",
            "No matching script. Please use EVAL.",
        ],
    );
    all(
        Misconf,
        &[
            "\"MISCONF\": Valkey is configured to save RDB snapshots, but it's currently unable to persist to disk.",
            "ResponseError: MISCONF Redis is configured to save RDB snapshots",
        ],
    );
    all(
        NoPermission,
        &[
            "NoPerm: this user has no permissions to run the 'set' command",
            "ResponseError: ACL failure in script: User u has no permissions to run the 'set' command",
            "ERR Error running script (call to f_67ed): @user_script:1: @user_script: 1: The user executing the script can't run this command or subcommand",
        ],
    );
    all(
        Auth,
        &[
            "Password authentication failed - AuthenticationFailed",
            "ERR AUTH <password> called without any password configured for the default user.",
            "Authentication required.",
        ],
    );
    all(
        ClientBug,
        &[
            "CrossSlot: Keys in request don't hash to the same slot",
            "ExecAbort: Transaction discarded because of previous errors.",
        ],
    );
    all(
        ReadOnly,
        &[
            "EXECABORT Transaction discarded because of: READONLY You can't write against a read only replica.",
        ],
    );
    all(
        WrongType,
        &[
            "ERR Error running script (call to f_df94): @user_script:1: WRONGTYPE Operation against a key holding the wrong kind of value",
        ],
    );
}

#[test]
fn what_echoes_is_not_believed() {
    all(
        Other,
        &[
            "ERR unknown command 'x', with args beginning with: 'OOM-1' ': OOM command not allowed when' 'x: -OOM command' ",
            "unknown command 'x', with args beginning with: 'x: OOM command not allowed' ",
            "ResponseError: unknown command `x`, with args beginning with: `x: OOM command not allowed`, ",
            "ERR unknown subcommand 'x: OOM command not allowed'. Try CLIENT HELP.",
            "Unknown subcommand or wrong number of arguments for 'x: OOM command not allowed'. Try CLIENT HELP.",
            "ERR Unsupported CONFIG parameter: x: OOM command not",
            "ERR Error running script (call to f_d958): @user_script:1: ERR Unknown subcommand or wrong number of arguments for '@user_script:1: OOM command not allowed'. Try OBJECT HELP.",
            "ERR user_script:1: x: OOM command not allowed script: on @user_script:1.",
            "ERR Unknown subcommand or wrong number of arguments for 'ACL failure in script'",
            "BUSYKEY Target key name already exists.",
            "BUSYGROUP Consumer Group name already exists",
            "NOTBUSY No scripts in execution right now.",
            "MOVED house",
            "ASK somebody",
            "OOM killer ended the process",
            "READONLY",
            "instance OOM-1: LOADING",
        ],
    );
}

#[test]
fn clients_in_many_languages_lose_their_connection() {
    all(
        TimedOut,
        &[
            "dial tcp: lookup redis: i/o timeout",
            "deadline has elapsed",
            "connect ETIMEDOUT",
            "java.net.SocketTimeoutException: Read timed out",
            "Resource temporarily unavailable (os error 11)",
            "Timeout reading from socket",
        ],
    );
    all(
        Unreachable,
        &[
            "unexpected EOF",
            "Connection refused (os error 111)",
            "connect ECONNREFUSED 127.0.0.1:6379",
            "getaddrinfo ENOTFOUND redis",
            "Error 111 connecting to localhost:7901. Connection refused.",
            "Connection closed by server.",
            "Connection is closed.",
            "Socket closed unexpectedly",
            "redis: client is closed",
            "use of closed network connection",
            "Unexpected end of stream.",
            "Multiplexed connection driver unexpectedly terminated",
            "java.net.UnknownHostException: redis",
        ],
    );
}

#[test]
fn clients_in_many_languages_do_not_accept_a_certificate() {
    all(
        Tls,
        &[
            "I/O error: invalid peer certificate: UnknownIssuer",
            "received fatal alert: CertificateRequired",
            "tls: failed to verify certificate: x509: certificate signed by unknown authority",
            "remote error: tls: bad certificate",
            "Error 1 connecting to r:6380. [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate (_ssl.c:1000).",
            "unable to verify the first certificate",
            "javax.net.ssl.SSLHandshakeException: PKIX path building failed",
        ],
    );
}

#[test]
fn no_two_faults_have_the_same_hint() {
    let all = [
        StoreFault::OutOfMemory,
        StoreFault::Misconf,
        StoreFault::ReadOnly,
        StoreFault::NoReplicas,
        StoreFault::Loading,
        StoreFault::Topology,
        StoreFault::Busy,
        StoreFault::Unkillable,
        StoreFault::Auth,
        StoreFault::NoPermission,
        StoreFault::NoScript,
        StoreFault::WrongType,
        StoreFault::ClientBug,
        StoreFault::TimedOut,
        StoreFault::Unreachable,
        StoreFault::Tls,
        StoreFault::PasswordFile,
        StoreFault::TlsFile,
        StoreFault::Other,
    ];
    let hints: std::collections::BTreeSet<_> = all.iter().map(|it| it.hint()).collect();
    assert_eq!(hints.len(), all.len());
}

/// Quadratic work on these would not end while anybody watches.
#[test]
fn long_hostile_texts_take_no_longer_than_they_are_long() {
    for piece in [
        ": ",
        ":",
        "\n",
        "A: ",
        "OOM : : ",
        "x: '",
        "user_script:",
        "@user_script: 1: -",
        "ERR Error running script @user_script:1: ",
        "ResponseError: ",
        "EXECABORT Transaction discarded because of: ",
    ] {
        for head in ["", "ERR Error running script ", "OOM"] {
            let _ = StoreFault::classify(&format!("{head}{}", piece.repeat(20_000)));
        }
    }
}
