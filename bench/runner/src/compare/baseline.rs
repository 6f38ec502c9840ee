//! Baselines: values that a person accepted, to be compared with what is measured later under the same conditions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use barrier_stats::ratio as stats;
use serde::{Deserialize, Serialize};

use super::alike;
use super::places;
use super::stored::{Stored, StoredRun};
use crate::suite::schema::Worse;
use crate::values::exit;
use crate::values::text::{figure, plural};
use crate::values::writer;

/// Folder beside the plans, below the root of the evidence.
const FOLDER: &str = "baselines";
const SCHEMA: u32 = 1;

/// What was accepted of one variant at one point.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Baseline {
    schema_version: u32,
    /// Comparability: what the figures depend on beside the thing under test.
    pub(crate) key: String,
    conditions: BTreeMap<String, String>,
    pub(crate) accepted: String,
    /// Name of the folder it was taken from.
    pub(crate) from: String,
    suite: String,
    pub(crate) scenario: String,
    pub(crate) point: String,
    pub(crate) variant: String,
    pub(crate) build: String,
    pub(crate) metrics: Vec<Metric>,
}

/// The values of one metric, a run each.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Metric {
    pub(crate) metric: String,
    stat: String,
    pub(crate) values: Vec<f64>,
}

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
}

/// The counted runs of a variant.
struct Group<'a> {
    scenario: &'a str,
    point: String,
    variant: &'a str,
    runs: Vec<&'a StoredRun>,
}

fn groups(stored: &Stored) -> Vec<Group<'_>> {
    let mut found: Vec<Group<'_>> = Vec::new();
    for ((scenario, point), runs) in places::groups(stored) {
        for run in runs.into_iter().filter(|run| run.left_out().is_none()) {
            let variant = run.variant();
            let same = |group: &&mut Group<'_>| {
                (group.scenario, &group.point, group.variant) == (scenario, &point, variant)
            };
            match found.iter_mut().find(same) {
                Some(group) => group.runs.push(run),
                None => found.push(Group {
                    scenario,
                    point: point.clone(),
                    variant,
                    runs: vec![run],
                }),
            }
        }
    }
    found
}

/// The folder of the baselines that belong to a plan: beside it.
fn beside(plan: &Path) -> anyhow::Result<PathBuf> {
    let plan = std::path::absolute(plan).context("resolving the folder")?;
    Ok(plan.parent().unwrap_or(&plan).join(FOLDER))
}

/// Accepts the runs of a plan as what later ones are measured by; what was accepted under the same key before is replaced.
///
/// # Errors
/// No run counts, the runs of a variant are not alike, or a file cannot be written.
pub(crate) fn accept(folder: &Path) -> anyhow::Result<Vec<Baseline>> {
    let stored = Stored::open(folder)?;
    if stored.suite.file.compare.is_empty() {
        return Err(exit::set_up(format!(
            "{} names nothing to keep: it has no table [[compare]]",
            stored.suite.path.display()
        )));
    }
    let groups = groups(&stored);
    if groups.is_empty() {
        return Err(exit::set_up(format!(
            "{}: no run counts, so there is nothing to accept",
            folder.display()
        )));
    }
    let baselines = groups
        .iter()
        .map(|group| taken(&stored, group))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let place = beside(folder)?;
    fs::create_dir_all(&place).with_context(|| format!("making {}", place.display()))?;
    for baseline in &baselines {
        let path = place.join(baseline.file());
        let text = format!("{:#}\n", serde_json::to_value(baseline)?);
        writer::whole(&path, text.as_bytes(), true)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(baselines)
}

fn taken(stored: &Stored, group: &Group<'_>) -> anyhow::Result<Baseline> {
    let side = [(group.variant.to_owned(), group.runs.clone())];
    let differences = alike::differences(&stored.suite, &side, &[]);
    if !differences.is_empty() {
        let texts: Vec<String> = differences.iter().map(ToString::to_string).collect();
        return Err(exit::set_up(format!(
            "the runs of {} are not alike: they differ in {}; accept a plan of its own",
            group.variant,
            texts.join(", ")
        )));
    }
    let conditions = alike::conditions(&stored.suite, group.runs[0]);
    let from = std::path::absolute(&stored.root).context("resolving the folder")?;
    Ok(Baseline {
        schema_version: SCHEMA,
        key: alike::key(&conditions),
        conditions,
        accepted: barrier_stats::host::now(),
        from: from
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default(),
        suite: stored.suite.file.suite.id.clone(),
        scenario: group.scenario.to_owned(),
        point: group.point.clone(),
        variant: group.variant.to_owned(),
        build: group.runs[0].build(),
        metrics: stored
            .suite
            .file
            .compare
            .iter()
            .map(|table| {
                let (metric, stat) = (table.metric.get_ref(), table.stat.get_ref());
                Metric {
                    metric: metric.clone(),
                    stat: stat.clone(),
                    values: values(group, metric, stat),
                }
            })
            .filter(|metric| !metric.values.is_empty())
            .collect(),
    })
}

fn values(group: &Group<'_>, metric: &str, stat: &str) -> Vec<f64> {
    let values = group.runs.iter().filter_map(|run| run.value(metric, stat));
    values.filter(|value| *value > 0.0).collect()
}

impl Baseline {
    /// One file for each key, point and variant.
    fn file(&self) -> String {
        let parts = [
            &self.suite,
            &self.scenario,
            &self.point,
            &self.variant,
            &self.key,
        ];
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        let name: Vec<String> = parts.map(|part| crate::evidence::component(part)).collect();
        format!("{}.json", name.join("_"))
    }

    /// The baseline in one line.
    pub(crate) fn line(&self) -> String {
        let place = [&self.suite, &self.scenario, &self.point, &self.variant];
        let place = place.into_iter().filter(|part| !part.is_empty());
        let metrics: Vec<String> = self
            .metrics
            .iter()
            .map(|metric| {
                let median = barrier_stats::median::median(&metric.values).unwrap_or_default();
                format!(
                    "{} {} ({})",
                    metric.metric,
                    figure(median),
                    plural(metric.values.len(), "run")
                )
            })
            .collect();
        format!(
            "{}  {}, build {}, of {}, key {}: {}",
            self.accepted.get(..10).unwrap_or_default(),
            place.cloned().collect::<Vec<_>>().join(" / "),
            self.build,
            self.from,
            self.key,
            metrics.join(", ")
        )
    }
}

/// The accepted baselines below a root of evidence, in the order of their names.
///
/// # Errors
/// A file cannot be read, or is not one.
pub(crate) fn list(root: &Path) -> anyhow::Result<Vec<Baseline>> {
    read(&root.join(FOLDER))
}

fn read(folder: &Path) -> anyhow::Result<Vec<Baseline>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("reading {}", folder.display())),
    };
    let mut files = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<_>>>()
        .with_context(|| format!("reading {}", folder.display()))?;
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "json")
    });
    files.sort();
    let one = |path: &PathBuf| {
        let text =
            fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_str(&text)
            .map_err(|error| exit::set_up(format!("{}: not a baseline: {error}", path.display())))
    };
    files.iter().map(one).collect()
}

