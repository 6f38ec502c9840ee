//! A system that gives the core no thread and no descriptor: every call ends, and says so.
#![cfg(target_os = "linux")]

use std::process::Command;
use std::sync::Arc;

use barrier_core::engine::{Barrier, Call, Emission, Engine, Limit, Sink, Submitted};
use barrier_core::error::Error;
use barrier_core::ids::{Participant, Phase};
use barrier_core::ledger::Report;
use barrier_core::options::BarrierOptions;
use parking_lot::Mutex;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the process is short of that runs a test again.
const SHORT_OF: &str = "K6_BARRIER_TEST_SHORT_OF";
/// A child that takes longer hangs.
const PATIENCE: &str = "60";

/// Answers to questions, which come by their tickets alone.
#[derive(Default)]
struct Answers(Mutex<Vec<Result<String, Error>>>);

impl Sink for Answers {
    fn emit(&self, news: &mut Vec<Emission>) {
        for item in news.drain(..) {
            if let Emission::Text { ticket, result } = item {
                let _redeemed = ticket.redeem();
                self.0.lock().push(result);
            }
        }
    }
}

/// Runs the test again in a process that is short of something.
fn again(test: &str, short_of: &str) {
    let this = std::env::current_exe().expect("its own path");
    let ended = Command::new("timeout")
        .arg(PATIENCE)
        .arg(this)
        .args(["--exact", test, "--nocapture"])
        .env(SHORT_OF, short_of)
        .status()
        .expect("the same program");
    assert!(ended.success(), "without {short_of}: {ended}");
}

/// From here on the system gives no more.
fn starve(of: &str) {
    let (resource, most) = match of {
        "descriptors" => (Resource::Nofile, 0),
        // The stack of another thread needs more than that.
        "threads" => (Resource::As, memory_used() + (1 << 20)),
        other => panic!("{other}?"),
    };
    let limit = Rlimit {
        current: Some(most),
        maximum: getrlimit(resource).maximum,
    };
    setrlimit(resource, limit).expect("a lower limit");
}

fn memory_used() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmSize:")?.trim().strip_suffix(" kB"));
    let kilobytes: u64 = kilobytes.and_then(|kb| kb.parse().ok()).expect("its size");
    kilobytes * 1024
}

fn id(n: u32) -> Participant {
    Participant::new(&n.to_string()).expect("valid")
}

fn arrive(barrier: &Barrier, n: u32) -> Submitted {
    let call = Call::Report {
        participant: id(n),
        report: Report::Arrive { owner: n.into() },
        explicit: true,
    };
    barrier.submit(call, n.into())
}

fn says_why(error: &Error) {
    let text = error.to_string();
    assert!(text.contains("the core cannot start"), "{text}");
}

/// How many descriptors are open.
fn descriptors() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").expect("Linux");
    open.count()
}

#[test]
fn a_core_that_cannot_start_leaves_nobody_waiting() {
    let Ok(short_of) = std::env::var(SHORT_OF) else {
        let this = "a_core_that_cannot_start_leaves_nobody_waiting";
        again(this, "descriptors");
        return again(this, "threads");
    };
    let answers = Arc::new(Answers::default());
    let engine = Engine::new(Arc::clone(&answers) as Arc<dyn Sink>);
    let open = |json: &str| {
        let options = BarrierOptions::from_json(json.as_bytes()).expect("valid");
        let barrier = engine.barrier(options)?;
        drop(barrier.open(1 << 40));
        Ok(barrier)
    };
    starve(&short_of);
    let counts = short_of != "descriptors"; // which it would take one for
    let before = counts.then(descriptors);

    // What has to be on time needs the core's thread, and is refused at once.
    for timed in [
        r#""releaseAt":4000000000000"#,
        r#""spread":{"pace":{"rate":5}}"#,
    ] {
        let json = format!(r#"{{"name":"timed","parties":2,{timed}}}"#);
        match open(&json) {
            Err(error) => says_why(&error),
            // It must not hang either where the last one arrives.
            Ok(barrier) => panic!("{:?}", [1, 2].map(|n| arrive(&barrier, n))),
        }
    }

    // What needs no time goes on.
    let barrier = open(r#"{"name":"plain","parties":2}"#).expect("nothing is started");
    let _one = arrive(&barrier, 1);
    barrier.missing(10, 7);
    let missing = answers.0.lock().pop().expect("answered at once");
    says_why(&missing.expect_err("nobody can look"));
    let limit = Limit::default();
    match barrier.submit(Call::Wait(Phase(0), None, limit), 8) {
        Submitted::Done(Err(error)) => says_why(&error),
        other => panic!("{other:?}"),
    }
    let two = arrive(&barrier, 2);
    assert!(matches!(two, Submitted::Done(Ok(_))), "{two:?}");
    assert!(barrier.release_info(Phase(0)).is_some(), "all were there");

    // Many calls may find out that there is no thread.
    assert_eq!(before, counts.then(descriptors), "open descriptors");
}
