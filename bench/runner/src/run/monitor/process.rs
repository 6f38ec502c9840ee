//! What processes and the whole machine consume over time, from `/proc`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use procfs::process::{FDTarget, Process};
use procfs::{CurrentSI as _, KernelStats};
use serde_json::{Map, Value as Json, json};

use super::sampler::{self, now_ms};
use crate::verdict::facts::Machine;

/// Beyond this share of the machine, in percent, other programs are pointed out.
const BUSY_PERCENT: f64 = 10.0;
/// Beyond this share the machine itself is pointed out as the limit.
const SATURATED_PERCENT: f64 = 95.0;
/// Where the runner itself is counted.
const RUNNER: &str = "runner";

/// The processes of a run by name; grows while the run is prepared.
#[derive(Debug, Clone, Default)]
pub(crate) struct Processes {
    known: Arc<Mutex<BTreeMap<String, u32>>>,
    /// Whether everything that belongs to the run is among them.
    all: bool,
}

impl Processes {
    /// The runner itself. `all`: nothing else of the run is on this machine but what will be added.
    pub(crate) fn new(all: bool) -> Self {
        let processes = Self {
            known: Arc::default(),
            all,
        };
        processes.add(RUNNER, std::process::id());
        processes
    }

    /// Another process of the run.
    pub(crate) fn add(&self, name: &str, id: u32) {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), id);
    }

    /// k6, once it runs.
    pub(super) fn generator(&self) -> Option<u32> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get("k6").copied()
    }

    fn list(&self) -> Vec<(String, u32)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().map(|(name, id)| (name.clone(), *id)).collect()
    }
}

/// Processor time in clock ticks.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ticks {
    /// Of all processors, working or not.
    pub(super) all: u64,
    /// Of all processors, working.
    pub(super) busy: u64,
    /// Part of `busy`, for programs of a lower priority.
    pub(super) nice: u64,
}

pub(super) struct Sampler {
    processes: Processes,
    shown: Vec<String>,
    /// How many processors the ticks of the machine are of.
    processors: f64,
    machine: Option<Ticks>,
    own: BTreeMap<u32, u64>,
    sum: Sum,
    /// The greatest share of others so far, in percent.
    most_others: Option<f64>,
}

#[derive(Debug, Default)]
struct Sum {
    all: u64,
    busy: u64,
    ours: u64,
    generator: u64,
}

impl Sampler {
    pub(super) fn new(processes: Processes, shown: impl Iterator<Item = String>) -> Self {
        Self {
            processes,
            shown: shown.collect(),
            processors: KernelStats::current()
                .map_or(1.0, |stats| float(stats.cpu_time.len() as u64)),
            machine: None,
            own: BTreeMap::new(),
            sum: Sum::default(),
            most_others: None,
        }
    }
}

impl sampler::Sampler for Sampler {
    fn sample(&mut self) -> Json {
        let now = machine_ticks();
        let span = now
            .zip(self.machine)
            .map(|(now, then)| {
                (
                    now.all.saturating_sub(then.all),
                    now.busy.saturating_sub(then.busy),
                )
            })
            .filter(|(all, _)| *all > 0);
        let (mut ours, mut generator) = (0, 0);
        let mut shown = Map::new();
        for (name, id) in self.processes.list() {
            let Some((ticks, mut figures)) = look(id) else {
                continue;
            };
            let used = self
                .own
                .insert(id, ticks)
                .map(|then| ticks.saturating_sub(then));
            if let Some(used) = used {
                ours += used;
                if name == "k6" {
                    generator += used;
                }
            }
            if self.shown.contains(&name) {
                let cpu = used
                    .zip(span)
                    .map(|(used, (all, _))| percent(used, all) * self.processors);
                figures.insert("cpu".to_owned(), rounded(cpu));
                shown.insert(name, Json::Object(figures));
            }
        }
        self.machine = now;
        let mut others = None;
        if let Some((all, busy)) = span {
            let foreign = percent(busy.saturating_sub(ours), all);
            others = Some(foreign);
            self.most_others = Some(self.most_others.unwrap_or(0.0).max(foreign));
            self.sum.all += all;
            self.sum.busy += busy;
            self.sum.ours += ours;
            self.sum.generator += generator;
        }
        json!({
            "t": now_ms(),
            "machineCpu": rounded(span.map(|(all, busy)| percent(busy, all))),
            "othersCpu": rounded(others),
            "processes": shown,
        })
    }

    fn machine(&self) -> Option<Machine> {
        let Sum {
            all,
            busy,
            ours,
            generator,
        } = self.sum;
        Some(if all == 0 {
            Machine::default()
        } else {
            judge(
                percent(busy, all),
                percent(generator, all),
                percent(busy.saturating_sub(ours), all),
                self.most_others,
                self.processes.all,
            )
        })
    }
}

