//! Which values targets measure themselves.

use super::scenario::looks_at;
use super::schema::File;
use super::server::ServerTable;

/// The tables that are read after a scenario.
pub(crate) fn of_scenario<'f>(
    file: &'f File,
    scenario: &'f str,
) -> impl Iterator<Item = &'f ServerTable> {
    let tables = file.server.iter();
    tables.filter(move |table| looks_at(&table.scenarios, scenario))
}

/// The table that picks a metric of this name.
pub(crate) fn of<'f>(file: &'f File, metric: &str) -> Option<&'f ServerTable> {
    let has = |table: &&ServerTable| table.picked.keys().any(|name| name.get_ref() == metric);
    file.server.iter().find(has)
}
