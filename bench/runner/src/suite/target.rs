//! `[[target]]`: what is measured, and the services that it needs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::command::NO_TARGET;
use super::compose::ComposeTable;
use crate::values::duration;
use crate::values::template::{RunValues, run_values};

/// `[[target]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetTable {
    pub(crate) id: String,
    pub(crate) kind: TargetKind,
    #[serde(default)]
    pub(crate) role: TargetRole,
    pub(crate) variant: Option<Spanned<String>>,
    /// Of a service, the target under test that needs it; without it, every one does.
    pub(crate) with: Option<Spanned<String>>,
    /// Values for variables that have none.
    #[serde(default)]
    pub(crate) defaults: BTreeMap<Spanned<String>, toml::Value>,
    /// A service in a container.
    pub(crate) compose: Option<ComposeTable>,
    /// Program and arguments.
    #[serde(default)]
    pub(crate) start: Vec<Spanned<String>>,
    /// Names of further places where it listens, beside the one in the first line of `{port_file}`: each in a line `NAME ADDRESS`
    /// of that file, or in a file of its own where `start` takes `{NAME_port_file}`. `{NAME}` is its host and port.
    #[serde(default)]
    pub(crate) ports: Vec<Spanned<String>>,
    /// Variables that get their values from where it listens.
    #[serde(default)]
    pub(crate) addresses: BTreeMap<Spanned<String>, Spanned<String>>,
    pub(crate) ready: Ready,
    /// What a program that the runner starts may take.
    pub(crate) limits: Option<LimitsTable>,
    /// Log files of an external target; an entry whose variable has no value is left out.
    #[serde(default)]
    pub(crate) logs: Vec<Spanned<String>>,
    /// Processes of an external target to be watched, each as [`super::process::Named`] reads it; an entry whose variable has
    /// no value is left out.
    #[serde(default)]
    pub(crate) processes: Vec<Spanned<String>>,
    /// Further arguments, split at white space: the fault switches of a reference target.
    pub(crate) faults: Option<Spanned<String>>,
    /// Where the target says which build it is.
    pub(crate) version: Option<VersionTable>,
}

impl TargetTable {
    /// Whether the runner starts it.
    pub(crate) fn is_started(&self) -> bool {
        !matches!(self.kind, TargetKind::External | TargetKind::None)
    }

    /// What stands for the target of a scenario that has none.
    pub(crate) fn none() -> Self {
        Self {
            id: NO_TARGET.to_owned(),
            kind: TargetKind::None,
            role: TargetRole::Target,
            with: None,
            variant: None,
            defaults: BTreeMap::new(),
            compose: None,
            start: Vec::new(),
            ports: Vec::new(),
            addresses: BTreeMap::new(),
            ready: Ready {
                url: None,
                tcp: None,
                status: None,
                every: Duration::ZERO,
                limit: Duration::ZERO,
                patient: false,
                gone: None,
            },
            limits: None,
            logs: Vec::new(),
            processes: Vec::new(),
            faults: None,
            version: None,
        }
    }

    /// Whether it is one of those that every run has.
    pub(crate) fn is_service(&self) -> bool {
        self.role == TargetRole::Service
    }

    /// What texts take its further places by.
    pub(crate) fn port_names(&self) -> impl Iterator<Item = &Spanned<String>> {
        let inside = self.compose.iter().flat_map(|compose| compose.ports.keys());
        self.ports.iter().chain(inside)
    }

    /// What its arguments may take that is not known before its start: the files by which it tells where it listens.
    pub(crate) fn port_files(&self) -> Vec<String> {
        if self.compose.is_some() {
            return Vec::new();
        }
        let own = self.ports.iter().map(|name| own_file(name.get_ref()));
        std::iter::once(PORT_FILE.to_owned()).chain(own).collect()
    }

    /// Whether its arguments take the file.
    fn takes(&self, file: &str) -> bool {
        let taken = |word: &Spanned<String>| run_values(word.get_ref()).contains(&file);
        self.start.iter().any(taken)
    }

    /// Where it tells each place where it listens.
    pub(crate) fn told(&self) -> Vec<Told<'_>> {
        if let Some(compose) = &self.compose {
            let further = compose.ports.iter();
            let further = further.map(|(name, port)| (name.get_ref().as_str(), *port));
            return std::iter::once((ADDRESS, *compose.port.get_ref()))
                .chain(further)
                .map(|(name, port)| Told {
                    name,
                    by: By::Container(port),
                })
                .collect();
        }
        // A service may listen where the suite says, and tell nothing; what is under test has an address.
        let first = (self.takes(PORT_FILE) || !self.is_service()).then(|| Told {
            name: ADDRESS,
            by: By::File {
                file: PORT_FILE.to_owned(),
                line: None,
            },
        });
        let further = self.ports.iter().map(|name| {
            let name = name.get_ref().as_str();
            let own = own_file(name);
            let alone = self.takes(&own);
            Told {
                name,
                by: By::File {
                    file: if alone { own } else { PORT_FILE.to_owned() },
                    line: (!alone).then_some(name),
                },
            }
        });
        first.into_iter().chain(further).collect()
    }

    /// Its port files, each as an empty text: for arguments that are looked at before they are known.
    pub(crate) fn not_yet(&self) -> RunValues {
        let mut values = RunValues::new();
        for name in self.port_files() {
            values.insert(&name, "");
        }
        values
    }
}

