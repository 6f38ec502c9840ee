//! Facts about the machine: for the evidence, and to refuse what it cannot carry.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::fs::{Access, access};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::{Value as Json, json};

/// Soft and hard limit of open files; `None` is unlimited.
pub(crate) fn open_files() -> (Option<u64>, Option<u64>) {
    let limit = getrlimit(Resource::Nofile);
    (limit.current, limit.maximum)
}

/// Raises the soft limit of open files to the hard one, for the processes that the runner starts.
pub(crate) fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        // Where the system refuses, the lower limit stays and is recorded.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

/// How many local ports outgoing connections can have.
pub(crate) fn local_ports() -> Option<u64> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut bounds = text.split_whitespace().map(str::parse::<u64>);
    let (low, high) = (bounds.next()?.ok()?, bounds.next()?.ok()?);
    Some(high.saturating_sub(low) + 1)
}

/// Local time with its offset, to the millisecond.
pub(crate) fn now() -> String {
    jiff::Zoned::now()
        .strftime("%Y-%m-%dT%H:%M:%S%.3f%:z")
        .to_string()
}

/// The load averages over 1, 5 and 15 minutes.
pub(crate) fn load_average() -> Option<[f64; 3]> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    let mut figures = text.split(' ').map(str::parse::<f64>);
    let mut next = || figures.next()?.ok();
    Some([next()?, next()?, next()?])
}

/// The limits of the control group, if there is one with limits of its own.
fn control_group() -> Json {
    let read = |name: &str| {
        let text = fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?;
        Some(text.trim().to_owned())
    };
    json!({ "cpuMax": read("cpu.max"), "memoryMax": read("memory.max") })
}

/// Whether this user may make files in a folder.
pub(crate) fn writable(folder: &Path) -> bool {
    access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

/// What the report needs to know about the machine.
pub(crate) fn facts() -> Json {
    let system = rustix::system::uname();
    let info = rustix::system::sysinfo();
    let (soft, hard) = open_files();
    json!({
        "kernel": format!("{} {}", system.sysname().to_string_lossy(), system.release().to_string_lossy()),
        "architecture": system.machine().to_string_lossy(),
        "cpus": std::thread::available_parallelism().map(std::num::NonZero::get).ok(),
        "cpuModel": cpu_model(),
        "memoryBytes": info.totalram.saturating_mul(info.mem_unit.into()),
        "memoryAvailableBytes": available_memory(),
        "cgroup": control_group(),
        "loadAverageStart": load_average(),
        "openFilesSoft": soft,
        "openFilesHard": hard,
        "localPorts": local_ports(),
    })
}

/// Memory that new processes can have, in bytes.
pub(crate) fn available_memory() -> Option<u64> {
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
pub(crate) fn git() -> (String, String) {
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
