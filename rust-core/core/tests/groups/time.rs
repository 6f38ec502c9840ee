//! What time alone brings, over both stores.

use barrier_core::group::memory::{SETTLE_MAX, SILENT_MAX};
use barrier_core::group::options::GroupOptions;
use barrier_core::group::protocol::{Answer, Item, ItemAnswer, Op, Reply, Request};
use barrier_core::group::redis::SCRIPT;
use barrier_core::ids::{Incarnation, Participant, ProcessId};

use crate::stores::{Memory, Real, Store};
use crate::support::RedisServer;

fn options() -> GroupOptions {
    let json = br#"{"name":"time","size":2,"store":"redis://127.0.0.1","runId":"r"}"#;
    GroupOptions::from_json(json).expect("valid options")
}

/// Over both stores.
fn over_both(test: fn(&mut dyn Store)) {
    test(&mut Memory::default());
    let server = RedisServer::start();
    let mut connection = server.connection();
    test(&mut Real::new(&mut connection, &options(), SCRIPT, false));
}

/// A process that speaks for itself.
struct Speaker {
    id: ProcessId,
    incarnation: Option<Incarnation>,
    number: u32,
    floor: u32,
}

impl Speaker {
    fn opens(store: &mut dyn Store) -> Self {
        let mut speaker = Self {
            id: ProcessId::random(),
            incarnation: None,
            number: 0,
            floor: 0,
        };
        let open = Op::Open {
            new_incarnation: Incarnation::random(),
            options: options().shared.canonical(),
            expected: 0,
            acknowledged: (0, 0),
        };
        let reply = speaker.says(store, open);
        speaker.incarnation = reply.incarnation;
        speaker.says(store, Op::Items(vec![Item::Said]));
        speaker
    }

    fn says(&mut self, store: &mut dyn Store, op: Op) -> Reply {
        if !matches!(op, Op::Open { .. }) {
            self.number += 1;
        }
        let request = Request {
            process: self.id.clone(),
            incarnation: self.incarnation.clone(),
            epoch: 1,
            number: self.number,
            floor: self.floor,
            op,
        };
        store.apply(&request, &mut Vec::new())
    }

    fn beats(&mut self, store: &mut dyn Store) -> Reply {
        self.says(store, Op::Beat { closing: false })
    }

    fn joins(&mut self, store: &mut dyn Store, who: &str) -> Reply {
        let join = Item::Join {
            join: self.number.into(),
            participant: Participant::new(who).expect("valid"),
            payload: None,
        };
        self.says(store, Op::Items(vec![join]))
    }
}

#[test]
fn a_place_is_free_when_its_process_was_silent_for_long() {
    over_both(|store| {
        let mut killed = Speaker::opens(store);
        let mut other = Speaker::opens(store);
        killed.beats(store);
        assert!(!other.beats(store).settling);
        assert_eq!(killed.joins(store, "a").waiting, 1);
        store.pass(SILENT_MAX - 1_000_000);
        assert_eq!(other.beats(store).waiting, 1, "it may still be alive");
        store.pass(2_000_000);
        let reply = other.beats(store);
        assert_eq!((reply.waiting, reply.processes), (0, 1));
        let waits = Answer::Items(vec![ItemAnswer::Waits]);
        assert_eq!(
            other.joins(store, "b").answer,
            waits,
            "nobody else is there"
        );
        assert_eq!(killed.beats(store).answer, Answer::Reopen);
    });
}

#[test]
fn who_does_not_answer_holds_nobody_up_for_long() {
    over_both(|store| {
        let mut killed = Speaker::opens(store);
        killed.joins(store, "a");
        store.pass(1_000_000); // it was heard before the other came
        let mut other = Speaker::opens(store);
        let reply = other.joins(store, "b");
        assert!(reply.settling && reply.formed.is_empty(), "{reply:?}");
        assert_eq!(other.joins(store, "c").waiting, 3);
        store.pass(SETTLE_MAX);
        let reply = other.beats(store);
        assert_eq!((reply.settling, reply.processes), (false, 1));
        let members = reply.formed.iter().flat_map(|f| &f.members);
        let members: Vec<_> = members.map(|m| m.participant.as_str()).collect();
        assert_eq!(members, ["b", "c"]);
    });
}

#[test]
fn a_store_that_knows_less_than_a_process_is_told() {
    over_both(|store| {
        let mut process = Speaker::opens(store);
        process.floor = 1;
        assert_eq!(process.beats(store).answer, Answer::Reopen);
    });
}

#[test]
fn a_process_that_goes_frees_its_places_at_once() {
    over_both(|store| {
        let mut goes = Speaker::opens(store);
        let mut stays = Speaker::opens(store);
        goes.beats(store);
        goes.joins(store, "a");
        goes.says(store, Op::Beat { closing: true });
        assert_eq!(stays.joins(store, "b").waiting, 1);
    });
}
