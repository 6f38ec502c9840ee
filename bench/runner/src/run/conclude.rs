//! The end of a run: its evidence is completed and judged.

use serde_json::{Value as Json, json};

use crate::evidence::Folder;
use crate::plan::PlannedRun;
use crate::run::drain::Drains;
use crate::run::driver::Finished;
use crate::run::meta::Meta;
use crate::run::probe::Unwell;
use crate::run::series;
use crate::series::window::Window;
use crate::suite::Suite;
use crate::values::mask::masked;
use crate::verdict::derive::{Sources, derive};
use crate::verdict::facts::{Facts, Machine, aborted, cut, exhausted};
use crate::verdict::health::{self, Health};
use crate::verdict::judge::{Evidence, Judgement};
use crate::verdict::over_time::{self, OverTime};
use crate::verdict::server;

/// What there is of a run whose driver has ended, beside its files.
pub(super) struct Ran {
    pub(super) finished: Finished,
    pub(super) machine: Machine,
    /// What the targets answer instead of what they should.
    pub(super) health: Result<(), Unwell>,
    pub(super) drained: Drains,
}

/// Completes the evidence of a run whose k6 has ended, whatever its exit code, and judges it.
///
/// # Errors
/// A file of the evidence cannot be written.
pub(super) fn conclude(
    suite: &Suite,
    run: &PlannedRun<'_>,
    ran: &Ran,
    folder: &Folder,
    meta: &mut Meta,
) -> anyhow::Result<(Evidence, Judgement)> {
    let Ran {
        finished,
        machine,
        health,
        drained,
    } = ran;
    folder.release();
    series::settle(folder);
    let bytes = finished.summary();
    if let Some(bytes) = &bytes {
        // A failure is among the faults of the folder, here and below.
        let _ = folder.write("summary.json", bytes);
    }
    let summary: Option<Json> = bytes
        .as_deref()
        .and_then(|bytes| serde_json::from_slice(bytes).ok());
    let read = folder.json(server::FILE);
    let summary = server::merged(
        &suite.file,
        run.scenario.id.get_ref(),
        summary,
        read.as_ref(),
    );
    let of_machine = serde_json::to_value(machine)?;
    let output = folder.text("stdout.txt");
    let was_cut = output.as_deref().is_some_and(cut);
    let ran = over_time::Ran {
        scenario: run.scenario.id.get_ref(),
        vars: &run.vars,
        k6: Some(Window {
            from_ms: finished.began.timestamp().as_millisecond(),
            to_ms: finished.ended.timestamp().as_millisecond(),
        }),
        cut: was_cut,
        quick: meta.quick(),
    };
    let over_time = OverTime::read(suite, folder, ran)?;
    let window = over_time.window();
    let sources = Sources {
        summary: summary.as_ref(),
        vars: &run.vars,
        machine: &of_machine,
        over_time: &over_time,
        records: &meta.records(),
    };
    let derived = derive(&suite.file, sources);
    let _ = folder.write_json("derived.json", &Json::Object(derived.clone()));
    let missing = suite.file.evidence.files.iter();
    let missing = missing.filter(|name| *name != "verdict.json" && !folder.has(name));
    let facts = Facts {
        k6_exit_code: finished.code,
        aborted: output.as_deref().and_then(aborted),
        cut: was_cut,
        exhausted: output.as_deref().is_some_and(exhausted),
        cause: finished.cause,
        summary: summary.is_some(),
        locked: health.as_ref().is_err_and(|unwell| unwell.there),
        unhealthy: health.as_ref().err().map(|unwell| masked(&unwell.text)),
        drained: drained.objectives.clone(),
        preconditions: drained.preconditions.clone(),
        evidence_missing: missing.cloned().chain(folder.faults()).collect(),
        generator_cpu_percent_mean: machine.generator_cpu_percent_mean,
        commands: finished.calls.clone(),
    };
    meta.judged_by(&facts, of_machine)?;
    let evidence = Evidence {
        scenario: run.scenario.id.get_ref().clone(),
        facts,
        summary,
        health: Some(Health::read(&folder.text(health::FILE).unwrap_or_default())),
        derived,
        over_time,
        vars: run.vars.clone(),
        doubts: Vec::new(),
        quick: meta.quick(),
    };
    let judgement = evidence.judge(suite)?;
    let labels = meta.labels().iter().map(String::as_str);
    let warnings: Vec<&str> = [machine.note.as_str()]
        .into_iter()
        .chain(labels)
        .filter(|note| !note.is_empty())
        .collect();
    let mut record = json!({
        "schemaVersion": 1,
        "verdict": judgement.verdict,
        "reasons": judgement.reasons,
        "warnings": warnings,
        "k6ExitCode": finished.code,
        "exitCode": judgement.code,
        "gates": judgement.gates,
    });
    if let Some(said) = &judgement.said {
        record["said"] = json!(said);
    }
    if let Some(window) = window {
        record["window"] = json!(window);
    }
    folder.write_json("verdict.json", &record)?;
    meta.ended(&judgement.verdict.to_string(), judgement.code, folder);
    meta.write(folder)?;
    folder.seal()?;
    Ok((evidence, judgement))
}
