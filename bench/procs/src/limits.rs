//! Limits on the processor time and the memory of a child.
//!
//! A control group (version 2) holds exactly, for the child and all that it starts, and may be made by few. Where none may
//! be, the child gets whole processors alone, and a limit of its own data.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Where control groups are.
const GROUPS: &str = "/sys/fs/cgroup";
/// Over which processor time is counted, in microseconds.
const PERIOD_US: u64 = 100_000;
/// A mask that never comes to rest is no reason to wait for ever.
const LOOKS: usize = 100;

/// What a process may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// In percent of one processor, from 1 on: 150 is one and a half.
    pub cpu_percent: Option<u32>,
    /// In bytes.
    pub memory_bytes: Option<u64>,
}

/// How a limit was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Applied {
    /// By a control group, for the process and all that it starts.
    Group,
    /// By so many processors to run on. Exact for as many times 100 %.
    Processors(u32),
    /// By the size of its data (`RLIMIT_DATA`), of each process by itself.
    Data,
    /// Not at all, and why.
    Not(String),
}

/// The limits of a process that runs. Dropped after the process has ended, it takes its control group away.
#[derive(Debug)]
pub struct Limited {
    cpu: Option<Applied>,
    memory: Option<Applied>,
    group: Option<PathBuf>,
}

impl Limited {
    /// Limits a process that was just started, by its id. `name` is part of the name of its control group.
    #[must_use]
    pub fn apply(id: u32, name: &str, limits: Limits) -> Self {
        let parent = own_group();
        Self::below(parent.as_deref(), id, name, limits)
    }

    fn below(parent: Option<&Path>, id: u32, name: &str, limits: Limits) -> Self {
        if limits == Limits::default() {
            return Self {
                cpu: None,
                memory: None,
                group: None,
            };
        }
        let grouped = parent
            .ok_or_else(|| "there are no control groups of version 2".to_owned())
            .and_then(|parent| group(parent, id, name, limits));
        match grouped {
            Ok(group) => Self {
                cpu: limits.cpu_percent.map(|_| Applied::Group),
                memory: limits.memory_bytes.map(|_| Applied::Group),
                group: Some(group),
            },
            Err(why) => Self {
                cpu: limits
                    .cpu_percent
                    .map(|percent| processors(id, percent, &why)),
                memory: limits.memory_bytes.map(|bytes| data(id, bytes, &why)),
                group: None,
            },
        }
    }

    /// How the limit on processor time was applied; `None` without such a limit.
    #[must_use]
    pub fn cpu(&self) -> Option<&Applied> {
        self.cpu.as_ref()
    }

    /// How the limit on memory was applied; `None` without such a limit.
    #[must_use]
    pub fn memory(&self) -> Option<&Applied> {
        self.memory.as_ref()
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        if let Some(group) = &self.group {
            // It is empty once the processes have ended; else it stays, and does no harm.
            let _ = fs::remove_dir(group);
        }
    }
}

/// The control group of this process, on a machine that has version 2 alone.
fn own_group() -> Option<PathBuf> {
    let root = Path::new(GROUPS);
    if !root.join("cgroup.controllers").is_file() {
        return None;
    }
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(root.join(own))
}

/// Makes a group below another one, with these limits, and moves the process there.
fn group(parent: &Path, id: u32, name: &str, limits: Limits) -> Result<PathBuf, String> {
    let failed = |what: &str, error: io::Error| format!("{what} {}: {error}", parent.display());
    let control = parent.join("cgroup.subtree_control");
    let wanted = [
        ("cpu", limits.cpu_percent.is_some()),
        ("memory", limits.memory_bytes.is_some()),
    ];
    for (controller, _) in wanted.into_iter().filter(|(_, wanted)| *wanted) {
        let given = fs::read_to_string(&control)
            .map_err(|error| failed("no control group can be made below", error))?;
        if !given.split_whitespace().any(|own| own == controller) {
            fs::write(&control, format!("+{controller}")).map_err(|error| {
                failed(
                    &format!("the controller {controller} is not to be had below"),
                    error,
                )
            })?;
        }
    }
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let group = parent.join(format!("barrier-{id}-{name}"));
    fs::create_dir(&group).map_err(|error| failed("no control group can be made below", error))?;
    let fill = || -> io::Result<()> {
        if let Some(percent) = limits.cpu_percent {
            let quota = u64::from(percent) * PERIOD_US / 100;
            fs::write(group.join("cpu.max"), format!("{quota} {PERIOD_US}"))?;
        }
        if let Some(bytes) = limits.memory_bytes {
            fs::write(group.join("memory.max"), bytes.to_string())?;
        }
        fs::write(group.join("cgroup.procs"), id.to_string())
    };
    fill().map_err(|error| {
        let _ = fs::remove_dir(&group);
        failed("a control group cannot be used below", error)
    })?;
    Ok(group)
}

