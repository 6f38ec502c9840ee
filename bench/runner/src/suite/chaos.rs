//! `[[chaos]]` and `[[proxy]]`: faults that are injected while a run goes on, and always taken back.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::values::duration::{self, optional};

/// `[[chaos]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChaosTable {
    pub(crate) id: Spanned<String>,
    /// Scenarios whose runs it disturbs; all when empty.
    #[serde(default)]
    pub(crate) scenarios: Vec<Spanned<String>>,
    pub(crate) kind: Kind,
    /// The target or service, or the proxy.
    pub(crate) of: Option<Spanned<String>>,
    /// What ends a program.
    pub(crate) signal: Option<Spanned<Ends>>,
    /// What a proxy does.
    pub(crate) how: Option<Spanned<How>>,
    /// Where switches of a target are set.
    pub(crate) url: Option<Spanned<String>>,
    pub(crate) inject: Option<Spanned<Words>>,
    pub(crate) undo: Option<Spanned<Words>>,
    /// Of a command.
    #[serde(default, with = "optional")]
    pub(crate) time_limit: Option<Duration>,
    /// From k6's start.
    pub(crate) at: Spanned<String>,
    pub(crate) hold: Spanned<String>,
    /// So long after it was taken back the time still belongs to its window.
    pub(crate) settle: Option<Spanned<String>>,
    pub(crate) expect: Option<Spanned<ExpectTable>>,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// A program is ended, and started again.
    Process,
    /// A proxy of the runner's own passes nothing on.
    Proxy,
    /// Switches of a target.
    Faults,
    /// Any program.
    Command,
}

impl Kind {
    /// As suites write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Proxy => "proxy",
            Self::Faults => "faults",
            Self::Command => "command",
        }
    }
}

/// The signal that ends a program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum Ends {
    #[default]
    #[serde(rename = "KILL")]
    Kill,
    #[serde(rename = "TERM")]
    Term,
}

/// What a proxy does with connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum How {
    /// It closes them, and refuses new ones.
    #[default]
    Cut,
    /// It keeps them, and passes nothing on.
    Silence,
}

/// A text, or a program with its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Words {
    Text(String),
    Program(Vec<String>),
}

impl Words {
    /// Each word of it.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &String> {
        match self {
            Self::Text(text) => std::slice::from_ref(text).iter(),
            Self::Program(words) => words.iter(),
        }
    }
}

/// `chaos.expect`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectTable {
    pub(crate) url: String,
    #[serde(default = "ExpectTable::ok")]
    pub(crate) status: u16,
    #[serde(default = "ExpectTable::every", with = "duration")]
    pub(crate) every: Duration,
    #[serde(default = "ExpectTable::timeout", with = "duration")]
    pub(crate) timeout: Duration,
    /// From where on it is reckoned.
    #[serde(default)]
    pub(crate) first_after: After,
    /// The first good answer to a request that began after that comes within this.
    #[serde(default, with = "optional")]
    pub(crate) first_good_within: Option<Duration>,
    /// The last bad answer comes within this.
    #[serde(default, with = "optional")]
    pub(crate) steady_within: Option<Duration>,
}

/// The instant from which an expectation is reckoned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum After {
    /// The fault was injected, as is confirmed.
    #[default]
    Inject,
    /// It was taken back, as is confirmed.
    Undo,
}

impl ExpectTable {
    fn ok() -> u16 {
        200
    }

    fn every() -> Duration {
        Duration::from_millis(10)
    }

    fn timeout() -> Duration {
        Duration::from_secs(1)
    }
}

/// `[[proxy]]`: a TCP proxy of the runner's own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProxyTable {
    pub(crate) id: Spanned<String>,
    /// What it passes on to.
    pub(crate) to: Spanned<String>,
    /// The variable that gets its own address.
    pub(crate) address: Spanned<String>,
}
