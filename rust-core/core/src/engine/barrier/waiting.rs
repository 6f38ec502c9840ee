//! Calls that wait for the release of a phase. One piece of news ends them all, so that each hears of its own only what is
//! different with it: that it came late, is a conflict, was not acknowledged, or has waited long enough.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::engine::news::Emission;
use crate::error::Error;
use crate::ids::{Participant, Phase};
use crate::ledger::{Answered, Decision, Overdue, Report};
use crate::protocol::Outcome;
use crate::session::Done;
use crate::ticket::{Ticket, Token};

use super::state::State;
use super::{Barrier, Submitted};

/// How long a call waits.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limit {
    /// For the release.
    pub wait: Duration,
    /// After that for a store that has not acknowledged the arrival.
    pub store: Duration,
}

/// What has become of the arrival of a call that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The store has not answered yet.
    Owed,
    /// The store has acknowledged it.
    Acknowledged,
    /// The call does not wait any more: its end has been told, to it alone or to all.
    Over,
}

struct Wait {
    phase: Phase,
    until: Instant,
    /// None while the ledger has it, because the store has not answered to the arrival.
    ticket: Option<Ticket>,
    /// As long as the ledger has it: the caller's patience with the store ends before our own.
    impatient: bool,
    /// Whether the arrival is a new one; none of a call that only waits.
    first: Option<bool>,
    /// Whose own instant it waits for, where the release is spread.
    own: Option<Participant>,
}

/// A call that goes at an instant of its own.
pub(super) struct InTurn {
    pub(super) ticket: Ticket,
    pub(super) participant: Participant,
    pub(super) phase: Phase,
    pub(super) first: bool,
}

impl InTurn {
    const fn new(ticket: Ticket, participant: Participant, phase: Phase, first: bool) -> Self {
        Self {
            ticket,
            participant,
            phase,
            first,
        }
    }
}

/// What a release does to those who wait.
#[derive(Default)]
struct Freed {
    /// They have nothing more to hear than that.
    at_once: Vec<Ticket>,
    in_turn: Vec<InTurn>,
    /// The store still owes an answer to their arrivals.
    owed: Vec<Token>,
}

/// Calls that wait for the release of a phase.
#[derive(Default)]
pub(super) struct Waiting(HashMap<Token, Wait>);

impl Waiting {
    fn arrival(&self, token: Token) -> Arrival {
        match self.0.get(&token) {
            None => Arrival::Over,
            Some(wait) if wait.ticket.is_none() => Arrival::Owed,
            Some(_) => Arrival::Acknowledged,
        }
    }

    /// The phase is released: who has nothing more to hear than that, and whose arrival the store still owes an answer.
    fn release(&mut self, phase: Phase) -> Freed {
        let mut freed = Freed::default();
        for wait in self.take_waits(|wait| wait.phase <= phase) {
            let Some(ticket) = wait.ticket else {
                continue; // it was not taken
            };
            match wait.own {
                Some(participant) => {
                    let first = wait.first.unwrap_or(false);
                    freed
                        .in_turn
                        .push(InTurn::new(ticket, participant, wait.phase, first));
                }
                None => freed.at_once.push(ticket),
            }
        }
        let left = self.0.iter().filter(|(_, wait)| wait.phase <= phase);
        freed.owed = left.map(|(token, _)| *token).collect();
        freed
    }

    /// Those of them alone who go at instants of their own.
    pub(super) fn take_in_turn(&mut self, phase: Phase) -> Vec<InTurn> {
        let mine = |wait: &Wait| wait.phase == phase && wait.own.is_some();
        let waits = self.take_waits(mine);
        let in_turn = waits.filter_map(|wait| {
            let first = wait.first.unwrap_or(false);
            Some(InTurn::new(wait.ticket?, wait.own?, wait.phase, first))
        });
        in_turn.collect()
    }

    /// Those whose arrival is acknowledged, of which this holds.
    fn take(&mut self, which: impl FnMut(&Wait) -> bool) -> Vec<Ticket> {
        let taken = self.take_waits(which);
        taken.filter_map(|wait| wait.ticket).collect()
    }

    fn take_waits(&mut self, mut which: impl FnMut(&Wait) -> bool) -> impl Iterator<Item = Wait> {
        let taken = self
            .0
            .extract_if(move |_, wait| wait.ticket.is_some() && which(wait));
        taken.map(|(_, wait)| wait)
    }

    /// Nobody waits any more.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Ends them all. Those whose arrival is acknowledged are the caller's to tell; the others hear of it by their own answer.
    #[must_use]
    pub(super) fn end(&mut self) -> Vec<Ticket> {
        let all = std::mem::take(&mut self.0).into_values();
        all.filter_map(|wait| wait.ticket).collect()
    }

