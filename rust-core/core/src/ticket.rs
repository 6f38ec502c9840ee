//! One call's right to an answer: whoever loses it has answered.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// A caller's number for a call; its completion carries it back.
pub type Token = u64;

/// Answers calls whose ticket was lost.
pub trait Issuer: Send + Sync {
    /// The ticket with this token went away unanswered, which is a bug or the consequence of one.
    fn lost(&self, token: Token);
}

/// The right of one call to exactly one answer. It is handed on from whoever holds the call to whoever answers it; one that
/// is dropped on the way, by a panic too, is answered by its issuer. So nobody can be left waiting.
#[must_use = "a ticket that is dropped ends its call with an error"]
pub struct Ticket {
    token: Token,
    until: Option<Instant>,
    issuer: Option<Arc<dyn Issuer>>,
}

impl Ticket {
    /// A call that waits until then.
    pub fn new(token: Token, until: Option<Instant>, issuer: Arc<dyn Issuer>) -> Self {
        Self {
            token,
            until,
            issuer: Some(issuer),
        }
    }

    /// Whose call.
    #[must_use]
    pub const fn token(&self) -> Token {
        self.token
    }

    /// How long the call waits, where it does not wait for ever.
    #[must_use]
    pub const fn until(&self) -> Option<Instant> {
        self.until
    }

    /// The same call, which waits no longer than until then.
    pub fn not_after(mut self, until: Instant) -> Self {
        self.until = self.until.map_or(Some(until), |own| Some(own.min(until)));
        self
    }

    /// Whether the call has waited long enough.
    #[must_use]
    pub fn is_overdue(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Whoever takes the token answers the call.
    #[must_use]
    pub fn redeem(mut self) -> Token {
        self.issuer = None;
        self.token
    }
}

/// A ticket that nobody watches over.
impl From<Token> for Ticket {
    fn from(token: Token) -> Self {
        Self {
            token,
            until: None,
            issuer: None,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(issuer) = self.issuer.take() {
            issuer.lost(self.token);
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({})", self.token)
    }
}
