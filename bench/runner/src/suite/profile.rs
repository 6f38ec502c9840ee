//! `[[profile]]`: what a target tells at one instant of a run, such as where its processor time goes, kept as a file.

use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use crate::values::duration;

/// `[[profile]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProfileTable {
    pub(crate) id: Spanned<String>,
    /// The address that is read; `{seconds}` is how long it lasts.
    pub(crate) source: Spanned<String>,
    /// When, from the beginning of the load.
    #[serde(with = "duration")]
    pub(crate) at: Duration,
    /// How long.
    #[serde(default = "half_a_minute", with = "duration")]
    pub(crate) lasts: Duration,
    /// Scenarios it belongs to; all when empty.
    #[serde(default)]
    pub(crate) scenarios: Vec<Spanned<String>>,
}

fn half_a_minute() -> Duration {
    Duration::from_secs(30)
}
