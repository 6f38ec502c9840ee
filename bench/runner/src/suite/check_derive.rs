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

fn of(source: &Source<'_>) -> Of {
    match source {
        Source::Series(selector) => Of::Series(kind_of(&selector.metric)),
        Source::Monitor { kind, .. } => Of::Monitor(*kind),
    }
}
