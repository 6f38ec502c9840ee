//! Sizes of queues, whatever type they have: any number of keys in one round trip.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use redis::{FromRedisValue, Value};
use serde::Deserialize;

use crate::error::{Error, OptionError};
use crate::ledger::Token;
use crate::options::RedisAddress;

use super::Emission;
use super::hub::Hub;

const KEYS_MAX: usize = 10_000;

/// What a counter is made with.
#[derive(Debug, Clone)]
pub struct CounterOptions {
    /// The server.
    pub redis: RedisAddress,
    /// The keys, each counted once.
    pub keys: Vec<String>,
    /// How long a first connection may take.
    pub connect_timeout: Duration,
    /// How long an answer may take.
    pub op_timeout: Duration,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    redis: String,
    addr: Option<std::net::SocketAddr>,
    keys: Vec<String>,
    connect_timeout_ms: Option<u64>,
    op_timeout_ms: Option<u64>,
}

impl CounterOptions {
    /// Parses and checks the JSON form of the options.
    ///
    /// # Errors
    /// Names the first option that is wrong, what it was and what is allowed.
    pub fn from_json(json: &[u8]) -> Result<Self, OptionError> {
        let raw: Raw = serde_json::from_slice(json)
            .map_err(|e| OptionError::new("options", e.to_string(), "the documented options"))?;
        let redis = RedisAddress::new("redis", &raw.redis, raw.addr)?;
        if !(1..=KEYS_MAX).contains(&raw.keys.len()) {
            return Err(OptionError::new(
                "keys",
                format!("{} keys", raw.keys.len()),
                format!("1 to {KEYS_MAX} keys"),
            ));
        }
        if raw.keys.iter().any(String::is_empty) {
            return Err(OptionError::new("keys", "an empty key", "names of keys"));
        }
        let ms = |ms: Option<u64>, default: u64| Duration::from_millis(ms.unwrap_or(default));
        Ok(Self {
            redis,
            keys: raw.keys,
            connect_timeout: ms(raw.connect_timeout_ms, 5_000),
            op_timeout: ms(raw.op_timeout_ms, 10_000),
        })
    }
}

/// Counts zsets by `ZCARD` and hashes by `HLEN`; a key that is not there counts 0, any other type is an error.
#[derive(Clone)]
pub struct QueueCounter {
    options: Arc<CounterOptions>,
    hub: Arc<Hub>,
}

impl QueueCounter {
    pub(super) fn new(options: CounterOptions, hub: Arc<Hub>) -> Self {
        Self {
            options: Arc::new(options),
            hub,
        }
    }

    /// Counts, and answers `{"counts":{key:n}}` under the token.
    pub fn counts(&self, token: Token) {
        let this = self.clone();
        self.hub.shared().runtime.spawn(async move {
            let result = this
                .count()
                .await
                .map(|counts| serde_json::json!({ "counts": counts }).to_string());
            let mut news = vec![Emission::Text { token, result }];
            this.hub.shared().sink.emit(&mut news);
        });
    }

    /// The counts by key. The keys are read one after another within one round trip, not at one instant.
    ///
    /// # Errors
    /// A key of another type, or a server that does not answer.
    pub async fn count(&self) -> Result<BTreeMap<String, u64>, Error> {
        let mut connection = self.hub.connection(self.options.connect_timeout).await?;
        // Which count fits is known only with the type: ask for both and ignore the one that does not.
        let mut pipe = redis::pipe();
        for key in &self.options.keys {
            pipe.cmd("TYPE").arg(key);
            pipe.cmd("ZCARD").arg(key);
            pipe.cmd("HLEN").arg(key);
        }
        pipe.ignore_errors();
        let asking = pipe.query_async::<Vec<Result<Value, redis::RedisError>>>(&mut connection);
        let answers = tokio::time::timeout(self.options.op_timeout, asking)
            .await
            .map_err(|_| {
                let at = self.hub.address().host_port();
                Error::store(format!("{at} has not answered in time"))
            })?
            .map_err(|e| self.hub.error(&e))?;
        let mut counts = BTreeMap::new();
        let mut answers = answers.into_iter();
        for key in &self.options.keys {
            let (Some(kind), Some(zcard), Some(hlen)) =
                (answers.next(), answers.next(), answers.next())
            else {
                return Err(Error::store("the server answered less than it was asked"));
            };
            let read = |answer: Result<Value, redis::RedisError>| {
                answer.map_err(|e| match self.hub.error(&e) {
                    Error::Store { message, pending } => Error::Store {
                        message: format!("key {key}: {message}"),
                        pending,
                    },
                    other => other,
                })
            };
            let unreadable = |e: redis::ParsingError| Error::store(format!("key {key}: {e}"));
            let kind = String::from_redis_value(read(kind)?).map_err(unreadable)?;
            let size = match kind.as_str() {
                "none" => Ok(Value::Int(0)),
                "zset" => zcard,
                "hash" => hlen,
                _ => {
                    return Err(Error::QueueType {
                        key: key.clone(),
                        kind,
                    });
                }
            };
            let size = u64::from_redis_value(read(size)?).map_err(unreadable)?;
            counts.insert(key.clone(), size);
        }
        Ok(counts)
    }
}
