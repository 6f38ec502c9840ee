//! Where it was measured.

use std::process::Command;

use anyhow::{Context as _, bail};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde::Serialize;

use crate::cases::Bench;

/// Facts about the machine and its programs.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cpus: usize,
    pub(crate) memory_gb: u64,
    pub(crate) kernel: String,
    pub(crate) k6: String,
    pub(crate) redis: String,
    /// Processes that wanted a CPU when it began, over the last minute: above zero, others disturbed it.
    pub(crate) load: f64,
}

impl Machine {
    /// This one.
    ///
    /// # Errors
    /// k6 does not run, or Redis does not answer.
    pub(crate) fn look(bench: &mut Bench) -> anyhow::Result<Self> {
        let info = rustix::system::sysinfo();
        let proc =
            |file: &str| std::fs::read_to_string(format!("/proc/{file}")).unwrap_or_default();
        let cpu = proc("cpuinfo");
        let cpu = cpu
            .lines()
            .find(|l| l.starts_with("model name"))
            .and_then(|l| l.split_once(':'));
        Ok(Self {
            cpu: cpu.map_or_else(
                || "an unknown CPU".to_owned(),
                |(_, name)| name.trim().to_owned(),
            ),
            cpus: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            memory_gb: info.totalram.saturating_mul(info.mem_unit.into()) >> 30,
            kernel: rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned(),
            k6: k6_version(bench)?,
            redis: bench.redis.version().to_owned(),
            load: proc("loadavg")
                .split(' ')
                .next()
                .and_then(|l| l.parse().ok())
                .unwrap_or_default(),
        })
    }
}

fn k6_version(bench: &Bench) -> anyhow::Result<String> {
    let program = &bench.k6.program;
    let output = Command::new(program)
        .arg("version")
        .output()
        .with_context(|| format!("{} does not run", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for module in ["k6/x/barrier", "k6/x/redis"] {
        if !text.contains(module) {
            bail!(
                "{} has no {module}; build it with make k6",
                program.display()
            );
        }
    }
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Lets the processes that are started open as many files as the system allows; says how many that are.
pub(crate) fn raise_open_files() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where the system refuses, the lower limit stays.
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