/// A place where a target listens, and how it tells it.
#[derive(Debug)]
pub(crate) struct Told<'a> {
    /// What texts take it by.
    pub(crate) name: &'a str,
    /// Who says it.
    pub(crate) by: By<'a>,
}

/// Who says where a target listens.
#[derive(Debug)]
pub(crate) enum By<'a> {
    /// The target, in a file.
    File {
        /// The file.
        file: String,
        /// The name that the line begins with; the first line has none.
        line: Option<&'a str>,
    },
    /// The container engine, of this port inside.
    Container(u16),
}

/// What texts take the first address by.
pub(crate) const ADDRESS: &str = "address";
/// The same without its scheme.
pub(crate) const HOST_PORT: &str = "host_port";
const PORT_FILE: &str = "port_file";

fn own_file(name: &str) -> String {
    format!("{name}_{PORT_FILE}")
}

/// What a target is in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TargetRole {
    /// Under test: each run has one, by its variant and by who starts it.
    #[default]
    Target,
    /// What the one under test needs: every run has all of them.
    Service,
}

/// `target.limits`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitsTable {
    /// Of one processor, as in `50%`; `150%` is one and a half.
    pub(crate) cpu: Option<Spanned<String>>,
    /// As in `512M`.
    pub(crate) memory: Option<Spanned<String>>,
}

impl LimitsTable {
    /// The processor time, in percent of one processor.
    ///
    /// # Errors
    /// A text that says what was received and what is allowed.
    pub(crate) fn cpu_percent(&self) -> Result<Option<u32>, String> {
        let read = |text: &str| {
            let percent = text
                .strip_suffix('%')
                .and_then(|number| number.parse().ok());
            percent.filter(|percent| *percent >= 1).ok_or_else(|| {
                format!("`cpu`: received `{text}`; allowed: percent of one processor, as in `50%` or `150%`")
            })
        };
        self.cpu
            .as_ref()
            .map(|text| read(text.get_ref()))
            .transpose()
    }

    /// The memory in bytes.
    ///
    /// # Errors
    /// A text that says what was received and what is allowed.
    pub(crate) fn memory_bytes(&self) -> Result<Option<u64>, String> {
        let read = |text: &str| {
            let units = [("K", 10), ("M", 20), ("G", 30)];
            let unit = units.into_iter().find(|(unit, _)| text.ends_with(unit));
            let bytes = unit.and_then(|(unit, shift)| {
                let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
                number.checked_mul(1 << shift).filter(|bytes| *bytes > 0)
            });
            bytes.ok_or_else(|| {
                format!("`memory`: received `{text}`; allowed: a whole number with the unit K, M or G, as in `512M`")
            })
        };
        self.memory
            .as_ref()
            .map(|text| read(text.get_ref()))
            .transpose()
    }
}

/// `target.version`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VersionTable {
    pub(crate) url: Spanned<String>,
    /// Names in the JSON that it answers, joined by dots; without it the whole text is the version.
    pub(crate) json: Option<String>,
}

/// Who starts a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TargetKind {
    /// A program of this project, started by the runner.
    Builtin,
    /// Any other program, started by the runner.
    Process,
    /// A service of a compose file, started by the runner where there is a container engine.
    Compose,
    /// Started by a person; the runner only looks whether it answers.
    External,
    /// There is none: what a scenario has that says so.
    #[serde(skip)]
    None,
}

/// `target.ready`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ready {
    /// Address that must answer with `status`.
    pub(crate) url: Option<Spanned<String>>,
    /// Address that must accept a connection.
    pub(crate) tcp: Option<Spanned<String>>,
    pub(crate) status: Option<u16>,
    #[serde(with = "duration")]
    pub(crate) every: std::time::Duration,
    #[serde(with = "duration")]
    pub(crate) limit: std::time::Duration,
    /// Of one that somebody else starts: a run waits for it for so long; without it, a run is refused where it does not answer yet.
    #[serde(default)]
    pub(crate) patient: bool,
    /// Of one that somebody else starts: once nobody has been there for so long, a run that is under way ends.
    #[serde(default, with = "duration::optional")]
    pub(crate) gone: Option<std::time::Duration>,
}
