//! The engine over a real Redis: one process and several, a server that refuses, dies, freezes and forgets.

#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/cluster.rs"]
mod redis_cluster;
#[path = "../support/mod.rs"]
mod support;

mod acl;
mod cluster;
mod common_release;
mod counter;
mod declared;
mod failover;
mod faults;
mod host;
mod life;
mod load;
mod missing;
mod panics;
mod refusals;
mod spread;
mod telling;
mod waits;

use barrier_core::error::Error;
use barrier_core::ids::Phase;
use barrier_core::protocol::Outcome;
use barrier_core::session::Done;
use host::{Process, arrival, call, failure};
use support::RedisServer;

fn options(server: &RedisServer, run: &str, parties: u32) -> String {
    with(server, run, parties, "")
}

fn with(server: &RedisServer, run: &str, parties: u32, more: &str) -> String {
    format!(
        r#"{{"store":"{}","runId":"{run}","name":"default","parties":{parties},"reasons":["login","sse"]{more}}}"#,
        server.url()
    )
}

#[test]
fn all_meet_and_outside_readers_see_it() {
    let server = RedisServer::start();
    let process = Process::start();
    let barrier = process.open(&options(&server, "r", 100)).expect("open");
    let mut redis = server.connection();
    let exists: (String, String) = redis::pipe()
        .cmd("GET")
        .arg("K6_BARRIER_LOGIN_FAIL:r")
        .cmd("GET")
        .arg("K6_BARRIER_SSE_FAIL:r")
        .query(&mut redis)
        .expect("counters exist from the start");
    assert_eq!(exists, ("0".into(), "0".into()));

    let tokens: Vec<_> = (1..=97)
        .map(|n| process.submit(&barrier, call(n, arrival(n))))
        .collect();
    for token in tokens {
        process.done(token).expect("recorded");
    }
    let missing = process.missing(&barrier, 10).expect("missing");
    assert_eq!(missing, r#"{"count":3,"ids":["98","99","100"]}"#);
    process
        .report(&barrier, 98, failure("login"))
        .expect("recorded");
    process
        .report(&barrier, 99, failure("login"))
        .expect("recorded");
    assert_eq!(
        process.arrive(&barrier, 99).expect("standing").outcome,
        failed("login")
    );
    process.arrive(&barrier, 100).expect("recorded");
    process.released(&barrier, 0);

    let status = barrier.status();
    assert_eq!(
        (status.arrived, status.failed["login"], status.processes),
        (98, 2, 1)
    );
    let info = barrier.release_info(Phase(0)).expect("released");
    assert_eq!(
        (info.arrived, info.failed_total, info.parties),
        (98, 2, 100)
    );
    assert!(
        info.delay_ms.abs() < f64::EPSILON,
        "one process is released without delay"
    );

    let mirrors: (u32, String, String) = redis::pipe()
        .cmd("SCARD")
        .arg("K6_BARRIER_JOINED:r")
        .cmd("GET")
        .arg("K6_BARRIER_LOGIN_FAIL:r")
        .cmd("GET")
        .arg("K6_BARRIER_SSE_FAIL:r")
        .query(&mut redis)
        .expect("mirrors");
    assert_eq!(mirrors, (98, "2".into(), "0".into()));
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut redis).expect("keys");
    for key in keys {
        let ttl: i64 = redis::cmd("TTL").arg(&key).query(&mut redis).expect("ttl");
        assert!((1..=3600).contains(&ttl), "{key} lives for {ttl} s");
    }
    process.check();
}

fn failed(reason: &str) -> Outcome {
    Outcome::Failed(barrier_core::ids::Reason::new("reason", reason).expect("valid"))
}

#[test]
fn one_connection_serves_barriers_and_counters() {
    let server = RedisServer::start();
    let process = Process::start();
    let a = process.open(&options(&server, "a", 200)).expect("open");
    let b = process.open(&options(&server, "b", 200)).expect("open");
    for n in 1..=200 {
        process.arrive(&a, n).expect("recorded");
        process.arrive(&b, n).expect("recorded");
    }
    counter::count(&process, &server, &["q"]).expect("counted");
    let clients: String = redis::cmd("CLIENT")
        .arg("LIST")
        .query(&mut server.connection())
        .expect("clients");
    assert_eq!(
        clients.lines().count(),
        2,
        "the process's and this test's:\n{clients}"
    );
}

