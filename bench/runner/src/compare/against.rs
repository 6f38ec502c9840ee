//! Runs of a plan against what was accepted before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use barrier_stats::ratio as stats;
use serde::Serialize;

use super::alike;
use super::baseline::{Baseline, Group, beside, files, groups, name_of, read, values};
use super::limit::Gate;
use super::stored::Stored;
use crate::evidence::component;
use crate::suite::schema::CompareTable;
use crate::values::text::figure;

/// Runs against what was accepted.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Against {
    scenario: String,
    point: String,
    variant: String,
    metric: String,
    /// Of the geometric means, measured now / accepted.
    ratio: Option<f64>,
    /// Of the suite's limit, if it sets one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) verdict: Option<&'static str>,
    pub(crate) text: String,
    #[serde(skip)]
    gate: Option<Gate>,
    /// The same ratio with Welch's interval, from enough runs on: the two did not run side by side.
    #[serde(skip)]
    welch: Option<stats::Ratio>,
}

impl Against {
    /// The limit and what it is judged by, where both are there.
    pub(super) fn limit(&mut self) -> Option<(&mut Gate, &stats::Ratio)> {
        Some((self.gate.as_mut()?, self.welch.as_ref()?))
    }

    /// With the verdict, once all limits are judged.
    pub(super) fn told(mut self) -> Self {
        if let Some(gate) = &self.gate {
            self.verdict = Some(gate.verdict);
        }
        if let (Some(gate), Some(_)) = (&self.gate, self.ratio) {
            let judged = format!(
                "; {}: at most {} % worse is allowed, judged from {} runs each on{}",
                gate.verdict,
                figure(gate.limit * 100.0),
                stats::MIN_CYCLES,
                gate.why_open()
            );
            self.text.push_str(&judged);
        }
        self
    }
}

/// The suite that a file says it is of, or that its name says where it cannot be read.
fn is_of(path: &Path, suite: &str) -> bool {
    let text = fs::read(path).unwrap_or_default();
    let said = serde_json::from_slice::<serde_json::Value>(&text).ok();
    match said.as_ref().and_then(|said| said.get("suite")?.as_str()) {
        Some(said) => said == suite,
        None => name_of(path).starts_with(&format!("{}_", component(suite))),
    }
}

/// The runs of a plan against the accepted baselines of the same key.
///
/// # Errors
/// The folder of the baselines cannot be read.
pub(crate) fn against(stored: &Stored) -> anyhow::Result<Vec<Against>> {
    let groups = groups(stored);
    if groups.is_empty() {
        return Ok(Vec::new());
    }
    let (mut known, mut found) = (Vec::new(), Vec::new());
    let suite = &stored.suite.file.suite.id;
    for folder in beside(stored)? {
        for path in files(&folder)? {
            if !is_of(&path, suite) {
                continue;
            }
            match read(&path) {
                Ok(baseline) => known.push(baseline),
                Err(error) => found.push(broken(stored, &error)),
            }
        }
    }
    known.retain(|baseline| baseline.suite == *suite);
    for group in &groups {
        let beside = groups
            .iter()
            .filter(|other| (other.scenario, &other.point) == (group.scenario, &group.point));
        let alone = beside.count() == 1;
        found.extend(of_group(stored, group, &known, alone)?);
    }
    Ok(found)
}

/// `alone`: nothing else was measured at its point.
fn of_group(
    stored: &Stored,
    group: &Group<'_>,
    known: &[Baseline],
    alone: bool,
) -> anyhow::Result<Vec<Against>> {
    let tables = group.tables(stored);
    let at_place = known.iter().filter(|baseline| {
        (baseline.scenario.as_str(), &baseline.point) == (group.scenario, &group.point)
    });
    let (same, others): (Vec<&Baseline>, Vec<&Baseline>) =
        at_place.partition(|baseline| baseline.variant == group.variant);
    if same.is_empty() {
        let told = !tables.is_empty() && !others.is_empty();
        return Ok(told
            .then(|| nameless(group, &others, &tables, alone))
            .into_iter()
            .collect());
    }
    // What was accepted itself is not measured by itself.
    let mut later = Vec::new();
    for baseline in same {
        let rest = group.without(stored, &baseline.from)?;
        let key = rest.runs.first().map(|run| {
            let conditions = alike::conditions(&stored.suite, run);
            (alike::key(&conditions), conditions)
        });
        let of_key = key.as_ref().is_some_and(|(key, _)| *key == baseline.key);
        if !rest.all.is_empty() {
            later.push((of_key, baseline, rest, key));
        } else if let Some(run) = group.runs.first()
            && alike::key(&alike::conditions(&stored.suite, run)) == baseline.key
        {
            return Ok(Vec::new());
        }
    }
    let accepted = |baseline: &Baseline| baseline.accepted.parse::<jiff::Timestamp>().ok();
    let last = later
        .into_iter()
        .max_by_key(|(of_key, baseline, ..)| (*of_key, accepted(baseline)));
    let Some((of_key, baseline, group, key)) = last else {
        return Ok(Vec::new());
    };
    // A limit that cannot be judged is not kept: what was accepted under other conditions is not silence.
    let why = match &key {
        None => Some("none of its runs counts".to_owned()),
        Some((_, conditions)) if !of_key => Some(format!(
            "conditions differ in {}; accept a new one",
            differing(&baseline.conditions, conditions)
        )),
        Some(_) => group
            .unlike(stored)
            .map(|differences| format!("its runs differ in {differences}")),
    };
    let tables = tables.into_iter();
    Ok(tables
        .map(|table| one(stored, &group, baseline, table, why.clone()))
        .collect())
}

