//! What a session sends, and what becomes of what it has sent: answered, refused, or lost.

use std::mem::take;

use crate::error::Error;
use crate::ids::Incarnation;
use crate::options::SharedOptions;
use crate::protocol::{Answer, ItemKind, Op, Others, Reply, Request};

use super::{Event, InFlight, Link, Session, Turn};

/// Batches that may be on their way at once: the store has the next one at hand when it has done one.
const BATCHES_IN_FLIGHT: usize = 2;

/// What [`Session::next_request`] makes.
#[derive(Debug, Clone, Copy)]
enum Next {
    Open(Others),
    Turn(Turn),
}

impl Turn {
    const ALL: [Self; 3] = [Self::Outcomes, Self::End, Self::Beat];

    /// All of them, beginning with the one after this.
    fn after(self) -> impl Iterator<Item = Self> {
        let next = Self::ALL
            .iter()
            .position(|t| *t == self)
            .map_or(0, |at| at + 1);
        Self::ALL
            .into_iter()
            .cycle()
            .skip(next)
            .take(Self::ALL.len())
    }
}

impl Session {
    /// What there is to send now. One operation is on its way at a time, and what is queued meanwhile goes as one batch;
    /// but behind a batch another one of its kind may go, if it is full: fewer would only make more work for the store.
    /// Outcomes, ends and beats take turns, so that an abort need not wait until nobody arrives any more.
    fn next_op(&self) -> Option<Next> {
        let next_turn = |last: Turn| last.after().find(|turn| self.has(*turn));
        match (self.in_flight.back(), &self.link) {
            (Some(InFlight::Outcomes(batch)), Link::Live) => {
                // A second one would say that the first has come, and the store might refuse that.
                let alone = self.ledger.census().is_some();
                let room = !alone && self.in_flight.len() < BATCHES_IN_FLIGHT;
                let nobody_else = next_turn(Turn::Outcomes) == Some(Turn::Outcomes);
                (room && nobody_else && self.ledger.owes_full_batch_like(batch))
                    .then_some(Next::Turn(Turn::Outcomes))
            }
            // A first open is for somebody who waits for it.
            (None, Link::MustOpen(others)) if self.registered || !self.opening.is_empty() => {
                Some(Next::Open(*others))
            }
            (None, Link::Live) => next_turn(self.last).map(Next::Turn),
            _ => None,
        }
    }

    pub(super) fn has(&self, turn: Turn) -> bool {
        match turn {
            Turn::Outcomes => self.ledger.owes() && self.broken.is_none(),
            Turn::End => !self.ends.is_empty(),
            Turn::Beat => self.beat_wanted || !self.expired.is_empty() || self.owes_census(),
        }
    }

    /// Whether [`Session::next_request`] has something to send.
    #[must_use]
    pub fn has_request(&self) -> bool {
        self.next_op().is_some()
    }

    /// The next operation to send, until there is none. Answers come in the same order.
    pub fn next_request(&mut self) -> Option<Request> {
        let open = self.ledger.open();
        let next = self.next_op()?;
        if let Next::Turn(turn) = next {
            self.last = turn;
        }
        let (in_flight, phase, resend, op) = match next {
            Next::Open(others) => {
                let op = Op::Open {
                    new_incarnation: Incarnation::random(),
                    options: self.canonical.clone(),
                    reasons: self.reasons.iter().cloned().collect(),
                    last_release: self.releases.values().next_back().cloned().map(Box::new),
                    broken: self.broken.clone(),
                    others,
                    push_latency: self.push_latency,
                };
                (InFlight::Open(others), open, self.registered, op)
            }
            Next::Turn(Turn::Outcomes) => {
                let (batch, items) = self.ledger.next_batch()?;
                let (phase, resend) = (batch.phase(), batch.resend());
                (
                    InFlight::Outcomes(batch),
                    phase,
                    resend,
                    Op::Outcomes(items),
                )
            }
            Next::Turn(Turn::End) => {
                let end = self.ends.pop_front()?;
                let (phase, resend, op) = (end.phase, end.resend, end.op.clone());
                (InFlight::End(end), phase, resend, op)
            }
            Next::Turn(Turn::Beat) => {
                self.beat_wanted = false;
                let expired = take(&mut self.expired);
                let op = Op::Beat {
                    push_latency: self.push_latency,
                    closing: self.closing,
                };
                (InFlight::Beat(expired), open, false, op)
            }
        };
        let mut census = self.ledger.census();
        if let (Some(census), InFlight::Open(_)) = (&mut census, &in_flight) {
            census.owing += self.ledger.acknowledged().0; // they are told again after it
        }
        // Of an opening the store does not ask whether anybody is waited for any more, and of an end it takes no census.
        self.told = match &in_flight {
            InFlight::Open(_) => None,
            InFlight::End(_) => self.told,
            InFlight::Outcomes(_) | InFlight::Beat(_) => census,
        };
        self.in_flight.push_back(in_flight);
        let mut reasons: Vec<Box<str>> = self.known_reasons().map(Into::into).collect();
        if let Op::Outcomes(items) = &op {
            for item in items {
                if let ItemKind::Failed(reason) = &item.what
                    && !reasons.iter().any(|known| **known == *reason.as_str())
                {
                    reasons.push(reason.as_str().into());
                }
            }
        }
        Some(Request {
            process: self.process.clone(),
            incarnation: self.incarnation.clone(),
            phase,
            resend,
            census,
            reasons,
            op,
        })
    }

