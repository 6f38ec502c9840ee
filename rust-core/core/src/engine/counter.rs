//! Sizes of queues, whatever type they have: any number of keys in one round trip.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use redis::{ErrorKind, FromRedisValue, RedisError, ServerErrorKind, Value};
use serde::Deserialize;

use crate::address::{HostPort, RedisAddress};
use crate::error::{Error, OptionError};
use crate::ledger::Token;
use crate::tls::TlsOptions;

use super::cluster::{Cluster, Servers, Topology, slot_of};
use super::hub::Hub;
use super::{Emission, Shared, lock};

mod command;

const KEYS_MAX: usize = 10_000;
/// How often keys of a cluster are looked for.
const ATTEMPTS: u32 = 4;

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
    tls: Option<TlsOptions>,
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
        let redis = RedisAddress::new("redis", &raw.redis, raw.tls)?;
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
    servers: Servers,
    shared: Arc<Shared>,
    /// What the keys were when they were last looked at.
    kinds: Arc<Mutex<HashMap<String, Kind>>>,
}

#[derive(Clone, Copy)]
enum Kind {
    Zset,
    Hash,
}

type Answer = Result<Value, RedisError>;

/// What the server says of one key.
enum Said {
    /// Its size as the kind that it was last, which is 0 where it is gone, and an error where it is of another type by now.
    Size(Answer),
    /// Its type, and its size as a zset and as a hash, one of which is an error.
    All([Answer; 3]),
}

impl Kind {
    const fn command(self) -> &'static str {
        match self {
            Self::Zset => "ZCARD",
            Self::Hash => "HLEN",
        }
    }
}

impl Said {
    fn errors(&self) -> impl Iterator<Item = &RedisError> {
        let answers = match self {
            Self::Size(answer) => std::slice::from_ref(answer),
            Self::All(answers) => answers,
        };
        answers.iter().filter_map(|answer| answer.as_ref().err())
    }

    fn is_of_another_type(&self) -> bool {
        matches!(self, Self::Size(Err(e)) if e.code() == Some("WRONGTYPE"))
    }
}

impl QueueCounter {
    pub(super) fn new(options: CounterOptions, servers: Servers, shared: &Arc<Shared>) -> Self {
        Self {
            options: Arc::new(options),
            servers,
            shared: Arc::clone(shared),
            kinds: Arc::default(),
        }
    }

    /// Counts, and answers `{"counts":{key:n}}` under the token.
    pub fn counts(&self, token: Token) {
        let this = self.clone();
        self.shared.runtime.spawn(async move {
            let result = this
                .count()
                .await
                .map(|counts| serde_json::json!({ "counts": counts }).to_string());
            let mut news = vec![Emission::Text { token, result }];
            this.shared.sink.emit(&mut news);
        });
    }

    /// The counts by key. The keys are read one after another within one round trip, on a cluster one for each node, not
    /// at one instant.
    ///
    /// # Errors
    /// A key of another type, or a server that does not answer.
    pub async fn count(&self) -> Result<BTreeMap<String, u64>, Error> {
        let keys: Vec<&String> = self.options.keys.iter().collect();
        match &self.servers {
            Servers::One(hub) => {
                let said = self.ask(hub, &keys, false).await?;
                let sizes = keys.iter().zip(said);
                sizes
                    .map(|(key, said)| Ok(((*key).clone(), self.size_of_queue(key, said, hub)?)))
                    .collect()
            }
            Servers::Cluster(cluster) => self.count_in(cluster, keys).await,
        }
    }

    async fn count_in(
        &self,
        cluster: &Cluster,
        mut keys: Vec<&String>,
    ) -> Result<BTreeMap<String, u64>, Error> {
        let mut counts = BTreeMap::new();
        let mut last = None;
        // Slots move, and nodes fail over: what is not where it was expected is asked for again by a new plan.
        for attempt in 0..ATTEMPTS {
            let topology = self.topology(cluster, attempt > 0).await?;
            let mut by_node: BTreeMap<&HostPort, Vec<&String>> = BTreeMap::new();
            for key in std::mem::take(&mut keys) {
                match topology.owner(slot_of(key)) {
                    Some(node) => by_node.entry(node).or_default().push(key),
                    None => {
                        let text = format!("key {key}: no node of the cluster serves its slot");
                        last = Some(Error::store(text));
                        keys.push(key);
                    }
                }
            }
            let asked = by_node.into_iter().map(|(node, keys)| async {
                let hub = cluster.hub(node);
                let said = match &hub {
                    Ok(hub) => self.ask(hub, &keys, false).await,
                    Err(closed) => Err(closed.clone()),
                };
                (hub, keys, said)
            });
            let mut moving: BTreeMap<HostPort, Vec<&String>> = BTreeMap::new();
            for (hub, asked, said) in join_all(asked).await {
                let hub = hub?;
                let said = match said {
                    Ok(said) => said,
                    Err(error) => {
                        last = Some(error);
                        keys.extend(asked);
                        continue;
                    }
                };
                for (key, said) in asked.into_iter().zip(said) {
                    match redirection(&said) {
                        None => {
                            let size = self.size_of_queue(key, said, &hub)?;
                            counts.insert(key.clone(), size);
                        }
                        Some(Redirection::Ask(node)) => moving.entry(node).or_default().push(key),
                        Some(Redirection::Elsewhere(why)) => {
                            last = Some(Error::store(format!("key {key}: {why}")));
                            keys.push(key);
                        }
                    }
                }
            }
            for (node, asked) in moving {
                let hub = cluster.hub(&node)?;
                let said = self.ask(&hub, &asked, true).await?;
                for (key, said) in asked.into_iter().zip(said) {
                    counts.insert(key.clone(), self.size_of_queue(key, said, &hub)?);
                }
            }
            if keys.is_empty() {
                return Ok(counts);
            }
        }
        Err(last.unwrap_or(Error::Closed))
    }

