//! The store in Redis or Valkey: one hash per barrier, changed by one script.
//!
//! This file knows keys, the script's arguments and its answers; the connection is [`crate::engine`]'s.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use once_cell::sync::Lazy;
use redis::{FromRedisValue, Script, ScriptInvocation, Value};
use serde::de::DeserializeOwned;

use crate::ids::{BarrierName, Incarnation, Phase, RunId};
use crate::ledger::BATCH_MAX;
use crate::options::BarrierOptions;
use crate::protocol::{
    Answer, BreakKind, Census, Counts, Item, ItemAnswer, ItemKind, Op, Others, Outcome, Reply,
    Request, StoreTime, Why,
};

mod look;
mod missing;

pub use look::{Look, decode_look, look_script, parse_state_key, state_pattern};
pub use missing::Search;

/// The script that all operations are.
pub const SCRIPT: &str = concat!(
    include_str!("scripts/barrier/record.lua"),
    include_str!("scripts/barrier/phases.lua"),
    include_str!("scripts/barrier/outcomes.lua"),
    include_str!("scripts/barrier/running.lua"),
    include_str!("scripts/barrier/operations.lua"),
);

// A script takes as much memory as a barrier does that is over, and a hash of its text: one of each is enough.
static BARRIER: Lazy<Arc<Script>> = Lazy::new(|| Arc::new(Script::new(SCRIPT)));
static MISSING: Lazy<Arc<Script>> = Lazy::new(|| Arc::new(missing::script()));
static KEEP: Lazy<Script> = Lazy::new(|| Script::new(include_str!("scripts/keep.lua")));

// `unpack` in the script gets a field per item at once; Lua's stack bounds that at about 8,000.
const _: () = assert!(BATCH_MAX <= 1000);

/// Names of a barrier's keys and of its channel.
#[derive(Debug, Clone)]
pub struct Keys {
    suffix: String,
    /// Looked up at each message and each turn.
    channel: Arc<str>,
}

impl Keys {
    /// The keys of the barrier `name` in run `run`; the name `default` is left out. On a cluster the run id is in braces,
    /// so that all keys are in one slot.
    #[must_use]
    pub fn new(run: &RunId, name: &BarrierName, on_cluster: bool) -> Self {
        let run = if on_cluster {
            format!("{{{run}}}")
        } else {
            run.to_string()
        };
        let suffix = match name.as_str() {
            "default" => run,
            name => format!("{run}:{name}"),
        };
        let channel = format!("K6_BARRIER_EVENTS:{suffix}").into();
        Self { suffix, channel }
    }

    /// The hash that is the truth.
    #[must_use]
    pub fn state(&self) -> String {
        format!("K6_BARRIER_STATE:{}", self.suffix)
    }

    /// The set of those who arrived in a phase, for outside readers.
    #[must_use]
    pub fn joined(&self, phase: Phase) -> String {
        format!("K6_BARRIER_JOINED:{}{}", self.suffix, At(phase))
    }

    /// The channel of releases, breaks and greetings.
    #[must_use]
    pub const fn channel(&self) -> &Arc<str> {
        &self.channel
    }

    /// The counter of failures of one reason in a phase, for outside readers.
    #[must_use]
    pub fn failures(&self, reason: &str, phase: Phase) -> String {
        let reason = reason.to_ascii_uppercase();
        format!("K6_BARRIER_{reason}_FAIL:{}{}", self.suffix, At(phase))
    }
}

/// The phase in the name of a mirror; the first one is left out.
struct At(Phase);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Phase(0) => Ok(()),
            phase => write!(f, ":@{phase}"),
        }
    }
}

/// The scripts, ready to be called for one barrier.
#[derive(Debug, Clone)]
pub struct Scripts {
    keys: Keys,
    cyclic: bool,
    ttl_ms: u64,
    barrier: Arc<Script>,
    missing: Arc<Script>,
}

impl Scripts {
    /// For the barrier with these options.
    ///
    /// # Panics
    /// Where the options have no run id, which [`BarrierOptions::from_json`] refuses for this store.
    #[must_use]
    pub fn new(options: &BarrierOptions) -> Self {
        Self::with(options, Arc::clone(&BARRIER))
    }

    /// As [`Scripts::new`], with another text of the main script: the model test removes rules from it.
    ///
    /// # Panics
    /// As [`Scripts::new`].
    #[must_use]
    pub fn with_source(options: &BarrierOptions, source: &str) -> Self {
        Self::with(options, Arc::new(Script::new(source)))
    }

