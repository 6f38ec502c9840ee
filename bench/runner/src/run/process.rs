//! The runner's child processes: their output is kept, masked; their end is an event.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use barrier_procs::Output;
pub(crate) use barrier_procs::{Supervised, find_on_path};

use crate::run::events::{Event, Events};
use crate::values::mask;

/// Starts the command with its output going, masked and line by line, to `log` and, if asked, to the terminal.
///
/// # Errors
/// The program cannot be started or a pipe cannot be made.
pub(crate) fn start(
    name: &str,
    command: &mut Command,
    log: File,
    echo: bool,
    grace: Duration,
) -> anyhow::Result<Supervised> {
    let mut log = Log(log);
    let each = move |line: &[u8]| {
        let text = mask::masked(&String::from_utf8_lossy(line));
        // A full disk or a closed terminal must not stop the reading: the child would block on its pipe.
        let _ = log.0.write_all(text.as_bytes());
        if echo {
            crate::session::screen::print(text.as_bytes());
        }
    };
    let output = Output::Lines(Box::new(each));
    Ok(Supervised::start(name, command, output, grace)?)
}

/// Evidence: it is on the disk once the child's last line is in it.
struct Log(File);

impl Drop for Log {
    fn drop(&mut self) {
        let _ = self.0.sync_all();
    }
}

/// Sends [`Event::Exited`] once the process has ended.
pub(crate) fn watch(process: &Supervised, events: &Events) {
    let (id, sender) = (process.id(), events.sender());
    process.watch(move || {
        let _ = sender.send(Event::Exited(id));
    });
}

/// What a process is called; `None` without such a process.
pub(crate) fn comm(id: u32) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{id}/comm")).ok()?;
    Some(text.trim_end().to_owned())
}

/// The last lines of a log, masked, for an error text.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    mask::masked(&barrier_procs::last_lines(path, lines))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn output_is_complete_and_masked_and_the_end_is_an_event() {
        mask::register("hunter2-process");
        let folder = tempfile::tempdir().expect("folder");
        let log = folder.path().join("log");
        let file = File::create(&log).expect("log");
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo hunter2-process >&2; printf end"]);
        let mut events = Events::without_signals();
        let mut child =
            start("shell", &mut command, file, false, Duration::from_secs(5)).expect("start");
        watch(&child, &events);
        let deadline = Instant::now() + Duration::from_secs(30);
        assert_eq!(events.next(deadline), Some(Event::Exited(child.id())));
        assert!(child.end().expect("end").success());
        assert_eq!(std::fs::read_to_string(&log).expect("log"), "one\n***\nend");
        assert_eq!(tail(&log, 2), "***\nend");
    }
}
