//! What a failure of Redis means to a user, and what to do about it.

use std::error::Error as _;
use std::io;
use std::sync::Arc;

use redis::{ErrorKind, RedisError};
use rustls::{AlertDescription, CertificateError};

use crate::address::{HostPort, RedisAddress};

/// What the ACL user of a barrier may do at least, for messages and the documentation.
pub(crate) const ACL_RULES: &str = "~K6_BARRIER_* &K6_BARRIER_* +select +evalsha +script|load +subscribe +publish +time +type \
     +hget +hmget +hset +hdel +hexists +set +del +sadd +pexpire, on a cluster +cluster|slots, and for queues +zcard +hlen \
     and their keys";

/// The server that a failure comes from, as messages need it.
pub(crate) struct Server {
    at: String,
    cluster: bool,
    secure: bool,
}

impl Server {
    pub(crate) fn new(address: &RedisAddress, at: &HostPort) -> Self {
        Self {
            at: at.to_string(),
            cluster: address.is_cluster(),
            secure: address.tls().is_some(),
        }
    }

    pub(crate) fn at(&self) -> &str {
        &self.at
    }
}

/// How to go on after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// The connection is of no use any more: another one is made, to where the address leads by then.
    Reconnect,
    /// The server may take it later.
    Retry,
    /// It will not get better by itself.
    GiveUp,
}

/// What servers refuse with, by the first word of their answer; what that means to a user, and what to do about it.
/// Another server may have taken the address over by the time one of them is no primary, so the way is looked up anew.
const REFUSALS: &[(&str, &str, Remedy)] = &[
    (
        "READONLY",
        "this server is a replica or became one: where its address does not lead to the primary soon, name the primary",
        Remedy::Reconnect,
    ),
    (
        "MASTERDOWN",
        "the server has no primary at the moment",
        Remedy::Reconnect,
    ),
    // The old primary of a failover, cut off from its replicas: its address may lead to the new one by now.
    (
        "NOREPLICAS",
        "the server has too few replicas at the moment and refuses writes",
        Remedy::Reconnect,
    ),
    (
        "CLUSTERDOWN",
        "the cluster does not serve these keys at the moment",
        Remedy::Reconnect,
    ),
    (
        "LOADING",
        "the server is still loading its data",
        Remedy::Reconnect,
    ),
    (
        "TRYAGAIN",
        "the keys are on their way to another node",
        Remedy::Retry,
    ),
    (
        "ASK",
        "the keys are on their way to another node",
        Remedy::Retry,
    ),
    (
        "OOM",
        "the server is out of memory: raise maxmemory or free some",
        Remedy::Retry,
    ),
    (
        "MISCONF",
        "the server cannot save and refuses writes: see its log",
        Remedy::Retry,
    ),
    (
        "BUSY",
        "a script of somebody holds the server: SCRIPT KILL ends it",
        Remedy::Retry,
    ),
    (
        "NOSCRIPT",
        "the server has forgotten the script",
        Remedy::Retry,
    ),
    ("NOAUTH", CREDENTIALS, Remedy::GiveUp),
    ("WRONGPASS", CREDENTIALS, Remedy::GiveUp),
    ("NOPROTO", TOO_OLD, Remedy::GiveUp),
];
const CREDENTIALS: &str = "user or password is missing or wrong: put them into the URL";
const TOO_OLD: &str = "the server is older than Redis 6";
const NO_SINGLE_SERVER: &str =
    "this is a node of a Redis Cluster: use the scheme redis+cluster:// or rediss+cluster://";

/// The first word of a server's answer. Servers before Redis 7 wrap what a command within a script was refused with:
/// `ERR Error running script (call to f_…): @user_script:1: @user_script: 1: -READONLY You can't …`.
fn refusal_of<'a>(code: &'a str, detail: &'a str) -> &'a str {
    let wrapped = (code == "ERR").then(|| detail.split_once(": -")).flatten();
    wrapped
        .and_then(|(_, inner)| inner.split_whitespace().next())
        .unwrap_or(code)
}

