//! From stored runs to figures: what is compared, over which cycles, with what result.

use std::collections::BTreeSet;

use crate::values::text::figure;
use barrier_stats::difference::{self, Difference as Paired};
use barrier_stats::ratio::{self as stats, Ratio, Spread};
use serde::Serialize;

use super::alike::{self, Difference};
use super::blocks::{self, Block};
use super::limit::Gate;
use super::losses::Losses;
use super::places::{base_of, groups, members, of_variant, order, tables, variants};
use super::stored::{Stored, StoredRun};
use super::words;
use crate::suite::schema::{CompareTable, Method, PairBy};

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
    /// Runs of a cycle, those of other points and variants that stand in the same block included: numbers of cycles that are
    /// suggested give each of them the same places.
    #[serde(skip)]
    pub(crate) members: usize,
    /// When each cycle ran; empty where nothing is paired.
    pub(crate) blocks: Vec<Block>,
    /// What is not the same in all runs: like is compared with like, or not at all.
    pub(crate) differences: Vec<Difference>,
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
    #[serde(flatten)]
    pub(crate) losses: Losses,
    /// Whether there was any run of it, warm-ups included.
    #[serde(skip)]
    pub(crate) ran: bool,
    /// What its runs measured, where builds are compared and all of its runs say the same.
    #[serde(skip)]
    pub(crate) build: Option<String>,
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
    /// Variant / base of the geometric means, where each is of one session and an interval would promise too much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ratio_of_sessions: Option<f64>,
    /// Variant - base with interval, where that is what is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) difference: Option<Paired>,
    /// The ratio's p-value, corrected for all comparisons that were made together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) corrected_p: Option<f64>,
    pub(crate) verdict: words::Verdict,
    /// What the suite allows, and whether it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gate: Option<Gate>,
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

impl Comparison {
    /// The ratio with its interval, where it has one.
    pub(crate) fn shown_ratio(&self) -> String {
        if let Some(difference) = &self.difference {
            return words::difference(difference);
        }
        let sessions = self.ratio_of_sessions.map(|ratio| format!("{ratio:.2}"));
        self.ratio
            .as_ref()
            .map(words::ratio)
            .or(sessions)
            .unwrap_or_else(|| "no ratio".to_owned())
    }

    /// The limit with its verdict.
    pub(crate) fn shown_gate(&self) -> Option<String> {
        let gate = self.gate.as_ref()?;
        let word = if gate.less_is_worse {
            "lower"
        } else {
            "higher"
        };
        Some(format!(
            "{}: {} {word} than {} is allowed{}",
            gate.verdict,
            if gate.difference {
                format!("less than {}", figure(gate.limit))
            } else {
                format!("at most {} %", figure(gate.limit * 100.0))
            },
            self.base,
            gate.why_open()
        ))
    }
}

/// Where and what is compared.
pub(crate) fn title(cell: &Cell) -> String {
    let place = [cell.scenario.as_str(), &cell.point]
        .iter()
        .filter(|part| !part.is_empty())
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    let stat = if cell.stat == "value" {
        String::new()
    } else {
        format!(" {}", cell.stat)
    };
    let unit = if cell.unit.is_empty() {
        String::new()
    } else {
        format!(" in {}", cell.unit)
    };
    format!("{place}: {}{stat}{unit}", cell.metric)
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
    /// Where they are stored, and the scenario, point and variant that they have there.
    stored: &'a Stored,
    place: (&'a str, String, &'a str),
}

/// The variants of a plan against each other, paired by cycle.
pub(super) fn within(stored: &Stored, allowed: &[String]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for ((scenario, point), runs) in groups(stored) {
        for table in tables(stored, scenario, &runs) {
            let base = base_of(table, &runs);
            let mut names = order(stored, &runs);
            // A scaled load says nothing to a limit.
            let quick = runs.iter().all(|run| run.meta.quick);
            let limited = table.worse_than.is_some() && !quick;
            let members = members(stored, &runs).max(names.len());
            if limited {
                let planned = stored.planned.iter();
                let here =
                    planned.filter(|place| place.scenario == scenario && place.point == point);
                for place in here {
                    // A base that never ran has no place: the others keep theirs, and their colours.
                    if place.variant != base && !names.contains(&place.variant.as_str()) {
                        names.push(&place.variant);
                    }
                }
            }
            names.sort_by_key(|name| *name != base);
            let sides: Vec<Side<'_>> = names
                .into_iter()
                .map(|name| {
                    let runs = of_variant(&runs, name);
                    let shown = runs.first().map_or(name, |run| run.variant());
                    Side {
                        name: shown.to_owned(),
                        runs,
                        stored,
                        place: (scenario, point.clone(), name),
                    }
                })
                .collect();
            let place = (scenario, point.as_str());
            let differences = unlike(stored, &sides, allowed);
            let mut cell = cell(
                table,
                base,
                place,
                &sides,
                Design::Paired,
                differences,
                limited,
            );
            cell.members = members;
            if table.worse_than.is_some() && quick {
                cell.notes.push(
                    "made with --quick, which scales the load: nothing is compared, and no limit is judged"
                        .to_owned(),
                );
            }
            cell.blocks = blocks::of(
                &sides
                    .iter()
                    .flat_map(|side| side.runs.clone())
                    .collect::<Vec<_>>(),
            );
            cells.push(cell);
        }
    }
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
pub(super) fn between(a: &Stored, b: &Stored, allowed: &[String]) -> Vec<Cell> {
    let in_b = groups(b);
    let mut cells = Vec::new();
    for (key, of_a) in groups(a) {
        let Some((_, of_b)) = in_b.iter().find(|(other, _)| *other == key) else {
            continue;
        };
        let (scenario, point) = key;
        for variant in variants(&of_a) {
            let sides = [("A", a, &of_a), ("B", b, of_b)].map(|(name, stored, runs)| Side {
                name: name.to_owned(),
                runs: of_variant(runs, variant),
                stored,
                place: (scenario, point.clone(), variant),
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
                    false,
                ));
            }
        }
    }
    cells
}