/// A file that says nothing: what it held may have been what a limit is judged by.
fn broken(stored: &Stored, error: &anyhow::Error) -> Against {
    let mut tables = stored.suite.file.compare.iter();
    let limited = tables.any(|table| table.worse_than.is_some());
    Against {
        scenario: String::new(),
        point: String::new(),
        variant: String::new(),
        metric: String::new(),
        ratio: None,
        verdict: limited.then_some("INVALID"),
        text: format!("baseline: {error:#}"),
        gate: None,
        welch: None,
    }
}

/// Nothing was accepted under a variant's name, and something under others: a renamed branch has no past. Where nothing else
/// judges it, its limit is not kept.
fn nameless(
    group: &Group<'_>,
    others: &[&Baseline],
    tables: &[&CompareTable],
    alone: bool,
) -> Against {
    let names: BTreeSet<&str> = others.iter().map(|other| other.variant.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let gate = tables.iter().find_map(|table| Gate::of_share(table));
    let gate = gate.filter(|_| alone);
    let unjudged = match &gate {
        Some(gate) => format!(
            "; {}: what is allowed is judged by nothing: accept a plan under this name, run it under one of those, or both side by side",
            gate.verdict
        ),
        None => String::new(),
    };
    Against {
        scenario: group.scenario.to_owned(),
        point: group.point.clone(),
        variant: group.variant.to_owned(),
        metric: String::new(),
        ratio: None,
        verdict: None,
        text: format!(
            "baseline: {}: no baseline of this name, so nothing accepted is compared with; there are {}{unjudged}",
            group.place(),
            names.join(", ")
        ),
        gate,
        welch: None,
    }
}

/// The names of what is not the same.
fn differing(then: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> String {
    let names: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let names = names
        .into_iter()
        .filter(|name| then.get(*name) != now.get(*name));
    names.cloned().collect::<Vec<_>>().join(", ")
}

/// One metric against what was accepted; `why` it cannot be, if that is known.
fn one(
    stored: &Stored,
    group: &Group<'_>,
    baseline: &Baseline,
    table: &CompareTable,
    why: Option<String>,
) -> Against {
    let (metric, stat) = (table.metric.get_ref(), table.stat.get_ref());
    let accepted = baseline.accepted.get(..10).unwrap_or_default();
    let mut kept = baseline.metrics.iter();
    let then = kept.find(|kept| (&kept.metric, &kept.stat) == (metric, stat));
    let why = why
        .or_else(|| {
            then.is_none()
                .then(|| "no value of it was accepted".to_owned())
        })
        .or_else(|| group.losses(stored, metric, stat));
    let (now, then) = (
        values(group, metric, stat),
        then.map_or(&[][..], |then| &then.values),
    );
    let mean = stats::geometric_mean;
    let ratio = mean(&now).zip(mean(then)).map(|(now, then)| now / then);
    let ratio = ratio.filter(|_| why.is_none());
    let enough = ratio.is_some() && now.len().min(then.len()) >= stats::MIN_CYCLES;
    let text = match (&why, ratio) {
        (None, Some(ratio)) => format!(
            "{metric} is {ratio:.2} of what was accepted on {accepted} (build {}, {}); not side by side",
            baseline.build, baseline.from
        ),
        (why, _) => format!(
            "{metric} is not compared with what was accepted on {accepted} ({}): {}",
            baseline.from,
            why.as_deref().unwrap_or("it has no value")
        ),
    };
    Against {
        scenario: group.scenario.to_owned(),
        point: group.point.clone(),
        variant: group.variant.to_owned(),
        metric: metric.clone(),
        ratio,
        verdict: None,
        text: format!("baseline: {}: {text}", group.place()),
        gate: Gate::of_share(table),
        welch: stats::unpaired(then, &now).filter(|_| enough),
    }
}
