//! What goes wrong on purpose, so that a harness can be shown to notice it.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use target_kit::{Share, millis};

/// The faults that a service is asked to have, each a switch that can be changed while it runs. The default has none.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct ServiceFaults {
    /// Each answer of the API comes so much later.
    #[serde(rename = "latency-ms", with = "millis")]
    pub latency: Duration,
    /// That happens only while more requests than this came in the last second.
    pub latency_above: u32,
    /// Requests that are answered with 503.
    pub error_share: Share,
    /// The pool has so many connections instead of its own number.
    pub pool_size: Option<NonZeroU32>,
    /// Each look at a user's rows begins with a statement that takes so long.
    #[serde(rename = "slow-statement-ms", with = "millis")]
    pub slow_statement: Duration,
}

/// The same for an event handler.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct HandlerFaults {
    /// Each answer comes so much later.
    #[serde(rename = "latency-ms", with = "millis")]
    pub latency: Duration,
    /// That happens only while more events than this came in the last second.
    pub latency_above: u32,
    /// Events that the buffer refuses as if it was full.
    pub error_share: Share,
    /// An event whose updates were not buffered is acknowledged all the same.
    pub false_acknowledgement: bool,
    /// What was taken from the buffer waits so long before it is written. Taking goes on meanwhile.
    #[serde(rename = "flush-stall-ms", with = "millis")]
    pub flush_stall: Duration,
    /// A flush lets one of the events that wait for room go on, not all.
    pub wake_one: bool,
    /// The pool has so many connections instead of its own number.
    pub pool_size: Option<NonZeroU32>,
    /// Each flush begins with a statement that takes so long.
    #[serde(rename = "slow-statement-ms", with = "millis")]
    pub slow_statement: Duration,
}

/// Which of the things that come one after another a share hits: counted, so that it can be foretold.
///
/// The count begins with the first thing after a share was set, and anew when it is set to another value.
#[derive(Debug, Default)]
pub(crate) struct Counted(Mutex<(Share, u32)>);

impl Counted {
    /// Whether the next one is hit.
    pub(crate) fn hits(&self, share: Share) -> bool {
        // Nothing that holds the lock can leave the pair half changed.
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, count) = &mut *counted;
        if *last != share {
            (*last, *count) = (share, 0);
        }
        *count = count.wrapping_add(1);
        share.hits(*count)
    }
}

/// Parts of the last second in which arrivals are counted.
const PARTS: usize = 20;

/// How many came in the last second.
#[derive(Debug)]
pub(crate) struct Pace {
    since: Instant,
    /// For each part: its number since the start, and how many came in it.
    parts: Mutex<[(u128, u32); PARTS]>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            parts: Mutex::default(),
        }
    }
}

impl Pace {
    /// One more came. Returns how many did in the last second, with this one.
    pub(crate) fn next(&self) -> u32 {
        self.at(|| self.since.elapsed())
    }

    fn at(&self, elapsed: impl FnOnce() -> Duration) -> u32 {
        // Nothing that holds the lock can leave the parts half changed.
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        // The clock is read under the lock, so that no part is newer than what it says.
        let number = elapsed().as_millis() * PARTS as u128 / 1000;
        let slot = usize::try_from(number % PARTS as u128).unwrap_or(0);
        if parts[slot].0 != number {
            parts[slot] = (number, 0);
        }
        parts[slot].1 += 1;
        let recent = parts
            .iter()
            .filter(|(part, _)| number - part < PARTS as u128);
        recent.map(|(_, count)| count).sum()
    }
}

/// How much later an answer is to come.
pub(crate) fn later(latency: Duration, above: u32, pace: &Pace) -> Duration {
    // Counted whether there is such a fault or not, so that it acts from its first moment on.
    if pace.next() > above {
        latency
    } else {
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_second_counts() {
        let pace = Pace::default();
        let at = |ms| pace.at(|| Duration::from_millis(ms));
        assert_eq!([at(0), at(10), at(500)], [1, 2, 3]);
        // The first two are more than a second ago by now.
        assert_eq!([at(1060), at(1499)], [2, 3]);
        assert_eq!(at(9000), 1);
    }

    #[test]
    fn many_threads_are_counted_together() {
        let pace = Pace::default();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..20_000).for_each(|_| _ = pace.next()));
            }
        });
        assert!(pace.next() > 0);
    }

    #[test]
    fn a_share_is_counted_from_when_it_was_set() {
        let counted = Counted::default();
        let share: Share = "50%".parse().expect("share is valid");
        assert_eq!((0..10).filter(|_| counted.hits(share)).count(), 5);
        assert!(!counted.hits(Share::None));
        assert!(counted.hits(Share::First(1)) && !counted.hits(Share::First(1)));
    }
}