    fn with(options: &BarrierOptions, barrier: Arc<Script>) -> Self {
        let run = options
            .run_id
            .as_ref()
            .expect("a run id is required with Redis");
        Self {
            keys: Keys::new(run, &options.name, options.store.is_cluster()),
            cyclic: options.shared.cyclic,
            ttl_ms: u64::try_from(options.ttl.as_millis()).unwrap_or(u64::MAX),
            barrier,
            missing: Arc::clone(&MISSING),
        }
    }

    /// For an operator, who opens nothing and renews no key.
    #[must_use]
    pub fn for_operator(run: &RunId, name: &BarrierName, on_cluster: bool) -> Self {
        Self {
            keys: Keys::new(run, name, on_cluster),
            cyclic: true,
            ttl_ms: 0,
            barrier: Arc::clone(&BARRIER),
            missing: Arc::clone(&MISSING),
        }
    }

    /// The keys.
    #[must_use]
    pub const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The main script's hash, for `EVALSHA` by hand.
    #[must_use]
    pub fn barrier(&self) -> &Script {
        &self.barrier
    }

    /// The call for an operation.
    #[must_use]
    pub fn invocation(&self, request: &Request) -> ScriptInvocation<'_> {
        let mut call = self.barrier.prepare_invoke();
        call.key(self.keys.state()).key(self.keys.joined(Phase(0)));
        for phase in self.mirrored(request) {
            if phase > Phase(0) {
                call.key(self.keys.joined(phase));
            }
            for reason in &request.reasons {
                call.key(self.keys.failures(reason, phase));
            }
        }
        call.arg(name_of(&request.op))
            .arg(request.process.as_str())
            .arg(request.incarnation.as_ref().map_or("", |i| i.as_str()))
            .arg(request.phase.0)
            .arg(&*resend_and_census(request))
            .arg(self.ttl_ms)
            .arg(&self.keys.suffix);
        arguments(&mut call, &request.op);
        call
    }

    /// The phases whose mirrors an operation may write, renew or, two phases later, delete.
    fn mirrored(&self, request: &Request) -> impl Iterator<Item = Phase> {
        let now = if self.cyclic { request.phase } else { Phase(0) };
        let first = matches!(request.op, Op::Open { .. }) && now > Phase(0);
        let old = matches!(request.op, Op::Outcomes(_)).then(|| now.0.checked_sub(2));
        [
            Some(now),
            first.then_some(Phase(0)),
            old.flatten().map(Phase),
        ]
        .into_iter()
        .flatten()
    }
}

/// Whether it may have been executed before, and who runs.
fn resend_and_census(request: &Request) -> Cow<'static, str> {
    let resend = if request.resend { "1" } else { "0" };
    match request.census {
        None => Cow::Borrowed(resend),
        Some(Census {
            phase,
            owing,
            running,
        }) => Cow::Owned(format!("{resend} {phase} {owing} {running}")),
    }
}

const fn name_of(op: &Op) -> &'static str {
    match op {
        Op::Open { .. } => "open",
        Op::Outcomes(_) => "outcomes",
        Op::Release(_) => "release",
        Op::Abort { .. } => "abort",
        Op::Beat { .. } => "beat",
    }
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain data always has a JSON form")
}

fn arguments(call: &mut ScriptInvocation<'_>, op: &Op) {
    match op {
        Op::Open {
            new_incarnation,
            options,
            reasons,
            last_release,
            broken,
            others,
            push_latency,
        } => {
            let reasons: Vec<_> = reasons.iter().map(|r| r.as_str()).collect();
            call.arg(new_incarnation.as_str())
                .arg(options)
                .arg(reasons.join(" "))
                .arg(last_release.as_ref().map(json).unwrap_or_default())
                .arg(broken.as_ref().map(json).unwrap_or_default())
                .arg(match others {
                    Others::Refuse => String::new(),
                    Others::Accept => "*".into(),
                    Others::HeardAfter(then) => then.0.to_string(),
                })
                .arg(push_latency.0);
        }
        Op::Outcomes(items) => {
            call.arg(runs(items));
            for item in items {
                call.arg(&*field(item.participant.as_str()));
            }
        }
        Op::Release(why) => {
            call.arg(match why {
                Why::All => "all",
                Why::Quorum => "quorum",
                Why::Timeout => "timeout",
                Why::Operator => "operator",
            });
        }
        Op::Abort {
            kind,
            message,
            only_phase,
        } => {
            call.arg(match kind {
                BreakKind::Abort => "abort",
                BreakKind::MaxFailures => "maxFailures",
                BreakKind::Timeout => "timeout",
            })
            .arg(message)
            .arg(u8::from(*only_phase));
        }
        Op::Beat {
            push_latency,
            closing,
        } => {
            call.arg(push_latency.0).arg(u8::from(*closing));
        }
    }
}

