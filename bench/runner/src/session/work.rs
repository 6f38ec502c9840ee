//! The work on a plan, run by run.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;

use super::ladders::Ladders;
use super::ready::Ready;
use super::servers::Servers;
use super::state::{Planned, Standing, standing};
use crate::events::{Event, Stream};
use crate::evidence::{Invocation, attempt};
use crate::plan::file::{self, PlanFile};
use crate::plan::ladder::{Outcome as Found, Rung, Step};
use crate::plan::{Plan, PlannedRun};
use crate::report;
use crate::run::inbox::Inbox;
use crate::run::meta::Shared;
use crate::run::scratch::Scratch;
use crate::run::{Attempt, Outcome};
use crate::suite::Suite;
use crate::suite::schema::OnFail;
use crate::values::exit::{self, Stop};
use crate::values::hash;
use crate::values::text::shown;
use crate::values::writer;
use crate::verdict;
use crate::verdict::gates::Verdict;

/// What the runs of one call share.
pub(super) struct Session<'a> {
    shared: Shared<'a>,
    servers: Servers,
    invocation: Invocation,
    /// Run ids of the runs before this one.
    earlier: Vec<String>,
    inbox: Inbox,
    stream: Stream,
    on_fail: OnFail,
    /// Go on even if a run could not be started.
    keep_going: bool,
    _scratch: Scratch,
}

/// What follows a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    Run,
    Scenario,
    Nothing,
}

/// How the work on a plan ended.
#[derive(Debug, Default)]
struct Worked {
    codes: Vec<i32>,
    failure: Option<anyhow::Error>,
}

impl<'a> Session<'a> {
    /// A session that has done nothing yet.
    ///
    /// # Errors
    /// The plan or the suite beside it cannot be read.
    pub(super) fn new(
        suite: &'a Suite,
        ready: Ready,
        invocation: Invocation,
        file: &PlanFile,
        keep_going: bool,
        stream: &Stream,
    ) -> anyhow::Result<Self> {
        let [copy_sha256, plan_sha256] = file::sums(invocation.path())?;
        Ok(Self {
            shared: Shared {
                suite,
                suite_sha256: hash::sha256(suite.text.as_bytes()),
                copy_sha256,
                plan_sha256,
                k6: ready.k6,
                runs: file.runs.len(),
                label: file.selection.label.clone(),
                quick: file.selection.quick,
            },
            servers: ready.servers,
            invocation,
            earlier: Vec::new(),
            inbox: ready.inbox,
            stream: stream.clone(),
            on_fail: if keep_going {
                OnFail::NextRun
            } else {
                suite.file.suite.on_fail
            },
            keep_going,
            _scratch: ready.scratch,
        })
    }

    /// Makes every run that has no sound evidence yet, and returns the exit code. `stands`: how each stands before.
    ///
    /// # Errors
    /// A run could not be started, or evidence could not be written.
    pub(super) fn work(mut self, plan: Plan<'_>, stands: Vec<Standing>) -> anyhow::Result<i32> {
        let planned: Vec<Planned> = plan.runs.iter().map(Planned::from).collect();
        let result = self.runs(plan, stands);
        let kept = self.servers.end(&self.invocation.shared());
        let Worked { codes, failure } = result?;
        kept?;
        let all_pass = self.sum_up(&planned);
        self.keep_ladders()?;
        for text in self.invocation.shared().faults() {
            let text = format!("not whole: {text}");
            self.stream.tell(Event::Finding { text });
        }
        // The evidence is complete by now; only what is made of it may be missing.
        let reported = report::of_plan(self.shared.suite, self.invocation.path(), &self.stream);
        // Not before the limits of comparisons have said theirs.
        let good = failure.is_none() && exit::of_runs(&codes) == exit::OK;
        if all_pass && good && matches!(reported, Ok(exit::OK)) {
            self.stream.tell(Event::AllGood);
        }
        self.stream.tell(Event::EvidenceKept {
            folder: shown(self.invocation.path()),
        });
        if let Some(error) = failure {
            return Err(error);
        }
        match (exit::of_runs(&codes), reported) {
            (exit::OK, Err(error)) => Err(error.context("writing the report")),
            // A limit that the suite sets to a comparison.
            (exit::OK, Ok(code)) => Ok(code),
            (code, reported) => {
                if let Err(error) = reported {
                    self.stream.tell(Event::ReportFailed {
                        text: format!("{error:#}"),
                    });
                }
                Ok(code)
            }
        }
    }