/// Lets all threads of a process run on no more processors than the percentage needs, the last ones of those it has.
fn processors(id: u32, percent: u32, why: &str) -> Applied {
    let needed = percent.div_ceil(100);
    let set = || -> io::Result<u32> {
        let all = sched_getaffinity(pid(id))?;
        let own = (0..CpuSet::MAX_CPU).rev().filter(|&cpu| all.is_set(cpu));
        let mut some = CpuSet::new();
        own.take(needed as usize).for_each(|cpu| some.set(cpu));
        // A thread that was started meanwhile has the mask of the one that started it.
        let mut before = 0;
        for _ in 0..LOOKS {
            let tasks: Vec<u32> = fs::read_dir(format!("/proc/{id}/task"))?
                .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
                .collect();
            for task in &tasks {
                // One that has ended needs no mask.
                let _ = sched_setaffinity(pid(*task), &some);
            }
            if tasks.len() == before {
                break;
            }
            before = tasks.len();
        }
        Ok(some.count())
    };
    match set() {
        Ok(count) => Applied::Processors(count),
        Err(error) => Applied::Not(format!("{why}; nor are processors to be set: {error}")),
    }
}

/// Limits the data of a process, and of each that it starts.
fn data(id: u32, bytes: u64, why: &str) -> Applied {
    let limit = Rlimit {
        current: Some(bytes),
        maximum: Some(bytes),
    };
    match prlimit(pid(id), Resource::Data, limit) {
        Ok(_) => Applied::Data,
        Err(error) => Applied::Not(format!("{why}; nor is its data to be limited: {error}")),
    }
}

fn pid(id: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(id).ok()?)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    struct Sleeper(Child);

    impl Sleeper {
        fn new() -> Self {
            Self(Command::new("sleep").arg("600").spawn().expect("sleep"))
        }

        /// The line of a file of `/proc` that begins so.
        fn line(&self, file: &str, begin: &str) -> String {
            let path = format!("/proc/{}/{file}", self.0.id());
            let text = fs::read_to_string(path).expect("readable");
            let line = text.lines().find(|line| line.starts_with(begin));
            line.expect("the line").to_owned()
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    const LIMITS: Limits = Limits {
        cpu_percent: Some(50),
        memory_bytes: Some(64 << 20),
    };

    #[test]
    fn without_a_control_group_a_process_has_whole_processors_and_less_data() {
        let sleeper = Sleeper::new();
        let limited = Limited::below(None, sleeper.0.id(), "it", LIMITS);
        assert_eq!(limited.cpu(), Some(&Applied::Processors(1)));
        assert_eq!(limited.memory(), Some(&Applied::Data));
        let cpus = sleeper.line("status", "Cpus_allowed_list:");
        assert!(!cpus.contains([',', '-']), "one processor: {cpus}");
        let data = sleeper.line("limits", "Max data size");
        assert!(data.contains(" 67108864 "), "{data}");
    }

    #[test]
    fn what_nobody_asks_for_is_not_limited() {
        let sleeper = Sleeper::new();
        let cpus = sleeper.line("status", "Cpus_allowed_list:");
        let limited = Limited::apply(sleeper.0.id(), "it", Limits::default());
        assert_eq!((limited.cpu(), limited.memory()), (None, None));
        assert_eq!(sleeper.line("status", "Cpus_allowed_list:"), cpus);
    }

    #[test]
    fn a_control_group_gets_the_limits_in_its_own_words() {
        let parent = tempfile::tempdir().expect("a folder");
        let control = parent.path().join("cgroup.subtree_control");
        fs::write(&control, "cpu memory pids\n").expect("written");
        let limited = Limited::below(Some(parent.path()), 7, "my app", LIMITS);
        assert_eq!(
            (limited.cpu(), limited.memory()),
            (Some(&Applied::Group), Some(&Applied::Group))
        );
        let read = |name: &str| {
            fs::read_to_string(parent.path().join("barrier-7-my-app").join(name)).expect(name)
        };
        let files = ["cpu.max", "memory.max", "cgroup.procs"].map(read);
        assert_eq!(files, ["50000 100000", "67108864", "7"]);
    }

    #[test]
    fn a_process_that_is_gone_says_why_it_has_no_limits() {
        let mut gone = Command::new("true").spawn().expect("true");
        gone.wait().expect("ended");
        let limited = Limited::below(None, gone.id(), "it", LIMITS);
        for applied in [limited.cpu(), limited.memory()] {
            assert!(
                matches!(applied, Some(Applied::Not(why)) if why.starts_with("there are no control groups")),
                "{applied:?}"
            );
        }
    }
}
