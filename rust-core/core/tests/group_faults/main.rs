//! Groups under faults: engines over a real Redis behind proxies that cut, delay and swallow, a server that is flushed, restarted
//! empty and frozen, a replica that takes over, a cluster whose slot moves, and processes that are killed or silent; and users whose waits
//! expire, who leave, and who are claimed by others. Whatever happens, no group is too large or too small, no user is in two, and
//! nobody is lost.
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

use crowd::{Crowd, Told, Untold};
use ground::{Ground, Place};
use proxy::Proxy;
use tokio::runtime::Handle;
use trouble::{KINDS, Plan, go_on_for};

/// Nobody waits so long unless somebody was lost.
const LOST: Duration = Duration::from_secs(120);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| {
        let bad = |_| panic!("{name}={text} is no number");
        text.parse().unwrap_or_else(bad)
    })
}

/// The groups of a run, by number and the payloads of the members: which of them were told.
#[derive(Default)]
struct Seen(BTreeMap<(u64, Vec<String>), BTreeSet<String>>);

/// What one run came to.
struct Figures {
    groups: usize,
    /// Groups of a wait that expired.
    small: usize,
    /// Groups whose number another one has.
    same_number: usize,
    untold: Untold,
}

fn run(plan: &Plan, ground: &mut Ground, runtime: &Handle) -> Figures {
    let proxies: Vec<_> = (0..plan.processes)
        .map(|_| Proxy::start(runtime, ground.server().port()))
        .collect();
    let urls = proxies.iter().map(|proxy| ground.url(proxy));
    let mut crowd = Crowd::start(urls.collect(), plan);
    let mut comes_to_nothing = false;
    for (before, fault) in &plan.faults {
        go_on_for(*before, &crowd);
        comes_to_nothing |= fault.is_amnesia() && !crowd.all_have_come();
        fault.happen(ground, &proxies, &mut crowd);
    }
    let began = Instant::now();
    let (seen, untold) = loop {
        if crowd.is_done() {
            // Who fills up a group may be told of it later than those who waited for it.
            let (told, untold) = crowd.told();
            let seen = check(plan, &told);
            if seen.not_told(plan, &untold).is_empty() {
                break (seen, untold);
            }
        }
        crowd.fill_up();
        assert!(began.elapsed() < LOST, "lost: {}", crowd.describe());
        go_on_for(Duration::from_millis(5), &crowd);
    };
    crowd.close();
    let same_number = seen.same_number();
    // Who comes for the first time to a store that has forgotten cannot know that there were numbers: that is named as an exception.
    assert!(
        comes_to_nothing || same_number.is_empty(),
        "two groups of one number: {same_number:?}"
    );
    let groups = seen.0.keys();
    let members = || groups.clone().flat_map(|(_, members)| members);
    for (ended, who) in [
        ("a time-out", &untold.expired),
        ("a leave", &untold.left),
        ("a conflict", &untold.refused),
    ] {
        let both = members().find(|member| who.contains(*member));
        assert_eq!(both, None, "in a group, though its call ended with {ended}");
    }
    if plan.killed().is_none() {
        let users = members().filter(|m| is_user(m) && !untold.unknown.contains(*m));
        assert_eq!(users.count(), plan.joins, "who joined and who was told");
    }
    let small = groups
        .clone()
        .filter(|(_, members)| members.len() < plan.size);
    Figures {
        groups: groups.len(),
        small: small.count(),
        same_number: same_number.len(),
        untold,
    }
}

/// Somebody who joins until enough were told; neither one who fills up a group in the end nor one who claims to be another.
fn is_user(payload: &str) -> bool {
    !payload.contains("filler") && !payload.contains("claim")
}

/// Where the server forgets what only a killed process knew, those whom that had told are members who do not know.
fn counts(plan: &Plan, process: usize) -> bool {
    !plan.forgets() || plan.killed() != Some(process)
}

