//! Baselines: values that a person accepted, to be compared with what is measured later under the same conditions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::losses::Losses;
use super::stored::{Gate, Stored, StoredRun};
use super::{alike, places};
use crate::evidence::{component, resolved};
use crate::plan::file::is_plan;
use crate::suite::command::NO_TARGET;
use crate::suite::gate::of_scenario;
use crate::suite::schema::{Class, CompareTable};
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
    pub(super) conditions: BTreeMap<String, String>,
    pub(crate) accepted: String,
    /// Name of the folder it was taken from.
    pub(crate) from: String,
    pub(super) suite: String,
    pub(crate) scenario: String,
    pub(crate) point: String,
    pub(crate) variant: String,
    pub(crate) build: String,
    pub(crate) metrics: Vec<Metric>,
    /// What objectives looked at, by the ids of their gates, where the suite asks for regressions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) gates: Vec<Metric>,
    /// SHA-256 of all of the above, as JSON: what was accepted is not changed by hand.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    seal: String,
}

/// The values of one metric, a run each.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Metric {
    pub(crate) metric: String,
    pub(super) stat: String,
    pub(crate) values: Vec<f64>,
}

/// The runs of a variant.
#[derive(Clone)]
pub(super) struct Group<'a> {
    pub(super) scenario: &'a str,
    pub(super) point: String,
    pub(super) variant: &'a str,
    /// Those that count.
    pub(super) runs: Vec<&'a StoredRun>,
    /// All, but for warm-ups and runs with a scaled load.
    pub(super) all: Vec<&'a StoredRun>,
}

pub(super) fn groups(stored: &Stored) -> Vec<Group<'_>> {
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
    /// The same without the runs of a plan.
    pub(super) fn without(&self, stored: &Stored, plan: &str) -> anyhow::Result<Self> {
        let mut rest = self.clone();
        for runs in [&mut rest.runs, &mut rest.all] {
            let mut kept = Vec::new();
            for &run in runs.iter() {
                if name_of(&plan_of(stored, run)?) != plan {
                    kept.push(run);
                }
            }
            *runs = kept;
        }
        Ok(rest)
    }

    /// The suite's comparisons that look at it.
    pub(super) fn tables<'s>(&self, stored: &'s Stored) -> Vec<&'s CompareTable> {
        let preflight = self.all.iter().any(|run| run.meta.preflight);
        places::tables_at(stored, self.scenario, preflight).collect()
    }

    /// Why what is left of its runs says nothing about a metric.
    pub(super) fn losses(&self, stored: &Stored, metric: &str, stat: &str) -> Option<String> {
        let name = self.all.first().map_or("", |run| &run.meta.variant);
        let place = (self.scenario, self.point.as_str(), name);
        let has_value = |run: &StoredRun| run.value(metric, stat).is_some_and(|value| value > 0.0);
        Losses::of(stored, place, &self.all, has_value).alone(self.variant)
    }

    /// What is not the same in the runs that count.
    pub(super) fn unlike(&self, stored: &Stored) -> Option<String> {
        alike::unlike(&stored.suite, self.variant, &self.runs)
    }

    /// Where it is, for people.
    pub(super) fn place(&self) -> String {
        let parts = [self.scenario, &self.point, self.variant];
        let parts = parts.into_iter().filter(|part| is_told(part));
        parts.collect::<Vec<_>>().join(", ")
    }
}

/// Whether a part of a place says anything.
fn is_told(part: &str) -> bool {
    !part.is_empty() && part != NO_TARGET
}

/// The plan that a run belongs to: the folder that was named or lies below it, or that of which it is a part.
fn plan_of(stored: &Stored, run: &StoredRun) -> anyhow::Result<PathBuf> {
    let root = resolved(&stored.root)?;
    if !run.call.is_empty() {
        return Ok(root.join(&run.call));
    }
    let plan = root.ancestors().find(|above| is_plan(above));
    Ok(plan.unwrap_or(&root).to_owned())
}

/// The folders of the baselines that belong to plans: beside them.
pub(super) fn beside(stored: &Stored) -> anyhow::Result<BTreeSet<PathBuf>> {
    let plans = stored.runs.iter().map(|run| plan_of(stored, run));
    plans
        .map(|plan| plan.map(|plan| plan.parent().unwrap_or(&plan).join(FOLDER)))
        .collect()
}

