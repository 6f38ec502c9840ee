//! What the servers of a store say of themselves.

use redis::{ErrorKind, InfoDict, ServerErrorKind};
use serde::Serialize;

use crate::error::Error;

use super::{Operator, asked};

/// A server of the store. What its user may not ask (`INFO`) is not known.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ServerView {
    /// Host and port.
    at: String,
    /// `Redis 7.0.15`, `Valkey 8.0.1`.
    version: Option<String>,
    /// Limit of memory in bytes, 0 for none.
    max_memory: Option<u64>,
    /// What becomes of keys at that limit.
    eviction: Option<String>,
}

impl Operator {
    /// The servers of the store: `{"servers":[…]}`.
    pub(super) async fn servers(&self) -> Result<serde_json::Value, Error> {
        let mut servers = Vec::new();
        for hub in self.servers.all().await? {
            let mut connection = hub.connection(self.options.timeout).await?;
            let mut asking = redis::pipe();
            asking.cmd("INFO").arg("server").cmd("INFO").arg("memory");
            let told: Result<(InfoDict, InfoDict), _> = asking.query_async(&mut connection).await;
            let refused =
                |e: &redis::RedisError| e.kind() == ErrorKind::Server(ServerErrorKind::NoPerm);
            let told = match told {
                Err(error) if refused(&error) => None,
                told => Some(asked(&hub, std::future::ready(told)).await?),
            };
            servers.push(ServerView::of(hub.at().to_string(), told.as_ref()));
        }
        Ok(serde_json::json!({ "servers": servers }))
    }
}

impl ServerView {
    fn of(at: String, told: Option<&(InfoDict, InfoDict)>) -> Self {
        let version = told.and_then(|(server, _)| {
            let of = |field| server.get::<String>(field);
            let valkey = of("valkey_version").map(|version| format!("Valkey {version}"));
            valkey.or_else(|| of("redis_version").map(|version| format!("Redis {version}")))
        });
        Self {
            at,
            version,
            max_memory: told.and_then(|(_, memory)| memory.get("maxmemory")),
            eviction: told.and_then(|(_, memory)| memory.get("maxmemory_policy")),
        }
    }
}
