//! Sizes of queues, whatever type they have: any number of keys in one round trip.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use redis::{ErrorKind, FromRedisValue, Pipeline, RedisError, ServerError, ServerErrorKind, Value};
use serde::{Deserialize, Serialize};

use crate::address::{HostPort, RedisAddress};
use crate::error::{Error, OptionError};
use crate::ledger::Token;
use crate::tls::TlsOptions;

use super::context::Context;
use super::net::{Cluster, Hub, Servers, Topology, slot_of};

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
    context: Arc<Context>,
    known: Arc<Mutex<Known>>,
}

/// What was learned from the answers so far.
struct Known {
    /// What each key was when it was last looked at.
    kinds: Vec<Option<Kind>>,
    /// The newest question that begins with a key: what is asked once is mostly asked again.
    questions: HashMap<usize, Arc<Question>>,
}

/// What one server is asked in one round trip. Keys are numbers of [`CounterOptions::keys`].
struct Question {
    keys: Vec<usize>,
    /// What each of the keys was last.
    kinds: Vec<Option<Kind>>,
    pipe: Pipeline,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Zset,
    Hash,
}

/// What the server says of one key.
enum Said {
    /// Its size as the kind that it was last, which is 0 where it is gone, and an error where it is of another type by now.
    Size(Value),
    /// Its type, and its size as a zset and as a hash, one of which is an error.
    All(Box<[Value; 3]>),
}

impl Kind {
    const fn command(self) -> &'static str {
        match self {
            Self::Zset => "ZCARD",
            Self::Hash => "HLEN",
        }
    }
}

impl Question {
    /// `asking` where the keys are moving to the server.
    fn new(names: &[String], keys: &[usize], kinds: Vec<Option<Kind>>, asking: bool) -> Self {
        let mut pipe = Pipeline::with_capacity(keys.len());
        for (key, kind) in keys.iter().zip(&kinds) {
            // Which count fits an unknown key is known only with its type: ask for both and ignore the one that does not.
            let commands: &[&str] = match kind {
                Some(kind) => &[kind.command()],
                None => &["TYPE", "ZCARD", "HLEN"],
            };
            for command in commands {
                if asking {
                    pipe.cmd("ASKING").ignore();
                }
                pipe.cmd(command).arg(&names[*key]);
            }
        }
        pipe.ignore_errors();
        Self {
            keys: keys.to_vec(),
            kinds,
            pipe,
        }
    }

    /// Puts the question; an answer for each of its keys.
    async fn put(&self, hub: &Arc<Hub>, options: &CounterOptions) -> Result<Vec<Said>, Error> {
        let mut connection = hub.connection(options.connect_timeout).await?;
        let asked = self.pipe.query_async::<Vec<Value>>(&mut connection);
        let answers = tokio::time::timeout(options.op_timeout, asked)
            .await
            .map_err(|_| hub.unanswered())?
            .map_err(|e| hub.error(&e))?;
        let mut answers = answers.into_iter();
        let said: Option<_> = self
            .kinds
            .iter()
            .map(|kind| match kind {
                Some(_) => Some(Said::Size(answers.next()?)),
                None => Some(Said::All(Box::new([
                    answers.next()?,
                    answers.next()?,
                    answers.next()?,
                ]))),
            })
            .collect();
        said.ok_or_else(|| Error::store("the server answered less than it was asked"))
    }
}

impl Known {
    /// What is to be asked of these keys, which may have been asked just so before.
    fn question(&mut self, names: &[String], keys: &[usize]) -> Arc<Question> {
        let kinds = || keys.iter().map(|key| self.kinds[*key]);
        if let Some(first) = keys.first()
            && let Some(question) = self.questions.get(first)
            && question.keys == keys
            && question.kinds.iter().copied().eq(kinds())
        {
            return Arc::clone(question);
        }
        let question = Arc::new(Question::new(names, keys, kinds().collect(), false));
        if let Some(first) = keys.first() {
            self.questions.insert(*first, Arc::clone(&question));
        }
        question
    }
}

impl Said {
    fn errors(&self) -> impl Iterator<Item = &ServerError> {
        let answers = match self {
            Self::Size(answer) => std::slice::from_ref(answer),
            Self::All(answers) => answers.as_slice(),
        };
        answers.iter().filter_map(|answer| match answer {
            Value::ServerError(error) => Some(error),
            _ => None,
        })
    }

    fn is_of_another_type(&self) -> bool {
        matches!(self, Self::Size(Value::ServerError(e)) if e.code() == "WRONGTYPE")
    }
}

impl QueueCounter {
    pub(super) fn new(options: CounterOptions, servers: Servers, context: &Arc<Context>) -> Self {
        let known = Known {
            kinds: vec![None; options.keys.len()],
            questions: HashMap::new(),
        };
        Self {
            options: Arc::new(options),
            servers,
            context: Arc::clone(context),
            known: Arc::new(Mutex::new(known)),
        }
    }

    /// Counts, and answers `{"counts":[n,...]}`, in the order of the keys, under the token.
    pub fn counts(&self, token: Token) {
        let this = self.clone();
        self.context.answer(token, async move {
            this.count().await.and_then(|counts| counted(&counts))
        });
    }

    /// The counts in the order of the keys. The keys are read one after another within one round trip, on a cluster one for
    /// each node, not at one instant.
    ///
    /// # Errors
    /// A key of another type, or a server that does not answer.
    pub async fn count(&self) -> Result<Vec<u64>, Error> {
        let keys: Vec<usize> = (0..self.options.keys.len()).collect();
        match &self.servers {
            Servers::One(hub) => {
                let said = self.ask(hub, &keys).await?;
                self.sizes(&keys, said, hub)
            }
            Servers::Cluster(cluster) => self.count_in(cluster, keys).await,
        }
    }

