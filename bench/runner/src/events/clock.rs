//! How much time a plan has left.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::stream::Event;
use crate::values::text::words;

/// Estimates of the runs, corrected by how long the runs so far really took. It learns both from the events, also from those of
/// another process. Clones share what they know.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clock(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Of the runs that have not begun, the next one last.
    ahead: Vec<Option<Duration>>,
    current: Option<(Timestamp, Option<Duration>)>,
    over: Vec<(Option<Duration>, Duration)>,
}

impl Clock {
    /// Takes note of what happened.
    pub(crate) fn hear(&self, at: Timestamp, event: &Event) {
        let mut state = self.state();
        match event {
            Event::PlanBegan { estimates_ms, .. } => {
                let estimates = estimates_ms.iter().rev();
                let ahead = estimates.map(|ms| ms.map(Duration::from_millis)).collect();
                *state = State {
                    ahead,
                    ..State::default()
                };
            }
            Event::RunBegan { .. } => {
                let estimate = state.ahead.pop().flatten();
                state.current = Some((at, estimate));
            }
            Event::RunSkipped { .. } => drop(state.ahead.pop()),
            Event::RunEnded => {
                if let Some((began, estimate)) = state.current.take() {
                    state.over.push((estimate, between(began, at)));
                }
            }
            _ => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is left of the plan at an instant; `None` if nothing is known about a run of it.
    pub(crate) fn left(&self, at: Timestamp) -> Option<Duration> {
        let state = self.state();
        let correct = |estimate: Option<Duration>| state.corrected(estimate);
        let now = match state.current {
            Some((began, estimate)) => correct(estimate)?.saturating_sub(between(began, at)),
            None => Duration::ZERO,
        };
        let rest: Option<Duration> = state.ahead.iter().map(|estimate| correct(*estimate)).sum();
        Some(now + rest?)
    }

    /// The same in words.
    pub(crate) fn shown(&self, at: Timestamp) -> String {
        self.left(at).map_or_else(
            || "time left unknown".to_owned(),
            |left| format!("{} left", words(left)),
        )
    }
}

/// No time where the machine's clock was set back.
fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
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

    fn plan(estimates_s: &[Option<u64>]) -> Clock {
        let clock = Clock::default();
        let estimates_ms = estimates_s.iter().map(|s| s.map(|s| s * 1000)).collect();
        let began = Event::PlanBegan {
            runs: estimates_s.len(),
            complete: 0,
            resumed: false,
            spare: 0,
            estimates_ms,
        };
        clock.hear(at(0), &began);
        clock
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("an instant")
    }

    fn begins() -> Event {
        Event::RunBegan {
            number: 1,
            title: String::new(),
            estimate_ms: None,
            folder: String::new(),
        }
    }

    #[test]
    fn experience_corrects_the_estimates() {
        let clock = plan(&[Some(10), Some(20), Some(30)]);
        assert_eq!(clock.left(at(0)), Some(60 * SECOND));
        clock.hear(at(0), &begins());
        assert_eq!(clock.left(at(4)), Some(56 * SECOND));
        // The first one took twice as long.
        clock.hear(at(20), &Event::RunEnded);
        assert_eq!(clock.left(at(20)), Some(100 * SECOND));
        // A clock that was set back says nothing about a run.
        clock.hear(at(20), &begins());
        assert_eq!(clock.left(at(10)), Some(100 * SECOND));
    }

    #[test]
    fn runs_without_an_estimate_take_as_long_as_others_did() {
        let clock = plan(&[None, None, None]);
        assert_eq!(clock.left(at(0)), None);
        clock.hear(at(0), &begins());
        clock.hear(at(4), &Event::RunEnded);
        assert_eq!(clock.left(at(4)), Some(8 * SECOND));
        clock.hear(at(4), &begins());
        assert_eq!(clock.left(at(5)), Some(7 * SECOND));
    }
}
