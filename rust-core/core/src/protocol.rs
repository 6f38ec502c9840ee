//! What a process says to a store and hears from it: four operations and one shape of answer.
//!
//! The operations are those of a state machine, and both stores run the same one: [`crate::store::memory`] in Rust,
//! `store/redis/scripts/barrier/` as one Redis script. Every operation carries its phase, fixed when the call was
//! made; a store never moves it to another.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{Incarnation, Participant, Phase, ProcessId, Reason};

/// A point in time on the store's clock, in microseconds since the epoch.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Hash,
)]
#[serde(transparent)]
pub struct StoreTime(pub i64);

/// A length of time in microseconds.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Hash,
)]
#[serde(transparent)]
pub struct Micros(pub i64);

impl From<std::time::Duration> for Micros {
    fn from(d: std::time::Duration) -> Self {
        Self(i64::try_from(d.as_micros()).unwrap_or(i64::MAX))
    }
}

impl From<Micros> for std::time::Duration {
    fn from(m: Micros) -> Self {
        Self::from_micros(u64::try_from(m.0).unwrap_or(0))
    }
}

/// A participant's outcome in one phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It arrived.
    Arrived,
    /// It failed, and why.
    Failed(Reason),
    /// It came after the release; in no count of a release.
    Late,
    /// It left, in a cyclic barrier for good.
    Left,
}

/// Why a phase ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Why {
    /// All parties were accounted for.
    All,
    /// Enough had arrived.
    Quorum,
    /// A wait expired and the barrier's `onTimeout` is `release`.
    Timeout,
    /// Somebody released it by hand.
    Operator,
}

/// The counts of one phase.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Participants that arrived.
    pub arrived: u32,
    /// Participants that failed, by reason.
    pub failed: BTreeMap<String, u32>,
    /// Participants that have left.
    pub left: u32,
}

impl Counts {
    /// Participants that failed, whatever the reason.
    #[must_use]
    pub fn failed_total(&self) -> u32 {
        self.failed.values().sum()
    }

    /// Arrived, failed or left.
    #[must_use]
    pub fn accounted(&self) -> u32 {
        self.arrived + self.failed_total() + self.left
    }
}

/// How a phase ended: decided once, then undone by nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The phase.
    pub phase: Phase,
    /// Why it ended.
    pub why: Why,
    /// Its counts at the decision.
    #[serde(flatten)]
    pub counts: Counts,
    /// How many had arrived in earlier phases: their indices come first.
    #[serde(default)]
    pub before: u32,
    /// When it was decided.
    pub at: StoreTime,
    /// How long after the decision everyone is let go.
    pub delay: Micros,
    /// The hosts where more than one process lets its users go, as [`ProcessId::host`] has them, in order.
    #[serde(default)]
    pub crowded: Vec<String>,
}

/// What broke a barrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BreakKind {
    /// Somebody called `abort`.
    Abort,
    /// More failed than `maxFailures` allows.
    MaxFailures,
    /// A wait expired and the barrier's `onTimeout` is `abort`.
    Timeout,
}

/// How and when a barrier broke, for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// What broke it.
    pub kind: BreakKind,
    /// In whose words.
    pub message: String,
    /// The phase that was open.
    pub phase: Phase,
    /// The counts of that phase.
    #[serde(flatten)]
    pub counts: Counts,
    /// When.
    pub at: StoreTime,
}

/// One outcome on its way to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Whose.
    pub participant: Participant,
    /// What.
    pub what: ItemKind,
    /// The id is no default, and is a number within the parties.
    pub nameable: bool,
}

/// What an [`Item`] reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemKind {
    /// Arrived in the operation's phase.
    Arrived,
    /// Failed in the operation's phase.
    Failed(Reason),
    /// Left, from this phase on.
    Left {
        /// The first phase without the participant: the operation's, or the next one where the participant has an
        /// outcome in it.
        from: Phase,
    },
}

/// How a first open treats records of other processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// Any record of another process is answered by [`Answer::Others`].
    Refuse,
    /// As before, unless a process was heard of after this time.
    HeardAfter(StoreTime),
    /// They are of this run: a reopen, or the caller said so.
    Accept,
}

/// An operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Finds or creates the barrier's record and registers the process.
    Open {
        /// The incarnation of a record that this creates.
        new_incarnation: Incarnation,
        /// [`crate::options::SharedOptions::canonical`].
        options: String,
        /// Reasons whose counters exist from the start.
        reasons: Vec<Reason>,
        /// Newest release that the process has seen.
        last_release: Option<Box<Release>>,
        /// The break that the process has seen.
        broken: Option<Broken>,
        /// How records of other processes are treated.
        others: Others,
        /// Measured time from decision to receipt, with the clock's error.
        push_latency: Micros,
    },
    /// Records outcomes, in order.
    Outcomes(Vec<Item>),
    /// Releases the operation's phase.
    Release(Why),
    /// Breaks the barrier: the phase that is open, or with `only_phase` the operation's phase alone.
    Abort {
        /// What breaks it.
        kind: BreakKind,
        /// In whose words.
        message: String,
        /// Do nothing where the operation's phase is over.
        only_phase: bool,
    },
    /// Renews the keys, registers that the process lives, and asks for news.
    Beat {
        /// Measured time from decision to receipt, with the clock's error.
        push_latency: Micros,
        /// The process ends.
        closing: bool,
    },
}

