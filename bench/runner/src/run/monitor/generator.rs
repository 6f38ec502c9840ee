//! What k6 and the whole machine use each second, of what they may use.
//!
//! What may be used is all processors, or less: what the runner is bound to, and what the quota of its control group
//! leaves. Watched in every run, whatever the suite declares.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use procfs::process::Process;
use serde_json::{Value as Json, json};

use super::process::{Processes, Ticks, float, look, percent, rounded};
use super::sampler::{self, now_ms};
use super::services::{Services, contention};
use crate::verdict::facts::Machine;

/// What is counted where the control groups are.
const ROOT: &str = "/sys/fs/cgroup";
/// What each processor did so far.
const STAT: &str = "/proc/stat";

pub(super) struct Sampler {
    processes: Processes,
    services: Services,
    group: Option<Group>,
    /// Numbers of the processors that the runner and its children may run on, from and to; `None` is all.
    bound_to: Option<Vec<(u32, u32)>>,
    /// How many processors k6 has to itself.
    apart: Option<u32>,
    /// Whether other programs of a lower priority give way to k6.
    first: bool,
    before: Option<Before>,
    sum: (f64, f64),
}

struct Before {
    at: Instant,
    /// Of the processors that may be used, all and busy; work that gives way is not counted.
    ticks: (u64, u64),
    /// Of k6, once it runs.
    generator: Option<u64>,
    /// Of the control group, seconds of processor time.
    group: Option<f64>,
}

impl Sampler {
    /// `apart`: how many processors k6 has to itself; `None` if it shares them all.
    pub(super) fn new(processes: Processes, apart: Option<usize>) -> Self {
        let bound_to = allowed_processors();
        Self {
            services: Services::new(processes.clone(), bound_to.clone()),
            processes,
            apart: apart.and_then(|count| u32::try_from(count).ok()),
            group: Group::own(Path::new("/proc/self/cgroup"), Path::new(ROOT)),
            bound_to,
            first: own_priority() <= 0,
            before: None,
            sum: (0.0, 0.0),
        }
    }

    /// Shares of k6, of the machine, and of those who made it full, since the sample before, in percent.
    fn shares(&mut self) -> Option<(Option<f64>, f64, f64)> {
        let stat = fs::read_to_string(STAT).ok()?;
        let (now, processors) = usable(&stat, self.bound_to.as_deref())?;
        let gives_way = if self.first { now.nice } else { 0 };
        let ticks = (now.all, now.busy - gives_way);
        let at = Instant::now();
        let generator = self.processes.generator().and_then(|id| Some(look(id)?.0));
        let group = self.group.as_ref().and_then(Group::used);
        let services = self.services.used();
        let now = Before {
            at,
            ticks,
            generator,
            group,
        };
        let before = self.before.replace(now)?;
        let all = ticks.0.saturating_sub(before.ticks.0);
        if all == 0 {
            return None;
        }
        // Ticks of all processors in this time; the quota counts by the clock.
        let quota = self
            .group
            .as_ref()
            .map_or(f64::INFINITY, |group| group.processors);
        let usable = processors.min(quota);
        let own = self.apart.map_or(usable, |own| usable.min(f64::from(own)));
        let k6 = generator
            .zip(before.generator)
            .map(|(now, then)| percent(now.saturating_sub(then), all) * processors / own);
        let busy = ticks.1.saturating_sub(before.ticks.1);
        let machine = percent(busy, all);
        let of_group = group.zip(before.group).map_or(0.0, |(now, then)| {
            100.0 * (now - then) / (at - before.at).as_secs_f64() / quota
        });
        // The services that the runner started are in its group.
        let services_of_group = percent(services, all) * processors / quota;
        let others_of_group = (of_group - services_of_group).max(0.0);
        let crowd = contention(all, busy, services)
            .max(others_of_group + services_of_group.min(others_of_group));
        if let Some(k6) = k6 {
            let seconds = (at - before.at).as_secs_f64();
            self.sum = (self.sum.0 + k6 * seconds, self.sum.1 + seconds);
        }
        Some((k6, machine.max(of_group), crowd))
    }
}

