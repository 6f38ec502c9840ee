//! The runner's child processes: their output is kept, masked; their end is an event.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use barrier_procs::Output;
pub(crate) use barrier_procs::{Supervised, find_on_path};

use crate::events::{Event, Stream};
use crate::run::inbox::{Inbox, Message};
use crate::values::mask;
use crate::values::writer::Writer;

/// Starts the command with its output going, masked and line by line, to `log` and, if asked, to the stream.
///
/// # Errors
/// The program cannot be started or a pipe cannot be made.
pub(crate) fn start(
    name: &str,
    command: &mut Command,
    mut log: Writer,
    echo: Option<&Stream>,
    grace: Duration,
) -> anyhow::Result<Supervised> {
    let echo = echo.map(|stream| (name.to_owned(), stream.clone()));
    let each = move |line: &[u8]| {
        // Neither a full disk nor a closed terminal stops the reading: the child would block on its pipe.
        let text = log.add(&String::from_utf8_lossy(line));
        if let Some((process, stream)) = &echo {
            let process = process.clone();
            stream.tell(Event::Output { process, text });
        }
    };
    let output = Output::Lines(Box::new(each));
    Ok(Supervised::start(name, command, output, grace)?)
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

/// Folders in which programs that `make` builds or fetches may lie, for a suite whose paths begin at `root`: the one that the
/// runner is called from, the suite's, and that of the runner's own checkout or release.
pub(super) fn homes(root: &Path) -> Vec<PathBuf> {
    let own = std::env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent).map(|folder| {
        let above = folder.parent().filter(|_| folder.ends_with("bin"));
        above.unwrap_or(folder).to_owned()
    });
    let here = std::env::current_dir().ok();
    let mut homes: Vec<PathBuf> = Vec::new();
    for home in here.into_iter().chain([root.to_owned()]).chain(beside) {
        if !homes.contains(&home) {
            homes.push(home);
        }
    }
    homes
}

/// The last lines of a log, masked, for an error text.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    mask::masked(&barrier_procs::last_lines(path, lines))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::Instant;

    use super::*;
    use crate::values::writer::Faults;

    #[test]
    fn output_is_complete_and_masked_and_the_end_is_an_event() {
        mask::register("hunter2-process");
        let folder = tempfile::tempdir().expect("folder");
        let log = folder.path().join("log");
        let file = File::create(&log).expect("log");
        let file = Writer::new(file, &log, Faults::default());
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
