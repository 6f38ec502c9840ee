//! What a run is driven by, k6 or commands: who looks on, and what is left when it is over.

use std::time::Instant;

use tempfile::TempDir;

use crate::run::inbox::{Inbox, Message};
use crate::verdict::commands::Calls;
use crate::verdict::facts::Cause;

/// Somebody who looks at k6 while it runs.
pub(crate) trait Watch {
    /// k6 runs, with this process id; or commands do, each with one of its own.
    fn began(&mut self, id: Option<u32>);

    /// When something has to be done while it runs; `None` where there is nothing.
    fn due(&self) -> Option<Instant> {
        None
    }

    /// Does what is due.
    fn act(&mut self, _: &Inbox) {}

    /// It is asked to end, and why.
    fn ending(&mut self, _: Cause, _: &Inbox) {}

    /// k6 has ended, but is still listed; or the last command has.
    ///
    /// # Errors
    /// What was seen cannot be kept.
    fn ended(&mut self) -> anyhow::Result<()>;
}

/// The next message, or `None` at the deadline; meanwhile what is due is done.
pub(super) fn next(inbox: &mut Inbox, deadline: Instant, watch: &mut dyn Watch) -> Option<Message> {
    loop {
        let due = watch.due().filter(|due| *due < deadline);
        let message = inbox.next(due.unwrap_or(deadline));
        if message.is_some() || due.is_none() {
            return message;
        }
        watch.act(inbox);
    }
}

/// A run of k6, or of commands, that is over.
#[derive(Debug)]
pub(crate) struct Finished {
    /// k6's exit code; `None` if a signal ended it, or where it was not there.
    pub(crate) code: Option<i32>,
    /// Directly before the start.
    pub(crate) began: jiff::Zoned,
    /// Directly after the end.
    pub(crate) ended: jiff::Zoned,
    /// Between the two.
    pub(crate) wall_clock_ms: i64,
    /// Why it ended.
    pub(crate) cause: Cause,
    /// What became of the commands that ran in place of k6.
    pub(crate) calls: Option<Calls>,
    pub(super) work: TempDir,
}

impl Finished {
    /// Commands that are over, whose summary lies in the folder `work`.
    pub(super) fn of_commands(
        began: jiff::Zoned,
        ended: jiff::Zoned,
        cause: Cause,
        calls: Calls,
        work: TempDir,
    ) -> Self {
        Self {
            code: None,
            wall_clock_ms: ended.timestamp().as_millisecond() - began.timestamp().as_millisecond(),
            began,
            ended,
            cause,
            calls: Some(calls),
            work,
        }
    }

    /// The summary that the harness wrote, as bytes; `None` if there is none.
    pub(crate) fn summary(&self) -> Option<Vec<u8>> {
        std::fs::read(self.work.path().join("summary.json")).ok()
    }
}
