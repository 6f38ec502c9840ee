//! Calls that wait for a release: one piece of news for all, and an answer of its own only for whoever needs one.

use std::time::{Duration, Instant};

use barrier_core::engine::{Arrival, Barrier, Call, Limit, Submitted};
use barrier_core::error::Error;
use barrier_core::ids::Phase;
use barrier_core::ledger::Token;
use barrier_core::protocol::Outcome;
use barrier_core::session::Done;

use super::host::{Process, failure, id};
use super::options;
use super::support::RedisServer;

const LONG: Limit = Limit {
    wait: Duration::from_secs(300),
    store: Duration::from_secs(300),
};
const SHORT: Limit = Limit {
    wait: Duration::from_millis(20),
    store: Duration::from_millis(30),
};

fn waiting(participant: u32, limit: Limit) -> Call {
    Call::ArriveAndWait {
        participant: id(participant),
        owner: participant.into(),
        explicit: true,
        limit,
    }
}

fn memory(parties: u32, more: &str) -> String {
    format!(r#"{{"store":"memory","name":"default","parties":{parties}{more}}}"#)
}

/// What the store has answered to the arrival.
fn answered(barrier: &Barrier, token: Token) -> Arrival {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        match barrier.arrivals([token])[0] {
            Arrival::Owed => assert!(Instant::now() < until, "not answered"),
            answered => return answered,
        }
        std::thread::yield_now();
    }
}

pub(super) fn acknowledged(barrier: &Barrier, token: Token) {
    assert_eq!(answered(barrier, token), Arrival::Acknowledged);
}

fn all_go_by_the_news(json: &str) {
    let process = Process::start();
    let barrier = process.open(json).expect("open");
    let mut tokens: Vec<_> = (1..=99)
        .map(|n| process.submit(&barrier, waiting(n, LONG)))
        .collect();
    for token in &tokens {
        acknowledged(&barrier, *token);
    }
    assert_eq!(barrier.status().arrived, 99);
    tokens.push(process.submit(&barrier, Call::Wait(Phase(0), None, LONG)));
    let last = process.submit(&barrier, waiting(100, LONG));
    process.released(&barrier, 0);
    for token in tokens {
        process.over(token);
        assert_eq!(barrier.arrivals([token]), [Arrival::Over]);
        assert!(process.silent(token), "it was told by the news");
    }
    // The last one may hear of the release before its own answer, or in it.
    assert_eq!(answered(&barrier, last), Arrival::Over);
    let Submitted::Done(Ok(Done::Over)) = barrier.submit(Call::Wait(Phase(0), None, LONG), 1 << 40)
    else {
        panic!("the news has been told");
    };
    process.check();
}

#[test]
fn one_piece_of_news_releases_all_who_wait_over_redis() {
    let server = RedisServer::start();
    all_go_by_the_news(&options(&server, "r", 100));
}

#[test]
fn one_piece_of_news_releases_all_who_wait_in_memory() {
    all_go_by_the_news(&memory(100, ""));
}

#[test]
fn whoever_waits_in_memory_is_acknowledged_at_once() {
    let process = Process::start();
    let barrier = process.open(&memory(2, "")).expect("open");
    let submitted = barrier.submit(waiting(1, LONG), 1 << 40);
    assert!(matches!(&submitted, Submitted::Waits(a) if a.first && a.outcome == Outcome::Arrived));
    let again = barrier.submit(waiting(1, LONG), 1 << 41);
    assert!(matches!(&again, Submitted::Waits(a) if !a.first));
    let last = barrier.submit(waiting(2, LONG), 1 << 42);
    assert!(matches!(last, Submitted::Done(Ok(Done::Outcome(a))) if a.index == 0 || a.index == 2));
    process.over(1 << 40);
    process.over(1 << 41);
}

#[test]
fn a_wait_whose_time_is_over_is_told_and_the_others_go_on() {
    let server = RedisServer::start();
    for json in [memory(3, ""), options(&server, "r", 3)] {
        let process = Process::start();
        let barrier = process.open(&json).expect("open");
        let patient = process.submit(&barrier, waiting(1, LONG));
        let short = Limit {
            wait: SHORT.wait,
            ..LONG
        };
        let hasty = process.submit(&barrier, waiting(2, short));
        let watching = process.submit(&barrier, Call::Wait(Phase(0), None, SHORT));
        for token in [hasty, watching] {
            assert!(matches!(process.done(token), Err(Error::Timeout(_))));
            assert_eq!(process.standing(token), None);
        }
        assert!(process.silent(patient));
        process.arrive(&barrier, 3).expect("recorded");
        process.over(patient);
        process.check();
    }
}

