//! The loop, and how fast it runs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use target_kit::Rounds;
use tokio::time::Instant;

use crate::app::App;

/// Ticks of the loop by the full second, counted from its start.
///
/// They are told by the clock, not by the loop: of a loop that stands still, each second that has gone by has no ticks.
#[derive(Debug)]
pub(crate) struct Pace {
    started: Instant,
    windows: Mutex<Windows>,
}

#[derive(Debug, Default)]
struct Windows {
    /// The second of the newest tick.
    second: u64,
    /// Ticks in it so far.
    ticks: u32,
    /// Ticks in the second before it.
    before: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            windows: Mutex::default(),
        }
    }
}

impl Pace {
    fn windows<T>(&self, with: impl FnOnce(&mut Windows) -> T) -> T {
        // Held for a few assignments, none of which can fail.
        with(&mut self.windows.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tick(&self) {
        self.windows(|windows| {
            let second = self.started.elapsed().as_secs();
            if second != windows.second {
                let follows = second == windows.second + 1;
                windows.before = if follows { windows.ticks } else { 0 };
                (windows.second, windows.ticks) = (second, 0);
            }
            windows.ticks += 1;
        });
    }

    /// Ticks in the last full second; `None` in the first one.
    fn last_second(&self) -> Option<u32> {
        self.windows(|windows| {
            let last = self.started.elapsed().as_secs().checked_sub(1)?;
            Some(match windows.second {
                // The loop ticked in the running second already.
                second if second > last => windows.before,
                second if second == last => windows.ticks,
                _ => 0,
            })
        })
    }

    /// Ticks per second, over the last full second; 0 in the first one.
    pub(crate) fn hz(&self) -> f64 {
        self.last_second().map_or(0.0, f64::from)
    }

    /// Waits until there is a full second to tell of.
    pub(crate) async fn first_second(&self) {
        tokio::time::sleep_until(self.started + Duration::from_secs(1)).await;
    }

    /// Since the loop was started.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}

/// The loop. Ticks that were missed are not made up for.
pub(crate) async fn run(app: Arc<App>) {
    let mut rounds = Rounds::default();
    loop {
        let pace = app.faults.with(|faults| faults.loop_hz);
        rounds.next(pace.unwrap_or(app.config.pace).period()).await;
        app.pace.tick();
        app.metrics.ticks.inc();
        let mut stall = app.faults.with(|faults| faults.loop_stall);
        if !stall.is_zero() {
            // Taken out, so that the next tick does not begin it anew and the same value can be set again.
            app.faults
                .update(|faults| stall = std::mem::take(&mut faults.loop_stall));
            tracing::info!(?stall, "the loop stalls");
            tokio::time::sleep(stall).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_full_second_is_told_in_the_next_one() {
        let pace = Pace::default();
        let mut rounds = Rounds::default();
        let period = Duration::from_millis(10);
        let mut told = Vec::new();
        while told.len() < 250 {
            rounds.next(period).await;
            pace.tick();
            told.push(pace.last_second());
        }
        assert!(told[..100].iter().all(Option::is_none));
        assert!(told[100..].iter().all(|&ticks| ticks == Some(100)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_stands_still_is_seen_while_it_does() {
        let pace = Pace::default();
        let mut rounds = Rounds::default();
        for _ in 0..150 {
            rounds.next(Duration::from_millis(10)).await;
            pace.tick();
        }
        let mut told = Vec::new();
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            told.push(pace.hz());
        }
        // At 2.49 s the loop stood since 1.49 s.
        assert_eq!(told, [50.0, 0.0, 0.0]);
        rounds.next(Duration::from_millis(10)).await;
        pace.tick();
        assert_eq!(pace.hz(), 0.0);
        for _ in 0..100 {
            rounds.next(Duration::from_millis(10)).await;
            pace.tick();
        }
        // From 4.49 s on, and none of those that were missed.
        assert_eq!(pace.hz(), 51.0);
    }
}
