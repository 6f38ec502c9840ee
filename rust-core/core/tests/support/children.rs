//! Child processes that the kernel ends with this one, however it ends: a test that is killed drops nothing.

use std::io;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{LazyLock, Mutex, PoisonError};

type Order = (Command, Sender<io::Result<Child>>);

/// To the kernel the parent is the thread that starts a child. This one lives as long as the process; those of tests do not.
static NURSE: LazyLock<Mutex<Sender<Order>>> = LazyLock::new(|| {
    let (orders, received) = channel();
    std::thread::spawn(move || carry_out(&received));
    Mutex::new(orders)
});

fn carry_out(orders: &Receiver<Order>) {
    while let Ok((mut command, answer)) = orders.recv() {
        end_with_parent(&mut command);
        let _ = answer.send(command.spawn());
    }
}

#[cfg(target_os = "linux")]
fn end_with_parent(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;

    use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

    let parent = getpid();
    // SAFETY: the closure runs between fork and exec and makes async-signal-safe system calls alone (prctl, getppid); it allocates
    // nothing and takes no lock.
    unsafe {
        command.pre_exec(move || {
            // Not to be put off: it may be one that a test has stopped.
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // The kernel sends nothing for a parent that had died before.
            if getppid() != Some(parent) {
                return Err(rustix::io::Errno::SRCH.into());
            }
            Ok(())
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn end_with_parent(_: &mut Command) {}

/// Starts the command.
pub(super) fn spawn(command: Command) -> io::Result<Child> {
    let (answer, answered) = channel();
    let nurse = NURSE.lock().unwrap_or_else(PoisonError::into_inner).clone();
    nurse.send((command, answer)).expect("it goes on receiving");
    answered.recv().expect("it answers")
}