    /// The answer to the oldest operation on its way.
    pub fn answered(&mut self, mut reply: Reply, events: &mut Vec<Event>) {
        let Some(in_flight) = self.in_flight.pop_front() else {
            return;
        };
        let is_beat = matches!(in_flight, InFlight::Beat(_));
        match (std::mem::replace(&mut reply.answer, Answer::Ok), in_flight) {
            (Answer::Reopen, in_flight) => {
                self.send_again(in_flight);
                self.link = Link::MustOpen(Others::Accept);
                return;
            }
            (Answer::Options(theirs), _) => {
                let error = SharedOptions::difference(&self.canonical, &theirs);
                self.refuse(error.into(), events);
                return;
            }
            (Answer::Others { released }, InFlight::Open(others)) => {
                let since = match others {
                    Others::HeardAfter(then) => then,
                    _ => reply.now,
                };
                self.link = Link::AwaitOthers { since, released };
                if others == Others::Refuse {
                    events.push(Event::SayHello);
                }
                return;
            }
            (_, InFlight::Open(_)) => self.opened(&reply, events),
            (Answer::Items(answers), InFlight::Outcomes(batch)) => {
                let late = self.items(batch, answers, events);
                self.learn(&reply, events);
                events.extend(late);
            }
            (answer, InFlight::End(end)) => {
                self.learn(&reply, events);
                self.ended(*end, &answer, events);
            }
            (_, InFlight::Beat(expired)) => {
                self.learn(&reply, events);
                for (ticket, phase) in expired {
                    let known = self
                        .ending_of(phase)
                        .unwrap_or_else(|| Err(Error::Timeout("the phase is not released".into())));
                    events.push(Event::Done(ticket, known));
                }
            }
            (_, InFlight::Outcomes(batch)) => self.ledger.take_back(batch),
        }
        self.check_memory(&reply, is_beat);
    }

    /// The connection is gone; what was on its way may or may not have been executed.
    pub fn disconnected(&mut self) {
        // The last one first: each goes before all that is queued.
        while let Some(last) = self.in_flight.pop_back() {
            self.send_again(last);
        }
        if !matches!(self.link, Link::Refused(_)) {
            self.link = Link::Down;
        }
    }

    /// The oldest operation on its way was not answered: it goes again.
    pub fn no_answer(&mut self) {
        if let Some(oldest) = self.in_flight.pop_front() {
            self.send_again(oldest);
        }
    }

