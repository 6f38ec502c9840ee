//! Working off a plan: all of it, or what an earlier call left over.

pub(crate) mod lock;
pub(crate) mod progress;
pub(crate) mod screen;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use barrier_procs::PrivateRedis;

use crate::doctor;
use crate::evidence::{Folder, Invocation};
use crate::host;
use crate::plan::file::{PLAN, PlanFile};
use crate::plan::{Plan, PlannedRun, Selection};
use crate::report;
use crate::run::events::Events;
use crate::run::meta::{RedisFacts, Shared};
use crate::run::process::comm;
use crate::run::redis_access::Access;
use crate::run::redis_client::Server;
use crate::run::redis_server::{self, find_program, info_field};
use crate::run::scratch::Scratch;
use crate::run::{Attempt, Outcome};
use crate::session::lock::RunLock;
use crate::session::progress::{Clock, words};
use crate::suite::Suite;
use crate::suite::given::Given;
use crate::suite::schema::OnFail;
use crate::suite::vars::{Origin, RunValues, Value};
use crate::values::exit::{self, Stop};
use crate::values::hash;
use crate::values::mask::{masked, say};
use crate::verdict::gates::Verdict;
use crate::verdict::judge::shown;

/// Connections for k6, the target and the runner beside one per user.
const REDIS_RESERVE: i64 = 1024;

/// Runs a plan and returns the exit code.
///
/// # Errors
/// Something is wrong before the first run, a run could not be started, or the runner itself fails; a run that does not
/// pass is not an error.
pub(crate) fn run(
    suite: &Suite,
    plan: Plan<'_>,
    selection: &Selection,
    keep_going: bool,
) -> anyhow::Result<i32> {
    let _lock = RunLock::take(&format!("suite {}", suite.file.suite.id))?;
    let ready = Ready::new(suite, &plan)?;
    let first = plan.runs.first().context("a plan holds a run")?;
    let root = suite.resolve(
        &first
            .vars
            .expand(suite.file.evidence.root.get_ref(), &RunValues::new())?,
    );
    let file = PlanFile::new(suite, &plan, selection, &ready.k6.version)?;
    let timestamp = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
    let invocation = Invocation::create(&root, &timestamp)?;
    file.write(suite, &invocation)?;
    Session::new(suite, ready, invocation, &file, keep_going).work(plan)
}

/// Goes on with the plan of a folder: runs that have no sound evidence are run again.
///
/// # Errors
/// The folder holds no plan, the suite, the harness or k6 have changed since, or as for [`run`].
pub(crate) fn resume(folder: &Path, given: &Given, keep_going: bool) -> anyhow::Result<i32> {
    let file = PlanFile::read(folder)?;
    let suite = file.suite()?;
    let mut selection = file.selection.clone();
    selection.given = selection.given.with_secrets(given, &file.secrets)?;
    let mut plan = Plan::new(&suite, &selection)?;
    let _lock = RunLock::take(&format!("suite {}", suite.file.suite.id))?;
    let invocation = Invocation::open(folder);
    let states = plan.runs.iter().map(|run| {
        let state = State::of(&invocation, &run.folder);
        (state.settled(run.preflight), state.code)
    });
    let (settled, codes): (Vec<bool>, Vec<i32>) = states.unzip();
    if settled.iter().all(|&settled| settled) {
        say(&format!("all {} runs are complete", plan.runs.len()));
        say(&format!("evidence: {}", shown(folder)));
        return Ok(exit::of_runs(&codes));
    }
    let ready = Ready::new(&suite, &plan)?;
    file.align(&mut plan, &ready.k6.version)?;
    Session::new(&suite, ready, invocation, &file, keep_going).work(plan)
}

/// What has to be there before the first run.
struct Ready {
    k6: crate::run::k6::Binary,
    events: Events,
    scratch: Scratch,
    redis: Option<PrivateRedis>,
}

