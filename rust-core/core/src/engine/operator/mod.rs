//! What an operator sees of barriers that others hold, and how one ends them by hand.
//!
//! An operator is no process of the run: looking registers nobody, renews nothing and changes nothing. A release or an
//! abort is the store's own operation, so that every process hears of it as of any other.

mod groups;
mod servers;
mod view;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use redis::{RedisError, Value};
use serde::Deserialize;

use crate::address::RedisAddress;
use crate::error::{Error, OptionError};
use crate::ids::{BarrierName, Phase, ProcessId, RunId};
use crate::ledger::Token;
use crate::protocol::{Answer, BreakKind, Op, Request, Why};
use crate::store::redis::{
    Look, Scripts, Search, decode, decode_look, look_script, parse_state_key, state_pattern,
};
use crate::tls::TlsOptions;

use super::context::Context;
use super::net::{Hub, Servers};

use view::View;

/// Where the record of each run and name is.
type Found = BTreeMap<(RunId, BarrierName), Arc<Hub>>;

/// Keys that the server looks at in one step: little enough to disturb nobody.
const SCAN_COUNT: u32 = 500;
/// Most barriers of one answer.
const LIST_MAX: usize = 10_000;
/// Most ids of one answer.
const MISSING_MAX: usize = 1000;
/// Longest text of an abort, in bytes.
const MESSAGE_MAX: usize = 1024;

/// What an operator is made with.
#[derive(Debug, Clone)]
pub struct OperatorOptions {
    /// The server.
    pub redis: RedisAddress,
    /// How long a question may take, connecting included.
    pub timeout: Duration,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawOptions {
    redis: String,
    tls: Option<TlsOptions>,
    timeout_ms: Option<u64>,
}

impl OperatorOptions {
    /// Parses and checks the JSON form of the options.
    ///
    /// # Errors
    /// Names the first option that is wrong, what it was and what is allowed.
    pub fn from_json(json: &[u8]) -> Result<Self, OptionError> {
        let raw: RawOptions = serde_json::from_slice(json)
            .map_err(|e| OptionError::new("options", e.to_string(), "the documented options"))?;
        let timeout = raw.timeout_ms.unwrap_or(10_000);
        if timeout == 0 {
            return Err(OptionError::new("timeout", "0 ms", "more than 0 ms"));
        }
        Ok(Self {
            redis: RedisAddress::new("redis", &raw.redis, raw.tls)?,
            timeout: Duration::from_millis(timeout),
        })
    }
}

/// A question of an operator, as JSON with the name of the variant in `op`.
#[derive(Debug, Clone, Deserialize)]
#[serde(
    tag = "op",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum OperatorQuestion {
    /// The barriers of the store, or of one run: `{"barriers":[…],"complete":true}`.
    List {
        /// Of this run only.
        run_id: Option<String>,
        /// At most so many.
        limit: usize,
    },
    /// The groups of the store, or of one run: `{"groups":[…],"complete":true}`.
    Groups {
        /// Of this run only.
        run_id: Option<String>,
        /// Groups of so many names at most.
        limit: usize,
    },
    /// The servers of the store: `{"servers":[{"at","version","maxMemory","eviction"},…]}`, with null where the user of the store
    /// may not know.
    Servers {},
    /// One barrier: `{"barrier":{…}}`, with null where there is none.
    Look {
        /// The run.
        run_id: String,
        /// The name.
        name: String,
        /// At most so many ids of those who are missing.
        missing: usize,
    },
    /// Releases a phase: `{"answer":"done"|"released"|"broken","barrier":{…}}`.
    Release {
        /// The run.
        run_id: String,
        /// The name.
        name: String,
        /// The phase that the operator saw open.
        phase: Phase,
    },
    /// Breaks a barrier for good: as [`OperatorQuestion::Release`].
    Abort {
        /// The run.
        run_id: String,
        /// The name.
        name: String,
        /// What everyone is told.
        message: String,
    },
}

/// Sees and ends barriers of one server or cluster. Cheap to clone; safe to share between threads.
#[derive(Clone)]
pub struct Operator {
    options: Arc<OperatorOptions>,
    servers: Servers,
    context: Arc<Context>,
}

impl Operator {
    pub(super) fn new(options: OperatorOptions, servers: Servers, context: &Arc<Context>) -> Self {
        Self {
            options: Arc::new(options),
            servers,
            context: Arc::clone(context),
        }
    }

