//! What is measured.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::child::{Running, check_interrupt};
use crate::clients::clients;
use crate::core::{by_redis_benchmark, through_the_core};
use crate::k6::{K6, Round, Trend, read, rounds};
use crate::many::many;
use crate::processes::{processes, segments};
use crate::rendezvous::{arrive, groups, memory, release, turns};
use crate::series::series;
use crate::server::{Server, built};
use crate::suite::scenario;

/// Figures of one run.
pub(crate) type Figures = Vec<(&'static str, Vec<f64>)>;

/// How large everything is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// Users of one process.
    pub(crate) users: u32,
    /// k6 processes that share as many users as the machine holds.
    pub(crate) processes: u32,
    /// What these may have in memory, the server included, in GB.
    pub(crate) memory_gb: f64,
}

impl Scale {
    /// Users of one large process.
    pub(crate) const fn crowd(self) -> u32 {
        self.users * 3
    }

    /// Users of all processes together.
    pub(crate) fn segments(self) -> u32 {
        self.users.div_ceil(5).max(4)
    }

    /// How often these meet in a cycle, where that is what counts.
    pub(crate) fn meetings(self) -> u32 {
        (self.users / 100).clamp(10, 100)
    }

    /// Users that are to fit into the machine's memory.
    pub(crate) const fn many(self) -> u32 {
        self.users * 10
    }

    /// Participants of clients that are the core alone.
    pub(crate) fn participants(self) -> u64 {
        u64::from(self.users) * 100
    }

    /// Requests a second whose values are kept over time.
    pub(crate) const fn requests(self) -> u32 {
        self.users / 2
    }

    /// Arrivals through the core.
    pub(crate) fn arrivals(self) -> u64 {
        u64::from(self.users) * 20
    }
}

/// What a case runs with.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) k6: K6,
    pub(crate) redis: Server,
    pub(crate) redis_benchmark: Result<PathBuf, String>,
    pub(crate) scale: Scale,
    /// How many users were found to fit into the memory that they may have.
    pub(crate) fitting: Option<u32>,
    /// Nothing new is begun after this.
    pub(crate) end: Instant,
}

/// A group of runs that are compared with each other.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// What is run, each once in a cycle.
    pub(crate) variants: &'static [Variant],
    /// What the plot shows: a figure and its unit.
    pub(crate) plot: (&'static str, &'static str),
    pub(crate) run: fn(&mut Bench, &str) -> anyhow::Result<Figures>,
}

/// One of the runs of a case.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    /// It is part of every n-th cycle only: peers without a goal and what takes long.
    pub(crate) every: u32,
    /// It takes so long that it is run only where its case is named.
    pub(crate) by_name: bool,
}

const fn always(name: &'static str) -> Variant {
    seldom(name, 1)
}

const fn seldom(name: &'static str, every: u32) -> Variant {
    Variant {
        name,
        every,
        by_name: false,
    }
}

const fn by_name(name: &'static str, every: u32) -> Variant {
    Variant {
        by_name: true,
        ..seldom(name, every)
    }
}

impl Case {
    /// Whether nothing of it is run unless it is named.
    pub(crate) fn by_name(&self) -> bool {
        self.variants.iter().all(|variant| variant.by_name)
    }
}

