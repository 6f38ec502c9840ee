//! Child processes that never outlive the runner, and whose output is kept.

use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use crate::events::{Event, Events};
use crate::mask;

/// How long the rest of the output may take once the process has ended.
const OUTPUT_LIMIT: Duration = Duration::from_secs(5);

/// A running child with its name for messages.
///
/// Dropping it ends the process: politely first, then by force. That also holds while a panic unwinds; if the runner
/// itself is killed, the kernel sends the child a SIGTERM.
#[derive(Debug)]
pub(crate) struct Supervised {
    name: String,
    child: Child,
    output: Option<Receiver<()>>,
    grace: Duration,
}

impl Supervised {
    /// Starts the command with its output going, masked and line by line, to `log` and, if asked, to the terminal.
    ///
    /// The child gets a process group of its own: Ctrl-C in a terminal goes to the whole foreground group, and k6
    /// takes a second signal as "end at once, without teardown". So the runner alone decides what the child gets.
    ///
    /// # Errors
    /// The program cannot be started or a pipe cannot be made.
    pub(crate) fn start(
        name: &str,
        command: &mut Command,
        log: File,
        echo: bool,
        grace: Duration,
    ) -> anyhow::Result<Self> {
        let (reader, writer) = std::io::pipe().context("making a pipe")?;
        command
            .stdin(Stdio::null())
            .stdout(writer.try_clone().context("making a pipe")?)
            .stderr(writer)
            .process_group(0);
        // SAFETY: the closure runs between fork and exec and makes one async-signal-safe system call (prctl); it
        // allocates nothing and takes no lock. The signal is tied to the thread that forks: children are started
        // from the main thread only, which lives as long as the process.
        unsafe {
            command.pre_exec(|| {
                rustix::process::set_parent_process_death_signal(Some(Signal::TERM))
                    .map_err(Into::into)
            });
        }
        let child = command.spawn().with_context(|| {
            format!(
                "starting {name} ({})",
                command.get_program().to_string_lossy()
            )
        })?;
        // The command keeps the writing end of the pipe; without it the reader sees the end of the output.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let (done, output) = channel();
        thread::spawn(move || {
            copy_lines(reader, log, echo);
            let _ = done.send(());
        });
        Ok(Self {
            name: name.to_owned(),
            child,
            output: Some(output),
            grace,
        })
    }

    /// Process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends [`Event::Exited`] once the process has ended. The process is not reaped by this: until [`Self::end`]
    /// its id cannot be given to another one.
    pub(crate) fn watch(&self, events: &Events) {
        let (id, pid, sender) = (self.child.id(), self.pid(), events.sender());
        thread::spawn(move || {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while let Err(rustix::io::Errno::INTR) =
                rustix::process::waitid(WaitId::Pid(pid), options)
            {}
            let _ = sender.send(Event::Exited(id));
        });
    }

    /// The exit status if the process has ended.
    ///
    /// # Errors
    /// The system cannot tell.
    pub(crate) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .with_context(|| format!("asking for the state of {}", self.name))
    }

    /// Sends a signal unless the process has been reaped.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // It may end between the question and the signal; it is not reaped before our next question, so the
            // signal cannot hit another process.
            let _ = rustix::process::kill_process(self.pid(), signal);
        }
    }

    /// Waits for a process that has ended or is about to, and for the rest of its output.
    ///
    /// # Errors
    /// The system cannot tell.
    pub(crate) fn end(&mut self) -> anyhow::Result<ExitStatus> {
        let status = self
            .child
            .wait()
            .with_context(|| format!("waiting for {}", self.name))?;
        self.drain_output();
        Ok(status)
    }

    /// Stops the process: SIGTERM, then SIGKILL after the grace period. Repeated calls do nothing.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + self.grace;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() >= deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.drain_output();
    }

    fn drain_output(&mut self) {
        if let Some(output) = self.output.take() {
            // A grandchild may hold the pipe open; its output is not worth waiting for any longer.
            let _ = output.recv_timeout(OUTPUT_LIMIT);
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.stop();
    }
}

fn copy_lines(reader: PipeReader, mut log: File, echo: bool) {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line), Ok(count) if count > 0) {
        let text = mask::masked(&String::from_utf8_lossy(&line));
        // A full disk or a closed terminal must not stop the reading: the child would block on its pipe.
        let _ = log.write_all(text.as_bytes());
        if echo {
            crate::screen::print(text.as_bytes());
        }
        line.clear();
    }
    let _ = log.sync_all();
}

/// What a process is called; `None` without such a process.
pub(crate) fn comm(id: u32) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{id}/comm")).ok()?;
    Some(text.trim_end().to_owned())
}

/// Where a program is on the path.
pub(crate) fn find_on_path(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// The last lines of a log, for an error text.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    let tail = all[all.len().saturating_sub(lines)..].join("\n");
    if tail.is_empty() {
        "(no output)".to_owned()
    } else {
        mask::masked(&tail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, log: &Path, grace: Duration) -> Supervised {
        let file = File::create(log).expect("log");
        Supervised::start(
            "shell",
            Command::new("sh").args(["-c", script]),
            file,
            false,
            grace,
        )
        .expect("start")
    }

    #[test]
    fn output_is_complete_and_masked() {
        mask::register("hunter2-process");
        let folder = tempfile::tempdir().expect("folder");
        let log = folder.path().join("log");
        let mut child = shell(
            "echo one; echo hunter2-process >&2; printf end",
            &log,
            Duration::from_secs(5),
        );
        assert!(child.end().expect("end").success());
        assert_eq!(std::fs::read_to_string(&log).expect("log"), "one\n***\nend");
    }

    #[test]
    fn a_process_that_ignores_sigterm_is_killed_when_dropped() {
        let folder = tempfile::tempdir().expect("folder");
        let log = folder.path().join("log");
        let mut events = Events::without_signals();
        let script = "trap '' TERM; echo ready; while :; do sleep 1; done";
        let child = shell(script, &log, Duration::from_millis(50));
        child.watch(&events);
        let id = child.id();
        while !tail(&log, 1).contains("ready") {
            events.pause(Duration::from_millis(5)).expect("no signal");
        }
        drop(child);
        let deadline = Instant::now() + Duration::from_secs(10);
        assert_eq!(events.next(deadline), Some(Event::Exited(id)));
    }
}
