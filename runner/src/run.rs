//! Running a plan: for each run, from its precondition to its verdict.

use anyhow::Context as _;
use serde_json::json;

use crate::events::Events;
use crate::evidence::{Folder, Invocation};
use crate::exit::{self, Stop};
use crate::gates::Verdict;
use crate::judge::{judge, shown};
use crate::k6::{Binary, Call, Finished};
use crate::lock::RunLock;
use crate::mask::{masked, say};
use crate::meta::Meta;
use crate::plan::{Plan, PlannedRun};
use crate::redis_server::{PrivateRedis, find_program};
use crate::scratch::Scratch;
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
    let _scratch = Scratch::open()?;
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
        // Before the target starts: it would find a queue of another type, or promote users of an earlier run.
        let mut cleaning = self.clean(&run.vars, folder)?;
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
        let judged = self.with_target(&target, run, run_id, &mut cleaning, folder, meta);
        // The target ends before its log is judged complete, and also when something went wrong.
        let stopped = target.stop(folder);
        let (finished, health) = judged?;
        stopped?;
        judge(self.suite, run, &finished, health, folder, meta)
    }

    fn with_target(
        &mut self,
        target: &Target,
        run: &PlannedRun<'_>,
        run_id: &str,
        cleaning: &mut Cleaning,
        folder: &Folder,
        meta: &mut Meta,
    ) -> anyhow::Result<(Finished, Result<(), String>)> {
        cleaning.step(folder, clean::Plan::verify)?;
        self.events.check()?;
        let call = Call::new(&self.k6.path, &run.script, &run.vars, run_id);
        let finished = call.run(folder, run.bound, &mut self.events)?;
        meta.k6_ended(call.shown(), &finished);
        meta.write(folder)?;
        let health = target.healthy();
        Ok((finished, health))
    }

    fn clean(&self, vars: &Vars, folder: &Folder) -> anyhow::Result<Cleaning> {
        let plan = clean::Plan::new(self.suite, vars, &self.earlier)?;
        if let Some(plan) = &plan {
            say(&format!("clean    {}", plan.shown_address()));
            plan.summary()
                .iter()
                .for_each(|line| say(&format!("         {line}")));
        }
        let mut cleaning = Cleaning {
            plan,
            log: Vec::new(),
        };
        cleaning.step(folder, |plan, log| plan.execute(false, log))?;
        Ok(cleaning)
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

/// The cleaning of a run and its record.
struct Cleaning {
    plan: Option<clean::Plan>,
    log: Vec<String>,
}

impl Cleaning {
    /// Does a part of the work and records it, also when it fails.
    fn step(
        &mut self,
        folder: &Folder,
        work: impl Fn(&clean::Plan, &mut Vec<String>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let Some(plan) = &self.plan else {
            return folder.update(
                "cleanup.txt",
                b"[cleanup] the suite declares nothing to clean\n",
            );
        };
        let result = work(plan, &mut self.log);
        if let Err(error) = &result {
            self.log.push(format!("[cleanup] failed: {error:#}"));
        }
        let text = masked(&format!("{}\n", self.log.join("\n")));
        folder.update("cleanup.txt", text.as_bytes())?;
        result
    }
}
