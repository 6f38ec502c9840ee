//! From stored runs to figures: what is compared, over which cycles, with what result.

use std::collections::{BTreeMap, BTreeSet};

use barrier_stats::ratio::{self as stats, Ratio, Spread};
use serde::Serialize;

use super::stored::{Stored, StoredRun};
use super::words;
use crate::suite::schema::{CompareTable, File, Method, PairBy, Role};

/// One metric of one scenario at one point: every variant against the base.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cell {
    pub(crate) id: String,
    pub(crate) scenario: String,
    /// Values of the axes; empty for a scenario with a single point.
    pub(crate) point: String,
    pub(crate) metric: String,
    pub(crate) stat: String,
    pub(crate) unit: &'static str,
    pub(crate) base: String,
    /// What makes two runs a pair; absent where nothing is paired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pair_by: Option<PairBy>,
    /// How the ratio and its interval were computed.
    pub(crate) method: Method,
    /// The base first.
    pub(crate) variants: Vec<Variant>,
    pub(crate) comparisons: Vec<Comparison>,
    /// Runs of this scenario and point that do not count, and why.
    pub(crate) left_out: Vec<LeftOut>,
    /// What a reader must know before believing the figures.
    pub(crate) notes: Vec<String>,
}

/// The values of one variant.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Variant {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) spread: Option<Spread>,
    pub(crate) values: Vec<Value>,
}

/// One run's value.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Value {
    /// Number of the cycle; with several calls below the folder, after the name of the call.
    pub(crate) cycle: String,
    pub(crate) value: f64,
    /// Far from the other values of the variant; counted all the same.
    pub(crate) outlier: bool,
    /// The machine was busy with something else.
    pub(crate) busy: bool,
    pub(crate) folder: String,
}

/// A variant against the base.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Comparison {
    pub(crate) variant: String,
    pub(crate) base: String,
    /// Each cycle in which both have a valid run; empty where nothing is paired.
    pub(crate) pairs: Vec<Pair>,
    /// Variant / base, geometric mean with interval.
    pub(crate) ratio: Option<Ratio>,
    pub(crate) verdict: words::Verdict,
}

/// Both values of a cycle.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pair {
    pub(crate) cycle: String,
    pub(crate) base: f64,
    pub(crate) value: f64,
    pub(crate) ratio: f64,
    pub(crate) outlier: bool,
}

/// A run that does not count.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LeftOut {
    pub(crate) folder: String,
    pub(crate) variant: String,
    pub(crate) cycle: String,
    pub(crate) why: String,
    pub(crate) reasons: Vec<String>,
}

/// How the values of two variants belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Design {
    /// Both ran in every cycle.
    Paired,
    /// One series ran after the other.
    Unpaired,
}

/// The runs of one variant.
struct Side<'a> {
    name: String,
    runs: Vec<&'a StoredRun>,
}

/// What belongs together: scenario and point, in the order of the first run.
pub(crate) fn groups(stored: &Stored) -> Vec<((&str, String), Vec<&StoredRun>)> {
    let mut groups: Vec<((&str, String), Vec<&StoredRun>)> = Vec::new();
    for run in &stored.runs {
        let key = (run.meta.scenario.as_str(), run.point());
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, members)) => members.push(run),
            None => groups.push((key, vec![run])),
        }
    }
    groups
}

fn of_variant<'a>(runs: &[&'a StoredRun], name: &str) -> Vec<&'a StoredRun> {
    runs.iter()
        .copied()
        .filter(|run| run.meta.variant == name)
        .collect()
}

/// The names of the variants of a group, in the order in which every table and chart shows them: the base first.
pub(crate) fn order<'a>(stored: &'a Stored, runs: &[&'a StoredRun]) -> Vec<&'a str> {
    let names = variants(runs);
    let scenario = runs.first().map_or("", |run| run.meta.scenario.as_str());
    let base = tables(stored, scenario, runs)
        .map(|table| table.base.get_ref().as_str())
        .find(|base| names.contains(base));
    let mut ordered: Vec<&str> = base.into_iter().collect();
    ordered.extend(names.into_iter().filter(|name| base != Some(name)));
    ordered
}

/// The names of the variants, in the order of their first runs.
fn variants<'a>(runs: &[&'a StoredRun]) -> Vec<&'a str> {
    let mut names = Vec::new();
    for run in runs {
        if !names.contains(&run.meta.variant.as_str()) {
            names.push(&run.meta.variant);
        }
    }
    names
}

