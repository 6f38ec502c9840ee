//! What doctor found.

use crate::run::k6::Binary;
use crate::values::{exit, mask};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Good,
    /// Worth knowing; the run goes on.
    Warning,
    /// The run would fail.
    Fault,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) level: Level,
    pub(crate) text: String,
    /// What to do about it.
    pub(crate) mend: Option<String>,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mark = match self.level {
            Level::Good => "ok     ",
            Level::Warning => "warning",
            Level::Fault => "fault  ",
        };
        write!(f, "{mark}  {}", self.text)?;
        self.mend
            .as_ref()
            .map_or(Ok(()), |mend| write!(f, "\n         mend: {mend}"))
    }
}

/// The findings, and the k6 that was found on the way.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) findings: Vec<Finding>,
    pub(crate) k6: Option<Binary>,
}

impl Report {
    /// Something is as it should be.
    pub(crate) fn good(&mut self, text: impl Into<String>) {
        self.add(Level::Good, text, None);
    }

    /// A finding; one that was made already counts once.
    pub(crate) fn add(&mut self, level: Level, text: impl Into<String>, mend: Option<&str>) {
        let finding = Finding {
            level,
            text: mask::masked(&text.into()),
            mend: mend.map(mask::masked),
        };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// What a look gave. A fault without a mend of its own has it behind its last semicolon, as all errors of set-up do.
    pub(super) fn note(&mut self, result: anyhow::Result<String>, mend: Option<&str>) {
        let error = match result {
            Ok(text) => return self.good(text),
            Err(error) => format!("{error:#}"),
        };
        match (mend, error.rsplit_once("; ")) {
            (None, Some((text, mend))) => self.add(Level::Fault, text, Some(mend)),
            (mend, _) => self.add(Level::Fault, error, mend),
        }
    }

    /// What could not be done because the set-up is wrong is a finding; anything else stays an error.
    ///
    /// # Errors
    /// A fault of the runner, or a signal.
    pub(crate) fn failed(&mut self, result: anyhow::Result<()>) -> anyhow::Result<()> {
        match result {
            Err(error) if exit::code_of(&error) == exit::SET_UP => {
                self.note(Err(error), None);
                Ok(())
            }
            other => other,
        }
    }

    /// Whether nothing stands in the way of a run.
    pub(crate) fn healthy(&self) -> bool {
        self.findings
            .iter()
            .all(|finding| finding.level != Level::Fault)
    }

    /// What to read before a run: everything but the good news.
    pub(crate) fn troubles(&self) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(|finding| finding.level != Level::Good)
    }
}
