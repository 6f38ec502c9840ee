//! Barriers that are over: what is kept of them, for how long, and what comes after.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use barrier_core::engine::{Barrier, Call, Emission, Engine, OVER_MAX, Sink, Submitted};
use barrier_core::error::Error;
use barrier_core::ids::Phase;
use barrier_core::ledger::Report;
use barrier_core::options::BarrierOptions;
use barrier_core::protocol::Outcome;
use barrier_core::session::Done;
use tokio::runtime::Runtime;

use super::failed;
use super::host::{Process, arrival, call, failure};
use super::proxy::Proxy;
use super::redis_cluster::until;
use super::support::RedisServer;

/// Barriers that may not have retired yet.
const SLACK: usize = 40;

fn memory(name: &str, parties: u32) -> String {
    format!(r#"{{"name":"{name}","parties":{parties}}}"#)
}

fn redis(server: &RedisServer, name: &str, more: &str) -> String {
    let url = server.url();
    format!(r#"{{"store":"{url}","runId":"r","name":"{name}","parties":1{more}}}"#)
}

/// One after another, each released.
fn cross(process: &Process, how_many: usize, json: impl Fn(usize) -> String) {
    for n in 0..how_many {
        let barrier = process.open(&json(n)).expect("open");
        process.arrive(&barrier, 1).expect("recorded");
        process.released(&barrier, 0);
    }
}

fn retire(process: &Process, how_many: usize) {
    until("retirement", || process.engine.tally().retired >= how_many);
}

#[test]
fn thousands_one_after_another_leave_a_thousand() {
    let process = Process::start();
    cross(&process, 3000, |n| memory(&format!("round-{n}"), 1));
    let tally = process.engine.tally();
    assert_eq!(tally.retired, OVER_MAX, "{tally:?}");
    assert!(tally.barriers <= OVER_MAX + SLACK, "{tally:?}");
    process.check();
}

#[test]
fn one_that_is_over_answers_as_before() {
    let process = Process::start();
    let json = r#"{"name":"first","parties":9,"release":{"count":2}}"#;
    let first = process.open(json).expect("open");
    let by = |owner| Report::Arrive { owner };
    process
        .report(&first, 3, failure("login"))
        .expect("recorded");
    process.arrive(&first, 1).expect("recorded");
    process.report(&first, 4, Report::Leave).expect("recorded");
    process.arrive(&first, 2).expect("recorded");
    let (status, info) = (first.status(), first.release_info(Phase(0)));
    let missing = process.missing(&first, 10).expect("missing");
    assert_eq!(missing, r#"{"count":5,"ids":["5","6","7","8","9"]}"#);

    cross(&process, 50, |n| memory(&format!("round-{n}"), 1));
    assert!(process.engine.tally().retired > 0);
    assert_eq!(
        (first.status(), first.release_info(Phase(0))),
        (status, info)
    );
    assert_eq!(process.missing(&first, 10).expect("missing"), missing);
    let repeat = |n| process.arrive(&first, n).expect("standing");
    let answer = |n| (repeat(n).outcome, repeat(n).index, repeat(n).first);
    assert_eq!(answer(1), (Outcome::Arrived, 1, false));
    assert_eq!(answer(2), (Outcome::Arrived, 2, false));
    assert_eq!(answer(3), (failed("login"), 0, false));
    assert_eq!(answer(4), (Outcome::Left, 0, false));
    let claimed = process.report(&first, 1, by(77));
    assert!(matches!(claimed, Err(Error::Conflict(_))), "{claimed:?}");

    let late = process.arrive(&first, 5).expect("recorded");
    assert_eq!((late.outcome, late.first), (Outcome::Late, true));
    assert_eq!(first.status().late, 1);
    cross(&process, 1000, |n| memory(&format!("later-{n}"), 1));
    assert_eq!(answer(5), (Outcome::Late, 0, false), "it was kept too");
    let missing = process.missing(&first, 10).expect("missing");
    assert_eq!(missing, r#"{"count":5,"ids":["6","7","8","9"]}"#);
    process.check();
}

#[test]
fn one_that_is_forgotten_begins_anew_in_memory() {
    let process = Process::start();
    let first = process.open(&memory("first", 1)).expect("open");
    process.arrive(&first, 1).expect("recorded");
    cross(&process, OVER_MAX + SLACK, |n| {
        memory(&format!("round-{n}"), 1)
    });
    process.forgotten(&first);
    let refused = process.arrive(&first, 1);
    assert_eq!(refused.expect_err("it is gone"), Error::Gone);
    let anew = process.open(&memory("first", 1)).expect("open");
    assert_ne!(anew.handle(), first.handle());
    assert!(process.arrive(&anew, 1).expect("recorded").first);
    process.check();
}

#[test]
fn whoever_says_hello_is_answered_by_one_that_is_over() {
    let server = RedisServer::start();
    let (early, late) = (Process::start(), Process::start());
    let json = redis(&server, "gate", "");
    let barrier = early.open(&json).expect("open");
    early.arrive(&barrier, 1).expect("recorded");
    retire(&early, 1);
    // Where nobody answers, these are left-overs of an earlier run.
    let theirs = late.open(&json).expect("the same run");
    let answer = late.arrive(&theirs, 2).expect("recorded");
    assert_eq!(answer.outcome, Outcome::Late);
    // And it retires again, with the newcomer's.
    retire(&early, 1);
    retire(&late, 1);
    let repeat = early.arrive(&barrier, 1).expect("standing");
    assert_eq!((repeat.outcome, repeat.index), (Outcome::Arrived, 1));
    let own_late = early.arrive(&barrier, 3).expect("recorded");
    assert_eq!(own_late.outcome, Outcome::Late);
    assert_eq!(barrier.status().late, 2);
    early.check();
    late.check();
}

/// The shortest time to live is a minute, and a quarter of it passes between two beats.
#[test]
fn records_of_those_that_are_over_are_kept_alive_and_told_again() {
    let server = RedisServer::start();
    let process = Process::start();
    let more = r#","ttlMs":60000,"reasons":["login"]"#;
    cross(&process, 100, |n| redis(&server, &format!("b{n}"), more));
    retire(&process, 100);
    let mut redis = server.connection();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut redis).expect("keys");
    assert_eq!(keys.len(), 300, "a hash, a set and a counter each");
    for key in &keys[..250] {
        let _: u32 = server.ask(&["PEXPIRE", key, "40000"]);
    }
    let _: u32 = server.ask(&["DEL", "K6_BARRIER_STATE:r:b7"]);
    let ttl = |key: &str| -> i64 { server.ask(&["PTTL", key]) };
    until("the beat for all", || {
        keys.iter()
            .all(|key| ttl(key) > 41_000 || key.ends_with(":b7"))
    });
    until("what was lost", || ttl("K6_BARRIER_STATE:r:b7") > 41_000);
    let newest: String = server.ask(&["HGET", "K6_BARRIER_STATE:r:b7", "@newest"]);
    assert_eq!(newest, "0", "its release is known again");
    let calls: String = server.ask(&["INFO", "commandstats"]);
    assert!(calls.contains("cmdstat_evalsha"), "{calls}");
}

#[test]
fn one_that_is_forgotten_is_found_again_in_redis() {
    let server = RedisServer::start();
    let process = Process::start();
    let first = process.open(&redis(&server, "first", "")).expect("open");
    process.arrive(&first, 1).expect("recorded");
    // Whoever still has something on its way when the others retire does so after them, and is forgotten after them.
    retire(&process, 1);
    cross(&process, OVER_MAX + SLACK, |n| {
        redis(&server, &format!("round-{n}"), "")
    });
    process.forgotten(&first);
    until("fewer subscriptions", || {
        let channels: Vec<String> = server.ask(&["PUBSUB", "CHANNELS"]);
        channels.len() <= OVER_MAX + SLACK
            && !channels.contains(&"K6_BARRIER_EVENTS:r:first".to_owned())
    });
    let again = process.open(&redis(&server, "first", "")).expect("open");
    let repeat = process.arrive(&again, 1).expect("standing");
    assert_eq!((repeat.outcome, repeat.index), (Outcome::Arrived, 1));
    let late = process.arrive(&again, 2).expect("recorded");
    assert_eq!(late.outcome, Outcome::Late);
    process.check();
}

#[test]
fn whoever_lets_go_says_goodbye_and_may_come_back() {
    let server = RedisServer::start();
    let (a, b) = (Process::start(), Process::start());
    let url = server.url();
    let json = format!(
        r#"{{"store":"{url}","runId":"r","name":"gate","parties":2,"cyclic":true,"releaseDelayMs":0}}"#
    );
    let (mine, theirs) = (a.open(&json).expect("open"), b.open(&json).expect("open"));
    a.arrive(&mine, 1).expect("recorded");
    b.arrive(&theirs, 2).expect("recorded");
    a.released(&mine, 0);
    assert_eq!(a.close(&mine), Ok(Done::Over));
    a.forgotten(&mine);
    assert_eq!(a.engine.tally().barriers, 0);
    assert_eq!(a.arrive(&mine, 1).expect_err("gone"), Error::Gone);
    b.expire(&theirs, 1).expect_err("nobody came");
    assert_eq!(theirs.status().processes, 1, "one has said goodbye");

    let again = a.open(&json).expect("open");
    assert_eq!(again.status().phase, Phase(1));
    a.arrive(&again, 1).expect("recorded");
    b.arrive(&theirs, 2).expect("recorded");
    a.released(&again, 1);
    assert_eq!(again.status().processes, 2);
    a.check();
    b.check();
}

/// A process, and a way to its server that can be cut.
struct Behind {
    _runtime: Runtime,
    _server: RedisServer,
    way: Proxy,
    process: Process,
    json: String,
}

impl Behind {
    fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let server = RedisServer::start();
        let way = Proxy::start(runtime.handle(), server.port());
        let json = format!(
            r#"{{"store":"redis://127.0.0.1:{}","runId":"r","name":"gate","parties":2,"opTimeoutMs":500}}"#,
            way.port()
        );
        Self {
            _runtime: runtime,
            _server: server,
            way,
            process: Process::start(),
            json,
        }
    }
}

#[test]
fn nothing_that_is_owed_is_let_go_of() {
    let Behind {
        way, process, json, ..
    } = &Behind::start();
    let barrier: Arc<Barrier> = process.open(json).expect("open");
    way.black_hole(true);
    let owed = process.submit(&barrier, call(1, arrival(1)));
    let refused = process.close(&barrier);
    assert!(matches!(refused, Err(Error::Store { .. })), "{refused:?}");
    process.done(owed).expect_err("not in time");
    way.black_hole(false);
    until("the arrival", || barrier.status().arrived == 1);
    assert_eq!(process.close(&barrier), Ok(Done::Over));
    process.check();
}

#[test]
fn one_that_a_server_refuses_goes_on_trying() {
    let server = RedisServer::start();
    let (early, late) = (Process::start(), Process::start());
    let json = redis(&server, "gate", "");
    let barrier = early.open(&json).expect("open");
    early.arrive(&barrier, 1).expect("recorded");
    retire(&early, 1);
    let _: String = server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    let _: u32 = server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    until("the refusal", || {
        let trouble = barrier.status().trouble;
        trouble.is_some_and(|trouble| trouble.contains("OOM"))
    });
    let _: String = server.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    until("an answer", || barrier.status().connected);
    let theirs = late.open(&json).expect("the same run");
    let answer = late.arrive(&theirs, 2).expect("recorded");
    assert_eq!(answer.outcome, Outcome::Late);
    early.check();
    late.check();
}

/// A process with a shorter time to live does not shorten that of the others, not even when all of them sleep.
#[test]
fn the_longest_time_to_live_holds() {
    let server = RedisServer::start();
    let (long, short) = (Process::start(), Process::start());
    let ttl = |key: &str| -> i64 { server.ask(&["PTTL", key]) };
    let mine = long.open(&redis(&server, "gate", "")).expect("open");
    long.arrive(&mine, 1).expect("recorded");
    let more = r#","ttlMs":60000"#;
    let theirs = short.open(&redis(&server, "gate", more)).expect("open");
    short.arrive(&theirs, 2).expect("late");
    let keys = ["K6_BARRIER_STATE:r:gate", "K6_BARRIER_JOINED:r:gate"];
    for key in keys {
        assert!(ttl(key) > 3_000_000, "{key} lives for {} ms", ttl(key));
    }
    drop(long);
    retire(&short, 1);
    for key in keys {
        let _: u32 = server.ask(&["PEXPIRE", key, "50000"]);
    }
    until("the beat", || ttl(keys[1]) > 50_000);
    assert!(ttl(keys[0]) > 3_000_000, "{}", ttl(keys[0]));
}

#[test]
fn whoever_opens_what_is_being_let_go_of_hears_whether_it_stays() {
    let Behind {
        way, process, json, ..
    } = &Behind::start();
    let barrier = process.open(json).expect("open");
    let open_meanwhile = || {
        way.black_hole(true);
        let close = process.submit(&barrier, Call::Close);
        let open = process.fresh_token();
        assert!(matches!(barrier.open(open), Submitted::Pending(None)));
        (close, open)
    };
    let (close, open) = open_meanwhile();
    process.done(close).expect_err("not in time");
    assert_eq!(process.done(open), Ok(Done::Opened(Phase(0))), "it stays");
    way.black_hole(false);
    process.arrive(&barrier, 1).expect("recorded");

    let (close, open) = open_meanwhile();
    way.black_hole(false);
    assert_eq!(process.done(close), Ok(Done::Over));
    assert_eq!(process.done(open), Err(Error::Gone), "and is opened anew");
    let again = process.open(json).expect("open");
    process.arrive(&again, 1).expect("standing");
    process.check();
}

#[test]
fn letting_go_in_memory_ends_those_who_wait_for_nothing() {
    let process = Process::start();
    let json = r#"{"name":"gate","parties":2,"cyclic":true}"#;
    let barrier = process.open(json).expect("open");
    process.arrive(&barrier, 1).expect("recorded");
    assert_eq!(process.close(&barrier), Ok(Done::Over));
    process.forgotten(&barrier);
    assert_eq!(process.engine.tally().barriers, 0);
    let anew = process.open(json).expect("open");
    assert_eq!(anew.status().arrived, 0);
    process.check();
}

/// A host that is asked for addresses and never answers.
#[derive(Default)]
struct Silent(AtomicBool);

impl Sink for Silent {
    fn emit(&self, news: &mut Vec<Emission>) {
        let asked = |news: &Emission| matches!(news, Emission::Resolve { .. });
        self.0
            .fetch_or(news.drain(..).any(|n| asked(&n)), Ordering::AcqRel);
    }
}

#[test]
fn an_engine_that_ends_while_it_connects_is_forgotten_whole() {
    let host = Arc::new(Silent::default());
    let left = Arc::downgrade(&host);
    let engine = Engine::with_host(host, true, || {});
    let json = r#"{"store":"redis://redis.test","runId":"r","name":"gate","parties":1}"#;
    let options = BarrierOptions::from_json(json.as_bytes()).expect("options");
    let barrier = engine.barrier(options).expect("a barrier");
    assert!(matches!(barrier.open(1), Submitted::Pending(None)));
    until("the question", || {
        left.upgrade().is_some_and(|h| h.0.load(Ordering::Acquire))
    });
    engine.close(Duration::ZERO);
    drop((engine, barrier));
    // Its thread may end a moment later.
    until("nothing is left of it", || left.strong_count() == 0);
}
