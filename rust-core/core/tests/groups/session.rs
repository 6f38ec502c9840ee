//! What a process says and does not say: sessions over the memory store, one event at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use barrier_core::error::Error;
use barrier_core::group::memory::GroupStore;
use barrier_core::group::options::GroupOptions;
use barrier_core::group::protocol::{FormedBy, Item, Op, Push};
use barrier_core::group::session::{BATCH_MAX, Event, Session};
use barrier_core::ids::{Participant, ProcessId};
use barrier_core::protocol::StoreTime;
use barrier_core::ticket::{Ticket, Token};

/// So much more time the store has for its last word.
const LOOK: Duration = Duration::from_secs(1);

/// A process, and what its calls came to.
struct Process {
    session: Session,
    inbox: Vec<Push>,
    ends: Vec<String>,
    last_token: Token,
}

/// Processes and their store.
struct Scene {
    store: GroupStore,
    now: i64,
    processes: Vec<Process>,
    began: Instant,
}

impl Scene {
    fn new(size: u32, on_timeout: &str, processes: usize) -> Self {
        let json = format!(
            r#"{{"name":"s","size":{size},"store":"redis://127.0.0.1","runId":"r","onTimeout":"{on_timeout}"}}"#
        );
        let options = Arc::new(GroupOptions::from_json(json.as_bytes()).expect("valid options"));
        let processes = (0..processes).map(|_| {
            let mut session = Session::new(ProcessId::random(), Arc::clone(&options));
            session.connected();
            Process {
                session,
                inbox: Vec::new(),
                ends: Vec::new(),
                last_token: 0,
            }
        });
        let mut scene = Self {
            store: GroupStore::default(),
            now: 0,
            processes: processes.collect(),
            began: Instant::now(),
        };
        scene.exchange();
        scene
    }

    /// A user comes; its time is over at once, or never.
    fn join(&mut self, p: usize, who: &str, expires: bool) -> Token {
        let process = &mut self.processes[p];
        process.last_token += 1;
        let until = expires.then_some(self.began);
        let ticket = Ticket::new(process.last_token, until, Arc::new(Lost));
        let joined = process.session.join(&participant(who), 1, None, ticket);
        joined.expect("joins");
        process.last_token
    }

    /// The process sends one operation and hears its answer; whether it had any.
    fn say(&mut self, p: usize) -> bool {
        let Some(request) = self.processes[p].session.next_request() else {
            return false;
        };
        self.now += 1;
        let mut pushes = Vec::new();
        let reply = self.store.apply(&request, StoreTime(self.now), &mut pushes);
        let mut events = Vec::new();
        self.processes[p].session.answered(reply, &mut events);
        self.processes[p].take(events);
        for process in &mut self.processes {
            process.inbox.extend(pushes.iter().cloned());
        }
        true
    }

    /// Until nobody has anything to say.
    fn exchange(&mut self) {
        loop {
            let mut said = false;
            for p in 0..self.processes.len() {
                said |= self.say(p);
                let process = &mut self.processes[p];
                let mut events = Vec::new();
                for push in std::mem::take(&mut process.inbox) {
                    process.session.pushed(&push, &mut events);
                }
                process.take(events);
                process.session.flush();
            }
            if !said {
                return;
            }
        }
    }

    fn expire(&mut self, p: usize) {
        self.processes[p].session.expire(self.began);
    }

    /// Calls that the store has not answered by then.
    fn unanswered(&mut self, p: usize, after: Duration) -> Vec<Token> {
        let session = &mut self.processes[p].session;
        let (late, _) = session.take_unanswered(self.began + after, LOOK);
        late.into_iter().map(Ticket::redeem).collect()
    }

    fn reconnect(&mut self, p: usize) {
        self.processes[p].session.disconnected();
        self.processes[p].inbox.clear();
        self.processes[p].session.connected();
    }

    fn ends(&mut self, p: usize) -> Vec<String> {
        std::mem::take(&mut self.processes[p].ends)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for process in &mut self.processes {
            for ticket in process.session.take_all() {
                let _ = ticket.redeem();
            }
        }
    }
}

struct Lost;

impl barrier_core::ticket::Issuer for Lost {
    fn lost(&self, token: Token) {
        assert!(std::thread::panicking(), "the call {token} was lost");
    }
}