/// What keeps the keys of a barrier alive that is over.
#[derive(Debug, Clone)]
pub struct Keep {
    /// The hash first.
    pub keys: Vec<String>,
    /// Of this record, and of no other.
    pub incarnation: Incarnation,
    /// For so many milliseconds.
    pub ttl_ms: u64,
}

impl Scripts {
    /// What keeps the record with these reasons alive.
    #[must_use]
    pub fn keep<'a>(
        &self,
        incarnation: &Incarnation,
        reasons: impl Iterator<Item = &'a str>,
    ) -> Keep {
        let mut keys = vec![self.keys.state(), self.keys.joined(Phase(0))];
        keys.extend(reasons.map(|reason| self.keys.failures(reason, Phase(0))));
        Keep {
            keys,
            incarnation: incarnation.clone(),
            ttl_ms: self.ttl_ms,
        }
    }
}

/// The call that keeps the keys of several barriers alive. It answers, for each, whether its record is still there.
#[must_use]
pub fn keep_alive(all: &[Keep]) -> ScriptInvocation<'static> {
    let mut call = KEEP.prepare_invoke();
    for keep in all {
        for key in &keep.keys {
            call.key(key);
        }
        call.arg(keep.keys.len());
        call.arg(keep.incarnation.as_str()).arg(keep.ttl_ms);
    }
    call
}

/// What the items report, as runs of alike ones: code, nameable, how many, reason or phase.
fn runs(items: &[Item]) -> String {
    let mut text = String::new();
    for run in items.chunk_by(|a, b| a.what == b.what && a.nameable == b.nameable) {
        let first = &run[0];
        let (code, detail) = match &first.what {
            ItemKind::Arrived => ('A', String::new()),
            ItemKind::Failed(reason) => ('F', reason.to_string()),
            ItemKind::Left { from } => ('L', from.to_string()),
        };
        let nameable = u8::from(first.nameable);
        let separator = if text.is_empty() { "" } else { " " };
        let _ = write!(text, "{separator}{code},{nameable},{},{detail}", run.len());
    }
    text
}

/// The field of a participant. Those of the record begin with @, so that an id which does has it twice.
fn field(id: &str) -> Cow<'_, str> {
    if id.starts_with('@') {
        Cow::Owned(format!("@{id}"))
    } else {
        Cow::Borrowed(id)
    }
}

/// Why an answer of the script could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the store's answer cannot be read: {0}")]
pub struct Unreadable(String);

/// Reads the script's answer.
///
/// # Errors
/// Where the answer has another shape, as after a change of the script on one side only.
pub fn decode(value: Value) -> Result<Reply, Unreadable> {
    let texts: Vec<String> = Vec::from_redis_value(value).map_err(|e| Unreadable(e.to_string()))?;
    let mut fields = Fields {
        texts: texts.iter(),
        at: 0,
    };
    let answer = fields.text()?.to_owned();
    let detail = fields.text()?.to_owned();
    let now = StoreTime(fields.parse()?);
    let refused = match answer.as_str() {
        "REOPEN" => Some(Answer::Reopen),
        "OPTIONS" => Some(Answer::Options(detail.clone())),
        "OTHERS" => Some(Answer::Others {
            released: detail == "1",
        }),
        _ => None,
    };
    if let Some(answer) = refused {
        return Ok(Reply::without_record(answer, now));
    }
    let incarnation = Some(Incarnation::from_store(fields.text()?));
    let open = Phase(fields.parse()?);
    let counts = fields.counts()?;
    let mut reply = Reply {
        answer: Answer::Ok,
        incarnation,
        open,
        counts,
        owing: detail.parse().unwrap_or(0),
        late: fields.parse()?,
        unnameable: fields.text()? == "1",
        processes: fields.parse()?,
        held_phase: Phase(fields.parse()?),
        held_outcomes: fields.parse()?,
        held_leaves: fields.parse()?,
        was_behind: fields.text()? == "1",
        broken: fields.json()?,
        release: fields.json()?,
        newest: fields.json()?,
        now,
    };
    reply.answer = match answer.as_str() {
        "OK" => Answer::Ok,
        "RELEASED" => Answer::Released,
        "BROKEN" => Answer::Broken,
        "ITEMS" => {
            let mut items = Vec::new();
            for run in fields.texts {
                items.extend(item_run(run)?);
            }
            Answer::Items(items)
        }
        other => return Err(Unreadable(format!("unknown answer {other:?}"))),
    };
    Ok(reply)
}

