//! One child process.

use std::fs::File;
use std::io::{BufRead as _, BufReader, PipeReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use crate::{Error, doing};

/// How long the rest of the output may take once the process has ended.
const OUTPUT_LIMIT: Duration = Duration::from_secs(5);
/// How often a process that was asked to end is looked at.
const POLL: Duration = Duration::from_millis(10);

/// What is called with each line, its end included.
pub type EachLine = Box<dyn FnMut(&[u8]) + Send>;

/// Where the output of a child goes, standard output and standard error alike.
pub enum Output {
    /// Into this file.
    File(File),
    /// To this function, line by line, on a thread of its own. The function is dropped after the last line.
    Lines(EachLine),
}

/// A running child with its name for messages.
///
/// Dropping it ends the process: politely first, then by force. That also holds while a panic unwinds; where the parent
/// itself is killed, the kernel sends the child a SIGTERM.
#[derive(Debug)]
pub struct Supervised {
    name: String,
    child: Child,
    /// Says when all lines have been handed over.
    lines: Option<Receiver<()>>,
    grace: Duration,
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
        command.stdin(Stdio::null()).process_group(0);
        let pipe = || "making a pipe".to_owned();
        let lines = match output {
            Output::File(file) => {
                let log = || format!("opening the log of {name}");
                command.stdout(doing(log, file.try_clone())?).stderr(file);
                None
            }
            Output::Lines(each) => {
                let (reader, writer) = doing(pipe, std::io::pipe())?;
                command
                    .stdout(doing(pipe, writer.try_clone())?)
                    .stderr(writer);
                Some((reader, each))
            }
        };
        // SAFETY: the closure runs between fork and exec and makes one async-signal-safe system call (prctl); it
        // allocates nothing and takes no lock.
        unsafe {
            command.pre_exec(|| {
                rustix::process::set_parent_process_death_signal(Some(Signal::TERM))
                    .map_err(Into::into)
            });
        }
        let program = command.get_program().to_string_lossy().into_owned();
        let child = doing(|| format!("starting {name} ({program})"), command.spawn());
        // The command keeps the writing end of the pipe; without it the reader sees the end of the output.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self {
            name: name.to_owned(),
            child: child?,
            lines: lines.map(|(reader, each)| hand_over(reader, each)),
            grace,
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
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while let Err(rustix::io::Errno::INTR) =
                rustix::process::waitid(WaitId::Pid(pid), options)
            {}
            ended();
        });
    }

    /// The exit status if the process has ended.
    ///
    /// # Errors
    /// [`Error::System`]: the system cannot tell.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        let asking = || format!("asking for the state of {}", self.name);
        doing(asking, self.child.try_wait())
    }

    /// Sends a signal unless the process has been reaped.
    pub fn signal(&mut self, signal: Signal) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // It may end between the question and the signal; it is not reaped before our next question, so the
            // signal cannot hit another process.
            let _ = rustix::process::kill_process(self.pid(), signal);
        }
    }

    /// Waits for a process that has ended or is about to, and for the rest of its output.
    ///
    /// # Errors
    /// [`Error::System`]: the system cannot tell.
    pub fn end(&mut self) -> Result<ExitStatus, Error> {
        let waiting = || format!("waiting for {}", self.name);
        let status = doing(waiting, self.child.wait())?;
        self.drain();
        Ok(status)
    }

    /// Stops the process: SIGTERM, then SIGKILL after the grace period. Repeated calls do nothing.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + self.grace;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() >= deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                break;
            }
            thread::sleep(POLL);
        }
        self.drain();
    }

    fn drain(&mut self) {
        if let Some(lines) = self.lines.take() {
            // A grandchild may hold the pipe open; its output is not worth waiting for any longer.
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

    #[test]
    fn what_cannot_be_started_is_named() {
        let mut command = Command::new("/no/such/program");
        let output = Output::Lines(Box::new(|_| {}));
        let error = Supervised::start("k6", &mut command, output, Duration::ZERO)
            .expect_err("there is no such program");
        assert_eq!(error.to_string(), "starting k6 (/no/such/program)");
    }
}
