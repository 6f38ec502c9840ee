//! A bug in the core: nobody is left waiting, and k6's log says where it was.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use barrier_core::engine::{
    Barrier, Call, CounterOptions, Emission, Engine, JoinCall, Level, Limit, Line, OperatorOptions,
    Sink, Submitted,
};
use barrier_core::error::Error;
use barrier_core::group::options::GroupOptions;
use barrier_core::ids::Phase;
use barrier_core::options::BarrierOptions;

use super::host::{arrival, call, id};
use super::options;
use super::redis_cluster::until;
use super::support::RedisServer;

/// A host that panics once, at the first news of a kind: that is as far inside as a test can reach.
struct Trap {
    springs_at: fn(&Emission) -> bool,
    sprung: AtomicBool,
    broken: Mutex<Vec<u64>>,
    done: Mutex<Vec<(u64, Option<Error>)>>,
    /// How often there was something to read in the log.
    lines: Mutex<Vec<()>>,
    news: Condvar,
}

impl Sink for Trap {
    fn emit(&self, news: &mut Vec<Emission>) {
        for item in news.drain(..) {
            if (self.springs_at)(&item) && !self.sprung.swap(true, Ordering::Relaxed) {
                panic!("on purpose");
            }
            match item {
                Emission::Broken { barrier } => self.broken.lock().expect("sound").push(barrier),
                Emission::Done { ticket, result, .. } => {
                    let mut done = self.done.lock().expect("sound");
                    done.push((ticket.redeem(), result.err()));
                }
                Emission::Text { ticket, result } => {
                    let mut done = self.done.lock().expect("sound");
                    done.push((ticket.redeem(), result.err()));
                }
                Emission::Log => self.lines.lock().expect("sound").push(()),
                _ => {}
            }
        }
        self.news.notify_all();
    }
}

const fn a_release(news: &Emission) -> bool {
    matches!(news, Emission::Released { .. })
}

const fn an_expired_wait(news: &Emission) -> bool {
    matches!(
        news,
        Emission::Done {
            result: Err(Error::Timeout(_)),
            ..
        }
    )
}

const fn an_answer(news: &Emission) -> bool {
    matches!(news, Emission::Text { .. })
}

impl Trap {
    fn set(springs_at: fn(&Emission) -> bool) -> (Arc<Self>, Engine) {
        let trap = Arc::new(Self {
            springs_at,
            sprung: AtomicBool::new(false),
            broken: Mutex::default(),
            done: Mutex::default(),
            lines: Mutex::default(),
            news: Condvar::new(),
        });
        let engine = Engine::new(Arc::clone(&trap) as Arc<dyn Sink>);
        (trap, engine)
    }

    fn until<T>(&self, heard: &Mutex<Vec<T>>, met: impl Fn(&[T]) -> bool) {
        let heard = heard.lock().expect("sound");
        let (_heard, timeout) = self
            .news
            .wait_timeout_while(heard, Duration::from_secs(60), |heard| !met(heard))
            .expect("sound");
        assert!(!timeout.timed_out(), "nothing heard");
    }

    /// The call ends, with an error.
    fn ends(&self, token: u64) {
        let ended = |done: &[(u64, Option<Error>)]| done.iter().any(|(t, _)| *t == token);
        self.until(&self.done, ended);
        let done = self.done.lock().expect("sound");
        let of_token: Vec<_> = done.iter().filter(|(t, _)| *t == token).collect();
        assert!(matches!(of_token[..], [(_, Some(_))]), "{of_token:?}");
    }

    /// The log has one error, which says what it was and where: in this file.
    fn says_where(&self, engine: &Engine) {
        let errors = || {
            let mut errors = Vec::new();
            while let Some(line) = engine.log().next(|_| false) {
                errors.extend((line.level == Level::Error).then_some(line));
            }
            errors
        };
        let mut told: Vec<Line> = Vec::new();
        let mut heard = 0;
        while told.is_empty() {
            self.until(&self.lines, |lines| lines.len() > heard);
            heard += 1;
            told.extend(errors());
        }
        assert_eq!(told.len(), 1, "{told:?}");
        for part in ["on purpose", "tests/engine/panics.rs"] {
            assert!(told[0].message.contains(part), "{}", told[0].message);
        }
    }
}

