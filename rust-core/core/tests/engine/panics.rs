//! A bug in the core: nobody is left waiting, and k6's log says where it was.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use barrier_core::engine::{Emission, Engine, Level, Sink};
use barrier_core::error::Error;
use barrier_core::options::BarrierOptions;

use super::host::{arrival, call};
use super::options;
use super::support::RedisServer;

/// A host that panics once, at the first release: that is as far inside as a test can reach.
#[derive(Default)]
struct Trap {
    sprung: AtomicBool,
    broken: Mutex<Vec<u64>>,
    done: Mutex<Vec<(u64, Option<Error>)>>,
    news: Condvar,
}

impl Sink for Trap {
    fn emit(&self, news: &mut Vec<Emission>) {
        for item in news.drain(..) {
            match item {
                Emission::Released { .. } if !self.sprung.swap(true, Ordering::Relaxed) => {
                    panic!("on purpose");
                }
                Emission::Broken { barrier } => self.broken.lock().expect("sound").push(barrier),
                Emission::Done { ticket, result, .. } => {
                    let mut done = self.done.lock().expect("sound");
                    done.push((ticket.redeem(), result.err()));
                }
                _ => {}
            }
        }
        self.news.notify_all();
    }
}

impl Trap {
    fn until<T>(&self, heard: &Mutex<Vec<T>>, met: impl Fn(&[T]) -> bool) {
        let heard = heard.lock().expect("sound");
        let (_heard, timeout) = self
            .news
            .wait_timeout_while(heard, Duration::from_secs(60), |heard| !met(heard))
            .expect("sound");
        assert!(!timeout.timed_out(), "nothing heard");
    }
}

#[test]
fn everyone_who_waits_is_told_and_the_log_says_where() {
    let server = RedisServer::start();
    let trap = Arc::new(Trap::default());
    let engine = Engine::new(Arc::clone(&trap) as Arc<dyn Sink>);
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
    let status = patient.status().broken.expect("it says why");
    assert!(status.message.contains("on purpose"), "{status:?}");
    let refused = patient.submit(call(2, arrival(2)), 3);
    assert!(format!("{refused:?}").contains("on purpose"), "{refused:?}");

    let mut lines = Vec::new();
    while let Some(line) = engine.log().next(|_| false) {
        lines.push(line);
    }
    let told: Vec<_> = lines.iter().filter(|l| l.level == Level::Error).collect();
    assert_eq!(told.len(), 1, "{lines:?}");
    let here = "tests/engine/panics.rs";
    assert!(told[0].message.contains(here), "{}", told[0].message);
}

#[test]
fn a_panic_on_a_callers_thread_leaves_nobody_waiting() {
    let trap = Arc::new(Trap::default());
    let engine = Engine::new(Arc::clone(&trap) as Arc<dyn Sink>);
    let options = BarrierOptions::from_json(br#"{"name":"b","parties":2}"#).expect("valid");
    let barrier = engine.barrier(options).expect("open");
    barrier.handle_or_init(|| 7);
    drop(barrier.open(1));
    // The first one waits at the gate; the second one's release panics within its own call.
    drop(barrier.submit(call(1, arrival(1)), 2));
    let caught = barrier.submit(call(2, arrival(2)), 3);
    assert!(format!("{caught:?}").contains("on purpose"), "{caught:?}");
    trap.until(&trap.broken, |broken| broken.contains(&7));
    let status = barrier.status().broken.expect("it says why");
    assert!(status.message.contains("on purpose"), "{status:?}");

    let mut told = Vec::new();
    while let Some(line) = engine.log().next(|_| false) {
        told.push(line);
    }
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].level, Level::Error);
}
