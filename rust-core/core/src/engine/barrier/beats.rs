//! Tests: what is said now and then is said under load as well.

use std::sync::Arc;

use super::tenant::tests::{Ended, alone as unconnected};
use super::*;
use crate::engine::Engine;
use crate::engine::net::Tick;
use crate::protocol::{Op, Request};
use crate::store::memory::MemoryStore;

fn answer(barrier: &Barrier, store: &mut MemoryStore, request: &Request, received: Instant) {
    let reply = store.apply(request, StoreTime(1), &mut Vec::new());
    barrier.take_reply(reply, received);
}

fn alone() -> (Engine, Arc<Barrier>) {
    let (engine, barrier) = unconnected(&Arc::new(Ended::default()));
    drop(barrier.open(1));
    barrier.connected();
    (engine, barrier)
}

#[test]
fn a_greeting_is_said_again_for_as_long_as_nobody_answers() {
    let mut store = MemoryStore::default();
    let (_there, other) = alone();
    let open = other.next_request().expect("open");
    answer(&other, &mut store, &open, Instant::now());
    let (_here, barrier) = alone();
    let open = barrier.next_request().expect("open");
    let mut now = Instant::now();
    answer(&barrier, &mut store, &open, now);
    assert_eq!(barrier.tick(now), Tick::Hello);
    for _ in 0..3 {
        now = barrier.state.lock().hello_next;
        assert_eq!(barrier.tick(now), Tick::Hello);
        let poll = barrier.next_request().expect("a poll");
        answer(&barrier, &mut store, &poll, now);
    }
    assert!(barrier.state.lock().session.awaits_others());
}

#[test]
fn answers_to_arrivals_put_no_beat_off() {
    let (_engine, barrier) = alone();
    let mut store = MemoryStore::default();
    let (open, opened) = (barrier.next_request().expect("open"), Instant::now());
    answer(&barrier, &mut store, &open, opened);
    let due = barrier.state.lock().beat_at;
    for n in 2..5 {
        let arrival = Call::Report {
            participant: Participant::new(&n.to_string()).expect("valid"),
            report: Report::Arrive { owner: n },
            explicit: true,
        };
        drop(barrier.submit(arrival, n));
        let arrived = barrier.next_request().expect("an arrival");
        answer(
            &barrier,
            &mut store,
            &arrived,
            opened + Duration::from_secs(n),
        );
    }
    assert_eq!(barrier.state.lock().beat_at, due);
    barrier.tick(due);
    let beat = barrier.next_request().expect("a beat");
    assert!(matches!(beat.op, Op::Beat { .. }), "{beat:?}");
    answer(&barrier, &mut store, &beat, due);
    assert_eq!(barrier.state.lock().beat_at, due + BEAT_MAX);
}
