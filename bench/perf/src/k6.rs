//! Runs of k6: one process, some rounds, the figures of each.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;

use crate::child::Running;
use crate::server::Server;

/// What a script prints when all its users wait.
const ALL_WAIT: &str = "all wait";
/// k6 needs this long beside its scenarios: to make its users, and to sum up.
const AROUND: Duration = Duration::from_secs(60);

/// The k6 binary and its scripts.
#[derive(Debug)]
pub(crate) struct K6 {
    /// The binary.
    pub(crate) program: PathBuf,
    /// The folder of the scripts.
    pub(crate) scripts: PathBuf,
    /// Where output and results go.
    pub(crate) folder: PathBuf,
}

/// One run.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    /// The script's name.
    pub(crate) script: &'static str,
    /// How many users.
    pub(crate) users: u32,
    /// How many rounds, the warm-up included.
    pub(crate) rounds: u32,
    /// How much longer the timetable is than users that need nobody else would have it.
    pub(crate) patience: u32,
    /// How often a peer polls, in ms.
    pub(crate) interval: u32,
    /// Whether the runtime is asked what it uses while all wait.
    pub(crate) weighed: bool,
}

/// What k6 says of one trend in one round.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Trend {
    /// How many users.
    pub(crate) count: f64,
    /// The first.
    pub(crate) min: f64,
    /// The one in the middle.
    pub(crate) med: f64,
    /// The 99th percentile, of scripts that tell it.
    #[serde(default, rename = "p(99)")]
    pub(crate) p99: f64,
    /// The last.
    pub(crate) max: f64,
}

/// The trends of one round, by name.
pub(crate) type Round = BTreeMap<String, Trend>;

/// What a script leaves: its rounds without the warm-up.
#[derive(Debug, Deserialize)]
struct Summary {
    rounds: Vec<Round>,
}

/// What was seen of one run.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Its rounds without the warm-up.
    pub(crate) rounds: Vec<Round>,
    /// When each of these opened, in ms since the test began.
    pub(crate) opened: Vec<f64>,
    /// What Go's runtime used while all waited.
    pub(crate) memory: Option<Memory>,
    /// Connections to Redis while all waited.
    pub(crate) connections: Option<usize>,
}

impl K6 {
    /// A command with nothing in its environment but what it needs.
    pub(crate) fn command(&self, script: &str, result: &Path, limit: Duration) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["run", "--quiet", "--no-color", "--address", ""])
            .current_dir(&self.folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.folder)
            .env("K6_AUTO_EXTENSION_RESOLUTION", "false")
            .env("K6_NO_USAGE_REPORT", "true")
            .args(["-e", &format!("RESULT={}", result.display())])
            .args(["-e", &format!("LIMIT={}s", limit.as_secs())]);
        command.arg(self.scripts.join(script));
        command
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// k6 fails or does not end, or what it wrote cannot be read.
    pub(crate) fn run(&self, spec: &Spec, mut redis: Option<&mut Server>) -> anyhow::Result<Seen> {
        let limit = spec.limit();
        let result = self.folder.join("result.json");
        let _ = std::fs::remove_file(&result);
        let mut command = self.command(spec.script, &result, limit);
        for (name, value) in spec.environment() {
            command.args(["-e", &format!("{name}={value}")]);
        }
        if let Some(redis) = &mut redis {
            redis.forget()?;
            command
                .args(["-e", &format!("REDIS_URL={}", redis.url())])
                .env("K6_BARRIER_RUN_ID", run_id());
        }
        let runtime = free_address()?;
        if spec.weighed {
            let address = runtime.to_string();
            command.args(["--profiling-enabled", "--address", &address]);
        }
        let log = self.folder.join("output.txt");
        let (mut seen, mut looked) = (Seen::default(), false);
        Running::start(&mut command, spec.script, &log)?.finish(limit + AROUND, |running| {
            if !looked && running.output().contains(ALL_WAIT) {
                looked = true;
                if spec.weighed {
                    seen.memory = Some(Memory::of(runtime)?);
                }
                if let Some(redis) = &mut redis {
                    seen.connections = Some(redis.foreign_connections()?);
                }
            }
            Ok(())
        })?;
        seen.rounds = rounds(&result)?;
        seen.opened = (1..spec.rounds).map(|round| spec.opens(round)).collect();
        Ok(seen)
    }
}