impl sampler::Sampler for Sampler {
    fn sample(&mut self) -> Json {
        let t = now_ms();
        let (k6, machine, crowd) = match self.shares() {
            Some((k6, machine, crowd)) => (k6, Some(machine), Some(crowd)),
            None => (None, None, None),
        };
        let mut shares = json!({
            "generatorCpu": rounded(k6),
            "machineCpu": rounded(machine),
            "contention": rounded(crowd),
        });
        if let Some(own) = self.apart {
            shares["generatorProcessors"] = own.into();
        }
        json!({ "t": t, "generator": shares })
    }

    fn machine(&self) -> Option<Machine> {
        let (sum, seconds) = self.sum;
        (seconds > 0.0).then(|| Machine {
            generator_cpu_percent_mean: rounded(Some(sum / seconds)).as_f64(),
            ..Machine::default()
        })
    }
}

/// A control group with a quota of processor time.
#[derive(Debug, PartialEq)]
struct Group {
    /// How many processors the quota is worth.
    processors: f64,
    /// The file with what has been used, and how many of its units are a second.
    usage: PathBuf,
    version: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Group {
    /// The group with the smallest quota among that of this process and those around it.
    fn own(list: &Path, root: &Path) -> Option<Self> {
        let text = fs::read_to_string(list).ok()?;
        let groups = text.lines().flat_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (
                parts.next().unwrap_or_default(),
                parts.next().unwrap_or_default(),
            );
            let (version, below) = if controllers.is_empty() {
                (Version::Two, root.to_owned())
            } else if controllers.split(',').any(|name| name == "cpu") {
                (Version::One, root.join("cpu"))
            } else {
                return Vec::new();
            };
            let path = path.trim_start_matches('/');
            // Inside a container the path is often that of the machine: then the container's own group is the root.
            let folders = Path::new(path).ancestors().map(|folder| below.join(folder));
            folders
                .filter_map(|folder| Self::at(&folder, version))
                .collect()
        });
        groups.min_by(|a, b| a.processors.total_cmp(&b.processors))
    }

    fn at(folder: &Path, version: Version) -> Option<Self> {
        let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
        let (quota, period) = match version {
            Version::Two => {
                let text = read("cpu.max")?;
                let (quota, period) = text.trim().split_once(' ')?;
                (quota.to_owned(), period.to_owned())
            }
            Version::One => (read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?),
        };
        // `max`, or -1, is no quota.
        let quota: f64 = quota.trim().parse().ok().filter(|quota| *quota > 0.0)?;
        let period: f64 = period.trim().parse().ok().filter(|period| *period > 0.0)?;
        let usage = match version {
            Version::Two => folder.join("cpu.stat"),
            Version::One => folder.join("cpuacct.usage"),
        };
        Some(Self {
            processors: quota / period,
            usage,
            version,
        })
    }

    /// Processor time used so far, seconds.
    fn used(&self) -> Option<f64> {
        let text = fs::read_to_string(&self.usage).ok()?;
        match self.version {
            Version::Two => {
                let line = text
                    .lines()
                    .find_map(|line| line.strip_prefix("usage_usec "))?;
                Some(line.trim().parse::<f64>().ok()? / 1e6)
            }
            Version::One => Some(text.trim().parse::<f64>().ok()? / 1e9),
        }
    }
}

/// How nice this process is to others, and its children are with it.
fn own_priority() -> i64 {
    let stat = Process::myself().and_then(|process| process.stat());
    stat.map_or(0, |stat| stat.nice)
}

/// Processors that this process may run on, whether a control group or an affinity says so.
fn allowed_processors() -> Option<Vec<(u32, u32)>> {
    Process::myself().ok()?.status().ok()?.cpus_allowed_list
}

/// What the processors that may be used did so far, and how many of them there are. What others do elsewhere is neither a
/// burden nor a reserve.
fn usable(stat: &str, bound_to: Option<&[(u32, u32)]>) -> Option<(Ticks, f64)> {
    let may = |number: u32| {
        bound_to.is_none_or(|ranges| {
            let mut ranges = ranges.iter();
            ranges.any(|(from, to)| (*from..=*to).contains(&number))
        })
    };
    let mut sum = Ticks::default();
    let mut processors = 0_u64;
    for line in stat.lines() {
        let mut words = line.split_ascii_whitespace();
        let name = words.next().and_then(|name| name.strip_prefix("cpu"));
        let Some(Ok(number)) = name.map(str::parse) else {
            continue;
        };
        if !may(number) {
            continue;
        }
        let figures: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        // user, nice, system, idle, iowait, irq, softirq, steal; what follows is part of the first two.
        let [user, nice, system, idle, rest @ ..] = figures.as_slice() else {
            continue;
        };
        let waiting = rest.first().copied().unwrap_or_default();
        let busy = user + nice + system + rest.iter().skip(1).take(3).sum::<u64>();
        sum.all += busy + idle + waiting;
        sum.busy += busy;
        sum.nice += nice;
        processors += 1;
    }
    (processors > 0).then(|| (sum, float(processors)))
}

