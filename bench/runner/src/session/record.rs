//! What became of the last session in a folder: it runs, it has ended, or something ended its runner. Events and processes say it;
//! nothing is started or written.

use std::path::{Path, PathBuf};
use std::time::Duration;

use barrier_procs::Identity;
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::events::{Clock, Event, Journal};
use crate::evidence::silence::{SILENCE, is_silent, last_written};
use crate::plan::file::{Entry, PlanFile};
use crate::plan::ladder::Rung;
use crate::values::exit;
use crate::values::text::words;

/// What happens in all calls that work on a plan, beside it.
pub(crate) const EVENTS: &str = "events.jsonl";

/// Which way a session has gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Runs,
    /// With this exit code, and why if that was no verdict.
    Ended {
        at: Timestamp,
        code: i32,
        error: Option<String>,
    },
    /// Something ended the runner before it could judge what it measured.
    Killed,
    /// The runner is one of another container or machine, where it may run or may have been ended; the folder was written to so
    /// recently that it may.
    Elsewhere {
        /// When that was.
        written: Timestamp,
    },
    /// A runner wrote the evidence that told nothing of itself.
    Unknown,
}

/// A run that was begun.
#[derive(Debug, Clone)]
pub(crate) struct Begun {
    pub(crate) number: usize,
    /// Which run of the plan it is as they were made, where the plan holds runs that only a ladder may ask for.
    pub(crate) nth: Option<usize>,
    pub(crate) title: String,
    pub(crate) at: Timestamp,
    /// The pause after it.
    pub(crate) cooling: bool,
}

/// The last session in a folder.
#[derive(Debug)]
pub(crate) struct Record {
    /// Of the plan.
    pub(crate) folder: PathBuf,
    pub(crate) suite: String,
    pub(crate) state: State,
    pub(crate) runner: Option<Identity>,
    pub(crate) began: Option<Timestamp>,
    /// Runs of the whole plan, without those that a ladder may ask for.
    pub(crate) runs: usize,
    /// The run that is made now, or was when the runner was ended.
    pub(crate) current: Option<Begun>,
    /// The newest verdict of each run, in the order in which they were told, with its title.
    pub(crate) verdicts: Vec<(String, String)>,
    planned: Vec<Entry>,
    /// How many runs are over, and how many of the others only a ladder may ask for.
    over: usize,
    spare: usize,
    clock: Clock,
}

impl Record {
    /// Reads it from the folder of a plan.
    ///
    /// # Errors
    /// The folder holds no plan, or its events cannot be read.
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Self> {
        let plan = PlanFile::read(folder)?;
        let mut record = Self {
            folder: folder.to_owned(),
            suite: plan.suite,
            state: State::Unknown,
            runner: None,
            began: None,
            runs: certain(&plan.runs),
            current: None,
            verdicts: Vec::new(),
            planned: plan.runs,
            over: 0,
            spare: 0,
            clock: Clock::default(),
        };
        // Looked at first: one that ends now has told its end before.
        let told = |folder: &Path| Journal::of(&folder.join(EVENTS)).next();
        let runner = told(folder)?
            .into_iter()
            .rev()
            .find_map(|(_, event)| match event {
                Event::SessionBegan { runner, .. } => Some(runner),
                _ => None,
            });
        let lives = runner.as_ref().is_some_and(Identity::lives);
        for (at, event) in told(folder)? {
            record.hear(at, event);
        }
        // Another call may have begun between the two looks.
        let lives = lives || record.runner != runner && record.lives();
        if record.state == State::Runs && !lives {
            record.state = record.gone();
        }
        Ok(record)
    }

    fn lives(&self) -> bool {
        self.runner.as_ref().is_some_and(Identity::lives)
    }

    /// What became of a runner that does not live here.
    fn gone(&self) -> State {
        let elsewhere = self.runner.as_ref().is_some_and(Identity::is_elsewhere);
        match last_written(&self.folder) {
            Some(written) if !elsewhere || is_silent(written) => State::Killed,
            None if !elsewhere => State::Killed,
            // Where nothing can be read, nothing says that nobody works there.
            written => State::Elsewhere {
                written: written
                    .and_then(|written| Timestamp::try_from(written).ok())
                    .unwrap_or_else(Timestamp::now),
            },
        }
    }

    /// Refuses what must not be done while a runner works in the folder, where nobody can tell whether one does. `what`: what is
    /// refused.
    ///
    /// # Errors
    /// The runner is elsewhere, and may run.
    pub(crate) fn refuse_elsewhere(&self, what: &str) -> anyhow::Result<()> {
        let State::Elsewhere { written } = self.state else {
            return Ok(());
        };
        let folder = self.folder.display();
        Err(exit::set_up(format!(
            "{folder}: {what}: its runner {ELSEWHERE}, and the folder was written to {} ago; call this where the run was started, or, if it was ended there, once nothing has been written for {}",
            ago(written),
            words(SILENCE)
        )))
    }

