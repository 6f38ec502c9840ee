//! Tests: a process that has let go of its barrier opens it again and finds in the store what it reported before.

use super::*;
use crate::protocol::{Outcome, Reply};
use crate::store::memory::MemoryStore;

/// Far more than any exchange of these tests takes.
const ENDLESS: usize = 50;

struct Process {
    session: Session,
    store: MemoryStore,
    now: i64,
    opens: usize,
}

impl Process {
    fn start(more: &str) -> Self {
        let json =
            format!(r#"{{"name":"b","parties":3,"store":"redis://127.0.0.1","runId":"r"{more}}}"#);
        let options = BarrierOptions::from_json(json.as_bytes()).expect("options");
        let session = Session::new(ProcessId::random(), options);
        let mut process = Self {
            session,
            store: MemoryStore::default(),
            now: 0,
            opens: 0,
        };
        process.open();
        process
    }

    fn open(&mut self) {
        self.session.connected();
        self.session.open(1000.into(), &mut Vec::new());
        self.exchange();
    }

    /// Lets go of the barrier and opens it again: the store knows the process.
    fn again(&mut self) {
        let options = Arc::clone(&self.session.options);
        self.session = Session::new(self.session.process.clone(), options);
        self.opens = 0;
        self.open();
        assert_eq!(self.opens, 1);
    }

    fn apply(&mut self) -> Option<Reply> {
        let request = self.session.next_request()?;
        self.opens += usize::from(matches!(request.op, Op::Open { .. }));
        self.now += 1;
        let reply = self
            .store
            .apply(&request, StoreTime(self.now), &mut Vec::new());
        Some(reply)
    }

    fn exchange(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        let mut rounds = 0;
        while let Some(reply) = self.apply() {
            self.session.answered(reply, &mut events);
            rounds += 1;
            assert!(rounds < ENDLESS, "it never ends: {:?}", self.session);
        }
        events
    }

    /// What is answered to a report.
    fn report(&mut self, report: &Report) -> Answered {
        let participant = Participant::new("1").expect("valid");
        let decision = self.session.report(&participant, report, true, 1.into());
        match decision.expect("no conflict") {
            Decision::Now(answered) => answered,
            Decision::Later(_) => {
                let mut answers = self.exchange().into_iter().filter_map(|event| match event {
                    Event::Done(ticket, Ok(Done::Outcome(answered))) => {
                        let _answered = ticket.redeem();
                        Some(answered)
                    }
                    _ => None,
                });
                answers.next().expect("an answer")
            }
        }
    }
}

const ARRIVE: Report = Report::Arrive { owner: 1 };
const CYCLIC: &str = r#","cyclic":true"#;

#[test]
fn whoever_has_left_has_left_for_good_and_the_store_is_asked_once() {
    let mut process = Process::start(CYCLIC);
    assert!(process.report(&Report::Leave).first);
    process.again();
    let answered = process.report(&ARRIVE);
    assert_eq!((answered.outcome, answered.first), (Outcome::Left, false));
    assert_eq!(process.opens, 1, "nothing was lost");
    let repeat = process.report(&ARRIVE);
    assert_eq!((repeat.outcome, repeat.first), (Outcome::Left, false));

    // It is told again to a store that loses it.
    process.store = MemoryStore::default();
    process.session.want_beat();
    process.exchange();
    assert_eq!(process.session.counts().left, 1);
}

#[test]
fn whoever_has_arrived_leaves_from_the_next_phase_on() {
    let mut process = Process::start(CYCLIC);
    assert!(process.report(&ARRIVE).first);
    process.again();
    let answered = process.report(&Report::Leave);
    assert_eq!(
        (answered.outcome, answered.phase),
        (Outcome::Left, Phase(1))
    );
    assert_eq!(process.opens, 1, "nothing was lost");
    assert_eq!(process.session.counts().arrived, 1, "it has arrived here");
    process
        .session
        .release_now(Phase(0), 2.into(), &mut Vec::new());
    process.exchange();
    assert_eq!(process.session.counts().left, 1, "and is gone there");
}

#[test]
fn an_outcome_that_stands_is_no_first_one() {
    let mut process = Process::start(CYCLIC);
    assert!(process.report(&ARRIVE).first);
    process.again();
    assert!(!process.report(&ARRIVE).first);
    assert_eq!(process.opens, 1);

    let mut once = Process::start("");
    assert!(once.report(&ARRIVE).first);
    once.again();
    let leave = once.report(&Report::Leave);
    assert_eq!((leave.outcome, leave.first), (Outcome::Arrived, false));
    assert_eq!(once.report(&ARRIVE).outcome, Outcome::Arrived);
    assert_eq!(once.opens, 1);
}

#[test]
fn an_outcome_whose_answer_was_lost_is_a_first_one() {
    let mut process = Process::start(CYCLIC);
    let participant = Participant::new("1").expect("valid");
    let decision = process
        .session
        .report(&participant, &ARRIVE, true, 1.into());
    drop(decision.expect("an arrival"));
    process.apply().expect("a request");
    process.session.disconnected();
    process.session.connected();
    let answers = process.exchange();
    let is_first = |e: &Event| matches!(e, Event::Done(_, Ok(Done::Outcome(a))) if a.first);
    assert!(answers.iter().any(is_first), "{answers:?}");
}

/// A store that goes on saying so has not lost anything that opening it again would bring back.
#[test]
fn what_opening_again_does_not_bring_back_is_looked_for_with_the_beats() {
    let mut process = Process::start(CYCLIC);
    process.report(&ARRIVE);
    process.opens = 0;
    for beats in 1..5 {
        process.session.want_beat();
        while let Some(mut reply) = process.apply() {
            reply.held_outcomes = 0;
            process.session.answered(reply, &mut Vec::new());
            assert!(process.opens <= beats, "it never ends");
        }
        assert_eq!(process.opens, beats);
    }
}