    /// All whose arrival is acknowledged: nothing will release them any more.
    fn take_acknowledged(&mut self) -> Vec<Ticket> {
        self.take(|_| true)
    }

    /// Those that have waited long enough, and when the next one will have. Up to the phase that is decided nobody has: they go
    /// when its instant comes, however far ahead that is.
    pub(super) fn take_overdue(
        &mut self,
        now: Instant,
        decided: Option<Phase>,
    ) -> (Vec<Ticket>, Option<Instant>) {
        let mut next: Option<Instant> = None;
        let overdue = self.take(|wait| {
            if decided.is_some_and(|decided| wait.phase <= decided) {
                return false;
            }
            let late = wait.until <= now;
            if !late {
                next = next.into_iter().chain([wait.until]).min();
            }
            late
        });
        (overdue, next)
    }

    /// The ledger gave up waiting for the store's answer to this arrival; true where the caller's patience was at its end.
    pub(super) fn gave_up(&mut self, overdue: &Overdue) -> bool {
        let wait = self.0.remove(&overdue.ticket.token());
        wait.is_some_and(|wait| wait.impatient)
    }
}

impl Barrier {
    /// A participant arrives, and waits for the release of the phase of its arrival.
    pub(super) fn arrive_and_wait(
        &self,
        state: &mut State,
        participant: &Participant,
        arrival: &Report,
        explicit: bool,
        limit: Limit,
        token: Token,
    ) -> Submitted {
        if let Err(error) = self.context.runtime() {
            return Submitted::Done(Err(error));
        }
        let until = Instant::now() + limit.wait;
        let patience = until + limit.store;
        let mut ticket = self.ticket(token, self.options.op_timeout);
        let impatient = ticket.until().is_some_and(|own| patience < own);
        if impatient {
            ticket = ticket.not_after(patience);
        }
        let answer_due = ticket.until();
        let answered = match state.session.report(participant, arrival, explicit, ticket) {
            Err(error) => return Submitted::Done(Err(error)),
            Ok(Decision::Now(answered)) if answered.outcome == Outcome::Arrived => {
                if state.has_told(answered.phase) {
                    return Submitted::Done(Ok(state.outcome_of(participant, answered)));
                }
                let wait = Wait {
                    phase: answered.phase,
                    until,
                    ticket: Some(self.context.ticket(token, None)),
                    impatient: false,
                    first: Some(false),
                    own: self.in_turn(Some(participant)),
                };
                self.stay(state, token, wait);
                return Submitted::Waits(answered);
            }
            Ok(Decision::Now(answered)) => return self.known(state, token, answered),
            Ok(Decision::Later(answered)) => answered,
        };
        let waits = answered.outcome == Outcome::Arrived;
        if waits {
            let wait = Wait {
                phase: answered.phase,
                until,
                ticket: None,
                impatient,
                first: Some(answered.first),
                own: self.in_turn(Some(participant)),
            };
            state.waiting.0.insert(token, wait);
        }
        self.appoint(state, answer_due);
        let own = (token, Some(answered.clone()));
        match self.go_on(state, Vec::new(), Some(own)) {
            Submitted::Pending(_) if waits => match state.waiting.arrival(token) {
                Arrival::Owed => Submitted::Pending(Some(answered)),
                Arrival::Acknowledged => Submitted::Waits(answered),
                Arrival::Over => Submitted::Done(Ok(Done::Outcome(answered))),
            },
            submitted => submitted,
        }
    }

    /// Waits for the release of a phase without an arrival; [`Done::Over`] where its end is told already, an error where
    /// nothing can end it any more.
    pub(super) fn wait(
        &self,
        state: &mut State,
        phase: Phase,
        participant: Option<&Participant>,
        limit: Limit,
        token: Token,
    ) -> Submitted {
        if let Err(error) = self.context.runtime() {
            return Submitted::Done(Err(error));
        }
        if let Some(own) = participant.filter(|_| state.has_told(phase))
            && let Some(done) = state.turn_of(own, phase)
        {
            return Submitted::Done(Ok(done));
        }
        if state.has_fired(phase) || state.broken_told || state.bug.is_some() {
            return Submitted::Done(Ok(Done::Over));
        }
        if let Some(error) = state.session.refused() {
            return Submitted::Done(Err(error.clone()));
        }
        let wait = Wait {
            phase,
            until: Instant::now() + limit.wait,
            ticket: Some(self.context.ticket(token, None)),
            impatient: false,
            first: None,
            own: self.in_turn(participant),
        };
        self.stay(state, token, wait);
        Submitted::Pending(None)
    }

    fn stay(&self, state: &mut State, token: Token, wait: Wait) {
        let until = wait.until;
        state.waiting.0.insert(token, wait);
        self.appoint(state, Some(until));
    }

