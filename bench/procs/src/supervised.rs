//! One child process, and what it starts itself.

use std::fs::File;
use std::io::{BufRead as _, BufReader, PipeReader};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use procfs::process::{ProcState, all_processes};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus};

use crate::{Error, doing};

/// How long the rest of the output may take once the process has ended.
const OUTPUT_LIMIT: Duration = Duration::from_secs(5);
/// How long it may take until what was killed is gone.
const KILL_LIMIT: Duration = Duration::from_secs(5);
/// How often a process that was asked to end is looked at.
const POLL: Duration = Duration::from_millis(10);

/// What is called with each line, its end included.
pub type EachLine = Box<dyn FnMut(&[u8]) + Send>;

/// Where the output of a child goes.
pub enum Output {
    /// Standard output and standard error alike into this file.
    File(File),
    /// Standard output into the first file, standard error into the second.
    Apart(File, File),
    /// Both to this function, line by line, on a thread of its own. The function is dropped after the last line.
    Lines(EachLine),
    /// Standard output to the first function and standard error to the second, likewise: for who reads what a program answers.
    LinesApart(EachLine, EachLine),
}

/// A running child with its name for messages.
///
/// Dropping it ends the process with all that it has started, as far as that has stayed in its process group: politely
/// first, then by force. That also holds while a panic unwinds; where the parent itself is killed, the kernel sends the
/// child, though not what the child has started, a SIGTERM.
#[derive(Debug)]
pub struct Supervised {
    name: String,
    child: Child,
    /// Each says when all lines of a pipe have been handed over.
    lines: Vec<Receiver<()>>,
    grace: Duration,
    /// It has been waited for: its id, which is its group's too, may be another's.
    reaped: bool,
}

impl Supervised {
    /// Starts the command without input. `grace` is how long it may take to end when asked to.
    ///
    /// The child gets a process group of its own: Ctrl-C in a terminal goes to the whole foreground group, and k6 takes
    /// a second signal as "end at once, without teardown". So the parent alone decides what the child gets.
    ///
    /// The kernel counts the thread that calls this as the parent: call it from one that lives as long as the child
    /// shall, as the main thread does.
    ///
    /// # Errors
    /// [`Error::System`]: the program cannot be started, or a pipe cannot be made.
    pub fn start(
        name: &str,
        command: &mut Command,
        output: Output,
        grace: Duration,
    ) -> Result<Self, Error> {
        Self::start_until(name, command, output, grace, Signal::TERM)
    }