struct Fields<'a> {
    texts: std::slice::Iter<'a, String>,
    at: usize,
}

impl<'a> Fields<'a> {
    fn text(&mut self) -> Result<&'a str, Unreadable> {
        self.at += 1;
        self.texts
            .next()
            .map(String::as_str)
            .ok_or_else(|| Unreadable(format!("field {} is missing", self.at)))
    }

    fn parse<T: std::str::FromStr>(&mut self) -> Result<T, Unreadable> {
        let text = self.text()?;
        text.parse()
            .map_err(|_| Unreadable(format!("field {} is {text:?}", self.at)))
    }

    fn json<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Unreadable> {
        let text = self.text()?;
        if text.is_empty() {
            return Ok(None);
        }
        serde_json::from_str(text)
            .map(Some)
            .map_err(|e| Unreadable(format!("field {}: {e}", self.at)))
    }

    /// Arrived, failed by reason, left: three fields.
    fn counts(&mut self) -> Result<Counts, Unreadable> {
        Ok(Counts {
            arrived: self.parse()?,
            failed: failures(self.text()?)?,
            left: self.parse()?,
        })
    }
}

fn failures(text: &str) -> Result<BTreeMap<String, u32>, Unreadable> {
    text.split_ascii_whitespace()
        .map(|pair| {
            let (reason, n) = pair.split_once('=')?;
            Some((reason.to_owned(), n.parse().ok()?))
        })
        .collect::<Option<_>>()
        .ok_or_else(|| Unreadable(format!("failures are {text:?}")))
}

/// Reads answers of several items at once: equal ones, or arrivals whose indices go on by one.
fn item_run(text: &str) -> Result<impl Iterator<Item = ItemAnswer> + use<>, Unreadable> {
    let bad = || Unreadable(format!("an answer of items is {text:?}"));
    let (one, n) = match text.split_once('*') {
        Some((one, n)) => (one, n.parse().map_err(|_| bad())?),
        None => (text, 1),
    };
    if n as usize > BATCH_MAX {
        return Err(bad());
    }
    let first = item(one)?;
    Ok((0..n).map(move |behind: u32| match &first {
        ItemAnswer::Recorded(index) if *index > 0 => {
            ItemAnswer::Recorded(index.saturating_add(behind))
        }
        same => same.clone(),
    }))
}

fn item(text: &str) -> Result<ItemAnswer, Unreadable> {
    let bad = || Unreadable(format!("an item's answer is {text:?}"));
    let mut parts = text.split('|');
    let code = parts.next().ok_or_else(bad)?;
    let mut number = || parts.next()?.parse::<u32>().ok();
    Ok(match code {
        "R" => ItemAnswer::Recorded(number().ok_or_else(bad)?),
        "T" => ItemAnswer::Late(Phase(number().ok_or_else(bad)?)),
        "P" => ItemAnswer::Released,
        "C" => ItemAnswer::Conflict,
        "B" => ItemAnswer::Broken,
        "S" => {
            let outcome = parts.next().ok_or_else(bad)?;
            let index = parts.next().and_then(|n| n.parse().ok()).ok_or_else(bad)?;
            let reason = parts.next().unwrap_or_default();
            let outcome = match outcome {
                "A" => Outcome::Arrived,
                "T" => Outcome::Late,
                "L" => Outcome::Left,
                "F" => {
                    Outcome::Failed(crate::ids::Reason::new("reason", reason).map_err(|_| bad())?)
                }
                _ => return Err(bad()),
            };
            ItemAnswer::Standing(outcome, index)
        }
        _ => return Err(bad()),
    })
}
