//! Monitors: what is sampled on an interval while k6 runs, each in a thread and a file of its own.
//!
//! A file holds one JSON object per line and gets its name when the run is over.

mod process;
mod queue;
mod sampler;

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use rustix::time::{ClockId, clock_gettime};

use crate::evidence::{Folder, component};
use crate::plan::PlannedRun;
use crate::run::redis::access::Access;
use crate::suite::Suite;
use crate::suite::schema::{MonitorKind, MonitorTable};
use crate::suite::vars::RunValues;
use crate::verdict::facts::Machine;
use sampler::Sampler;

pub(crate) use process::Processes;

/// Samples are so many times farther apart than one takes of a processor, so that watching does not disturb what is watched.
const MOST_OF_TIME: u32 = 50;

/// The monitors of a run.
#[derive(Debug, Default)]
pub(crate) struct Monitors {
    active: Vec<Active>,
}

#[derive(Debug)]
struct Active {
    file: String,
    stop: Sender<()>,
    thread: JoinHandle<Option<Machine>>,
}

impl Monitors {
    /// Starts the monitors that the suite declares for the scenario.
    ///
    /// # Errors
    /// A file cannot be made, or a variable is missing.
    pub(crate) fn start(
        suite: &Suite,
        run: &PlannedRun<'_>,
        folder: &Folder,
        processes: &Processes,
    ) -> anyhow::Result<Self> {
        let mut monitors = Self::default();
        let scenario = run.scenario.id.get_ref();
        for table in &suite.file.monitor {
            let watched = table.scenarios.is_empty()
                || table
                    .scenarios
                    .iter()
                    .any(|name| name.get_ref() == scenario);
            if !watched {
                continue;
            }
            let sampler: Box<dyn Sampler> = match table.kind {
                MonitorKind::Process => Box::new(process::Sampler::new(
                    processes.clone(),
                    table.of.iter().map(|name| name.get_ref().clone()),
                )),
                MonitorKind::Redis => Box::new(queue::Sampler::new(
                    source(table, run)?,
                    queue::watched(&suite.file, table, &run.vars)?,
                )),
            };
            let file = format!("monitor-{}.jsonl", component(table.id.get_ref()));
            let output = folder.begin(&file)?;
            let (stop, stopped) = channel();
            let every = table.every;
            let thread = std::thread::Builder::new()
                .name(file.clone())
                .spawn(move || watch(sampler, output, every, &stopped))
                .context("starting a monitor")?;
            monitors.active.push(Active { file, stop, thread });
        }
        Ok(monitors)
    }

    /// Takes a last sample each and completes the files.
    ///
    /// # Errors
    /// A file cannot be completed.
    pub(crate) fn stop(self, folder: &Folder) -> anyhow::Result<Machine> {
        let mut machine = Machine::default();
        for active in self.active {
            // The thread ends by this, and also when it has ended before.
            let _ = active.stop.send(());
            let seen = active
                .thread
                .join()
                .map_err(|_| anyhow::anyhow!("the monitor of {} panicked", active.file))?;
            if let Some(seen) = seen {
                machine = seen;
            }
            folder.finish(&active.file)?;
        }
        Ok(machine)
    }
}

fn source(table: &MonitorTable, run: &PlannedRun<'_>) -> anyhow::Result<Access> {
    let source = table
        .source
        .as_ref()
        .context("a redis monitor has a source")?;
    let address = run.vars.expand(source.get_ref(), &RunValues::new())?;
    Access::new(&address, &run.vars)
}

fn watch(
    mut sampler: Box<dyn Sampler>,
    output: File,
    every: Duration,
    stopped: &Receiver<()>,
) -> Option<Machine> {
    let mut output = BufWriter::new(output);
    loop {
        let began = own_time();
        // A full disk must not end the run; its evidence will show.
        let _ = writeln!(output, "{}", sampler.sample());
        let pause = every.max(own_time().saturating_sub(began) * MOST_OF_TIME);
        if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            break;
        }
    }
    let _ = writeln!(output, "{}", sampler.sample()).and_then(|()| output.flush());
    sampler.machine()
}

/// Processor time of this thread.
fn own_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}
