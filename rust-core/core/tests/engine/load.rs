//! A store far away and users who never stop arriving: what ends a phase, and what asks how it stands, has its turn.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use barrier_core::engine::Barrier;
use barrier_core::error::Error;
use barrier_core::options::BarrierOptions;
use barrier_core::session::Done;
use tokio::runtime::Runtime;

use super::host::{Process, arrival, call};
use super::proxy::Proxy;
use super::redis_cluster::until;
use super::support::RedisServer;

/// As many of the calls wait for their turn while the others go on.
const BACKLOG: u32 = 5_000;

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `during` while users arrive faster than the store is reached.
fn under_load(options: &str, during: impl FnOnce(&Process, &Barrier)) {
    let runtime = Runtime::new().expect("a runtime");
    let server = RedisServer::start();
    let way = Proxy::start(runtime.handle(), server.port());
    let process = Process::start();
    let json = format!(
        r#"{{"store":"redis://127.0.0.1:{}","runId":"load","name":"gate","parties":10000000{options}}}"#,
        way.port()
    );
    let barrier = process.open(&json).expect("open");
    way.latency(Duration::from_millis(60));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut users = 1..=10_000_000;
            while !done.load(Ordering::Relaxed) {
                let arrived = barrier.status().arrived;
                for user in users.by_ref() {
                    process.submit(&barrier, call(user, arrival(user)));
                    if user > arrived + BACKLOG {
                        break;
                    }
                }
                thread::sleep(Duration::from_millis(1));
            }
        });
        // Whatever becomes of this, the users stop.
        let _stop = Stop(&done);
        until("the load", || barrier.status().arrived > 1_000);
        during(&process, &barrier);
    });
}

#[test]
fn an_abort_breaks_the_barrier() {
    under_load("", |process, barrier| {
        let done = process.abort(barrier, "stop").expect("in time");
        assert!(matches!(done, Done::BrokenNow(_)), "{done:?}");
        process.broken(barrier);
    });
}

#[test]
fn a_wait_that_expires_is_answered_by_the_store() {
    under_load("", |process, barrier| {
        let error = process.expire(barrier, 0).expect_err("not all are here");
        assert!(matches!(error, Error::Timeout(_)), "{error}");
    });
}

#[test]
fn all_waits_that_expire_at_once_release_in_time() {
    under_load(r#","onTimeout":"release""#, |process, barrier| {
        let phase = barrier_core::ids::Phase(0);
        let expire = || barrier_core::engine::Call::Expire(phase);
        let tokens: Vec<_> = (0..500)
            .map(|_| process.submit(barrier, expire()))
            .collect();
        for token in tokens {
            assert_eq!(process.done(token).expect("in time"), Done::Over);
        }
        process.released(barrier, 0);
    });
}

/// How often a script has run.
fn scripts(server: &RedisServer) -> u32 {
    let stats: String = server.ask(&["INFO", "commandstats"]);
    let line = stats
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    let calls = line.and_then(|line| line.split(',').next()?.parse().ok());
    calls.expect("there were some")
}

/// All barriers of a server share a connection: the others do not wait for the answer to a new one's subscription.
#[test]
fn a_new_barrier_holds_nobody_up() {
    let runtime = Runtime::new().expect("a runtime");
    let server = RedisServer::start();
    let way = Proxy::start(runtime.handle(), server.port());
    let process = Process::start();
    let options = |run: &str| {
        let port = way.port();
        format!(
            r#"{{"store":"redis://127.0.0.1:{port}","runId":"{run}","name":"default","parties":9}}"#
        )
    };
    let old = process.open(&options("old")).expect("open");
    // Its first heartbeat is over: nothing of it is on its way, and nothing will be for a while.
    let before = scripts(&server);
    process.arrive(&old, 1).expect("recorded");
    until("an arrival and a heartbeat", || {
        scripts(&server) >= before + 2
    });
    process.arrive(&old, 2).expect("recorded");

    way.hold_replies(true);
    let json = options("new");
    let options = BarrierOptions::from_json(json.as_bytes()).expect("valid");
    let new = process.engine.barrier(options).expect("a barrier");
    new.handle_or_init(|| process.fresh_token());
    let opened = process.fresh_token();
    drop(new.open(opened));
    until("both subscriptions", || {
        let channels: Vec<String> = server.ask(&["PUBSUB", "CHANNELS", "K6_BARRIER_EVENTS:*"]);
        channels.len() == 2
    });
    let arrives = process.submit(&old, call(3, arrival(3)));
    until("an arrival at the old one", || {
        server.ask::<u32>(&["SCARD", "K6_BARRIER_JOINED:old"]) == 3
    });
    way.hold_replies(false);
    process.done(arrives).expect("recorded");
    process.done(opened).expect("open");
}
