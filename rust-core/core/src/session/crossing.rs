//! Tests: two processes at one store, where messages overtake answers and answers come without the messages.

use super::*;
use crate::protocol::{Outcome, Push, Reply};
use crate::store::memory::MemoryStore;

struct Pair {
    sessions: [Session; 2],
    store: MemoryStore,
    now: i64,
    pushes: Vec<Push>,
}

impl Pair {
    /// Neither has opened the barrier.
    fn new(more: &str) -> Self {
        let session = || {
            let json = format!(
                r#"{{"name":"b","parties":2,"store":"redis://127.0.0.1","runId":"r"{more}}}"#
            );
            let options = BarrierOptions::from_json(json.as_bytes()).expect("options");
            let mut session = Session::new(ProcessId::random(), options);
            session.connected();
            session.open(1000.into(), &mut Vec::new());
            session
        };
        Self {
            sessions: [session(), session()],
            store: MemoryStore::default(),
            now: 0,
            pushes: Vec::new(),
        }
    }

    /// Both have.
    fn open(more: &str) -> Self {
        let mut pair = Self::new(more);
        pair.exchange(0);
        pair.exchange(1);
        pair.sessions[0].want_beat();
        pair.exchange(0);
        pair.sessions[1].ask_others_again();
        pair.exchange(1);
        assert!(pair.sessions.iter().all(Session::is_live));
        pair.pushes.clear();
        pair
    }

    /// What the store answers to the next request.
    fn reply(&mut self, p: usize) -> Reply {
        let request = self.sessions[p].next_request().expect("a request");
        self.now += 1;
        let now = StoreTime(self.now);
        self.store.apply(&request, now, &mut self.pushes)
    }

    fn exchange(&mut self, p: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while self.sessions[p].has_request() {
            let reply = self.reply(p);
            self.sessions[p].answered(reply, &mut events);
        }
        events
    }

    fn arrive(&mut self, p: usize) {
        let user = p as u64 + 1;
        let participant = Participant::new(&user.to_string()).expect("valid");
        let report = Report::Arrive { owner: user };
        let decision = self.sessions[p].report(&participant, &report, true, user.into());
        drop(decision.expect("an arrival"));
    }

    fn hear(&mut self, p: usize) -> Vec<Event> {
        let mut events = Vec::new();
        for push in std::mem::take(&mut self.pushes) {
            self.sessions[p].pushed(&push, &mut events);
        }
        events
    }
}

const CYCLIC: &str = r#","cyclic":true"#;

#[test]
fn an_answer_that_a_message_overtook_tells_of_no_loss() {
    for more in [CYCLIC, r#","maxFailures":0"#] {
        let mut pair = Pair::open(more);
        pair.arrive(0);
        let older = pair.reply(0);
        if more == CYCLIC {
            pair.arrive(1);
        } else {
            pair.sessions[1].abort("enough", 9.into(), &mut Vec::new());
        }
        pair.exchange(1);
        assert!(!pair.hear(0).is_empty(), "the message is the first to come");
        pair.sessions[0].answered(older, &mut Vec::new());
        assert!(pair.sessions[0].is_live(), "{more}");
        assert_eq!(pair.sessions[0].counts().arrived, u32::from(more != CYCLIC));
        for ticket in pair.sessions[1].take_waiting() {
            let _ended = ticket.redeem();
        }
    }
}

#[test]
fn a_release_ends_the_counts_of_its_phase() {
    let mut pair = Pair::open(CYCLIC);
    pair.arrive(0);
    pair.exchange(0);
    pair.arrive(1);
    pair.exchange(1);
    assert_eq!(pair.sessions[0].counts().arrived, 1);
    pair.hear(0);
    assert_eq!(pair.sessions[0].ledger().open(), Phase(1));
    assert_eq!(pair.sessions[0].counts().arrived, 0, "nobody is there yet");

    // Without the message, with the next answer, which has the counts of the new phase.
    pair.arrive(1);
    pair.exchange(1);
    pair.sessions[0].want_beat();
    pair.exchange(0);
    assert_eq!(pair.sessions[0].counts().arrived, 1);
}

#[test]
fn whoever_is_late_hears_of_the_release_first() {
    let mut pair = Pair::open(r#","release":{"count":1}"#);
    pair.arrive(0);
    pair.exchange(0);
    pair.arrive(1);
    let told = pair.exchange(1);
    let at = |what: fn(&Event) -> bool| told.iter().position(what).expect("told");
    let released = at(|event| matches!(event, Event::Released(_)));
    let late = at(
        |event| matches!(event, Event::Done(_, Ok(Done::Outcome(a))) if a.outcome == Outcome::Late),
    );
    assert!(released < late, "{told:?}");
}

#[test]
fn a_greeting_before_the_answer_to_the_opening_is_answered_after_it() {
    let mut pair = Pair::new("");
    let opened = pair.reply(0);
    pair.exchange(1);
    assert!(pair.sessions[1].awaits_others());
    let process = pair.sessions[1].process().clone();
    pair.sessions[0].pushed(&Push::Hello { process }, &mut Vec::new());
    pair.sessions[0].answered(opened, &mut Vec::new());
    pair.exchange(0);
    pair.sessions[1].ask_others_again();
    pair.exchange(1);
    assert!(pair.sessions[1].is_live());
}
