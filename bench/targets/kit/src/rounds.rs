//! When periodic work is done.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Waits for the next full second of the wall clock and returns it, as seconds since the epoch.
pub async fn next_full_second() -> u64 {
    let since_epoch = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
    };
    let target = Duration::from_secs(since_epoch().as_secs() + 1);
    loop {
        // Asked again after each sleep: a timer runs on another clock and may wake a little early by this one.
        let remaining = target.saturating_sub(since_epoch());
        if remaining.is_zero() {
            return target.as_secs();
        }
        tokio::time::sleep(remaining).await;
    }
}

/// Rounds at a distance that may change from one to the next. The first is due at once.
///
/// A round that took too long is not followed by rounds in a row to catch up: those that were missed are left out, and the
/// others keep their times.
#[derive(Debug, Default)]
pub struct Rounds {
    last: Option<Instant>,
}

impl Rounds {
    /// Waits for the next round, `period` after the last one.
    pub async fn next(&mut self, period: Duration) {
        let Some(last) = self.last else {
            self.last = Some(Instant::now());
            return;
        };
        let due = last + period;
        tokio::time::sleep_until(due).await;
        let periods_late = due.elapsed().as_nanos().checked_div(period.as_nanos());
        let missed = u32::try_from(periods_late.unwrap_or(0)).unwrap_or(u32::MAX);
        self.last = Some(due + period * missed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn full_second_is_reached_not_anticipated() {
        let second = next_full_second().await;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("clock is past the epoch");
        assert!(now >= Duration::from_secs(second));
    }

    #[tokio::test(start_paused = true)]
    async fn rounds_that_were_missed_are_left_out() {
        let started = Instant::now();
        let at = || started.elapsed().as_millis();
        let second = Duration::from_secs(1);
        let mut rounds = Rounds::default();
        rounds.next(second).await;
        assert_eq!(at(), 0);
        rounds.next(second).await;
        assert_eq!(at(), 1000);
        tokio::time::sleep(Duration::from_millis(2300)).await;
        rounds.next(second).await;
        assert_eq!(at(), 3300);
        rounds.next(second).await;
        assert_eq!(at(), 4000);
        rounds.next(Duration::from_millis(1500)).await;
        assert_eq!(at(), 5500);
    }
}