/// All cases.
pub(crate) const CASES: &[Case] = &[
    Case {
        name: "release",
        about: "last arrival to the last user's next statement; connections while all wait",
        variants: &[
            always("plain"),
            always("memory"),
            always("redis"),
            seldom("polling-200ms", 4),
            seldom("polling-50ms", 5),
        ],
        plot: ("release_ms", "ms"),
        run: |bench, variant| release(bench, variant, bench.scale.users, 4),
    },
    Case {
        name: "memory",
        about: "what Go's runtime uses while all wait: heap and stacks",
        variants: &[
            seldom("plain", 4),
            seldom("memory", 4),
            seldom("redis", 4),
            seldom("polling-200ms", 5),
        ],
        plot: ("memory_kb", "KB"),
        run: memory,
    },
    Case {
        name: "arrive",
        about: "all arrive at once and do not wait: first to last arrival; then the controller's wake after the last. Where all wait: first call to the decision to release",
        variants: &[
            always("plain"),
            always("memory"),
            always("redis"),
            seldom("memory-waiting", 2),
            seldom("redis-waiting", 2),
            seldom("polling-200ms", 4),
            seldom("polling-50ms", 5),
        ],
        plot: ("spread_ms", "ms"),
        run: arrive,
    },
    Case {
        name: "crowd",
        about: "the release with three times as many users in the process",
        variants: &[seldom("plain", 3), seldom("memory", 3), seldom("redis", 3)],
        plot: ("release_ms", "ms"),
        run: |bench, variant| release(bench, variant, bench.scale.crowd(), 3),
    },
    Case {
        name: "turns",
        about: "a release that is spread over two seconds: how late each user's next statement is, beside users that sleep until the same instants",
        variants: &[seldom("plain", 2), seldom("memory", 2), seldom("redis", 2)],
        plot: ("off_ms", "ms"),
        run: turns,
    },
    Case {
        name: "groups",
        about: "all come at once and are put into groups of four, beside one barrier for all: first call to the last user's next statement",
        variants: &[
            seldom("memory", 2),
            seldom("memory-barrier", 2),
            seldom("redis", 2),
            seldom("redis-barrier", 2),
        ],
        plot: ("meeting_ms", "ms"),
        run: groups,
    },
    Case {
        name: "core",
        about: "arrivals through the core on one connection, beside redis-benchmark with the core's own calls",
        variants: &[
            always("core"),
            always("redis-benchmark"),
            seldom("redis-benchmark-single", 2),
        ],
        plot: ("arrivals_per_s", "arrivals/s"),
        run: core,
    },
    Case {
        name: "queues",
        about: "counting 5 and 100 queues, beside TYPE and ZCARD or HLEN one after another in the script",
        variants: &[always("both")],
        plot: ("counter_100_ms", "ms"),
        run: queues,
    },
    Case {
        name: "segments",
        about: "four processes that share a barrier: how far apart their first users wake",
        variants: &[always("redis")],
        plot: ("spread_ms", "ms"),
        run: segments,
    },
    Case {
        name: "streams",
        about: "open streams with one event a second each for a minute, k6 and waiting room on this machine: none lost",
        variants: &[seldom("sse", 5)],
        plot: ("delay_ms", "ms"),
        run: streams,
    },
    Case {
        name: "series",
        about: "requests to a small server while values are kept over time: the share of k6's processor time that --out hdrlog takes",
        variants: &[seldom("hdrlog", 5)],
        plot: ("share", "%"),
        run: series,
    },
    Case {
        name: "target",
        about: "the scenario target of the waiting-room suite by the runner",
        variants: &[seldom("zset", 9), by_name("hash", 9)],
        plot: ("k6_gb", "GB"),
        run: |bench, variant| scenario(bench, "target", Some(variant)),
    },
    Case {
        name: "bench",
        about: "make bench: the scenario smoke of the waiting-room suite by the runner",
        variants: &[seldom("smoke", 9)],
        plot: ("overhead_s", "s"),
        run: |bench, _| scenario(bench, "smoke", None),
    },
    Case {
        name: "processes",
        about: "four processes that meet again and again: how far apart their first users wake, beside four processes that sleep until one instant",
        variants: &[by_name("redis", 1), by_name("sleepers", 1)],
        plot: ("spread_ms", "ms"),
        run: processes,
    },
    Case {
        name: "scale",
        about: "as many users as the machine holds, in several processes, beside plain k6; and as many participants as a hundred clients without k6 have",
        // The one that needs most memory comes first: the other has as many users.
        variants: &[
            by_name("redis", 9),
            by_name("plain", 9),
            by_name("clients", 3),
        ],
        plot: ("release_ms", "ms"),
        run: |bench, variant| match variant {
            "clients" => clients(bench),
            _ => many(bench, variant),
        },
    },
];

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

fn core(bench: &mut Bench, variant: &str) -> anyhow::Result<Figures> {
    let arrivals = bench.scale.arrivals();
    let rate = if variant == "core" {
        through_the_core(&mut bench.redis, arrivals)?
    } else {
        let program = bench.redis_benchmark.clone().map_err(anyhow::Error::msg)?;
        let log = bench.k6.folder.join("output.txt");
        by_redis_benchmark(
            &program,
            &log,
            &mut bench.redis,
            arrivals,
            variant == "redis-benchmark-single",
        )?
    };
    Ok(vec![
        ("arrivals_per_s", vec![rate.arrivals]),
        ("arrivals_per_call", vec![rate.batch]),
    ])
}

