//! The runner's own access to Redis: few commands, each recorded, each within a few seconds.

use std::time::Duration;

use anyhow::Context as _;
use redis::{Connection, Value as Reply};

use crate::{exit, mask};

const REDIS_LIMIT: Duration = Duration::from_secs(5);

/// A connection that records what is said.
pub(crate) struct Server(Connection);

impl Server {
    /// Connects within a few seconds.
    ///
    /// # Errors
    /// The address cannot be used or reached; the text holds no password.
    pub(crate) fn connect(address: &str) -> anyhow::Result<Self> {
        let shown = mask::masked_address(address);
        let wrong = |error: redis::RedisError| {
            exit::set_up(mask::masked(&format!("Redis at {shown}: {error}")))
        };
        let client = redis::Client::open(address).map_err(wrong)?;
        let connection = client
            .get_connection_with_timeout(REDIS_LIMIT)
            .map_err(wrong)?;
        connection
            .set_read_timeout(Some(REDIS_LIMIT))
            .map_err(wrong)?;
        connection
            .set_write_timeout(Some(REDIS_LIMIT))
            .map_err(wrong)?;
        Ok(Self(connection))
    }

    /// How many items a key holds, whatever its type; 0 without the key.
    ///
    /// # Errors
    /// The server refuses or does not answer, or the key is of a type without a size.
    pub(crate) fn size(&mut self, key: &str) -> anyhow::Result<i64> {
        let kind: String = redis::cmd("TYPE").arg(key).query(&mut self.0)?;
        let command = match kind.as_str() {
            "none" => return Ok(0),
            "zset" => "ZCARD",
            "hash" => "HLEN",
            "set" => "SCARD",
            "list" => "LLEN",
            "stream" => "XLEN",
            other => anyhow::bail!("{key} is of type {other}, which has no size"),
        };
        Ok(redis::cmd(command).arg(key).query(&mut self.0)?)
    }

    /// The number in a field of a hash, if there is one.
    ///
    /// # Errors
    /// The server refuses or does not answer.
    pub(crate) fn number(&mut self, hash: &str, field: &str) -> anyhow::Result<Option<i64>> {
        let text: Option<String> = redis::cmd("HGET").arg(hash).arg(field).query(&mut self.0)?;
        Ok(text.and_then(|text| text.parse().ok()))
    }

    /// Sends a command and returns its reply as text.
    ///
    /// # Errors
    /// The server refuses or does not answer.
    pub(crate) fn ask(&mut self, words: &[&str], log: &mut Vec<String>) -> anyhow::Result<String> {
        let shown = words.join(" ");
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(word);
        }
        let reply = command.query::<Reply>(&mut self.0);
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
