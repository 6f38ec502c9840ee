//! The model test: random runs of one to three processes over a network that loses requests and answers and a store that
//! loses its memory, for both stores; and the same with each rule of the script removed, which must be found out.
//!
//! `K6_BARRIER_MODEL_RUNS` and `K6_BARRIER_MODEL_SEED` set how many runs there are and where they start.

#[path = "../support/mod.rs"]
mod support;

mod batches;
mod plan;
mod stores;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use barrier_core::store::redis::SCRIPT;
use plan::Plan;
use serde::Deserialize;
use stores::{Memory, Real, Store};
use world::World;

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => default,
    }
}

fn seeds(runs: u64) -> std::ops::Range<u64> {
    let first = number("K6_BARRIER_MODEL_SEED", 1);
    first..first + number("K6_BARRIER_MODEL_RUNS", runs)
}

fn run(seed: u64, store: &mut dyn Store) -> usize {
    World::new(Plan::from_seed(seed), store).run()
}

#[test]
fn the_memory_store_keeps_every_rule() {
    let mut released = 0;
    for seed in seeds(3000) {
        println!("seed {seed}"); // shown where the test fails
        released += run(seed, &mut Memory::default());
    }
    assert!(released > 0, "no run released anything");
}

#[test]
fn the_script_answers_as_the_memory_store_does() {
    let server = support::RedisServer::start();
    let mut connection = server.connection();
    let mut released = 0;
    for seed in seeds(300) {
        let options = Plan::from_seed(seed).options();
        released += run(
            seed,
            &mut Real::new(&mut connection, &options, SCRIPT, true),
        );
    }
    assert!(released > 0, "no run released anything");
}

#[test]
fn a_release_seen_is_told_to_a_store_that_lost_it() {
    world::release_survives_in_whoever_saw_it(&mut Memory::default());
    let server = support::RedisServer::start();
    let mut connection = server.connection();
    let options = Plan::from_seed(1).options();
    world::release_survives_in_whoever_saw_it(&mut Real::new(
        &mut connection,
        &options,
        SCRIPT,
        true,
    ));
}

/// A rule's text in a source, and what stands there when it is removed. `make rules` removes those of the process's side.
#[derive(Deserialize)]
struct Rule {
    rule: String,
    file: String,
    text: String,
    without: String,
}

fn rules() -> Vec<Rule> {
    serde_json::from_str(include_str!("../rules.json")).expect("a list of rules")
}

#[test]
fn each_rule_stands_where_it_would_be_removed() {
    let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for rule in rules() {
        let source = std::fs::read_to_string(sources.join(&rule.file)).expect("a source");
        let places = source.matches(&rule.text).count();
        assert_eq!(places, 1, "{}, in {}", rule.rule, rule.file);
    }
}

#[test]
fn each_rule_of_the_script_is_needed() {
    let server = support::RedisServer::start();
    let mut connection = server.connection();
    // The failures of this thread are wanted and not worth reading.
    let hook = Arc::new(std::panic::take_hook());
    let (others, here) = (Arc::clone(&hook), std::thread::current().id());
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().id() != here {
            others(info);
        }
    }));
    let mut unnoticed = Vec::new();
    for Rule {
        rule,
        text,
        without,
        ..
    } in rules().into_iter().filter(|r| r.file.ends_with(".lua"))
    {
        assert_eq!(
            SCRIPT.matches(&text).count(),
            1,
            "{rule}: its text is not in the script once"
        );
        let source = SCRIPT.replace(&text, &without);
        // What few runs come to has a test of its own.
        let options = Plan::from_seed(1).options();
        let mut store = Real::new(&mut connection, &options, &source, false);
        let survives = || world::release_survives_in_whoever_saw_it(&mut store);
        if catch_unwind(AssertUnwindSafe(survives)).is_err() {
            continue;
        }
        let found = (1..600).find(|seed| {
            let options = Plan::from_seed(*seed).options();
            let mut store = Real::new(&mut connection, &options, &source, false);
            catch_unwind(AssertUnwindSafe(|| run(*seed, &mut store))).is_err()
        });
        if found.is_none() {
            unnoticed.push(rule);
        }
    }
    std::panic::set_hook(Box::new(move |info| hook(info)));
    assert!(
        unnoticed.is_empty(),
        "removed without being noticed: {unnoticed:?}"
    );
}

/// The same of what the script does for many at once: without it, it no longer does what it does for one after the other, which
/// is what the memory store does.
const SHORTCUTS: [(&str, &str, &str); 2] = [
    (
        "only those whom nobody knows arrive in one go",
        "if participants[field] or leaves[field] then",
        "if false then",
    ),
    (
        "nobody arrives in one go with the one who completes the phase",
        "last = math.min(last, first + arrivals_to_go() - 1)",
        "",
    ),
];

#[test]
fn each_shortcut_of_the_script_is_needed() {
    let server = support::RedisServer::start();
    let mut connection = server.connection();
    for (rule, text, without) in SHORTCUTS {
        assert_eq!(SCRIPT.matches(text).count(), 1, "{rule}");
        let source = SCRIPT.replace(text, without);
        let found = (1..600).find(|seed| {
            let options = Plan::from_seed(*seed).options();
            let mut store = Real::new(&mut connection, &options, &source, true);
            catch_unwind(AssertUnwindSafe(|| run(*seed, &mut store))).is_err()
        });
        assert!(found.is_some(), "removed without being noticed: {rule}");
    }
}