    fn send_again(&mut self, in_flight: InFlight) {
        self.told = None;
        match in_flight {
            InFlight::Open(_) => {}
            InFlight::Outcomes(batch) => self.ledger.take_back(batch),
            // All who wanted it were told that it failed, and may have gone on as if it had.
            InFlight::End(end) if end.tickets.is_empty() => {}
            InFlight::End(mut end) => {
                end.resend = true;
                self.ends.push_front(end);
            }
            InFlight::Beat(expired) => {
                self.expired.splice(0..0, expired);
                self.beat_wanted = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Participant, ProcessId};
    use crate::ledger::{Report, Token};
    use crate::options::BarrierOptions;
    use crate::protocol::StoreTime;
    use crate::store::memory::MemoryStore;
    use crate::ticket::Ticket;

    /// A live session with batches of two and a store of its own.
    fn live() -> (Session, MemoryStore) {
        let json = br#"{"name":"b","parties":9,"store":"redis://127.0.0.1","runId":"r"}"#;
        let mut options = BarrierOptions::from_json(json).expect("options");
        options.batch_max = 2;
        let mut session = Session::new(ProcessId::random(), options);
        let mut store = MemoryStore::default();
        session.connected();
        session.open(1.into(), &mut Vec::new());
        exchange(&mut session, &mut store);
        (session, store)
    }

    fn arrive(session: &mut Session, users: std::ops::RangeInclusive<u64>) {
        for user in users {
            let participant = Participant::new(&user.to_string()).expect("valid");
            let report = Report::Arrive { owner: user };
            session
                .report(&participant, &report, true, (100 + user).into())
                .expect("an arrival");
        }
    }

    fn sent(session: &mut Session) -> Vec<Request> {
        std::iter::from_fn(|| session.next_request()).collect()
    }

    fn answer(session: &mut Session, store: &mut MemoryStore, request: &Request) -> Vec<Token> {
        let reply = store.apply(request, StoreTime(1), &mut Vec::new());
        let mut events = Vec::new();
        session.answered(reply, &mut events);
        let done = |event| match event {
            Event::Done(ticket, Ok(_)) => Some(ticket.redeem()),
            _ => None,
        };
        events.into_iter().filter_map(done).collect()
    }

    fn exchange(session: &mut Session, store: &mut MemoryStore) -> Vec<Token> {
        let requests = sent(session);
        requests
            .iter()
            .flat_map(|r| answer(session, store, r))
            .collect()
    }

    /// Who is in the batches, in order.
    fn users(requests: &[Request]) -> Vec<Vec<&str>> {
        requests
            .iter()
            .map(|request| match &request.op {
                Op::Outcomes(items) => items.iter().map(|i| i.participant.as_str()).collect(),
                other => panic!("not outcomes: {other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_lone_arrival_goes_at_once_and_a_full_batch_behind_it() {
        let (mut session, mut store) = live();
        arrive(&mut session, 1..=1);
        let first = sent(&mut session);
        assert_eq!(users(&first), [["1"]]);
        arrive(&mut session, 2..=2);
        assert!(!session.has_request(), "half a batch waits for the answer");
        arrive(&mut session, 3..=6);
        let second = sent(&mut session);
        assert_eq!(users(&second), [["2", "3"]]);
        assert!(!session.has_request(), "two are on their way");
        assert_eq!(answer(&mut session, &mut store, &first[0]), [101]);
        let third = sent(&mut session);
        assert_eq!(users(&third), [["4", "5"]]);
        assert_eq!(answer(&mut session, &mut store, &second[0]), [102, 103]);
        assert!(!session.has_request(), "one alone waits for the answer");
        assert_eq!(answer(&mut session, &mut store, &third[0]), [104, 105]);
        assert_eq!(users(&sent(&mut session)), [["6"]]);
    }

    #[test]
    fn what_was_refused_goes_again_when_all_is_answered() {
        let (mut session, _) = live();
        arrive(&mut session, 1..=4);
        assert_eq!(users(&sent(&mut session)), [["1", "2"], ["3", "4"]]);
        session.no_answer();
        assert!(!session.has_request(), "the second one is still on its way");
        session.no_answer();
        let again = sent(&mut session);
        assert!(again.iter().all(|r| r.resend));
        let mut all = users(&again).concat();
        all.sort_unstable();
        assert_eq!(all, ["1", "2", "3", "4"]);
    }

    #[test]
    fn a_lost_connection_and_a_new_one_record_everything_once() {
        let (mut session, mut store) = live();
        arrive(&mut session, 1..=5);
        let lost = sent(&mut session);
        // The first was executed, its answer is lost, and so is the second.
        store.apply(&lost[0], StoreTime(1), &mut Vec::new());
        session.disconnected();
        assert!(!session.has_request(), "there is no connection");
        session.connected();
        let mut done = Vec::new();
        while session.has_request() {
            done.extend(exchange(&mut session, &mut store));
        }
        done.sort_unstable();
        assert_eq!(done, [101, 102, 103, 104, 105]);
        assert_eq!(session.counts().arrived, 5);
    }

    #[test]
    fn an_end_that_was_said_to_have_failed_is_not_sent_again() {
        let until = std::time::Instant::now();
        let abort = |session: &mut Session, token, until| {
            let ticket = Ticket::new(token, until, std::sync::Arc::new(Nobody));
            session.abort("why", ticket, &mut Vec::new());
            assert_eq!(sent(session).len(), 1);
        };
        let reconnect = |session: &mut Session| {
            session.disconnected();
            session.connected();
            let open = sent(session);
            let mut store = MemoryStore::default();
            answer(session, &mut store, &open[0]);
            sent(session)
        };
        let (mut session, _) = live();
        abort(&mut session, 1, Some(until));
        let mut overdue = Vec::new();
        session.take_overdue(until, &mut overdue);
        let failed = overdue.into_iter().map(|o| o.ticket.redeem());
        assert_eq!(failed.collect::<Vec<_>>(), [1]);
        assert!(reconnect(&mut session).is_empty());

        // One that somebody still waits for is.
        abort(&mut session, 2, None);
        let again = reconnect(&mut session);
        assert!(matches!(
            again[..],
            [Request {
                op: Op::Abort { .. },
                ..
            }]
        ));
        for ticket in session.take_waiting() {
            assert_eq!(ticket.redeem(), 2);
        }
    }

    struct Nobody;

    impl crate::ticket::Issuer for Nobody {
        fn lost(&self, token: Token) {
            panic!("call {token} was lost");
        }
    }

    #[test]
    fn a_store_without_memory_is_told_everything_again_after_both_refusals() {
        let (mut session, _) = live();
        arrive(&mut session, 1..=4);
        let requests = sent(&mut session);
        let mut store = MemoryStore::default();
        for request in &requests {
            assert!(!session.has_request(), "the other one is still on its way");
            assert!(answer(&mut session, &mut store, request).is_empty());
        }
        let open = sent(&mut session);
        assert!(matches!(
            open[..],
            [Request {
                op: Op::Open { .. },
                ..
            }]
        ));
        answer(&mut session, &mut store, &open[0]);
        let mut done = exchange(&mut session, &mut store);
        done.sort_unstable();
        assert_eq!(done, [101, 102, 103, 104]);
    }
}
