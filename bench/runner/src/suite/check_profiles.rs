//! Checks of profiles.

use std::time::Duration;

use super::problem::{Problem, known, placeholders, problem, unique};
use super::profile::At;
use super::scenario::looks_at;
use super::schema::File;

/// Checks every `[[profile]]`.
pub(super) fn profiles(file: &File, scenarios: &[&str]) -> Result<(), Problem> {
    unique(file.profile.iter().map(|table| &table.id), "profile")?;
    for table in &file.profile {
        for name in &table.scenarios {
            known(name, scenarios, "scenario")?;
        }
        placeholders(file, &table.source, &["address", "seconds"])?;
        if table.lasts < Duration::from_secs(1) {
            let text = "`lasts` is in whole seconds, at least 1s";
            return Err(problem(&table.id, text));
        }
        let own = |scenario: &str| looks_at(&table.scenarios, scenario);
        let endless = file
            .scenario
            .iter()
            .find(|scenario| own(scenario.id.get_ref()) && scenario.window.is_none());
        if let (At::Share(_), Some(scenario)) = (table.at, endless) {
            let text = format!(
                "`at` is a share of `window`, which scenario {} does not have; give a time, as in `30s`",
                scenario.id.get_ref()
            );
            return Err(problem(&table.id, text));
        }
    }
    Ok(())
}
