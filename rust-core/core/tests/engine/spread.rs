//! Releases that let users go one after the other, and not before an instant.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use barrier_core::engine::{Barrier, Call, Limit, Submitted};
use barrier_core::error::Error;
use barrier_core::ids::Phase;
use barrier_core::ledger::Token;
use barrier_core::protocol::{Outcome, Why};
use barrier_core::session::Done;

use super::host::{Process, id};
use super::support::RedisServer;
use super::waits::acknowledged;
use super::with;

const LIMIT: Limit = Limit {
    wait: Duration::from_secs(300),
    store: Duration::from_secs(300),
};
/// In 2096: nobody gets there.
const AHEAD: &str = r#","releaseAt":4000000000000"#;
const MINUTE: &str = r#","spread":{"pace":{"spanMs":60000}}"#;

fn memory(parties: u32, more: &str) -> String {
    format!(r#"{{"store":"memory","name":"default","parties":{parties}{more}}}"#)
}

fn waiting(participant: u32) -> Call {
    Call::ArriveAndWait {
        participant: id(participant),
        owner: participant.into(),
        explicit: true,
        limit: LIMIT,
    }
}

/// The place of a call's arrival in its phase, and its instant after the release's in microseconds.
fn turn(process: &Process, barrier: &Barrier, token: Token, before: u32) -> (u32, i64) {
    let Done::OutcomeAt(answered, at) = process.done(token).expect("it arrived") else {
        panic!("no instant of its own");
    };
    assert_eq!(answered.outcome, Outcome::Arrived);
    let info = barrier.release_info(answered.phase).expect("released");
    #[expect(clippy::cast_possible_truncation)] // whole microseconds
    let released = (info.released_at * 1000.0).round() as i64;
    (answered.index - before, at - released)
}

/// Those of all the calls of several processes, which have to be those of an even spread over a minute.
fn check_minute(calls: &[(&Process, &Barrier, Token)], before: u32) {
    let turns: BTreeMap<u32, i64> = calls
        .iter()
        .map(|(process, barrier, token)| turn(process, barrier, *token, before))
        .collect();
    let n = u32::try_from(calls.len()).expect("few");
    let gap = 60_000_000 / i64::from(n);
    let even: BTreeMap<u32, i64> = (1..=n).map(|k| (k, i64::from(k - 1) * gap)).collect();
    assert_eq!(turns, even);
}

#[test]
fn each_user_hears_of_its_own_instant() {
    let server = RedisServer::start();
    for json in [memory(100, MINUTE), with(&server, "r", 100, MINUTE)] {
        let process = Process::start();
        let barrier = process.open(&json).expect("open");
        let watching = process.submit(&barrier, Call::Wait(Phase(0), None, LIMIT));
        let calls: Vec<_> = (1..=100)
            .map(|n| process.submit(&barrier, waiting(n)))
            .collect();
        let all: Vec<_> = calls.iter().map(|t| (&process, &*barrier, *t)).collect();
        check_minute(&all, 0);
        process.over(watching);
        assert!(process.silent(watching), "it goes by the news for all");
        // Who comes back is told the same, and who has arrived before it waits too.
        let again = process.submit(&barrier, waiting(7));
        let rejoins = Call::Wait(Phase(0), Some(id(7)), LIMIT);
        let rejoined = process.submit(&barrier, rejoins);
        let mine = turn(&process, &barrier, calls[6], 0);
        assert_eq!(turn(&process, &barrier, again, 0), mine);
        assert_eq!(turn(&process, &barrier, rejoined, 0), mine);
        process.check();
    }
}

/// Whoever goes first would hear of its instant too late.
#[test]
fn users_are_told_when_they_go_before_anybody_goes() {
    let server = RedisServer::start();
    for is_redis in [false, true] {
        let (option, _) = soon(Duration::from_secs(2));
        let more = format!("{MINUTE}{option}");
        let json = if is_redis {
            with(&server, "ahead", 3, &more)
        } else {
            memory(3, &more)
        };
        let process = Process::start();
        let barrier = process.open(&json).expect("open");
        let watching = process.submit(&barrier, Call::Wait(Phase(0), None, LIMIT));
        let calls: Vec<_> = (1..=3)
            .map(|n| process.submit(&barrier, waiting(n)))
            .collect();
        for call in &calls {
            process.done(*call).expect("it is told");
        }
        // Who comes back meanwhile is told the same, and what it goes by is known.
        let again = process.submit(&barrier, waiting(2));
        let mine = turn(&process, &barrier, calls[1], 0);
        assert_eq!(turn(&process, &barrier, again, 0), mine);
        assert!(process.silent(watching) && barrier.status().released.is_empty());
        process.over(watching);
        assert_eq!(process.behind(), [0; 0], "told after the release");
        process.check();
    }
}

#[test]
fn between_the_decision_and_the_first_instant_is_time_to_tell_all() {
    let server = RedisServer::start();
    for json in [memory(100, MINUTE), with(&server, "lead", 100, MINUTE)] {
        let process = Process::start();
        let barrier = process.open(&json).expect("open");
        for n in 1..=100 {
            process.arrive(&barrier, n).expect("recorded");
        }
        process.released(&barrier, 0);
        let info = barrier.release_info(Phase(0)).expect("released");
        assert!(info.delay_ms >= 10.4, "{info:?}");
    }
}

#[test]
fn users_of_two_processes_take_turns_in_each_phase() {
    let server = RedisServer::start();
    let cyclic = format!(r#","cyclic":true{MINUTE}"#);
    let processes = [Process::start(), Process::start()];
    let barriers: Vec<Arc<Barrier>> = processes
        .iter()
        .map(|p| p.open(&with(&server, "r", 60, &cyclic)).expect("open"))
        .collect();
    for phase in 0..3 {
        let calls: Vec<_> = (1..=60)
            .map(|n| {
                let at = n as usize % 2;
                let token = processes[at].submit(&barriers[at], waiting(n));
                (&processes[at], &*barriers[at], token)
            })
            .collect();
        check_minute(&calls, phase * 60);
    }
}

#[test]
fn openers_have_to_agree_on_how_users_go() {
    let server = RedisServer::start();
    let here = Process::start();
    let first = with(&server, "r", 2, &format!("{MINUTE}{AHEAD}"));
    here.open(&first).expect("open");
    for (other, option) in [
        (first.replace("60000", "60001"), "release"),
        (first.replace(AHEAD, ""), "releaseAt"),
        (first.replace(MINUTE, ""), "release"),
    ] {
        for process in [&here, &Process::start()] {
            match process.open(&other) {
                Err(Error::Option(e)) => assert_eq!(e.option, option, "{e}"),
                other => panic!("{option}: {:?}", other.map(|_| "opened")),
            }
        }
    }
}

fn soon(ahead: Duration) -> (String, f64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("later");
    let ms = (now + ahead).as_millis();
    #[expect(clippy::cast_precision_loss)] // exact until the year 2255
    (format!(r#","releaseAt":{ms}"#), ms as f64)
}

#[test]
fn all_are_there_and_the_instant_has_come() {
    let server = RedisServer::start();
    for is_redis in [false, true] {
        let (option, instant) = soon(Duration::from_secs(2));
        let json = if is_redis {
            with(&server, "r", 2, &option)
        } else {
            memory(2, &option)
        };
        let process = Process::start();
        let barrier = process.open(&json).expect("open");
        let one = process.submit(&barrier, waiting(1));
        acknowledged(&barrier, one);
        process.arrive(&barrier, 2).expect("recorded");
        // The decision stands before its instant: nobody can undo it.
        let aborted = process.abort(&barrier, "too late").expect("answered");
        assert_eq!(aborted, Done::NothingToAbort(Phase(0)));
        process.over(one);
        let info = barrier.release_info(Phase(0)).expect("released");
        assert!(info.server_released_at >= instant, "{info:?}");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("later");
        // Of a server's clock a process knows what time it is with an error that is known too.
        let error = barrier.status().clock_bound_ms.unwrap_or(0.0);
        let now = now.as_secs_f64() * 1000.0;
        assert!(now + error >= instant, "it went before");
    }
}

/// Whoever waits for the instant would go with the others, before it and by their reason.
#[test]
fn a_later_phase_does_not_overtake_one_that_waits_for_its_instant() {
    let server = RedisServer::start();
    for is_redis in [false, true] {
        let (option, instant) = soon(Duration::from_secs(2));
        let more = format!(r#","cyclic":true,"onTimeout":"release"{option}"#);
        let json = if is_redis {
            with(&server, "overtakes", 2, &more)
        } else {
            memory(2, &more)
        };
        let process = Process::start();
        let barrier = process.open(&json).expect("open");
        let one = process.submit(&barrier, waiting(1));
        acknowledged(&barrier, one);
        process.arrive(&barrier, 2).expect("recorded");
        let again = process.submit(&barrier, waiting(2));
        acknowledged(&barrier, again);
        process.expire(&barrier, 1).expect("decided");
        process.over(again);
        process.over(one);
        for (phase, why) in [(0, Why::All), (1, Why::Timeout)] {
            let info = barrier.release_info(Phase(phase)).expect("released");
            assert_eq!((info.phase, info.reason), (Phase(phase), why), "{info:?}");
            assert!(info.server_released_at >= instant, "{info:?}");
        }
        process.check();
    }
}

#[test]
fn thousands_of_phases_may_wait_for_one_instant() {
    const PHASES: u32 = 3000;
    let (option, instant) = soon(Duration::from_secs(2));
    let process = Process::start();
    let more = format!(r#","cyclic":true{option}"#);
    let barrier = process.open(&memory(1, &more)).expect("open");
    for _ in 0..PHASES {
        process.arrive(&barrier, 1).expect("recorded");
    }
    let last = PHASES - 1;
    process.released(&barrier, last);
    let info = barrier.release_info(Phase(last)).expect("released");
    assert!(info.server_released_at >= instant, "{info:?}");
    let aborted = process.abort(&barrier, "enough").expect("answered");
    assert!(!matches!(aborted, Done::NothingToAbort(_)), "{aborted:?}");
    process.broken(&barrier); // no release is waited for any more
}

#[test]
fn who_waits_for_an_instant_that_is_decided_is_not_ended_by_its_own_limit() {
    let server = RedisServer::start();
    for is_redis in [false, true] {
        let (option, _) = soon(Duration::from_secs(2));
        let json = if is_redis {
            with(&server, "patient", 1, &option)
        } else {
            memory(1, &option)
        };
        let process = Process::start();
        let barrier = process.open(&json).expect("open");
        let mut call = waiting(1);
        if let Call::ArriveAndWait { limit, .. } = &mut call {
            limit.wait = Duration::from_millis(100);
        }
        let one = process.submit(&barrier, call);
        process.over(one);
        assert!(process.silent(one), "it heard that its time was over");
        assert_eq!(barrier.status().released.len(), 1);
    }
}

#[test]
fn an_instant_that_has_passed_holds_nobody_up() {
    let server = RedisServer::start();
    let past = r#","releaseAt":1000000000000"#;
    for json in [memory(1, past), with(&server, "r", 1, past)] {
        let process = Process::start();
        let barrier = process.open(&json).expect("open");
        process.submit(&barrier, waiting(1));
        process.released(&barrier, 0);
        let info = barrier.release_info(Phase(0)).expect("released");
        assert!(info.delay_ms < 1000.0, "{info:?}");
    }
}

#[test]
fn who_releases_by_hand_or_by_a_time_out_does_not_wait_for_the_instant() {
    let server = RedisServer::start();
    let more = format!(r#","onTimeout":"release"{AHEAD}"#);
    for json in [memory(2, &more), with(&server, "r", 2, &more)] {
        let process = Process::start();
        let barrier = process.open(&json).expect("open");
        let one = process.submit(&barrier, waiting(1));
        acknowledged(&barrier, one);
        process.expire(&barrier, 0).expect("released");
        process.over(one);
        let info = barrier.release_info(Phase(0)).expect("released");
        assert_eq!(info.reason, Why::Timeout);
        let late = barrier.submit(waiting(2), 1 << 40);
        assert!(!matches!(late, Submitted::Done(Err(_))), "{late:?}");
    }
}
