//! Monitors: what is sampled on an interval while k6 runs, each in a thread and a file of its own.
//!
//! A file holds one JSON object per line and gets its name when the run is over.

mod family;
mod generator;
mod grown;
mod http;
mod machine;
pub(crate) mod named;
mod process;
mod prom;
mod queue;
mod sampler;
mod services;
mod sql;

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::time::{ClockId, clock_gettime};

use crate::evidence::Folder;
use crate::plan::PlannedRun;
use crate::run::logs;
use crate::run::page;
use crate::run::redis::access::Access;
use crate::run::sql::client::Database;
use crate::series::recorded::monitor_file;
use crate::suite::Suite;
use crate::suite::monitor::{MonitorKind, MonitorTable};
use crate::suite::scenario::looks_at;
use crate::suite::statement;
use crate::suite::vars::RunValues;
use crate::values::exit;
use crate::values::writer::Writer;
use crate::verdict::facts::Machine;
use crate::verdict::health;
use sampler::Sampler;

pub(crate) use process::{Processes, Target};

/// Samples are so many times farther apart than one takes of a processor, so that watching does not disturb what is watched.
const MOST_OF_TIME: u32 = 50;

/// Between two samples of the generator.
const SECOND: Duration = Duration::from_secs(1);

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
    /// Starts the monitors that the suite declares for the scenario, and the one of the generator that every run has.
    /// `generator`: how many processors k6 has to itself; `None` if it shares them all.
    ///
    /// # Errors
    /// A file cannot be made, or a variable is missing.
    pub(crate) fn start(
        suite: &Suite,
        run: &PlannedRun<'_>,
        folder: &Folder,
        processes: &Processes,
        generator: Option<usize>,
    ) -> anyhow::Result<Self> {
        let mut monitors = Self::default();
        let scenario = run.scenario.id.get_ref();
        for table in &suite.file.monitor {
            if !looks_at(&table.scenarios, scenario) {
                continue;
            }
            let sampler = sampler(suite, run, folder, processes, table)?;
            let file = monitor_file(table.id.get_ref());
            monitors.add(file, sampler, table.every, folder)?;
        }
        // The last one: what it says about k6 is the finer figure.
        let sampler = Box::new(generator::Sampler::new(processes.clone(), generator));
        monitors.add(health::FILE.to_owned(), sampler, SECOND, folder)?;
        Ok(monitors)
    }

    fn add(
        &mut self,
        file: String,
        sampler: Box<dyn Sampler>,
        every: Duration,
        folder: &Folder,
    ) -> anyhow::Result<()> {
        let output = folder.begin(&file)?;
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name(file.clone())
            .spawn(move || watch(sampler, output, every, &stopped))
            .context("starting a monitor")?;
        self.active.push(Active { file, stop, thread });
        Ok(())
    }

    /// Takes a last sample each, where one is wanted, and completes the files.
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
            match seen {
                // What k6 took is measured in every run, by a monitor of its own.
                Some(seen) if seen.measured => {
                    let generator_cpu_percent_mean = machine.generator_cpu_percent_mean;
                    machine = Machine {
                        generator_cpu_percent_mean,
                        ..seen
                    };
                }
                Some(seen) => machine.generator_cpu_percent_mean = seen.generator_cpu_percent_mean,
                None => {}
            }
            folder.finish(&active.file);
        }
        Ok(machine)
    }
}

