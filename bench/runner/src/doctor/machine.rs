//! What the machine can carry, and whether it is free for it.

use barrier_stats::host;

use super::findings::{Level, Report};

/// Memory of k6 and the target for one user, rounded up from runs with 10,000.
const MEMORY_PER_USER: u64 = 200 * 1024;
/// Of a machine that has nothing else to do, at most this part of the processors is in use.
const BUSY_SHARE: f64 = 0.5;

/// What so many users are for this machine: its processors, memory, open files and ports.
pub(super) fn carries(users: i64, report: &mut Report) {
    let users = users.unsigned_abs();
    let needed = users * MEMORY_PER_USER;
    report.good(compared(users, needed));
    match host::available_memory() {
        Some(free) if free < needed => report.add(
            Level::Warning,
            format!(
                "{users} users need about {} MiB of memory, {} MiB are free",
                needed >> 20,
                free >> 20
            ),
            Some("end other programs, or use fewer users"),
        ),
        Some(free) => report.good(format!("{} MiB of memory are free", free >> 20)),
        None => {}
    }
    let Some(ports) = host::local_ports() else {
        return;
    };
    let mend = "sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"";
    if ports < users {
        report.add(
            Level::Fault,
            format!("{users} users need a local port each, the system has {ports}"),
            Some(mend),
        );
    } else if ports < 2 * users {
        report.add(Level::Warning, format!("{ports} local ports for {users} users: a stream and a login connection each may not fit"), Some(mend));
    } else {
        report.good(format!("{ports} local ports"));
    }
}

/// The load beside what there is for it, without a judgement: how much a user takes is the harness's and the target's own.
fn compared(users: u64, memory: u64) -> String {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let of = |all: Option<u64>, unit: &str| {
        all.map_or_else(
            || format!(" of unlimited{unit}"),
            |all| format!(" of {all}{unit}"),
        )
    };
    let free = host::available_memory().map(|free| free >> 20);
    let (_, files) = host::open_files();
    format!(
        "load: {users} users on {processors} processors, {} for each; about {}{} of free memory; {users} sockets of k6, and as many of the target,{} open files",
        users.div_ceil(processors),
        memory >> 20,
        of(free, " MiB"),
        of(files, ""),
    )
}

/// Whether something else keeps the machine busy.
pub(super) fn quiet(report: &mut Report) {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let Some([load, _, _]) = host::load_average() else {
        return;
    };
    #[expect(clippy::cast_precision_loss, reason = "a number of processors")]
    let share = load / processors as f64;
    if share > BUSY_SHARE {
        report.add(
            Level::Warning,
            format!("the machine is busy: load {load} on {processors} processors"),
            Some("wait until it is free, if figures are to be compared"),
        );
    } else {
        report.good(format!(
            "the machine is free: load {load} on {processors} processors"
        ));
    }
}

/// Whether so many files can be open in one process.
pub(super) fn open_files(needed: u64, report: &mut Report) {
    let (_, hard) = host::open_files();
    match hard {
        Some(hard) if hard < needed => report.add(
            Level::Fault,
            format!("{needed} open files are needed by k6 and by the target, the limit is {hard}"),
            Some(&format!(
                "ulimit -Hn {needed} as root, LimitNOFILE={needed} of a service, --ulimit nofile={needed} of a container, or fewer users"
            )),
        ),
        Some(hard) => report.good(format!("open files: {needed} needed, {hard} allowed")),
        None => report.good(format!("open files: {needed} needed, unlimited")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::require;

    #[test]
    fn too_few_open_files_are_a_fault_with_a_mend() {
        let mut report = Report::default();
        open_files(u64::MAX, &mut report);
        if let (_, Some(_)) = host::open_files() {
            let text = require(&report).expect_err("refused").to_string();
            assert!(
                text.contains("open files are needed") && text.contains("mend: ulimit -Hn"),
                "{text}"
            );
        }
        let mut report = Report::default();
        open_files(1, &mut report);
        assert!(report.healthy());
    }
}
