//! Facts about the machine: for the evidence, and to refuse what it cannot carry.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::fs::{Access, access};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde::Serialize;

/// Soft and hard limit of open files; `None` is unlimited.
#[must_use]
pub fn open_files() -> (Option<u64>, Option<u64>) {
    let limit = getrlimit(Resource::Nofile);
    (limit.current, limit.maximum)
}

/// Raises the soft limit of open files to the hard one, for the processes that are started from now on, and says what it
/// is then; `None` is unlimited.
pub fn raise_open_files() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        // Where the system refuses, the lower limit stays and is recorded.
        let _ = setrlimit(Resource::Nofile, limit);
    }
    open_files().0
}

/// How many local ports outgoing connections can have.
#[must_use]
pub fn local_ports() -> Option<u64> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut bounds = text.split_whitespace().map(str::parse::<u64>);
    let (low, high) = (bounds.next()?.ok()?, bounds.next()?.ok()?);
    Some(high.saturating_sub(low) + 1)
}

/// Local time with its offset, to the millisecond.
#[must_use]
pub fn now() -> String {
    jiff::Zoned::now()
        .strftime("%Y-%m-%dT%H:%M:%S%.3f%:z")
        .to_string()
}

/// The load averages over 1, 5 and 15 minutes.
#[must_use]
pub fn load_average() -> Option<[f64; 3]> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    let mut figures = text.split(' ').map(str::parse::<f64>);
    let mut next = || figures.next()?.ok();
    Some([next()?, next()?, next()?])
}

/// Whether this user may make files in a folder.
#[must_use]
pub fn writable(folder: &Path) -> bool {
    access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

/// What a report needs to know about the machine.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// Name and release of the kernel.
    pub kernel: String,
    /// Of the processors.
    pub architecture: String,
    /// Processors that this process may use.
    pub cpus: Option<usize>,
    /// What the processors call themselves.
    pub cpu_model: Option<String>,
    /// All memory there is.
    pub memory_bytes: u64,
    /// What new processes can have of it.
    pub memory_available_bytes: Option<u64>,
    /// The limits of the control group.
    pub cgroup: ControlGroup,
    /// The load averages over 1, 5 and 15 minutes when this was asked.
    pub load_average_start: Option<[f64; 3]>,
    /// Soft limit of open files.
    pub open_files_soft: Option<u64>,
    /// Hard limit of open files.
    pub open_files_hard: Option<u64>,
    /// How many local ports outgoing connections can have.
    pub local_ports: Option<u64>,
}

/// The limits of the control group, if there is one with limits of its own.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ControlGroup {
    /// The file `cpu.max`.
    pub cpu_max: Option<String>,
    /// The file `memory.max`.
    pub memory_max: Option<String>,
}

/// Looks at the machine.
#[must_use]
pub fn facts() -> Facts {
    let system = rustix::system::uname();
    let info = rustix::system::sysinfo();
    let (soft, hard) = open_files();
    let limit = |name: &str| {
        let text = fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?;
        Some(text.trim().to_owned())
    };
    Facts {
        kernel: format!(
            "{} {}",
            system.sysname().to_string_lossy(),
            kernel_release()
        ),
        architecture: system.machine().to_string_lossy().into_owned(),
        cpus: std::thread::available_parallelism()
            .map(std::num::NonZero::get)
            .ok(),
        cpu_model: cpu_model(),
        memory_bytes: info.totalram.saturating_mul(info.mem_unit.into()),
        memory_available_bytes: available_memory(),
        cgroup: ControlGroup {
            cpu_max: limit("cpu.max"),
            memory_max: limit("memory.max"),
        },
        load_average_start: load_average(),
        open_files_soft: soft,
        open_files_hard: hard,
        local_ports: local_ports(),
    }
}

/// The release of the kernel.
#[must_use]
pub fn kernel_release() -> String {
    let system = rustix::system::uname();
    system.release().to_string_lossy().into_owned()
}

/// Memory that new processes can have, in bytes.
#[must_use]
pub fn available_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

fn cpu_model() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Branch and short commit id of the working directory; `unknown` without git.
#[must_use]
pub fn git() -> (String, String) {
    let ask = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(arguments)
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
            .filter(|text| !text.is_empty())
    };
    let sha = ask(&["rev-parse", "--short", "HEAD"]);
    let branch = ask(&["symbolic-ref", "--short", "-q", "HEAD"])
        .or_else(|| sha.as_ref().map(|_| "detached".to_owned()));
    let unknown = || "unknown".to_owned();
    (branch.unwrap_or_else(unknown), sha.unwrap_or_else(unknown))
}

/// Whether the current folder holds changes that git does not know yet; `None` if git does not tell.
#[must_use]
pub fn git_is_dirty() -> Option<bool> {
    let output = Command::new("git")
        .args(["status", "--porcelain", "--untracked-files=no"])
        .output()
        .ok()?;
    output.status.success().then_some(!output.stdout.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_described_under_the_names_that_evidence_has() {
        let facts = facts();
        assert!(facts.memory_bytes > 0 && facts.cpus > Some(0));
        assert!(facts.kernel.ends_with(&kernel_release()));
        let json = serde_json::to_value(facts).expect("JSON");
        let mut names: Vec<_> = json.as_object().expect("an object").keys().collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "architecture",
                "cgroup",
                "cpuModel",
                "cpus",
                "kernel",
                "loadAverageStart",
                "localPorts",
                "memoryAvailableBytes",
                "memoryBytes",
                "openFilesHard",
                "openFilesSoft",
            ]
        );
        assert!(
            json["cgroup"].get("cpuMax").is_some() && json["cgroup"].get("memoryMax").is_some()
        );
    }

    #[test]
    fn the_limit_of_open_files_is_raised_to_the_hard_one() {
        let (_, hard) = open_files();
        assert_eq!(raise_open_files(), hard);
        assert_eq!(open_files(), (hard, hard));
    }
}
