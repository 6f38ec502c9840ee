//! One line of progress below everything else, if somebody watches.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::events::Clock;

/// The line; nothing without a terminal.
#[derive(Debug, Default)]
pub(super) struct Bar(Option<ProgressBar>);

impl Bar {
    /// Begins the line for a plan with so many runs.
    pub(super) fn begin(runs: usize, clock: &Clock) -> Self {
        if !std::io::stdout().is_terminal() || !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let left = clock.clone();
        let style = ProgressStyle::with_template("[{bar:20}] {pos} of {len} runs  {msg}  {left}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ")
            .with_key(
                "left",
                move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
                    // Writing to the line cannot fail.
                    let _ = out.write_str(&left.shown(jiff::Timestamp::now()));
                },
            );
        let line = ProgressBar::new(runs as u64).with_style(style);
        line.enable_steady_tick(Duration::from_millis(500));
        Self(Some(line))
    }

    /// So many runs are over, and this one is next.
    pub(super) fn at(&self, over: usize, title: &str) {
        if let Some(line) = &self.0 {
            line.set_position(over as u64);
            line.set_message(title.to_owned());
        }
    }

    /// Prints above the line. A closed terminal is no reason to end a run.
    pub(super) fn print(&self, text: &str) {
        let write = || {
            let mut terminal = std::io::stdout().lock();
            let _ = terminal.write_all(text.as_bytes());
            let _ = terminal.flush();
        };
        match &self.0 {
            Some(line) => line.suspend(write),
            None => write(),
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(line) = self.0.take() {
            line.finish_and_clear();
        }
    }
}