    fn runs(&mut self, plan: Plan<'_>, stands: Vec<Standing>) -> anyhow::Result<Worked> {
        let mut worked = Worked::default();
        let mut left: Vec<(PlannedRun<'_>, Standing)> = Vec::new();
        let (mut complete, mut spare) = (0, 0);
        let rungs = plan
            .runs
            .iter()
            .filter_map(|run| Some((run.scenario.id.get_ref().as_str(), run.rung?)));
        let mut ladders = Ladders::new(self.shared.suite, rungs);
        for (run, stands) in plan.runs.into_iter().zip(stands) {
            self.earlier.extend(stands.state.run_ids.iter().cloned());
            let outcome = stands.state.outcome.clone().filter(Found::is_sound);
            let made = match (run.rung, outcome) {
                (None, _) => stands.complete,
                (Some(rung), Some(outcome)) => {
                    ladders.note(run.scenario.id.get_ref(), rung, outcome)
                }
                (Some(_), None) => false,
            };
            spare += usize::from(!made && run.rung.is_some_and(Rung::is_spare));
            if made {
                complete += 1;
                if !run.cycle.discarded {
                    worked.codes.push(stands.state.code);
                }
            } else {
                left.push((run, stands));
            }
        }
        // Of what may never be asked for, nothing is reckoned.
        let with_pause = |run: &PlannedRun<'_>| {
            if run.rung.is_some_and(Rung::is_spare) {
                return Some(0);
            }
            Some(millis(run.estimate? + run.cooldown.unwrap_or_default()))
        };
        self.stream.tell(Event::PlanBegan {
            runs: self.shared.runs,
            complete,
            spare,
            resumed: complete > 0 || left.iter().any(|(_, stands)| stands.state.attempts > 0),
            estimates_ms: left.iter().map(|(run, _)| with_pause(run)).collect(),
        });
        let mut skipped: Option<String> = None;
        let mut due = Next::Run;
        let mut following = self.due(&mut left, &ladders);
        while let Some(place) = following {
            let (mut run, Standing { state, next, .. }) = left.remove(place);
            let scenario = run.scenario.id.get_ref().clone();
            let (number, title) = (run.number, run.title());
            if skipped.as_ref() == Some(&scenario) {
                self.stream.tell(Event::RunSkipped { number, title });
                following = self.due(&mut left, &ladders);
                continue;
            }
            let (preflight, pause) = (run.preflight, run.cooldown);
            let block = run.cycle.block;
            run.cycle.attempt = next;
            let discarded = run.cycle.discarded;
            let rung = run.rung;
            self.stream.tell(Event::RunBegan {
                number,
                title,
                estimate_ms: run.estimate.map(millis),
                folder: attempt(&run.folder, state.attempts + 1),
            });
            let folder = run.folder.clone();
            let outcome = self.one(run, state.attempts + 1)?;
            if let Some(rung) = rung {
                let found = self.found(&folder, state.attempts + 1);
                ladders.note(&scenario, rung, found);
            }
            let stopped = outcome.verdict == Verdict::Interrupted
                || (outcome.error.is_some() && !self.keep_going && !discarded);
            following = if stopped {
                (!left.is_empty()).then_some(0)
            } else {
                self.due(&mut left, &ladders)
            };
            let more = following.is_some();
            let ahead = following.and_then(|place| left.get(place));
            // A missed objective is a result: its block is completed, so that it can be compared.
            let waits = outcome.verdict == Verdict::Fail
                && ahead.is_some_and(|(run, _)| run.cycle.block == block);
            due = due.max(if discarded {
                self.after_warm_up(outcome, &mut worked)
            } else {
                match self.after(outcome, preflight && more, &mut worked) {
                    // What follows a level is for its ladder to say, and what follows a ladder is the next scenario.
                    Next::Scenario | Next::Nothing if rung.is_some() && !stopped => Next::Run,
                    next => next,
                }
            });
            let mut ends = false;
            if !waits {
                match std::mem::replace(&mut due, Next::Run) {
                    Next::Run => {}
                    Next::Scenario => skipped = Some(scenario),
                    Next::Nothing => ends = true,
                }
            }
            if let (Some(pause), true) = (pause, more && !ends)
                && let Err(Stop::Interrupted) = self.cool_down(pause)
            {
                worked.codes.push(exit::INTERRUPTED);
                ends = true;
            }
            self.stream.tell(Event::RunEnded);
            if ends {
                self.tell_of_rest(&left);
                break;
            }
        }
        Ok(worked)
    }

