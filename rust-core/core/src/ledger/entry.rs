//! What the ledger holds of one participant.

use super::{Answered, Decision, Delivery, Entry, Own, Seldom};
use crate::ids::Phase;
use crate::protocol::Outcome;
use crate::ticket::Ticket;

impl Entry {
    /// What a queued item of this phase speaks of.
    pub(super) fn own(&mut self, leave: bool, phase: Phase) -> Option<&mut Own> {
        if leave {
            return self.leave();
        }
        let owed = |own: &&mut Own| own.phase == phase && own.delivery == Delivery::Owed;
        let earlier = self.seldom.iter_mut().flat_map(|s| &mut s.earlier);
        self.outcome.iter_mut().chain(earlier).find(owed)
    }

    pub(super) fn leave(&mut self) -> Option<&mut Own> {
        self.seldom.as_mut()?.leave.as_mut()
    }

    pub(super) fn seldom(&mut self) -> &mut Seldom {
        self.seldom.get_or_insert_default()
    }

    /// After an answer: what the store knows better goes where such outcomes are, and what is settled of earlier phases goes.
    /// Whether that showed a leave that was not known here.
    pub(super) fn put_right(&mut self) -> bool {
        if let Some(seldom) = &mut self.seldom {
            seldom.earlier.retain(|o| o.delivery == Delivery::Owed);
            if seldom.leave.is_some() {
                if self.outcome.is_none() {
                    self.outcome = seldom.leave.take_if(|own| own.outcome != Outcome::Left);
                }
                return false;
            }
        }
        let unknown = self.outcome.take_if(|own| own.outcome == Outcome::Left);
        let is_leave = unknown.is_some();
        if is_leave {
            self.seldom().leave = unknown;
        }
        is_leave
    }

    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut Own> {
        let seldom = self.seldom.iter_mut();
        let seldom = seldom.flat_map(|s| s.earlier.iter_mut().chain(&mut s.leave));
        self.outcome.iter_mut().chain(seldom)
    }
}

impl Own {
    pub(super) fn answer(&self, first: bool) -> Answered {
        Answered {
            outcome: self.outcome.clone(),
            index: self.index,
            phase: self.phase,
            first,
        }
    }

    pub(super) fn standing(&mut self, ticket: Ticket) -> Decision {
        if self.delivery == Delivery::Held {
            let _answered = ticket.redeem();
            return Decision::Now(self.answer(false));
        }
        self.waiting.push((ticket, false));
        Decision::Later(self.answer(false))
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, Own};

    /// There are as many as participants, of all barriers that have not retired.
    #[test]
    fn an_entry_is_hardly_more_than_its_outcome() {
        assert!(size_of::<Entry>() <= size_of::<Own>() + 16);
    }
}