/// Compares every side with the base, which comes first; without it there are only values, and limits that cannot be judged.
fn cell(
    table: &CompareTable,
    base: &str,
    (scenario, point): (&str, &str),
    sides: &[Side<'_>],
    design: Design,
    differences: Vec<Difference>,
    limited: bool,
) -> Cell {
    let (metric, stat) = (table.metric.get_ref(), table.stat.get_ref());
    let mut left_out = Vec::new();
    let mut counted = Vec::new();
    let variants: Vec<Variant> = sides
        .iter()
        .map(|side| variant(side, table, &mut counted, &mut left_out))
        .collect();
    let mut notes = servers_and_fixtures(&counted);
    if design == Design::Unpaired {
        notes.push(
            "A and B did not run side by side: what changed on the machine between them counts as a difference too"
                .to_owned(),
        );
    }
    let unit = unit(metric);
    let (of_base, others) = match variants.split_first() {
        Some((first, others)) if first.name == base => (Some(first), others),
        // A limit is judged or said to be unjudged, and never passed over.
        _ if limited => (None, variants.as_slice()),
        _ => (None, &[][..]),
    };
    let gate = limited.then(|| Gate::of(table)).flatten();
    let comparisons = others
        .iter()
        .map(|variant| comparison(base, of_base, variant, (design, table.method), gate.clone()))
        .collect();
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
        members: variants.len(),
        variants,
        comparisons,
        blocks: Vec::new(),
        differences,
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
    table: &CompareTable,
    counted: &mut Vec<&'a StoredRun>,
    left_out: &mut Vec<LeftOut>,
) -> Variant {
    let (metric, stat) = (table.metric.get_ref(), table.stat.get_ref());
    let of_ratio = table.method != Method::PairedDifference;
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
            (None, Some(value)) if of_ratio && value <= 0.0 => {
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
    let (scenario, point, name) = &side.place;
    let has_value = |run: &StoredRun| {
        let value = run.value(metric, stat);
        value.is_some_and(|value| !of_ratio || value > 0.0)
    };
    Variant {
        build: build(&side.runs),
        name: side.name.clone(),
        spread: stats::spread(&plain),
        values,
        losses: Losses::of(side.stored, (scenario, point, name), &side.runs, has_value),
        ran: !side.runs.is_empty(),
    }
}

/// The build that all of these runs measured, where builds are compared.
fn build(runs: &[&StoredRun]) -> Option<String> {
    let runs = runs.iter().filter(|run| run.left_out().is_none());
    let builds = runs.map(|run| (!run.meta.build.base.is_empty()).then(|| run.build()));
    let builds: Vec<String> = builds.collect::<Option<_>>()?;
    let first = builds.first()?;
    let same = builds.iter().all(|build| build == first);
    (same && first != "unknown").then(|| first.clone())
}

fn comparison(
    base_name: &str,
    base: Option<&Variant>,
    variant: &Variant,
    (design, method): (Design, Method),
    gate: Option<Gate>,
) -> Comparison {
    let mut pairs = Vec::new();
    let (mut ratio, mut ratio_of_sessions, mut difference) = (None, None, None);
    let of_base = base.map_or(&[][..], |base| base.values.as_slice());
    match design {
        Design::Paired => {
            for value in &variant.values {
                let Some(other) = of_base.iter().find(|base| base.cycle == value.cycle) else {
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
            if method == Method::PairedDifference {
                difference = difference::paired(&both);
            } else {
                ratio = stats::paired(&both);
            }
        }
        Design::Unpaired => {
            let mean = |values: &[Value]| {
                let values = values.iter().map(|value| value.value);
                stats::geometric_mean(&values.collect::<Vec<_>>())
            };
            let means = mean(&variant.values).zip(mean(of_base));
            ratio_of_sessions = means.map(|(b, a)| b / a);
        }
    }
    Comparison {
        // Said once all comparisons are known.
        verdict: words::Verdict::default(),
        variant: variant.name.clone(),
        base: base_name.to_owned(),
        pairs,
        ratio,
        ratio_of_sessions,
        difference,
        corrected_p: None,
        gate,
    }
}

/// Another version of a server may be another speed, and another fixture another load; they are part of no key, since a given server need
/// not tell.
fn servers_and_fixtures(runs: &[&StoredRun]) -> Vec<String> {
    let mut notes = Vec::new();
    let mut differ = |what: &str, values: Vec<&str>| {
        let mut different: Vec<&str> = Vec::new();
        for value in values {
            if !different.contains(&value) {
                different.push(value);
            }
        }
        if different.len() > 1 {
            let different = different.join(" | ");
            notes.push(format!("not the same in all runs: {what} ({different})"));
        }
    };
    let metas = || runs.iter().map(|run| &run.meta);
    differ("Redis", metas().map(|meta| meta.redis.as_str()).collect());
    differ(
        "PostgreSQL",
        metas().map(|meta| meta.postgres.as_str()).collect(),
    );
    let ids: BTreeSet<&String> = metas().flat_map(|meta| meta.fixtures.keys()).collect();
    for id in ids {
        let sums = metas().map(|meta| {
            meta.fixtures
                .get(id)
                .map_or("none", |own| own.sha256.as_str())
        });
        differ(&format!("fixture {id}"), sums.collect());
    }
    notes
}
