//! Trying what the runs will do, by the probe of the suite, before anything is measured.

use std::collections::BTreeSet;

use anyhow::Context as _;

use super::lock;
use super::servers::Servers;
use crate::doctor::{self, Level, Report};
use crate::events::Stream;
use crate::evidence::Invocation;
use crate::plan::{Plan, PlannedRun, Probe};
use crate::run::checks::{self, Checked};
use crate::run::inbox::Inbox;
use crate::run::k6::Binary;
use crate::run::scratch::{self, Scratch};
use crate::run::targets::Targets;
use crate::suite::Suite;
use crate::suite::vars::Vars;
use crate::values::exit;

/// Looks for what would spoil the runs of a plan. Where nothing has been found yet, it tries them too: what the runner starts for
/// a run, it starts for that.
///
/// # Errors
/// Something cannot be started that was found to be there, or a signal arrived.
pub(crate) fn examine(suite: &Suite, plan: &Plan<'_>) -> anyhow::Result<Report> {
    let mut report = doctor::examine(suite, plan);
    if suite.file.probe.is_none() {
        return Ok(report);
    }
    let Some(k6) = report.k6.clone().filter(|_| report.healthy()) else {
        report.add(
            Level::Warning,
            "what the runs will do was not tried",
            Some("see to the faults, and call doctor again"),
        );
        return Ok(report);
    };
    // A trial beside a run would disturb it.
    let _lock = match lock::take(&format!("{}, doctor", suite.file.suite.id)) {
        Ok(lock) => lock,
        Err(error) if exit::code_of(&error) != exit::SET_UP => return Err(error),
        Err(error) => {
            report.add(
                Level::Warning,
                format!("what the runs will do was not tried: {error:#}"),
                Some("call doctor again when that is over"),
            );
            return Ok(report);
        }
    };
    let mut inbox = Inbox::install()?;
    let _scratch = Scratch::open()?;
    let servers = Servers::start(suite, plan, &mut inbox, &Stream::default())?;
    for (run, probe) in trials(plan) {
        let tried = with_target(suite, run, probe, &k6, &servers, &mut inbox, &mut report);
        report.failed(tried)?;
    }
    Ok(report)
}

/// Tries the targets that a person started, where the suite wants that before a run.
///
/// # Errors
/// k6 cannot be started, or a signal arrived.
pub(super) fn before_runs(
    plan: &Plan<'_>,
    k6: &Binary,
    servers: &Servers,
    inbox: &mut Inbox,
    report: &mut Report,
) -> anyhow::Result<()> {
    for (run, probe) in trials(plan) {
        // A target that needs what the runner starts is tried by its run.
        if probe.before_run && !run.targets().iter().any(|table| table.is_started()) {
            ask(run, probe, &vars_of(run, servers), k6, inbox, report)?;
        }
    }
    Ok(())
}

/// The runs that are worth a trial: one for all that have the same target and the same values.
fn trials<'p>(plan: &'p Plan<'_>) -> Vec<(&'p PlannedRun<'p>, &'p Probe)> {
    let mut known = BTreeSet::new();
    let mut found = Vec::new();
    for run in plan.certain() {
        let values = run.vars.iter();
        let values: Vec<String> = values
            .map(|(name, value, _)| format!("{name}={value}"))
            .collect();
        let program = run.under_test.program.as_ref();
        let program = program.map(|path| path.display().to_string());
        if let Some(probe) = &run.probe
            && known.insert((run.target.id.clone(), program, values))
        {
            found.push((run, probe));
        }
    }
    found
}

fn vars_of(run: &PlannedRun<'_>, servers: &Servers) -> Vars {
    let mut vars = run.vars.clone();
    servers.supply(&mut vars);
    vars
}

/// With the target, if the runner is to start it.
fn with_target(
    suite: &Suite,
    run: &PlannedRun<'_>,
    probe: &Probe,
    k6: &Binary,
    servers: &Servers,
    inbox: &mut Inbox,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut vars = vars_of(run, servers);
    if !run.targets().iter().any(|table| table.is_started()) {
        return ask(run, probe, &vars, k6, inbox, report);
    }
    let root = scratch::folder("trial-").context("making a folder for the trial")?;
    let folder = Invocation::create(root.path(), "trial")?.run_folder("run", 1)?;
    let program = run.under_test.program.as_deref();
    let targets = Targets::start(suite, run, program, &mut vars, &folder, inbox)?;
    let asked = ask(run, probe, &vars, k6, inbox, report);
    targets.stop(&folder);
    asked
}

/// Runs the probe, and adds what it says to the findings.
fn ask(
    run: &PlannedRun<'_>,
    probe: &Probe,
    vars: &Vars,
    k6: &Binary,
    inbox: &mut Inbox,
    report: &mut Report,
) -> anyhow::Result<()> {
    let Checked { checks, broken } = checks::run(k6, probe, vars, inbox)?;
    let target = &run.target.id;
    for check in checks {
        let text = format!("{target}, {}: {}", check.name, check.seen);
        match (check.ok, check.mend) {
            (true, None) => report.good(text),
            (true, Some(mend)) => report.add(Level::Warning, text, Some(&mend)),
            (false, mend) => {
                let script = probe.script.display();
                let mend = mend.unwrap_or_else(|| format!("see {script}, which does not say it"));
                report.add(Level::Fault, text, Some(&mend));
            }
        }
    }
    if let Some((text, mend)) = broken {
        report.add(Level::Fault, format!("{target}: {text}"), Some(&mend));
    }
    Ok(())
}
