//! The identifiers of a barrier, each with its grammar in one place.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::OptionError;
use crate::host;

/// Longest barrier name or run id, in bytes.
const NAME_MAX: usize = 64;
/// Longest participant id, in bytes of UTF-8.
const PARTICIPANT_MAX: usize = 128;
/// Longest reason, in bytes.
const REASON_MAX: usize = 32;

/// The number of a phase: 0, 1, …; a one-shot barrier has phase 0 only.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Phase(pub u32);

impl Phase {
    /// The phase after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The phase before this one; `None` for phase 0.
    #[must_use]
    pub const fn previous(self) -> Option<Self> {
        match self.0 {
            0 => None,
            n => Some(Self(n - 1)),
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text of the id.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// A participant's id: 1-128 bytes of UTF-8.
    Participant
}
text_id! {
    /// Why a participant failed: `[a-z][a-z0-9_-]{0,31}`.
    Reason
}
text_id! {
    /// A barrier's name: `[A-Za-z0-9._-]{1,64}`.
    BarrierName
}
text_id! {
    /// The id of one run, shared by all its processes: `[A-Za-z0-9._-]{1,64}`.
    RunId
}
text_id! {
    /// A k6 process, made at start: 32 hex digits, the first eight of which stand for its host; the others are random.
    ProcessId
}
text_id! {
    /// One life of a barrier's record in the store: 128 random bits as 32 hex digits, written by whoever creates the record.
    Incarnation
}

impl Participant {
    /// Checks the grammar.
    ///
    /// # Errors
    /// Names the participant, its length and what is allowed.
    pub fn new(text: &str) -> Result<Self, OptionError> {
        if text.is_empty() || text.len() > PARTICIPANT_MAX {
            return Err(OptionError::new(
                "participant",
                format!("{} bytes", text.len()),
                format!("1 to {PARTICIPANT_MAX} bytes of UTF-8"),
            ));
        }
        Ok(Self(text.into()))
    }

    /// Whether the id is the canonical decimal text of a number in `1..=parties`.
    #[must_use]
    pub fn is_number_up_to(&self, parties: u32) -> bool {
        let text = &*self.0;
        !text.starts_with('0')
            && text.bytes().all(|b| b.is_ascii_digit())
            && text.parse::<u32>().is_ok_and(|n| n <= parties)
    }
}

impl Reason {
    /// Checks the grammar.
    ///
    /// # Errors
    /// Names the option, the text received and what is allowed.
    pub fn new(option: &str, text: &str) -> Result<Self, OptionError> {
        let mut bytes = text.bytes();
        let good = text.len() <= REASON_MAX
            && bytes.next().is_some_and(|b| b.is_ascii_lowercase())
            && bytes
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
        if good {
            Ok(Self(text.into()))
        } else {
            Err(OptionError::new(
                option,
                quoted(text),
                "a lower-case letter, then up to 31 of a-z, 0-9, _ and -",
            ))
        }
    }
}

fn name(option: &str, text: &str) -> Result<Arc<str>, OptionError> {
    let good = (1..=NAME_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if good {
        Ok(text.into())
    } else {
        Err(OptionError::new(
            option,
            quoted(text),
            format!("1 to {NAME_MAX} of A-Z, a-z, 0-9, '.', '_' and '-'"),
        ))
    }
}

/// Received text as an error shows it: quoted, escaped, and cut where it is long.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN: usize = 80;
    if text.chars().count() > SHOWN {
        let head: String = text.chars().take(SHOWN).collect();
        format!("{head:?}… ({} bytes)", text.len())
    } else {
        format!("{text:?}")
    }
}

impl BarrierName {
    /// Checks the grammar.
    ///
    /// # Errors
    /// Names the text received and what is allowed.
    pub fn new(text: &str) -> Result<Self, OptionError> {
        name("name", text).map(Self)
    }
}

impl RunId {
    /// Checks the grammar.
    ///
    /// # Errors
    /// Names the text received and what is allowed.
    pub fn new(text: &str) -> Result<Self, OptionError> {
        name("runId", text).map(Self)
    }
}

fn random_hex() -> Arc<str> {
    format!("{:032x}", rand::random::<u128>()).into()
}

impl ProcessId {
    /// A new random id of a process on this host.
    #[must_use]
    pub fn random() -> Self {
        Self::random_on(host::number())
    }

    /// The same for another host.
    #[must_use]
    pub fn random_on(host: u32) -> Self {
        let random = rand::random::<u128>() >> 32;
        Self(format!("{host:08x}{random:024x}").into())
    }

    /// Processes on one host have this in common.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.get(..8).unwrap_or_default()
    }

    /// Who acts on a barrier from outside: no process, so that the store registers none.
    #[must_use]
    pub fn operator() -> Self {
        Self("".into())
    }

    /// Whether this is [`ProcessId::operator`].
    #[must_use]
    pub fn is_operator(&self) -> bool {
        self.0.is_empty()
    }
}

impl Incarnation {
    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(random_hex())
    }

    /// The id that a store answered with.
    #[must_use]
    pub fn from_store(text: &str) -> Self {
        Self(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn participants_are_bounded() {
        assert!(Participant::new("é".repeat(64).as_str()).is_ok());
        assert!(Participant::new("").is_err());
        assert!(Participant::new(&"x".repeat(129)).is_err());
    }

    #[test]
    fn only_canonical_numbers_can_be_missing_by_name() {
        let id = |t: &str| Participant::new(t).expect("valid");
        assert!(id("1").is_number_up_to(3));
        assert!(id("3").is_number_up_to(3));
        for other in ["0", "4", "01", "+1", "1 ", "x"] {
            assert!(!id(other).is_number_up_to(3), "{other}");
        }
    }

    #[test]
    fn reasons_have_a_grammar() {
        for good in ["login", "s", "sse-503", "a_b"] {
            assert!(Reason::new("reason", good).is_ok(), "{good}");
        }
        for bad in ["", "Login", "1x", "-x", "log in", &"x".repeat(33)] {
            assert!(Reason::new("reason", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_have_a_grammar() {
        assert!(BarrierName::new("gate.1_A-b").is_ok());
        for bad in ["", "a b", "a@1", "a:b", &"x".repeat(65)] {
            assert!(RunId::new(bad).is_err(), "{bad}");
        }
    }
}
