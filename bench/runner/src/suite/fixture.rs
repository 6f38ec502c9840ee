//! `[[fixture]]`: a file that a program makes for the harness or a target, the same from the same key.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

/// `[[fixture]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FixtureTable {
    pub(crate) id: Spanned<String>,
    /// The program that makes it, with its arguments.
    pub(crate) run: Vec<Spanned<String>>,
    /// What it is made from, where the program takes it: `{key}`.
    pub(crate) key: Option<Spanned<String>>,
    /// Where the file lies.
    pub(crate) out: Spanned<String>,
    /// Fixtures that are made before it.
    #[serde(default)]
    pub(crate) after: Vec<Spanned<String>>,
    /// How many elements there are at places of its JSON: names joined by dots, `*` for each element, `.` for all of it.
    #[serde(default)]
    pub(crate) expect: BTreeMap<Spanned<String>, u64>,
    /// Where a copy lies during a run, in place of what is there otherwise.
    #[serde(default)]
    pub(crate) install: Vec<Spanned<String>>,
}

impl FixtureTable {
    /// The name of its file.
    pub(crate) fn file_name(&self) -> &str {
        let out = self.out.get_ref();
        out.rsplit('/').next().unwrap_or(out)
    }
}

/// The fixtures, each behind those that are made before it, else in the order of the file; those that wait for each other are
/// left out, which the check of the suite refuses.
pub(crate) fn in_order(all: &[FixtureTable]) -> Vec<&FixtureTable> {
    let mut done: Vec<&FixtureTable> = Vec::new();
    loop {
        let is_done = |id: &str| done.iter().any(|table| table.id.get_ref() == id);
        let next = all.iter().find(|table| {
            !is_done(table.id.get_ref()) && table.after.iter().all(|id| is_done(id.get_ref()))
        });
        match next {
            Some(table) => done.push(table),
            None => return done,
        }
    }
}