/// The comparisons that look at a group; at a preflight only one that names it.
fn tables<'a>(
    stored: &'a Stored,
    scenario: &'a str,
    runs: &[&StoredRun],
) -> impl Iterator<Item = &'a CompareTable> {
    let preflight = runs.iter().any(|run| run.meta.preflight);
    stored.suite.file.compare.iter().filter(move |table| {
        (table.scenarios.is_empty() && !preflight)
            || table
                .scenarios
                .iter()
                .any(|name| name.get_ref() == scenario)
    })
}

/// The variants of a plan against each other, paired by cycle.
pub(crate) fn within(stored: &Stored) -> Vec<Cell> {
    let places = places(&stored.suite.file);
    let mut cells = Vec::new();
    for ((scenario, point), runs) in groups(stored) {
        for table in tables(stored, scenario, &runs) {
            let base = table.base.get_ref().as_str();
            let mut names = order(stored, &runs);
            names.sort_by_key(|name| *name != base);
            let sides: Vec<Side<'_>> = names
                .into_iter()
                .map(|name| {
                    let runs = of_variant(&runs, name);
                    let shown = runs.first().map_or(name, |run| run.variant());
                    Side {
                        name: shown.to_owned(),
                        runs,
                    }
                })
                .collect();
            cells.push(cell(
                table,
                base,
                scenario,
                &point,
                &sides,
                Design::Paired,
                &places,
            ));
        }
    }
    cells
}

/// What both folders hold, each variant by itself: B against A.
pub(crate) fn between(a: &Stored, b: &Stored) -> Vec<Cell> {
    let places = &places(&a.suite.file) | &places(&b.suite.file);
    let in_b = groups(b);
    let mut cells = Vec::new();
    for (key, of_a) in groups(a) {
        let Some((_, of_b)) = in_b.iter().find(|(other, _)| *other == key) else {
            continue;
        };
        let (scenario, point) = key;
        for variant in variants(&of_a) {
            let sides = [("A", &of_a), ("B", of_b)].map(|(name, runs)| Side {
                name: name.to_owned(),
                runs: of_variant(runs, variant),
            });
            if sides.iter().any(|side| side.runs.is_empty()) {
                continue;
            }
            let place = format!("{point} {variant}");
            for table in tables(a, scenario, &of_a) {
                cells.push(cell(
                    table,
                    "A",
                    scenario,
                    place.trim(),
                    &sides,
                    Design::Unpaired,
                    &places,
                ));
            }
        }
    }
    cells
}

/// Compares every side with the base, which comes first; without it there are only values.
fn cell(
    table: &CompareTable,
    base: &str,
    scenario: &str,
    point: &str,
    sides: &[Side<'_>],
    design: Design,
    places: &BTreeSet<&str>,
) -> Cell {
    let (metric, stat) = (table.metric.get_ref(), table.stat.get_ref());
    let mut left_out = Vec::new();
    let mut counted = Vec::new();
    let variants: Vec<Variant> = sides
        .iter()
        .map(|side| variant(side, metric, stat, &mut counted, &mut left_out))
        .collect();
    let mut notes = differences(&counted, places);
    if design == Design::Unpaired {
        notes.push(
            "A and B did not run side by side: what changed on the machine between them counts as a difference too"
                .to_owned(),
        );
    }
    let unit = unit(metric);
    let comparisons = variants
        .split_first()
        .filter(|(first, _)| first.name == base)
        .map_or_else(Vec::new, |(base, others)| {
            others
                .iter()
                .map(|variant| comparison(base, variant, unit, design))
                .collect()
        });
    Cell {
        id: table.id.get_ref().clone(),
        scenario: scenario.to_owned(),
        point: point.to_owned(),
        metric: metric.clone(),
        stat: stat.clone(),
        unit,
        base: base.to_owned(),
        pair_by: (design == Design::Paired).then_some(table.pair_by),
        method: match design {
            Design::Paired => table.method,
            Design::Unpaired => Method::WelchLogRatio,
        },
        variants,
        comparisons,
        left_out,
        notes,
    }
}

/// The suite's names carry their unit, as `drainMs` or `barrier_wait_ms` do.
fn unit(metric: &str) -> &'static str {
    if metric.ends_with("Ms") || metric.ends_with("_ms") || metric.ends_with("_duration") {
        "ms"
    } else {
        ""
    }
}

