//! What each run used of the suite's resources, and what gave out first.

use serde::Serialize;
use serde_json::Value as Json;

use crate::compare::places::groups;
use crate::compare::stored::{Stored, StoredRun};
use crate::suite::resource::{PROCESSORS, ResourceTable};
use crate::suite::scenario::looks_at;
use crate::values::template::{Part, parts, plain_json};
use crate::values::text::figure;
use crate::values::value::plain;
use crate::verdict::ladders::{Found, shown};

/// What the runs of a scenario used, level by level, and what follows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Bottleneck {
    pub(crate) scenario: String,
    /// What gave out first, in words.
    pub(crate) text: String,
    /// The run that shows it, below the plan's folder: the first in which a resource was saturated, else the last one.
    pub(crate) folder: Option<String>,
    /// The resource.
    pub(crate) resource: Option<String>,
    /// What the suite says of it.
    pub(crate) say: Option<String>,
    /// In the order of the levels, else in that of the runs; `used` in that of the suite.
    pub(crate) runs: Vec<OfRun>,
}

/// What one run used.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OfRun {
    pub(crate) point: String,
    pub(crate) folder: String,
    pub(crate) verdict: String,
    pub(crate) used: Vec<Used>,
}

/// How much a run used of a resource.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Used {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) unit: String,
    /// `null` where the evidence does not tell.
    pub(crate) value: Option<f64>,
    pub(crate) limit: Option<f64>,
    /// Of the limit.
    pub(crate) share: Option<f64>,
    pub(crate) saturated: bool,
    /// Who used how much of it, the most first.
    pub(crate) parts: Vec<(String, f64)>,
}

/// For each scenario with a resource, in the order of the runs; none where the suite declares no resources.
pub(super) fn of(stored: &Stored, ladders: &[Found]) -> Vec<Bottleneck> {
    let tables = &stored.suite.file.resource;
    let mut scenarios: Vec<&str> = Vec::new();
    for ((scenario, _), _) in groups(stored) {
        if !scenarios.contains(&scenario) {
            scenarios.push(scenario);
        }
    }
    let own = |scenario: &str| -> Vec<&ResourceTable> {
        let tables = tables.iter();
        tables
            .filter(|table| looks_at(&table.scenarios, scenario))
            .collect()
    };
    let scenarios = scenarios.into_iter().filter_map(|scenario| {
        let tables = own(scenario);
        let ladder = ladders.iter().find(|found| found.scenario == scenario);
        let runs = of_scenario(stored, scenario, ladder);
        if tables.is_empty() || runs.is_empty() {
            return None;
        }
        let used = |run: &StoredRun| OfRun {
            point: run.point(),
            folder: run.folder.clone(),
            verdict: run.verdict.clone(),
            used: tables.iter().map(|table| used(table, run)).collect(),
        };
        let runs: Vec<OfRun> = runs.into_iter().map(used).collect();
        Some(concluded(scenario, &tables, runs))
    });
    scenarios.collect()
}

/// The last attempts at the runs of a scenario, from the lowest level of its ladder on.
fn of_scenario<'a>(
    stored: &'a Stored,
    scenario: &str,
    ladder: Option<&Found>,
) -> Vec<&'a StoredRun> {
    let runs = stored.runs.iter();
    let mut runs: Vec<&StoredRun> = runs
        .filter(|run| run.meta.scenario == scenario && !run.meta.preflight)
        .filter(|run| run.superseded.is_none() && !run.meta.discarded)
        .collect();
    if let Some(found) = ladder {
        let place = |run: &StoredRun| {
            let mut levels = found.levels.iter();
            levels.position(|level| shown(&level.point) == shown(&run.meta.point))
        };
        runs.sort_by_key(|run| place(run));
    }
    runs
}

fn used(table: &ResourceTable, run: &StoredRun) -> Used {
    let value = |name: &str| run.derived.get(name).and_then(Json::as_f64);
    let mut shares: Vec<(String, f64)> = Vec::new();
    for (who, name) in &table.parts {
        shares.extend(value(name.get_ref()).map(|value| (who.clone(), value)));
    }
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    let value = match &table.value {
        Some(name) => value(name.get_ref()),
        // Of a part that is not known the sum is not known either.
        None => (shares.len() == table.parts.len()).then(|| shares.iter().map(|part| part.1).sum()),
    };
    let limit = table.limit.as_ref();
    let limit = limit.and_then(|limit| limit_of(&plain(limit.get_ref()), run));
    let share = value
        .zip(limit)
        .filter(|(_, limit)| *limit > 0.0)
        .map(|(value, limit)| value / limit);
    Used {
        id: table.id.get_ref().clone(),
        title: table.title.clone(),
        unit: table.unit.clone().unwrap_or_default(),
        value,
        limit,
        share,
        saturated: share.is_some_and(|share| share >= table.saturated_at()),
        parts: shares,
    }
}

/// How much of a resource a run had.
fn limit_of(text: &str, run: &StoredRun) -> Option<f64> {
    if text == PROCESSORS {
        let own = run.meta.others.get("processors");
        let own = own.and_then(|all| all["services"].as_array()).map(Vec::len);
        let count = match own {
            Some(count) => u32::try_from(count).ok()?,
            None => run.meta.host.cpus?,
        };
        return Some(100.0 * f64::from(count));
    }
    let computed = run.meta.others.get("computed");
    let mut filled = String::new();
    for part in parts(text).ok()? {
        match part {
            Part::Text(text) => filled.push_str(text),
            Part::Variable(name) => filled.push_str(&run.meta.environment.get(name)?.value),
            Part::RunValue(name) => filled.push_str(&plain_json(computed?.get(name)?)),
        }
    }
    filled.trim().parse().ok()
}

