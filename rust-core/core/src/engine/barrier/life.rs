//! The end of a barrier's life: it retires when it is over, is forgotten when too many are, or is let go of.

use std::time::{Duration, Instant};

use parking_lot::MutexGuard;

use crate::error::Error;
use crate::options::{BarrierOptions, SharedOptions};
use crate::session::Done;
use crate::store::redis::Keep;
use crate::ticket::Ticket;

use crate::engine::news::Emission;

use super::state::State;
use super::{Backend, Barrier, Submitted};

/// A barrier that is over retires when it was left alone for so long.
pub(super) const QUIET: Duration = Duration::from_secs(1);

impl State {
    /// It is over, everyone knows it, and nothing is owed to anybody.
    fn may_retire(&self) -> bool {
        if self.retry_at.is_some() || self.session.has_request() {
            return false; // it has yet to tell the store
        }
        let told = self.session.broken().is_none() || self.broken_told;
        let settled = self.coming.is_empty() && self.held.is_empty() && self.closers.is_empty();
        let idle = self.session.is_idle() && self.waiting.is_empty();
        self.session.is_over() && idle && told && settled
    }
}

impl Barrier {
    /// Another opener of this process found it.
    pub(super) fn found_by(&self, options: &BarrierOptions) -> Result<(), Error> {
        let (mine, theirs) = (&options.shared, &self.options.shared);
        if mine != theirs {
            return Err(SharedOptions::difference(&mine.canonical(), &theirs.canonical()).into());
        }
        self.add_reasons(&options.reasons);
        Ok(())
    }

    pub(super) fn is_over(&self) -> bool {
        self.state.lock().session.is_over()
    }

    /// Keeps no more than what may still be asked for, and says how many bytes of outcomes that are; where it may.
    pub(super) fn retire(&self) -> Option<usize> {
        let mut state = self.state.lock();
        state.may_retire().then(|| self.retire_now(&mut state))
    }

    /// The same of one that has retired, where late ones have come since.
    pub(super) fn retire_again(&self) -> Option<usize> {
        let mut state = self.state.lock();
        let changed = state.session.ledger().unpacked() > 0;
        (changed && state.may_retire()).then(|| self.retire_now(&mut state))
    }

    /// The same after some quiet.
    pub(super) fn retire_when_quiet(&self, state: &mut State, now: Instant) -> Option<usize> {
        let quiet = now.saturating_duration_since(state.stirred_at) >= QUIET;
        // From then on nobody drives it: one that waits for its connection would not try again where the server refuses.
        let settled = state.session.is_live() || state.session.is_refused();
        (quiet && settled && state.may_retire()).then(|| self.retire_now(state))
    }

    fn retire_now(&self, state: &mut State) -> usize {
        state.session.retire();
        state.held = Vec::new();
        state.forget_turns();
        if let Backend::Memory(store) = &self.backend {
            store.lock().retire();
        }
        state.session.ledger().kept_bytes()
    }

    /// It retired: from now on it counts among those that are forgotten some day.
    pub(super) fn enlist(&self, bytes: usize) {
        if let Some(me) = self.me.upgrade() {
            self.context.roll.retired(&me, bytes);
        }
    }

    /// What keeps its record alive.
    pub(super) fn keep(&self) -> Option<Keep> {
        let state = self.state.lock();
        let incarnation = state.session.incarnation()?;
        let live = state.session.is_live() && !state.gone;
        let reasons = state.session.known_reasons();
        live.then(|| self.remote().scripts.keep(incarnation, reasons))
    }

    /// Too many are over. False where somebody asks something of it right now.
    pub(super) fn forget(&self) -> bool {
        let mut state = self.state.lock();
        if state.may_retire() {
            let over = self.go(&mut state);
            state.outbox.push(self.forgotten());
            state.outbox.extend(over);
        }
        let gone = state.gone;
        self.tell(state);
        gone
    }

    /// From now on it is nobody's. What comes back goes after the news of that: these waited for news for all.
    #[must_use]
    fn go(&self, state: &mut State) -> Option<Emission> {
        state.gone = true;
        let over = Self::end_calls(state, &Error::Gone);
        if let Backend::Redis(remote) = &self.backend {
            remote.hub.detach(self);
        }
        Emission::over(over)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.state.lock().gone
    }

    fn forgotten(&self) -> Emission {
        let barrier = self.handle();
        Emission::Forgotten { barrier }
    }

    // ---- letting go of it ----

    /// Delivers what is owed, says goodbye to the store, and lets go of it: all who wait end. The token completes then.
    pub(super) fn let_go(&self, mut state: MutexGuard<'_, State>, ticket: Ticket) -> Submitted {
        let registered = state.session.is_registered() && !state.session.is_refused();
        if self.backend.remote().is_none() || !registered {
            let _answered = ticket.redeem();
            let over = self.go(&mut state);
            drop(state);
            self.strike(over.into_iter().collect());
            return Submitted::Done(Ok(Done::Over));
        }
        let (token, due) = (ticket.token(), ticket.until());
        if state.closers.is_empty() {
            state.session.close();
        }
        state.closers.push(ticket);
        self.appoint(&mut state, due);
        let submitted = self.go_on(&mut state, Vec::new(), Some((token, None)));
        self.tell(state);
        submitted
    }

    /// Lets go of it once that may be done.
    pub(super) fn finish_closing(&self) {
        let mut state = self.state.lock();
        if state.closers.is_empty() || !state.session.is_idle() || !state.session.is_live() {
            return;
        }
        let closers = std::mem::take(&mut state.closers);
        let over = self.go(&mut state);
        drop(state);
        let done = |ticket| Emission::Done {
            ticket,
            result: Ok(Done::Over),
            standing: None,
        };
        self.strike(
            over.into_iter()
                .chain(closers.into_iter().map(done))
                .collect(),
        );
    }

    /// Who wanted to let go of it and has waited too long; it stays where nobody else wants to.
    pub(super) fn overdue_closers(
        state: &mut State,
        now: Instant,
    ) -> (Vec<Emission>, Option<Instant>) {
        let wanted = !state.closers.is_empty();
        let late = state.closers.extract_if(.., |t| t.is_overdue(now));
        let message = "the barrier stays open: what it owes could not be delivered in time";
        let failed = late.map(|ticket| Emission::Done {
            ticket,
            result: Err(Error::store(message)),
            standing: None,
        });
        let mut news: Vec<_> = failed.collect();
        if wanted && state.closers.is_empty() {
            state.session.stay();
            let phase = state.session.opened_at();
            let openers = std::mem::take(&mut state.openers).into_iter();
            news.extend(openers.map(|ticket| Emission::Done {
                ticket,
                result: Ok(Done::Opened(phase)),
                standing: None,
            }));
        }
        let next = state.closers.iter().filter_map(Ticket::until);
        (news, next.min())
    }

    /// Nobody finds it any more; then everyone is told.
    fn strike(&self, news: Vec<Emission>) {
        if let Some(me) = self.me.upgrade() {
            self.context.roll.remove(&me);
        }
        let mut state = self.state.lock();
        state.outbox.push(self.forgotten());
        state.outbox.extend(news);
        self.tell(state);
    }
}
