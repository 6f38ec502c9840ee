//! From evidence to a verdict: the one way, for a run that has just ended and for one that is judged again.

use std::path::Path;

use serde_json::{Map, Value as Json, json};

use crate::evidence::Folder;
use crate::plan::PlannedRun;
use crate::run::k6::{Cause, Finished};
use crate::run::meta::Meta;
use crate::run::monitor::Machine;
use crate::suite::Suite;
use crate::suite::vars::Vars;
use crate::values::exit::{self, RunOutcome};
use crate::values::mask::{self, masked, say};
use crate::verdict::derive::{derive, statistic};
use crate::verdict::facts::Facts;
use crate::verdict::gates::{self, Judged, Verdict};

/// Everything that a verdict follows from.
#[derive(Debug)]
pub(crate) struct Evidence {
    pub(crate) scenario: String,
    pub(crate) facts: Facts,
    pub(crate) summary: Option<Json>,
    pub(crate) derived: Map<String, Json>,
    pub(crate) vars: Vars,
    /// The load was scaled down.
    pub(crate) quick: bool,
}

/// What follows from it.
#[derive(Debug)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    pub(crate) gates: Vec<Judged>,
    /// Why the verdict is not PASS.
    pub(crate) reasons: Vec<String>,
    /// What the run contributes to the exit code.
    pub(crate) code: i32,
}

impl Evidence {
    /// Judges every gate of the suite, the built-in ones first.
    ///
    /// # Errors
    /// A limit names a variable without a value, or is not a number.
    pub(crate) fn judge(&self, suite: &Suite) -> anyhow::Result<Judgement> {
        let mut gates = self.facts.judge();
        gates.extend(self.summary.as_ref().map(nothing_dropped));
        let evidence = gates::Evidence {
            summary: self.summary.as_ref(),
            derived: &self.derived,
            vars: &self.vars,
        };
        gates.extend(gates::judge(&suite.file.gate, &self.scenario, &evidence)?);
        let interrupted = self.facts.cause == Cause::Interrupt;
        let verdict = match gates::verdict(&gates) {
            _ if interrupted => Verdict::Interrupted,
            Verdict::Pass if self.quick => Verdict::Smoke,
            verdict => verdict,
        };
        let mut reasons: Vec<String> = gates::reasons(&gates)
            .iter()
            .map(|reason| masked(reason))
            .collect();
        if interrupted {
            reasons.insert(0, "a signal interrupted the run".to_owned());
        }
        let outcome = RunOutcome {
            k6: self.facts.k6_exit_code,
            summary: self.facts.summary,
            passed: verdict.passed(),
            interrupted,
        };
        Ok(Judgement {
            verdict,
            gates,
            reasons,
            code: exit::of_run(suite.file.suite.exit, outcome),
        })
    }
}

/// k6 drops iterations when it lacks users or time for them: then it was not the declared load.
fn nothing_dropped(summary: &Json) -> Judged {
    let dropped = statistic(summary, "dropped_iterations", "count").unwrap_or(0.0);
    Judged::built_in(
        "nothing-dropped",
        dropped <= 0.0,
        format!("iterations that k6 dropped: {dropped}; expected 0"),
    )
}

/// Completes the evidence of a run whose k6 has ended, whatever its exit code, and judges it.
///
/// # Errors
/// A file of the evidence cannot be written.
pub(crate) fn conclude(
    suite: &Suite,
    run: &PlannedRun<'_>,
    finished: &Finished,
    health: Result<(), String>,
    machine: &Machine,
    folder: &Folder,
    meta: &mut Meta,
) -> anyhow::Result<Judgement> {
    let bytes = finished.summary();
    if let Some(bytes) = &bytes {
        folder.write("summary.json", &mask::masked_json(bytes))?;
    }
    let summary: Option<Json> = bytes
        .as_deref()
        .and_then(|bytes| serde_json::from_slice(bytes).ok());
    let of_machine = serde_json::to_value(machine)?;
    let derived = derive(&suite.file.derive, summary.as_ref(), &run.vars, &of_machine);
    folder.write_json("derived.json", &Json::Object(derived.clone()))?;
    let missing = suite.file.evidence.files.iter();
    let facts = Facts {
        k6_exit_code: finished.code,
        cause: finished.cause,
        summary: summary.is_some(),
        unhealthy: health.err().map(|text| masked(&text)),
        evidence_missing: missing
            .filter(|name| *name != "verdict.json" && !folder.has(name))
            .cloned()
            .collect(),
        generator_cpu_percent_mean: machine.generator_cpu_percent_mean,
    };
    meta.judged_by(&facts, of_machine)?;
    let evidence = Evidence {
        scenario: run.scenario.id.get_ref().clone(),
        facts,
        summary,
        derived,
        vars: run.vars.clone(),
        quick: meta.quick(),
    };
    let judgement = evidence.judge(suite)?;
    let warnings: Vec<&str> = [machine.note.as_str()]
        .into_iter()
        .filter(|note| !note.is_empty())
        .collect();
    let record = json!({
        "schemaVersion": 1,
        "verdict": judgement.verdict,
        "reasons": judgement.reasons,
        "warnings": warnings,
        "k6ExitCode": finished.code,
        "exitCode": judgement.code,
        "gates": judgement.gates,
    });
    folder.write_json("verdict.json", &record)?;
    meta.ended(&judgement.verdict.to_string(), judgement.code, folder);
    meta.write(folder)?;
    say("");
    tell(
        &run.title(),
        &evidence.derived,
        &judgement,
        &machine.note,
        folder.path(),
    );
    Ok(judgement)
}

/// Prints a verdict with its figures and reasons.
pub(crate) fn tell(
    title: &str,
    derived: &Map<String, Json>,
    judgement: &Judgement,
    note: &str,
    folder: &Path,
) {
    let width = derived.keys().map(String::len).max().unwrap_or(0);
    say(&format!("verdict  {}  {title}", judgement.verdict));
    for (name, value) in derived {
        let value = if value.is_null() {
            "unknown".to_owned()
        } else {
            value.to_string()
        };
        say(&format!("         {name:<width$}  {value}"));
    }
    if !note.is_empty() {
        say(&format!("beware   {note}"));
    }
    let holding = judgement.gates.iter().filter(|gate| gate.holds).count();
    say(&format!(
        "gates    {holding} of {} hold",
        judgement.gates.len()
    ));
    for reason in &judgement.reasons {
        say(&format!("         {reason}"));
    }
    say(&format!("folder   {}", shown(folder)));
}

/// A path for the terminal: relative where that is shorter.
pub(crate) fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here)
        .unwrap_or(path)
        .display()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_iterations_are_another_load() {
        let dropped = |count: u32| json!({ "metrics": { "dropped_iterations": { "values": { "count": count } } } });
        assert!(nothing_dropped(&json!({ "metrics": {} })).holds);
        assert!(nothing_dropped(&dropped(0)).holds);
        let gate = nothing_dropped(&dropped(3));
        assert!(!gate.holds && gate.text.contains("dropped: 3"), "{gate:?}");
    }
}
