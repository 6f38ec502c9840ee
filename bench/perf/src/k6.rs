//! Runs of k6: one process, some rounds, the figures of each.

use std::collections::BTreeMap;
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
    /// Go keeps no garbage: what is resident is in use.
    pub(crate) lean: bool,
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
    /// Resident memory in bytes while all waited.
    pub(crate) resident: Option<u64>,
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
        if spec.lean {
            // Below what is needed: the collector runs as often as it may, and gives back what it finds.
            command.env("GOMEMLIMIT", "1MiB");
        }
        let log = self.folder.join("output.txt");
        let mut seen = Seen::default();
        Running::start(&mut command, spec.script, &log)?.finish(limit + AROUND, |running| {
            if seen.resident.is_none() && running.output().contains(ALL_WAIT) {
                seen.resident = running.resident();
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

    fn gap(&self) -> u64 {
        300 + u64::from(self.users * self.patience) * 7 / 100
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
            ("PERIOD_MS", self.period().to_string()),
        ]
    }
}
