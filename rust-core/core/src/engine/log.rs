//! What the core wants users to read: a bounded ring that the host drains. The core itself prints nothing.

use parking_lot::Mutex;
use serde::Serialize;
use std::collections::VecDeque;

const LINES_MAX: usize = 1000;

/// How urgent a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// News.
    Info,
    /// Something to look into.
    Warn,
    /// A bug.
    Error,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// How urgent it is.
    pub level: Level,
    /// The text.
    pub message: String,
}

/// The newest lines that nobody has read.
#[derive(Debug, Default)]
pub struct LogRing {
    lines: Mutex<VecDeque<Line>>,
}

impl LogRing {
    pub(crate) fn push(&self, level: Level, message: String) {
        let mut lines = self.lines.lock();
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(Line { level, message });
    }

    /// The oldest line; it stays where `keep` says so.
    pub fn next(&self, keep: impl FnOnce(&Line) -> bool) -> Option<Line> {
        let mut lines = self.lines.lock();
        let line = lines.front()?.clone();
        if !keep(&line) {
            lines.pop_front();
        }
        Some(line)
    }
}
