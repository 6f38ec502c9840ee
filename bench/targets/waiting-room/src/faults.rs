//! What goes wrong on purpose, so that a harness can be shown to notice it.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use thiserror::Error;

/// The faults that a waiting room is asked to have. The default has none.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Faults {
    /// Users whose login is answered with 401.
    pub fail_logins: Share,
    /// Users whose waiting call is answered with 503.
    pub fail_streams: Share,
    /// Every answer below `/api` is held back this long.
    pub delay: Duration,
    /// This long after the first event was opened no stream gets another byte.
    pub silent_after: Option<Duration>,
    /// After this many messages, counted over all streams, no stream gets another byte.
    pub silent_after_messages: Option<u64>,
    /// The JSON of messages is wrapped in a JSON string and prefixed once more with `data:`.
    pub double_encode: bool,
    /// A promotion round begins this much later than it should.
    pub promotion_slowdown: Percent,
}

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
            return Ok(Self::First(count));
        }
        match text.parse() {
            Ok(percent) if percent <= Percent::HUNDRED => Ok(Self::Percent(percent)),
            _ => Err(ShareError),
        }
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

    fn of(self, whole: u64) -> u64 {
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

/// The text is not a percentage.
#[derive(Debug, Error)]
#[error("a percentage from 0% to 1000% is allowed, with at most two decimals, such as 20% or 0.5%")]
pub struct PercentError;

/// Decides when the streams fall silent.
#[derive(Debug)]
pub(crate) struct Silence {
    after: Option<Duration>,
    after_messages: Option<u64>,
    opened: OnceLock<Instant>,
    messages: AtomicU64,
}

impl Silence {
    pub(crate) fn new(faults: &Faults) -> Self {
        Self {
            after: faults.silent_after,
            after_messages: faults.silent_after_messages,
            opened: OnceLock::new(),
            messages: AtomicU64::new(0),
        }
    }

    /// Tells that an event was opened; the first time counts.
    pub(crate) fn event_opened(&self) {
        self.opened.get_or_init(Instant::now);
    }

    /// Whether all streams are silent by now.
    pub(crate) fn reached(&self) -> bool {
        let by_time = match (self.after, self.opened.get()) {
            (Some(after), Some(opened)) => opened.elapsed() >= after,
            _ => false,
        };
        by_time
            || self
                .after_messages
                .is_some_and(|limit| self.messages.load(Ordering::Relaxed) >= limit)
    }

    /// Takes leave to send one message; false means that it must not be sent.
    pub(crate) fn admit_message(&self) -> bool {
        if self.reached() {
            return false;
        }
        match self.after_messages {
            None => true,
            Some(limit) => self.messages.fetch_add(1, Ordering::Relaxed) < limit,
        }
    }
}

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
    fn messages_are_admitted_up_to_the_limit() {
        let silence = Silence::new(&Faults {
            silent_after_messages: Some(2),
            ..Faults::default()
        });
        let admitted = [(); 4].map(|()| silence.admit_message());
        assert_eq!(admitted, [true, true, false, false]);
        assert!(silence.reached());
    }

    #[test]
    fn silence_by_time_starts_with_the_first_open_event() {
        let silence = Silence::new(&Faults {
            silent_after: Some(Duration::ZERO),
            ..Faults::default()
        });
        assert!(silence.admit_message());
        silence.event_opened();
        assert!(!silence.admit_message());
    }
}
