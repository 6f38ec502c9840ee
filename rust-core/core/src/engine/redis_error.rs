//! What a failure of Redis means to a user, and what to do about it.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::error::{Error, OptionError};
use crate::options::RedisAddress;

/// How to go on after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// The connection is of no use any more.
    Reconnect,
    /// The server may take it later.
    Retry,
    /// It will not get better by itself.
    GiveUp,
}

/// A failure in words, with its remedy. Never holds a password: redis-rs does not put any into its errors, and the
/// address is shown as host and port.
pub(crate) fn explain(error: &RedisError, address: &RedisAddress) -> (String, Remedy) {
    let at = address.host_port();
    let code = error.code().unwrap_or_default();
    let detail = error.detail().unwrap_or_default();
    let said = format!("{code} {detail}");
    let said = said.trim();
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
    let hint = match (error.kind(), code) {
        (ErrorKind::AuthenticationFailed, _) | (_, "NOAUTH" | "WRONGPASS") => Some((
            "user or password is missing or wrong: put them into the URL",
            Remedy::GiveUp,
        )),
        (ErrorKind::Server(ServerErrorKind::NoPerm), _) | (_, "NOPERM") => Some((
            "the ACL user lacks a permission: it needs +@all of hash, set, string, scripting, pubsub and connection \
             commands on ~K6_BARRIER_* and &K6_BARRIER_*, and the queue keys to read",
            Remedy::GiveUp,
        )),
        (ErrorKind::Server(ServerErrorKind::ReadOnly), _) => Some((
            "this server is a replica or became one: name the primary",
            Remedy::Retry,
        )),
        (ErrorKind::Server(ServerErrorKind::BusyLoading), _) => {
            Some(("the server is still loading its data", Remedy::Retry))
        }
        (ErrorKind::Server(ServerErrorKind::MasterDown | ServerErrorKind::ClusterDown), _) => {
            Some(("the server has no primary at the moment", Remedy::Retry))
        }
        (_, "OOM") => Some((
            "the server is out of memory: raise maxmemory or free some",
            Remedy::Retry,
        )),
        (_, "MISCONF") => Some((
            "the server cannot save and refuses writes: see its log",
            Remedy::Retry,
        )),
        (ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::CrossSlot), _) => Some((
            "this is a node of a Redis Cluster, which is not supported by this version",
            Remedy::GiveUp,
        )),
        (ErrorKind::RESP3NotSupported, _) | (_, "NOPROTO") => {
            Some(("the server is older than Redis 6", Remedy::GiveUp))
        }
        _ => None,
    };
    if let Some((hint, remedy)) = hint {
        let said = if said.is_empty() { "refused" } else { said };
        return (format!("{at} answers {said}; {hint}"), remedy);
    }
    if error.is_timeout() {
        return (format!("{at} does not answer"), Remedy::Reconnect);
    }
    if error.is_io_error() || error.is_connection_dropped() || error.is_unrecoverable_error() {
        return (
            format!("{at} cannot be reached: {error}"),
            Remedy::Reconnect,
        );
    }
    (format!("{at} answers {error}"), Remedy::Retry)
}

/// The client for an address.
pub(crate) fn client(address: &RedisAddress) -> Result<redis::Client, Error> {
    use redis::{ConnectionAddr, IntoConnectionInfo, ProtocolVersion};
    let bad = |e: RedisError| {
        Error::from(OptionError::new(
            "store",
            address.masked(),
            format!("a redis:// URL ({})", e.category()),
        ))
    };
    let info = address.url().into_connection_info().map_err(bad)?;
    let settings = info
        .redis_settings()
        .clone()
        .set_protocol(ProtocolVersion::RESP3);
    let mut info = info.set_redis_settings(settings);
    if let Some(addr) = address.addr() {
        info = info.set_addr(ConnectionAddr::Tcp(addr.ip().to_string(), addr.port()));
    }
    redis::Client::open(info).map_err(bad)
}
