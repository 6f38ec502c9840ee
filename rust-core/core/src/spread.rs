//! Letting the users of a release go one after the other.
//!
//! Nothing of it is on the wire but the number of arrivals before the phase: an instant follows from the release, the options
//! that every opener gives alike, and the arrival's index. So each process reckons for its own users, and all fit together.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus; // its numbers stay the same from version to version
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::error::OptionError;
use crate::ids::{Participant, Phase};
use crate::protocol::{Micros, Release};

/// What a process needs to tell one user its instant, by its rough measure; the record reckons with it, so that all processes
/// agree.
const LEAD_EACH: i64 = 4;
/// Shortest time between the decision and the first instant.
const LEAD_MIN: i64 = 10_000;
/// Longest one: 60,000 users are told within it.
const LEAD_MAX: i64 = 250_000;

/// Longest time over which a release may be spread.
pub const SPREAD_MAX: Duration = Duration::from_secs(24 * 3600);
/// Most users per second.
pub const RATE_MAX: u32 = 1_000_000;

/// How fast they go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Pace {
    /// All within so many milliseconds.
    SpanMs(u64),
    /// So many per second.
    Rate(u32),
}

/// How the instants lie.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// One as far from the next as the other.
    #[default]
    Even,
    /// At random, as independent users come.
    Poisson,
}

/// How a release lets its users go one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spread {
    /// How fast.
    pub pace: Pace,
    /// How the instants lie.
    #[serde(default)]
    pub shape: Shape,
    /// Where a random sequence begins.
    #[serde(default = "first_seed")]
    pub seed: u32,
}

const fn first_seed() -> u32 {
    1
}

impl Spread {
    /// A value of the option as scripts write it.
    pub(crate) fn show(value: &serde_json::Value) -> String {
        let Ok(spread) = Self::deserialize(value) else {
            return "neither spread nor rate".to_owned();
        };
        let mut text = match spread.pace {
            Pace::SpanMs(ms) => format!("{{ spread: {ms}"),
            Pace::Rate(rate) => format!("{{ rate: {rate}"),
        };
        if spread.shape == Shape::Poisson {
            text += ", shape: 'poisson'";
        }
        if spread.seed != first_seed() {
            text += &format!(", seed: {}", spread.seed);
        }
        text + " }"
    }

    /// Refuses what cannot be kept.
    ///
    /// # Errors
    /// Names the option, what it was and what is allowed.
    pub fn check(&self) -> Result<(), OptionError> {
        match self.pace {
            Pace::SpanMs(ms) if ms == 0 || Duration::from_millis(ms) > SPREAD_MAX => {
                Err(OptionError::new(
                    "release.spread",
                    format!("{ms} ms"),
                    format!("1 ms to {} h", SPREAD_MAX.as_secs() / 3600),
                ))
            }
            Pace::Rate(rate) if !(1..=RATE_MAX).contains(&rate) => Err(OptionError::new(
                "release.rate",
                rate.to_string(),
                format!("a whole number of users per second from 1 to {RATE_MAX}"),
            )),
            _ => Ok(()),
        }
    }
}

/// How long after its decision a release takes effect that so many arrivals go by one after the other: whoever goes first has to
/// be told before.
pub(crate) fn lead(arrivals: u32) -> Micros {
    Micros((LEAD_MIN + LEAD_EACH * i64::from(arrivals)).min(LEAD_MAX))
}

/// When the arrivals of one released phase go.
#[derive(Debug)]
pub(crate) struct Timetable {
    /// The release's instant, in microseconds since the epoch on this process's clock.
    at: i64,
    /// Arrivals of earlier phases.
    before: u32,
    /// Arrivals of this one, at least 1.
    arrivals: u32,
    pace: Pace,
    /// Of a random shape: the offset of each arrival in microseconds, in order.
    offsets: Option<Box<[i64]>>,
}

impl Timetable {
    /// That of a release whose instant is `at`. Where its counts were lost, as many are taken to have arrived as were expected.
    pub(crate) fn new(spread: Spread, release: &Release, at: i64, parties: u32) -> Self {
        let arrivals = match release.counts.arrived {
            0 => parties.max(1),
            arrived => arrived,
        };
        let offsets = (spread.shape == Shape::Poisson)
            .then(|| poisson(spread, release.phase, arrivals as usize));
        Self {
            at,
            before: release.before,
            arrivals,
            pace: spread.pace,
            offsets,
        }
    }

    /// When the arrival with this index goes, in microseconds since the epoch. The index is of no use where the store has lost
    /// its memory or never gave one: then the participant's id chooses a place.
    pub(crate) fn instant(&self, index: u32, participant: &Participant) -> i64 {
        let place = match index.checked_sub(self.before) {
            Some(place) if (1..=self.arrivals).contains(&place) => place - 1,
            _ => {
                let mut hasher = DefaultHasher::new();
                participant.as_str().hash(&mut hasher);
                let place = hasher.finish() % u64::from(self.arrivals);
                u32::try_from(place).unwrap_or(0)
            }
        };
        let offset = match &self.offsets {
            Some(offsets) => offsets[place as usize],
            None => self.even(place),
        };
        self.at.saturating_add(offset)
    }

    /// When the last one goes.
    pub(crate) fn last(&self) -> i64 {
        let place = self.arrivals - 1;
        let offset = match &self.offsets {
            Some(offsets) => offsets.last().copied().unwrap_or(0),
            None => self.even(place),
        };
        self.at.saturating_add(offset)
    }

    fn even(&self, place: u32) -> i64 {
        let place = u64::from(place);
        let micros = match self.pace {
            Pace::SpanMs(ms) => place * ms * 1000 / u64::from(self.arrivals),
            Pace::Rate(rate) => place * 1_000_000 / u64::from(rate),
        };
        i64::try_from(micros).unwrap_or(i64::MAX)
    }
}

