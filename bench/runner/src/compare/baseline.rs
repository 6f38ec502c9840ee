//! Baselines: values that a person accepted, to be compared with what is measured later under the same conditions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use barrier_stats::ratio as stats;
use serde::{Deserialize, Serialize};

use super::limit::Gate;
use super::losses::Losses;
use super::stored::{Stored, StoredRun};
use super::{alike, places};
use crate::evidence::resolved;
use crate::suite::schema::CompareTable;
use crate::values::mask::masked_json;
use crate::values::text::{figure, plural};
use crate::values::writer;
use crate::values::{exit, hash};

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
    /// SHA-256 of all of the above, as JSON: what was accepted is not changed by hand.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    seal: String,
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
        self.verdict = self.gate.as_ref().map(|gate| gate.verdict);
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

/// The runs of a variant.
struct Group<'a> {
    scenario: &'a str,
    point: String,
    variant: &'a str,
    /// Those that count.
    runs: Vec<&'a StoredRun>,
    /// All, but for warm-ups and runs with a scaled load.
    all: Vec<&'a StoredRun>,
}

fn groups(stored: &Stored) -> Vec<Group<'_>> {
    let mut found: Vec<Group<'_>> = Vec::new();
    for ((scenario, point), runs) in places::groups(stored) {
        let measured = runs
            .into_iter()
            .filter(|run| !run.meta.discarded && !run.meta.quick);
        for run in measured {
            let variant = run.variant();
            let same = |group: &Group<'_>| {
                (group.scenario, &group.point, group.variant) == (scenario, &point, variant)
            };
            let known = found.iter().position(same);
            let number = known.unwrap_or_else(|| {
                found.push(Group {
                    scenario,
                    point: point.clone(),
                    variant,
                    runs: Vec::new(),
                    all: Vec::new(),
                });
                found.len() - 1
            });
            let group = &mut found[number];
            group.all.push(run);
            if run.left_out().is_none() {
                group.runs.push(run);
            }
        }
    }
    found
}

impl Group<'_> {
    /// The suite's comparisons that look at it.
    fn tables<'s>(&self, stored: &'s Stored) -> Vec<&'s CompareTable> {
        let preflight = self.all.iter().any(|run| run.meta.preflight);
        places::tables_at(stored, self.scenario, preflight).collect()
    }

    /// Why what is left of its runs says nothing about a metric.
    fn losses(&self, stored: &Stored, metric: &str, stat: &str) -> Option<String> {
        let name = self.all.first().map_or("", |run| &run.meta.variant);
        let place = (self.scenario, self.point.as_str(), name);
        let has_value = |run: &StoredRun| run.value(metric, stat).is_some_and(|value| value > 0.0);
        Losses::of(stored, place, &self.all, has_value).alone(self.variant)
    }

    /// What is not the same in the runs that count.
    fn unlike(&self, stored: &Stored) -> Option<String> {
        let side = [(self.variant.to_owned(), self.runs.clone())];
        let differences = alike::differences(&stored.suite, &side, &[]);
        let texts: Vec<String> = differences.iter().map(ToString::to_string).collect();
        (!texts.is_empty()).then(|| texts.join(", "))
    }

    /// Where it is, for people.
    fn place(&self) -> String {
        let parts = [self.scenario, &self.point, self.variant];
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        parts.collect::<Vec<_>>().join(", ")
    }
}

/// The folder of the baselines that belong to a plan: beside it.
fn beside(plan: &Path) -> anyhow::Result<PathBuf> {
    let plan = resolved(plan)?;
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
    let mut groups = groups(&stored);
    groups.retain(|group| !group.tables(&stored).is_empty());
    if groups.iter().all(|group| group.runs.is_empty()) {
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
        // As it will be read, without its secrets.
        let hidden = masked_json(&serde_json::to_vec(baseline)?);
        let mut sealed: Baseline = serde_json::from_slice(&hidden)?;
        sealed.seal = sealed.digest()?;
        let text = format!("{:#}\n", serde_json::to_value(sealed)?);
        writer::whole(&path, text.as_bytes(), true)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(baselines)
}

fn taken(stored: &Stored, group: &Group<'_>) -> anyhow::Result<Baseline> {
    if let Some(differences) = group.unlike(stored) {
        return Err(exit::set_up(format!(
            "the runs of {} are not alike: they differ in {differences}; accept a plan of its own",
            group.variant
        )));
    }
    let tables = group.tables(stored);
    for table in &tables {
        if let Some(why) = group.losses(stored, table.metric.get_ref(), table.stat.get_ref()) {
            return Err(exit::set_up(format!(
                "{}: {why}, so {} of the others says nothing that later runs can be measured by; accept a plan that is whole",
                group.place(),
                table.metric.get_ref()
            )));
        }
    }
    let conditions = alike::conditions(&stored.suite, group.runs[0]);
    let from = resolved(&stored.root)?;
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
        metrics: metrics(group, &tables),
        seal: String::new(),
    })
}