#[test]
fn processes_share_a_barrier() {
    let server = RedisServer::start();
    let processes: Vec<_> = (0..4).map(|_| Process::start()).collect();
    let json = options(&server, "shared", 40);
    let barriers: Vec<_> = processes
        .iter()
        .map(|p| p.open(&json).expect("open"))
        .collect();
    for n in 1..=40 {
        let at = n as usize % 4;
        processes[at].arrive(&barriers[at], n).expect("recorded");
    }
    let mut server_instants = Vec::new();
    for (process, barrier) in processes.iter().zip(&barriers) {
        process.released(barrier, 0);
        let info = barrier.release_info(Phase(0)).expect("released");
        assert_eq!(info.arrived, 40);
        assert!(
            info.delay_ms > 0.0,
            "several processes are released at an instant ahead"
        );
        server_instants.push(info.server_released_at);
        process.check();
    }
    server_instants.dedup();
    assert_eq!(
        server_instants.len(),
        1,
        "one instant for all: {server_instants:?}"
    );

    // The same participant from another process is a conflict that names the remedy.
    let late = Process::start();
    let barrier = late
        .open(&json)
        .expect("the others live, so this is their run");
    let error = late
        .arrive(&barrier, 1)
        .expect_err("participant 1 is the other's");
    assert!(
        matches!(&error, Error::Conflict(text) if text.contains("execution segments")),
        "{error}"
    );
    // One that comes after the release is late, once.
    assert_eq!(
        late.arrive(&barrier, 41).expect("late").outcome,
        Outcome::Late
    );
    assert!(!late.arrive(&barrier, 41).expect("still late").first);
}

#[test]
fn an_abort_reaches_every_process() {
    let server = RedisServer::start();
    let (one, two) = (Process::start(), Process::start());
    let json = options(&server, "abort", 3);
    let (a, b) = (
        one.open(&json).expect("open"),
        two.open(&json).expect("open"),
    );
    one.arrive(&a, 1).expect("recorded");
    assert_eq!(
        two.abort(&b, "the target is down").expect("done"),
        Done::BrokenNow(Phase(0))
    );
    one.broken(&a);
    two.broken(&b);
    let error = one.arrive(&a, 2).expect_err("broken");
    assert!(
        matches!(&error, Error::Broken(text) if text.contains("the target is down")),
        "{error}"
    );
}

#[test]
fn an_abort_after_the_release_of_a_one_shot_barrier_does_nothing() {
    let server = RedisServer::start();
    let process = Process::start();
    for json in [
        options(&server, "over", 1),
        r#"{"name":"over","parties":1}"#.to_owned(),
    ] {
        let barrier = process.open(&json).expect("open");
        process.arrive(&barrier, 1).expect("recorded");
        process.released(&barrier, 0);
        assert_eq!(
            process.abort(&barrier, "late").expect("done"),
            Done::NothingToAbort(Phase(0))
        );
        assert_eq!(
            process.arrive(&barrier, 2).expect("late").outcome,
            Outcome::Late
        );
    }
}

