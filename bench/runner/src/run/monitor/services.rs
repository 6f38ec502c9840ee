//! Processor time that the services of a run have used: a machine that they fill themselves is not a busy one.

use std::collections::BTreeMap;

use procfs::process::Process;

use super::family::with_descendants;
use super::process::{Processes, percent};

/// Looks at the services of a run, and at what they started.
pub(super) struct Services {
    processes: Processes,
    /// Processors whose time counts, from and to; `None` is all.
    of: Option<Vec<(u32, u32)>>,
    /// Ticks that each had used at the look before, by its number and its start; `None` before the first look.
    before: Option<BTreeMap<(i32, u64), u64>>,
}

impl Services {
    pub(super) fn new(processes: Processes, of: Option<Vec<(u32, u32)>>) -> Self {
        Self {
            processes,
            of,
            before: None,
        }
    }

    /// What they used since the look before, in clock ticks; 0 at the first one. What a process used after that look and before its
    /// end is nobody's.
    pub(super) fn used(&mut self) -> u64 {
        let roots = self.processes.services();
        let now: BTreeMap<(i32, u64), u64> = with_descendants(&roots)
            .iter()
            .filter(|stat| self.counts(stat.pid))
            .map(|stat| ((stat.pid, stat.starttime), stat.utime + stat.stime))
            .collect();
        let Some(before) = self.before.replace(now.clone()) else {
            return 0;
        };
        now.iter()
            .map(|(who, ticks)| ticks.saturating_sub(before.get(who).copied().unwrap_or(0)))
            .sum()
    }

    /// Whether it may run on a processor whose time counts: what it does elsewhere takes nothing here.
    fn counts(&self, process: i32) -> bool {
        let Some(of) = &self.of else {
            return true;
        };
        let status = Process::new(process).and_then(|process| process.status());
        let allowed = status.ok().and_then(|status| status.cpus_allowed_list);
        allowed.is_none_or(|allowed| {
            let meet = |(from, to): &(u32, u32)| of.iter().any(|(a, b)| from <= b && a <= to);
            allowed.iter().any(meet)
        })
    }
}

/// How far others than the services filled the processors, in percent of `all` ticks of which `busy` were used, by the services or
/// stolen or by anybody else.
///
/// Time of the services counts at most as much as that of all others together. So a machine is full where others took at least half
/// of it and the services had the rest; and services that take more than all others together have nobody to blame for a machine
/// without a free processor.
pub(super) fn contention(all: u64, busy: u64, services: u64) -> f64 {
    let others = busy.saturating_sub(services);
    percent(others + services.min(others), all)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::super::process::{Target, look};
    use super::*;
    use crate::events::Stream;

    #[test]
    fn who_fills_the_machine_is_told_apart() {
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(close(contention(200, 200, 0), 100.0), "others alone");
        assert!(close(contention(200, 200, 90), 100.0), "as much as others");
        assert!(close(contention(200, 200, 150), 50.0), "services spin");
        assert!(close(contention(200, 200, 260), 0.0), "services alone");
        assert!(close(contention(200, 60, 20), 30.0), "all of a quiet one");
    }

    #[test]
    fn what_a_service_started_counts_for_it_and_the_runner_and_k6_do_not() {
        let processes = Processes::new(Target::Started, &Stream::default());
        let mut service = Command::new("sh")
            .args(["-c", "(while :; do :; done) & echo $!; wait"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut line = String::new();
        let output = service.stdout.take().expect("its output");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).expect("read");
        let child: u32 = line.trim().parse().expect("a number");
        processes.add("k6", std::process::id());
        assert_eq!(processes.services(), [] as [i32; 0]);
        processes.add("api", service.id());
        let mut services = Services::new(processes, None);
        assert_eq!(services.used(), 0, "the first look");
        let ticks = || look(child).expect("it runs").0;
        let begun = ticks();
        while ticks() < begun + 5 {
            std::thread::yield_now();
        }
        let used = services.used();
        let pid = |id: u32| rustix::process::Pid::from_raw(i32::try_from(id).expect("a number"));
        let child = pid(child).expect("a process");
        rustix::process::kill_process(child, rustix::process::Signal::KILL).expect("killed");
        service.kill().expect("killed");
        service.wait().expect("reaped");
        assert!(used >= 5, "{used}");
    }
}