    fn hear(&mut self, at: Timestamp, event: Event) {
        self.clock.hear(at, &event);
        match event {
            Event::SessionBegan { runner, .. } => {
                (self.state, self.runner) = (State::Runs, Some(runner));
                (self.began, self.current) = (Some(at), None);
            }
            Event::SessionEnded { exit_code, error } => {
                self.state = State::Ended {
                    at,
                    code: exit_code,
                    error,
                };
                self.current = None;
            }
            Event::PlanBegan {
                complete, spare, ..
            } => (self.over, self.spare) = (complete, spare),
            Event::RunBegan { number, title, .. } => {
                self.current = Some(Begun {
                    number,
                    nth: (self.spare > 0).then_some(self.over + 1),
                    title,
                    at,
                    cooling: false,
                });
            }
            Event::RunEnded => {
                self.current = None;
                self.over += 1;
            }
            Event::RunSkipped { .. } => self.over += 1,
            Event::CoolingDown { .. } => {
                if let Some(current) = &mut self.current {
                    current.cooling = true;
                }
            }
            Event::Judged(run) => self.verdict(run.title, run.verdict),
            Event::NotJudged { title, verdict, .. } => self.verdict(title, verdict),
            _ => {}
        }
    }

    fn verdict(&mut self, title: String, verdict: String) {
        self.verdicts.retain(|(known, _)| *known != title);
        self.verdicts.push((title, verdict));
    }

    /// What the plan says of the run that is made now.
    pub(crate) fn planned(&self) -> Option<&Entry> {
        let number = self.current.as_ref()?.number;
        self.planned.iter().find(|run| run.number == number)
    }

    /// How much time the plan has left, if it is worked on and that is known.
    pub(crate) fn left(&self) -> Option<Duration> {
        (self.state == State::Runs)
            .then(|| self.clock.left(Timestamp::now()))
            .flatten()
    }

    /// The exit code of the session; of one that runs, [`exit::RUNS`].
    pub(crate) fn code(&self) -> i32 {
        match &self.state {
            State::Runs => exit::RUNS,
            State::Ended { code, .. } => *code,
            State::Killed => exit::INTERRUPTED,
            State::Elsewhere { .. } | State::Unknown => exit::SET_UP,
        }
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Json {
        let (state, ended, error) = match &self.state {
            State::Runs => ("running", None, None),
            State::Ended { at, error, .. } => ("ended", Some(at), error.as_ref()),
            State::Killed => ("killed", None, None),
            State::Elsewhere { .. } => ("elsewhere", None, None),
            State::Unknown => ("unknown", None, None),
        };
        let run = self.current.as_ref().map(|run| {
            let planned = self.planned();
            json!({
                "number": run.number,
                "nth": run.nth.unwrap_or(run.number),
                "title": run.title,
                "scenario": planned.map(|run| &run.scenario),
                "variant": planned.and_then(|run| run.variant.as_ref()),
                "block": planned.map(|run| run.block),
                "began": run.at,
                "coolingDown": run.cooling,
            })
        });
        let left = self
            .left()
            .map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        let verdicts = self.verdicts.iter();
        let verdicts =
            verdicts.map(|(title, verdict)| json!({ "title": title, "verdict": verdict }));
        json!({
            "schemaVersion": 1,
            "suite": self.suite,
            "folder": self.folder,
            "state": state,
            "process": self.runner.as_ref().map(Identity::process),
            "began": self.began,
            "ended": ended,
            "exitCode": (self.state != State::Runs).then(|| self.code()),
            "error": error,
            "runs": self.runs,
            "run": run,
            "leftMs": left,
            "verdicts": verdicts.collect::<Vec<_>>(),
        })
    }
}

/// How many runs are made whatever comes out.
fn certain(runs: &[Entry]) -> usize {
    let spare = |run: &&Entry| run.rung.is_some_and(Rung::is_spare);
    runs.len() - runs.iter().filter(spare).count()
}

/// What is said of processes that cannot be told from here.
pub(crate) const ELSEWHERE: &str =
    "runs, or ran, in another container or on another machine, which cannot be told from here";

/// How long ago something was, in words.
pub(crate) fn ago(at: Timestamp) -> String {
    words(Duration::try_from(Timestamp::now().duration_since(at)).unwrap_or_default())
}
