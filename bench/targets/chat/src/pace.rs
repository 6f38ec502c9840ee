//! The loop, and how fast it runs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

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
        sleep_until(self.started + Duration::from_secs(1)).await;
    }

    /// Since the loop was started.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Ticks of the last while that may be overdue. Those before are lost for good: the loop would only hurry.
const OVERDUE: Duration = Duration::from_secs(5);

/// When ticks are due: at an even distance, whatever happened to those before.
///
/// A late tick does not shift the ones after it, and those that are overdue come at once, so that the number of ticks is that
/// of the clock. A timer wakes up to a millisecond late, and a machine with other work later still: each such delay would
/// slow the loop down for good if the distance were counted from the tick before.
#[derive(Debug, Default)]
struct Schedule {
    next: Option<Instant>,
}

impl Schedule {
    /// Waits until the next tick is due, `period` after the one before; the first is due at once.
    async fn tick(&mut self, period: Duration) {
        let now = Instant::now();
        let due = match self.next {
            None => now,
            Some(due) => now
                .checked_sub(OVERDUE)
                .map_or(due, |oldest| due.max(oldest)),
        };
        if due > now {
            sleep_until(due).await;
        } else {
            // Ticks in a row leave the others on this thread their turn.
            tokio::task::yield_now().await;
        }
        self.next = Some(due + period);
    }
}

/// The loop: a task among those of the streams, which they can slow down and which can slow them down.
pub(crate) async fn run(app: Arc<App>) {
    let mut schedule = Schedule::default();
    loop {
        let pace = app.faults.with(|faults| faults.loop_hz);
        schedule
            .tick(pace.unwrap_or(app.config.pace).period())
            .await;
        app.pace.tick();
        app.metrics.ticks.inc();
        let mut stall = app.faults.with(|faults| faults.loop_stall);
        if !stall.is_zero() {
            // Taken out, so that the next tick does not begin it anew and the same value can be set again.
            app.faults
                .update(|faults| stall = std::mem::take(&mut faults.loop_stall));
            tracing::info!(?stall, "the loop stalls");
            sleep(stall).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(10);

    #[tokio::test(start_paused = true)]
    async fn each_full_second_is_told_in_the_next_one() {
        let pace = Pace::default();
        let mut schedule = Schedule::default();
        let mut told = Vec::new();
        while told.len() < 250 {
            schedule.tick(PERIOD).await;
            pace.tick();
            told.push(pace.last_second());
        }
        assert!(told[..100].iter().all(Option::is_none));
        assert!(told[100..].iter().all(|&ticks| ticks == Some(100)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_stands_still_is_seen_while_it_does_and_hurries_afterwards() {
        let pace = Pace::default();
        let mut schedule = Schedule::default();
        for _ in 0..150 {
            schedule.tick(PERIOD).await;
            pace.tick();
        }
        let mut told = Vec::new();
        for _ in 0..3 {
            sleep(Duration::from_secs(1)).await;
            told.push(pace.hz());
        }
        // At 2.49 s the loop stood since 1.49 s.
        assert_eq!(told, [50.0, 0.0, 0.0]);
        while pace.uptime() < Duration::from_secs(5) {
            schedule.tick(PERIOD).await;
            pace.tick();
        }
        // Those of 1.5 s to 5 s, all between 4.49 s and 5 s: the average is right, and no second was.
        assert_eq!(pace.hz(), 350.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_tick_does_not_slow_the_loop_down() {
        let began = Instant::now();
        let mut schedule = Schedule::default();
        for tick in 0..1000 {
            schedule.tick(PERIOD).await;
            // The tick's own work, and a machine that has others.
            sleep(Duration::from_millis(if tick % 10 == 5 { 35 } else { 1 })).await;
        }
        assert!(began.elapsed() <= PERIOD * 1000, "{:?}", began.elapsed());
        sleep(PERIOD * 5000).await;
        let behind = Instant::now();
        let mut at_once = 0;
        while behind.elapsed().is_zero() {
            schedule.tick(PERIOD).await;
            at_once += 1;
        }
        assert!(
            (500..=502).contains(&at_once),
            "{at_once}: the rest is lost"
        );
    }
}