    /// Who serves what; asked `anew` where what was known proved wrong.
    async fn topology(&self, cluster: &Cluster, anew: bool) -> Result<Arc<Topology>, Error> {
        tokio::time::timeout(self.options.connect_timeout, cluster.topology(anew))
            .await
            .map_err(|_| Error::store("no node of the cluster has answered in time"))?
            .map_err(Error::store)
    }

    /// Asks one server about keys in one round trip, and in a second one about those that changed their type; `asking`
    /// where the keys are moving to it.
    async fn ask(
        &self,
        hub: &Arc<Hub>,
        keys: &[&String],
        asking: bool,
    ) -> Result<Vec<Said>, Error> {
        let known = {
            let kinds = lock(&self.kinds);
            keys.iter().map(|key| kinds.get(*key).copied()).collect()
        };
        let mut said = self.exchange(hub, keys, known, asking).await?;
        let changed: Vec<usize> = (0..keys.len())
            .filter(|at| said[*at].is_of_another_type())
            .collect();
        if !changed.is_empty() {
            let keys: Vec<&String> = changed.iter().map(|at| keys[*at]).collect();
            let unknown = vec![None; keys.len()];
            let again = self.exchange(hub, &keys, unknown, asking).await?;
            for (at, now) in changed.into_iter().zip(again) {
                said[at] = now;
            }
        }
        Ok(said)
    }

    /// One round trip; `known` is what each key was last.
    async fn exchange(
        &self,
        hub: &Arc<Hub>,
        keys: &[&String],
        known: Vec<Option<Kind>>,
        asking: bool,
    ) -> Result<Vec<Said>, Error> {
        let mut connection = hub.connection(self.options.connect_timeout).await?;
        let mut pipe = redis::pipe();
        for (key, kind) in keys.iter().zip(&known) {
            // Which count fits an unknown key is known only with its type: ask for both and ignore the one that does not.
            let commands: &[&str] = match kind {
                Some(kind) => &[kind.command()],
                None => &["TYPE", "ZCARD", "HLEN"],
            };
            for command in commands {
                if asking {
                    pipe.cmd("ASKING").ignore();
                }
                pipe.cmd(command).arg(key);
            }
        }
        pipe.ignore_errors();
        let asked = pipe.query_async::<Vec<Answer>>(&mut connection);
        let answers = tokio::time::timeout(self.options.op_timeout, asked)
            .await
            .map_err(|_| Error::store(format!("{} has not answered in time", hub.at())))?
            .map_err(|e| hub.error(&e))?;
        let mut answers = answers.into_iter();
        let said: Option<_> = known
            .into_iter()
            .map(|kind| match kind {
                Some(_) => Some(Said::Size(answers.next()?)),
                None => Some(Said::All([
                    answers.next()?,
                    answers.next()?,
                    answers.next()?,
                ])),
            })
            .collect();
        said.ok_or_else(|| Error::store("the server answered less than it was asked"))
    }

    fn size_of_queue(&self, key: &str, said: Said, hub: &Hub) -> Result<u64, Error> {
        let read = |answer: Answer| answer.map_err(|e| about(key, hub.error(&e)));
        let unreadable = |e: redis::ParsingError| Error::store(format!("key {key}: {e}"));
        let (kind, size) = match said {
            Said::Size(size) => (None, size),
            Said::All([kind, zcard, hlen]) => {
                let kind = String::from_redis_value(read(kind)?).map_err(unreadable)?;
                match kind.as_str() {
                    "none" => (None, Ok(Value::Int(0))),
                    "zset" => (Some(Kind::Zset), zcard),
                    "hash" => (Some(Kind::Hash), hlen),
                    _ => {
                        return Err(Error::QueueType {
                            key: key.to_owned(),
                            kind,
                        });
                    }
                }
            }
        };
        if let Some(kind) = kind {
            lock(&self.kinds).insert(key.to_owned(), kind);
        }
        u64::from_redis_value(read(size)?).map_err(unreadable)
    }
}

/// The error with the key that it is about.
fn about(key: &str, error: Error) -> Error {
    match error {
        Error::Store { message, pending } => Error::Store {
            message: format!("key {key}: {message}"),
            pending,
        },
        other => other,
    }
}

enum Redirection {
    /// This key is at this node already, while others of its slot are not.
    Ask(HostPort),
    /// The node does not serve the key; why.
    Elsewhere(String),
}

fn redirection(said: &Said) -> Option<Redirection> {
    said.errors().find_map(redirection_of)
}

fn redirection_of(error: &RedisError) -> Option<Redirection> {
    if !error.is_cluster_error() {
        return None;
    }
    if matches!(error.kind(), ErrorKind::Server(ServerErrorKind::Ask))
        && let Some((host, port)) = error
            .redirect_node()
            .and_then(|(at, _)| at.rsplit_once(':'))
        && let Ok(port) = port.parse()
    {
        let host = host.to_owned();
        return Some(Redirection::Ask(HostPort { host, port }));
    }
    Some(Redirection::Elsewhere(error.to_string()))
}
