//! Which process it was, so that nobody takes another one for it that got its number later.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use procfs::process::{ProcState, Process, Stat};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{Error, doing};

/// How often a process that shall end is looked at.
const POLL: Duration = Duration::from_millis(20);

/// A process of this system, by its number and the instant of its start. It may be kept in a file. After a restart of the machine it
/// has ended; seen from another container or machine it is nobody who can be asked after or signalled: see [`Self::is_elsewhere`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    process: u32,
    /// Clock ticks from the boot to its start.
    started_ticks: u64,
    /// Which boot, and whose numbers.
    system: String,
    /// Which machine, by a digest of its id, where that is known and the numbers are those of the machine itself and of no container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    machine: Option<String>,
}

impl Identity {
    /// The process that asks.
    ///
    /// # Errors
    /// As for [`Self::of`].
    pub fn own() -> Result<Self, Error> {
        Self::of(std::process::id())
    }

    /// A process that runs now.
    ///
    /// # Errors
    /// [`Error::System`]: there is none of this number, or the system tells nothing about it.
    pub fn of(process: u32) -> Result<Self, Error> {
        let looking = || format!("looking for process {process}");
        let stat = doing(looking, stat(process).map_err(std::io::Error::other))?;
        Ok(Self {
            process,
            started_ticks: stat.starttime,
            system: doing(looking, system())?,
            machine: machine(),
        })
    }

    /// Its number.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.process
    }

    /// Whether it runs. What has ended and is only left to be reaped does not.
    #[must_use]
    pub fn lives(&self) -> bool {
        let over = |stat: &Stat| matches!(stat.state(), Ok(ProcState::Zombie | ProcState::Dead));
        system().is_ok_and(|here| here == self.system)
            && stat(self.process)
                .is_ok_and(|stat| stat.starttime == self.started_ticks && !over(&stat))
    }

    /// Whether its numbers are of another system: a container or a machine. Whether it runs there cannot be told from here. Of this
    /// machine before its restart it can, where the machine has an id: nothing runs any more.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        let ended_with_the_machine = self.machine.is_some() && self.machine == machine();
        system().is_ok_and(|here| here != self.system) && !ended_with_the_machine
    }

    /// Sends it a signal. Returns whether it was there to get it; another process of its number gets nothing.
    ///
    /// # Errors
    /// [`Error::System`]: the system refuses, as where the process is another user's.
    pub fn signal(&self, signal: Signal) -> Result<bool, Error> {
        let pid = i32::try_from(self.process).ok().and_then(Pid::from_raw);
        // The descriptor stays that of one process, whoever gets the number meanwhile.
        let Some(descriptor) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
            return Ok(false);
        };
        if !self.lives() {
            return Ok(false);
        }
        let sending = || format!("sending a signal to process {}", self.process);
        match pidfd_send_signal(&descriptor, signal) {
            Err(rustix::io::Errno::SRCH) => Ok(false),
            sent => doing(sending, sent.map_err(Into::into)).map(|()| true),
        }
    }

    /// Waits until it has ended, for this time at most. Returns whether it has.
    #[must_use]
    pub fn ends_within(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.lives() {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(POLL);
        }
        true
    }
}

fn stat(process: u32) -> procfs::ProcResult<Stat> {
    let process = i32::try_from(process)
        .map_err(|_| procfs::ProcError::Other("no number of a process".to_owned()))?;
    Process::new(process)?.stat()
}

fn system() -> std::io::Result<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let numbers = fs::read_link("/proc/self/ns/pid")?;
    Ok(format!("{} {}", boot.trim(), numbers.display()))
}

/// Which machine this is; `None` in a container, whose id may be that of its image.
///
/// The id itself is not for files that others get, says machine-id(5): it is hashed with a word of this program.
fn machine() -> Option<String> {
    // The number that Linux gives the first namespace of processes, PROC_PID_INIT_INO.
    let numbers = fs::read_link("/proc/self/ns/pid").ok()?;
    if numbers.as_os_str() != "pid:[4026531836]" {
        return None;
    }
    let id = fs::read_to_string("/etc/machine-id").ok()?;
    let id = Some(id.trim()).filter(|id| id.len() == 32)?;
    let digest = Sha256::digest(format!("barrier-bench {id}"));
    Some(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_itself_until_it_ends() {
        let mut child = Command::new("sleep").arg("600").spawn().expect("a process");
        let identity = Identity::of(child.id()).expect("it runs");
        assert!(identity.lives() && !identity.ends_within(Duration::ZERO));
        assert_eq!(identity, Identity::of(child.id()).expect("it runs"));
        assert!(identity.signal(Signal::TERM).expect("it may be signalled"));
        // Left to be reaped, it has ended.
        assert!(identity.ends_within(Duration::from_secs(60)));
        child.wait().expect("reaped");
        assert!(!identity.signal(Signal::KILL).expect("nobody to refuse it"));
    }

    #[test]
    fn another_process_of_the_same_number_gets_nothing() {
        let mut child = Command::new("sleep").arg("600").spawn().expect("a process");
        let own = Identity::of(child.id()).expect("it runs");
        for other in [
            Identity {
                started_ticks: own.started_ticks - 1,
                ..own.clone()
            },
            Identity {
                system: "another boot".to_owned(),
                machine: Some("another machine".to_owned()),
                ..own.clone()
            },
            Identity {
                system: "another boot".to_owned(),
                machine: None,
                ..own.clone()
            },
        ] {
            assert!(!other.lives());
            assert_eq!(other.is_elsewhere(), other.system != own.system);
            assert!(!other.signal(Signal::KILL).expect("nobody to refuse it"));
        }
        assert!(own.lives(), "it got no signal");
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }

    #[test]
    fn of_this_machine_before_its_restart_nothing_runs() {
        let before = Identity {
            system: "another boot".to_owned(),
            ..Identity::own().expect("this process")
        };
        assert!(!before.lives());
        // In a container the id of the machine tells nothing.
        assert_eq!(before.is_elsewhere(), before.machine.is_none());
    }
}
