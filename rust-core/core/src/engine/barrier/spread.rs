//! Users of a release that go one after the other: each hears of its instant when the release's has come.

use std::time::Instant;

use crate::clock::wall_micros;
use crate::engine::news::Emission;
use crate::ids::{Participant, Phase};
use crate::ledger::Answered;
use crate::protocol::{Outcome, Release};
use crate::session::Done;
use crate::spread::Timetable;

use super::Barrier;
use super::state::State;
use super::waiting::InTurn;

impl Barrier {
    /// Whose own instant a call waits for.
    pub(super) fn in_turn(&self, participant: Option<&Participant>) -> Option<Participant> {
        let spread = self.options.shared.spread.is_some();
        participant.filter(|_| spread).cloned()
    }

    /// Tells those who go one after the other their instants, before the first of these. Without that the first ones hear of
    /// theirs too late, since telling 10,000 users takes some milliseconds.
    pub(super) fn announce(&self, release: &Release, received: Instant, at: i64) {
        if self.options.shared.spread.is_none() {
            return;
        }
        let mut state = self.state.lock();
        let newest = state.fired.keys().next_back();
        if state.gone || newest.is_some_and(|newest| *newest >= release.phase) {
            return;
        }
        let info = self.info_of(release, received, at);
        state.announced.insert(release.phase, info);
        self.draw_up(&mut state, release, at);
        let mut news = Vec::new();
        let calls = state.waiting.take_in_turn(release.phase);
        state.take_turns(calls, &mut news);
        state.outbox.append(&mut news);
        self.tell(state);
    }

    /// Reckons when the arrivals of a release go whose instant is `at`.
    pub(super) fn draw_up(&self, state: &mut State, release: &Release, at: i64) {
        let Some(spread) = self.options.shared.spread else {
            return;
        };
        state.forget_turns();
        let table = Timetable::new(
            spread,
            release,
            at,
            self.options.shared.parties.of(&release.counts, 0),
        );
        state.timetables.insert(release.phase, table);
    }
}

impl State {
    /// Nobody has to wait for an instant that has passed.
    pub(super) fn forget_turns(&mut self) {
        let now = wall_micros();
        self.timetables.retain(|_, table| table.last() > now);
    }

    /// What a participant is told that arrived in a released phase: its instant, where its release is spread. One that lies
    /// behind is told as well, since whoever measures wants to know it.
    pub(super) fn outcome_of(&self, participant: &Participant, answered: Answered) -> Done {
        let table = self.timetables.get(&answered.phase);
        match table.filter(|_| answered.outcome == Outcome::Arrived) {
            Some(table) => {
                let at = table.instant(answered.index, participant);
                Done::OutcomeAt(answered, at)
            }
            None => Done::Outcome(answered),
        }
    }

    /// The same of one that waits for the release of the phase in which it arrived.
    pub(super) fn turn_of(&self, participant: &Participant, phase: Phase) -> Option<Done> {
        let index = self.session.ledger().arrival(participant, phase)?;
        let answered = Answered {
            outcome: Outcome::Arrived,
            index,
            phase,
            first: false,
        };
        Some(self.outcome_of(participant, answered))
    }

    /// Tells those whose release has come when each of them goes, in that order.
    pub(super) fn take_turns(&self, calls: Vec<InTurn>, news: &mut Vec<Emission>) {
        let mut turns: Vec<_> = calls
            .into_iter()
            .map(|call| {
                let ledger = self.session.ledger();
                let answered = Answered {
                    outcome: Outcome::Arrived,
                    index: ledger.arrival(&call.participant, call.phase).unwrap_or(0),
                    phase: call.phase,
                    first: call.first,
                };
                let done = self.outcome_of(&call.participant, answered);
                (call.ticket, done)
            })
            .collect();
        turns.sort_by_key(|(_, done)| match done {
            Done::OutcomeAt(_, at) => *at,
            _ => i64::MIN,
        });
        news.extend(turns.into_iter().map(|(ticket, done)| Emission::Done {
            ticket,
            result: Ok(done),
            standing: None,
        }));
    }
}
