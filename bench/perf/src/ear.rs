//! The host of an engine without k6: it counts what the core answers.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use barrier_core::engine::{Emission, Engine, Sink, Submitted};
use barrier_core::error::Error;
use barrier_core::protocol::Outcome;
use barrier_core::session::Done;

const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct Heard {
    done: u64,
    arrived: u64,
    failed: Option<String>,
    released: Option<Instant>,
}

impl Heard {
    fn take(&mut self, result: Result<Done, Error>) {
        self.done += 1;
        match result {
            Ok(Done::Outcome(answered)) if answered.outcome == Outcome::Arrived => {
                self.arrived += 1;
            }
            Ok(_) => {}
            Err(error) => self.failed = self.failed.take().or_else(|| Some(error.to_string())),
        }
    }
}

/// Hears what an engine says.
#[derive(Default)]
pub(crate) struct Ear {
    heard: Mutex<Heard>,
    news: Condvar,
}

impl Sink for Ear {
    fn emit(&self, news: &mut Vec<Emission>) {
        let mut heard = self.heard();
        for item in news.drain(..) {
            match item {
                Emission::Done { ticket, result, .. } => {
                    let _answered = ticket.redeem();
                    heard.take(result);
                }
                Emission::Released { .. } => heard.released = Some(Instant::now()),
                _ => {}
            }
        }
        self.news.notify_all();
    }
}

impl Ear {
    /// What a call came back with.
    pub(crate) fn submitted(&self, submitted: Submitted) {
        if let Submitted::Done(result) = submitted {
            self.heard().take(result);
        }
    }

    /// Waits until at least so many calls have ended.
    ///
    /// # Errors
    /// One of them failed, or they do not end.
    pub(crate) fn until(&self, done: u64) -> anyhow::Result<()> {
        self.wait(|heard| (heard.done >= done).then_some(()))
    }

    /// Waits for the release, and says when it was told of.
    ///
    /// # Errors
    /// It does not come.
    pub(crate) fn released(&self) -> anyhow::Result<Instant> {
        self.wait(|heard| heard.released)
    }

    /// How many participants have been told that they have arrived.
    pub(crate) fn arrived(&self) -> u64 {
        self.heard().arrived
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<T>(&self, wanted: impl Fn(&Heard) -> Option<T>) -> anyhow::Result<T> {
        let deadline = Instant::now() + PATIENCE;
        let mut heard = self.heard();
        loop {
            if let Some(failed) = &heard.failed {
                bail!("the core: {failed}");
            }
            if let Some(found) = wanted(&heard) {
                return Ok(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            ensure!(
                !left.is_zero(),
                "the core has ended {} calls, and no more within {PATIENCE:?}",
                heard.done
            );
            let waited = self.news.wait_timeout(heard, left);
            heard = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// An ear, and an engine that speaks to it.
pub(crate) fn engine() -> (Arc<Ear>, Engine) {
    let ear = Arc::new(Ear::default());
    let engine = Engine::new(Arc::clone(&ear) as Arc<dyn Sink>);
    (ear, engine)
}