impl Process {
    fn take(&mut self, events: Vec<Event>) {
        for event in events {
            let (ticket, end) = match event {
                Event::Formed(ticket, placed) => {
                    let members = placed.formed.members.iter();
                    let members: Vec<_> = members.map(|m| m.participant.as_str()).collect();
                    let why = match placed.formed.why {
                        FormedBy::All => "",
                        FormedBy::Timeout => " by time-out",
                    };
                    (ticket, format!("{}{why}", members.join("+")))
                }
                Event::Left(ticket, left) => (ticket, format!("left {left}")),
                Event::GaveUp(ticket) => (ticket, "gave up".into()),
                Event::Failed(ticket, Error::Timeout(_)) => (ticket, "too long".into()),
                Event::Failed(ticket, error) => (ticket, error.to_string()),
            };
            self.ends.push(format!("{}: {end}", ticket.redeem()));
        }
    }
}

fn participant(id: &str) -> Participant {
    Participant::new(id).expect("valid")
}

#[test]
fn whose_call_has_failed_does_not_come_again_after_an_outage() {
    for on_timeout in ["throw", "release"] {
        let mut scene = Scene::new(2, on_timeout, 2);
        let call = scene.join(0, "a", true);
        scene.exchange();
        scene.processes[0].session.disconnected();
        scene.expire(0);
        assert_eq!(scene.unanswered(0, 2 * LOOK), [call]);
        scene.store = GroupStore::default();
        scene.reconnect(1);
        scene.join(1, "b", false);
        scene.reconnect(0);
        scene.exchange();
        assert!(
            scene.ends(1).is_empty(),
            "{on_timeout}: b waits for another"
        );
        assert_eq!(scene.store.look().1, [participant("b")]);
    }
}

#[test]
fn of_a_user_whose_calls_have_ended_only_that_it_leaves_is_said() {
    for on_timeout in ["throw", "release"] {
        let mut scene = Scene::new(2, on_timeout, 1);
        scene.join(0, "waits", false);
        scene.join(0, "fails", true);
        scene.expire(0);
        // The connection is there; it is the store that is slow.
        assert_eq!(scene.unanswered(0, 2 * LOOK), [2]);
        let request = scene.processes[0].session.next_request();
        let Some(Op::Items(items)) = request.map(|r| r.op) else {
            panic!("nothing is said");
        };
        let said = |item: &Item| match item {
            Item::Join { participant, .. } => format!("join {participant}"),
            Item::Leave { participant, .. } => format!("leave {participant}"),
            Item::GiveUp { participant, .. } => format!("give up {participant}"),
            other => format!("{other:?}"),
        };
        let said: Vec<_> = items.iter().map(said).collect();
        assert_eq!(said, ["join waits", "leave fails"], "{on_timeout}");
    }
}

#[test]
fn all_who_wait_are_released_together_after_an_outage() {
    let mut scene = Scene::new(5, "release", 1);
    scene.join(0, "a", true);
    scene.join(0, "b", false);
    scene.join(0, "c", false);
    scene.exchange();
    scene.processes[0].session.disconnected();
    scene.expire(0);
    scene.reconnect(0);
    scene.exchange();
    let together = ["1", "2", "3"].map(|call| format!("{call}: a+b+c by time-out"));
    assert_eq!(scene.ends(0), together);
}

#[test]
fn a_time_out_waits_while_no_group_forms() {
    let mut scene = Scene::new(3, "release", 2);
    scene.join(0, "a", true);
    scene.exchange();
    scene.store = GroupStore::default();
    scene.reconnect(0);
    while scene.say(0) {}
    scene.expire(0);
    while scene.say(0) {}
    assert!(scene.processes[0].session.is_settling());
    assert!(
        scene.unanswered(0, 60 * LOOK).is_empty(),
        "the store will decide"
    );
    scene.reconnect(1);
    scene.join(1, "b", false);
    scene.exchange();
    assert_eq!(scene.ends(0), ["1: a+b by time-out"]);
    assert_eq!(scene.ends(1), ["1: a+b by time-out"]);

    // A store that cannot be asked any more has so much time and no more.
    let call = scene.join(0, "c", true);
    scene.exchange();
    scene.processes[0].session.disconnected();
    scene.expire(0);
    assert_eq!(scene.unanswered(0, LOOK), [call]);
}

