//! Running a plan: for each run, from its precondition to its verdict.

use std::path::Path;

use anyhow::Context as _;
use serde_json::{Map, Value as Json, json};

use crate::derive::derive;
use crate::events::Events;
use crate::evidence::{Folder, Invocation};
use crate::exit::{self, RunOutcome, Stop};
use crate::gates::{self, Judged, Verdict};
use crate::k6::{Binary, Call, Cause, Finished};
use crate::limits::Limits;
use crate::lock::RunLock;
use crate::mask::{self, masked, say};
use crate::meta::Meta;
use crate::plan::{Plan, PlannedRun};
use crate::redis_server::{PrivateRedis, find_program};
use crate::suite::Suite;
use crate::suite::vars::{Origin, RunValues, Value, Vars};
use crate::target::Target;
use crate::{clean, doctor, host};

/// Connections for k6, the target and the runner beside one per user.
const REDIS_RESERVE: i64 = 1024;

/// Prints the plan; starts and writes nothing.
///
/// # Errors
/// A folder name cannot be made.
pub(crate) fn print_plan(suite: &Suite, plan: &Plan<'_>) -> anyhow::Result<()> {
    say(&format!(
        "{}: {} runs",
        suite.file.suite.id,
        plan.runs.len()
    ));
    for (number, run) in plan.runs.iter().enumerate() {
        say(&format!("{:>3}. {}", number + 1, run.title()));
        say(&format!("     target    {}", run.target.id));
        say(&format!(
            "     evidence  <timestamp>/{}",
            run.folder(suite)?
        ));
        if let Some(cleaning) = planned_cleaning(suite, run)? {
            say(&format!("     clean     {}", cleaning.summary().join("; ")));
        }
        say(&format!("     bound     {} s", run.bound.as_secs()));
        let vars: Vec<String> = run
            .vars
            .iter()
            .map(|(name, _, _)| format!("{name}={}", run.vars.shown(name).unwrap_or_default()))
            .collect();
        say(&format!("     variables {}", vars.join(" ")));
    }
    say("dry run: nothing was started, cleaned or written");
    Ok(())
}

/// The cleaning of a run whose Redis may not have been started yet.
fn planned_cleaning(suite: &Suite, run: &PlannedRun<'_>) -> anyhow::Result<Option<clean::Plan>> {
    let mut vars = run.vars.clone();
    vars.supply(
        "REDIS_URL",
        Value::Text("redis://127.0.0.1".to_owned()),
        Origin::Started,
    );
    clean::Plan::new(suite, &vars, &[])
}