#[test]
fn an_abort_says_in_which_phase() {
    let server = RedisServer::start();
    let process = Process::start();
    for json in [
        with(&server, "cyclic", 1, r#","cyclic":true"#),
        r#"{"name":"cyclic","parties":1,"cyclic":true}"#.to_owned(),
    ] {
        let barrier = process.open(&json).expect("open");
        for phase in 0..2 {
            process.arrive(&barrier, 1).expect("recorded");
            process.released(&barrier, phase);
        }
        for _ in 0..2 {
            let done = process.abort(&barrier, "enough").expect("done");
            assert_eq!(done, Done::BrokenNow(Phase(2)));
        }
    }
}

#[test]
fn a_release_that_is_not_kept_any_more_is_not_another_ones() {
    let process = Process::start();
    let barrier = process
        .open(r#"{"name":"often","parties":1,"cyclic":true}"#)
        .expect("open");
    for phase in 0..20 {
        process.arrive(&barrier, 1).expect("recorded");
        process.released(&barrier, phase);
    }
    for phase in 0..4 {
        assert_eq!(barrier.release_info(Phase(phase)), None);
    }
    for phase in 4..20 {
        let info = barrier.release_info(Phase(phase)).expect("kept");
        assert_eq!(info.phase, Phase(phase));
    }
    assert_eq!(barrier.release_info(Phase(20)), None);
}

#[test]
fn those_who_are_missing_in_memory_are_found_step_by_step() {
    let process = Process::start();
    let barrier = process
        .open(r#"{"name":"many","parties":10000000}"#)
        .expect("open");
    for user in (1..=2500).filter(|user| user % 1000 != 0) {
        process.submit(&barrier, call(user, arrival(user)));
    }
    let missing = process.missing(&barrier, 4).expect("found");
    let expected = r#"{"count":9997502,"ids":["1000","2000","2501","2502"]}"#;
    assert_eq!(missing, expected);
    assert_eq!(
        process.missing(&barrier, 0).expect("counted"),
        r#"{"count":9997502,"ids":[]}"#
    );
}

#[test]
fn reasons_of_every_opener_have_counters() {
    let server = RedisServer::start();
    let process = Process::start();
    let one = process.open(&options(&server, "reasons", 2)).expect("open");
    process.arrive(&one, 1).expect("recorded");
    let json = options(&server, "reasons", 2).replace(r#""sse""#, r#""sse","payment""#);
    let two = process.open(&json).expect("reasons may differ");
    // Operations keep their order, so the counter is there once this one is answered.
    process.report(&two, 2, failure("login")).expect("recorded");
    let counter: Option<String> = redis::cmd("GET")
        .arg("K6_BARRIER_PAYMENT_FAIL:reasons")
        .query(&mut server.connection())
        .expect("the mirror");
    assert_eq!(counter.as_deref(), Some("0"));
}

#[test]
fn one_server_under_two_names_is_two_stores() {
    let server = RedisServer::start();
    let process = Process::start();
    let one = process.open(&options(&server, "names", 2)).expect("open");
    let other_name = options(&server, "names", 2).replace("127.0.0.1", "localhost");
    let two = process.open(&other_name).expect("the first one answers");
    process.arrive(&one, 1).expect("recorded");
    let error = process.arrive(&two, 1).expect_err("somebody else's");
    assert!(matches!(error, Error::Conflict(_)), "{error}");
}

#[test]
fn openers_must_agree() {
    let server = RedisServer::start();
    let (one, two) = (Process::start(), Process::start());
    one.open(&options(&server, "same", 3)).expect("open");
    let error = two
        .open(&options(&server, "same", 4))
        .err()
        .expect("refused");
    let Error::Option(error) = error else {
        panic!("{error}");
    };
    assert_eq!(
        (error.option.as_str(), error.got.as_str()),
        ("parties", "4")
    );
    let error = one
        .open(&options(&server, "same", 5))
        .err()
        .expect("refused");
    assert!(matches!(error, Error::Option(_)), "{error}");
}

#[test]
fn left_overs_of_an_earlier_run_are_refused() {
    let server = RedisServer::start();
    let json = options(&server, "again", 1);
    let first = Process::start();
    let barrier = first.open(&json).expect("open");
    first.arrive(&barrier, 1).expect("recorded");
    first.released(&barrier, 0);
    first.engine.close(std::time::Duration::from_secs(5));

    let second = Process::start();
    let error = second.open(&json).err().expect("refused");
    assert!(
        matches!(&error, Error::Conflict(text) if text.contains("\"again\"") && text.contains("earlier run")),
        "{error}"
    );
    // Unless the caller says that it may come late to one that was released.
    let third = Process::start();
    let barrier = third
        .open(&with(&server, "again", 1, r#","late":"pass""#))
        .expect("the caller asked for it");
    assert_eq!(
        third.arrive(&barrier, 2).expect("late").outcome,
        Outcome::Late
    );
}

#[test]
fn a_wait_that_expires_does_what_the_barrier_says() {
    let server = RedisServer::start();
    let process = Process::start();
    let throw = process.open(&options(&server, "throw", 2)).expect("open");
    let error = process.expire(&throw, 0).expect_err("nobody came");
    assert!(matches!(error, Error::Timeout(_)), "{error}");

    let release = process
        .open(&with(&server, "release", 2, r#","onTimeout":"release""#))
        .expect("open");
    process.arrive(&release, 1).expect("recorded");
    assert_eq!(process.expire(&release, 0).expect("released"), Done::Over);
    process.released(&release, 0);
    let info = release.release_info(Phase(0)).expect("released");
    assert_eq!(info.reason, barrier_core::protocol::Why::Timeout);

    let abort = process
        .open(&with(&server, "abort", 2, r#","onTimeout":"abort""#))
        .expect("open");
    let error = process.expire(&abort, 0).expect_err("broken");
    assert!(matches!(error, Error::Broken(_)), "{error}");
    process.broken(&abort);
}

#[test]
fn a_closed_engine_leaves_keys_that_expire_and_answers_nothing() {
    let server = RedisServer::start();
    let process = Process::start();
    let barrier = process.open(&options(&server, "bye", 2)).expect("open");
    let token = process.submit(&barrier, call(1, arrival(1)));
    process.engine.close(std::time::Duration::from_secs(5));
    process.done(token).expect("delivered before the end");
    assert!(matches!(process.arrive(&barrier, 2), Err(Error::Closed)));
    let joined: u32 = redis::cmd("SCARD")
        .arg("K6_BARRIER_JOINED:bye")
        .query(&mut server.connection())
        .expect("the mirror");
    assert_eq!(joined, 1);
}
