//! A soak in one process: ever new barriers, and a memory that stops growing after the first thousand. Alone in its program, since it
//! is the memory of that which is looked at.
#![cfg(target_os = "linux")]

use std::sync::Arc;

use barrier_core::engine::{Call, Emission, Engine, OVER_MAX, Sink, Submitted};
use barrier_core::ids::Participant;
use barrier_core::ledger::Report;
use barrier_core::options::BarrierOptions;

const USERS: u64 = 10;
/// A barrier with ten users keeps more than this: 3,000 that stayed would be ten times what may be added.
const GROWTH_MAX_KIB: u64 = 1000;

struct Nobody;

impl Sink for Nobody {
    fn emit(&self, news: &mut Vec<Emission>) {
        news.clear(); // in memory, calls are answered by what they return
    }
}

fn cross(engine: &Engine, round: usize) {
    let json = format!(r#"{{"name":"round-{round}","parties":{USERS}}}"#);
    let options = BarrierOptions::from_json(json.as_bytes()).expect("options");
    let barrier = engine.barrier(options).expect("a barrier");
    drop(barrier.open(1));
    for user in 1..=USERS {
        let call = Call::Report {
            participant: Participant::new(&user.to_string()).expect("valid"),
            report: Report::Arrive { owner: user },
            explicit: true,
        };
        let arrived = barrier.submit(call, 1 + user);
        assert!(matches!(arrived, Submitted::Done(Ok(_))), "{arrived:?}");
    }
}

/// Resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib = line.and_then(|l| l.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.parse().ok()).expect("a number")
}

#[test]
fn barriers_one_after_another_take_no_more_memory_after_a_thousand() {
    let engine = Engine::new(Arc::new(Nobody));
    // As many as are remembered, and those that are let retire together.
    let full = OVER_MAX + OVER_MAX / 10;
    (0..full).for_each(|round| cross(&engine, round));
    let before = resident();
    (full..full + 3 * OVER_MAX).for_each(|round| cross(&engine, round));
    let grown = resident().saturating_sub(before);
    let tally = engine.tally();
    assert!(grown < GROWTH_MAX_KIB, "{grown} KiB more; {tally:?}");
}
