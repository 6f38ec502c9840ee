//! Where it was measured.

use std::process::Command;

use anyhow::{Context as _, bail};
use barrier_stats::host::{facts, kernel_release};
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
        let host = facts();
        Ok(Self {
            cpu: host
                .cpu_model
                .unwrap_or_else(|| "an unknown CPU".to_owned()),
            cpus: host.cpus.unwrap_or_default(),
            memory_gb: host.memory_bytes >> 30,
            kernel: kernel_release(),
            k6: k6_version(bench)?,
            redis: bench.redis.version().to_owned(),
            load: host.load_average_start.map_or(0.0, |[load, _, _]| load),
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