pub(super) fn name_of(plan: &Path) -> String {
    let name = plan.file_name();
    name.map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Accepts the runs of a plan as what later ones are measured by; what was accepted under the same key before is replaced.
///
/// # Errors
/// No run counts, the runs of a variant are not alike, or a file cannot be written.
pub(crate) fn accept(folder: &Path) -> anyhow::Result<Vec<Baseline>> {
    let stored = Stored::open(folder)?;
    let of_gates = stored.suite.file.suite.regression.is_some();
    if stored.suite.file.compare.is_empty() && !of_gates {
        return Err(exit::set_up(format!(
            "{} names nothing to keep: it has no table [[compare]], and no `regression` in [suite]",
            stored.suite.path.display()
        )));
    }
    let mut groups = groups(&stored);
    groups.retain(|group| !group.tables(&stored).is_empty() || of_gates && !group.runs.is_empty());
    if groups.iter().all(|group| group.runs.is_empty()) {
        return Err(exit::set_up(format!(
            "{}: no run counts, so there is nothing to accept",
            folder.display()
        )));
    }
    let mut baselines = groups
        .iter()
        .map(|group| taken(&stored, group))
        .collect::<anyhow::Result<Vec<_>>>()?;
    // Of commands that only have to succeed there is nothing that could be worse.
    baselines.retain(|baseline| !baseline.metrics.is_empty() || !baseline.gates.is_empty());
    let mut places = beside(&stored)?.into_iter();
    let (Some(place), None) = (places.next(), places.next()) else {
        return Err(exit::set_up(format!(
            "{} holds plans of several folders; accept one of them",
            folder.display()
        )));
    };
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
    Ok(Baseline {
        schema_version: SCHEMA,
        key: alike::key(&conditions),
        conditions,
        accepted: barrier_stats::host::now(),
        from: name_of(&plan_of(stored, group.runs[0])?),
        suite: stored.suite.file.suite.id.clone(),
        scenario: group.scenario.to_owned(),
        point: group.point.clone(),
        variant: group.variant.to_owned(),
        build: group.runs[0].build(),
        metrics: metrics(group, &tables),
        gates: gates(stored, group),
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

/// What the objectives looked at, where the suite asks for regressions.
fn gates(stored: &Stored, group: &Group<'_>) -> Vec<Metric> {
    if stored.suite.file.suite.regression.is_none() {
        return Vec::new();
    }
    let gates = of_scenario(&stored.suite.file.gate, group.scenario);
    let objectives = gates.filter(|gate| gate.class == Class::Slo);
    let kept = objectives.map(|gate| {
        let id = gate.id.get_ref();
        Metric {
            metric: id.clone(),
            stat: "value".to_owned(),
            // What was missed is nothing to measure others by.
            values: of_gate(group, id, |judged| judged.holds),
        }
    });
    kept.filter(|kept| !kept.values.is_empty()).collect()
}

/// What a gate looked at, run by run.
pub(super) fn of_gate(group: &Group<'_>, gate: &str, counts: impl Fn(&Gate) -> bool) -> Vec<f64> {
    let judged = group.runs.iter().flat_map(|run| &run.gates);
    let own = judged.filter(|judged| judged.id == gate && counts(judged));
    own.filter_map(|judged| judged.value).collect()
}

pub(super) fn values(group: &Group<'_>, metric: &str, stat: &str) -> Vec<f64> {
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
        let name: Vec<String> = parts.map(|part| component(part)).collect();
        format!("{}.json", name.join("_"))
    }

    /// The baseline in one line.
    pub(crate) fn line(&self) -> String {
        let place = [&self.suite, &self.scenario, &self.point, &self.variant];
        let place = place.into_iter().filter(|part| is_told(part));
        let metrics: Vec<String> = self
            .metrics
            .iter()
            .chain(&self.gates)
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
    let files = files(&root.join(FOLDER))?;
    files.iter().map(|path| read(path)).collect()
}

/// The files of a folder of baselines, in the order of their names.
pub(super) fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
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
    Ok(files)
}

pub(super) fn read(path: &Path) -> anyhow::Result<Baseline> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let baseline: Baseline = serde_json::from_str(&text)
        .map_err(|error| exit::set_up(format!("{}: not a baseline: {error}", path.display())))?;
    if baseline.seal != baseline.digest()? {
        let why = match baseline.seal.as_str() {
            "" => "accepted without a seal",
            _ => "changed since it was accepted",
        };
        return Err(exit::set_up(format!(
            "{}: {why}, so nothing is compared with it; accept its plan again, or remove the file",
            path.display()
        )));
    }
    Ok(baseline)
}

/// What was accepted of a suite, beside the plans of these runs. A file that cannot be read is told where limits rest on it.
///
/// # Errors
/// A folder cannot be read.
pub(super) fn known(stored: &Stored) -> anyhow::Result<Vec<Baseline>> {
    let suite = &stored.suite.file.suite.id;
    let mut known = Vec::new();
    for folder in beside(stored)? {
        known.extend(files(&folder)?.iter().filter_map(|path| read(path).ok()));
    }
    known.retain(|baseline: &Baseline| baseline.suite == *suite);
    known.sort_by(|a, b| a.accepted.cmp(&b.accepted));
    Ok(known)
}
