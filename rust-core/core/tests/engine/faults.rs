//! A server that refuses, dies, freezes and forgets: every participant keeps exactly one outcome, and nobody hangs.

use std::time::Duration;

use barrier_core::engine::CounterOptions;
use barrier_core::error::Error;
use barrier_core::ids::Phase;
use barrier_core::ledger::Report;

use super::host::{Process, arrival, call, failure};
use super::proxy::Proxy;
use super::support::{RedisServer, free_port};
use super::{options, with};

#[test]
fn an_unreachable_server_is_named_and_its_password_is_not() {
    let process = Process::start();
    let port = free_port();
    let json = format!(
        r#"{{"store":"redis://user:sEcret@127.0.0.1:{port}","runId":"r","name":"d","parties":1}}"#
    );
    let error = process.open(&json).err().expect("nobody listens");
    let text = error.to_string();
    assert!(text.contains(&format!("127.0.0.1:{port}")), "{text}");
    assert!(!text.contains("sEcret"), "{text}");
}

#[test]
fn a_refusing_server_is_explained() {
    let server = RedisServer::start();
    redis::cmd("CONFIG")
        .arg("SET")
        .arg("requirepass")
        .arg("other")
        .exec(&mut server.connection())
        .expect("the test's own server");
    let process = Process::start();
    for url in [
        format!("redis://127.0.0.1:{}", server.port()),
        format!("redis://:sEcret@127.0.0.1:{}", server.port()),
    ] {
        let json = format!(r#"{{"store":"{url}","runId":"r","name":"d","parties":1}}"#);
        let text = process.open(&json).err().expect("refused").to_string();
        assert!(text.contains("password"), "{text}");
        assert!(!text.contains("sEcret"), "{text}");
    }
}

#[test]
fn a_key_of_another_type_is_named() {
    let server = RedisServer::start();
    redis::cmd("SET")
        .arg("K6_BARRIER_JOINED:taken")
        .arg("x")
        .exec(&mut server.connection())
        .expect("the test's own server");
    let process = Process::start();
    let error = process
        .open(&options(&server, "taken", 1))
        .err()
        .expect("refused");
    let text = error.to_string();
    assert!(
        text.contains("K6_BARRIER_JOINED:taken") && text.contains("string"),
        "{text}"
    );
}

/// Arrivals of 300 participants while something happens to the server; then all meet and are counted right.
fn meet_through(
    server: &mut RedisServer,
    run: &str,
    mut trouble: impl FnMut(&mut RedisServer, u32),
) {
    let processes = [Process::start(), Process::start()];
    let json = options(server, run, 300);
    let barriers = processes.each_ref().map(|p| p.open(&json).expect("open"));
    for n in 1..=300 {
        let report = if n % 10 == 0 {
            failure("sse")
        } else {
            arrival(n)
        };
        let at = usize::from(n % 2 == 0);
        processes[at].submit(&barriers[at], call(n, report));
        if n % 60 == 0 {
            trouble(server, n);
        }
    }
    for (process, barrier) in processes.iter().zip(&barriers) {
        process.released(barrier, 0);
        let info = barrier.release_info(Phase(0)).expect("released");
        assert_eq!(
            (info.arrived, info.failed["sse"], info.failed_total),
            (270, 30, 30)
        );
        process.check();
    }
}

#[test]
fn connections_killed_again_and_again_lose_nothing() {
    let mut server = RedisServer::start();
    let mut seen = 0;
    meet_through(&mut server, "kill", |server, _| {
        // The processes' connections are subscribed, so the server files them under pubsub.
        let killed: u32 = redis::cmd("CLIENT")
            .arg("KILL")
            .arg("TYPE")
            .arg("pubsub")
            .query(&mut server.connection())
            .expect("the test's own server");
        seen += killed;
    });
    assert!(seen >= 2, "only {seen} connections were killed");
}

#[test]
fn a_server_restarted_empty_is_told_again() {
    let mut server = RedisServer::start();
    meet_through(&mut server, "empty", |server, n| {
        if n == 180 {
            server.restart_empty();
        }
    });
    let mirror: (u32, String) = redis::pipe()
        .cmd("SCARD")
        .arg("K6_BARRIER_JOINED:empty")
        .cmd("GET")
        .arg("K6_BARRIER_SSE_FAIL:empty")
        .query(&mut server.connection())
        .expect("mirrors");
    assert_eq!(mirror, (270, "30".into()));
}

#[test]
fn flushed_scripts_and_a_flushed_database_are_made_good() {
    let mut server = RedisServer::start();
    meet_through(&mut server, "flush", |server, n| {
        let mut connection = server.connection();
        redis::cmd("SCRIPT")
            .arg("FLUSH")
            .exec(&mut connection)
            .expect("own server");
        if n == 120 {
            redis::cmd("FLUSHALL")
                .exec(&mut connection)
                .expect("own server");
        }
    });
}

#[test]
fn an_outcome_stands_while_the_server_is_frozen_and_is_delivered_later() {
    let server = RedisServer::start();
    let process = Process::start();
    let barrier = process
        .open(&with(&server, "frozen", 2, r#","opTimeoutMs":300"#))
        .expect("open");
    server.signal("-STOP");
    let error = process.arrive(&barrier, 1).expect_err("nobody answers");
    assert!(
        matches!(error, Error::Store { pending: true, .. }),
        "{error}"
    );
    let error = process.expire(&barrier, 0).expect_err("nobody answers");
    assert!(
        matches!(error, Error::Store { .. } | Error::Timeout(_)),
        "{error}"
    );
    server.signal("-CONT");
    let standing = process.arrive(&barrier, 1).expect("it stands");
    assert!(!standing.first, "it was not counted again");
    process.arrive(&barrier, 2).expect("recorded");
    process.released(&barrier, 0);
    let info = barrier.release_info(Phase(0)).expect("released");
    assert_eq!((info.arrived, info.failed_total), (2, 0));
    process.check();
}

#[test]
fn nobody_waits_for_ever_for_a_server_that_is_gone() {
    let mut server = RedisServer::start();
    let process = Process::start();
    let barrier = process
        .open(&with(&server, "gone", 2, r#","opTimeoutMs":300"#))
        .expect("open");
    server.kill();
    let error = process.arrive(&barrier, 1).expect_err("gone");
    assert!(
        matches!(error, Error::Store { pending: true, .. }),
        "{error}"
    );
    let error = process.expire(&barrier, 0).expect_err("gone");
    assert!(
        error.to_string().contains(&server.port().to_string()),
        "{error}"
    );
    assert!(process.missing(&barrier, 1).is_err());
    process.engine.close(Duration::from_millis(200));
}

#[test]
fn an_id_clash_ends_every_call_of_the_participant() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = RedisServer::start();
    let way = Proxy::start(runtime.handle(), server.port());
    let (first, second) = (Process::start(), Process::start());
    let json = with(&server, "clash", 3, r#","cyclic":true"#);
    let theirs = first.open(&json).expect("open");
    first.arrive(&theirs, 1).expect("recorded");
    let near = format!("127.0.0.1:{}", server.port());
    let mine = second
        .open(&json.replace(&near, &format!("127.0.0.1:{}", way.port())))
        .expect("open");
    way.latency(Duration::from_millis(300));
    let arrival = second.submit(&mine, call(1, arrival(1)));
    let leave = second.submit(&mine, call(1, Report::Leave));
    for token in [arrival, leave] {
        let error = second.done(token).expect_err("it is the other's");
        assert!(matches!(error, Error::Conflict(_)), "{error}");
    }
    second.check();
}

#[test]
fn a_question_under_way_when_the_engine_closes_is_answered() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = RedisServer::start();
    let way = Proxy::start(runtime.handle(), server.port());
    way.black_hole(true);
    let process = Process::start();
    let json = format!(
        r#"{{"redis":"redis://127.0.0.1:{}","keys":["q"]}}"#,
        way.port()
    );
    let options = CounterOptions::from_json(json.as_bytes()).expect("valid");
    let token = process.fresh_token();
    let counter = process.engine.counter(options).expect("a counter");
    counter.counts(token);
    process.engine.close(Duration::from_millis(200));
    assert_eq!(process.done(token), Err(Error::Closed));
}
