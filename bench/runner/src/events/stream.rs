//! The events, and the stream that tells them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use barrier_procs::Identity;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

/// Something that happened. Texts may still hold secrets: listeners mask what they write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "event",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub(crate) enum Event {
    /// Something was found that may spoil the runs: by `doctor`, or before a run.
    Finding { text: String },
    /// A private Redis answers.
    RedisStarted { version: String, address: String },
    /// A private PostgreSQL answers.
    PostgresStarted { version: String, address: String },
    /// A call of the runner begins to work in a folder of evidence.
    SessionBegan {
        /// Absolute.
        folder: String,
        runner: Identity,
        /// It has no terminal, and ends with none.
        detached: bool,
    },
    /// The work on a plan begins.
    PlanBegan {
        /// Runs of the whole plan.
        runs: usize,
        /// Runs that have sound evidence already.
        complete: usize,
        /// An earlier call has worked on this plan.
        resumed: bool,
        /// Runs among them that are made only where a ladder asks for them.
        #[serde(default)]
        spare: usize,
        /// How long each run that is left will take with its pause, ms, if the suite says it.
        estimates_ms: Vec<Option<u64>>,
    },
    /// Every run of the plan has sound evidence already.
    NothingLeft { runs: usize },
    /// The verdict that a run of an earlier call has.
    Stored { title: String, verdict: String },
    /// A run begins.
    RunBegan {
        number: usize,
        title: String,
        estimate_ms: Option<u64>,
        /// Below that of the plan.
        #[serde(default)]
        folder: String,
    },
    /// A run is left out because of one before it.
    RunSkipped { number: usize, title: String },
    /// What will be cleaned before the run.
    Cleaning { server: String, scope: Vec<String> },
    /// The target answers.
    TargetReady { target: String, address: String },
    /// A piece of a process's output, a line with its end as a rule.
    Output { process: String, text: String },
    /// k6 is asked to end.
    Ending { reason: Ending, limit_s: u64 },
    /// Which alerts fired while a run was watched.
    Alerts { lines: Vec<String> },
    /// A run has a verdict that follows from its evidence.
    Judged(Box<JudgedRun>),
    /// A run ended without evidence that could be judged.
    NotJudged {
        verdict: String,
        title: String,
        /// What the suite tells beside the verdict.
        #[serde(default)]
        said: Option<String>,
    },
    /// A run could not be made; the plan goes on.
    RunFailed { text: String },
    /// The run, with the pause after it, is over.
    RunEnded,
    /// A ladder has ended, and what it found.
    LadderEnded { text: String },
    /// A preflight did not pass, so the plan ends.
    PreflightFailed,
    /// A pause between two runs.
    CoolingDown { ms: u64 },
    /// What became of the planned runs.
    PlanEnded {
        runs: usize,
        /// Number of runs by verdict.
        verdicts: BTreeMap<String, usize>,
        /// Runs of blocks that lack sound evidence.
        left: usize,
        folder: String,
    },
    /// What the evidence says, in words.
    Compared { lines: Vec<String> },
    /// A report has been written.
    ReportWritten { path: String },
    /// A report could not be written.
    ReportFailed { text: String },
    /// Every run of the plan passes, and nothing that follows from them together says otherwise.
    AllGood,
    /// Where the evidence is.
    EvidenceKept { folder: String },
    /// The call has ended with this exit code, and why if that was no verdict. Where this is missing, something ended the runner.
    SessionEnded {
        exit_code: i32,
        error: Option<String>,
    },
}

/// Why k6 is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Ending {
    /// A signal reached the runner; `limit_s` is what k6 has for its teardown.
    Interrupted,
    /// It runs longer than its bound, `limit_s`.
    OverLimit,
    /// A target that the runner started has ended, so that nothing more can be measured.
    TargetEnded,
    /// Nobody is there any more where a target of somebody else's was.
    TargetGone,
}

/// A judged run, as it is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JudgedRun {
    pub(crate) title: String,
    pub(crate) verdict: String,
    /// What the suite tells beside the verdict.
    #[serde(default)]
    pub(crate) said: Option<String>,
    pub(crate) derived: Map<String, Json>,
    /// Those that judge: what is only watched is none of them.
    pub(crate) gates: usize,
    pub(crate) holding: usize,
    /// Why the verdict is not PASS.
    pub(crate) reasons: Vec<String>,
    /// What to read beside the figures; empty if there is nothing.
    pub(crate) note: String,
    pub(crate) folder: String,
}

/// Somebody who is told what happens, one event after the other.
pub(crate) trait Listener: Send {
    /// `at` is when it happened.
    fn hear(&mut self, at: Timestamp, event: &Event);
}

impl Listener for Box<dyn Listener> {
    fn hear(&mut self, at: Timestamp, event: &Event) {
        self.as_mut().hear(at, event);
    }
}

/// The stream; clones are the same stream, and any thread may tell.
#[derive(Clone, Default)]
pub(crate) struct Stream(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    past: Vec<(Timestamp, Event)>,
    listeners: Vec<Box<dyn Listener>>,
}

impl Stream {
    /// A stream to which somebody listens from the first event on.
    #[cfg(test)]
    pub(crate) fn to(listener: impl Listener + 'static) -> Self {
        let stream = Self::default();
        stream.attach(listener);
        stream
    }

    /// Tells the listener what has happened so far, and all that follows.
    pub(crate) fn attach(&self, mut listener: impl Listener + 'static) {
        let mut inner = self.inner();
        for (at, event) in &inner.past {
            listener.hear(*at, event);
        }
        inner.listeners.push(Box::new(listener));
    }

    /// Nothing is told any more: returns when every listener has done with what it heard.
    pub(crate) fn close(&self) {
        // Not below the lock: who listens may take its time, and others may still tell.
        let listeners = std::mem::take(&mut self.inner().listeners);
        drop(listeners);
    }

    /// Something happens now. Returns when every listener has heard it.
    pub(crate) fn tell(&self, event: Event) {
        let now = Timestamp::now();
        let mut inner = self.inner();
        // The newest first: what is kept is there before a person, who may ask for it at once, is told.
        for listener in inner.listeners.iter_mut().rev() {
            listener.hear(now, &event);
        }
        // Output is kept in a file of its own, and there may be much of it.
        if !matches!(event, Event::Output { .. }) {
            inner.past.push((now, event));
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Keep(Arc<Mutex<Vec<Event>>>);

    impl Listener for Keep {
        fn hear(&mut self, _: Timestamp, event: &Event) {
            self.0.lock().expect("kept").push(event.clone());
        }
    }

    #[test]
    fn a_late_listener_hears_everything_but_output() {
        let stream = Stream::default();
        let output = Event::Output {
            process: "k6".to_owned(),
            text: "line\n".to_owned(),
        };
        stream.tell(Event::PreflightFailed);
        stream.tell(output.clone());
        let heard = Arc::default();
        stream.attach(Keep(Arc::clone(&heard)));
        stream.tell(output.clone());
        stream.tell(Event::RunEnded);
        let heard = heard.lock().expect("kept");
        assert_eq!(*heard, [Event::PreflightFailed, output, Event::RunEnded]);
    }
}