fn variant<'a>(
    side: &Side<'a>,
    metric: &str,
    stat: &str,
    counted: &mut Vec<&'a StoredRun>,
    left_out: &mut Vec<LeftOut>,
) -> Variant {
    let mut values = Vec::new();
    for &run in &side.runs {
        let cycle = if run.call.is_empty() {
            run.meta.cycle.to_string()
        } else {
            format!("{}/{}", run.call, run.meta.cycle)
        };
        let mut leave = |why: String| {
            left_out.push(LeftOut {
                folder: run.folder.clone(),
                variant: side.name.clone(),
                cycle: cycle.clone(),
                why,
                reasons: run.reasons.clone(),
            });
        };
        match (run.left_out(), run.value(metric, stat)) {
            (Some(why), _) => leave(why),
            (None, None) => leave(format!("has no {metric}")),
            (None, Some(value)) if value <= 0.0 => {
                leave(format!("{metric} is {value}; a ratio needs more than 0"));
            }
            (None, Some(value)) => {
                counted.push(run);
                values.push(Value {
                    cycle,
                    value,
                    outlier: false,
                    busy: run.meta.machine.busy,
                    folder: run.folder.clone(),
                });
            }
        }
    }
    let plain: Vec<f64> = values.iter().map(|value| value.value).collect();
    for (value, outlier) in values.iter_mut().zip(stats::outliers(&plain)) {
        value.outlier = outlier;
    }
    Variant {
        name: side.name.clone(),
        spread: stats::spread(&plain),
        values,
    }
}

fn comparison(base: &Variant, variant: &Variant, unit: &str, design: Design) -> Comparison {
    let mut pairs = Vec::new();
    let ratio = match design {
        Design::Paired => {
            for value in &variant.values {
                let Some(other) = base.values.iter().find(|base| base.cycle == value.cycle) else {
                    continue;
                };
                pairs.push(Pair {
                    cycle: value.cycle.clone(),
                    base: other.value,
                    value: value.value,
                    ratio: value.value / other.value,
                    outlier: false,
                });
            }
            let ratios: Vec<f64> = pairs.iter().map(|pair| pair.ratio).collect();
            for (pair, outlier) in pairs.iter_mut().zip(stats::outliers(&ratios)) {
                pair.outlier = outlier;
            }
            let both: Vec<(f64, f64)> = pairs.iter().map(|pair| (pair.base, pair.value)).collect();
            stats::paired(&both)
        }
        Design::Unpaired => {
            let plain = |variant: &Variant| -> Vec<f64> {
                variant.values.iter().map(|value| value.value).collect()
            };
            stats::unpaired(&plain(base), &plain(variant))
        }
    };
    let cycles = match design {
        Design::Paired => pairs.len(),
        Design::Unpaired => base.values.len().min(variant.values.len()),
    };
    Comparison {
        verdict: words::verdict(&variant.name, cycles, ratio.as_ref(), unit),
        variant: variant.name.clone(),
        base: base.name.clone(),
        pairs,
        ratio,
    }
}

/// The variables of a suite that say where a run was made, not what was measured.
fn places(file: &File) -> BTreeSet<&str> {
    let places = file
        .env
        .iter()
        .filter(|(_, table)| table.role == Role::Place);
    places.map(|(name, _)| name.get_ref().as_str()).collect()
}

/// What is not the same in all runs that are compared, though it should be.
fn differences(runs: &[&StoredRun], places: &BTreeSet<&str>) -> Vec<String> {
    let mut seen: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for run in runs {
        let meta = &run.meta;
        let parameters = meta
            .environment
            .iter()
            .filter(|(name, setting)| setting.from != "started" && !places.contains(name.as_str()))
            .map(|(name, setting)| (name.as_str(), setting.value.as_str()));
        let around = [
            ("k6", meta.k6_version.as_str()),
            ("Redis", meta.redis.as_str()),
            ("kernel", meta.host.kernel.as_str()),
            ("processor", meta.host.cpu_model.as_str()),
            ("harness", meta.harness.sha256.get(..12).unwrap_or_default()),
            ("commit", meta.sha.as_str()),
        ];
        for (name, value) in parameters.chain(around) {
            let known = if value.is_empty() { "unknown" } else { value };
            seen.entry(name).or_default().insert(known);
        }
    }
    seen.into_iter()
        .filter(|(_, values)| values.len() > 1)
        .map(|(name, values)| {
            let values: Vec<&str> = values.into_iter().collect();
            format!("not the same in all runs: {name} ({})", values.join(" | "))
        })
        .collect()
}