/// Takes away what is needed to record anything, and gives it back. Messages still come.
fn may_record(server: &RedisServer, may: bool) {
    redis::cmd("ACL")
        .arg(&["SETUSER", "silenced", "on", ">secret", "~*", "&*", "+@all"])
        .arg(if may { "+evalsha" } else { "-evalsha" })
        .arg(if may { "+eval" } else { "-eval" })
        .exec(&mut server.connection())
        .expect("the test's own server takes the rules");
}

fn as_silenced(json: &str) -> String {
    json.replace("redis://", "redis://silenced:secret@")
}

#[test]
fn a_release_that_overtakes_an_acknowledgement_says_who_is_owed_one() {
    let server = RedisServer::start();
    may_record(&server, true);
    let json = options(&server, "r", 4);
    let (here, there) = (Process::start(), Process::start());
    let theirs = there.open(&json).expect("open");
    let mine = here.open(&as_silenced(&json)).expect("open");
    let known = here.submit(&mine, waiting(1, LONG));
    acknowledged(&mine, known);
    // Where others are, a beat follows the opening, and takes its turn before a second batch: what is refused below is no beat.
    let second = here.submit(&mine, waiting(5, LONG));
    acknowledged(&mine, second);

    may_record(&server, false);
    let tried = here.submit(&mine, waiting(2, LONG));
    Process::until_trouble(&mine);
    for n in 3..=4 {
        there.arrive(&theirs, n).expect("recorded");
    }
    here.released(&mine, 0);
    here.over(known);
    here.over(second);
    assert_eq!(here.owed(), [tried], "said before the release");
    assert_eq!(mine.arrivals([tried]), [Arrival::Owed]);
    assert!(here.silent(tried));

    // It was on its way before the release, and gets that.
    may_record(&server, true);
    let Done::Outcome(answered) = here.done(tried).expect("recorded") else {
        panic!("an outcome");
    };
    assert_eq!(answered.outcome, Outcome::Arrived);
    here.check();
    there.check();
}

#[test]
fn an_arrival_that_turns_out_late_or_a_conflict_is_told_so() {
    let server = RedisServer::start();
    may_record(&server, true);
    let json = options(&server, "r", 3);
    let (here, there) = (Process::start(), Process::start());
    let mine = here.open(&as_silenced(&json)).expect("open");
    let theirs = there.open(&json).expect("open");
    there.arrive(&theirs, 1).expect("recorded");
    let conflict = here.submit(&mine, waiting(1, LONG));
    assert!(matches!(here.done(conflict), Err(Error::Conflict(_))));
    assert_eq!(mine.arrivals([conflict]), [Arrival::Over]);

    may_record(&server, false);
    here.submit(&mine, waiting(2, LONG));
    Process::until_trouble(&mine);
    // The second one is not even on its way when the phase ends.
    let late = here.submit(&mine, waiting(5, LONG));
    for n in 3..=4 {
        there.arrive(&theirs, n).expect("recorded");
    }
    here.released(&mine, 0);
    may_record(&server, true);
    let Done::Outcome(answered) = here.done(late).expect("recorded") else {
        panic!("an outcome");
    };
    assert_eq!(answered.outcome, Outcome::Late);
    here.check();
}

#[test]
fn who_is_late_for_a_release_to_come_hears_so_before_the_news_for_all() {
    let server = RedisServer::start();
    may_record(&server, true);
    let json = options(&server, "r", 2);
    let json = json.trim_end().trim_end_matches('}').to_owned() + r#","releaseDelayMs":3000}"#;
    let (here, there) = (Process::start(), Process::start());
    let mine = here.open(&as_silenced(&json)).expect("open");
    let theirs = there.open(&json).expect("open");
    may_record(&server, false);
    here.submit(&mine, waiting(3, LONG));
    Process::until_trouble(&mine);
    // The second one is not even on its way when the phase ends.
    let late = here.submit(&mine, waiting(4, LONG));
    for n in 1..=2 {
        there.arrive(&theirs, n).expect("recorded");
    }
    may_record(&server, true);
    let Done::Outcome(answered) = here.done(late).expect("recorded") else {
        panic!("an outcome");
    };
    assert_eq!(answered.outcome, Outcome::Late);
    here.released(&mine, 0);
    assert!(!here.behind().contains(&late));
    here.check();
}

