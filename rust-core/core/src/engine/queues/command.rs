//! One command about one key, for what stands beside a queue: an index, a marker, a limit.

use std::sync::Arc;

use redis::{Cmd, Value};

use super::{ATTEMPTS, QueueCounter, Redirection, about, redirection_of};
use crate::engine::net::{Hub, Servers, slot_of};
use crate::error::{Error, OptionError};
use crate::ids::quoted;
use crate::ledger::Token;

/// Commands about a key that do not block and leave the connection, which others use as well, as it is.
const ALLOWED: &[&str] = &[
    "DEL", "EXISTS", "GET", "HDEL", "HEXISTS", "HGET", "HLEN", "HSET", "LLEN", "PEXPIRE", "PTTL",
    "SCARD", "SET", "STRLEN", "TTL", "TYPE", "XLEN", "ZCARD",
];

impl QueueCounter {
    /// Sends one command, its name first and its key second, and answers `{"answer":…}` under the token.
    pub fn command(&self, words: Vec<String>, token: Token) {
        let this = self.clone();
        self.context.answer(token, async move {
            let answer = this.run(&words).await?;
            Ok(serde_json::json!({ "answer": answer }).to_string())
        });
    }

    /// Sends one command, its name first and its key second. The answer is a text, a number, or null where there is
    /// nothing. On a cluster it goes to the node of the key.
    ///
    /// # Errors
    /// A command that is not allowed, no key, a server that refuses or does not answer. A command is never repeated,
    /// except where a node of a cluster has refused it because it does not serve the key.
    pub async fn run(&self, words: &[String]) -> Result<serde_json::Value, Error> {
        let name = words.first().map(|name| name.to_ascii_uppercase());
        if !name.is_some_and(|name| ALLOWED.contains(&name.as_str())) {
            let got = words.first().map_or("nothing".into(), |name| quoted(name));
            return Err(OptionError::new("command", got, ALLOWED.join(", ")).into());
        }
        let Some(key) = words.get(1).filter(|key| !key.is_empty()) else {
            return Err(OptionError::new("key", "nothing", "the name of a key").into());
        };
        let mut command = Cmd::new();
        command.arg(words);
        let cluster = match &self.servers {
            Servers::One(hub) => {
                let answer = self.send(hub, &command, false).await?;
                return readable(key, answer.map_err(|e| about(key, hub.error(&e)))?);
            }
            Servers::Cluster(cluster) => cluster,
        };
        let mut last = None;
        for attempt in 0..ATTEMPTS {
            let topology = self.topology(cluster, attempt > 0).await?;
            let Some(node) = topology.owner(slot_of(key)) else {
                let text = format!("key {key}: no node of the cluster serves its slot");
                last = Some(Error::store(text));
                continue;
            };
            let mut hub = cluster.hub(node)?;
            let mut answer = self.send(&hub, &command, false).await?;
            if let Err(error) = &answer
                && let Some(Redirection::Ask(node)) = redirection_of(error)
            {
                hub = cluster.hub(&node)?;
                answer = self.send(&hub, &command, true).await?;
            }
            match answer {
                Ok(answer) => return readable(key, answer),
                Err(error) if redirection_of(&error).is_some() => {
                    last = Some(about(key, hub.error(&error)));
                }
                Err(error) => return Err(about(key, hub.error(&error))),
            }
        }
        Err(last.unwrap_or(Error::Closed))
    }

    /// One round trip; `asking` where the key is moving to this node. The inner error is the server's answer.
    async fn send(
        &self,
        hub: &Arc<Hub>,
        command: &Cmd,
        asking: bool,
    ) -> Result<redis::RedisResult<Value>, Error> {
        let mut connection = hub.connection(self.options.connect_timeout).await?;
        let mut pipe = redis::pipe();
        if asking {
            pipe.cmd("ASKING").ignore();
        }
        pipe.add_command(command.clone()).ignore_errors();
        let asked = pipe.query_async::<Vec<redis::RedisResult<Value>>>(&mut connection);
        let answers = tokio::time::timeout(self.options.op_timeout, asked)
            .await
            .map_err(|_| hub.unanswered())?
            .map_err(|e| hub.error(&e))?;
        let answer = answers.into_iter().next();
        answer.ok_or_else(|| Error::store("the server answered less than it was asked"))
    }
}

fn readable(key: &str, answer: Value) -> Result<serde_json::Value, Error> {
    Ok(match answer {
        Value::Nil => serde_json::Value::Null,
        Value::Int(number) => number.into(),
        Value::Okay => "OK".into(),
        Value::SimpleString(text) => text.into(),
        Value::BulkString(bytes) => String::from_utf8(bytes)
            .map_err(|_| Error::store(format!("key {key} holds what is no text")))?
            .into(),
        _ => {
            let text = format!("the answer about key {key} is neither a text nor a number");
            return Err(Error::store(text));
        }
    })
}
