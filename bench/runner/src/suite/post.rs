//! `[[post]]`: what is made of a run once its load is over.

use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use crate::values::duration;

/// `[[post]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PostTable {
    pub(crate) id: Spanned<String>,
    pub(crate) kind: PostKind,
    /// The address of a database, or the id of the target whose log is read.
    pub(crate) source: Spanned<String>,
    /// The statements, and commands of psql, that a database is asked.
    pub(crate) file: Option<Spanned<String>>,
    /// Regular expressions; a line of a log with one of them is kept.
    #[serde(rename = "match", default)]
    pub(crate) words: Vec<Spanned<String>>,
    /// The text file in the evidence.
    pub(crate) out: Spanned<String>,
    /// How long a database may take for it.
    #[serde(default = "minute", with = "duration")]
    pub(crate) limit: Duration,
    /// Scenarios it belongs to; all when empty.
    #[serde(default)]
    pub(crate) scenarios: Vec<Spanned<String>>,
}

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PostKind {
    /// A PostgreSQL.
    Sql,
    /// The log of a target.
    Log,
}

fn minute() -> Duration {
    Duration::from_secs(60)
}
