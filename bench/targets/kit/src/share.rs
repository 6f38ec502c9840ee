//! Which users a fault hits, and by how much something is slower than it should be.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Which users a fault hits. Always decided by the user's number, so that two runs hit the same users.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Share {
    /// Nobody.
    #[default]
    None,
    /// The first so many users: 1, 2, 3 …
    First(u32),
    /// So many of the users, spread evenly: of the users 1 to n, n × percent ÷ 100 rounded down.
    Percent(Percent),
}

impl Share {
    fn first(count: u32) -> Self {
        if count == 0 {
            Self::None
        } else {
            Self::First(count)
        }
    }

    /// Whether the user with this number, counted from 1, is hit.
    pub fn hits(self, user: u32) -> bool {
        match self {
            Self::None => false,
            Self::First(count) => (1..=count).contains(&user),
            Self::Percent(percent) => {
                user > 0 && percent.of(u64::from(user)) > percent.of(u64::from(user) - 1)
            }
        }
    }
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(count) = text.parse() {
            return Ok(Self::first(count));
        }
        match text.parse() {
            Ok(percent) if percent <= Percent::HUNDRED => Ok(Self::Percent(percent)),
            _ => Err(ShareError),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("0"),
            Self::First(count) => count.fmt(f),
            Self::Percent(percent) => percent.fmt(f),
        }
    }
}

/// A number, or a text as on the command line.
impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_u32(0),
            Self::First(count) => serializer.serialize_u32(*count),
            Self::Percent(percent) => percent.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShareVisitor)
    }
}

struct ShareVisitor;

impl Visitor<'_> for ShareVisitor {
    type Value = Share;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ShareError}")
    }

    fn visit_u64<E: de::Error>(self, count: u64) -> Result<Share, E> {
        let count = u32::try_from(count);
        count.map(Share::first).map_err(|_| E::custom(ShareError))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Share, E> {
        text.parse().map_err(E::custom)
    }
}

/// The text is neither a number of users nor a share of them.
#[derive(Debug, Error)]
#[error("allowed are a number of users such as 3 and a share from 0% to 100% such as 6% or 0.5%")]
pub struct ShareError;

/// A percentage, kept in hundredths of a percent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u32);

impl Percent {
    const HUNDRED: Self = Self(10_000);

    /// This percentage of a whole, rounded down.
    pub fn of(self, whole: u64) -> u64 {
        whole * u64::from(self.0) / 10_000
    }

    /// The duration, longer by this percentage.
    pub fn added_to(self, duration: Duration) -> Duration {
        duration + duration * self.0 / 10_000
    }
}

impl FromStr for Percent {
    type Err = PercentError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_suffix('%').ok_or(PercentError)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || !(1..=2).contains(&fraction.len()) {
            return Err(PercentError);
        }
        let whole: u32 = whole.parse().map_err(|_| PercentError)?;
        let hundredths: u32 = format!("{fraction:0<2}")
            .parse()
            .map_err(|_| PercentError)?;
        if whole > 1000 {
            return Err(PercentError);
        }
        Ok(Self(whole * 100 + hundredths))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}%", self.0 / 100, self.0 % 100)
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The text is not a percentage.
#[derive(Debug, Error)]
#[error("a percentage from 0% to 1000% is allowed, with at most two decimals, such as 20% or 0.5%")]
pub struct PercentError;

#[cfg(test)]
mod tests {
    use super::*;

    fn share(text: &str) -> Share {
        text.parse().expect("share is valid")
    }

    #[test]
    fn count_hits_the_first_users() {
        let hit: Vec<u32> = (0..10).filter(|&user| share("3").hits(user)).collect();
        assert_eq!(hit, [1, 2, 3]);
        assert!((0..10).all(|user| !share("0").hits(user)));
    }

    #[test]
    fn percentage_hits_evenly_spread_users() {
        let hit: Vec<u32> = (0..=100).filter(|&user| share("6%").hits(user)).collect();
        assert_eq!(hit, [17, 34, 50, 67, 84, 100]);
        assert_eq!(
            (1..=10_000)
                .filter(|&user| share("0.5%").hits(user))
                .count(),
            50
        );
        assert!((1..=100).all(|user| share("100%").hits(user)));
        assert!((1..=100).all(|user| !share("0%").hits(user)));
    }

    #[test]
    fn malformed_shares_are_refused() {
        for text in [
            "", "-1", "3.5", "x%", "%", "101%", "100.01%", "1.234%", "1.%", "+5%",
        ] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }

    #[test]
    fn percentage_lengthens_a_duration() {
        let second = Duration::from_secs(1);
        assert_eq!(Percent::default().added_to(second), second);
        let slower: Percent = "20%".parse().expect("percentage is valid");
        assert_eq!(slower.added_to(second), Duration::from_millis(1200));
        assert_eq!(slower.to_string(), "20.00%");
    }

    #[test]
    fn shares_and_percentages_are_written_as_they_are_read() {
        for text in ["3", "0", "\"6.00%\"", "\"0.50%\""] {
            let share: Share = serde_json::from_str(text).expect("share is valid");
            assert_eq!(serde_json::json!(share).to_string(), text);
        }
        let words: Share = serde_json::from_str("\"3\"").expect("share is valid");
        assert_eq!(words, Share::First(3));
        for text in ["3.5", "-1", "\"half\"", "true", "4294967296"] {
            let error = serde_json::from_str::<Share>(text).expect_err("share is not valid");
            assert!(error.to_string().contains("6%"), "{error}");
        }
    }
}
