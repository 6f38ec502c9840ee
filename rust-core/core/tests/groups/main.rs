//! Groups over both stores: random runs of one to three processes over a network that loses requests and answers and a store that
//! loses its memory; the script beside the memory store, operation by operation; and each rule of the script removed, which must
//! be found out.
//!
//! `K6_BARRIER_MODEL_RUNS` and `K6_BARRIER_MODEL_SEED` set how many runs there are and where they start.

#[path = "../support/mod.rs"]
mod support;

mod session;
mod stores;
mod time;
mod work;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use barrier_core::group::redis::SCRIPT;
use stores::{Memory, Real, Store};
use world::{Plan, World};

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
    let mut formed = 0;
    for seed in seeds(1500) {
        println!("seed {seed}"); // shown where the test fails
        formed += run(seed, &mut Memory::default());
    }
    assert!(formed > 0, "no group formed in any run");
}

/// The script, which clears away what lives that are over have left place by place: else these few would be gone at once.
fn sweeping_slowly() -> String {
    let slow = SCRIPT.replace("SWEPT_MAX = 200 ", "SWEPT_MAX = 1 ");
    assert_ne!(slow, SCRIPT, "the script says how much it sweeps");
    slow
}

#[test]
fn the_script_answers_as_the_memory_store_does() {
    let server = support::RedisServer::start();
    let mut connection = server.connection();
    let mut formed = 0;
    let slow = sweeping_slowly();
    for seed in seeds(300) {
        println!("seed {seed}");
        let options = Plan::from_seed(seed).options();
        let source = if seed % 2 == 0 { SCRIPT } else { &slow };
        formed += run(
            seed,
            &mut Real::new(&mut connection, &options, source, true),
        );
    }
    assert!(formed > 0, "no group formed in any run");
}

/// A line of the script that carries a rule, and what stands there when the rule is removed.
fn without_each_rule() -> Vec<(String, String)> {
    let slow = sweeping_slowly();
    let rules = slow.lines().filter(|line| line.contains("-- rule: "));
    let removed = rules.map(|line| {
        let (code, rule) = line.split_once("-- rule: ").expect("a rule");
        let code = code.trim_end();
        let weaker = match rule {
            "a join is in one group" => "  if true then return nil end".into(),
            "a participant waits once" => "  if false then return 'C' end".into(),
            "who has gone does not wait" => "  if p then return w end".into(),
            "operations come in order, once" => code
                .replace("or mine.number + 1 ~= number", "")
                .replace("or mine.epoch ~= epoch", ""),
            _ => String::new(), // the line does nothing else
        };
        (rule.to_owned(), slow.replace(line, &weaker))
    });
    removed.collect()
}

#[test]
fn every_rule_that_is_removed_is_missed() {
    let server = support::RedisServer::start();
    let mut connection = server.connection();
    std::panic::set_hook(Box::new(|_| {})); // hundreds of panics are expected here
    let mut unnoticed = Vec::new();
    let rules = without_each_rule();
    assert!(rules.len() >= 7, "{} rules", rules.len());
    for (rule, source) in rules {
        assert_ne!(source, sweeping_slowly(), "{rule} is not removed");
        let noticed = (1..=number("K6_BARRIER_MODEL_RUNS", 400)).any(|seed| {
            let options = Plan::from_seed(seed).options();
            let mut store = Real::new(&mut connection, &options, &source, true);
            catch_unwind(AssertUnwindSafe(|| run(seed, &mut store))).is_err()
        });
        if !noticed {
            unnoticed.push(rule);
        }
    }
    let _ = std::panic::take_hook();
    assert_eq!(unnoticed, [""; 0], "nobody misses these");
}