/// What looks for a declared monitor.
fn sampler(
    suite: &Suite,
    run: &PlannedRun<'_>,
    folder: &Folder,
    processes: &Processes,
    table: &MonitorTable,
) -> anyhow::Result<Box<dyn Sampler>> {
    let refused = |why: String| exit::set_up(format!("monitor {}: {why}", table.id.get_ref()));
    let page = || anyhow::Ok(page::Page::new(source(suite, table, run)?));
    let picks = table.picks();
    Ok(match table.kind {
        MonitorKind::Process => Box::new(process::Sampler::new(
            processes.clone(),
            table.of.iter().map(|name| name.get_ref().clone()),
            picks,
        )),
        MonitorKind::Redis => Box::new(queue::Sampler::new(
            Access::new(&source(suite, table, run)?, &run.vars)?,
            queue::watched(&suite.file, table, &run.vars)?,
        )),
        MonitorKind::Http => Box::new(http::Sampler::new(page()?, picks)),
        MonitorKind::Prom => Box::new(prom::Sampler::new(page()?, picks).map_err(refused)?),
        MonitorKind::Sql => {
            let what = format!("monitor {}", table.id.get_ref());
            let database = Database::new(suite, &what, &source(suite, table, run)?)?;
            let statement = table.statement.as_ref();
            let statement = statement.context("a sql monitor has a statement")?;
            let statement = run.vars.expand(statement.get_ref(), &RunValues::new())?;
            statement::one(&statement).map_err(refused)?;
            Box::new(sql::Sampler::new(database, statement, picks).map_err(refused)?)
        }
        MonitorKind::Machine => Box::new(machine::Sampler::new(picks, processes.clone())),
        MonitorKind::Log => {
            let logs = logs::of_target(suite, run.target, &run.vars, folder);
            let sampler = grown::Sampler::new(logs, picks);
            Box::new(sampler.map_err(|error| refused(error.to_string()))?)
        }
    })
}

/// The address of a monitor, which the suite allows.
fn source(suite: &Suite, table: &MonitorTable, run: &PlannedRun<'_>) -> anyhow::Result<String> {
    let source = table
        .source
        .as_ref()
        .context("a monitor that reads has a source")?;
    let mut known = RunValues::new();
    if let Some(address) = run.vars.text("BASE_URL") {
        known.insert("address", address);
    }
    let address = run.vars.expand(source.get_ref(), &known)?;
    suite.allow_now(&format!("monitor {}", table.id.get_ref()), &address)?;
    Ok(address)
}

fn watch(
    mut sampler: Box<dyn Sampler>,
    mut output: Writer,
    every: Duration,
    stopped: &Receiver<()>,
) -> Option<Machine> {
    let start = Instant::now();
    let mut next = Duration::ZERO;
    loop {
        let began = own_time();
        output.add(&format!("{}\n", sampler.sample()));
        let rest = own_time().saturating_sub(began) * MOST_OF_TIME;
        next = following(next, every, start.elapsed(), rest);
        let pause = next.saturating_sub(start.elapsed());
        if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            break;
        }
    }
    if let Some(last) = sampler.last() {
        output.add(&format!("{last}\n"));
    }
    sampler.machine()
}

/// When to look next, on a schedule that looks that take long do not shift: a time of it that has passed is left out. `rest`:
/// how long the monitor is to leave the processor to others.
fn following(last: Duration, every: Duration, now: Duration, rest: Duration) -> Duration {
    let mut next = last.saturating_add(every);
    let earliest = now.max(last.saturating_add(rest));
    if next < earliest {
        let over = (earliest - next).as_nanos();
        let times = over.div_ceil(every.as_nanos().max(1));
        next = next.saturating_add(every.saturating_mul(u32::try_from(times).unwrap_or(u32::MAX)));
    }
    next
}

/// Processor time of this thread.
fn own_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_keep_their_schedule() {
        let ms = Duration::from_millis;
        for (last, now, rest, expected) in [
            (0, 20, 0, 500),
            // Late, and slow: the next time is where it would have been.
            (1000, 1499, 50, 1500),
            (1000, 1500, 50, 1500),
            (1000, 1501, 0, 2000),
            (1000, 5200, 0, 5500),
            // It took much of a processor.
            (1000, 1030, 1400, 2500),
        ] {
            let next = following(ms(last), ms(500), ms(now), ms(rest));
            assert_eq!(next, ms(expected), "{last} {now} {rest}");
        }
    }
}
