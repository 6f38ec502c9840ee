//! Calls that wait too long: whoever has any is looked at when the first of them is due, and not before.

use std::sync::{Arc, Weak};
use std::time::Instant;

use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio_util::time::DelayQueue;

use crate::error::Error;
use crate::panics::guarded;

/// Who has calls that wait.
pub(crate) trait Waits: Send + Sync {
    /// Ends the calls that have waited long enough; when the next one will have.
    fn end_overdue(&self, now: Instant) -> Option<Instant>;
    /// Nothing will be answered any more.
    fn give_up(&self, error: &Error);
}

type Appointment = (Instant, Weak<dyn Waits>);

/// Where appointments are made.
#[derive(Clone)]
pub(crate) struct Deadlines(mpsc::UnboundedSender<Appointment>);

impl Deadlines {
    /// Who makes appointments, and who keeps them.
    pub(crate) fn new() -> (Self, Keeper) {
        let (make, appointments) = mpsc::unbounded_channel();
        (Self(make), Keeper(appointments))
    }

    /// Looks at this one then.
    pub(crate) fn at(&self, due: Instant, who: Weak<dyn Waits>) {
        let _ = self.0.send((due, who)); // without a keeper the engine is closed
    }
}

/// Keeps appointments.
pub(crate) struct Keeper(mpsc::UnboundedReceiver<Appointment>);

impl Keeper {
    /// Until nobody makes appointments any more. `bug` is told of panics; whoever panicked is given up.
    pub(crate) async fn run(mut self, bug: impl Fn(&str) -> Error + Send) {
        let mut queue: DelayQueue<Weak<dyn Waits>> = DelayQueue::new();
        loop {
            let due = tokio::select! {
                appointment = self.0.recv() => match appointment {
                    Some((due, who)) => {
                        queue.insert_at(who, due.into());
                        continue;
                    }
                    None => return,
                },
                Some(due) = queue.next() => due.into_inner(),
            };
            let Some(who) = due.upgrade() else {
                continue;
            };
            match guarded(|| who.end_overdue(Instant::now())) {
                Ok(Some(next)) => {
                    queue.insert_at(Arc::downgrade(&who), next.into());
                }
                Ok(None) => {}
                Err(message) => who.give_up(&bug(&message)),
            }
        }
    }
}
