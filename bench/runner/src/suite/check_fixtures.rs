//! Checks of fixtures.

use super::fixture::{FixtureTable, in_order};
use super::problem::{Problem, known, placeholders, problem, unique};
use super::schema::File;

/// Checks every `[[fixture]]`.
pub(super) fn fixtures(file: &File) -> Result<(), Problem> {
    unique(file.fixture.iter().map(|table| &table.id), "fixture")?;
    let ids: Vec<&str> = file
        .fixture
        .iter()
        .map(|table| table.id.get_ref().as_str())
        .collect();
    let mut names: Vec<&str> = Vec::new();
    for table in &file.fixture {
        if table.run.is_empty() {
            let text =
                "`run` is empty; it names the program that makes the file, with its arguments";
            return Err(problem(&table.id, text));
        }
        let key = table.key.as_ref().map(|_| "key");
        let more: Vec<&str> = ["folder", "out"].into_iter().chain(key).collect();
        table
            .run
            .iter()
            .try_for_each(|word| placeholders(file, word, &more))?;
        if let Some(key) = &table.key {
            placeholders(file, key, &[])?;
        }
        placeholders(file, &table.out, &[])?;
        let name = table.file_name();
        if name.is_empty() || name.contains(['{', '}', '$']) {
            let text = format!(
                "`{}`: the last part of `out` is the name of a file, without a placeholder",
                table.out.get_ref()
            );
            return Err(problem(&table.out, text));
        }
        // They are made in one folder, where one may read another.
        if names.contains(&name) {
            let text = format!("a second fixture makes a file `{name}`; give it another name");
            return Err(problem(&table.out, text));
        }
        names.push(name);
        table
            .after
            .iter()
            .try_for_each(|id| known(id, &ids, "fixture"))?;
        for place in table.expect.keys() {
            let path = place.get_ref();
            if path != "." && path.split('.').any(str::is_empty) {
                let text = format!(
                    "`{path}`: no place; allowed: `.`, or names in the JSON joined by dots, `*` for each element"
                );
                return Err(problem(place, text));
            }
        }
        table
            .install
            .iter()
            .try_for_each(|place| placeholders(file, place, &[]))?;
    }
    let ordered = in_order(&file.fixture);
    let made = |table: &FixtureTable| ordered.iter().any(|one| one.id == table.id);
    match file.fixture.iter().find(|table| !made(table)) {
        None => Ok(()),
        Some(waits) => {
            let text = format!("`{}` waits, by `after`, for itself", waits.id.get_ref());
            Err(problem(&waits.id, text))
        }
    }
}