/// Who runs in a process, where the parties are those who do: numbers alone, since no store has to know who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Census {
    /// The phase of which the process speaks.
    pub phase: Phase,
    /// How many of it the store does not have when the operation is done: participants that run without an outcome, and outcomes
    /// that are on no way yet.
    pub owing: u32,
    /// How many run, and so will owe an outcome when the next phase opens.
    pub running: u32,
}

/// An operation with what every operation carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who asks.
    pub process: ProcessId,
    /// The record that the process knows; none before its first open.
    pub incarnation: Option<Incarnation>,
    /// The phase of the operation; the one whose release is asked for.
    pub phase: Phase,
    /// It may have been executed before.
    pub resend: bool,
    /// Who runs; none where the number of parties is fixed.
    pub census: Option<Census>,
    /// Reasons whose counters, for outside readers, the sender looks after: its own, and those that it has heard of.
    pub reasons: Vec<Box<str>>,
    /// What is asked.
    pub op: Op,
}

/// What became of one [`Item`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemAnswer {
    /// Recorded; the number counts arrivals from 1 and is 0 for other outcomes.
    Recorded(u32),
    /// There was an outcome already.
    Standing(Outcome, u32),
    /// It came after the release of this phase.
    Late(Phase),
    /// A resend whose phase has been released.
    Released,
    /// The participant belongs to another process.
    Conflict,
    /// The barrier was broken before it.
    Broken,
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Done.
    Ok,
    /// Per item.
    Items(Vec<ItemAnswer>),
    /// The phase to be ended is over already.
    Released,
    /// The barrier is broken (before, or by this operation).
    Broken,
    /// There is no record, or another one: nothing was written.
    Reopen,
    /// The barrier was opened with other options: these.
    Options(String),
    /// There are records of other processes: nothing was written.
    Others {
        /// Whether a phase was released and nothing is broken.
        released: bool,
    },
}

/// What every answer carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// How the operation ended.
    pub answer: Answer,
    /// The record's incarnation.
    pub incarnation: Option<Incarnation>,
    /// The open phase.
    pub open: Phase,
    /// Counts of the open phase; of the released one for a one-shot barrier.
    pub counts: Counts,
    /// How many who run have no outcome in the open phase; 0 where the number of parties is fixed.
    pub owing: u32,
    /// Late participants so far.
    pub late: u32,
    /// Some recorded id cannot be named as missing.
    pub unnameable: bool,
    /// Processes registered and not closed.
    pub processes: u32,
    /// The phase of which `held_outcomes` speaks.
    pub held_phase: Phase,
    /// How many outcomes of that phase the store holds of this process.
    pub held_outcomes: u32,
    /// How many leaves the store holds of this process.
    pub held_leaves: u32,
    /// The operation proved that the store was behind: the release before its phase is not in it.
    pub was_behind: bool,
    /// The barrier is broken.
    pub broken: Option<Broken>,
    /// Release of the phase asked for.
    pub release: Option<Release>,
    /// Newest release of all.
    pub newest: Option<Release>,
    /// The store's clock.
    pub now: StoreTime,
}

impl Reply {
    /// The reply to an operation that found no record of its own and wrote nothing.
    #[must_use]
    pub fn without_record(answer: Answer, now: StoreTime) -> Self {
        Self {
            answer,
            incarnation: None,
            open: Phase(0),
            counts: Counts::default(),
            owing: 0,
            late: 0,
            unnameable: false,
            processes: 0,
            held_phase: Phase(0),
            held_outcomes: 0,
            held_leaves: 0,
            was_behind: false,
            broken: None,
            release: None,
            newest: None,
            now,
        }
    }
}

/// A message that reaches every process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Push {
    /// A phase was released.
    Release {
        /// Of this record.
        inc: Incarnation,
        /// How.
        release: Release,
    },
    /// The barrier broke.
    Broken {
        /// Of this record.
        inc: Incarnation,
        /// How.
        broken: Broken,
    },
    /// A process asks who lives.
    Hello {
        /// Who asks.
        process: ProcessId,
    },
    /// A process measures how long a message takes.
    Ping {
        /// When it was sent.
        at: StoreTime,
    },
}

/// Who is not accounted for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// How many.
    pub count: u32,
    /// The first of them, where they can be named.
    pub ids: Vec<Arc<str>>,
}
