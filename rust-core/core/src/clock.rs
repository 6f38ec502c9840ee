//! The store's clock as this process sees it.
//!
//! Each answer of the store carries its time. Between sending and receiving lies the moment it was read, so half the
//! round trip bounds the error (the estimate of Cristian, "Probabilistic clock synchronization", 1989). The answer with
//! the shortest round trip of the last minute counts.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::protocol::{Micros, StoreTime};

const WINDOW: Duration = Duration::from_secs(60);
/// What two quartz clocks may drift apart, in parts per million.
const DRIFT_PPM: i64 = 100;
const SAMPLES_MAX: usize = 64;
const LATENCIES_KEPT: usize = 8;

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    /// Store time minus local time since `StoreClock::zero`.
    offset: i64,
    bound: i64,
}

impl Sample {
    fn bound_at(&self, now: Instant) -> i64 {
        let age = micros(now.saturating_duration_since(self.at));
        self.bound + age * DRIFT_PPM / 1_000_000
    }
}

/// Offset between the store's clock and this process's monotonic one, its error, and how long messages take.
#[derive(Debug)]
pub struct StoreClock {
    zero: Instant,
    samples: VecDeque<Sample>,
    latencies: VecDeque<i64>,
}

impl Default for StoreClock {
    fn default() -> Self {
        Self {
            zero: Instant::now(),
            samples: VecDeque::new(),
            latencies: VecDeque::new(),
        }
    }
}

impl StoreClock {
    /// An answer with the store's time came.
    pub fn observe(&mut self, sent: Instant, received: Instant, time: StoreTime) {
        let round_trip = micros(received.saturating_duration_since(sent));
        let middle = micros(sent.saturating_duration_since(self.zero)) + round_trip / 2;
        self.samples.push_back(Sample {
            at: received,
            offset: time.0 - middle,
            // The store's time has whole microseconds.
            bound: round_trip / 2 + 1,
        });
        while self.samples.len() > 1
            && (self.samples.len() > SAMPLES_MAX || received - self.samples[0].at > WINDOW)
        {
            // The best sample outlives younger, worse ones until it is too old.
            let best = self.best(received).map(|s| s.at);
            let oldest = usize::from(
                Some(self.samples[0].at) == best && received - self.samples[0].at <= WINDOW,
            );
            self.samples.remove(oldest);
        }
    }

    fn best(&self, now: Instant) -> Option<&Sample> {
        self.samples.iter().min_by_key(|s| s.bound_at(now))
    }

    /// The moment of a store time on this process's clock; `None` before the first answer.
    #[must_use]
    pub fn instant(&self, time: StoreTime, now: Instant) -> Option<Instant> {
        let since_zero = time.0 - self.best(now)?.offset;
        let since_zero = Duration::from_micros(u64::try_from(since_zero).unwrap_or(0));
        Some(self.zero + since_zero)
    }

    /// How far the estimate may be off.
    #[must_use]
    pub fn bound(&self, now: Instant) -> Option<Micros> {
        self.best(now).map(|s| Micros(s.bound_at(now)))
    }

    /// A message that was sent at this time arrived.
    pub fn message(&mut self, sent: StoreTime, received: Instant) {
        if let Some(sent) = self.instant(sent, received) {
            self.latencies
                .push_back(micros(received.saturating_duration_since(sent)));
            while self.latencies.len() > LATENCIES_KEPT {
                self.latencies.pop_front();
            }
        }
    }

    /// How long a message takes at worst, by the newest ones or, before any came, by the round trip of an answer; with
    /// the clock's error.
    #[must_use]
    pub fn push_latency(&self, now: Instant) -> Option<Micros> {
        let bound = self.bound(now)?.0;
        let latency = self.latencies.iter().copied().max().unwrap_or(2 * bound);
        Some(Micros(latency + bound))
    }
}

fn micros(d: Duration) -> i64 {
    Micros::from(d).0
}

/// The wall clock's time of a moment, in microseconds since the epoch.
#[must_use]
pub fn epoch_micros(moment: Instant) -> i64 {
    let now = Instant::now();
    let wall = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, micros);
    wall - micros(now.saturating_duration_since(moment))
        + micros(moment.saturating_duration_since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_shortest_round_trip_counts_and_bounds_the_error() {
        let mut clock = StoreClock::default();
        let start = clock.zero;
        // The store's clock runs 5 s ahead; the second answer's way was short.
        clock.observe(start, start + 40 * MS, StoreTime(5_000_000 + 1_000));
        clock.observe(
            start + 50 * MS,
            start + 52 * MS,
            StoreTime(5_000_000 + 51_000),
        );
        let now = start + 60 * MS;
        let bound = clock.bound(now).expect("a bound").0;
        assert!((1_000..1_010).contains(&bound), "{bound}");
        let moment = clock
            .instant(StoreTime(5_000_000 + 51_000), now)
            .expect("a moment");
        assert_eq!(moment, start + 51 * MS);
    }

    #[test]
    fn an_old_sample_gives_way() {
        let mut clock = StoreClock::default();
        let start = clock.zero;
        clock.observe(start, start, StoreTime(7));
        let later = start + Duration::from_secs(120);
        clock.observe(later, later + 2 * MS, StoreTime(120_001_000));
        assert_eq!(clock.samples.len(), 1);
    }

    #[test]
    fn a_messages_time_is_measured() {
        let mut clock = StoreClock::default();
        let start = clock.zero;
        assert_eq!(clock.push_latency(start), None);
        clock.observe(start, start + 2 * MS, StoreTime(1_000));
        clock.message(StoreTime(10_000), start + 13 * MS);
        let latency = clock.push_latency(start + 13 * MS).expect("known").0;
        assert!((4_000..4_100).contains(&latency), "{latency}");
    }
}
