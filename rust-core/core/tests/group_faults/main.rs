//! Groups under faults: engines over a real Redis behind proxies that cut, delay and swallow, a server that is flushed, restarted
//! empty and frozen, and processes that end. Whatever happens, no group is too large or too small, no user is in two, and
//! nobody is lost.
//!
//! `K6_BARRIER_GROUP_RUNS` and `K6_BARRIER_FAULT_SEED` set how many runs there are and where they start.

#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/mod.rs"]
mod support;

mod crowd;

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use crowd::{Crowd, Told};
use proxy::Proxy;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use support::RedisServer;

/// Nobody waits so long unless somebody was lost.
const LOST: Duration = Duration::from_secs(120);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| {
        let bad = |_| panic!("{name}={text} is no number");
        text.parse().unwrap_or_else(bad)
    })
}

/// What happens to the server or to a process's way to it.
#[derive(Debug, Clone, Copy)]
enum Fault {
    KillConnections,
    FlushAll,
    RestartEmpty,
    ScriptFlush,
    Freeze,
    Cut(usize),
    CutRequest(usize, usize),
    CutReply(usize, usize),
    Latency(usize),
    BlackHole(usize),
}

impl Fault {
    fn random(rng: &mut StdRng, processes: usize) -> Self {
        let at = rng.random_range(0..processes);
        let bytes = rng.random_range(0..600);
        match rng.random_range(0..14) {
            0 => Self::KillConnections,
            1 => Self::FlushAll,
            2 => Self::RestartEmpty,
            3 => Self::ScriptFlush,
            4 => Self::Freeze,
            5 | 6 => Self::Cut(at),
            7 | 8 => Self::CutRequest(at, bytes),
            9 | 10 => Self::CutReply(at, bytes),
            11 | 12 => Self::Latency(at),
            _ => Self::BlackHole(at),
        }
    }

    fn happen(self, server: &mut RedisServer, proxies: &[Proxy], rng: &mut StdRng) {
        let pause = Duration::from_millis(rng.random_range(20..250));
        match self {
            Self::KillConnections => {
                let _: i64 = server.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
                let _: i64 = server.ask(&["CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "yes"]);
            }
            Self::FlushAll => _ = server.ask::<String>(&["FLUSHALL"]),
            Self::RestartEmpty => server.restart_empty(),
            Self::ScriptFlush => _ = server.ask::<String>(&["SCRIPT", "FLUSH"]),
            Self::Freeze => {
                server.signal("-STOP");
                std::thread::sleep(pause);
                server.signal("-CONT");
            }
            Self::Cut(at) => proxies[at].cut(),
            Self::CutRequest(at, after) => proxies[at].cut_request(after),
            Self::CutReply(at, after) => proxies[at].cut_reply(after),
            Self::Latency(at) => {
                proxies[at].latency(pause / 4);
                std::thread::sleep(pause);
                proxies[at].calm();
            }
            Self::BlackHole(at) => {
                proxies[at].black_hole(true);
                std::thread::sleep(pause);
                proxies[at].calm();
            }
        }
    }
}

#[derive(Default)]
struct Seen {
    groups: HashMap<u64, (Vec<String>, usize)>,
    faults: usize,
}

fn run(seed: u64) -> Seen {
    let mut rng = StdRng::seed_from_u64(seed);
    let processes = rng.random_range(1..=3);
    let size = rng.random_range(2..=5);
    let users = size + rng.random_range(0..6);
    let joins = size * rng.random_range(5..25);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut server = RedisServer::start();
    let proxies: Vec<_> = (0..processes)
        .map(|_| Proxy::start(runtime.handle(), server.port()))
        .collect();
    let urls = proxies
        .iter()
        .map(|p| format!("redis://127.0.0.1:{}", p.port()));
    let crowd = Crowd::start(urls.collect(), size, users, joins);
    let faults = rng.random_range(1..6);
    for _ in 0..faults {
        let until = Instant::now() + Duration::from_millis(rng.random_range(0..120));
        while Instant::now() < until {
            crowd.is_done(); // they go on joining
            std::thread::sleep(Duration::from_millis(1));
        }
        let fault = Fault::random(&mut rng, processes);
        fault.happen(&mut server, &proxies, &mut rng);
    }
    let began = Instant::now();
    while !crowd.is_done() {
        assert!(
            began.elapsed() < LOST,
            "seed {seed}: lost: {}",
            crowd.describe()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut seen = Seen {
        faults,
        ..Seen::default()
    };
    for told in crowd.end() {
        check(seed, size, &told, &mut seen);
    }
    let members: usize = seen.groups.values().map(|(_, n)| n).sum();
    assert_eq!(members, joins, "seed {seed}: who joined and who was told");
    for (number, (members, told)) in &seen.groups {
        assert_eq!(members.len(), *told, "seed {seed}: told of group {number}");
    }
    seen
}

/// One member's news.
fn check(seed: u64, size: usize, told: &Told, seen: &mut Seen) {
    let group: serde_json::Value = serde_json::from_str(&told.text).expect("JSON");
    let text = |v: &serde_json::Value| v.as_str().expect("text").to_owned();
    let members = group["members"].as_array().expect("members");
    // What a member hands in is its name and the number of its join: a member of two groups would hand in the same twice.
    let members: Vec<_> = members.iter().map(|m| text(&m["payload"])).collect();
    assert_eq!(members.len(), size, "seed {seed}: {group}");
    assert_eq!(group["reason"], "all", "seed {seed}");
    let different: BTreeSet<_> = members.iter().collect();
    assert_eq!(different.len(), size, "seed {seed}: twice in {group}");
    let index = usize::try_from(group["index"].as_u64().expect("an index")).expect("small");
    assert_eq!(members[index - 1], told.payload, "seed {seed}: its place");
    let number = group["group"].as_u64().expect("a number");
    let known = seen.groups.entry(number).or_insert((members.clone(), 0));
    assert_eq!(
        known.0, members,
        "seed {seed}: two groups of number {number}"
    );
    known.1 += 1;
}

#[test]
fn whatever_happens_groups_are_whole() {
    let first = number("K6_BARRIER_FAULT_SEED", 1);
    let (mut groups, mut faults) = (0, 0);
    for seed in first..first + number("K6_BARRIER_GROUP_RUNS", 12) {
        println!("seed {seed}");
        let seen = run(seed);
        groups += seen.groups.len();
        faults += seen.faults;
    }
    println!("{groups} groups, {faults} faults: none too large, too small, double or lost");
    assert!(groups > 0 && faults > 0);
}