/// What gave out first: of the lowest level at which anything did, what the suite names first. Shares do not tell causes from what
/// follows from them: processors end at 100 %, and a flush that waits for them takes five times its interval.
fn concluded(scenario: &str, tables: &[&ResourceTable], runs: Vec<OfRun>) -> Bottleneck {
    let saturated = |run: &OfRun| run.used.iter().position(|used| used.saturated);
    let first = runs.iter().find_map(|run| Some((run, saturated(run)?)));
    let nearest = |run: &OfRun| -> Option<usize> {
        let used = run.used.iter().zip(tables).enumerate();
        let far = used
            .filter_map(|(place, (used, table))| Some((place, used.share? / table.saturated_at())));
        far.max_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(place, _)| place)
    };
    let at = |run: &OfRun| {
        let point = if run.point.is_empty() {
            String::new()
        } else {
            format!(" at {}", run.point)
        };
        format!("{point} ({})", run.verdict)
    };
    let (text, folder, place) = match first {
        Some((run, place)) => {
            let also = run.used.iter().enumerate();
            let also = also.filter(|(other, used)| *other != place && used.saturated);
            let also: Vec<String> = also.map(|(_, used)| used.told()).collect();
            let also = if also.is_empty() {
                String::new()
            } else {
                format!("; beside it {}", also.join(", "))
            };
            let text = format!(
                "saturated first{}: {}{also}",
                at(run),
                run.used[place].told()
            );
            (text, Some(run.folder.clone()), Some(place))
        }
        None => {
            let last = runs.last();
            let nearest = last.and_then(|run| Some(run.used[nearest(run)?].told()));
            let nearest = nearest.map_or_else(
                || "nothing was measured of them".to_owned(),
                |nearest| format!("the nearest is {nearest}"),
            );
            let up_to = last.map(at).unwrap_or_default();
            let text = format!(
                "none of the declared resources was saturated up to the last run{up_to}; {nearest}"
            );
            (text, last.map(|run| run.folder.clone()), None)
        }
    };
    Bottleneck {
        scenario: scenario.to_owned(),
        text,
        folder,
        resource: place.map(|place| tables[place].id.get_ref().clone()),
        say: place.and_then(|place| tables[place].say.clone()),
        runs,
    }
}

impl Used {
    /// The value with its limit, and who used how much.
    fn told(&self) -> String {
        let told = |value: f64| amount(value, &self.unit);
        let value = match (self.value, self.limit) {
            (None, _) => "unknown".to_owned(),
            (Some(value), None) => told(value),
            (Some(value), Some(limit)) if self.unit == BYTES => {
                format!("{} of {}", told(value), told(limit))
            }
            (Some(value), Some(limit)) => format!("{} of {}", figure(value), told(limit)),
        };
        let parts = self.parts.iter();
        let parts: Vec<String> = parts
            .map(|(who, value)| format!("{who} {}", told(*value)))
            .collect();
        let parts = if parts.is_empty() {
            String::new()
        } else {
            format!(" ({})", parts.join(", "))
        };
        format!("{}, {value}{parts}", self.title)
    }

    /// The head of its column in a table.
    pub(super) fn column(&self) -> String {
        match self.unit.as_str() {
            "" | BYTES => self.title.clone(),
            unit => format!("{}, {unit}", self.title),
        }
    }

    /// What stands in a cell below it.
    pub(super) fn cell(&self) -> String {
        let Some(value) = self.value else {
            return "–".to_owned();
        };
        let value = if self.unit == BYTES {
            amount(value, BYTES)
        } else {
            figure(value)
        };
        let share = self
            .share
            .map(|share| format!(" ({} %)", figure((100.0 * share).round())));
        let mark = if self.saturated { " !" } else { "" };
        format!("{value}{}{mark}", share.unwrap_or_default())
    }
}

/// The unit that is told as MiB.
const BYTES: &str = "bytes";

/// A value with its unit.
fn amount(value: f64, unit: &str) -> String {
    match unit {
        "" => figure(value),
        BYTES => format!("{} MiB", figure(value / f64::from(1 << 20))),
        unit => format!("{} {unit}", figure(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_as_people_read_them() {
        let mut used = Used {
            id: "memory".to_owned(),
            title: "Memory".to_owned(),
            unit: BYTES.to_owned(),
            value: Some(536_870_912.0),
            limit: Some(1_073_741_824.0),
            share: Some(0.5),
            saturated: false,
            parts: Vec::new(),
        };
        assert_eq!(used.told(), "Memory, 512 MiB of 1,024 MiB");
        assert_eq!(
            (used.column(), used.cell()),
            ("Memory".to_owned(), "512 MiB (50 %)".to_owned())
        );
        used.unit = "%".to_owned();
        (used.value, used.limit, used.share, used.saturated) =
            (Some(95.0), Some(100.0), Some(0.95), true);
        used.parts = vec![("store".to_owned(), 90.0), ("api".to_owned(), 5.0)];
        assert_eq!(used.told(), "Memory, 95 of 100 % (store 90 %, api 5 %)");
        assert_eq!(
            (used.column(), used.cell()),
            ("Memory, %".to_owned(), "95 (95 %) !".to_owned())
        );
    }
}