fn queues(bench: &mut Bench, _: &str) -> anyhow::Result<Figures> {
    let counts = 101;
    bench.redis.forget()?;
    let (mut command, result) = script(bench, "queues.js");
    command.args(["-e", &format!("COUNTS={counts}")]);
    let log = bench.k6.folder.join("output.txt");
    let limit = LIMIT + Duration::from_secs(30);
    Running::start(&mut command, "queues.js", &log)?.finish(limit, |_| Ok(()))?;
    let rounds = rounds(&result)?;
    let [five, hundred] = rounds.as_slice() else {
        anyhow::bail!("queues.js reported {} sizes of 2", rounds.len())
    };
    let median = |round: &Round, name: &str| Ok::<_, anyhow::Error>(vec![trend(round, name)?.med]);
    Ok(vec![
        ("counter_5_ms", median(five, "counted")?),
        ("script_5_ms", median(five, "by_script")?),
        ("counter_100_ms", median(hundred, "counted")?),
        ("script_100_ms", median(hundred, "by_script")?),
        (
            "round_trips",
            vec![
                trend(five, "round_trips")?.max,
                trend(hundred, "round_trips")?.max,
            ],
        ),
    ])
}

fn streams(bench: &mut Bench, _: &str) -> anyhow::Result<Figures> {
    const SECONDS: u32 = 60;
    let users = bench.scale.users;
    bench.redis.forget()?;
    let program = built("WAITING_ROOM_BIN", "bin/waiting-room", "make binaries")?;
    let (port, log) = (
        bench.k6.folder.join("address"),
        bench.k6.folder.join("waiting-room.txt"),
    );
    let _ = std::fs::remove_file(&port);
    let mut room = Command::new(program);
    room.args([
        "--ticks",
        "--listen",
        "127.0.0.1:0",
        "--redis",
        bench.redis.url(),
        "--port-file",
    ])
    .arg(&port);
    let mut room = Running::start(&mut room, "waiting-room", &log)?;
    let deadline = Instant::now() + Duration::from_secs(30);
    while !port.is_file() {
        check_interrupt()?;
        ensure!(
            room.ended()?.is_none(),
            "waiting-room ended:\n{}",
            room.output()
        );
        ensure!(
            Instant::now() < deadline,
            "waiting-room does not start:\n{}",
            room.output()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    let (mut command, result) = script(bench, "open-streams.js");
    command
        .args([
            "-e",
            &format!("BASE_URL={}", std::fs::read_to_string(&port)?.trim()),
        ])
        .args([
            "-e",
            &format!("USERS={users}"),
            "-e",
            &format!("SECONDS={SECONDS}"),
        ]);
    let log = bench.k6.folder.join("output.txt");
    // k6 opens 500 streams a second.
    let limit = LIMIT + Duration::from_secs(u64::from(SECONDS + users / 500));
    Running::start(&mut command, "open-streams.js", &log)?.finish(limit, |_| Ok(()))?;
    let result: Streams = read(&result)?;
    Ok(vec![
        ("lost", vec![result.lost]),
        ("failed", vec![result.failed]),
        ("received", vec![result.received]),
        ("delay_ms", vec![result.delay.med]),
    ])
}

#[derive(serde::Deserialize)]
struct Streams {
    received: f64,
    lost: f64,
    failed: f64,
    delay: Trend,
}

/// How long scenarios of small scripts may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// A command for a script without a timetable, and where its result goes.
fn script(bench: &Bench, name: &str) -> (Command, PathBuf) {
    let result = bench.k6.folder.join("result.json");
    let _ = std::fs::remove_file(&result);
    let mut command = bench.k6.command(name, &result, LIMIT);
    command.args(["-e", &format!("REDIS_URL={}", bench.redis.url())]);
    (command, result)
}

/// A figure of a round.
///
/// # Errors
/// There is none.
pub(crate) fn trend<'a>(round: &'a Round, name: &str) -> anyhow::Result<&'a Trend> {
    round
        .get(name)
        .with_context(|| format!("k6 reported no {name}"))
}

/// Whether all users came through a round.
///
/// # Errors
/// They did not.
pub(crate) fn all_of(users: u32, seen: f64) -> anyhow::Result<()> {
    ensure!(
        (seen - f64::from(users)).abs() < 0.5,
        "{seen} of {users} users came through a round"
    );
    Ok(())
}

pub(crate) fn float(n: u64) -> f64 {
    // Far below 2^53.
    #[allow(clippy::cast_precision_loss)]
    let n = n as f64;
    n
}
