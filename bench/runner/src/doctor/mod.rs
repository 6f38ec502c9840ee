//! What would spoil a run, found beforehand, each with its mend.

mod findings;
mod machine;
mod servers;

use std::path::Path;

use crate::plan::{Plan, PlannedRun, points};
use crate::run::compose::Engine;
use crate::run::fixtures::look;
use crate::run::k6::Binary;
use crate::run::monitor::named;
use crate::run::{probe, target};
use crate::suite::Suite;
use crate::suite::over_time::{OUTPUT, is_recorded};
use crate::suite::private::{POSTGRES, REDIS};
use crate::suite::schema::{TargetKind, TargetTable};
use crate::suite::vars::RunValues;
use crate::values::exit;
use crate::values::text::words;
use barrier_stats::host;
pub(crate) use findings::{Level, Report};

/// Looks at everything the planned runs need. Starts nothing but `k6 version`, changes nothing.
///
/// What a run will do is tried by the session, which can start what that takes.
pub(crate) fn examine(suite: &Suite, plan: &Plan<'_>) -> Report {
    let mut report = Report::default();
    for run in &plan.runs {
        overruled(run, &mut report);
        for need in &suite.file.suite.needs {
            // What has no script needs no k6.
            if run.script.is_some() || !need.get_ref().starts_with("k6") {
                need_met(suite, need.get_ref(), run, &mut report);
            }
        }
        if let Some(harness) = &run.script {
            if is_recorded(&suite.file, run.scenario) {
                need_met(suite, &format!("k6+{OUTPUT}"), run, &mut report);
            }
            script(suite, "harness", harness, &mut report);
        }
        if let Some(probe) = &run.probe {
            script(suite, "probe", &probe.script, &mut report);
        }
        for table in run.targets() {
            target_present(suite, run, table, &mut report);
        }
        processes(run, &mut report);
        fixtures(suite, run, &mut report);
        if let Some(users) = run.users {
            carries(suite, run, users, &mut report);
        }
    }
    if plan.runs.iter().all(|run| run.script.is_none()) {
        report.k6 = Some(Binary::none());
    }
    machine::quiet(&mut report);
    evidence_root(suite, plan, &mut report);
    report
}

/// Whether a script is where the suite says.
fn script(suite: &Suite, what: &str, path: &Path, report: &mut Report) {
    if path.is_file() {
        return report.good(format!("{what} {}", path.display()));
    }
    report.add(
        Level::Fault,
        format!("the {what} {} is missing", path.display()),
        Some(&format!(
            "paths in {} begin at {}: put it there, or mend `script`",
            suite.path.display(),
            suite.root.display()
        )),
    );
}

/// Whether the processes that are named for the target are there.
fn processes(run: &PlannedRun<'_>, report: &mut Report) {
    if run.target.kind == TargetKind::None {
        return;
    }
    match named::of_target(run.target, &run.vars) {
        Ok(found) => {
            for found in found {
                report.good(format!("process {}", found.shown));
            }
        }
        Err(error) => report.note(Err(error), None),
    }
}

/// Whether the files that were made for the run are there.
fn fixtures(suite: &Suite, run: &PlannedRun<'_>, report: &mut Report) {
    match look(suite, &run.vars) {
        Ok(found) => {
            for found in found {
                report.good(format!("fixture {} {}", found.id, found.path.display()));
            }
        }
        Err(error) => report.note(Err(error), None),
    }
}

/// What the run is, and whether the machine carries it.
fn carries(suite: &Suite, run: &PlannedRun<'_>, users: i64, report: &mut Report) {
    let place = format!(
        "{} {}",
        run.scenario.id.get_ref(),
        points::shown(&run.point)
    );
    let describe = suite.file.suite.describe.as_ref();
    let described = describe.and_then(|text| run.vars.expand_shown(text.get_ref()).ok());
    report.good(format!(
        "{}: {}, bound {} s",
        place.trim_end(),
        described.unwrap_or_else(|| format!("{users} users")),
        run.bound.as_secs()
    ));
    machine::carries(users, report);
}

/// Whether the evidence can be written.
fn evidence_root(suite: &Suite, plan: &Plan<'_>, report: &mut Report) {
    let Some(run) = plan.runs.first() else {
        return;
    };
    let root = suite.file.evidence.root.get_ref();
    let Ok(root) = run.vars.expand(root, &RunValues::new()) else {
        return report.add(
            Level::Fault,
            format!("the evidence root {root} takes a variable that has no value"),
            Some("give the variable by --set, or mend `root` in the suite file"),
        );
    };
    let root = suite.resolve(&root);
    let existing = root.ancestors().find(|path| path.exists());
    match existing {
        Some(folder) if folder.is_dir() && host::writable(folder) => {
            report.good(format!("evidence goes to {}", root.display()));
        }
        _ => report.add(
            Level::Fault,
            format!("evidence cannot be written to {}", root.display()),
            Some("give another place by EVIDENCE_ROOT, or the right to write there"),
        ),
    }
}

