//! The runs that a ladder may ask for: its levels, their repetitions, and the levels between them.

use super::ladder::Rung;
use super::points;
use crate::suite::scenario::{LadderTable, ScenarioTable};
use crate::suite::vars::Point;
use crate::values::value::{number, plain};

/// Every run of a ladder, in the order of the plan: the declared levels from the lowest on, and behind them what is run only
/// where the ladder asks for it.
///
/// # Errors
/// As for [`points::of`].
pub(super) fn of(
    scenario: &ScenarioTable,
    table: LadderTable,
) -> anyhow::Result<Vec<(Rung, Point)>> {
    let mut levels: Vec<(Point, bool)> = Vec::new();
    for point in points::of(scenario, &[])? {
        if let Some((before, _)) = levels.last() {
            let between = between(scenario, table, before, &point);
            levels.extend(between.into_iter().map(|point| (point, true)));
        }
        levels.push((point, false));
    }
    let all = |spare: bool| {
        let levels = levels.iter().enumerate();
        levels.flat_map(move |(level, (point, between))| {
            let rungs = (0..=table.confirm).map(move |repeat| Rung {
                level,
                repeat,
                between: *between,
            });
            rungs
                .filter(move |rung| rung.is_spare() == spare)
                .map(|rung| (rung, point.clone()))
        })
    };
    Ok(all(false).chain(all(true)).collect())
}

/// The levels at which the gap between two levels can be halved as often as the suite asks for, from the lower one on.
fn between(scenario: &ScenarioTable, table: LadderTable, low: &Point, high: &Point) -> Vec<Point> {
    let Some(axis) = scenario.axis.first().filter(|_| table.refine > 0) else {
        return Vec::new();
    };
    // As in the file, where one level with a fraction says that there are fractions.
    let whole = axis.levels.iter().all(toml::Value::is_integer);
    let value = |point: &Point| {
        let text = &point.first()?.1;
        axis.levels
            .iter()
            .find(|level| plain(level) == *text)
            .and_then(number)
    };
    let (Some(low), Some(high)) = (value(low), value(high)) else {
        return Vec::new();
    };
    let parts = 1_u32 << table.refine;
    let mut found: Vec<String> = Vec::new();
    for part in 1..parts {
        let exact = low + (high - low) * f64::from(part) / f64::from(parts);
        let level = if whole { exact.round() } else { exact };
        let text = plain(&toml::Value::Float(level));
        let text = if whole {
            text.trim_end_matches(".0").to_owned()
        } else {
            text
        };
        if level > low && level < high && found.last() != Some(&text) {
            found.push(text);
        }
    }
    let name = axis.env.get_ref();
    let points = found.into_iter();
    points.map(|text| vec![(name.clone(), text)]).collect()
}