/// A failure in words, with its remedy. Never holds a password: redis-rs does not put any into its errors, what a server
/// repeats of a greeting is left out, and the address is shown as host and port.
pub(crate) fn explain(error: &RedisError, server: &Server) -> (String, Remedy) {
    let at = &server.at;
    let code = error.code().unwrap_or_default();
    let detail = error.detail().unwrap_or_default();
    if code == "KBARLAYOUT" {
        let mut parts = detail.split(' ');
        let (key, theirs, ours) = (parts.next(), parts.next(), parts.next());
        let text = format!(
            "key {} at {at} was written by another version of k6-barrier (layout {} of the record, this one has layout {}): run \
             all processes with one version and choose another run id, or delete the key",
            key.unwrap_or("?"),
            theirs.unwrap_or("?"),
            ours.unwrap_or("?")
        );
        return (text, Remedy::GiveUp);
    }
    if code == "KBARTYPE" {
        let mut parts = detail.split(' ');
        let (key, got, want) = (parts.next(), parts.next(), parts.next());
        let text = format!(
            "key {} at {at} holds a {}, the barrier needs a {}; another program uses this run id, choose another one",
            key.unwrap_or("?"),
            got.unwrap_or("?"),
            want.unwrap_or("?")
        );
        return (text, Remedy::GiveUp);
    }
    // It repeats what it was asked, the password too.
    let lower = detail.to_ascii_lowercase();
    if lower.starts_with("unknown command") && lower.contains("hello") {
        return (format!("{at} knows no HELLO; {TOO_OLD}"), Remedy::GiveUp);
    }
    // Not always with the code NOPERM: from within a script, before Redis 7, and where redis-rs wraps the answer to SELECT.
    let whole = error.to_string();
    if code == "NOPERM"
        || whole.contains("has no permissions")
        || whole.contains("user executing the script can't")
    {
        let text = format!("{at} answers {whole}; the ACL user needs {ACL_RULES}");
        return (text, Remedy::GiveUp);
    }
    let known = match (error.kind(), refusal_of(code, detail)) {
        (ErrorKind::AuthenticationFailed, _) => Some((CREDENTIALS, Remedy::GiveUp)),
        (ErrorKind::RESP3NotSupported, _) => Some((TOO_OLD, Remedy::GiveUp)),
        (_, "MOVED") if server.cluster => {
            Some(("the keys have moved to another node", Remedy::Reconnect))
        }
        (_, "MOVED" | "CROSSSLOT") => Some((NO_SINGLE_SERVER, Remedy::GiveUp)),
        (_, refusal) => REFUSALS
            .iter()
            .find(|(code, ..)| *code == refusal)
            .map(|(_, hint, remedy)| (*hint, *remedy)),
    };
    if let Some((hint, remedy)) = known {
        let said = format!("{code} {detail}");
        let said = match said.trim() {
            "" => "refused",
            said => said,
        };
        return (format!("{at} answers {said}; {hint}"), remedy);
    }
    if error.is_timeout() {
        return (format!("{at} does not answer"), Remedy::Reconnect);
    }
    if let Some(io) = io_error(error) {
        return (explain_io(io, server), Remedy::Reconnect);
    }
    if error.is_io_error() || error.is_connection_dropped() || error.is_unrecoverable_error() {
        return (
            format!("{at} cannot be reached: {error}"),
            Remedy::Reconnect,
        );
    }
    (format!("{at} answers {error}"), Remedy::Retry)
}

/// A failure of the first words with a server, in words.
pub(crate) fn explain_greeting(error: &RedisError, server: &Server) -> String {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    let closed = io_error(error)
        .is_some_and(|e| matches!(e.kind(), BrokenPipe | ConnectionReset | UnexpectedEof));
    let (why, _) = explain(error, server);
    if closed && !server.secure {
        return format!("{why}; where it wants TLS, use rediss://");
    }
    why
}

/// The failure of a socket behind a failure of Redis: redis-rs keeps it in an `Arc`, and that is its source.
fn io_error(error: &RedisError) -> Option<&io::Error> {
    type Kept = Arc<dyn std::error::Error + Send + Sync>;
    error.source()?.downcast_ref::<Kept>()?.downcast_ref()
}

/// TLS speaks through the errors of sockets, and those may be wrapped once more.
fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    let inner = error.get_ref()?;
    inner
        .downcast_ref::<rustls::Error>()
        .or_else(|| tls_error(inner.downcast_ref::<io::Error>()?))
}

/// A failure of TCP or TLS in words.
pub(crate) fn explain_io(error: &io::Error, server: &Server) -> String {
    use rustls::Error as Tls;
    let at = &server.at;
    let hint = match tls_error(error) {
        Some(Tls::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        )) => "its certificate comes from an authority that is not trusted: give that as tls.ca",
        Some(Tls::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => "its certificate is for another name: give that as tls.serverName",
        Some(Tls::AlertReceived(
            AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure,
        )) => "it may want a certificate of the client: give tls.cert and tls.key",
        Some(Tls::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::DecryptError
            | AlertDescription::CertificateExpired,
        )) => "it does not trust the certificate of the client: see tls.cert",
        Some(Tls::InvalidMessage(_)) => {
            "it does not speak TLS there: use redis:// or its port for TLS"
        }
        Some(_) => "TLS failed",
        None => return format!("{at} cannot be reached: {error}"),
    };
    format!("{at} cannot be reached: {hint} ({error})")
}

#[cfg(test)]
mod tests {
    use super::refusal_of;

    #[test]
    fn what_a_script_was_refused_with_is_found_in_both_spellings() {
        assert_eq!(refusal_of("READONLY", "You can't write"), "READONLY");
        let wrapped = "Error running script (call to f_1): @user_script:9: @user_script: 9: -OOM command not allowed";
        assert_eq!(refusal_of("ERR", wrapped), "OOM");
        assert_eq!(refusal_of("ERR", "unknown command"), "ERR");
    }
}
