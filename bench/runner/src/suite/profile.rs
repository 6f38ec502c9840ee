//! `[[profile]]`: what a target tells at one instant of a run, such as where its processor time goes, kept as a file.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};
use toml::Spanned;

use crate::values::duration::{self, parse_duration};

/// `[[profile]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProfileTable {
    pub(crate) id: Spanned<String>,
    /// The address that is read; `{seconds}` is how long it lasts.
    pub(crate) source: Spanned<String>,
    /// When.
    pub(crate) at: At,
    /// How long; of a part of the window, at most to its end.
    #[serde(default = "half_a_minute", with = "duration")]
    pub(crate) lasts: Duration,
    /// Scenarios it belongs to; all when empty.
    #[serde(default)]
    pub(crate) scenarios: Vec<Spanned<String>>,
}

/// When a profile is taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum At {
    /// So long after the beginning of the load.
    Time(Duration),
    /// When so much of the window is over, 0 to below 1.
    Share(f64),
}

impl<'de> Deserialize<'de> for At {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

impl At {
    fn parse(text: &str) -> Result<Self, String> {
        let Some(number) = text.strip_suffix('%') else {
            let refused = |why| format!("{why}; or a share of the window below 100%, as in `50%`");
            return parse_duration(text).map(Self::Time).map_err(refused);
        };
        match number.trim().parse::<f64>() {
            Ok(percent) if (0.0..100.0).contains(&percent) => Ok(Self::Share(percent / 100.0)),
            _ => Err(format!(
                "`{text}` is no share of the window; allowed: 0% to below 100%"
            )),
        }
    }
}

fn half_a_minute() -> Duration {
    Duration::from_secs(30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_instant_is_refused() {
        for (text, says) in [
            (
                "100%",
                "`100%` is no share of the window; allowed: 0% to below 100%",
            ),
            ("half", "not a duration: `half`"),
        ] {
            let refused = At::parse(text).expect_err(text);
            assert!(refused.contains(says), "{refused}");
        }
    }
}
