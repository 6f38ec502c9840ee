//! Groups under faults: engines over a real Redis behind proxies that cut, delay and swallow, a server that is flushed, restarted
//! empty and frozen, a replica that takes over, a cluster whose slot moves, and processes that are killed. Whatever happens,
//! no group is too large or too small, no user is in two, and nobody is lost.
//!
//! `K6_BARRIER_GROUP_RUNS` and `K6_BARRIER_FAULT_SEED` set how many runs there are and where they start.

#[path = "../support/ground.rs"]
mod ground;
#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/cluster.rs"]
mod redis_cluster;
#[path = "../support/mod.rs"]
mod support;

mod crowd;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crowd::{Crowd, Told};
use ground::{Ground, Place};
use proxy::Proxy;
use tokio::runtime::Handle;
use trouble::{KINDS, Plan};

/// Nobody waits so long unless somebody was lost.
const LOST: Duration = Duration::from_secs(120);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| {
        let bad = |_| panic!("{name}={text} is no number");
        text.parse().unwrap_or_else(bad)
    })
}

/// The groups of a run, by number: the payloads of the members, and which of them were told.
#[derive(Default)]
struct Seen(BTreeMap<u64, (Vec<String>, BTreeSet<String>)>);

fn run(plan: &Plan, ground: &mut Ground, runtime: &Handle) -> usize {
    let proxies: Vec<_> = (0..plan.processes)
        .map(|_| Proxy::start(runtime, ground.server().port()))
        .collect();
    let urls = proxies.iter().map(|proxy| ground.url(proxy));
    let mut crowd = Crowd::start(urls.collect(), plan);
    for (before, fault) in &plan.faults {
        let until = Instant::now() + *before;
        while Instant::now() < until {
            crowd.is_done(); // they go on joining
            std::thread::sleep(Duration::from_millis(1));
        }
        fault.happen(ground, &proxies, &mut crowd);
    }
    let began = Instant::now();
    let seen = loop {
        if crowd.is_done() {
            // Who fills up a group may be told of it later than those who waited for it.
            let seen = check(plan, &crowd.told());
            if seen.untold(plan).is_empty() {
                break seen;
            }
        }
        crowd.fill_up();
        assert!(began.elapsed() < LOST, "lost: {}", crowd.describe());
        std::thread::sleep(Duration::from_millis(5));
    };
    crowd.close();
    if plan.killed().is_none() {
        let members: usize = seen.0.values().map(|(members, _)| members.len()).sum();
        assert_eq!(members, plan.joins, "who joined and who was told");
    }
    seen.0.len()
}

/// Where the server forgets what only a killed process knew, those whom that had told are members who do not know.
fn counts(plan: &Plan, process: usize) -> bool {
    !plan.forgets() || plan.killed() != Some(process)
}

fn check(plan: &Plan, told: &[Told]) -> Seen {
    let mut seen = Seen::default();
    for told in told.iter().filter(|told| counts(plan, told.process)) {
        seen.take(plan.size, told);
    }
    let mut grouped = BTreeMap::new();
    for (number, (members, _)) in &seen.0 {
        for member in members {
            // What a member hands in is its name and the number of its join.
            let before = grouped.insert(member, number);
            assert_eq!(before, None, "{member} is in group {number} too");
        }
    }
    seen
}

impl Seen {
    /// One member's news.
    fn take(&mut self, size: usize, told: &Told) {
        let group: serde_json::Value = serde_json::from_str(&told.text).expect("JSON");
        let text = |v: &serde_json::Value| v.as_str().expect("text").to_owned();
        let members = group[7].as_array().expect("members");
        let members: Vec<_> = members.iter().map(|m| text(&m[1])).collect();
        assert_eq!(members.len(), size, "{group}");
        assert_eq!(group[3], "all");
        let index = usize::try_from(group[1].as_u64().expect("an index")).expect("small");
        assert_eq!(members[index - 1], told.payload, "its place");
        let number = group[0].as_u64().expect("a number");
        let known = self
            .0
            .entry(number)
            .or_insert((members.clone(), BTreeSet::new()));
        assert_eq!(known.0, members, "two groups of number {number}");
        let first = known.1.insert(told.payload.clone());
        assert!(first, "{} was told twice", told.payload);
    }

    /// Members of processes that live who have not been told.
    fn untold(&self, plan: &Plan) -> Vec<&String> {
        let dead = plan.killed().map(|process| format!("{process}-"));
        let lives = |member: &&String| dead.as_ref().is_none_or(|dead| !member.starts_with(dead));
        let members = self.0.values();
        let untold =
            members.flat_map(|(members, told)| members.iter().filter(|m| !told.contains(*m)));
        untold.filter(lives).collect()
    }
}

#[test]
fn whatever_happens_groups_are_whole() {
    let first = number("K6_BARRIER_FAULT_SEED", 1);
    let runs = number("K6_BARRIER_GROUP_RUNS", 20);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut ground = Ground::new(&support::binary());
    let (mut groups, mut faults) = (0, [0_u64; KINDS.len()]);
    let mut places = [0_u64; 3];
    for seed in first..first + runs {
        let plan = Plan::from_seed(seed);
        println!("seed {seed}"); // the last one is that which fails
        if runs == 1 {
            println!("{plan:#?}");
        }
        ground.prepare(plan.place, &plan.run_id());
        groups += run(&plan, &mut ground, runtime.handle());
        plan.faults.iter().for_each(|(_, f)| faults[f.kind()] += 1);
        places[match plan.place {
            Place::Alone => 0,
            Place::WithReplica => 1,
            Place::Cluster => 2,
        }] += 1;
    }
    println!("| | |\n|---|---|\n| runs | {runs} |\n| first seed | {first} |");
    println!(
        "| with a replica | {} |\n| on a cluster | {} |",
        places[1], places[2]
    );
    println!("| groups | {groups} |");
    for (kind, n) in KINDS.iter().zip(faults) {
        println!("| fault: {kind} | {n} |");
    }
    println!("| **too large, too small, double or lost** | 0 |");
    assert!(groups > 0 && faults.iter().sum::<u64>() > 0);
}