#[cfg(test)]
mod tests {
    use super::super::sampler::Sampler as _;
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        fs::create_dir_all(folder).expect("folder");
        fs::write(folder.join(name), text).expect("written");
    }

    #[test]
    fn the_smallest_quota_counts_in_both_versions() {
        let root = tempfile::tempdir().expect("folder");
        let list = root.path().join("list");
        let own = |text: &str| {
            fs::write(&list, text).expect("written");
            Group::own(&list, root.path())
        };
        assert_eq!(own("0::/a/b\n"), None, "no quota");
        write(&root.path().join("a/b"), "cpu.max", "max 100000\n");
        write(&root.path().join("a"), "cpu.max", "150000 100000\n");
        write(
            &root.path().join("a"),
            "cpu.stat",
            "usage_usec 2500000\nuser_usec 1\n",
        );
        let group = own("0::/a/b\n").expect("the quota of the group around it");
        assert_eq!((group.processors, group.used()), (1.5, Some(2.5)));
        let first = root.path().join("cpu/c");
        write(&first, "cpu.cfs_quota_us", "50000\n");
        write(&first, "cpu.cfs_period_us", "100000\n");
        write(&first, "cpuacct.usage", "3000000000\n");
        let group = own("9:name=systemd:/\n1:cpu,cpuacct:/c\n0::/\n").expect("of version 1");
        assert_eq!((group.processors, group.used()), (0.5, Some(3.0)));
        fs::write(first.join("cpu.cfs_quota_us"), "-1\n").expect("written");
        assert_eq!(own("1:cpu,cpuacct:/c\n"), None);
    }

    #[test]
    fn only_processors_that_may_be_used_count() {
        let stat = "cpu  190 10 0 200 0 0 0 0 7 0\ncpu0 90 5 0 5 0 0 0 0 7 0\ncpu1 0 5 1 90 2 1 1 0 0 0\n\
            cpu3 100 0 0 100 0 0 0 0\nintr 1 2\n";
        let of = |bound_to: Option<&[(u32, u32)]>| {
            usable(stat, bound_to)
                .map(|(ticks, processors)| (ticks.all, ticks.busy, ticks.nice, processors))
        };
        assert_eq!(of(None), Some((400, 203, 10, 3.0)));
        assert_eq!(of(Some(&[(0, 0)])), Some((100, 95, 5, 1.0)), "a full one");
        assert_eq!(of(Some(&[(1, 2)])), Some((100, 8, 5, 1.0)), "an idle one");
        assert_eq!(of(Some(&[(0, 1), (3, 3)])), of(None));
        assert_eq!(of(Some(&[(7, 9)])), None);
    }

    #[test]
    fn a_quota_that_is_used_up_is_a_full_machine_and_a_full_generator() {
        let root = tempfile::tempdir().expect("folder");
        let processes = Processes::new(
            super::super::process::Target::Started,
            &crate::events::Stream::default(),
        );
        processes.add("k6", std::process::id());
        let mut sampler = Sampler::new(processes, None);
        write(root.path(), "cpu.max", "1000 100000\n");
        write(root.path(), "cpu.stat", "usage_usec 0\n");
        sampler.group = Group::at(root.path(), Version::Two);
        sampler.sample();
        let begun = look(std::process::id()).expect("own process").0;
        let mut work = 0_u64;
        while look(std::process::id()).expect("own process").0 < begun + 10 {
            work = std::hint::black_box(work.wrapping_add(1));
        }
        // Ever so little is more than a hundredth of a processor.
        write(root.path(), "cpu.stat", "usage_usec 9000000000\n");
        let line = sampler.sample();
        let share = |name: &str| line["generator"][name].as_f64().expect("measured");
        assert!(share("machineCpu") > 98.0, "{line}");
        assert!(share("generatorCpu") > 0.0, "{line}");
        let mean = sampler
            .machine()
            .expect("measured")
            .generator_cpu_percent_mean;
        assert_eq!(mean, Some(share("generatorCpu")));
    }
}
