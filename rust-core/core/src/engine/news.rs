//! What an engine tells its host.

use std::net::SocketAddr;

use crate::error::Error;
use crate::ids::Phase;
use crate::ledger::Answered;
use crate::session::Done;
use crate::ticket::{Ticket, Token};

/// The host's answer to [`Emission::Resolve`]: the address, or why there is none.
pub type Resolved = Result<SocketAddr, String>;

/// What an engine tells its host.
#[derive(Debug)]
pub enum Emission {
    /// A call ended.
    Done {
        /// Whose call.
        ticket: Ticket,
        /// How.
        result: Result<Done, Error>,
        /// Where the call failed: the outcome that stands all the same.
        standing: Option<Answered>,
    },
    /// A question was answered, in JSON.
    Text {
        /// Whose question.
        ticket: Ticket,
        /// The answer.
        result: Result<String, Error>,
    },
    /// The phase and all before it are released now: one for all waiters.
    Released {
        /// [`super::Barrier::handle`].
        barrier: u64,
        /// The phase.
        phase: Phase,
        /// The release's instant on the wall clock, in microseconds since the epoch.
        at: i64,
        /// Other processes on this host let their users go at the same instant.
        on_crowded_host: bool,
    },
    /// The [`Emission::Released`] that follows is of the phase of this call, whose arrival the store has not answered to:
    /// its own [`Emission::Done`] comes later.
    Owed {
        /// Whose call.
        token: Token,
    },
    /// The news before this said all to these calls that waited: they are not completed one by one.
    Over(Vec<Ticket>),
    /// The barrier is broken for good: one for all waiters.
    Broken {
        /// [`super::Barrier::handle`].
        barrier: u64,
    },
    /// The process has forgotten the barrier: its number names nothing any more, and whoever opens it opens it anew.
    Forgotten {
        /// [`super::Barrier::handle`].
        barrier: u64,
    },
    /// Lines wait in [`super::Engine::log`].
    Log,
    /// What does this name stand for? [`super::Engine::resolved`] takes the answer. Only of an engine whose host resolves.
    Resolve {
        /// The question.
        token: Token,
        /// `host:port`, an IPv6 address in brackets.
        host: String,
    },
}

impl Emission {
    /// What follows the news for all, where anybody waited for that.
    pub(crate) fn over(tickets: Vec<Ticket>) -> Option<Self> {
        (!tickets.is_empty()).then_some(Self::Over(tickets))
    }
}

/// Takes what an engine says. Called from the engine's thread and from callers' threads, by one at a time for each barrier, in
/// order: it must not block, and must not call the engine. It redeems the ticket of each call that it tells of: one that it drops
/// comes back as an error.
pub trait Sink: Send + Sync + 'static {
    /// Takes news, in order; leaves the list empty.
    fn emit(&self, news: &mut Vec<Emission>);
}
