//! Asking a program for what it tells at once, as its version. It may be any program: one that serves instead, or writes
//! without end, is ended.

use std::io::{Error, ErrorKind, Read as _, Result};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// A busy machine takes its time to start a program.
const LIMIT: Duration = Duration::from_secs(30);
/// No version is longer.
const MOST: u64 = 64 * 1024;
/// Between two looks whether a program that has said everything has ended.
const EVERY: Duration = Duration::from_millis(10);

/// What a program said, and how it ended.
///
/// # Errors
/// It cannot be started, does not end in time, or says too much.
pub(crate) fn ask(command: &mut Command) -> Result<(ExitStatus, String)> {
    within(command, LIMIT)
}

fn within(command: &mut Command, limit: Duration) -> Result<(ExitStatus, String)> {
    let deadline = Instant::now() + limit;
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    let mut asked = Asked {
        child,
        ended: false,
    };
    let Some(output) = asked.child.stdout.take() else {
        return Err(Error::other("it has no output"));
    };
    let (sender, said) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = output.take(MOST + 1).read_to_end(&mut bytes);
        // Nobody listens any more where it came too late.
        let _ = sender.send(read.map(|_| bytes));
    });
    let late = || Error::new(ErrorKind::TimedOut, format!("no answer within {limit:?}"));
    let bytes = said.recv_timeout(limit).map_err(|_| late())??;
    if bytes.len() as u64 > MOST {
        return Err(Error::other(format!("it says more than {MOST} bytes")));
    }
    loop {
        if let Some(status) = asked.child.try_wait()? {
            asked.ended = true;
            return Ok((status, String::from_utf8_lossy(&bytes).into_owned()));
        }
        if Instant::now() >= deadline {
            return Err(late());
        }
        std::thread::sleep(EVERY);
    }
}

/// Ended with all that it started, whatever becomes of the question.
struct Asked {
    child: Child,
    ended: bool,
}

impl Drop for Asked {
    fn drop(&mut self) {
        // Before it is waited for: afterwards its number may be that of another group.
        if !self.ended {
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Result<(ExitStatus, String)> {
        within(Command::new("sh").args(["-c", script]), limit)
    }

    #[test]
    fn a_program_that_does_not_answer_is_ended() {
        let patient = Duration::from_secs(600);
        let (status, text) = shell("echo 1.2; exit 3", patient).expect("an answer");
        assert_eq!((status.code(), text.as_str()), (Some(3), "1.2\n"));
        let endless = shell("yes", patient).expect_err("too long");
        assert!(endless.to_string().contains("more than"), "{endless}");
        let short = Duration::from_millis(1);
        for serves in [
            "exec sleep 600",
            "exec >&-; exec sleep 600",
            "sleep 600 & wait",
            "sleep 600 &",
        ] {
            let late = shell(serves, short).expect_err("too late");
            assert_eq!(late.kind(), ErrorKind::TimedOut, "{serves}: {late}");
        }
    }
}