/// The runs of a plan against the accepted baselines of the same key.
///
/// # Errors
/// A baseline cannot be read.
pub(crate) fn against(stored: &Stored) -> anyhow::Result<Vec<Against>> {
    let known = read(&beside(&stored.root)?)?;
    let own = std::path::absolute(&stored.root).context("resolving the folder")?;
    let mut found = Vec::new();
    for group in groups(stored) {
        let conditions = alike::conditions(&stored.suite, group.runs[0]);
        let key = alike::key(&conditions);
        let of_group = |baseline: &&Baseline| {
            (
                baseline.suite.as_str(),
                baseline.scenario.as_str(),
                &baseline.point,
                baseline.variant.as_str(),
            ) == (
                stored.suite.file.suite.id.as_str(),
                group.scenario,
                &group.point,
                group.variant,
            )
        };
        let is_own = |baseline: &&Baseline| {
            own.file_name()
                .is_some_and(|name| name.to_string_lossy() == baseline.from)
        };
        let same: Vec<&Baseline> = known.iter().filter(of_group).collect();
        let Some(baseline) = same.iter().copied().find(|baseline| baseline.key == key) else {
            // A limit that cannot be judged is not kept: what was accepted under other conditions is not silence.
            if let Some(other) = same.into_iter().rfind(|baseline| !is_own(baseline)) {
                let why = format!(
                    "conditions differ in {}",
                    differing(&other.conditions, &conditions)
                );
                let all = other.metrics.iter();
                found.extend(all.map(|metric| unlike(stored, &group, other, metric, &why)));
            }
            continue;
        };
        if is_own(&baseline) {
            continue;
        }
        let doubt = doubt(stored, &group);
        for metric in &baseline.metrics {
            found.push(match &doubt {
                Some(why) => unlike(stored, &group, baseline, metric, why),
                None => one(stored, &group, baseline, metric),
            });
        }
    }
    found.extend(without_runs(stored, &known));
    Ok(found)
}

/// What was accepted of variants that ran and of whose runs none counts.
fn without_runs(stored: &Stored, known: &[Baseline]) -> Vec<Against> {
    let mut found = Vec::new();
    let measured = |run: &&StoredRun| !run.meta.quick && !run.meta.discarded;
    let mut told: Vec<(&str, String, &str)> = Vec::new();
    let counted = groups(stored);
    for run in stored.runs.iter().filter(measured) {
        let place = (run.meta.scenario.as_str(), run.point(), run.variant());
        let counts = counted.iter().any(|group| {
            (group.scenario, &group.point, group.variant) == (place.0, &place.1, place.2)
        });
        if counts || told.contains(&place) {
            continue;
        }
        told.push(place.clone());
        let (scenario, point, variant) = place;
        let last = known.iter().rfind(|baseline| {
            (
                &baseline.suite,
                baseline.scenario.as_str(),
                &baseline.point,
                baseline.variant.as_str(),
            ) == (&stored.suite.file.suite.id, scenario, &point, variant)
        });
        if let Some(baseline) = last {
            let group = Group {
                scenario,
                point,
                variant,
                runs: Vec::new(),
            };
            let metrics = baseline.metrics.iter();
            found.extend(
                metrics.map(|metric| {
                    unlike(stored, &group, baseline, metric, "none of its runs counts")
                }),
            );
        }
    }
    found
}