/// A barrier that is opened anew knows nothing of what its store holds of it.
#[test]
fn an_arrival_that_stood_already_is_told_so() {
    let server = RedisServer::start();
    let process = Process::start();
    let json = options(&server, "r", 2);
    let barrier = process.open(&json).expect("open");
    process.arrive(&barrier, 1).expect("recorded");
    assert_eq!(process.close(&barrier), Ok(Done::Over));
    process.forgotten(&barrier);
    let again = process.open(&json).expect("open");
    let token = process.submit(&again, waiting(1, LONG));
    let Done::Outcome(answered) = process.done(token).expect("it stands") else {
        panic!("an outcome");
    };
    assert_eq!(
        (answered.outcome, answered.first),
        (Outcome::Arrived, false)
    );
    process.check();
}

#[test]
fn nobody_waits_at_a_barrier_that_its_store_has_with_other_options() {
    let server = RedisServer::start();
    let (here, there) = (Process::start(), Process::start());
    let mine = here.open(&options(&server, "r", 3)).expect("open");
    let arrived = here.submit(&mine, waiting(1, LONG));
    acknowledged(&mine, arrived);
    let watching = here.submit(&mine, Call::Wait(Phase(0), None, LONG));
    let _: String = server.ask(&["FLUSHALL"]);
    let _theirs = there.open(&options(&server, "r", 2)).expect("open");
    let next = here.submit(&mine, waiting(2, LONG));
    for token in [arrived, watching, next] {
        let refused = here.done(token).expect_err("refused");
        assert!(refused.to_string().contains("parties"), "{refused}");
    }
    let standing = here.standing(arrived).expect("it was acknowledged");
    assert_eq!((standing.outcome, standing.first), (Outcome::Arrived, true));
    let late = here.submit(&mine, Call::Expire(Phase(0)));
    let refused = here.done(late).expect_err("refused");
    assert!(refused.to_string().contains("parties"), "{refused}");
}

#[test]
fn patience_with_a_store_that_does_not_acknowledge_ends_with_the_outcome_standing() {
    let server = RedisServer::start();
    may_record(&server, true);
    let process = Process::start();
    let json = as_silenced(&options(&server, "r", 2));
    let barrier = process.open(&json).expect("open");
    may_record(&server, false);
    let hasty = process.submit(&barrier, waiting(1, SHORT));
    assert!(matches!(process.done(hasty), Err(Error::Timeout(_))));
    let standing = process.standing(hasty).expect("it stands");
    assert_eq!((standing.outcome, standing.first), (Outcome::Arrived, true));
    may_record(&server, true);
    process.arrive(&barrier, 2).expect("recorded");
    process.released(&barrier, 0);
    assert_eq!(barrier.status().arrived, 2, "it was delivered later");
    process.check();
}

#[test]
fn a_break_and_an_end_are_told_to_all_who_wait_at_once() {
    let process = Process::start();
    let barrier = process.open(&memory(9, "")).expect("open");
    let tokens: Vec<_> = (1..=3)
        .map(|n| process.submit(&barrier, waiting(n, LONG)))
        .collect();
    process.abort(&barrier, "enough").expect("broken");
    process.broken(&barrier);
    for token in tokens {
        process.over(token);
        assert!(process.silent(token));
    }
    let refused = process.submit(&barrier, waiting(4, LONG));
    assert!(matches!(process.done(refused), Err(Error::Broken(_))));
    let late = barrier.submit(Call::Wait(Phase(0), None, LONG), 1 << 40);
    assert!(matches!(late, Submitted::Done(Ok(Done::Over))));

    let process = Process::start();
    let barrier = process.open(&memory(9, "")).expect("open");
    let token = process.submit(&barrier, waiting(1, LONG));
    process.engine.close(Duration::from_secs(1));
    // There is no news for all that could wake it.
    assert_eq!(process.done(token), Err(Error::Closed));
    process.check();
}

