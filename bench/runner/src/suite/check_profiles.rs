//! Checks of profiles.

use std::time::Duration;

use super::problem::{Problem, known, placeholders, problem, unique};
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
    }
    Ok(())
}
