//! The statistics of a list of samples, under the names that k6 gives them.

use serde_json::{Map, Value as Json};

/// What is kept of every list.
const USUAL: [&str; 8] = [
    "avg", "min", "med", "max", "p(90)", "p(95)", "p(99)", "count",
];

/// The usual statistics of some samples, and those that somebody asks for; empty without samples but for their number.
pub(crate) fn values<'a>(
    samples: &[f64],
    asked: impl IntoIterator<Item = &'a str>,
) -> Map<String, Json> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let mut values = Map::new();
    for stat in USUAL.into_iter().chain(asked) {
        let value = match stat {
            "count" => Some(Json::from(sorted.len())),
            stat => of(&sorted, stat).map(Json::from),
        };
        if let Some(value) = value {
            values.insert(stat.to_owned(), value);
        }
    }
    values
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a number of samples is far below 2^53"
)]
fn of(sorted: &[f64], stat: &str) -> Option<f64> {
    let (first, last) = (*sorted.first()?, *sorted.last()?);
    match stat {
        "avg" => Some(sorted.iter().sum::<f64>() / sorted.len() as f64),
        "min" => Some(first),
        "max" => Some(last),
        "med" => Some(quantile(sorted, 0.5)),
        other => {
            let percent: f64 = other.strip_prefix("p(")?.strip_suffix(')')?.parse().ok()?;
            let share = (0.0..=100.0)
                .contains(&percent)
                .then_some(percent / 100.0)?;
            Some(quantile(sorted, share))
        }
    }
}

/// Between the two nearest samples, as k6 does it.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place in a list, from 0 to its length"
)]
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = sorted[place.floor() as usize];
    let above = sorted[place.ceil() as usize];
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_those_of_k6() {
        let samples = [30.0, 10.0, 20.0, 40.0];
        let values = values(&samples, ["p(50)", "p(100)"]);
        for (stat, expected) in [
            ("avg", 25.0),
            ("min", 10.0),
            ("med", 25.0),
            ("max", 40.0),
            ("p(50)", 25.0),
            ("p(90)", 37.0),
            ("p(100)", 40.0),
        ] {
            assert_eq!(values[stat].as_f64(), Some(expected), "{stat}");
        }
        assert_eq!(values["count"], 4);
    }

    #[test]
    fn without_samples_there_is_their_number_alone() {
        let values = values(&[], ["p(42)"]);
        assert_eq!(values.len(), 1);
        assert_eq!(values["count"], 0);
    }
}