#[test]
fn whoever_waits_at_a_barrier_that_is_let_go_of_ends_with_it() {
    let server = RedisServer::start();
    for json in [memory(3, ""), options(&server, "r", 3)] {
        let process = Process::start();
        let barrier = process.open(&json).expect("open");
        let arrived = process.submit(&barrier, waiting(1, LONG));
        acknowledged(&barrier, arrived);
        let watching = process.submit(&barrier, Call::Wait(Phase(0), None, LONG));
        assert_eq!(process.close(&barrier), Ok(Done::Over));
        process.forgotten(&barrier);
        for token in [arrived, watching] {
            process.over(token);
            assert!(process.silent(token));
        }
        assert_eq!(barrier.arrivals([arrived]), [Arrival::Over]);
        let refused = process.submit(&barrier, Call::Wait(Phase(0), None, LONG));
        assert_eq!(process.done(refused), Err(Error::Gone));
        process.check();
    }
}

#[test]
fn an_arrival_that_is_owed_at_the_end_hears_of_it_by_itself() {
    let server = RedisServer::start();
    may_record(&server, true);
    let process = Process::start();
    let json = as_silenced(&options(&server, "r", 2));
    let barrier = process.open(&json).expect("open");
    may_record(&server, false);
    let owed = process.submit(&barrier, waiting(1, LONG));
    Process::until_trouble(&barrier);
    process.engine.close(Duration::ZERO);
    assert_eq!(process.done(owed), Err(Error::Closed));
    assert_eq!(barrier.arrivals([owed]), [Arrival::Over]);
    let late = process.submit(&barrier, Call::Wait(Phase(0), None, LONG));
    assert_eq!(process.done(late), Err(Error::Closed));
    process.check();
}

#[test]
fn a_standing_failure_is_no_arrival_and_does_not_wait() {
    let process = Process::start();
    let barrier = process.open(&memory(9, "")).expect("open");
    process
        .report(&barrier, 1, failure("login"))
        .expect("recorded");
    let token = process.submit(&barrier, waiting(1, LONG));
    let Done::Outcome(answered) = process.done(token).expect("known") else {
        panic!("an outcome");
    };
    assert!(matches!(answered.outcome, Outcome::Failed(_)));
    assert_eq!(barrier.arrivals([token]), [Arrival::Over]);
}

/// As where an iteration ends while its wait is under way.
#[test]
fn a_wait_that_is_cancelled_leaves_nothing() {
    let server = RedisServer::start();
    for json in [memory(3, ""), options(&server, "cancelled", 3)] {
        let process = Process::start();
        let barrier = process.open(&json).expect("open");
        let arrives = process.submit(&barrier, waiting(1, LONG));
        acknowledged(&barrier, arrives);
        let watches = process.submit(&barrier, Call::Wait(Phase(0), None, LONG));
        for token in [arrives, watches] {
            assert_eq!(barrier.arrivals([token]), [Arrival::Acknowledged]);
            barrier.cancel(token);
            assert_eq!(barrier.arrivals([token]), [Arrival::Over]);
        }
        // What was reported stands, and nobody hears of the release by these.
        process.arrive(&barrier, 2).expect("recorded");
        let last = process.submit(&barrier, waiting(3, LONG));
        process.released(&barrier, 0);
        assert_eq!(answered(&barrier, last), Arrival::Over);
        let info = barrier.release_info(Phase(0)).expect("released");
        assert_eq!(info.arrived, 3);
        assert!(process.silent(arrives) && process.silent(watches));
        process.check();
    }
}

#[test]
fn an_arrival_whose_wait_is_cancelled_before_the_store_answers_is_delivered() {
    let server = RedisServer::start();
    let process = Process::start();
    let barrier = process.open(&options(&server, "stopped", 2)).expect("open");
    server.signal("-STOP");
    let token = process.submit(&barrier, waiting(1, LONG));
    assert_eq!(barrier.arrivals([token]), [Arrival::Owed]);
    barrier.cancel(token);
    assert_eq!(barrier.arrivals([token]), [Arrival::Over]);
    server.signal("-CONT");
    process.arrive(&barrier, 2).expect("recorded");
    process.released(&barrier, 0);
    let info = barrier.release_info(Phase(0)).expect("released");
    assert_eq!(info.arrived, 2);
}
