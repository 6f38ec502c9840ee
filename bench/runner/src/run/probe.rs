//! Whether a target answers.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::Context as _;

use crate::suite::Suite;
use crate::suite::schema::TargetTable;
use crate::suite::vars::{RunValues, Vars};
use crate::values::exit;
use crate::values::http::agent;

const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// What came instead of the right answer.
#[derive(Debug)]
pub(crate) struct Unwell {
    /// In words.
    pub(crate) text: String,
    /// It is there: it takes connections, and answers wrongly or not at all.
    pub(crate) there: bool,
}

impl Unwell {
    /// It is not there any more.
    pub(super) fn gone(text: String) -> Self {
        Self { text, there: false }
    }
}

/// How a target is asked whether it answers.
#[derive(Debug, Clone)]
pub(super) enum Question {
    Http { address: String, status: u16 },
    Tcp { address: String },
}

impl Question {
    /// The question of a target.
    ///
    /// # Errors
    /// A variable is missing, or the suite names no address, or one that is not allowed.
    pub(super) fn new(
        suite: &Suite,
        table: &TargetTable,
        vars: &Vars,
        run: &RunValues,
    ) -> anyhow::Result<Self> {
        let question = match (&table.ready.url, &table.ready.tcp) {
            (Some(address), _) => Self::Http {
                address: vars.expand(address.get_ref(), run)?,
                status: table.ready.status.unwrap_or(200),
            },
            (None, Some(address)) => Self::Tcp {
                address: vars.expand(address.get_ref(), run)?,
            },
            (None, None) => {
                return Err(exit::set_up(format!(
                    "target {}: `ready` needs `url` or `tcp`",
                    table.id
                )));
            }
        };
        suite.allow_now(&format!("target {}", table.id), question.address())?;
        Ok(question)
    }

    /// Whom it asks.
    pub(super) fn address(&self) -> &str {
        match self {
            Self::Http { address, .. } | Self::Tcp { address } => address,
        }
    }

    /// Asks once.
    ///
    /// # Errors
    /// Something else came than the right answer.
    pub(super) fn ask(&self) -> Result<(), Unwell> {
        let there = |text: String| Unwell { text, there: true };
        match self {
            Self::Http { address, status } => match agent(PROBE_LIMIT).get(address).call() {
                Ok(answer) if answer.status().as_u16() == *status => Ok(()),
                Ok(answer) => Err(there(format!(
                    "GET {address}: status {}, expected {status}",
                    answer.status().as_u16()
                ))),
                Err(error) => Err(Unwell {
                    text: format!("GET {address}: {error}"),
                    there: !nobody(&error),
                }),
            },
            Self::Tcp { address } => connect(address)
                .map_err(|error| Unwell::gone(format!("connecting to {address}: {error}"))),
        }
    }
}

/// Whether an error says that nobody is there. Who closes connections is, and so may be who does not answer in time.
fn nobody(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => true,
        ureq::Error::Io(error) => matches!(
            error.kind(),
            std::io::ErrorKind::ConnectionRefused
                | std::io::ErrorKind::HostUnreachable
                | std::io::ErrorKind::NetworkUnreachable
        ),
        _ => false,
    }
}

/// What an address answers.
pub(super) fn text(address: &str) -> Result<String, String> {
    let told = |error: ureq::Error| format!("GET {address}: {error}");
    let mut answer = agent(PROBE_LIMIT).get(address).call().map_err(told)?;
    if !answer.status().is_success() {
        return Err(format!(
            "GET {address}: status {}",
            answer.status().as_u16()
        ));
    }
    answer.body_mut().read_to_string().map_err(told)
}

fn connect(address: &str) -> anyhow::Result<()> {
    let url = url::Url::parse(address)?;
    let host = url.host_str().context("no host")?.trim_matches(['[', ']']);
    let port = url.port_or_known_default().context("no port")?;
    let mut last = None;
    for place in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&place, PROBE_LIMIT) {
            Ok(_) => return Ok(()),
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(|| anyhow::anyhow!("the host has no address"), Into::into))
}

/// Asks an external target once, for `doctor`.
///
/// # Errors
/// It does not answer.
pub(crate) fn ask_once(suite: &Suite, table: &TargetTable, vars: &Vars) -> anyhow::Result<()> {
    Question::new(suite, table, vars, &RunValues::new())?
        .ask()
        .map_err(|unwell| exit::set_up(unwell.text))
}