/// Runs the plan and returns the exit code.
///
/// # Errors
/// Something is wrong before the first run, or the runner itself fails; a failed run is not an error.
pub(crate) fn run(suite: &Suite, plan: Plan<'_>) -> anyhow::Result<i32> {
    let _lock = RunLock::take(&format!("suite {}", suite.file.suite.id))?;
    host::raise_open_files();
    let report = doctor::examine(suite, &plan);
    let k6 = doctor::require(&report)?.clone();
    report
        .troubles()
        .for_each(|finding| say(&finding.to_string()));

    let mut events = Events::install()?;
    let Some(first) = plan.runs.first() else {
        return Err(exit::set_up("the plan holds no run"));
    };
    // Before the evidence folder, so that a Redis that does not start leaves none.
    let redis = start_redis(suite, &plan, &mut events)?;
    let root = suite.resolve(
        &first
            .vars
            .expand(suite.file.evidence.root.get_ref(), &RunValues::new())?,
    );
    let invocation = Invocation::create(
        &root,
        &jiff::Zoned::now().strftime("%Y%m%d-%H%M%S").to_string(),
    )?;

    let count = plan.runs.len();
    let mut session = Session {
        suite,
        k6,
        redis,
        invocation,
        earlier: Vec::new(),
        events,
    };
    let mut codes = Vec::new();
    let mut failure = None;
    for (number, planned) in plan.runs.into_iter().enumerate() {
        say(&format!(
            "\nrun {} of {count}: {}",
            number + 1,
            planned.title()
        ));
        match session.one(planned) {
            Ok(code) => codes.push(code),
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
        if codes.last() == Some(&exit::INTERRUPTED) {
            break;
        }
    }
    session.finish()?;
    let code = exit::of_runs(&codes);
    if let Some(error) = failure {
        say(&format!("evidence: {}", shown(session.invocation.path())));
        return Err(error);
    }
    if code == exit::OK {
        say("OK");
    }
    say(&format!("evidence: {}", shown(session.invocation.path())));
    Ok(code)
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
    if !needed
        || plan
            .runs
            .iter()
            .all(|run| run.vars.get("REDIS_URL").is_some())
    {
        return Ok(None);
    }
    let users = plan
        .runs
        .iter()
        .filter_map(|run| run.limits.as_ref())
        .map(|limits| limits.users)
        .max()
        .unwrap_or(0);
    let redis = PrivateRedis::start(
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

/// A path for the terminal: relative where that is shorter.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here)
        .unwrap_or(path)
        .display()
        .to_string()
}

/// What the runs of one call share.
struct Session<'a> {
    suite: &'a Suite,
    k6: Binary,
    redis: Option<PrivateRedis>,
    invocation: Invocation,
    /// Run ids of the runs before this one.
    earlier: Vec<String>,
    events: Events,
}

impl Session<'_> {
    /// One run; what goes wrong before k6 starts is recorded as well, and then ends the call.
    fn one(&mut self, mut run: PlannedRun<'_>) -> anyhow::Result<i32> {
        let folder = self.invocation.run_folder(&run.folder(self.suite)?)?;
        let redis = match &self.redis {
            Some(redis) => {
                run.vars.supply(
                    "REDIS_URL",
                    Value::Text(redis.address().to_owned()),
                    Origin::Started,
                );
                format!("private, version {}", redis.version())
            }
            None => "given by the user".to_owned(),
        };
        let run_id = format!(
            "{}-{}",
            jiff::Timestamp::now().as_millisecond(),
            rand::random_range(0..1_000_000_000)
        );
        let mut meta = Meta::new(&self.suite.file.suite.id, &run, &run_id, &self.k6, &redis);
        meta.write(&folder)?;
        let result = self.attempt(&mut run, &run_id, &folder, &mut meta);
        self.earlier.push(run_id);
        let error = match result {
            Ok(code) => return Ok(code),
            Err(error) => error,
        };
        let interrupted = matches!(error.downcast_ref::<Stop>(), Some(Stop::Interrupted));
        let verdict = if interrupted {
            Verdict::Interrupted
        } else {
            Verdict::NotRun
        };
        let code = exit::code_of(&error);
        let reason = masked(&format!("{error:#}"));
        if !folder.has("verdict.json") {
            let record = json!({ "schemaVersion": 1, "verdict": verdict, "reasons": [&reason], "k6ExitCode": null, "exitCode": code, "gates": [] });
            folder.write_json("verdict.json", &record)?;
        }
        meta.ended(&verdict.to_string(), code, &folder);
        meta.write(&folder)?;
        say(&format!("verdict  {verdict}  {}", run.title()));
        if interrupted { Ok(code) } else { Err(error) }
    }

    fn attempt(
        &mut self,
        run: &mut PlannedRun<'_>,
        run_id: &str,
        folder: &Folder,
        meta: &mut Meta,
    ) -> anyhow::Result<i32> {
        let target = Target::start(
            self.suite,
            run.target,
            &mut run.vars,
            folder,
            &mut self.events,
        )?;
        let address = run.vars.shown("BASE_URL").unwrap_or_default();
        say(&format!("target   {} at {address}", run.target.id));
        meta.target_ready(run);
        meta.write(folder)?;
        let judged = self.with_target(&target, run, run_id, folder, meta);
        // The target ends before its log is judged complete, and also when something went wrong.
        let stopped = target.stop(folder);
        let (finished, health) = judged?;
        stopped?;
        self.judge(run, &finished, health, folder, meta)
    }

    fn with_target(
        &mut self,
        target: &Target,
        run: &PlannedRun<'_>,
        run_id: &str,
        folder: &Folder,
        meta: &mut Meta,
    ) -> anyhow::Result<(Finished, Result<(), String>)> {
        self.clean(&run.vars, folder)?;
        self.events.check()?;
        let call = Call::new(&self.k6.path, &run.script, &run.vars, run_id);
        let finished = call.run(folder, run.bound, &mut self.events)?;
        meta.k6_ended(call.shown(), &finished);
        meta.write(folder)?;
        let health = target.healthy();
        Ok((finished, health))
    }

    fn clean(&self, vars: &Vars, folder: &Folder) -> anyhow::Result<()> {
        let Some(plan) = clean::Plan::new(self.suite, vars, &self.earlier)? else {
            return folder.write(
                "cleanup.txt",
                b"[cleanup] the suite declares nothing to clean\n",
            );
        };
        say(&format!("clean    {}", plan.shown_address()));
        plan.summary()
            .iter()
            .for_each(|line| say(&format!("         {line}")));
        let mut log = Vec::new();
        let result = plan.execute(false, &mut log);
        if let Err(error) = &result {
            log.push(format!("[cleanup] failed: {error:#}"));
        }
        folder.write(
            "cleanup.txt",
            masked(&format!("{}\n", log.join("\n"))).as_bytes(),
        )?;
        result
    }

    fn judge(
        &self,
        run: &PlannedRun<'_>,
        finished: &Finished,
        health: Result<(), String>,
        folder: &Folder,
        meta: &mut Meta,
    ) -> anyhow::Result<i32> {
        let bytes = finished.summary();
        if let Some(bytes) = &bytes {
            folder.write("summary.json", &mask::masked_json(bytes))?;
        }
        let summary: Option<Json> = bytes
            .as_deref()
            .and_then(|bytes| serde_json::from_slice(bytes).ok());
        let derived = derive(&self.suite.file.derive, summary.as_ref(), &run.vars);
        folder.write_json("derived.json", &Json::Object(derived.clone()))?;

        let mut judged = built_in(self.suite, finished, summary.is_some(), health, folder);
        let run_values = run
            .limits
            .as_ref()
            .map(Limits::run_values)
            .unwrap_or_default();
        let evidence = gates::Evidence {
            summary: summary.as_ref(),
            derived: &derived,
            vars: &run.vars,
            run_values: &run_values,
        };
        judged.extend(gates::judge(
            &self.suite.file.gate,
            run.scenario.id.get_ref(),
            &evidence,
        )?);
        let interrupted = finished.cause == Cause::Interrupt;
        let verdict = if interrupted {
            Verdict::Interrupted
        } else {
            gates::verdict(&judged)
        };
        let outcome = RunOutcome {
            k6: finished.code,
            summary: summary.is_some(),
            passed: verdict == Verdict::Pass,
            interrupted,
        };
        let code = exit::of_run(self.suite.file.suite.exit, outcome);
        let mut reasons = gates::reasons(&judged);
        if interrupted {
            reasons.insert(0, "a signal interrupted the run".to_owned());
        }
        let record = json!({
            "schemaVersion": 1,
            "verdict": verdict,
            "reasons": reasons.iter().map(|reason| masked(reason)).collect::<Vec<_>>(),
            "k6ExitCode": finished.code,
            "exitCode": code,
            "gates": judged,
        });
        folder.write_json("verdict.json", &record)?;
        meta.ended(&verdict.to_string(), code, folder);
        meta.write(folder)?;
        print_block(run, &derived, verdict, &judged, &reasons, folder);
        Ok(code)
    }

    /// Ends the private Redis and keeps its log.
    fn finish(&mut self) -> anyhow::Result<()> {
        let Some(redis) = self.redis.take() else {
            return Ok(());
        };
        let log = std::fs::read(redis.log()).context("reading the log of Redis")?;
        drop(redis);
        self.invocation.shared().write(
            "redis.log",
            masked(&String::from_utf8_lossy(&log)).as_bytes(),
        )
    }
}