fn in_memory(engine: &Engine, parties: u32, more: &str) -> Arc<Barrier> {
    let json = format!(r#"{{"name":"b","parties":{parties}{more}}}"#);
    let options = BarrierOptions::from_json(json.as_bytes()).expect("valid");
    let barrier = engine.barrier(options).expect("open");
    barrier.handle_or_init(|| 7);
    drop(barrier.open(1 << 40));
    barrier
}

/// A wait for the first phase.
fn waits(ms: u64) -> Call {
    let limit = Limit {
        wait: Duration::from_millis(ms),
        ..Limit::default()
    };
    Call::Wait(Phase(0), None, limit)
}

/// The barrier says why it is of no use any more, to those who ask and to those who call.
fn refuses(barrier: &Barrier) {
    let status = barrier.status().broken.expect("it says why");
    assert!(status.message.contains("on purpose"), "{status:?}");
    let refused = barrier.submit(call(9, arrival(9)), 99);
    assert!(format!("{refused:?}").contains("on purpose"), "{refused:?}");
}

#[test]
fn everyone_who_waits_is_told_and_the_log_says_where() {
    let server = RedisServer::start();
    let (trap, engine) = Trap::set(a_release);
    let tokens = AtomicU64::new(100);
    let open = |run: &str, parties| {
        let json = options(&server, run, parties);
        let options = BarrierOptions::from_json(json.as_bytes()).expect("valid");
        let barrier = engine.barrier(options).expect("open");
        barrier.handle_or_init(|| u64::from(parties));
        let token = tokens.fetch_add(1, Ordering::Relaxed);
        drop(barrier.open(token));
        trap.until(&trap.done, |done| {
            done.iter().any(|(t, e)| *t == token && e.is_none())
        });
        barrier
    };
    let (patient, hasty) = (open("patient", 2), open("hasty", 1));
    // This one waits at the gate, for somebody who never comes.
    drop(patient.submit(call(1, arrival(1)), 1));
    trap.until(&trap.done, |done| {
        done.iter().any(|(t, e)| *t == 1 && e.is_none())
    });

    drop(hasty.submit(call(1, arrival(1)), 2));
    trap.until(&trap.done, |done| done.iter().any(|(t, _)| *t == 2));
    trap.until(&trap.broken, |broken| {
        broken.contains(&2) && broken.contains(&1)
    });
    refuses(&patient);
    trap.says_where(&engine);
}

#[test]
fn a_panic_on_a_callers_thread_leaves_nobody_waiting() {
    let (trap, engine) = Trap::set(a_release);
    let barrier = in_memory(&engine, 2, "");
    // The first one waits at the gate; the second one's release panics within its own call.
    drop(barrier.submit(call(1, arrival(1)), 2));
    let caught = barrier.submit(call(2, arrival(2)), 3);
    assert!(format!("{caught:?}").contains("on purpose"), "{caught:?}");
    trap.until(&trap.broken, |broken| broken.contains(&7));
    refuses(&barrier);
    trap.says_where(&engine);
}

/// What ends waits that have lasted long enough is one task for all barriers: it goes on.
#[test]
fn a_panic_while_a_wait_is_ended_leaves_nobody_waiting() {
    let (trap, engine) = Trap::set(an_expired_wait);
    let barrier = in_memory(&engine, 2, "");
    drop(barrier.submit(waits(60_000), 1));
    drop(barrier.submit(waits(1), 2));
    trap.ends(2);
    trap.until(&trap.broken, |broken| broken.contains(&7));
    refuses(&barrier);
    trap.says_where(&engine);

    let options = BarrierOptions::from_json(br#"{"name":"other","parties":2}"#).expect("valid");
    let other = engine.barrier(options).expect("open");
    drop(other.submit(waits(1), 3));
    trap.ends(3);
}

#[test]
fn a_panic_at_an_instant_leaves_nobody_waiting() {
    let (trap, engine) = Trap::set(a_release);
    let soon = SystemTime::now() + Duration::from_millis(200);
    let soon = soon.duration_since(UNIX_EPOCH).expect("after 1970");
    let more = format!(r#","releaseAt":{}"#, soon.as_millis());
    let barrier = in_memory(&engine, 1, &more);
    // This one is in no hurry, and hears of it at the gate.
    drop(barrier.submit(waits(60_000), 1));
    let arrived = barrier.submit(call(1, arrival(1)), 2);
    assert!(matches!(arrived, Submitted::Done(Ok(_))), "{arrived:?}");
    trap.until(&trap.broken, |broken| broken.contains(&7));
    refuses(&barrier);
    trap.says_where(&engine);
}

/// Answers of counters, of operators and of who is missing, each by a task of its own.
#[test]
fn a_panic_within_an_answer_ends_the_question() {
    let server = RedisServer::start();
    let ask: [fn(&Engine, &RedisServer, u64); 3] = [
        |engine, server, token| {
            let json = serde_json::json!({ "redis": server.url(), "keys": ["q"] }).to_string();
            let options = CounterOptions::from_json(json.as_bytes()).expect("valid");
            engine.counter(options).expect("open").counts(token);
        },
        |engine, server, token| {
            let json = serde_json::json!({ "redis": server.url() }).to_string();
            let options = OperatorOptions::from_json(json.as_bytes()).expect("valid");
            let question = serde_json::json!({ "op": "servers" });
            let question = serde_json::from_value(question).expect("a question");
            let operator = engine.operator(options).expect("open");
            operator.ask(question, token);
        },
        |engine, _, token| in_memory(engine, 2, "").missing(10, token),
    ];
    for ask in ask {
        let (trap, engine) = Trap::set(an_answer);
        ask(&engine, &server, 1);
        trap.ends(1);
        trap.says_where(&engine);
        // The next one is answered.
        ask(&engine, &server, 2);
        let answered =
            |done: &[(u64, Option<Error>)]| done.iter().any(|(t, e)| *t == 2 && e.is_none());
        trap.until(&trap.done, answered);
    }
}

/// Over Redis by the task of the connection, in memory on the caller's thread, and where a wait expires by the task of all waits.
#[test]
fn a_panic_in_a_group_leaves_nobody_waiting() {
    let server = RedisServer::start();
    let redis = format!(r#","store":"{}","runId":"g""#, server.url());
    for (store, wait) in [("", 60_000), (redis.as_str(), 60_000), ("", 1)] {
        let (trap, engine) = Trap::set(an_answer);
        let json = format!(r#"{{"name":"lobby","size":2{store}}}"#);
        let options = GroupOptions::from_json(json.as_bytes()).expect("valid");
        let group = engine.group(options).expect("open");
        let join = |n: u32, wait: u64| {
            let call = JoinCall {
                participant: id(n),
                owner: n.into(),
                payload: None,
                wait: Duration::from_millis(wait),
            };
            group.join(&call, n.into())
        };
        join(1, wait).expect("it waits");
        if wait > 1 {
            // The group forms; where that panics on this thread, the call says so itself.
            if let Err(error) = join(2, wait) {
                assert!(error.to_string().contains("on purpose"), "{error}");
            } else {
                trap.ends(2);
            }
        }
        trap.ends(1);
        trap.says_where(&engine);
        // The log may say it a moment before the group does.
        let mut others = 3..;
        until("the group says why it is of no use", || {
            let refused = join(others.next().expect("endless"), 60_000);
            refused.is_err_and(|error| error.to_string().contains("on purpose"))
        });
    }
}