fn check(plan: &Plan, told: &[Told]) -> Seen {
    let mut seen = Seen::default();
    for told in told.iter().filter(|told| counts(plan, told.process)) {
        seen.take(plan, told);
    }
    let mut grouped = BTreeMap::new();
    for (number, members) in seen.0.keys() {
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
    fn take(&mut self, plan: &Plan, told: &Told) {
        let group: serde_json::Value = serde_json::from_str(&told.text).expect("JSON");
        let text = |v: &serde_json::Value| v.as_str().expect("text").to_owned();
        let members = group[7].as_array().expect("members");
        let members: Vec<_> = members.iter().map(|m| text(&m[1])).collect();
        match group[3].as_str() {
            Some("all") => assert_eq!(members.len(), plan.size, "{group}"),
            Some("timeout") if plan.releases => assert!(members.len() < plan.size, "{group}"),
            _ => panic!("nothing forms a group so: {group}"),
        }
        let index = usize::try_from(group[1].as_u64().expect("an index")).expect("small");
        assert_eq!(members[index - 1], told.payload, "its place");
        let number = group[0].as_u64().expect("a number");
        let known = self.0.entry((number, members)).or_default();
        let first = known.insert(told.payload.clone());
        assert!(first, "{} was told twice", told.payload);
    }

    /// The groups whose number one before them has.
    fn same_number(&self) -> Vec<&(u64, Vec<String>)> {
        let groups = self.0.keys();
        let pairs = groups.clone().zip(groups.skip(1));
        let same = pairs.filter(|(before, group)| before.0 == group.0);
        same.map(|(_, group)| group).collect()
    }

    /// Members of processes that live who have not been told, but for those whose call could not ask the store in time.
    fn not_told(&self, plan: &Plan, untold: &Untold) -> Vec<&String> {
        let dead = plan.killed().map(|process| format!("{process}-"));
        let lives = |member: &&String| dead.as_ref().is_none_or(|dead| !member.starts_with(dead));
        let members = self.0.iter();
        let missing =
            members.flat_map(|((_, members), told)| members.iter().filter(|m| !told.contains(*m)));
        let waits = |member: &&String| !untold.unknown.contains(*member);
        missing.filter(lives).filter(waits).collect()
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
    let (mut groups, mut small, mut same_number) = (0, 0, 0);
    let mut faults = [0_u64; KINDS.len()];
    let (mut places, mut users, mut ends) = ([0_u64; 3], [0_u64; 4], [0_usize; 4]);
    for seed in first..first + runs {
        let plan = Plan::from_seed(seed);
        println!("seed {seed}"); // the last one is that which fails
        if runs == 1 {
            println!("{plan:#?}");
        }
        ground.prepare(plan.place, &plan.run_id());
        let figures = run(&plan, &mut ground, runtime.handle());
        groups += figures.groups;
        small += figures.small;
        same_number += figures.same_number;
        plan.faults.iter().for_each(|(_, f)| faults[f.kind()] += 1);
        places[match plan.place {
            Place::Alone => 0,
            Place::WithReplica => 1,
            Place::Cluster => 2,
        }] += 1;
        let does = [
            plan.expiry.is_some(),
            plan.releases,
            plan.leaves,
            plan.claims,
        ];
        let Untold {
            expired,
            left,
            refused,
            unknown,
        } = figures.untold;
        for (n, does) in users.iter_mut().zip(does) {
            *n += u64::from(does);
        }
        for (n, who) in ends.iter_mut().zip([expired, left, refused, unknown]) {
            *n += who.len();
        }
    }
    let row = |name: &str, n: u64| println!("| {name} | {n} |");
    let many = |n: usize| u64::try_from(n).expect("small");
    println!("| | |\n|---|---|");
    row("runs", runs);
    row("first seed", first);
    row("with a replica", places[1]);
    row("on a cluster", places[2]);
    row("in which waits expire", users[0]);
    row("of these, with `onTimeout: 'release'`", users[1]);
    row("in which users leave", users[2]);
    row("in which others claim a participant", users[3]);
    row("groups", many(groups));
    row("of these, of a wait that expired", many(small));
    row(
        "of these, with a number given before by a store that had forgotten",
        many(same_number),
    );
    row("joins that ended by a time-out", many(ends[0]));
    row("by a leave", many(ends[1]));
    row("with a conflict", many(ends[2]));
    row(
        "because the store could not be asked in time",
        many(ends[3]),
    );
    for (kind, n) in KINDS.iter().zip(faults) {
        row(&format!("fault: {kind}"), n);
    }
    row("**too large, too small, double or lost**", 0);
    assert!(groups > 0 && faults.iter().sum::<u64>() > 0);
}