    /// Names what was planned and is not begun, where it ends before that.
    fn tell_of_rest(&self, left: &[(PlannedRun<'_>, Standing)]) {
        let rest = left
            .iter()
            .filter(|(run, _)| !run.rung.is_some_and(Rung::is_spare));
        let rest: Vec<String> = rest.map(|(run, _)| run.title()).collect();
        if !rest.is_empty() {
            let text = format!("{}  {}", Verdict::NotRun, rest.join(", "));
            self.stream.tell(Event::Finding { text });
        }
    }

    /// The place of the next run among those that are left: the first, or of a ladder the one that it asks for. What a ladder has
    /// no need of leaves the list.
    fn due(&self, left: &mut Vec<(PlannedRun<'_>, Standing)>, ladders: &Ladders) -> Option<usize> {
        loop {
            let (first, _) = left.first()?;
            let scenario = first.scenario.id.get_ref().clone();
            let own = |run: &PlannedRun<'_>| *run.scenario.id.get_ref() == scenario;
            let step = first.rung.and_then(|_| ladders.next(&scenario));
            match step {
                None => return Some(0),
                Some(Step::Run(rung)) => {
                    let mut places = left.iter();
                    return places.position(|(run, _)| own(run) && run.rung == Some(rung));
                }
                Some(Step::Ended(_)) => {}
            }
            let found = verdict::ladders::of_plan(self.invocation.path());
            let found = found.unwrap_or_default().into_iter();
            for found in found.filter(|found| found.scenario == scenario) {
                let text = found.told();
                self.stream.tell(Event::LadderEnded { text });
            }
            for (run, _) in left.iter().filter(|(run, _)| own(run)) {
                let (number, title) = (run.number, run.title());
                self.stream.tell(Event::RunSkipped { number, title });
            }
            left.retain(|(run, _)| !own(run));
        }
    }

    /// What a run of a ladder came to, by what it left.
    fn found(&self, folder: &str, attempt: u32) -> Found {
        let attempts = self.invocation.attempts(folder);
        let own = attempts.iter().find(|(number, _)| *number == attempt);
        let verdict = own.and_then(|(_, folder)| folder.json("verdict.json"));
        verdict::ladders::outcome(&self.shared.suite.file, &verdict.unwrap_or_default())
    }

    /// What follows a run that only warms up: the next one, whatever became of it, unless a signal ended it.
    fn after_warm_up(&self, outcome: Outcome, worked: &mut Worked) -> Next {
        if outcome.verdict == Verdict::Interrupted {
            worked.codes.push(outcome.code);
            return Next::Nothing;
        }
        if let Some(error) = outcome.error {
            self.stream.tell(Event::RunFailed {
                text: format!("{error:#}"),
            });
        }
        Next::Run
    }

    /// What follows a run. `barred`: other runs wait for this one to pass.
    fn after(&self, outcome: Outcome, barred: bool, worked: &mut Worked) -> Next {
        let Outcome {
            verdict,
            code,
            error,
        } = outcome;
        worked.codes.push(code);
        if verdict == Verdict::Interrupted {
            return Next::Nothing;
        }
        if let Some(error) = error {
            if !self.keep_going {
                worked.failure = Some(error);
                return Next::Nothing;
            }
            self.stream.tell(Event::RunFailed {
                text: format!("{error:#}"),
            });
        }
        if verdict.passed() {
            return Next::Run;
        }
        if barred {
            self.stream.tell(Event::PreflightFailed);
            // Nothing of the plan proper was judged; a code of k6 stays.
            if code == exit::GATE {
                worked.codes.pop();
                worked.codes.push(exit::SET_UP);
            }
            return Next::Nothing;
        }
        match self.on_fail {
            OnFail::Stop => Next::Nothing,
            OnFail::NextScenario => Next::Scenario,
            OnFail::NextRun => Next::Run,
        }
    }

    fn cool_down(&mut self, pause: std::time::Duration) -> Result<(), Stop> {
        self.stream.tell(Event::CoolingDown { ms: millis(pause) });
        self.inbox.pause(pause)
    }

    fn one(&mut self, mut run: PlannedRun<'_>, number: u32) -> anyhow::Result<Outcome> {
        let folder = self.invocation.run_folder(&run.folder, number)?;
        self.servers.supply(&mut run.vars);
        let shared = &self.shared;
        let servers = self.servers.facts(shared.suite, &run.vars, &mut self.inbox);
        let run_id = format!(
            "{}-{}",
            jiff::Timestamp::now().as_millisecond(),
            rand::random_range(0..1_000_000_000)
        );
        let mut attempt = Attempt {
            shared: &self.shared,
            run: &mut run,
            number,
            folder: &folder,
            servers: &servers,
            earlier: &self.earlier,
            inbox: &mut self.inbox,
            stream: &self.stream,
        };
        let outcome = attempt.make(&run_id);
        self.earlier.push(run_id);
        outcome
    }

    /// Tells what became of the planned runs, and how to go on if something is left. Returns whether all pass.
    fn sum_up(&self, runs: &[Planned]) -> bool {
        let mut verdicts = BTreeMap::new();
        let stands = standing(self.shared.suite, &self.invocation, runs);
        // The levels that were not reached are told, and what no ladder asked for is not.
        let counts = |stands: &Standing, run: &Planned| {
            !(stands.spared && run.rung.is_some_and(Rung::is_spare))
        };
        let counted = || {
            stands
                .iter()
                .zip(runs)
                .filter(|(own, run)| counts(own, run))
        };
        for (run, _) in counted() {
            let verdict = run.state.verdict.unwrap_or(Verdict::NotRun);
            *verdicts.entry(verdict.to_string()).or_insert(0) += 1;
        }
        let left = stands.iter().filter(|run| !run.complete).count();
        let all_pass = left == 0 && verdicts.keys().all(|verdict| verdict == "PASS");
        self.stream.tell(Event::PlanEnded {
            runs: counted().count(),
            verdicts,
            left,
            folder: shown(self.invocation.path()),
        });
        all_pass
    }

    /// Writes what the ladders of the plan found, if it has any.
    fn keep_ladders(&self) -> anyhow::Result<()> {
        let found = verdict::ladders::of_plan(self.invocation.path())?;
        if found.is_empty() {
            return Ok(());
        }
        let path = self.invocation.path().join(verdict::ladders::LADDERS);
        let text = format!("{:#}\n", verdict::ladders::record(&found));
        writer::whole(&path, text.as_bytes(), true)
            .with_context(|| format!("writing {}", path.display()))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