/// The gates that hold for every run without being declared.
fn built_in(
    suite: &Suite,
    finished: &Finished,
    summary: bool,
    health: Result<(), String>,
    folder: &Folder,
) -> Vec<Judged> {
    let code = finished.code.map_or_else(
        || "none, a signal ended it".to_owned(),
        |code| code.to_string(),
    );
    let missing: Vec<&str> = suite
        .file
        .evidence
        .files
        .iter()
        .map(String::as_str)
        .filter(|name| *name != "verdict.json" && !folder.has(name))
        .collect();
    vec![
        Judged::built_in(
            "k6-exit",
            finished.code == Some(0),
            format!("k6's exit code: {code}; expected 0"),
        ),
        Judged::built_in(
            "k6-in-time",
            finished.cause != Cause::Limit,
            "k6 ends by itself within its bound",
        ),
        Judged::built_in(
            "summary",
            summary,
            "summary.json exists, was written by this run, and is JSON",
        ),
        Judged::built_in(
            "target-healthy",
            health.is_ok(),
            health
                .err()
                .unwrap_or_else(|| "the target answers before and after the run".to_owned()),
        ),
        Judged::built_in(
            "evidence-complete",
            missing.is_empty(),
            if missing.is_empty() {
                "every declared file is there".to_owned()
            } else {
                format!("missing: {}", missing.join(", "))
            },
        ),
    ]
}

fn print_block(
    run: &PlannedRun<'_>,
    derived: &Map<String, Json>,
    verdict: Verdict,
    judged: &[Judged],
    reasons: &[String],
    folder: &Folder,
) {
    let width = derived.keys().map(String::len).max().unwrap_or(0);
    say(&format!("\nverdict  {verdict}  {}", run.title()));
    for (name, value) in derived {
        let value = if value.is_null() {
            "unknown".to_owned()
        } else {
            value.to_string()
        };
        say(&format!("         {name:<width$}  {value}"));
    }
    let holding = judged.iter().filter(|gate| gate.holds).count();
    say(&format!("gates    {holding} of {} hold", judged.len()));
    reasons
        .iter()
        .for_each(|reason| say(&format!("         {reason}")));
    say(&format!("folder   {}", shown(folder.path())));
}
