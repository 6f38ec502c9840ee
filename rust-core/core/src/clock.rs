//! The store's clock as this process sees it.
//!
//! Each answer of the store carries its time. Between sending and receiving lies the moment it was read, so half the
//! round trip bounds the error (the estimate of Cristian, "Probabilistic clock synchronization", 1989). The answer with
//! the shortest round trip of the last minute counts. Two answers that exclude each other mean that a clock was set, or
//! that another server answers: then the older one is of no use any more.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::protocol::{Micros, StoreTime};

const WINDOW: Duration = Duration::from_secs(60);
/// What two quartz clocks may drift apart, in parts per million.
const DRIFT_PPM: i64 = 100;
const SAMPLES_MAX: usize = 64;
const LATENCIES_KEPT: usize = 8;
/// A message that took longer than this many times the usual was held up, here or on the way, and says little about the
/// next one.
const OUTLIER_TIMES: i64 = 4;
const OUTLIER_FROM: i64 = 5_000;
/// The longest time that a process asks a release to wait for it. Around the world and back takes 300 ms, and what takes
/// longer is a process or a network that was held up, for which nobody should wait longer than this.
const LATENCY_MAX: i64 = 500_000;

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

    /// Whether both may be right.
    fn agrees_with(&self, newer: &Self) -> bool {
        (self.offset - newer.offset).abs() <= self.bound_at(newer.at) + newer.bound
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
        let sample = Sample {
            at: received,
            offset: time.0 - middle,
            // The store's time has whole microseconds.
            bound: round_trip / 2 + 1,
        };
        let before = self.samples.len();
        self.samples.retain(|s| s.agrees_with(&sample));
        if self.samples.len() < before {
            self.latencies.clear(); // they were measured with the other time
        }
        self.samples.push_back(sample);
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

    /// How long a message takes at worst, by the newest ones that were not held up or, before any came, by the round trip of
    /// an answer; with the clock's error. Never more than half a second.
    #[must_use]
    pub fn push_latency(&self, now: Instant) -> Option<Micros> {
        let bound = self.bound(now)?.0;
        let mut sorted: Vec<i64> = self.latencies.iter().copied().collect();
        sorted.sort_unstable();
        let usual = sorted.get(sorted.len().saturating_sub(1) / 2);
        let latency = match (usual, sorted.last()) {
            (Some(usual), Some(longest)) => *longest.min(&(OUTLIER_TIMES * usual + OUTLIER_FROM)),
            _ => 2 * bound,
        };
        Some(Micros((latency + bound).min(LATENCY_MAX)))
    }
}

fn micros(d: Duration) -> i64 {
    Micros::from(d).0
}

/// The wall clock's time now, in microseconds since the epoch.
#[must_use]
pub fn wall_micros() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, micros)
}

/// How far apart two readings of clocks may be to be taken for one, and how often to try.
const SAME_MOMENT: Duration = Duration::from_micros(50);
const READINGS_MAX: usize = 4;

/// The wall clock's time of a moment, in microseconds since the epoch.
#[must_use]
pub fn epoch_micros(moment: Instant) -> i64 {
    let (now, wall) = both_clocks();
    wall - micros(now.saturating_duration_since(moment))
        + micros(moment.saturating_duration_since(now))
}

/// Both clocks at one moment. A thread that is held up between two readings would be off by all of that time, so the wall
/// clock is read between two of the other's.
fn both_clocks() -> (Instant, i64) {
    let mut best: Option<(Duration, Instant, i64)> = None;
    for _ in 0..READINGS_MAX {
        let before = Instant::now();
        let wall = wall_micros();
        let took = before.elapsed();
        if best.is_none_or(|(least, ..)| took < least) {
            best = Some((took, before + took / 2, wall));
        }
        if took <= SAME_MOMENT {
            break;
        }
    }
    best.map_or_else(|| (Instant::now(), 0), |(_, now, wall)| (now, wall))
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

    /// A clock whose server is 5 s ahead, with eight messages that took 1 ms each.
    fn settled() -> (StoreClock, Instant) {
        let mut clock = StoreClock::default();
        let start = clock.zero;
        clock.observe(start, start + MS, StoreTime(5_000_500));
        for n in 1..=8 {
            clock.message(StoreTime(5_000_000 + n * 10_000), at(start, n * 10 + 1));
        }
        (clock, start)
    }

    fn at(start: Instant, ms: i64) -> Instant {
        start + Duration::from_millis(u64::try_from(ms).expect("later"))
    }

    fn latency(clock: &StoreClock, now: Instant) -> i64 {
        clock.push_latency(now).expect("known").0
    }

    #[test]
    fn messages_that_were_held_up_cost_little_and_many_of_them_half_a_second() {
        let (mut clock, start) = settled();
        let usual = latency(&clock, at(start, 100));
        assert!((1_000..3_000).contains(&usual), "{usual}");
        // The process stood still for three seconds: three messages waited for it.
        for sent in [200, 1_200, 2_200] {
            clock.message(StoreTime(5_000_000 + sent * 1_000), at(start, 3_200));
            let now = latency(&clock, at(start, 3_200));
            assert!(now < 12_000, "{now} after one sent at {sent}");
        }
        for _ in 0..8 {
            clock.message(StoreTime(5_200_000), at(start, 3_200));
        }
        assert_eq!(latency(&clock, at(start, 3_200)), LATENCY_MAX);
        // And it is forgotten as soon as messages come in time again.
        for n in 0..5 {
            let sent = 4_000 + n * 10;
            clock.message(StoreTime(5_000_000 + sent * 1_000), at(start, sent + 1));
        }
        let again = latency(&clock, at(start, 5_000));
        assert!(again < 12_000, "{again}");
    }

    #[test]
    fn a_clock_that_is_set_forwards_or_backwards_is_believed_at_the_next_answer() {
        for step in [30_000_000, -30_000_000] {
            let (mut clock, start) = settled();
            // A message comes before an answer does: it seems to be from the future, or to have taken half a minute.
            clock.message(StoreTime(5_200_000 + step), at(start, 201));
            assert!(latency(&clock, at(start, 201)) <= LATENCY_MAX);
            // Its round trip is worse than that of the old answer, which would count for a minute.
            clock.observe(at(start, 300), at(start, 310), StoreTime(5_305_000 + step));
            let moment = clock.instant(StoreTime(5_400_000 + step), at(start, 320));
            assert_eq!(moment, Some(at(start, 400)));
            clock.message(StoreTime(5_400_000 + step), at(start, 401));
            let latency = latency(&clock, at(start, 401));
            assert!(latency < 20_000, "{latency} after {step}");
        }
    }

    #[test]
    fn a_starved_second_leaves_the_good_answer_in_place() {
        let (mut clock, start) = settled();
        let bound = clock.bound(at(start, 100)).expect("known");
        clock.observe(at(start, 200), at(start, 1_200), StoreTime(5_201_000));
        assert!(clock.bound(at(start, 1_200)).expect("known").0 <= bound.0 + 1_000);
        assert!(latency(&clock, at(start, 1_200)) < 5_000);
    }
}