    /// Answers a question under the token, in JSON.
    pub fn ask(&self, question: OperatorQuestion, token: Token) {
        let this = self.clone();
        self.context
            .answer(token, async move { this.answer(question).await });
    }

    /// Answers a question, in JSON.
    ///
    /// # Errors
    /// A bad argument, no such barrier to be ended, or a server that does not answer in time.
    pub async fn answer(&self, question: OperatorQuestion) -> Result<String, Error> {
        let at = || self.options.redis.host_port();
        let timeout = self.options.timeout;
        tokio::time::timeout(timeout, self.carry_out(question))
            .await
            .map_err(|_| Error::store(format!("{} has not answered within {timeout:?}", at())))?
            .map(|answer| answer.to_string())
    }

    async fn carry_out(&self, question: OperatorQuestion) -> Result<serde_json::Value, Error> {
        match question {
            OperatorQuestion::List { run_id, limit } => {
                let run = run_id.as_deref().map(RunId::new).transpose()?;
                within("limit", limit, LIST_MAX)?;
                self.list(run, limit).await
            }
            OperatorQuestion::Groups { run_id, limit } => {
                let run = run_id.as_deref().map(RunId::new).transpose()?;
                within("limit", limit, LIST_MAX)?;
                self.groups(run, limit).await
            }
            OperatorQuestion::Servers {} => self.servers().await,
            OperatorQuestion::Look {
                run_id,
                name,
                missing,
            } => {
                let (run, name) = (RunId::new(&run_id)?, BarrierName::new(&name)?);
                within("missing", missing, MISSING_MAX)?;
                let view = self.view(&run, &name, missing).await?;
                Ok(serde_json::json!({ "barrier": view }))
            }
            OperatorQuestion::Release {
                run_id,
                name,
                phase,
            } => {
                let (run, name) = (RunId::new(&run_id)?, BarrierName::new(&name)?);
                self.end(&run, &name, Some(phase), Op::Release(Why::Operator))
                    .await
            }
            OperatorQuestion::Abort {
                run_id,
                name,
                message,
            } => {
                let (run, name) = (RunId::new(&run_id)?, BarrierName::new(&name)?);
                if !(1..=MESSAGE_MAX).contains(&message.len()) {
                    return Err(OptionError::new(
                        "message",
                        format!("{} bytes", message.len()),
                        format!("1 to {MESSAGE_MAX} bytes"),
                    )
                    .into());
                }
                let op = Op::Abort {
                    kind: BreakKind::Abort,
                    message,
                    only_phase: false,
                };
                self.end(&run, &name, None, op).await
            }
        }
    }

    /// The records whose keys match, and whether these are all.
    async fn search(
        &self,
        pattern: &str,
        parse: fn(&str) -> Option<(RunId, BarrierName)>,
        run: Option<&RunId>,
        limit: usize,
    ) -> Result<(Found, bool), Error> {
        let mut found = Found::new();
        let mut complete = true;
        for hub in self.servers.all().await? {
            let mut connection = hub.connection(self.options.timeout).await?;
            let mut cursor = 0_u64;
            complete &= loop {
                let mut scan = redis::cmd("SCAN");
                scan.cursor_arg(cursor).arg("MATCH").arg(pattern);
                scan.arg("COUNT").arg(SCAN_COUNT);
                let (next, keys): (u64, Vec<String>) =
                    asked(&hub, scan.query_async(&mut connection)).await?;
                for (run_of, name) in keys.iter().filter_map(|key| parse(key)) {
                    if run.is_none_or(|run| *run == run_of) {
                        found.insert((run_of, name), Arc::clone(&hub));
                    }
                }
                if next == 0 || found.len() > limit {
                    break next == 0 && found.len() <= limit;
                }
                cursor = next;
            };
        }
        Ok((found, complete))
    }