/// The names of what is not the same.
fn differing(then: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> String {
    let names: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let names = names
        .into_iter()
        .filter(|name| then.get(*name) != now.get(*name));
    names.cloned().collect::<Vec<_>>().join(", ")
}

/// Why the runs of a group say nothing together: they are not alike, or too many of their kind were invalid.
fn doubt(stored: &Stored, group: &Group<'_>) -> Option<String> {
    let side = [(group.variant.to_owned(), group.runs.clone())];
    let differences = alike::differences(&stored.suite, &side, &[]);
    if !differences.is_empty() {
        let texts: Vec<String> = differences.iter().map(ToString::to_string).collect();
        return Some(format!("its runs differ in {}", texts.join(", ")));
    }
    let of_group = stored.runs.iter().filter(|run| {
        run.meta.scenario == group.scenario
            && run.point() == group.point
            && run.variant() == group.variant
            && !run.meta.discarded
    });
    let invalid = of_group.filter(|run| run.verdict == "INVALID").count();
    (5 * invalid > invalid + group.runs.len())
        .then(|| format!("more than one fifth of its runs were invalid ({invalid})"))
}

/// A comparison that is not made, with the limit it leaves unjudged.
fn unlike(
    stored: &Stored,
    group: &Group<'_>,
    baseline: &Baseline,
    metric: &Metric,
    why: &str,
) -> Against {
    let limited = stored.suite.file.compare.iter().any(|table| {
        table.worse_than.is_some()
            && (table.metric.get_ref(), table.stat.get_ref()) == (&metric.metric, &metric.stat)
    });
    let remedy = if group.runs.is_empty() {
        ""
    } else {
        "; accept a new one"
    };
    Against {
        scenario: group.scenario.to_owned(),
        point: group.point.clone(),
        variant: group.variant.to_owned(),
        metric: metric.metric.clone(),
        ratio: None,
        verdict: limited.then_some("INVALID"),
        text: format!(
            "baseline: {}, {}: {} is not compared with what was accepted on {}: {why}{remedy}",
            group.scenario,
            group.variant,
            metric.metric,
            baseline.accepted.get(..10).unwrap_or_default(),
        ),
    }
}

fn one(stored: &Stored, group: &Group<'_>, baseline: &Baseline, metric: &Metric) -> Against {
    let now = values(group, &metric.metric, &metric.stat);
    let mean = stats::geometric_mean;
    let ratio = mean(&now)
        .zip(mean(&metric.values))
        .map(|(now, then)| now / then);
    let table = stored.suite.file.compare.iter().find(|table| {
        (table.metric.get_ref(), table.stat.get_ref()) == (&metric.metric, &metric.stat)
    });
    let limit = table.and_then(|table| Some((*table.worse_than.as_ref()?.get_ref(), table.worse)));
    // Welch's interval: the two did not run side by side.
    let welch = stats::unpaired(&metric.values, &now);
    let verdict = limit.map(|(limit, worse)| match (&welch, worse) {
        _ if now.len() < stats::MIN_CYCLES || metric.values.len() < stats::MIN_CYCLES => "INVALID",
        (Some(welch), Worse::Higher) if welch.interval.low > 1.0 + limit => "FAIL",
        (Some(welch), Worse::Lower) if welch.interval.high < 1.0 - limit => "FAIL",
        _ => "PASS",
    });
    let shown = ratio.map_or_else(|| "unknown".to_owned(), |ratio| format!("{ratio:.2}"));
    let place = [group.scenario, &group.point, group.variant]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(", ");
    let judged = match (verdict, limit) {
        (Some(verdict), Some((limit, _))) => format!(
            "; {verdict}: at most {} % worse is allowed, judged from {} runs each on",
            figure(limit * 100.0),
            stats::MIN_CYCLES
        ),
        _ => String::new(),
    };
    Against {
        scenario: group.scenario.to_owned(),
        point: group.point.clone(),
        variant: group.variant.to_owned(),
        metric: metric.metric.clone(),
        ratio,
        verdict,
        text: format!(
            "baseline: {place}: {} is {shown} of what was accepted on {} (build {}, {}); not side by side{judged}",
            metric.metric,
            baseline.accepted.get(..10).unwrap_or_default(),
            baseline.build,
            baseline.from
        ),
    }
}