    /// Nobody waits for the call with this token any more. What it reported stands, and is delivered.
    pub fn cancel(&self, token: Token) {
        let mut state = self.state.lock();
        if let Some(ticket) = state.waiting.0.remove(&token).and_then(|wait| wait.ticket) {
            let _nobody_waits = ticket.redeem();
        }
    }

    /// What has become of the arrivals of these calls.
    pub fn arrivals(&self, tokens: impl IntoIterator<Item = Token>) -> Vec<Arrival> {
        let state = self.state.lock();
        let arrivals = tokens.into_iter().map(|t| state.waiting.arrival(t));
        arrivals.collect()
    }

    /// The answer to a report: of a call that waits for its phase it is not told where it is as expected.
    pub(super) fn answer(
        &self,
        state: &mut State,
        ticket: Ticket,
        result: Result<Done, Error>,
    ) -> Option<(Ticket, Result<Done, Error>)> {
        let fired = state.fired.keys().next_back();
        let Some(wait) = state.waiting.0.get_mut(&ticket.token()) else {
            return Some((ticket, result));
        };
        let is_expected = matches!(&result, Ok(Done::Outcome(a))
            if a.outcome == Outcome::Arrived && (a.phase, Some(a.first)) == (wait.phase, wait.first));
        if is_expected && fired < Some(&wait.phase) {
            let until = wait.until;
            wait.ticket = Some(ticket);
            self.appoint(state, Some(until));
            return None;
        }
        let own = state.waiting.0.remove(&ticket.token()).and_then(|w| w.own);
        let result = match (own, result) {
            (Some(own), Ok(Done::Outcome(answered))) => Ok(state.outcome_of(&own, answered)),
            (_, result) => result,
        };
        Some((ticket, result))
    }
}

impl State {
    fn has_fired(&self, phase: Phase) -> bool {
        self.fired.keys().next_back() >= Some(&phase)
    }

    /// Whether those who arrived in the phase have been told when they go.
    fn has_told(&self, phase: Phase) -> bool {
        self.has_fired(phase) || self.announced.contains_key(&phase)
    }

    /// The news of a release: whoever cannot go by it alone hears that before.
    pub(super) fn release_all(
        &mut self,
        released: Emission,
        phase: Phase,
        news: &mut Vec<Emission>,
    ) {
        let freed = self.waiting.release(phase);
        let owed = freed.owed.into_iter();
        news.extend(owed.map(|token| Emission::Owed { token }));
        news.push(released);
        news.extend(Emission::over(freed.at_once));
        self.take_turns(freed.in_turn, news);
    }

    /// Nobody will be released any more: whoever waits hears why, each by itself. What was acknowledged stands.
    pub(super) fn refuse_all(&mut self, error: &Error, news: &mut Vec<Emission>) {
        for wait in self.waiting.take_waits(|_| true) {
            let standing = wait.first.map(|first| Answered {
                outcome: Outcome::Arrived,
                index: 0,
                phase: wait.phase,
                first,
            });
            news.extend(wait.ticket.map(|ticket| Emission::Done {
                ticket,
                result: Err(error.clone()),
                standing,
            }));
        }
    }

    /// Whoever waits ends by the news of a break.
    pub(super) fn break_all(&mut self, broken: Emission, news: &mut Vec<Emission>) {
        let over = self.waiting.take_acknowledged();
        news.push(broken);
        news.extend(Emission::over(over));
    }
}

/// A call's time is over: what the store has to say to that is asked by the caller.
pub(super) fn time_is_over(ticket: Ticket, standing: Option<Answered>) -> Emission {
    let error = Error::Timeout("the call has waited long enough".into());
    Emission::Done {
        ticket,
        result: Err(error),
        standing,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tenant::tests::{Ended, alone};
    use super::*;
    use crate::engine::Call;
    use crate::engine::deadlines::Waits;

    /// Nothing else keeps a barrier awake that its store has refused after a reconnection.
    #[test]
    fn a_barrier_at_which_somebody_waits_does_not_retire() {
        let ended = Arc::new(Ended::default());
        let (_engine, barrier) = alone(&ended);
        let limit = Limit {
            wait: Duration::from_secs(300),
            ..Limit::default()
        };
        assert!(matches!(
            barrier.submit(Call::Wait(Phase(0), None, limit), 7),
            Submitted::Pending(None)
        ));
        let error = Error::store("other options");
        barrier.state.lock().session.refuse(error, &mut Vec::new());
        assert_eq!(barrier.retire(), None);
        assert!(!barrier.forget());
        barrier.end_overdue(Instant::now() + limit.wait);
        assert_eq!(*ended.0.lock(), [7]);
        assert!(barrier.retire().is_some());
        assert!(barrier.forget());
    }
}
