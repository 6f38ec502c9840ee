//! What time alone brings, over both stores.

use std::sync::Arc;

use barrier_core::group::memory::{FORM_MAX, SETTLE_MAX, SILENT_MAX};
use barrier_core::group::options::GroupOptions;
use barrier_core::group::protocol::{
    Answer, Formed, FormedBy, Item, ItemAnswer, Join, Member, Op, Reply, Request,
};
use barrier_core::group::redis::SCRIPT;
use barrier_core::ids::{Incarnation, Participant, ProcessId};
use barrier_core::protocol::StoreTime;

use crate::stores::{Memory, Real, Store};
use crate::support::RedisServer;

const SECOND: i64 = 1_000_000;

fn options(on_timeout: &str) -> GroupOptions {
    let json = format!(
        r#"{{"name":"time","size":2,"store":"redis://127.0.0.1","runId":"r","onTimeout":"{on_timeout}"}}"#
    );
    GroupOptions::from_json(json.as_bytes()).expect("valid options")
}

/// Over both stores.
fn over_both(test: fn(&mut dyn Store)) {
    test(&mut Memory::default());
    let server = RedisServer::start();
    let mut connection = server.connection();
    let options = options("throw");
    test(&mut Real::new(&mut connection, &options, SCRIPT, false));
}

/// A process that speaks for itself.
struct Speaker {
    id: ProcessId,
    incarnation: Option<Incarnation>,
    number: u32,
    floor: u32,
}

impl Speaker {
    /// It has come, and has yet to say what it knows.
    fn comes(store: &mut dyn Store, on_timeout: &str) -> Self {
        let mut speaker = Self {
            id: ProcessId::random(),
            incarnation: None,
            number: 0,
            floor: 0,
        };
        let open = Op::Open {
            new_incarnation: Incarnation::random(),
            options: options(on_timeout).shared.canonical(),
            expected: 0,
            acknowledged: (0, 0),
        };
        let reply = speaker.says(store, open);
        speaker.incarnation = reply.incarnation;
        speaker
    }

