//! The runner's child processes: their output is kept, masked; their end is an event.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use barrier_procs::Output;
pub(crate) use barrier_procs::{Supervised, find_on_path};

use crate::events::{Event, Stream};
use crate::run::inbox::{Inbox, Message};
use crate::values::mask;

/// Starts the command with its output going, masked and line by line, to `log` and, if asked, to the stream.
///
/// # Errors
/// The program cannot be started or a pipe cannot be made.
pub(crate) fn start(
    name: &str,
    command: &mut Command,
    log: File,
    echo: Option<&Stream>,
    grace: Duration,
) -> anyhow::Result<Supervised> {
    let mut log = Log(log);
    let echo = echo.map(|stream| (name.to_owned(), stream.clone()));
    let each = move |line: &[u8]| {
        let text = mask::masked(&String::from_utf8_lossy(line));
        // A full disk or a closed terminal must not stop the reading: the child would block on its pipe.
        let _ = log.0.write_all(text.as_bytes());
        if let Some((process, stream)) = &echo {
            let process = process.clone();
            stream.tell(Event::Output { process, text });
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

/// Sends [`Message::Exited`] once the process has ended.
pub(crate) fn watch(process: &Supervised, inbox: &Inbox) {
    let (id, sender) = (process.id(), inbox.sender());
    process.watch(move || {
        let _ = sender.send(Message::Exited(id));
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
        let mut inbox = Inbox::without_signals();
        let mut child =
            start("shell", &mut command, file, None, Duration::from_secs(5)).expect("start");
        watch(&child, &inbox);
        let deadline = Instant::now() + Duration::from_secs(30);
        assert_eq!(inbox.next(deadline), Some(Message::Exited(child.id())));
        assert!(child.end().expect("end").success());
        assert_eq!(std::fs::read_to_string(&log).expect("log"), "one\n***\nend");
        assert_eq!(tail(&log, 2), "***\nend");
    }
}
