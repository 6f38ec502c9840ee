//! After k6: collecting its summary, deriving values, judging, and telling the verdict.

use std::path::Path;

use serde_json::{Map, Value as Json, json};

use crate::derive::derive;
use crate::evidence::Folder;
use crate::exit::{self, RunOutcome};
use crate::gates::{self, Judged, Verdict};
use crate::k6::{Cause, Finished};
use crate::limits::Limits;
use crate::mask::{self, masked, say};
use crate::meta::Meta;
use crate::plan::PlannedRun;
use crate::suite::Suite;

/// Completes the evidence of a run whose k6 has ended, whatever its exit code, and returns the exit code of the run.
///
/// # Errors
/// A file of the evidence cannot be written.
pub(crate) fn judge(
    suite: &Suite,
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
    let derived = derive(&suite.file.derive, summary.as_ref(), &run.vars);
    folder.write_json("derived.json", &Json::Object(derived.clone()))?;

    let mut judged = built_in(suite, finished, summary.is_some(), health, folder);
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
        &suite.file.gate,
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
    let code = exit::of_run(suite.file.suite.exit, outcome);
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

/// A path for the terminal: relative where that is shorter.
pub(crate) fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here)
        .unwrap_or(path)
        .display()
        .to_string()
}
