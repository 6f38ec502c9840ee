//! `[[monitor]]`: what is sampled on an interval while k6 runs.

use serde::Deserialize;
use toml::Spanned;

use crate::values::duration;

/// `[[monitor]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MonitorTable {
    pub(crate) id: Spanned<String>,
    pub(crate) kind: MonitorKind,
    /// Process monitor: `k6`, `target`, `redis`, `postgres`. Queue monitor: keys, and fields of hashes, as in `scope`.
    #[serde(default)]
    pub(crate) of: Vec<Spanned<String>>,
    #[serde(with = "duration")]
    pub(crate) every: std::time::Duration,
    /// The server of a queue or a SQL monitor, or the address that is read.
    pub(crate) source: Option<Spanned<String>>,
    /// What a SQL monitor asks; it only reads.
    pub(crate) statement: Option<Spanned<String>>,
    /// What is picked out of what was read: texts that are their own names, or names with their texts.
    #[serde(rename = "match")]
    pub(crate) picked: Option<Spanned<toml::Value>>,
    /// Scenarios it watches; all when empty.
    #[serde(default)]
    pub(crate) scenarios: Vec<Spanned<String>>,
}

/// What a monitor samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MonitorKind {
    /// Processor time, memory, descriptors and connections of processes.
    Process,
    /// Sizes of keys in Redis, whatever their type.
    Redis,
    /// The status of an address, and numbers of the JSON that it answers.
    Http,
    /// Samples of an address that answers in the text format of Prometheus.
    Prom,
    /// Matches in what the target's logs grew by.
    Log,
    /// What the machine's processors did.
    Machine,
    /// Numbers of the rows that a PostgreSQL answers, or the rows.
    Sql,
}

impl MonitorKind {
    /// Whether it picks values that gates can judge.
    pub(crate) fn picks(self) -> bool {
        !matches!(self, Self::Redis)
    }
}

/// What a process monitor can pick of a process: percent of one processor, bytes, and numbers.
pub(crate) const FIGURES: [&str; 6] = ["cpu", "rss", "private", "threads", "fds", "connections"];

/// What a machine monitor can pick, each in percent of the time of all processors.
pub(crate) const MACHINE: [&str; 3] = ["busy_percent", "steal_percent", "contention_percent"];

/// A value that a monitor picks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pick {
    /// What the samples and gates call it.
    pub(crate) name: String,
    /// A path, a sample, a column, a regular expression, a name of [`MACHINE`], or a process with one of its [`FIGURES`], as in
    /// `k6.cpu`.
    pub(crate) what: String,
}

impl MonitorTable {
    /// What it picks. What is no text is left out; the check of the suite refuses it.
    pub(crate) fn picks(&self) -> Vec<Pick> {
        let pick = |name: &str, what: &str| Pick {
            name: name.to_owned(),
            what: what.to_owned(),
        };
        match self.picked.as_ref().map(Spanned::get_ref) {
            Some(toml::Value::Array(texts)) => {
                let texts = texts.iter().filter_map(toml::Value::as_str);
                texts.map(|text| pick(text, text)).collect()
            }
            Some(toml::Value::Table(named)) => named
                .iter()
                .filter_map(|(name, text)| Some(pick(name, text.as_str()?)))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Whether it picks a value of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.kind.picks() && self.picks().iter().any(|pick| pick.name == name)
    }
}
