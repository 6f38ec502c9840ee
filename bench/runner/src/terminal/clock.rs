//! How much time a plan has left.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::values::text::words;

/// Estimates of the runs, corrected by how long the runs so far really took. Clones share what they know.
#[derive(Debug, Clone)]
pub(crate) struct Clock(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// Of the runs that have not begun.
    ahead: Vec<Option<Duration>>,
    current: Option<(Instant, Option<Duration>)>,
    over: Vec<(Option<Duration>, Duration)>,
}

impl Clock {
    /// A plan of runs with these estimates, in order.
    pub(crate) fn new(estimates: impl IntoIterator<Item = Option<Duration>>) -> Self {
        let mut ahead: Vec<_> = estimates.into_iter().collect();
        ahead.reverse();
        Self(Arc::new(Mutex::new(State {
            ahead,
            current: None,
            over: Vec::new(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next run begins.
    pub(crate) fn begin(&self) {
        let mut state = self.state();
        let estimate = state.ahead.pop().flatten();
        state.current = Some((Instant::now(), estimate));
    }

    /// The next run is left out.
    pub(crate) fn skip(&self) {
        self.state().ahead.pop();
    }

    /// The run that began last is over.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        if let Some((began, estimate)) = state.current.take() {
            state.over.push((estimate, began.elapsed()));
        }
    }

    /// What is left of the plan; `None` if nothing is known about a run of it.
    pub(crate) fn left(&self) -> Option<Duration> {
        let state = self.state();
        let correct = |estimate: Option<Duration>| state.corrected(estimate);
        let now = match state.current {
            Some((began, estimate)) => correct(estimate)?.saturating_sub(began.elapsed()),
            None => Duration::ZERO,
        };
        let rest: Option<Duration> = state.ahead.iter().map(|estimate| correct(*estimate)).sum();
        Some(now + rest?)
    }

    /// The same in words.
    pub(crate) fn shown(&self) -> String {
        self.left().map_or_else(
            || "time left unknown".to_owned(),
            |left| format!("{} left", words(left)),
        )
    }
}

impl State {
    /// An estimate times the experience with estimates; without one, the mean of what runs took.
    fn corrected(&self, estimate: Option<Duration>) -> Option<Duration> {
        let known = || {
            self.over
                .iter()
                .filter_map(|(guess, took)| Some(((*guess)?, *took)))
        };
        let (guessed, took): (Duration, Duration) = known()
            .fold(Default::default(), |sum, (guess, took)| {
                (sum.0 + guess, sum.1 + took)
            });
        match estimate {
            Some(estimate) if guessed.is_zero() => Some(estimate),
            Some(estimate) => Some(estimate.mul_f64(took.as_secs_f64() / guessed.as_secs_f64())),
            None => {
                let all: Duration = self.over.iter().map(|(_, took)| *took).sum();
                all.checked_div(u32::try_from(self.over.len()).ok()?)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn experience_corrects_the_estimates() {
        let clock = Clock::new([Some(10 * SECOND), Some(20 * SECOND), Some(30 * SECOND)]);
        assert_eq!(clock.left(), Some(60 * SECOND));
        clock.skip();
        // The first one took twice as long.
        clock.state().over.push((Some(10 * SECOND), 20 * SECOND));
        assert_eq!(clock.left(), Some(100 * SECOND));
    }

    #[test]
    fn runs_without_an_estimate_take_as_long_as_others_did() {
        let clock = Clock::new([None, None, None]);
        assert_eq!(clock.left(), None);
        clock.skip();
        clock.state().over.push((None, 4 * SECOND));
        assert_eq!(clock.left(), Some(8 * SECOND));
        clock.begin();
        clock.end();
        assert!(clock.left().is_some_and(|left| left <= 4 * SECOND));
    }
}
