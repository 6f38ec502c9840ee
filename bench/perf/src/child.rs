//! Child processes that end with this one, and signals that end the run.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use barrier_procs::{Output, Supervised, last_lines};

/// Set by Ctrl-C and its like.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// How long a child may take to end when asked to.
const GRACE: Duration = Duration::from_secs(5);
/// How much of its output an error quotes.
const LAST_LINES: usize = 8;

/// Makes signals end the run in order: what was started is ended, and what was measured stays.
///
/// # Errors
/// The system refuses a handler.
pub(crate) fn catch_signals() -> anyhow::Result<()> {
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed))
        .context("installing the signal handler")
}

/// Fails once a signal has arrived.
///
/// # Errors
/// It has.
pub(crate) fn check_interrupt() -> anyhow::Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        bail!("interrupted");
    }
    Ok(())
}

/// A running child with its output in a file; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Running {
    process: Supervised,
    log: PathBuf,
}

impl Running {
    /// Starts the command with its output in the file `log`.
    ///
    /// # Errors
    /// The program cannot be started.
    pub(crate) fn start(command: &mut Command, name: &str, log: &Path) -> anyhow::Result<Self> {
        let file = File::create(log).with_context(|| format!("making {}", log.display()))?;
        Ok(Self {
            process: Supervised::start(name, command, Output::File(file), GRACE)?,
            log: log.to_owned(),
        })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The status if it has ended.
    ///
    /// # Errors
    /// The system cannot tell.
    pub(crate) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.process.ended()?)
    }

    /// Waits until it has ended well, and calls `meanwhile` a few times a second with what it has printed.
    ///
    /// # Errors
    /// It ended badly or not within the limit, or a signal arrived; its last words are in the text.
    pub(crate) fn finish(
        mut self,
        limit: Duration,
        mut meanwhile: impl FnMut(&Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended()? {
                if status.success() {
                    return Ok(());
                }
                bail!(
                    "{} ended with {status}; its last words:\n{}",
                    self.process.name(),
                    last_lines(&self.log, LAST_LINES)
                );
            }
            if Instant::now() >= deadline {
                bail!(
                    "{} has not ended within {} s; its last words:\n{}",
                    self.process.name(),
                    limit.as_secs(),
                    last_lines(&self.log, LAST_LINES)
                );
            }
            check_interrupt()?;
            meanwhile(&self)?;
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// What it has printed.
    pub(crate) fn output(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, folder: &Path) -> Running {
        Running::start(
            Command::new("sh").args(["-c", script]),
            "the shell",
            &folder.join("log"),
        )
        .expect("start")
    }

    #[test]
    fn a_bad_end_is_an_error_with_the_last_words() {
        let folder = tempfile::tempdir().expect("folder");
        let error = shell("echo it is over; exit 3", folder.path())
            .finish(Duration::from_secs(30), |_| Ok(()))
            .expect_err("it failed");
        let text = format!("{error:#}");
        assert!(
            text.contains("the shell") && text.contains('3') && text.contains("it is over"),
            "{text}"
        );
    }

    #[test]
    fn a_child_that_does_not_end_is_ended() {
        let folder = tempfile::tempdir().expect("folder");
        let running = shell("exec sleep 600", folder.path());
        let proc = PathBuf::from(format!("/proc/{}", running.process.id()));
        assert!(proc.exists());
        let error = running
            .finish(Duration::from_millis(50), |_| Ok(()))
            .expect_err("too long");
        assert!(format!("{error:#}").contains("has not ended within"));
        assert!(!proc.exists());
    }
}