/// Each once, although several comparisons may look at it.
fn metrics(group: &Group<'_>, tables: &[&CompareTable]) -> Vec<Metric> {
    let mut metrics: Vec<Metric> = Vec::new();
    for table in tables {
        let (metric, stat) = (table.metric.get_ref(), table.stat.get_ref());
        let values = values(group, metric, stat);
        let mut known = metrics.iter();
        if !known.any(|known| (&known.metric, &known.stat) == (metric, stat)) && !values.is_empty()
        {
            metrics.push(Metric {
                metric: metric.clone(),
                stat: stat.clone(),
                values,
            });
        }
    }
    metrics
}

fn values(group: &Group<'_>, metric: &str, stat: &str) -> Vec<f64> {
    let values = group.runs.iter().filter_map(|run| run.value(metric, stat));
    values.filter(|value| *value > 0.0).collect()
}

impl Baseline {
    /// What seals it.
    fn digest(&self) -> anyhow::Result<String> {
        let seal = String::new();
        let bare = Self {
            seal,
            ..self.clone()
        };
        Ok(hash::sha256(&serde_json::to_vec(&bare)?))
    }

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
        let baseline: Baseline = serde_json::from_str(&text).map_err(|error| {
            exit::set_up(format!("{}: not a baseline: {error}", path.display()))
        })?;
        if baseline.seal != baseline.digest()? {
            return Err(exit::set_up(format!(
                "{}: changed since it was accepted, so nothing is compared with it; accept its plan again, or remove the file",
                path.display()
            )));
        }
        Ok(baseline)
    };
    files.iter().map(one).collect()
}

/// The runs of a plan against the accepted baselines of the same key.
///
/// # Errors
/// A baseline cannot be read.
pub(crate) fn against(stored: &Stored) -> anyhow::Result<Vec<Against>> {
    let mut known = read(&beside(&stored.root)?)?;
    let suite = &stored.suite.file.suite.id;
    known.retain(|baseline| baseline.suite == *suite);
    let own = resolved(&stored.root)?;
    let own = own.file_name().map(|name| name.to_string_lossy());
    let is_own = |baseline: &Baseline| own.as_deref() == Some(baseline.from.as_str());
    let mut found = Vec::new();
    for group in groups(stored) {
        let tables = group.tables(stored);
        let at_place = known.iter().filter(|baseline| {
            (baseline.scenario.as_str(), &baseline.point) == (group.scenario, &group.point)
        });
        let (same, others): (Vec<&Baseline>, Vec<&Baseline>) =
            at_place.partition(|baseline| baseline.variant == group.variant);
        let key = group.runs.first().map(|run| {
            let conditions = alike::conditions(&stored.suite, run);
            (alike::key(&conditions), conditions)
        });
        let of_key = same.iter().find(|baseline| {
            let key = key.as_ref().map(|(key, _)| key);
            key == Some(&baseline.key)
        });
        if of_key.is_some_and(|baseline| is_own(baseline)) {
            continue;
        }
        let last = same.iter().rfind(|baseline| !is_own(baseline));
        let Some(baseline) = of_key.or(last) else {
            if same.is_empty() && !tables.is_empty() && !others.is_empty() {
                found.push(nameless(&group, &others));
            }
            continue;
        };
        // A limit that cannot be judged is not kept: what was accepted under other conditions is not silence.
        let why = match &key {
            None => Some("none of its runs counts".to_owned()),
            Some((_, conditions)) if of_key.is_none() => Some(format!(
                "conditions differ in {}; accept a new one",
                differing(&baseline.conditions, conditions)
            )),
            Some(_) => group
                .unlike(stored)
                .map(|differences| format!("its runs differ in {differences}")),
        };
        for table in tables {
            found.push(one(stored, &group, baseline, table, why.clone()));
        }
    }
    Ok(found)
}

/// Nothing was accepted under a variant's name, and something under others: a renamed branch has no past.
fn nameless(group: &Group<'_>, others: &[&Baseline]) -> Against {
    let mut names: Vec<&str> = Vec::new();
    for other in others {
        if !names.contains(&other.variant.as_str()) {
            names.push(&other.variant);
        }
    }
    Against {
        scenario: group.scenario.to_owned(),
        point: group.point.clone(),
        variant: group.variant.to_owned(),
        metric: String::new(),
        ratio: None,
        verdict: None,
        text: format!(
            "baseline: {}: no baseline of this name, so nothing accepted is compared with; there are {}",
            group.place(),
            names.join(", ")
        ),
        gate: None,
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
            "{metric} is not compared with what was accepted on {accepted}: {}",
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
        gate: Gate::of(table),
        welch: stats::unpaired(then, &now).filter(|_| enough),
    }
}