/// Process 1 has heard of the group of a, and the store has lost it before process 0 could hear of it.
fn lost_before_the_other_heard() -> Scene {
    let mut scene = Scene::new(2, "throw", 2);
    scene.join(0, "a", true);
    scene.exchange();
    scene.join(1, "b", false);
    while scene.say(1) {}
    assert_eq!(scene.ends(1), ["1: a+b"]);
    scene.store = GroupStore::default();
    scene.reconnect(0);
    while scene.say(0) {}
    assert!(scene.processes[0].session.is_settling());
    scene
}

#[test]
fn who_gives_up_while_no_group_forms_hears_first_of_what_others_know() {
    let mut scene = lost_before_the_other_heard();
    scene.expire(0);
    while scene.say(0) {}
    assert_eq!(scene.ends(0), [""; 0], "the other has yet to speak");
    assert!(scene.unanswered(0, 60 * LOOK).is_empty(), "it will");
    scene.reconnect(1);
    scene.exchange();
    assert_eq!(scene.ends(0), ["1: a+b"]);

    let mut scene = lost_before_the_other_heard();
    let mut events = Vec::new();
    let ticket = Ticket::new(7, None, Arc::new(Lost));
    let session = &mut scene.processes[0].session;
    session.leave(&participant("a"), ticket, &mut events);
    while scene.say(0) {}
    assert_eq!(scene.ends(0), [""; 0], "the other has yet to speak");
    scene.reconnect(1);
    scene.exchange();
    assert_eq!(scene.ends(0), ["1: a+b", "7: left false"]);
}

#[test]
fn who_gives_up_while_no_group_forms_does_so_when_groups_form() {
    let mut scene = Scene::new(3, "throw", 2);
    scene.join(0, "a", true);
    scene.exchange();
    scene.store = GroupStore::default();
    scene.reconnect(0);
    while scene.say(0) {}
    scene.expire(0);
    while scene.say(0) {}
    // The store loses its memory once more meanwhile.
    scene.store = GroupStore::default();
    scene.reconnect(0);
    while scene.say(0) {}
    assert_eq!(scene.ends(0), [""; 0]);
    scene.reconnect(1);
    scene.exchange();
    assert_eq!(scene.ends(0), ["1: too long"]);
    assert!(scene.store.look().1.is_empty(), "its place is free");
}

#[test]
fn a_process_that_says_again_what_it_knows_does_not_fail_its_users() {
    let mut scene = Scene::new(2, "throw", 2);
    scene.join(0, "a", true);
    scene.exchange();
    scene.reconnect(0);
    scene.say(0);
    scene.expire(0);
    assert!(scene.unanswered(0, 60 * LOOK).is_empty(), "it speaks");
    scene.exchange();
    assert_eq!(scene.ends(0), [""; 0], "the other may know of its group");
    scene.processes[0].session.want_beat(); // as often as it asks while others are waited for
    scene.exchange();
    assert_eq!(scene.ends(0), ["1: too long"]);
}

#[test]
fn each_of_two_calls_has_its_own_time() {
    let mut scene = Scene::new(2, "throw", 1);
    scene.join(0, "a", true);
    scene.join(0, "a", false);
    scene.exchange();
    scene.expire(0);
    scene.exchange();
    assert_eq!(scene.ends(0), ["1: too long"]);
    scene.join(0, "b", false);
    scene.exchange();
    assert_eq!(scene.ends(0), ["2: a+b", "3: a+b"]);

    // A group that formed before the shorter time was over has both.
    scene.join(0, "c", true);
    scene.join(0, "c", false);
    scene.join(0, "d", false);
    scene.expire(0);
    scene.exchange();
    assert_eq!(scene.ends(0), ["5: c+d", "4: c+d", "6: c+d"]);

    // The time of the longer call ends too, while the store is asked about the shorter one, which an outage interrupts.
    scene.join(0, "e", true);
    scene.join(0, "e", false);
    scene.exchange();
    scene.expire(0);
    scene.reconnect(0);
    scene.exchange();
    assert_eq!(scene.ends(0), ["7: too long"]);
}

#[test]
fn a_process_that_has_gone_does_not_come_back() {
    let mut scene = Scene::new(2, "throw", 2);
    scene.join(0, "a", false);
    scene.join(1, "b", false);
    scene.exchange(); // it knows a group, of which it might speak
    scene.join(0, "c", false);
    scene.exchange();
    scene.processes[0].session.close();
    scene.exchange();
    assert!(scene.processes[0].session.is_idle());
    assert!(scene.store.look().1.is_empty(), "its place is free");
    // Another comes, and asks who is there.
    scene.reconnect(1);
    scene.exchange();
    scene.processes[0].session.want_beat();
    assert!(!scene.processes[0].session.has_request());
    assert!(!scene.say(0), "it has gone");
    let (_, _, _, processes) = scene.processes[1].session.tally();
    assert_eq!(processes, 1);
}