    async fn list(&self, run: Option<RunId>, limit: usize) -> Result<serde_json::Value, Error> {
        let pattern = state_pattern(run.as_ref());
        let (found, complete) = self
            .search(&pattern, parse_state_key, run.as_ref(), limit)
            .await?;
        let mut barriers = Vec::new();
        for ((run, name), hub) in found.into_iter().take(limit) {
            // One that went away meanwhile is no barrier any more.
            if let Some(look) = self.look(&hub, &run, &name).await? {
                barriers.push(View::of(&run, &name, &look));
            }
        }
        Ok(serde_json::json!({ "barriers": barriers, "complete": complete }))
    }

    async fn view(
        &self,
        run: &RunId,
        name: &BarrierName,
        missing: usize,
    ) -> Result<Option<View>, Error> {
        let scripts = self.scripts(run, name);
        let hub = self.servers.holder(&scripts.keys().state()).await?;
        let Some(look) = self.look(&hub, run, name).await? else {
            return Ok(None);
        };
        let mut view = View::of(run, name, &look);
        if missing > 0 {
            let mut connection = hub.connection(self.options.timeout).await?;
            let mut search = Search::new(missing);
            while let Some(call) = search.next(&scripts) {
                let value: Value = asked(&hub, call.invoke_async(&mut connection)).await?;
                let taken = search.take(value);
                taken.map_err(|e| Error::store(e.to_string()))?;
            }
            view.missing_ids = Some(search.found().ids);
        }
        Ok(Some(view))
    }

    async fn look(
        &self,
        hub: &Arc<Hub>,
        run: &RunId,
        name: &BarrierName,
    ) -> Result<Option<Look>, Error> {
        let mut connection = hub.connection(self.options.timeout).await?;
        let script = look_script();
        let mut call = script.prepare_invoke();
        call.key(self.scripts(run, name).keys().state());
        let value = asked(hub, call.invoke_async(&mut connection)).await?;
        decode_look(value).map_err(|e| Error::store(format!("barrier {name} of run {run}: {e}")))
    }

    /// Ends the phase, or all where none is named.
    async fn end(
        &self,
        run: &RunId,
        name: &BarrierName,
        phase: Option<Phase>,
        op: Op,
    ) -> Result<serde_json::Value, Error> {
        let scripts = self.scripts(run, name);
        let hub = self.servers.holder(&scripts.keys().state()).await?;
        // A record that is made anew in between is looked at again: it is another one, with counts of its own.
        loop {
            let Some(look) = self.look(&hub, run, name).await? else {
                let at = self.options.redis.host_port();
                return Err(Error::store(format!(
                    "{at} holds no barrier {name} of run {run}"
                )));
            };
            let request = Request {
                process: ProcessId::operator(),
                incarnation: Some(look.incarnation),
                phase: phase.unwrap_or(if look.options.cyclic {
                    look.open
                } else {
                    Phase(0)
                }),
                resend: false,
                census: None,
                reasons: Vec::new(), // it looks after nothing
                op: op.clone(),
            };
            if request.phase > look.open {
                return Err(OptionError::new(
                    "phase",
                    request.phase.to_string(),
                    format!("at most {}, the open one", look.open),
                )
                .into());
            }
            let call = scripts.invocation(&request);
            let mut connection = hub.connection(self.options.timeout).await?;
            let value = asked(&hub, call.invoke_async(&mut connection)).await?;
            let reply = decode(value).map_err(|e| Error::store(e.to_string()))?;
            let aborting = matches!(op, Op::Abort { .. });
            let answer = match reply.answer {
                Answer::Reopen => continue,
                Answer::Released => "released",
                // The answer to an abort is the break, whoever was first; only one that stood before is another's.
                Answer::Broken if !aborting || look.broken.is_some() => "broken",
                _ => "done",
            };
            let view = self
                .look(&hub, run, name)
                .await?
                .map(|look| View::of(run, name, &look));
            return Ok(serde_json::json!({ "answer": answer, "barrier": view }));
        }
    }

    fn scripts(&self, run: &RunId, name: &BarrierName) -> Scripts {
        Scripts::for_operator(run, name, self.servers.is_cluster())
    }
}

async fn asked<T>(
    hub: &Hub,
    asking: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, Error> {
    asking.await.map_err(|e| hub.error(&e))
}

fn within(option: &str, got: usize, most: usize) -> Result<(), OptionError> {
    if got <= most {
        return Ok(());
    }
    Err(OptionError::new(
        option,
        got.to_string(),
        format!("at most {most}"),
    ))
}
