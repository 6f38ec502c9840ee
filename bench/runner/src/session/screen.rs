//! The terminal: lines, and below them one line of progress if somebody watches.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::session::progress::Clock;

/// The line of progress, while there is one.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

fn bar() -> MutexGuard<'static, Option<ProgressBar>> {
    BAR.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints bytes above the line of progress. A closed terminal is no reason to end a run.
pub(crate) fn print(bytes: &[u8]) {
    let write = || {
        let mut terminal = std::io::stdout().lock();
        let _ = terminal.write_all(bytes);
        let _ = terminal.flush();
    };
    match &*bar() {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Shows how far the plan is, until dropped. Without a terminal the lines of [`crate::session`] alone tell it.
#[derive(Debug)]
pub(crate) struct Line;

impl Line {
    /// Begins the line for a plan with so many runs.
    pub(crate) fn begin(runs: usize, clock: &Clock) -> Self {
        if std::io::stdout().is_terminal() && std::io::stderr().is_terminal() {
            let left = clock.clone();
            let style =
                ProgressStyle::with_template("[{bar:20}] {pos} of {len} runs  {msg}  {left}")
                    .unwrap_or_else(|_| ProgressStyle::default_bar())
                    .progress_chars("=> ")
                    .with_key(
                        "left",
                        move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
                            // Writing to the line cannot fail.
                            let _ = out.write_str(&left.shown());
                        },
                    );
            let line = ProgressBar::new(runs as u64).with_style(style);
            line.enable_steady_tick(Duration::from_millis(500));
            *bar() = Some(line);
        }
        Self
    }

    /// So many runs are over, and this one is next.
    pub(crate) fn at(&self, over: usize, title: &str) {
        if let Some(line) = &*bar() {
            line.set_position(over as u64);
            line.set_message(title.to_owned());
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(line) = bar().take() {
            line.finish_and_clear();
        }
    }
}