    /// The same with another signal for the child of a parent that is killed.
    pub(crate) fn start_until(
        name: &str,
        command: &mut Command,
        output: Output,
        grace: Duration,
        orphaned: Signal,
    ) -> Result<Self, Error> {
        command.stdin(Stdio::null()).process_group(0);
        let pipe = || "making a pipe".to_owned();
        let lines = match output {
            Output::File(file) => {
                let log = || format!("opening the log of {name}");
                command.stdout(doing(log, file.try_clone())?).stderr(file);
                Vec::new()
            }
            Output::Apart(output, errors) => {
                command.stdout(output).stderr(errors);
                Vec::new()
            }
            Output::Lines(each) => {
                let (reader, writer) = doing(pipe, std::io::pipe())?;
                command
                    .stdout(doing(pipe, writer.try_clone())?)
                    .stderr(writer);
                vec![(reader, each)]
            }
            Output::LinesApart(each, each_error) => {
                let (reader, writer) = doing(pipe, std::io::pipe())?;
                let (error_reader, error_writer) = doing(pipe, std::io::pipe())?;
                command.stdout(writer).stderr(error_writer);
                vec![(reader, each), (error_reader, each_error)]
            }
        };
        end_by(command, orphaned);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = doing(|| format!("starting {name} ({program})"), command.spawn());
        // The command keeps the writing end of the pipe; without it the reader sees the end of the output.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self {
            name: name.to_owned(),
            child: child?,
            lines: lines
                .into_iter()
                .map(|(reader, each)| hand_over(reader, each))
                .collect(),
            grace,
            reaped: false,
        })
    }

    /// What it is called in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Process id. It is not given to another process before this one has been waited for.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Calls the function, on a thread of its own, once the process has ended. The process is not reaped by this: until
    /// [`Self::end`] its id cannot be given to another one.
    pub fn watch(&self, ended: impl FnOnce() + Send + 'static) {
        let pid = self.pid();
        thread::spawn(move || {
            let _ = look(pid, WaitIdOptions::EXITED);
            ended();
        });
    }

    /// The exit status if the process has ended. It is not reaped by this either.
    ///
    /// # Errors
    /// [`Error::System`]: the system cannot tell.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        let asking = || format!("asking for the state of {}", self.name);
        if self.reaped {
            return doing(asking, self.child.try_wait());
        }
        let seen = look(self.pid(), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        let status = doing(asking, seen.map_err(Into::into))?;
        Ok(status.as_ref().map(exit_status))
    }

    /// Sends a signal to the process and to what it has started, as a terminal does, unless it has been reaped.
    pub fn signal(&mut self, signal: Signal) {
        if !self.reaped {
            // Until it is reaped its id is its own, and so is that of the group, whether it has ended or not.
            let _ = rustix::process::kill_process_group(self.pid(), signal);
        }
    }

    /// Waits for a process that has ended or is about to, ends what it has left behind, and waits for the rest of its
    /// output.
    ///
    /// # Errors
    /// [`Error::System`]: the system cannot tell.
    pub fn end(&mut self) -> Result<ExitStatus, Error> {
        if !self.reaped {
            let seen = look(self.pid(), WaitIdOptions::EXITED);
            let waiting = || format!("waiting for {}", self.name);
            doing(waiting, seen.map_err(Into::into))?;
            self.end_group();
        }
        let waiting = || format!("waiting for {}", self.name);
        let status = doing(waiting, self.child.wait())?;
        self.drain();
        Ok(status)
    }

    /// Stops the process and what it has started: SIGTERM, then SIGKILL after the grace period. Repeated calls do
    /// nothing.
    pub fn stop(&mut self) {
        if !self.reaped {
            self.end_group();
            let _ = self.child.wait();
        }
        self.drain();
    }

    /// Ends the process with its whole group, and makes it ready to be reaped.
    fn end_group(&mut self) {
        self.signal(Signal::TERM);
        if !self.group_ends_within(self.grace) {
            self.signal(Signal::KILL);
            self.group_ends_within(KILL_LIMIT);
        }
        self.reaped = true;
    }

    fn group_ends_within(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        // The first to end is mostly the last: the others, which take longer to be looked for, are asked about then.
        while matches!(self.ended(), Ok(None)) || group_lives(self.pid()) {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(POLL);
        }
        true
    }

    fn drain(&mut self) {
        for lines in self.lines.drain(..) {
            // Who has left the group may hold the pipe open; its output is not worth waiting for any longer.
            let _ = lines.recv_timeout(OUTPUT_LIMIT);
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

/// Has the kernel send what the command starts a SIGTERM when the thread that starts it ends, with its process or before.
pub fn end_with_parent(command: &mut Command) {
    end_by(command, Signal::TERM);
}

/// The same with another signal.
fn end_by(command: &mut Command, signal: Signal) {
    let parent = rustix::process::getpid();
    // SAFETY: the closure runs between fork and exec and makes async-signal-safe system calls alone (prctl, getppid);
    // it allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(signal))?;
            // The kernel sends nothing for a parent that had died before.
            if rustix::process::getppid() != Some(parent) {
                return Err(Errno::SRCH.into());
            }
            Ok(())
        });
    }
}

/// What has become of a child, without reaping it.
fn look(child: Pid, options: WaitIdOptions) -> Result<Option<WaitIdStatus>, Errno> {
    loop {
        match rustix::process::waitid(WaitId::Pid(child), options | WaitIdOptions::NOWAIT) {
            Err(Errno::INTR) => {}
            seen => return seen,
        }
    }
}

/// The status as waiting for the process gives it.
fn exit_status(seen: &WaitIdStatus) -> ExitStatus {
    let code = seen.exit_status().map(|code| (code & 0xff) << 8);
    let signal = seen
        .terminating_signal()
        .map(|signal| signal | if seen.dumped() { 0x80 } else { 0 });
    ExitStatus::from_raw(code.or(signal).unwrap_or_default())
}

/// Whether anybody in the group has not ended. Of what is only left to be reaped, by whomsoever, nothing can be expected.
fn group_lives(group: Pid) -> bool {
    let group = group.as_raw_nonzero().get();
    let lives = |process: procfs::process::Process| {
        let stat = process.stat().ok()?;
        let over = matches!(stat.state(), Ok(ProcState::Zombie | ProcState::Dead));
        Some(stat.pgrp == group && !over)
    };
    all_processes()
        .is_ok_and(|mut all| all.any(|process| process.ok().and_then(lives) == Some(true)))
}