impl Ready {
    /// Looks for what would spoil the runs, and starts Redis where none is given; all this before there is any evidence.
    fn new(suite: &Suite, plan: &Plan<'_>) -> anyhow::Result<Self> {
        if plan.runs.is_empty() {
            return Err(exit::set_up("the plan holds no run"));
        }
        host::raise_open_files();
        let report = doctor::examine(suite, plan);
        let k6 = doctor::require(&report)?.clone();
        report
            .troubles()
            .for_each(|finding| say(&finding.to_string()));
        let mut events = Events::install()?;
        let scratch = Scratch::open()?;
        let redis = start_redis(suite, plan, &mut events)?;
        Ok(Self {
            k6,
            events,
            scratch,
            redis,
        })
    }
}

fn start_redis(
    suite: &Suite,
    plan: &Plan<'_>,
    events: &mut Events,
) -> anyhow::Result<Option<PrivateRedis>> {
    let needed = suite
        .file
        .suite
        .needs
        .iter()
        .any(|need| need.get_ref() == "redis");
    let given = |run: &PlannedRun<'_>| run.vars.get("REDIS_URL").is_some();
    if !needed || plan.runs.iter().all(given) {
        return Ok(None);
    }
    let users = plan
        .runs
        .iter()
        .filter_map(|run| run.users)
        .max()
        .unwrap_or(0);
    let redis = redis_server::start(
        &find_program(&suite.root)?,
        (users + REDIS_RESERVE).max(10_000),
        events,
    )?;
    say(&format!(
        "redis    private {} at {}",
        redis.version(),
        redis.address()
    ));
    Ok(Some(redis))
}

/// What the evidence says about a run: its last attempt counts.
#[derive(Debug)]
struct State {
    attempts: u32,
    verdict: Option<Verdict>,
    code: i32,
    /// Run ids of all attempts.
    run_ids: Vec<String>,
}

impl State {
    fn of(invocation: &Invocation, folder: &str) -> Self {
        let folders = invocation.attempts(folder);
        let verdict = folders
            .last()
            .and_then(|folder| folder.json("verdict.json"));
        let field = |name: &str| verdict.as_ref().and_then(|verdict| verdict.get(name));
        let code = field("exitCode").and_then(serde_json::Value::as_i64);
        Self {
            attempts: u32::try_from(folders.len()).unwrap_or(u32::MAX),
            verdict: field("verdict").and_then(|text| serde_json::from_value(text.clone()).ok()),
            code: code
                .and_then(|code| i32::try_from(code).ok())
                .unwrap_or(exit::FAULT),
            run_ids: folders.iter().filter_map(run_id).collect(),
        }
    }

    /// Whether there is nothing left to do. What did not pass a preflight has to be looked at again.
    fn settled(&self, preflight: bool) -> bool {
        self.verdict
            .is_some_and(|verdict| verdict.passed() || (verdict.is_complete() && !preflight))
    }
}

fn run_id(folder: &Folder) -> Option<String> {
    let id = folder.json("meta.json")?.get("runId")?.as_str()?.to_owned();
    Some(id)
}

/// What the runs of one call share.
struct Session<'a> {
    shared: Shared<'a>,
    redis: Option<PrivateRedis>,
    invocation: Invocation,
    /// Run ids of the runs before this one.
    earlier: Vec<String>,
    events: Events,
    on_fail: OnFail,
    /// Go on even if a run could not be started.
    keep_going: bool,
    _scratch: Scratch,
}