    async fn count_in(&self, cluster: &Cluster, mut keys: Vec<usize>) -> Result<Vec<u64>, Error> {
        let mut counts = vec![0; keys.len()];
        let mut last = None;
        // Slots move, and nodes fail over: what is not where it was expected is asked for again by a new plan.
        for attempt in 0..ATTEMPTS {
            let topology = self.topology(cluster, attempt > 0).await?;
            let mut by_node: BTreeMap<&HostPort, Vec<usize>> = BTreeMap::new();
            for key in std::mem::take(&mut keys) {
                let name = &self.options.keys[key];
                match topology.owner(slot_of(name)) {
                    Some(node) => by_node.entry(node).or_default().push(key),
                    None => {
                        let text = format!("key {name}: no node of the cluster serves its slot");
                        last = Some(Error::store(text));
                        keys.push(key);
                    }
                }
            }
            let asked = by_node.into_iter().map(|(node, keys)| async {
                let hub = cluster.hub(node);
                let said = match &hub {
                    Ok(hub) => self.ask(hub, &keys).await,
                    Err(closed) => Err(closed.clone()),
                };
                (hub, keys, said)
            });
            let mut moving: BTreeMap<HostPort, Vec<usize>> = BTreeMap::new();
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
                        None => counts[key] = self.size_of_queue(key, said, &hub)?,
                        Some(Redirection::Ask(node)) => moving.entry(node).or_default().push(key),
                        Some(Redirection::Elsewhere(why)) => {
                            let name = &self.options.keys[key];
                            last = Some(Error::store(format!("key {name}: {why}")));
                            keys.push(key);
                        }
                    }
                }
            }
            for (node, asked) in moving {
                let hub = cluster.hub(&node)?;
                let said = self.ask_the_importer(&hub, &asked).await?;
                for (key, size) in asked.iter().zip(self.sizes(&asked, said, &hub)?) {
                    counts[*key] = size;
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

    /// Asks one server about keys in one round trip, and in a second one about those that changed their type.
    async fn ask(&self, hub: &Arc<Hub>, keys: &[usize]) -> Result<Vec<Said>, Error> {
        let question = self.known.lock().question(&self.options.keys, keys);
        let mut said = question.put(hub, &self.options).await?;
        let changed: Vec<usize> = (0..keys.len())
            .filter(|at| said[*at].is_of_another_type())
            .collect();
        if !changed.is_empty() {
            let keys: Vec<usize> = changed.iter().map(|at| keys[*at]).collect();
            let again = self
                .as_unknown(&keys, false)
                .put(hub, &self.options)
                .await?;
            for (at, now) in changed.into_iter().zip(again) {
                said[at] = now;
            }
        }
        Ok(said)
    }

    /// Asks the server that keys are moving to.
    async fn ask_the_importer(&self, hub: &Arc<Hub>, keys: &[usize]) -> Result<Vec<Said>, Error> {
        self.as_unknown(keys, true).put(hub, &self.options).await
    }

    fn as_unknown(&self, keys: &[usize], asking: bool) -> Question {
        Question::new(&self.options.keys, keys, vec![None; keys.len()], asking)
    }

    fn sizes(&self, keys: &[usize], said: Vec<Said>, hub: &Hub) -> Result<Vec<u64>, Error> {
        let sizes = keys.iter().zip(said);
        sizes
            .map(|(key, said)| self.size_of_queue(*key, said, hub))
            .collect()
    }

    fn size_of_queue(&self, at: usize, said: Said, hub: &Hub) -> Result<u64, Error> {
        let key = &self.options.keys[at];
        if let Said::Size(Value::Int(size)) = said
            && let Ok(size) = u64::try_from(size)
        {
            return Ok(size);
        }
        let read = |answer: Value| {
            let answer = answer.extract_error();
            answer.map_err(|e| about(key, hub.error(&e)))
        };
        let unreadable = |e: redis::ParsingError| Error::store(format!("key {key}: {e}"));
        let (kind, size) = match said {
            Said::Size(size) => (None, size),
            Said::All(answers) => {
                let [kind, zcard, hlen] = *answers;
                let kind = String::from_redis_value(read(kind)?).map_err(unreadable)?;
                match kind.as_str() {
                    "none" => (None, Value::Int(0)),
                    "zset" => (Some(Kind::Zset), zcard),
                    "hash" => (Some(Kind::Hash), hlen),
                    _ => {
                        return Err(Error::QueueType {
                            key: key.clone(),
                            kind,
                        });
                    }
                }
            }
        };
        if kind.is_some() {
            self.known.lock().kinds[at] = kind;
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

fn counted(counts: &[u64]) -> Result<String, Error> {
    #[derive(Serialize)]
    struct Counted<'a> {
        counts: &'a [u64],
    }
    serde_json::to_string(&Counted { counts }).map_err(|e| Error::Bug(e.to_string()))
}

enum Redirection {
    /// This key is at this node already, while others of its slot are not.
    Ask(HostPort),
    /// The node does not serve the key; why.
    Elsewhere(String),
}

fn redirection(said: &Said) -> Option<Redirection> {
    let mut errors = said.errors().map(|e| RedisError::from(e.clone()));
    errors.find_map(|error| redirection_of(&error))
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
