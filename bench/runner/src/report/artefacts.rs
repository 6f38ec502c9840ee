//! One folder with everything that a call of the runner leaves for others to look at.

use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value as Json, json};

use super::junit::{self, Run};
use crate::evidence::{Folder, Invocation, copy};
use crate::plan::file::PlanFile;

/// The folder of the evidence in it.
const EVIDENCE: &str = "evidence";
/// What a report consists of.
const REPORT: [&str; 3] = ["report.html", "report.md", "figures.json"];

/// How a call ended.
#[derive(Debug)]
pub(crate) struct Ending<'a> {
    /// What it was asked to run.
    pub(crate) what: &'a str,
    /// Its exit code.
    pub(crate) code: i32,
    /// Why, if that was no verdict.
    pub(crate) error: Option<String>,
}

/// Writes them beside what the call said. `plan`: the folder of its evidence, if it came so far.
///
/// # Errors
/// A file cannot be read or written.
pub(crate) fn write(
    folder: &Folder,
    plan: Option<&Path>,
    ending: &Ending<'_>,
) -> anyhow::Result<()> {
    let mut suite = ending.what.to_owned();
    let mut runs = Vec::new();
    if let Some(plan) = plan {
        let file = PlanFile::read(plan)?;
        suite = file.suite;
        let invocation = Invocation::open(plan);
        runs = file
            .runs
            .iter()
            .map(|planned| of(&invocation, &planned.folder))
            .collect();
    }
    let error = ending.error.as_deref();
    let text = junit::xml(&suite, &runs, error, ending.code).context("junit.xml")?;
    folder.write("junit.xml", text.as_bytes())?;
    let verdicts: Vec<Json> = runs
        .iter()
        .map(|run| {
            let field = |name: &str| run.verdict.as_ref().and_then(|verdict| verdict.get(name));
            let unjudged = if run.begun { "INTERRUPTED" } else { "NOT_RUN" };
            json!({
                "run": run.name,
                "verdict": field("verdict").unwrap_or(&Json::from(unjudged)),
                "reasons": field("reasons"),
                "exitCode": field("exitCode"),
            })
        })
        .collect();
    let record = json!({
        "schemaVersion": 1,
        "suite": suite,
        "exitCode": ending.code,
        "error": error,
        "runs": verdicts,
    });
    folder.write_json("verdicts.json", &record)?;
    if let Some(plan) = plan {
        for name in REPORT {
            let from = plan.join(name);
            if from.is_file() {
                let to = folder.path().join(name);
                std::fs::copy(&from, &to).with_context(|| format!("copying {name}"))?;
            }
        }
        copy::folder(plan, &folder.path().join(EVIDENCE))?;
    }
    Ok(())
}

fn of(invocation: &Invocation, planned: &str) -> Run {
    let attempts = invocation.attempts(planned);
    let last = attempts.last().map(|(_, folder)| folder);
    let name = last.and_then(|last| {
        let below = last.path().strip_prefix(invocation.path()).ok()?;
        Some(below.display().to_string())
    });
    let meta = last.and_then(|last| last.json("meta.json"));
    Run {
        name: name.unwrap_or_else(|| planned.to_owned()),
        verdict: last.and_then(|last| last.json("verdict.json")),
        missing: if last.is_some() {
            "the runner was ended before it could judge"
        } else {
            "never begun"
        },
        begun: last.is_some(),
        took_ms: meta.and_then(|meta| meta.pointer("/k6Run/wallClockMs")?.as_u64()),
    }
}