/// What follows a run.
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
    fn new(
        suite: &'a Suite,
        ready: Ready,
        invocation: Invocation,
        file: &PlanFile,
        keep_going: bool,
    ) -> Self {
        Self {
            shared: Shared {
                suite,
                suite_sha256: hash::sha256(suite.text.as_bytes()),
                k6: ready.k6,
                runs: file.runs.len(),
                label: file.selection.label.clone(),
                quick: file.selection.quick,
            },
            redis: ready.redis,
            invocation,
            earlier: Vec::new(),
            events: ready.events,
            on_fail: if keep_going {
                OnFail::NextRun
            } else {
                suite.file.suite.on_fail
            },
            keep_going,
            _scratch: ready.scratch,
        }
    }

    /// Makes every run that has no sound evidence yet, and returns the exit code.
    fn work(mut self, plan: Plan<'_>) -> anyhow::Result<i32> {
        let planned: Vec<(String, bool)> = plan
            .runs
            .iter()
            .map(|run| (run.folder.clone(), run.preflight))
            .collect();
        let result = self.runs(plan);
        let kept = self.keep_redis_log();
        let Worked { codes, failure } = result?;
        kept?;
        self.sum_up(&planned);
        // The evidence is complete by now; only what is made of it may be missing.
        let reported = report::of_plan(self.shared.suite, self.invocation.path());
        say(&format!("evidence: {}", shown(self.invocation.path())));
        if let Some(error) = failure {
            return Err(error);
        }
        match (exit::of_runs(&codes), reported) {
            (exit::OK, Err(error)) => Err(error.context("writing the report")),
            (code, reported) => {
                if let Err(error) = reported {
                    say(&format!("the report could not be written: {error:#}"));
                }
                Ok(code)
            }
        }
    }

    fn runs(&mut self, plan: Plan<'_>) -> anyhow::Result<Worked> {
        let mut worked = Worked::default();
        let mut left = Vec::new();
        for run in plan.runs {
            let state = State::of(&self.invocation, &run.folder);
            self.earlier.extend(state.run_ids.iter().cloned());
            if state.settled(run.preflight) {
                worked.codes.push(state.code);
            } else {
                left.push((run, state));
            }
        }
        if !worked.codes.is_empty() || left.iter().any(|(_, state)| state.attempts > 0) {
            say(&format!(
                "going on: {} of {} runs are complete",
                worked.codes.len(),
                self.shared.runs
            ));
        }
        let with_pause =
            |run: &PlannedRun<'_>| Some(run.estimate? + run.scenario.cooldown.unwrap_or_default());
        let clock = Clock::new(left.iter().map(|(run, _)| with_pause(run)));
        let line = screen::Line::begin(self.shared.runs, &clock);
        let mut skipped: Option<String> = None;
        let last = left.len();
        for (place, (run, state)) in left.into_iter().enumerate() {
            let scenario = run.scenario.id.get_ref().clone();
            if skipped.as_ref() == Some(&scenario) {
                clock.skip();
                continue;
            }
            let (preflight, pause) = (run.preflight, run.scenario.cooldown);
            line.at(self.shared.runs - last + place, &run.title());
            self.announce(&run, &clock);
            clock.begin();
            let outcome = self.one(run, state.attempts + 1)?;
            let more = place + 1 < last;
            match self.after(outcome, preflight && more, &mut worked) {
                Next::Run => {}
                Next::Scenario => skipped = Some(scenario),
                Next::Nothing => break,
            }
            if let (Some(pause), true) = (pause, more)
                && let Err(Stop::Interrupted) = self.cool_down(pause)
            {
                worked.codes.push(exit::INTERRUPTED);
                break;
            }
            clock.end();
        }
        drop(line);
        Ok(worked)
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
            say(&format!("         {error:#}"));
        }
        if verdict.passed() {
            return Next::Run;
        }
        if barred {
            say("preflight: it did not pass, so nothing else is run");
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

    fn announce(&self, run: &PlannedRun<'_>, clock: &Clock) {
        let time = match run.estimate {
            Some(time) if self.shared.runs > 1 => {
                format!(" (about {}; {} in all)", words(time), clock.shown())
            }
            Some(time) => format!(" (about {})", words(time)),
            None => String::new(),
        };
        say(&format!(
            "\nrun {} of {}: {}{time}",
            run.number,
            self.shared.runs,
            run.title()
        ));
    }

    fn cool_down(&mut self, pause: std::time::Duration) -> Result<(), Stop> {
        say(&format!("cooling down for {}", words(pause)));
        self.events.pause(pause)
    }

    fn one(&mut self, mut run: PlannedRun<'_>, number: u32) -> anyhow::Result<Outcome> {
        let folder = self.invocation.run_folder(&run.folder, number)?;
        let redis = match &self.redis {
            Some(redis) => {
                run.vars.supply(
                    "REDIS_URL",
                    Value::Text(redis.address().to_owned()),
                    Origin::Started,
                );
                RedisFacts {
                    version: Some(redis.version().to_owned()),
                    private: true,
                    process: Some(redis.id()),
                }
            }
            None => run
                .vars
                .text("REDIS_URL")
                .and_then(|address| given_redis(&Access::new(&address, &run.vars).ok()?))
                .unwrap_or_default(),
        };
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
            redis: &redis,
            earlier: &self.earlier,
            events: &mut self.events,
        };
        let outcome = attempt.make(&run_id);
        self.earlier.push(run_id);
        outcome
    }

    /// Tells what became of the planned runs, and how to go on if something is left.
    fn sum_up(&self, runs: &[(String, bool)]) {
        let mut counts = BTreeMap::new();
        let mut left = 0;
        for (folder, preflight) in runs {
            let state = State::of(&self.invocation, folder);
            let verdict = state.verdict.unwrap_or(Verdict::NotRun);
            *counts.entry(verdict.to_string()).or_insert(0) += 1;
            left += usize::from(!state.settled(*preflight));
        }
        let counts: Vec<String> = counts
            .iter()
            .map(|(verdict, count)| format!("{count} {verdict}"))
            .collect();
        if runs.len() > 1 {
            say(&format!(
                "\nplan     {} runs: {}",
                runs.len(),
                counts.join(", ")
            ));
        }
        if left > 0 {
            say(&format!(
                "left     {left} without sound evidence; go on with: barrier-bench resume {}",
                shown(self.invocation.path())
            ));
        } else if counts.len() == 1 && counts[0].ends_with("PASS") {
            say("OK");
        }
    }

    /// Ends the private Redis and keeps its log.
    fn keep_redis_log(&mut self) -> anyhow::Result<()> {
        let Some(redis) = self.redis.take() else {
            return Ok(());
        };
        let log = std::fs::read(redis.log()).context("reading the log of Redis")?;
        drop(redis);
        let shared = self.invocation.shared();
        let name = (1..)
            .map(|number| {
                if number == 1 {
                    "redis.log".to_owned()
                } else {
                    format!("redis-{number}.log")
                }
            })
            .find(|name| !shared.has(name))
            .context("no free name for the log of Redis")?;
        shared.write(&name, masked(&String::from_utf8_lossy(&log)).as_bytes())
    }
}

