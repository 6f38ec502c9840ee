//! What of stored runs belongs together: those of one scenario and point, those of one variant, those of one block.

use super::stored::{Stored, StoredRun};
use crate::suite::scenario::looks_at;
use crate::suite::schema::CompareTable;

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

pub(super) fn of_variant<'a>(runs: &[&'a StoredRun], name: &str) -> Vec<&'a StoredRun> {
    runs.iter()
        .copied()
        .filter(|run| run.meta.variant == name)
        .collect()
}

/// The names of the variants of a group, in the order in which every table and chart shows them: the base first.
pub(crate) fn order<'a>(stored: &'a Stored, runs: &[&'a StoredRun]) -> Vec<&'a str> {
    let names = variants(runs);
    let scenario = runs.first().map_or("", |run| run.meta.scenario.as_str());
    let mut tables = tables(stored, scenario, runs);
    let base = tables.find_map(|table| {
        names
            .iter()
            .copied()
            .find(|name| *name == base_of(table, runs))
    });
    let mut ordered: Vec<&str> = base.into_iter().collect();
    ordered.extend(names.into_iter().filter(|name| base != Some(name)));
    ordered
}

/// What the others are compared with: the first of the builds that a person named, else the variant that the suite names.
pub(super) fn base_of<'a>(table: &'a CompareTable, runs: &[&'a StoredRun]) -> &'a str {
    let mut named = runs.iter().map(|run| run.meta.build.base.as_str());
    let named = named.find(|base| !base.is_empty());
    named.unwrap_or(table.base.get_ref())
}

/// The names of the variants, in the order of their first runs.
pub(super) fn variants<'a>(runs: &[&'a StoredRun]) -> Vec<&'a str> {
    let mut names = Vec::new();
    for run in runs {
        if !names.contains(&run.meta.variant.as_str()) {
            names.push(&run.meta.variant);
        }
    }
    names
}

/// The comparisons that look at a group; at a preflight only one that names it.
pub(super) fn tables<'a>(
    stored: &'a Stored,
    scenario: &'a str,
    runs: &[&StoredRun],
) -> impl Iterator<Item = &'a CompareTable> {
    let preflight = runs.iter().any(|run| run.meta.preflight);
    tables_at(stored, scenario, preflight)
}

/// The same by the name of the scenario.
pub(super) fn tables_at<'a, 'n>(
    stored: &'a Stored,
    scenario: &'n str,
    preflight: bool,
) -> impl Iterator<Item = &'a CompareTable> + use<'a, 'n> {
    stored.suite.file.compare.iter().filter(move |table| {
        let named = !table.scenarios.is_empty();
        (named || !preflight) && looks_at(&table.scenarios, scenario)
    })
}

/// Limits at points of a plan of which nothing was begun: no cell tells of them.
pub(super) fn never_begun(stored: &Stored) -> Vec<String> {
    let groups = groups(stored);
    let mut told = Vec::new();
    for place in &stored.planned {
        let key = (place.scenario.as_str(), place.point.clone());
        if groups.iter().any(|(known, _)| *known == key) {
            continue;
        }
        for table in tables_at(stored, &place.scenario, place.preflight) {
            let Some(limit) = &table.worse_than else {
                continue;
            };
            let reason = format!(
                "{}: no verdict: never ran (INVALID: worse_than = {})",
                [key.0, &key.1, table.metric.get_ref()]
                    .join(" ")
                    .replace("  ", " "),
                limit.get_ref()
            );
            if !told.contains(&reason) {
                told.push(reason);
            }
        }
    }
    told
}

/// The runs of a block, at its largest.
pub(super) fn members(stored: &Stored, runs: &[&StoredRun]) -> usize {
    let of_block = |block: &StoredRun| {
        let mut names = Vec::new();
        for run in &stored.runs {
            let same = (&run.call, run.meta.block) == (&block.call, block.meta.block);
            let name = (run.point(), run.meta.variant.as_str());
            if same && !names.contains(&name) {
                names.push(name);
            }
        }
        names.len()
    };
    // A block that was cut short is smaller; without a number nothing is known.
    let numbered = runs.iter().filter(|run| run.meta.block.is_some());
    numbered.map(|run| of_block(run)).max().unwrap_or(0)
}