/// A value in the environment that the scenario overrules is easily taken for the one that counts.
fn overruled(run: &PlannedRun<'_>, report: &mut Report) {
    let scenario = run.scenario.id.get_ref();
    for name in run.vars.fixed() {
        let (Ok(outside), Some(own)) = (std::env::var(name), run.vars.text(name)) else {
            continue;
        };
        if !outside.is_empty() && outside != own && outside != *scenario {
            report.add(
                Level::Warning,
                format!("{name} in the environment is not used: scenario {scenario} runs with {name}={own}"),
                Some(&format!("unset {name}; for other values use --set {name}=…, or --level {name}=… for an axis")),
            );
        }
    }
}

fn need_met(suite: &Suite, need: &str, run: &PlannedRun<'_>, report: &mut Report) {
    if let Some(modules) = need.strip_prefix("k6") {
        let modules: Vec<&str> = modules
            .split('+')
            .filter(|module| !module.is_empty())
            .collect();
        if report.k6.is_none() {
            match Binary::find(&suite.root) {
                Ok(binary) => report.k6 = Some(binary),
                Err(error) => return report.note(Err(error), None),
            }
        }
        let Some(binary) = &report.k6 else { return };
        let missing = binary.missing(&modules);
        let text = format!("{} ({})", binary.version_line(), binary.path.display());
        if missing.is_empty() {
            report.good(format!("{text} with {}", modules.join(", ")));
        } else {
            report.add(
                Level::Fault,
                format!("{text} lacks {}", missing.join(", ")),
                Some("build k6 with `make k6`, or point K6_BIN to one that has them"),
            );
        }
    } else if need == REDIS.need {
        servers::redis_usable(suite, run, report);
    } else if need == POSTGRES.need {
        servers::postgres_usable(suite, run, report);
    } else if let Some(bound) = need.strip_prefix("nofile>=") {
        match run
            .vars
            .expand(bound, &RunValues::new())
            .ok()
            .and_then(|text| text.parse().ok())
        {
            Some(needed) => machine::open_files(needed, report),
            None => report.add(
                Level::Fault,
                format!("need `{need}`: not a number"),
                Some("mend `needs` in the suite file"),
            ),
        }
    } else {
        report.add(
            Level::Fault,
            format!("unknown need `{need}`"),
            Some("allowed: k6+MODULE+…, redis, postgres, nofile>=N"),
        );
    }
}

fn target_present(suite: &Suite, run: &PlannedRun<'_>, table: &TargetTable, report: &mut Report) {
    if !table.is_started() {
        let answered = probe::ask_once(suite, table, &run.vars).map(|()| {
            format!(
                "target {} answers; the first run after its start may be slower, so leave that out of a series by --discard 1",
                table.id
            )
        });
        if let (Err(error), true) = (&answered, table.ready.patient) {
            let limit = words(table.ready.limit);
            let text = format!(
                "target {} does not answer yet: {error:#}; a run waits for it for {limit}",
                table.id
            );
            let mend = "start its services, or leave out BASE_URL to use the reference target";
            return report.add(Level::Warning, text, Some(mend));
        }
        return report.note(
            answered,
            Some("start its services, or leave out BASE_URL to use the reference target"),
        );
    }
    if table.kind == TargetKind::Compose {
        let engine = Engine::find(table).map(|engine| {
            format!(
                "target {}: containers by {}",
                table.id,
                engine.program().display()
            )
        });
        report.note(engine, None);
    }
    let given = run.under_test.program.as_ref();
    let program = match given.filter(|_| !table.is_service()) {
        Some(given) => Ok(given.clone()),
        None => target::program(suite, table),
    };
    report.note(
        program.map(|path| format!("target {}: {}", table.id, path.display())),
        None,
    );
}

/// Refuses a run that something stands in the way of.
///
/// # Errors
/// Every fault with its mend, exit code 2.
pub(crate) fn require(report: &Report) -> anyhow::Result<&Binary> {
    if report.healthy() {
        return report.k6.as_ref().ok_or_else(|| {
            exit::set_up("the suite does not need k6 (`needs`), so there is nothing to run")
        });
    }
    let faults: Vec<String> = report
        .findings
        .iter()
        .filter(|finding| finding.level == Level::Fault)
        .map(|finding| format!("  {finding}"))
        .collect();
    Err(exit::set_up(format!(
        "the run cannot start:\n{}",
        faults.join("\n")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_reported_once() {
        let mut report = Report::default();
        report.good("same");
        report.good("same");
        assert_eq!(report.findings.len(), 1);
    }
}
