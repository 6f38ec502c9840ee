//! What a process keeps of barriers that are over: its memory while ever new ones are crossed, and its processor time when it
//! is idle after that.
//!
//! Not of criterion's kind, because what is measured are levels and no durations: `cargo bench -p barrier-core --bench life`.

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use barrier_core::engine::{Call, Emission, Engine, OVER_MAX, Sink, Submitted};
use barrier_core::ids::Participant;
use barrier_core::ledger::Report;
use barrier_core::options::BarrierOptions;

const ROUNDS: usize = 10_000;
const USERS: u64 = 10;
const IDLE: Duration = Duration::from_secs(10);

/// How many calls have ended, and how many barriers were released.
#[derive(Default)]
struct Ear {
    heard: Mutex<(u64, u64)>,
    news: Condvar,
}

impl Sink for Ear {
    fn emit(&self, news: &mut Vec<Emission>) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        for item in news.drain(..) {
            match item {
                Emission::Done { ticket, .. } => {
                    let _answered = ticket.redeem();
                    heard.0 += 1;
                }
                Emission::Released { .. } => heard.1 += 1,
                _ => {}
            }
        }
        self.news.notify_all();
    }
}

impl Ear {
    fn submitted(&self, submitted: &Submitted) {
        if matches!(submitted, Submitted::Done(_)) {
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.0 += 1;
        }
    }

    fn until(&self, met: impl Fn(&(u64, u64)) -> bool) {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.news.wait_while(heard, |heard| !met(heard));
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// One process: barriers crossed so far, and calls made for them.
struct Process {
    ear: Arc<Ear>,
    engine: Engine,
    store: String,
    crossed: u64,
    calls: u64,
}

impl Process {
    fn start(store: String) -> Self {
        let ear = Arc::new(Ear::default());
        Self {
            engine: Engine::new(Arc::clone(&ear) as Arc<dyn Sink>),
            ear,
            store,
            crossed: 0,
            calls: 0,
        }
    }

    fn cross(&mut self) {
        let (store, round) = (&self.store, self.crossed);
        let json = format!(
            r#"{{"store":"{store}","runId":"soak","name":"round-{round}","parties":{USERS}}}"#
        );
        let options = BarrierOptions::from_json(json.as_bytes()).expect("options");
        let barrier = self.engine.barrier(options).expect("a barrier");
        barrier.handle_or_init(|| self.crossed + 1);
        self.calls += 1;
        self.ear.submitted(&barrier.open(self.calls));
        let calls = self.calls;
        self.ear.until(|(done, _)| *done >= calls);
        for user in 1..=USERS {
            self.calls += 1;
            let call = Call::Report {
                participant: Participant::new(&user.to_string()).expect("valid"),
                report: Report::Arrive { owner: user },
                explicit: false,
            };
            self.ear.submitted(&barrier.submit(call, self.calls));
        }
        self.crossed += 1;
        let met = (self.calls, self.crossed);
        self.ear.until(|heard| heard.0 >= met.0 && heard.1 >= met.1);
    }

    /// Until all have retired that may.
    fn settle(&self) {
        let settled = usize::try_from(self.crossed).map_or(OVER_MAX, |n| n.min(OVER_MAX));
        while self.store != "memory" && self.engine.tally().retired < settled {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib = line.and_then(|l| l.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.parse().ok()).expect("a number")
}

/// Processor time of this process so far.
fn processor() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux");
    let spent = tasks.filter_map(|task| {
        let schedstat = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        schedstat.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(spent.sum())
}

fn idle() -> Duration {
    let before = processor();
    std::thread::sleep(IDLE);
    processor() - before
}

fn soak(name: &str, store: String) {
    println!("{name}: {ROUNDS} barriers of {USERS} users one after another");
    let mut process = Process::start(store);
    process.cross();
    process.settle();
    println!(
        "  idle for {IDLE:?} after 1 barrier: {:?} of processor time",
        idle()
    );
    let begin = resident();
    println!("  after      1: {begin:6} KiB");
    let mut settled = 0;
    for round in 2..=ROUNDS {
        process.cross();
        if round % 1000 == 0 {
            process.settle();
            let now = resident();
            println!(
                "  after {round:6}: {now:6} KiB, {:+6} KiB",
                now.cast_signed() - begin.cast_signed()
            );
            if round == OVER_MAX {
                settled = now;
            }
        }
    }
    let grown = resident().cast_signed() - settled.cast_signed();
    println!("  grown since the {OVER_MAX}th: {grown} KiB");
    println!("  {:?}", process.engine.tally());
    println!(
        "  idle for {IDLE:?} after that: {:?} of processor time",
        idle()
    );
}

fn main() {
    soak("memory", "memory".into());
    let server = support::RedisServer::start();
    soak("Redis", server.url());
}
