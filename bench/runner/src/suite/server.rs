//! `[[server]]`: values that a target measured itself, read once k6 or the last command has ended.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

/// `[[server]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerTable {
    pub(crate) id: Spanned<String>,
    /// Scenarios after which it is read; all when empty.
    #[serde(default)]
    pub(crate) scenarios: Vec<Spanned<String>>,
    /// What answers with JSON.
    pub(crate) source: Spanned<String>,
    /// Metrics, each with its place in the answer: names joined by dots.
    #[serde(rename = "match")]
    pub(crate) picked: BTreeMap<Spanned<String>, Spanned<String>>,
}
