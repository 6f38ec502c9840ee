//! From stored runs to figures: what is compared, over which cycles, with what result.

use barrier_stats::ratio as stats;

use super::alike::{self, Difference};
use super::blocks;
use super::cell::{Cell, Comparison, Gate, LeftOut, Pair, Value, Variant};
use super::stored::{Stored, StoredRun};
use super::{family, words};
use crate::suite::schema::{CompareTable, Method, Worse};

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
pub(crate) fn within(stored: &Stored, allowed: &[String]) -> Vec<Cell> {
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
            let place = (scenario, point.as_str());
            let differences = unlike(stored, &sides, allowed);
            let mut cell = cell(table, base, place, &sides, Design::Paired, differences);
            cell.blocks = blocks::of(
                &sides
                    .iter()
                    .flat_map(|side| side.runs.clone())
                    .collect::<Vec<_>>(),
            );
            cells.push(cell);
        }
    }
    family::judge(&mut cells);
    cells
}

/// What is not the same in the runs that count.
fn unlike(stored: &Stored, sides: &[Side<'_>], allowed: &[String]) -> Vec<Difference> {
    let counted: Vec<(String, Vec<&StoredRun>)> = sides
        .iter()
        .map(|side| {
            let runs = side.runs.iter().copied();
            let runs = runs.filter(|run| run.left_out().is_none()).collect();
            (side.name.clone(), runs)
        })
        .collect();
    alike::differences(&stored.suite, &counted, allowed)
}

/// What both folders hold, each variant by itself: B against A.
pub(crate) fn between(a: &Stored, b: &Stored, allowed: &[String]) -> Vec<Cell> {
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
            let point = format!("{point} {variant}");
            let place = (scenario, point.trim());
            for table in tables(a, scenario, &of_a) {
                let differences = unlike(a, &sides, allowed);
                cells.push(cell(
                    table,
                    "A",
                    place,
                    &sides,
                    Design::Unpaired,
                    differences,
                ));
            }
        }
    }
    family::judge(&mut cells);
    cells
}

/// Compares every side with the base, which comes first; without it there are only values.
fn cell(
    table: &CompareTable,
    base: &str,
    (scenario, point): (&str, &str),
    sides: &[Side<'_>],
    design: Design,
    differences: Vec<Difference>,
) -> Cell {
    let (metric, stat) = (table.metric.get_ref(), table.stat.get_ref());
    let mut left_out = Vec::new();
    let mut counted = Vec::new();
    let variants: Vec<Variant> = sides
        .iter()
        .map(|side| variant(side, metric, stat, &mut counted, &mut left_out))
        .collect();
    let mut notes: Vec<String> = redis(&counted).into_iter().collect();
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
                .map(|variant| comparison(base, variant, design, gate(table, design)))
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
            Design::Unpaired => Method::GeometricMeans,
        },
        variants,
        comparisons,
        blocks: Vec::new(),
        differences,
        left_out,
        notes,
    }
}

fn gate(table: &CompareTable, design: Design) -> Option<Gate> {
    let limit = table
        .worse_than
        .as_ref()
        .filter(|_| design == Design::Paired)?;
    Some(Gate {
        limit: *limit.get_ref(),
        less_is_worse: table.worse == Worse::Lower,
        verdict: "INVALID",
    })
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
        let cycle = run.cycle();
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
    let ended = |verdict: &str| {
        let runs = side.runs.iter();
        runs.filter(|run| !run.meta.discarded && !run.meta.quick && run.verdict == verdict)
            .count()
    };
    let invalid = ended("INVALID");
    Variant {
        name: side.name.clone(),
        spread: stats::spread(&plain),
        values,
        invalid,
        attempts: invalid + ended("PASS") + ended("FAIL"),
    }
}

fn comparison(base: &Variant, variant: &Variant, design: Design, gate: Option<Gate>) -> Comparison {
    let mut pairs = Vec::new();
    let (mut ratio, mut ratio_of_sessions) = (None, None);
    match design {
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
            ratio = stats::paired(&both);
        }
        Design::Unpaired => {
            let mean = |variant: &Variant| {
                let values = variant.values.iter().map(|value| value.value);
                stats::geometric_mean(&values.collect::<Vec<_>>())
            };
            ratio_of_sessions = mean(variant).zip(mean(base)).map(|(b, a)| b / a);
        }
    }
    Comparison {
        // Said once all comparisons are known.
        verdict: words::Verdict::default(),
        variant: variant.name.clone(),
        base: base.name.clone(),
        pairs,
        ratio,
        ratio_of_sessions,
        corrected_p: None,
        gate,
    }
}

/// Another version of Redis may be another speed; it is part of no key, since a given Redis need not tell.
fn redis(runs: &[&StoredRun]) -> Option<String> {
    let mut versions: Vec<&str> = Vec::new();
    for run in runs {
        if !versions.contains(&run.meta.redis.as_str()) {
            versions.push(&run.meta.redis);
        }
    }
    (versions.len() > 1)
        .then(|| format!("not the same in all runs: Redis ({})", versions.join(" | ")))
}
