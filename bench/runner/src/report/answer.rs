//! The answer that a report begins with, in the suite's own words: `[report] answer`.

use crate::values::text::plural;
use std::collections::BTreeMap;

use barrier_stats::median::median;
use minijinja::UndefinedBehavior;
use minijinja::value::Serde;
use serde_json::Value as Json;

use crate::compare::stored::{Stored, StoredRun};
use crate::compare::{alike, places};
use crate::suite::answer::environment;

/// Places beyond which there are too many to be told one by one.
const PLACES: usize = 4;

/// The answers, a sentence for each scenario and point.
///
/// # Errors
/// The template does not fit its values.
pub(super) fn of(stored: &Stored) -> anyhow::Result<Vec<String>> {
    let groups: Vec<_> = places::groups(stored)
        .into_iter()
        .filter(|(_, runs)| !runs.iter().all(|run| run.meta.preflight))
        .collect();
    let mut sentences = Vec::new();
    for ((scenario, point), runs) in groups.iter().take(PLACES) {
        let place = if groups.len() == 1 {
            String::new()
        } else {
            format!("{}: ", [scenario, point.as_str()].join(" ").trim())
        };
        let names = places::order(stored, runs);
        let mut parts = Vec::new();
        for name in &names {
            let own: Vec<&StoredRun> = runs
                .iter()
                .copied()
                .filter(|run| run.meta.variant == *name && run.superseded.is_none())
                .collect();
            let text = said(stored, &own)?;
            let shown = own.first().map_or(*name, |run| run.variant());
            parts.push(if names.len() > 1 {
                format!("{shown}: {text}")
            } else {
                text
            });
        }
        sentences.push(format!("{place}{}", parts.join("; ")));
    }
    if groups.len() > PLACES {
        sentences.push(format!("{} further points below", groups.len() - PLACES));
    }
    Ok(sentences)
}

/// What came out for one variant.
fn said(stored: &Stored, runs: &[&StoredRun]) -> anyhow::Result<String> {
    let counted: Vec<&StoredRun> = runs
        .iter()
        .copied()
        .filter(|run| run.left_out().is_none())
        .collect();
    let Some(first) = counted.first() else {
        let last = runs.last();
        let why = last.map_or_else(
            || "not run".to_owned(),
            |run| {
                let reason = run
                    .reasons
                    .first()
                    .map_or_else(String::new, |reason| format!(": {reason}"));
                format!("{}{reason}", run.verdict)
            },
        );
        return Ok(format!("no run counts ({why})"));
    };
    if let Some(differences) = alike::unlike(&stored.suite, first.variant(), &counted) {
        return Ok(format!(
            "no one answer: its runs are not alike, they differ in {differences}"
        ));
    }
    let failed = counted.iter().filter(|run| run.verdict == "FAIL").count();
    let missed = match (failed, counted.len()) {
        (0, _) => String::new(),
        (_, 1) => ", an objective was missed (FAIL)".to_owned(),
        (failed, all) => format!(", objectives were missed in {failed} of {all} runs (FAIL)"),
    };
    let template = stored
        .suite
        .file
        .report
        .as_ref()
        .and_then(|report| report.answer.as_ref());
    let Some(template) = template else {
        return Ok(format!("{} counted{missed}", plural(counted.len(), "run")));
    };
    let mut values: BTreeMap<String, Json> = BTreeMap::new();
    for name in first.derived.keys() {
        let numbers: Option<Vec<f64>> = counted
            .iter()
            .map(|run| run.derived.get(name)?.as_f64())
            .collect();
        let Some(middle) = numbers.and_then(|numbers| median(&numbers)) else {
            continue;
        };
        values.insert(name.clone(), middle.into());
    }
    // Alike in all of these runs, or it is a place.
    for (name, setting) in &first.meta.environment {
        values
            .entry(name.clone())
            .or_insert_with(|| setting.value.as_str().into());
    }
    values.insert("scenario".to_owned(), first.meta.scenario.as_str().into());
    values.insert("point".to_owned(), first.point().into());
    values.insert("variant".to_owned(), first.variant().into());
    values.insert("runs".to_owned(), counted.len().into());
    // A value that a run does not have is no reason to be left without a report.
    let mut environment = environment();
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    let text = environment
        .template_from_str(template.get_ref())
        .and_then(|template| template.render(Serde(&values)))
        .unwrap_or_else(|_| format!("{} counted", plural(counted.len(), "run")));
    let many = if counted.len() > 1 {
        format!(" (median of {} runs)", counted.len())
    } else {
        String::new()
    };
    Ok(format!("{text}{many}{missed}"))
}
