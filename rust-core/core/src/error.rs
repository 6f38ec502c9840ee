//! One error type for the whole core; each kind has a number at the C ABI.

use serde::Serialize;

/// A bad option: what it is called, what was received and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("option {option}: got {got}, allowed is {allowed}")]
pub struct OptionError {
    /// The option's name as the script spells it.
    pub option: String,
    /// What was received.
    pub got: String,
    /// What is allowed.
    pub allowed: String,
}

impl OptionError {
    /// Says which option was wrong, what it was and what it may be.
    pub fn new(
        option: impl Into<String>,
        got: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Self {
        Self {
            option: option.into(),
            got: got.into(),
            allowed: allowed.into(),
        }
    }
}

/// What went wrong in a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument is no valid option, or differs from that of another opener.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The store did not answer or refused.
    #[error("{message}")]
    Store {
        /// What happened and what to do about it; never holds a password.
        message: String,
        /// Whether the outcome stands in the ledger and is delivered later.
        pending: bool,
    },
    /// Two callers claim the same participant.
    #[error("{0}")]
    Conflict(String),
    /// The barrier is broken for everyone.
    #[error("{0}")]
    Broken(String),
    /// The phase was not released in time.
    #[error("{0}")]
    Timeout(String),
    /// A queue key holds a type that is not counted.
    #[error("key {key} holds a {kind}; a queue is a zset or a hash")]
    QueueType {
        /// The key.
        key: String,
        /// Its type, as `TYPE` answers.
        kind: String,
    },
    /// The handle is closed.
    #[error("the barrier's engine is closed")]
    Closed,
    /// The process has let go of the barrier.
    #[error("the barrier is closed in this process; whoever uses it again opens it anew")]
    Gone,
    /// A bug in the core, caught.
    #[error("a bug in the core: {0}")]
    Bug(String),
    /// Too many calls are under way.
    #[error("{0} calls are under way, which is the limit")]
    Busy(usize),
}

impl Error {
    /// A store error of a call whose outcome does not stand.
    pub(crate) fn store(message: impl Into<String>) -> Self {
        Self::Store {
            message: message.into(),
            pending: false,
        }
    }
}