fn hand_over(reader: PipeReader, mut each: EachLine) -> Receiver<()> {
    let (done, all) = channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line), Ok(count) if count > 0) {
            each(&line);
            line.clear();
        }
        // Whatever it keeps is put away before anybody goes on.
        drop(each);
        let _ = done.send(());
    });
    all
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc::RecvTimeoutError;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::last_lines;

    fn shell(script: &str, output: Output, grace: Duration) -> Supervised {
        let mut command = Command::new("sh");
        Supervised::start("the shell", command.args(["-c", script]), output, grace).expect("start")
    }

    fn file(path: &Path) -> Output {
        Output::File(File::create(path).expect("a log"))
    }

    #[test]
    fn every_line_is_handed_over_before_the_end() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ear = Arc::clone(&heard);
        let each = move |line: &[u8]| ear.lock().expect("ear").push(line.to_vec());
        let script = "echo one; echo two >&2; printf three; exit 3";
        let mut child = shell(
            script,
            Output::Lines(Box::new(each)),
            Duration::from_secs(5),
        );
        assert_eq!(child.end().expect("end").code(), Some(3));
        let heard = Arc::into_inner(heard).expect("the function has been dropped");
        let heard = heard.into_inner().expect("ear");
        assert_eq!(heard, [&b"one\n"[..], b"two\n", b"three"]);
    }

    #[test]
    fn a_file_has_both_outputs() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        let mut child = shell("echo one; echo two >&2", file(&log), Duration::from_secs(5));
        assert!(child.end().expect("end").success());
        assert_eq!(last_lines(&log, 5), "one\ntwo");
    }

    #[test]
    fn two_files_have_one_output_each() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let [output, errors] =
            ["output", "errors"].map(|name| File::create(path(name)).expect("a file"));
        let apart = Output::Apart(output, errors);
        let mut child = shell("echo one; echo two >&2", apart, Duration::from_secs(5));
        assert!(child.end().expect("end").success());
        let held = ["output", "errors"].map(|name| last_lines(&path(name), 5));
        assert_eq!(held, ["one", "two"]);
    }

    #[test]
    fn a_process_that_ignores_sigterm_is_killed_when_dropped() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        let script = "trap '' TERM; echo ready; while :; do sleep 1; done";
        let child = shell(script, file(&log), Duration::from_millis(50));
        let (sender, ended) = channel();
        child.watch(move || {
            let _ = sender.send(());
        });
        while !last_lines(&log, 1).contains("ready") {
            thread::sleep(Duration::from_millis(5));
        }
        assert!(ended.try_recv().is_err(), "it runs");
        drop(child);
        ended
            .recv_timeout(Duration::from_secs(30))
            .expect("it has ended");
    }

    /// Runs a script until all its output is there, and then something that ends it. True once nobody holds the output any
    /// more: all that the script has started has ended.
    fn leaves_nothing(script: &str, grace: Duration, end: impl FnOnce(&mut Supervised)) -> bool {
        let (line, lines) = channel();
        let each = move |_: &[u8]| line.send(()).expect("somebody listens");
        let mut child = shell(script, Output::Lines(Box::new(each)), grace);
        lines.recv().expect("it says that it is ready");
        end(&mut child);
        drop(child);
        loop {
            match lines.recv_timeout(Duration::from_secs(30)) {
                Ok(()) => {}
                Err(error) => return error == RecvTimeoutError::Disconnected,
            }
        }
    }

    #[test]
    fn what_a_shell_has_started_ends_with_it() {
        let script = "sleep 600 & (sleep 601; :) & echo ready; wait";
        assert!(leaves_nothing(script, Duration::from_secs(60), |_| {}));
        assert!(leaves_nothing(script, Duration::from_secs(60), |child| {
            child.signal(Signal::TERM);
            assert!(!child.end().expect("end").success());
        }));
    }

    #[test]
    fn what_ignores_sigterm_is_killed_although_its_shell_has_ended() {
        let script = "(trap '' TERM; echo ready; while :; do sleep 1; done) & wait";
        assert!(leaves_nothing(script, Duration::from_millis(50), |_| {}));
    }

    #[test]
    fn what_is_left_by_one_that_has_ended_by_itself_ends_too() {
        let script = "sleep 600 & echo ready; exit 3";
        let status = |child: &mut Supervised| child.end().expect("end").code();
        assert!(leaves_nothing(script, Duration::from_secs(60), |child| {
            assert_eq!(status(child), Some(3));
            assert_eq!(status(child), Some(3), "it can be asked again");
        }));
    }

    #[test]
    fn the_status_is_known_before_and_after_the_end() {
        for (script, code, signal) in [
            ("exit 200", Some(200), None),
            ("kill -KILL $$", None, Some(9)),
        ] {
            let mut child = shell(
                script,
                Output::Lines(Box::new(|_| {})),
                Duration::from_secs(60),
            );
            let (sender, ended) = channel::<()>();
            child.watch(move || drop(sender));
            assert!(ended.recv().is_err());
            for status in [
                child.ended().expect("asked").expect("ended"),
                child.end().expect("end"),
            ] {
                assert_eq!((status.code(), status.signal()), (code, signal));
            }
            assert!(child.ended().expect("asked again").is_some());
        }
    }

    #[test]
    fn what_cannot_be_started_is_named() {
        let mut command = Command::new("/no/such/program");
        let output = Output::Lines(Box::new(|_| {}));
        let error = Supervised::start("k6", &mut command, output, Duration::ZERO)
            .expect_err("there is no such program");
        assert_eq!(error.to_string(), "starting k6 (/no/such/program)");
    }
}