/// Version of a Redis that the user gave, and its process if that is on this machine.
fn given_redis(access: &Access) -> Option<RedisFacts> {
    let info = Server::connect(access)
        .ok()?
        .ask(&["INFO", "server"], &mut Vec::new())
        .ok()?;
    let process = info_field(&info, "process_id").and_then(|id| id.parse().ok());
    Some(RedisFacts {
        version: info_field(&info, "redis_version"),
        private: false,
        // The number of a process on another machine may be taken here by another program.
        process: process.filter(|&id| {
            comm(id).is_some_and(|name| name.starts_with("redis") || name.starts_with("valkey"))
        }),
    })
}

/// Whether a folder holds a plan.
pub(crate) fn is_plan(folder: &Path) -> bool {
    folder.join(PLAN).is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sound_is_not_run_again_but_a_preflight_has_to_pass() {
        let settled = |verdict: Option<Verdict>, preflight: bool| {
            let state = State {
                attempts: 1,
                verdict,
                code: exit::OK,
                run_ids: Vec::new(),
            };
            state.settled(preflight)
        };
        for verdict in [Verdict::Pass, Verdict::Smoke] {
            assert!(settled(Some(verdict), false) && settled(Some(verdict), true));
        }
        assert!(settled(Some(Verdict::Fail), false) && !settled(Some(Verdict::Fail), true));
        for verdict in [Verdict::Invalid, Verdict::Interrupted, Verdict::NotRun] {
            assert!(!settled(Some(verdict), false));
        }
        assert!(!settled(None, false), "killed in the middle");
    }
}