#[test]
fn a_process_that_goes_says_what_a_store_has_forgotten_and_then_that_it_goes() {
    let mut scene = Scene::new(2, "throw", 2);
    scene.join(1, "b", false);
    while scene.say(1) {}
    scene.join(0, "a", false);
    while scene.say(0) {}
    assert_eq!(scene.ends(0), ["1: b+a"], "the other has not heard of it");
    scene.processes[1].inbox.clear();
    scene.store = GroupStore::default();
    scene.processes[0].session.close();
    while scene.say(0) {}
    scene.processes[0].session.want_beat();
    assert!(!scene.processes[0].session.has_request(), "it has gone");
    scene.reconnect(1);
    scene.exchange();
    assert_eq!(scene.ends(1), ["1: b+a"]);
    assert!(scene.processes[0].session.is_idle());
    let (_, _, _, processes) = scene.processes[1].session.tally();
    assert_eq!(processes, 1);

    let mut alone = Scene::new(2, "throw", 1);
    alone.store = GroupStore::default();
    alone.processes[0].session.close();
    alone.exchange();
    assert!(alone.processes[0].session.is_idle());
    assert_eq!(alone.store.look(), GroupStore::default().look());
}

#[test]
fn that_a_group_was_heard_of_survives_a_reconnect() {
    let mut scene = Scene::new(2, "throw", 1);
    scene.join(0, "a", false);
    scene.join(0, "b", false);
    while scene.say(0) {}
    assert_eq!(scene.ends(0), ["1: a+b", "2: a+b"]);
    scene.processes[0].session.flush(); // to be said next
    scene.reconnect(0);
    scene.exchange();
    assert_eq!(scene.store.look().2, 0, "all have heard");
}

#[test]
fn a_group_that_was_said_again_is_not_kept_for_those_who_have_heard_of_it() {
    let mut scene = Scene::new(2, "throw", 2);
    scene.join(0, "a", false);
    scene.join(1, "b", false);
    scene.exchange();
    assert_eq!(scene.store.look().2, 0);
    scene.reconnect(0);
    scene.exchange();
    assert_eq!(scene.store.look().2, 0, "the other has heard of it before");
}

#[test]
fn large_groups_are_said_again_in_parts() {
    const SIZE: usize = 400;
    let mut scene = Scene::new(400, "throw", 2);
    for round in 0..3 {
        for n in 0..SIZE {
            scene.join(n % 2, &format!("{round}-{n}"), false);
        }
        scene.exchange();
    }
    scene.reconnect(0);
    scene.say(0);
    let mut known = 0;
    while let Some(request) = scene.processes[0].session.next_request() {
        let Op::Items(items) = &request.op else {
            break;
        };
        let members = items.iter().map(|item| match item {
            Item::Known(formed) => formed.members.len(),
            _ => 0,
        });
        let members: usize = members.sum();
        assert!(members <= BATCH_MAX, "{members}");
        known += members;
        let reply = scene
            .store
            .apply(&request, StoreTime(scene.now), &mut Vec::new());
        scene.processes[0].session.answered(reply, &mut Vec::new());
    }
    assert_eq!(known, 3 * SIZE);
}

#[test]
fn each_group_counts_for_one_process_whoever_is_told() {
    let mut scene = Scene::new(2, "throw", 2);
    scene.join(0, "a", true);
    scene.exchange();
    scene.join(1, "b", false);
    scene.say(1); // the group has formed, and a's process has yet to hear of it
    scene.expire(0);
    assert_eq!(scene.unanswered(0, 2 * LOOK), [1]);
    scene.exchange();
    assert_eq!(scene.ends(1), ["1: a+b"]);
    let counted = |scene: &Scene| [0, 1].map(|p| scene.processes[p].session.counted());
    assert_eq!(counted(&scene), [1, 0], "nobody there was told");
    scene.join(1, "c", false);
    scene.join(0, "d", false);
    scene.join(1, "e", false);
    scene.join(0, "f", false);
    scene.exchange();
    scene.reconnect(0);
    scene.exchange();
    assert_eq!(counted(&scene).iter().sum::<u32>(), 3);
}
