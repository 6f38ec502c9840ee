//! The runner's own access to Redis: few commands, each recorded, each within a few seconds.

use std::time::Duration;

use anyhow::Context as _;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, FromRedisValue, RedisResult, Value as Reply};
use tokio::runtime::{Builder, Runtime};

use crate::run::redis::access::Access;
use crate::values::exit;
use crate::values::mask;

const REDIS_LIMIT: Duration = Duration::from_secs(5);

/// A connection that records what is said.
pub(crate) struct Server {
    connection: MultiplexedConnection,
    runtime: Runtime,
}

impl Server {
    /// Connects within a few seconds.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses; the text holds no password.
    pub(crate) fn connect(access: &Access) -> anyhow::Result<Self> {
        // The first one stands, and it is the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .context("starting what drives a connection to Redis")?;
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(REDIS_LIMIT))
            .set_response_timeout(Some(REDIS_LIMIT));
        if let Some(place) = access.place() {
            config = config.set_dns_resolver(place);
        }
        let opening = access
            .client()
            .get_multiplexed_async_connection_with_config(&config);
        let connection = runtime.block_on(opening).map_err(|error| {
            let text = format!(
                "Redis at {}: {error}{}",
                access.shown(),
                hint(&error, access.is_secure())
            );
            exit::set_up(mask::masked(&text))
        })?;
        Ok(Self {
            connection,
            runtime,
        })
    }

    fn send<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        self.runtime
            .block_on(command.query_async(&mut self.connection))
    }

    /// How many items a key holds, whatever its type; 0 without the key.
    ///
    /// # Errors
    /// The server refuses or does not answer, or the key is of a type without a size.
    pub(crate) fn size(&mut self, key: &str) -> anyhow::Result<i64> {
        let kind: String = self.send(redis::cmd("TYPE").arg(key))?;
        let command = match kind.as_str() {
            "none" => return Ok(0),
            "zset" => "ZCARD",
            "hash" => "HLEN",
            "set" => "SCARD",
            "list" => "LLEN",
            "stream" => "XLEN",
            other => anyhow::bail!("{key} is of type {other}, which has no size"),
        };
        Ok(self.send(redis::cmd(command).arg(key))?)
    }

    /// The number in a field of a hash, if there is one.
    ///
    /// # Errors
    /// The server refuses or does not answer.
    pub(crate) fn number(&mut self, hash: &str, field: &str) -> anyhow::Result<Option<i64>> {
        let text: Option<String> = self.send(redis::cmd("HGET").arg(hash).arg(field))?;
        Ok(text.and_then(|text| text.parse().ok()))
    }

    /// Sends a command and returns its reply as text.
    ///
    /// # Errors
    /// The server refuses or does not answer.
    pub(crate) fn ask(&mut self, words: &[&str], log: &mut Vec<String>) -> anyhow::Result<String> {
        let shown = words.join(" ");
        let mut command = Cmd::new();
        for word in words {
            command.arg(word);
        }
        let reply = self.send::<Reply>(&command);
        let text = match &reply {
            Ok(value) => reply_text(value),
            Err(error) => format!("(error) {error}"),
        };
        log.push(format!("> {shown}\n< {text}"));
        match reply {
            Ok(_) => Ok(text),
            Err(error) => Err(exit::set_up(format!("{error}")))
                .with_context(|| format!("Redis command `{shown}`")),
        }
    }
}

/// What to do about a connection that failed, where the failure is of a known kind.
fn hint(error: &redis::RedisError, secure: bool) -> &'static str {
    const LOGIN: &str =
        "; mend user and password in REDIS_URL, or REDIS_USERNAME and REDIS_PASSWORD";
    const CLIENT: &str =
        "; it may want a certificate of the client: REDIS_TLS_CERT and REDIS_TLS_KEY";
    if error.kind() == redis::ErrorKind::AuthenticationFailed {
        return LOGIN;
    }
    if secure && error.is_timeout() {
        return "; where it does not speak TLS, use redis:// or its port for TLS";
    }
    if error.is_connection_dropped() {
        return if secure {
            CLIENT
        } else {
            "; where it wants TLS, use rediss://"
        };
    }
    // TLS speaks in words alone.
    let hints = [
        ("NOAUTH", LOGIN),
        (
            "UnknownIssuer",
            "; give the authority of its certificate as REDIS_TLS_CA",
        ),
        (
            "not valid for name",
            "; its certificate is for another name: give that as REDIS_TLS_SERVER_NAME",
        ),
        ("CertificateRequired", CLIENT),
    ];
    let text = error.to_string();
    let known = hints.iter().find(|(word, _)| text.contains(word));
    known.map_or("", |(_, hint)| hint)
}

fn reply_text(value: &Reply) -> String {
    match value {
        Reply::Nil => "(nil)".to_owned(),
        Reply::Int(number) => format!("(integer) {number}"),
        Reply::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Reply::SimpleString(text) => text.clone(),
        Reply::Okay => "OK".to_owned(),
        Reply::Array(items) => format!(
            "[{}]",
            items.iter().map(reply_text).collect::<Vec<_>>().join(", ")
        ),
        other => format!("{other:?}"),
    }
}