/// What to say about a machine that was so busy, all in percent of its processors.
fn judge(busy: f64, generator: f64, others: f64, most: Option<f64>, all_known: bool) -> Machine {
    let mut notes = Vec::new();
    let disturbed = all_known && others > BUSY_PERCENT;
    if disturbed {
        notes.push(format!(
            "other programs took {others:.0} % of the machine during the run; compare its figures with care"
        ));
    }
    if !all_known && others > BUSY_PERCENT {
        notes.push(format!(
            "services that the runner did not start, and other programs, took {others:.0} % of the machine"
        ));
    }
    if busy > SATURATED_PERCENT {
        notes.push(format!(
            "the machine itself was the limit: its processors were {busy:.0} % busy"
        ));
    }
    let round = |value: f64| (value * 10.0).round() / 10.0;
    Machine {
        measured: true,
        cpu_percent_mean: Some(round(busy)),
        generator_cpu_percent_mean: Some(round(generator)),
        others_cpu_percent_mean: Some(round(others)),
        others_cpu_percent_max: most.map(round),
        busy: disturbed,
        note: notes.join("; "),
    }
}

/// What all processors did so far.
fn machine_ticks() -> Option<Ticks> {
    let total = KernelStats::current().ok()?.total;
    let more = [total.iowait, total.irq, total.softirq, total.steal].map(Option::unwrap_or_default);
    let [waiting, irq, softirq, stolen] = more;
    let busy = total.user + total.nice + total.system + irq + softirq + stolen;
    let all = busy + total.idle + waiting;
    let nice = total.nice;
    Some(Ticks { all, busy, nice })
}

/// Processor time in ticks, and the other figures of a process; `None` if it has gone.
pub(super) fn look(id: u32) -> Option<(u64, Map<String, Json>)> {
    let process = Process::new(i32::try_from(id).ok()?).ok()?;
    let stat = process.stat().ok()?;
    let mut figures = Map::new();
    figures.insert("rss".to_owned(), (stat.rss * procfs::page_size()).into());
    figures.insert("threads".to_owned(), stat.num_threads.into());
    // Another user's process hides its descriptors.
    if let Ok(descriptors) = process.fd() {
        let (mut all, mut sockets) = (0_u64, 0_u64);
        for descriptor in descriptors.flatten() {
            all += 1;
            sockets += u64::from(matches!(descriptor.target, FDTarget::Socket(_)));
        }
        figures.insert("fds".to_owned(), all.into());
        figures.insert("connections".to_owned(), sockets.into());
    }
    Some((stat.utime + stat.stime, figures))
}

pub(super) fn percent(part: u64, whole: u64) -> f64 {
    100.0 * float(part) / float(whole)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "ticks of a run are far below 2^53"
)]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

/// To a tenth; what is not known is `null`.
pub(super) fn rounded(value: Option<f64>) -> Json {
    value.map_or(Json::Null, |value| {
        Json::from((value * 10.0).round() / 10.0)
    })
}

#[cfg(test)]
mod tests {
    use super::super::sampler::Sampler as _;
    use super::*;

    #[test]
    fn a_working_process_is_told_from_others() {
        let processes = Processes::new(true);
        let mut sampler = Sampler::new(processes, [RUNNER.to_owned()].into_iter());
        sampler.sample();
        // The tick is 10 ms; work until this process has used several of them.
        let (before, _) = look(std::process::id()).expect("own process");
        let mut work = 0_u64;
        while look(std::process::id()).expect("own process").0 < before + 5 {
            for number in 0..100_000_u64 {
                work = std::hint::black_box(work.wrapping_add(number));
            }
        }
        let line = sampler.sample();
        let own = &line["processes"][RUNNER];
        assert!(own["cpu"].as_f64().is_some_and(|cpu| cpu > 0.0), "{line}");
        assert!(
            own["rss"].as_u64().is_some_and(|rss| rss > 1_000_000),
            "{line}"
        );
        assert!(own["fds"].as_u64().is_some_and(|fds| fds >= 3), "{line}");
        let machine = sampler.machine().expect("measured");
        assert!(
            machine.measured && machine.cpu_percent_mean > Some(0.0),
            "{machine:?}"
        );
        assert!(
            machine.others_cpu_percent_mean <= machine.cpu_percent_mean,
            "{machine:?}"
        );
    }

    #[test]
    fn what_spoils_a_comparison_is_said() {
        let quiet = judge(50.0, 20.0, 3.0, Some(8.0), true);
        assert_eq!((quiet.busy, quiet.note.as_str()), (false, ""));
        let busy = judge(80.0, 20.0, 31.4, Some(60.0), true);
        assert!(
            busy.busy && busy.note.contains("other programs took 31 %"),
            "{busy:?}"
        );
        let external = judge(80.0, 20.0, 31.4, Some(60.0), false);
        assert!(
            !external.busy && external.note.contains("did not start"),
            "{external:?}"
        );
        let full = judge(99.0, 60.0, 0.0, None, true);
        assert!(!full.busy && full.note.contains("99 % busy"), "{full:?}");
    }
}
