//! One value that a server is asked for, by `[[record]]` and `[[drain]]`; and what is waited for until a target has written
//! what it took.

use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::check_clean::reads;
use super::problem::{Problem, known, placeholders, problem, unique};
use super::schema::File;
use super::statement;
use crate::values::duration;
use crate::values::exposition::Selector;

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AskedKind {
    /// A Redis, by a reading command.
    Redis,
    /// A PostgreSQL, by a statement that only reads and answers one row with one column.
    Sql,
    /// An address that answers in JSON, by names joined by dots.
    Http,
    /// An address that answers in the text format of Prometheus, by a sample.
    Prom,
}

/// `[[drain]]`: what is waited for before a database is reset and after k6 has ended, until a target has written what it took.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DrainTable {
    pub(crate) id: Spanned<String>,
    pub(crate) kind: AskedKind,
    /// The server.
    pub(crate) source: Spanned<String>,
    /// What it is asked, by its kind.
    pub(crate) statement: Spanned<String>,
    /// The value that says that nothing is left to write.
    #[serde(default)]
    pub(crate) is: f64,
    /// From one look to the next.
    #[serde(with = "duration")]
    pub(crate) every: Duration,
    /// How long that may take.
    #[serde(with = "duration")]
    pub(crate) limit: Duration,
    /// Scenarios it belongs to; all when empty.
    #[serde(default)]
    pub(crate) scenarios: Vec<Spanned<String>>,
    /// What it means that something is left, and what helps; takes placeholders.
    pub(crate) say: Option<Spanned<String>>,
}

/// Checks every `[[drain]]`.
pub(super) fn drains(file: &File, scenarios: &[&str]) -> Result<(), Problem> {
    unique(file.drain.iter().map(|drain| &drain.id), "drain")?;
    for drain in &file.drain {
        for name in &drain.scenarios {
            known(name, scenarios, "scenario")?;
        }
        if drain.every.is_zero() || drain.limit < drain.every {
            let text = "`every` must be more than 0, and `limit` at least as long";
            return Err(problem(&drain.id, text));
        }
        asked(file, drain.kind, &drain.source, &drain.statement, &[])?;
        if let Some(say) = &drain.say {
            placeholders(file, say, &[])?;
        }
    }
    Ok(())
}

/// Checks who is asked for what. `more`: run values that the statement may take.
pub(super) fn asked(
    file: &File,
    kind: AskedKind,
    source: &Spanned<String>,
    text: &Spanned<String>,
    more: &[&str],
) -> Result<(), Problem> {
    let of_pages = matches!(kind, AskedKind::Http | AskedKind::Prom);
    let address: &[&str] = if of_pages { &["address"] } else { &[] };
    placeholders(file, source, address)?;
    // Braces of a sample are its own.
    if kind != AskedKind::Prom {
        placeholders(file, text, more)?;
    }
    match kind {
        AskedKind::Redis => reads(text),
        AskedKind::Sql => statement::one(text.get_ref()).map_err(|why| problem(text, why)),
        AskedKind::Http => {
            path(text.get_ref()).map_err(|why| problem(text, format!("`{}`: {why}", text.get_ref())))
        }
        AskedKind::Prom => Selector::parse(text.get_ref())
            .map(drop)
            .map_err(|why| problem(text, format!("`{}`: {why}", text.get_ref()))),
    }
}

/// Whether a text can lead to a number in JSON.
pub(super) fn path(text: &str) -> Result<(), String> {
    if text.split('.').any(str::is_empty) {
        return Err(
            "no path; allowed: status, or names in the JSON joined by dots".to_owned(),
        );
    }
    Ok(())
}
