//! Durations as a person writes them.

use std::time::Duration;

use serde::{Deserialize as _, Deserializer, de::Error as _};

/// Of a key that must be there.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// Of a key that may be left out.
pub(crate) mod optional {
    use std::time::Duration;

    use serde::Deserializer;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        super::deserialize(deserializer).map(Some)
    }
}

/// Reads a number of milliseconds, or a duration with its unit.
///
/// # Errors
/// As [`parse_duration`].
pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    text.parse()
        .map(Duration::from_millis)
        .or_else(|_| parse_duration(text))
}

/// Reads `500ms`, `30s`, `5m`, `1h`.
///
/// # Errors
/// A text that says what was received and what is allowed.
pub(crate) fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let refuse = || {
        format!(
            "not a duration: `{text}`; allowed: a whole number with the unit ms, s, m or h, as in `30s`"
        )
    };
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .ok_or_else(refuse)?;
    let number: u64 = text[..split].parse().map_err(|_| refuse())?;
    let unit = match &text[split..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(refuse()),
    };
    number
        .checked_mul(unit)
        .map(std::time::Duration::from_millis)
        .ok_or_else(refuse)
}

/// Writes a duration as [`parse_duration`] and k6 read it: in seconds where it is whole.
pub(crate) fn written(time: Duration) -> String {
    if time.subsec_nanos() == 0 {
        format!("{}s", time.as_secs())
    } else {
        format!("{}ms", time.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(std::time::Duration::from_millis(millis))
            );
        }
        for (millis, text) in [(0, "0s"), (300_000, "300s"), (1500, "1500ms")] {
            assert_eq!(written(Duration::from_millis(millis)), text);
        }
        for text in [
            "",
            "30",
            "s",
            "1d",
            "-1s",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert!(
                parse_duration(text).is_err_and(|error| error.contains("allowed")),
                "{text}"
            );
        }
    }
}
