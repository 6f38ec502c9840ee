//! What `--quick` makes of times, users and samples.

use std::time::Duration;

use super::schema::File;
use crate::values::template::{only_variable, run_values};

/// A load lasts at least so long, unless it is declared to be shorter.
const SHORTEST: Duration = Duration::from_secs(1);

/// The shares of `[quick]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shares {
    time: f64,
    vus: f64,
    min_samples: f64,
}

impl Shares {
    /// Everything as it is declared.
    pub(crate) const WHOLE: Self = Self {
        time: 1.0,
        vus: 1.0,
        min_samples: 1.0,
    };

    /// Those of a suite for a run that is, or is not, of `--quick`.
    pub(crate) fn of(file: &File, quick: bool) -> Self {
        let Some(table) = file.quick.as_ref().filter(|_| quick) else {
            return Self::WHOLE;
        };
        let share =
            |key: &Option<toml::Spanned<f64>>| key.as_ref().map_or(1.0, |key| *key.get_ref());
        Self {
            time: share(&table.time),
            vus: share(&table.vus),
            min_samples: share(&table.min_samples),
        }
    }

    /// What becomes of the time that a text of the suite became.
    pub(crate) fn time_of(self, text: &str, time: Duration) -> Duration {
        if scales(text) { self.time(time) } else { time }
    }

    /// What becomes of the number of users that a text of the suite became.
    pub(crate) fn vus_of(self, text: &str, users: i64) -> i64 {
        if scales(text) { self.vus(users) } else { users }
    }

    /// The share of a time, in whole milliseconds: a second at least, or the time itself where that is less.
    pub(crate) fn time(self, time: Duration) -> Duration {
        let whole = time.mul_f64(self.time).as_millis();
        let share = Duration::from_millis(u64::try_from(whole).unwrap_or(u64::MAX));
        share.max(SHORTEST).min(time)
    }

    /// The share of a number of users: one at least, and none of none.
    pub(crate) fn vus(self, users: i64) -> i64 {
        share(users, self.vus)
    }

    /// The share of the samples that a gate needs, at least one.
    pub(crate) fn min_samples(self, samples: u64) -> u64 {
        let samples = i64::try_from(samples).unwrap_or(i64::MAX);
        u64::try_from(share(samples, self.min_samples)).unwrap_or(0)
    }
}

/// Whether what a text becomes is still to be scaled: where it is one variable that has been done to the variable, and what is
/// computed follows from others.
fn scales(text: &str) -> bool {
    only_variable(text).is_none() && run_values(text).is_empty()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a number of users or samples, far below 2^53, times a share of at most 1"
)]
fn share(number: i64, by: f64) -> i64 {
    ((number as f64 * by).round() as i64).max(1).min(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_never_nothing_and_never_more_than_the_whole() {
        let shares = Shares {
            time: 0.05,
            vus: 0.02,
            min_samples: 0.1,
        };
        for (whole, expected) in [
            (300_000, 15_000),
            (30_000, 1500),
            (10_000, 1000),
            (200, 200),
            (0, 0),
        ] {
            let time = shares.time(Duration::from_millis(whole));
            assert_eq!(time, Duration::from_millis(expected), "{whole}");
        }
        for (whole, expected) in [(1000, 20), (30, 1), (1, 1), (0, 0)] {
            assert_eq!(shares.vus(whole), expected, "{whole}");
        }
        for (whole, expected) in [(1000, 100), (3, 1)] {
            assert_eq!(shares.min_samples(whole), expected, "{whole}");
        }
        let minute = Duration::from_secs(60);
        for (text, expected) in [
            ("60s", 3),
            ("${N}s", 3),
            ("${N}", 60),
            ("{n}", 60),
            ("${N}{n}", 60),
        ] {
            let time = Duration::from_secs(expected);
            assert_eq!(shares.time_of(text, minute), time, "{text}");
        }
        let time = Duration::from_millis(1234);
        assert_eq!(Shares::WHOLE.time(time), time);
        assert_eq!(Shares::WHOLE.vus(7), 7);
    }
}
