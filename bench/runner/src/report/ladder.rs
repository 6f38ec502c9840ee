//! Ladders in a report: a table of their levels, and what was measured over the levels, with the limit marked.

use barrier_stats::median::median;

use super::chart::{self, Axes, Line};
use super::series::Points;
use crate::compare::stored::Stored;
use crate::values::text::figure;
use crate::verdict::ladders::{self, Found, Level, shown};

/// The ladders of the plan of a folder; none where the folder is that of no single plan.
pub(super) fn of(stored: &Stored) -> Vec<Found> {
    ladders::of_plan(&stored.root).unwrap_or_default()
}

/// The columns of the table of a ladder.
pub(super) fn columns(found: &Found) -> Vec<String> {
    let fixed = ["Level", "Verdict", "Runs"].map(str::to_owned).to_vec();
    let rates = rates(found).into_iter().map(|(_, title)| title).collect();
    [fixed, rates, gates(found)].concat()
}

/// Its rows: the head, the cells behind it, and whether the level did not hold.
pub(super) fn rows(found: &Found) -> Vec<(String, Vec<String>, bool)> {
    let (rates, gates) = (rates(found), gates(found));
    let row = |level: &Level| {
        let runs: Vec<&str> = level.runs.iter().map(|run| run.verdict.as_str()).collect();
        let mut cells = vec![level.verdict.to_owned(), runs.join(" ")];
        cells.extend(rates.iter().map(|(gate, _)| {
            let of = level.runs.iter().map(|run| achieved(run, gate.as_deref()));
            values(of)
        }));
        cells.extend(gates.iter().map(|id| {
            let of = level.runs.iter().map(|run| {
                let mut gates = run.gates.iter();
                gates
                    .find(|gate| gate.id == *id)
                    .and_then(|gate| gate.value)
            });
            values(of)
        }));
        let bad = !matches!(level.verdict, "PASS" | "NOT_RUN");
        (shown(&level.point), cells, bad)
    };
    found.levels.iter().map(row).collect()
}

/// A drawing and what it shows.
pub(super) struct Picture {
    pub(super) caption: String,
    pub(super) svg: String,
}

/// What its first two lines are, where both are drawn.
pub(super) const NAMES: [&str; 2] = ["measured", "offered"];

/// What was measured over the levels: the rate beside the one that the level stands for, and each objective with its limit.
///
/// # Errors
/// A chart cannot be drawn.
pub(super) fn pictures(found: &Found) -> anyhow::Result<Vec<Picture>> {
    let x = axis(found);
    let at = |level: &Level| x.iter().find(|(own, _)| *own == shown(&level.point));
    let at = |level: &Level| at(level).map(|(_, value)| *value);
    let points = |value: &dyn Fn(&ladders::Run) -> Option<f64>| -> Points {
        let levels = found.levels.iter().filter_map(|level| {
            let values: Vec<f64> = level.runs.iter().filter_map(value).collect();
            Some((at(level)?, median(&values)?))
        });
        levels.collect()
    };
    let (holds, fails) = found.limit();
    let ends = [holds, fails].map(|level| level.and_then(at));
    let window = match ends {
        [Some(from), Some(to)] => Some((from, to)),
        _ => None,
    };
    let name = match found.variables.as_slice() {
        [one] => one.clone(),
        _ => "level".to_owned(),
    };
    let mut drawn = Vec::new();
    let mut draw = |caption: String, lines: &[Line], limits: &[f64]| -> anyhow::Result<()> {
        let axes = Axes {
            x: &name,
            names: &NAMES,
            limits,
            window,
            ..Axes::default()
        };
        let label = format!("{caption}, {}", found.scenario);
        let svg = chart::lines(lines, axes, &label)?;
        if !svg.is_empty() {
            drawn.push(Picture { caption, svg });
        }
        Ok(())
    };
    let line = |variant, points| Line { variant, points };
    // One level alone makes no line.
    if found
        .levels
        .iter()
        .filter(|level| !level.runs.is_empty())
        .count()
        < 2
    {
        return Ok(Vec::new());
    }
    for (gate, title) in rates(found) {
        let rate = points(&|run| achieved(run, gate.as_deref()));
        let offered = rate.iter().map(|(x, _)| (*x, *x)).collect();
        let mut both = vec![line(0, rate)];
        if found.variables.len() == 1 {
            both.push(line(1, offered));
        }
        draw(title, &both, &[])?;
    }
    for id in gates(found) {
        let of = |run: &ladders::Run| {
            let mut gates = run.gates.iter();
            gates
                .find(|gate| gate.id == id)
                .map(|gate| (gate.value, gate.limit))
        };
        let runs = found.levels.iter().flat_map(|level| &level.runs);
        let limit: Vec<f64> = runs
            .filter_map(of)
            .find_map(|(_, limit)| limit)
            .into_iter()
            .collect();
        let own = points(&|run| of(run)?.0);
        draw(id.clone(), &[line(0, own)], &limit)?;
    }
    Ok(drawn)
}

/// Where each level lies: at its value where one number tells levels apart, else at its place.
fn axis(found: &Found) -> Vec<(String, f64)> {
    let number = |level: &Level| -> Option<f64> {
        let mut values = level.point.values();
        let one = values.next().filter(|_| level.point.len() == 1)?;
        one.as_str()?.parse().ok()
    };
    let numbers: Option<Vec<f64>> = found.levels.iter().map(number).collect();
    let places = || (1..=u32::try_from(found.levels.len()).unwrap_or(u32::MAX)).map(f64::from);
    let values = numbers.unwrap_or_else(|| places().collect());
    let names = found.levels.iter().map(|level| shown(&level.point));
    names.zip(values).collect()
}

/// The rates that were seen at some level: the gate that looked, and how the rate is called.
fn rates(found: &Found) -> Vec<(Option<String>, String)> {
    let mut gates: Vec<Option<String>> = Vec::new();
    let runs = found.levels.iter().flat_map(|level| &level.runs);
    for rate in runs.flat_map(|run| &run.rates) {
        if !gates.contains(&rate.gate) {
            gates.push(rate.gate.clone());
        }
    }
    let one = gates.len() == 1;
    let named = |gate: Option<String>| {
        let title = match &gate {
            None => "Iterations per second of the whole run".to_owned(),
            Some(_) if one => "Iterations per second".to_owned(),
            Some(id) => format!("Iterations per second, {id}"),
        };
        (gate, title)
    };
    gates.into_iter().map(named).collect()
}

/// What a run achieved of a rate.
fn achieved(run: &ladders::Run, gate: Option<&str>) -> Option<f64> {
    let mut rates = run.rates.iter();
    let rate = rates.find(|rate| rate.gate.as_deref() == gate)?;
    Some(rate.per_second)
}

/// The objectives that have a value at some level.
fn gates(found: &Found) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    let runs = found.levels.iter().flat_map(|level| &level.runs);
    for gate in runs.flat_map(|run| &run.gates) {
        if !ids.contains(&gate.id) {
            ids.push(gate.id.clone());
        }
    }
    ids
}

fn values(values: impl Iterator<Item = Option<f64>>) -> String {
    let texts = values.map(|value| value.map_or_else(|| "–".to_owned(), figure));
    texts.collect::<Vec<_>>().join(", ")
}
