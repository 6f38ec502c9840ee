//! Checks of derived values: whether what they take can be computed.

use super::check_gates::{band, kind_of};
use super::over_time::{self, Source};
use super::problem::{Problem, problem};
use super::schema::{DeriveTable, File, How};
use super::stat::{LONGEST_GAP, Of, SHARE_IN_BAND};

/// Checks how a `[[derive]]` makes its value, and what it takes from values over time.
pub(super) fn derive(file: &File, table: &DeriveTable) -> Result<(), Problem> {
    let how = *table.how.get_ref();
    let count = table.from.len();
    let over_window = match how {
        How::ShareInBand => Some(SHARE_IN_BAND),
        How::LongestGap => Some(LONGEST_GAP),
        _ => None,
    };
    if how == How::FirstAfter {
        return first_after(file, table);
    }
    let wrong = match how {
        How::Difference if count < 2 => Some("takes two values or more"),
        How::Ratio if count != 2 => Some("takes two values"),
        How::ShareInBand | How::LongestGap if count != 1 => Some("takes one value over time"),
        _ if count == 0 => Some("takes a value"),
        _ => None,
    };
    if let Some(wrong) = wrong {
        let text = format!("{}: `how` {wrong}; `from` has {count}", table.id.get_ref());
        return Err(problem(&table.how, text));
    }
    band(&table.how, table.band.as_ref(), how == How::ShareInBand)?;
    for from in &table.from {
        if let Some(path) = from.get_ref().strip_prefix("chaos.") {
            of_fault(file, from, path)?;
            continue;
        }
        let part = over_time::part(file, from.get_ref()).map_err(|why| problem(from, why))?;
        let (of, stat) = match (part, over_window) {
            (Some((source, stat)), _) => (of(&source), stat),
            (None, None) => continue,
            (None, Some(how)) => {
                let text = format!(
                    "`{}`: `{how}` is of series.METRIC or monitor.ID.NAME",
                    from.get_ref()
                );
                return Err(problem(from, text));
            }
        };
        let wrong = match (stat, over_window) {
            (None, Some(how)) if of.has(how) || of == Of::Series(None) => continue,
            (None, Some(how)) => format!("{} has no `{how}`", of.name()),
            (Some(stat), Some(how)) => format!("`{stat}` is one statistic, and `{how}` another"),
            (Some(stat), None) if of.has(stat) => continue,
            (stat, None) => format!(
                "{} has no `{}`; allowed: {}",
                of.name(),
                stat.unwrap_or_default(),
                of.stats().join(", ")
            ),
        };
        return Err(problem(from, format!("`{}`: {wrong}", from.get_ref())));
    }
    Ok(())
}

/// Seconds from a fault to the first good answer to what it expects, or to the first sample inside a band.
fn first_after(file: &File, table: &DeriveTable) -> Result<(), Problem> {
    let from = match table.from.as_slice() {
        [fault] | [fault, _] => fault,
        _ => {
            let text = "`first_after` takes chaos.ID, and beside it series.METRIC or monitor.ID.NAME with a `band`";
            return Err(problem(&table.how, text));
        }
    };
    let id = from.get_ref().strip_prefix("chaos.").unwrap_or_default();
    let alone = table.from.len() == 1;
    let known = file.chaos.iter().find(|chaos| chaos.id.get_ref() == id);
    match known {
        None => {
            let ids: Vec<String> = file
                .chaos
                .iter()
                .map(|chaos| format!("chaos.{}", chaos.id.get_ref()))
                .collect();
            let text = format!(
                "`{}`: no such fault; allowed: {}",
                from.get_ref(),
                ids.join(", ")
            );
            return Err(problem(from, text));
        }
        Some(chaos) if alone && chaos.expect.is_none() => {
            let text = format!(
                "{id} expects nothing, so no answer is looked for: give it `expect`, or name what to look at"
            );
            return Err(problem(from, text));
        }
        Some(_) => {}
    }
    band(&table.how, table.band.as_ref(), !alone)?;
    let Some(second) = table.from.get(1) else {
        return Ok(());
    };
    match over_time::part(file, second.get_ref()) {
        Ok(Some((_, None))) => Ok(()),
        Ok(_) => {
            let text = format!(
                "`{}`: allowed is series.METRIC or monitor.ID.NAME, without a statistic",
                second.get_ref()
            );
            Err(problem(second, text))
        }
        Err(why) => Err(problem(second, why)),
    }
}

/// What is taken of a fault.
fn of_fault(file: &File, from: &toml::Spanned<String>, path: &str) -> Result<(), Problem> {
    let (id, name) = path.rsplit_once('.').unwrap_or((path, ""));
    let mut faults = file.chaos.iter();
    let expects = faults.any(|chaos| chaos.id.get_ref() == id && chaos.expect.is_some());
    if expects && ["firstGoodMs", "lastBadMs"].contains(&name) {
        return Ok(());
    }
    let text = format!(
        "`{}`: allowed: chaos.ID.firstGoodMs or chaos.ID.lastBadMs of a fault with `expect`",
        from.get_ref()
    );
    Err(problem(from, text))
}

fn of(source: &Source<'_>) -> Of {
    match source {
        Source::Series(selector) => Of::Series(kind_of(&selector.metric)),
        Source::Monitor { kind, .. } => Of::Monitor(*kind),
    }
}
