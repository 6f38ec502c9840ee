//! What a release in common waits for: the usual time of a message, and for nobody who is gone or was held up.

use std::sync::Arc;
use std::time::Duration;

use barrier_core::engine::Barrier;
use barrier_core::ids::Phase;
use tokio::runtime::Runtime;

use super::host::Process;
use super::proxy::Proxy;
use super::redis_cluster::until;
use super::support::RedisServer;

const RECORD: &str = "K6_BARRIER_STATE:common";

fn options(port: u16, parties: u32, more: &str) -> String {
    format!(
        r#"{{"store":"redis://127.0.0.1:{port}","runId":"common","name":"default","parties":{parties},"cyclic":true{more}}}"#
    )
}

/// Who opened the barrier as the second one, as the record has it.
fn second(server: &RedisServer) -> (String, Vec<String>) {
    let procs: String = server.ask(&["HGET", RECORD, "@procs"]);
    let field = format!("@p:{}", procs.split(' ').nth(1).expect("two processes"));
    let record: String = server.ask(&["HGET", RECORD, &field]);
    (field, record.split('|').map(str::to_owned).collect())
}

fn delay(process: &Process, barrier: &Arc<Barrier>, phase: u32) -> f64 {
    process.released(barrier, phase);
    let info = barrier.release_info(Phase(phase)).expect("released");
    info.delay_ms
}

#[test]
fn nobody_waits_for_a_process_that_is_gone() {
    let runtime = Runtime::new().expect("a runtime");
    let server = RedisServer::start();
    let way = Proxy::start(runtime.handle(), server.port());
    let (here, gone) = (Process::start(), Process::start());
    let mine = here.open(&options(server.port(), 1, "")).expect("open");
    let slow = options(way.port(), 1, r#","releaseDelayMs":7000"#);
    gone.open(&slow).expect("open");
    here.arrive(&mine, 1).expect("recorded");
    let longest = delay(&here, &mine, 0);
    assert!((longest - 7000.0).abs() < 0.1, "{longest}");
    let heard = mine.status().received_ms.expect("released");
    assert!(heard < 0.0, "the news came ahead of the instant: {heard}");

    // It was not heard of since long before the next release.
    way.black_hole(true);
    let (field, mut record) = second(&server);
    let seen: u64 = record[4].parse().expect("a time");
    record[4] = (seen - 60_000_000).to_string();
    let _: u32 = server.ask(&["HSET", RECORD, &field, &record.join("|")]);
    here.arrive(&mine, 1).expect("recorded");
    let alone = delay(&here, &mine, 1);
    assert!(alone.abs() < f64::EPSILON, "{alone}");
}

#[test]
fn a_message_that_was_held_up_costs_little() {
    let runtime = Runtime::new().expect("a runtime");
    let server = RedisServer::start();
    let way = Proxy::start(runtime.handle(), server.port());
    let (here, far) = (Process::start(), Process::start());
    let mine = here.open(&options(server.port(), 1, "")).expect("open");
    let theirs = far.open(&options(way.port(), 1, "")).expect("open");
    for phase in 0..8 {
        here.arrive(&mine, 1).expect("recorded");
        far.released(&theirs, phase);
    }
    // It comes to the far one two seconds late, and its next heartbeat tells what it makes of that.
    way.black_hole(true);
    here.arrive(&mine, 1).expect("recorded");
    here.released(&mine, 8);
    std::thread::sleep(Duration::from_secs(2));
    way.black_hole(false);
    far.released(&theirs, 8);
    let heard = theirs.status().received_ms.expect("released");
    assert!(heard > 1000.0, "it says how late the news was: {heard}");
    let (_, before) = second(&server);
    until("two heartbeats", || {
        let (_, now) = second(&server);
        let time = |record: &[String]| record[4].parse::<u64>().expect("a time");
        time(&now) > time(&before) + 6_000_000
    });
    // Nor do the releases after that, now that it is gone: it counts for a while yet, by what it told last.
    way.black_hole(true);
    for phase in 9..29 {
        here.arrive(&mine, 1).expect("recorded");
        let delay = delay(&here, &mine, phase);
        assert!(delay < 100.0, "phase {phase}: {delay} ms");
    }
}

#[test]
fn a_new_barrier_knows_the_clock_of_its_server() {
    let runtime = Runtime::new().expect("a runtime");
    let server = RedisServer::start();
    let way = Proxy::start(runtime.handle(), server.port());
    let process = Process::start();
    let json = options(way.port(), 1, "");
    let first = process.open(&json).expect("open");
    for _ in 0..8 {
        process.arrive(&first, 1).expect("recorded");
    }
    way.latency(Duration::from_millis(400));
    let second = process
        .open(&json.replace("default", "second"))
        .expect("open");
    let known = second.status().clock_bound_ms.expect("known");
    let good = first.status().clock_bound_ms.expect("known");
    assert!(known <= good, "{known} ms, while {good} ms is known");
}