/// What Go's runtime uses, in bytes. Resident memory is that and the garbage that happens to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    /// What is reachable.
    pub(crate) heap: u64,
    /// What goroutines have for their stacks.
    pub(crate) stacks: u64,
}

impl Memory {
    /// Asks the k6 that profiles at this address, after a collection. What pools keep is gone after the second one.
    fn of(address: SocketAddr) -> anyhow::Result<Self> {
        let ask = || -> anyhow::Result<String> {
            let mut stream = TcpStream::connect(address)?;
            stream.write_all(b"GET /debug/pprof/heap?gc=1&debug=1 HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().and_then(|_| ask()).and_then(|text| Self::read(&text))
    }

    fn read(profile: &str) -> anyhow::Result<Self> {
        let number = |name: &str| {
            let line = profile.lines().find_map(|line| line.strip_prefix(name));
            let first = line.and_then(|rest| rest.split(' ').next());
            first
                .and_then(|number| number.parse().ok())
                .with_context(|| format!("k6's profile has no {name:?}"))
        };
        Ok(Self {
            heap: number("# HeapAlloc = ")?,
            stacks: number("# Stack = ")?,
        })
    }
}

/// An address that nobody listens at.
///
/// # Errors
/// There is none.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

/// The rounds that a script reported.
///
/// # Errors
/// As [`read`].
pub(crate) fn rounds(path: &Path) -> anyhow::Result<Vec<Round>> {
    Ok(read::<Summary>(path)?.rounds)
}

/// What a script left.
///
/// # Errors
/// It left nothing, or not what it should.
pub(crate) fn read<T: serde::de::DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("there is no {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))
}

/// A run id that no other run has.
pub(crate) fn run_id() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!(
        "perf-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

impl Spec {
    /// How long the scenarios may take.
    fn limit(&self) -> Duration {
        Duration::from_millis((self.start() + u64::from(self.rounds) * self.period()) * 2)
            + Duration::from_secs(60)
    }

    /// k6 starts its users one after another.
    fn start(&self) -> u64 {
        300 + u64::from(self.users) / 5
    }

    /// When a round opens, in ms; the warm-up has number 0.
    pub(crate) fn opens(&self, round: u32) -> f64 {
        let opens = self.start() + u64::from(round) * self.period();
        u32::try_from(opens).map_or(f64::MAX, f64::from)
    }

    /// How long the tool may look while all wait, in ms. Two collections of many users' heaps take seconds.
    const fn look(&self) -> u64 {
        if self.weighed { 20_000 } else { 500 }
    }

    fn gap(&self) -> u64 {
        self.look() - 200 + u64::from(self.users * self.patience) * 7 / 100
    }

    fn period(&self) -> u64 {
        self.gap() + 400 + u64::from(self.users * self.patience) * 6 / 100
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("USERS", self.users.to_string()),
            ("ROUNDS", self.rounds.to_string()),
            ("INTERVAL_MS", self.interval.to_string()),
            ("START_MS", self.start().to_string()),
            ("GAP_MS", self.gap().to_string()),
            ("LOOK_MS", self.look().to_string()),
            ("PERIOD_MS", self.period().to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtimes_own_figures_are_read_from_its_profile() {
        let profile = "heap profile: 1: 2 [3: 4] @ heap/1048576\n# runtime.MemStats\n# HeapAlloc = 1200\n# Stack = 340 / 400\n";
        let memory = Memory::read(profile).expect("both are there");
        assert_eq!((memory.heap, memory.stacks), (1200, 340));
        let error = Memory::read("# HeapAlloc = 1").expect_err("no stacks");
        assert!(error.to_string().contains("Stack"), "{error}");
    }
}
