//! One value that a server is asked for, by `[[record]]` and `[[drain]]`; and what is waited for until a target has written
//! what it took.

use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::class::Class;
use crate::values::duration::{self, parse_time};

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

/// What says that nothing is left to write.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Until {
    /// It has this value.
    Is(f64),
    /// It has not changed for so long.
    Still(Duration),
}

impl DrainTable {
    /// Whether a run cannot be measured as long as something is left.
    pub(crate) fn is_precondition(&self) -> bool {
        let class = self.class.as_ref();
        class.is_some_and(|class| *class.get_ref() == Class::Validity)
    }

    /// What is waited for.
    ///
    /// # Errors
    /// `still` is no time.
    pub(crate) fn until(&self) -> Result<Until, String> {
        Ok(match &self.still {
            Some(still) => Until::Still(parse_time(still.get_ref())?),
            None => Until::Is(self.is.unwrap_or_default()),
        })
    }
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
    /// The value that says that nothing is left to write; 0 where neither this nor `still` is given.
    pub(crate) is: Option<f64>,
    /// How long a value stays as it is that nobody changes any more.
    pub(crate) still: Option<Spanned<String>>,
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
    /// What it says of a run that something is left in the end: that the target missed an objective, which is usual, or that the
    /// run cannot be measured.
    pub(crate) class: Option<Spanned<Class>>,
}