    fn opens(store: &mut dyn Store) -> Self {
        let mut speaker = Self::comes(store, "throw");
        speaker.item(store, Item::Said);
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

    /// The same after so much time, in which it beats like any process that waits to hear of others.
    fn beats_for(&mut self, store: &mut dyn Store, seconds: i64) -> Reply {
        let mut reply = self.beats(store);
        for _ in 0..seconds {
            store.pass(SECOND);
            reply = self.beats(store);
        }
        reply
    }

    fn item(&mut self, store: &mut dyn Store, item: Item) -> Reply {
        self.says(store, Op::Items(vec![item]))
    }

    fn joins(&mut self, store: &mut dyn Store, who: &str) -> Reply {
        let join = Item::Join {
            join: self.number.into(),
            participant: participant(who),
            payload: None,
        };
        self.item(store, join)
    }

    fn expires(&mut self, store: &mut dyn Store, who: &str, join: Join) -> Answer {
        let participant = participant(who);
        self.item(store, Item::Expire { join, participant }).answer
    }
}

fn participant(id: &str) -> Participant {
    Participant::new(id).expect("valid")
}

/// The members of the groups that an answer tells of.
fn members(reply: &Reply) -> Vec<Vec<&str>> {
    let formed = reply.formed.iter();
    formed
        .map(|f| f.members.iter().map(|m| m.participant.as_str()).collect())
        .collect()
}

#[test]
fn a_place_is_free_when_its_process_was_silent_for_long() {
    over_both(|store| {
        let mut killed = Speaker::opens(store);
        let mut other = Speaker::opens(store);
        killed.beats(store);
        assert!(!other.beats(store).settling);
        assert_eq!(killed.joins(store, "a").waiting, 1);
        let silent = SILENT_MAX / SECOND;
        assert_eq!(
            other.beats_for(store, silent - 5).waiting,
            1,
            "it may still be alive"
        );
        let reply = other.beats_for(store, 6);
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
        store.pass(SECOND); // it was heard before the other came
        let mut other = Speaker::opens(store);
        let reply = other.joins(store, "b");
        assert!(reply.settling && reply.formed.is_empty(), "{reply:?}");
        assert_eq!(other.joins(store, "c").waiting, 3);
        other.beats_for(store, SETTLE_MAX / SECOND - 1);
        store.pass(SECOND);
        let reply = other.beats(store);
        assert_eq!((reply.settling, reply.processes), (false, 1));
        assert_eq!(members(&reply), [["b", "c"]]);
    });
}

#[test]
fn who_speaks_is_waited_for_however_long_it_takes() {
    over_both(|store| {
        let mut one = Speaker::opens(store);
        let mut slow = Speaker::comes(store, "throw");
        one.joins(store, "a");
        let joined = Join::from(one.number);
        one.joins(store, "b");
        for _ in 0..4 {
            one.beats_for(store, SETTLE_MAX / SECOND - 1);
            let reply = slow.beats(store);
            assert!(reply.settling && reply.groups == 0, "{reply:?}");
        }
        let of = |process: &Speaker, who: &str, join| Member {
            process: process.id.clone(),
            join,
            participant: participant(who),
            payload: None,
        };
        let formed = Formed {
            group: 7,
            why: FormedBy::All,
            at: StoreTime(1),
            members: vec![of(&slow, "c", 1), of(&one, "a", joined - 1)],
        };
        slow.item(store, Item::Known(Arc::new(formed)));
        let reply = slow.item(store, Item::Said);
        assert!(!reply.settling && reply.formed.is_empty(), "{reply:?}");
        assert_eq!(reply.waiting, 1, "a is in the group that was heard of");

        let mut silent = Speaker::comes(store, "throw");
        assert!(one.beats(store).settling);
        slow.beats(store);
        let reply = one.beats_for(store, SETTLE_MAX / SECOND + 1);
        assert!(!reply.settling, "who begins and falls silent is not");
        assert_eq!(silent.beats(store).answer, Answer::Ok);
    });
}

#[test]
fn a_clock_that_is_set_changes_nothing() {
    const HOUR: i64 = 3600 * SECOND;
    over_both(|store| {
        let mut one = Speaker::opens(store);
        let mut other = Speaker::comes(store, "throw");
        store.pass(HOUR);
        assert!(one.beats(store).settling, "nobody was silent for so long");
        store.pass(-2 * HOUR);
        one.beats(store);
        let reply = other.item(store, Item::Said);
        assert_eq!((reply.settling, reply.processes), (false, 2));
        store.pass(2 * HOUR);
        assert_eq!(one.beats(store).processes, 2, "the other is there");
        store.pass(-HOUR);
        assert_eq!(other.beats_for(store, SILENT_MAX / SECOND + 1).processes, 1);
    });
}

fn waits() -> Answer {
    Answer::Items(vec![ItemAnswer::Waits])
}

/// Of a size of two, whose time-outs release.
fn over_both_releasing(test: fn(&mut dyn Store)) {
    test(&mut Memory::default());
    let server = RedisServer::start();
    let mut connection = server.connection();
    let options = options("release");
    test(&mut Real::new(&mut connection, &options, SCRIPT, false));
}

#[test]
fn a_time_out_while_no_group_forms_is_decided_when_they_form_again() {
    over_both_releasing(|store| {
        let mut one = Speaker::comes(store, "release");
        let mut slow = Speaker::comes(store, "release");
        one.item(store, Item::Said);
        one.joins(store, "a");
        let joined = Join::from(one.number) - 1;
        assert_eq!(one.expires(store, "a", joined), waits());
        slow.joins(store, "b");
        slow.joins(store, "c");
        let reply = slow.item(store, Item::Said);
        assert_eq!(members(&reply), [["a", "b"]], "those who wait come first");
        assert_eq!((reply.formed[0].why, reply.waiting), (FormedBy::All, 1));

        let slower = Speaker::comes(store, "release");
        one.joins(store, "d");
        assert_eq!(one.beats(store).waiting, 2, "{:?}", slower.id);
    });
}

#[test]
fn whose_time_is_over_is_released_with_those_who_wait_and_who_leaves_is_not() {
    over_both_releasing(|store| {
        let mut one = Speaker::comes(store, "release");
        one.item(store, Item::Said);
        let mut slow = Speaker::comes(store, "release");
        one.joins(store, "a");
        let joined = Join::from(one.number) - 1;
        assert_eq!(one.expires(store, "a", joined), waits());
        let reply = slow.item(store, Item::Said);
        // One who beat before is heard by its next operation.
        let reply = if reply.settling {
            one.beats(store)
        } else {
            reply
        };
        assert_eq!(members(&reply), [["a"]]);
        assert_eq!(reply.formed[0].why, FormedBy::Timeout);

        let mut slower = Speaker::comes(store, "release");
        one.joins(store, "b");
        let join = Join::from(one.number) - 1;
        assert_eq!(one.expires(store, "b", join), waits());
        let participant = participant("b");
        one.item(store, Item::Leave { join, participant });
        slow.beats(store);
        let reply = slower.joins(store, "c");
        assert!(reply.settling);
        let reply = slower.item(store, Item::Said);
        assert_eq!((reply.settling, reply.groups, reply.waiting), (false, 1, 1));
    });
}

#[test]
fn who_gives_up_does_so_when_groups_form() {
    over_both(|store| {
        let mut one = Speaker::comes(store, "throw");
        one.item(store, Item::Said);
        let mut slow = Speaker::comes(store, "throw");
        let gives_up = |store: &mut dyn Store, one: &mut Speaker, join| {
            let participant = participant("a");
            one.item(store, Item::GiveUp { join, participant }).answer
        };
        one.joins(store, "a");
        let joined = Join::from(one.number) - 1;
        assert_eq!(gives_up(store, &mut one, joined), waits());
        assert!(!slow.item(store, Item::Said).settling || !one.beats(store).settling);
        let left = Answer::Items(vec![ItemAnswer::Left]);
        assert_eq!(gives_up(store, &mut one, joined), left);
        assert_eq!(one.beats(store).waiting, 0);
    });
}

#[test]
fn a_crowd_forms_its_groups_in_parts() {
    over_both_releasing(|store| {
        let mut one = Speaker::comes(store, "release");
        one.item(store, Item::Said);
        let mut slow = Speaker::comes(store, "release");
        let crowd = 2 * FORM_MAX as u64 + 21;
        for first in (0..crowd).step_by(500) {
            let joins = (first..crowd.min(first + 500)).map(|n| Item::Join {
                join: n,
                participant: participant(&n.to_string()),
                payload: None,
            });
            one.says(store, Op::Items(joins.collect()));
        }
        let reply = slow.item(store, Item::Said);
        assert_eq!(reply.groups as usize, FORM_MAX / 2);
        assert!(reply.more && !reply.settling);
        let last = crowd - 1;
        let answer = one.item(
            store,
            Item::Expire {
                join: last,
                participant: participant(&last.to_string()),
            },
        );
        assert_eq!((answer.answer, answer.more), (waits(), true));
        let reply = slow.beats(store);
        assert!(!reply.more);
        assert_eq!((u64::from(reply.groups), reply.waiting), (crowd / 2 + 1, 0));
        let last = reply.formed.last().expect("a group");
        assert_eq!((last.why, last.members.len()), (FormedBy::Timeout, 1));
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