/// The offsets of so many arrivals, in order. Within a span they are what is left of gaps between `n + 1` of them, scaled so
/// that the last one ends it: that is `n` independent uniform instants, sorted.
fn poisson(spread: Spread, phase: Phase, n: usize) -> Box<[i64]> {
    let seed = u64::from(spread.seed) << 32 | u64::from(phase.0);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut sum = 0.0;
    let mut next = || {
        let uniform: f64 = rng.random(); // below 1, so that the logarithm is finite
        sum -= (-uniform).ln_1p();
        sum
    };
    let sums: Vec<f64> = (0..n).map(|_| next()).collect();
    let scale = match spread.pace {
        Pace::Rate(rate) => 1e6 / f64::from(rate),
        #[expect(clippy::cast_precision_loss)] // at most a day
        Pace::SpanMs(ms) => (ms * 1000) as f64 / next(),
    };
    #[expect(clippy::cast_possible_truncation)] // as many seconds as there are arrivals, at most
    let offset = |sum: f64| (sum * scale) as i64;
    sums.into_iter().map(offset).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Counts, StoreTime, Why};

    fn release(phase: u32, arrived: u32, before: u32) -> Release {
        Release {
            phase: Phase(phase),
            why: Why::All,
            counts: Counts {
                arrived,
                ..Counts::default()
            },
            before,
            at: StoreTime(0),
            delay: Micros(0),
            crowded: Vec::new(),
        }
    }

    fn instants(json: &str, release: &Release) -> Vec<i64> {
        let spread: Spread = serde_json::from_str(json).expect("valid");
        let table = Timetable::new(spread, release, 1_000, 10);
        let first = release.before + 1;
        let id = Participant::new("1").expect("valid");
        (first..first + release.counts.arrived)
            .map(|index| table.instant(index, &id))
            .collect()
    }

    #[test]
    fn an_even_spread_is_a_rate_and_begins_at_the_release() {
        let span = instants(r#"{"pace":{"spanMs":2000}}"#, &release(0, 4, 0));
        assert_eq!(span, [1_000, 501_000, 1_001_000, 1_501_000]);
        let rate = instants(r#"{"pace":{"rate":2}}"#, &release(3, 4, 17));
        assert_eq!(rate, span);
    }

    #[test]
    fn a_random_spread_is_that_of_its_seed_and_phase() {
        let json = r#"{"pace":{"spanMs":2000},"shape":"poisson","seed":7}"#;
        let one = instants(json, &release(0, 10_000, 0));
        assert_eq!(one, instants(json, &release(0, 10_000, 0)));
        assert_ne!(one, instants(json, &release(1, 10_000, 0)));
        assert_ne!(
            one,
            instants(&json.replace('7', "8"), &release(0, 10_000, 0))
        );
        assert!(one.is_sorted());
        assert!(one[0] >= 1_000 && one[9_999] < 2_001_000);
        // Half of them go in the first half, give or take six standard deviations.
        let half = one.iter().filter(|at| **at < 1_001_000).count();
        assert!((4_700..5_300).contains(&half), "{half}");
        // Independent users: of their gaps 37 per cent are longer than the mean one; of even ones none.
        let gaps = one.windows(2).filter(|w| w[1] - w[0] > 200).count();
        assert!((3_300..4_000).contains(&gaps), "{gaps}");
    }

    #[test]
    fn it_is_shown_as_scripts_write_it() {
        for (json, text) in [
            (r#"{"pace":{"spanMs":2000}}"#, "{ spread: 2000 }"),
            (
                r#"{"pace":{"rate":5},"shape":"poisson","seed":7}"#,
                "{ rate: 5, shape: 'poisson', seed: 7 }",
            ),
            (
                r#"{"pace":{"rate":5},"shape":"poisson"}"#,
                "{ rate: 5, shape: 'poisson' }",
            ),
            ("null", "neither spread nor rate"),
        ] {
            let value = serde_json::from_str(json).expect("JSON");
            assert_eq!(Spread::show(&value), text);
        }
    }

    #[test]
    fn a_random_rate_keeps_its_rate() {
        let json = r#"{"pace":{"rate":500},"shape":"poisson"}"#;
        let last = instants(json, &release(0, 10_000, 0))[9_999] - 1_000;
        assert!((18_800_000..21_200_000).contains(&last), "{last}"); // six standard deviations
    }

    #[test]
    fn an_index_that_says_nothing_chooses_some_place_within_the_time() {
        let spread: Spread = serde_json::from_str(r#"{"pace":{"spanMs":1000}}"#).expect("valid");
        let table = Timetable::new(spread, &release(2, 100, 200), 0, 100);
        for n in 0..1_000 {
            let id = Participant::new(&n.to_string()).expect("valid");
            for index in [0, 200, 301, u32::MAX] {
                assert!((0..1_000_000).contains(&table.instant(index, &id)));
            }
        }
    }

    #[test]
    fn the_lead_grows_with_the_users_and_has_an_end() {
        let leads = [0, 1, 10_000, 60_000, 10_000_000].map(|n| lead(n).0);
        assert_eq!(leads, [10_000, 10_004, 50_000, 250_000, 250_000]);
    }

    #[test]
    fn a_release_without_counts_is_taken_to_be_full() {
        let spread: Spread = serde_json::from_str(r#"{"pace":{"spanMs":1000}}"#).expect("valid");
        let table = Timetable::new(spread, &release(0, 0, 0), 0, 10);
        let id = Participant::new("1").expect("valid");
        assert_eq!(table.instant(10, &id), 900_000);
    }
}
