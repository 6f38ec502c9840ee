//! Typed values of variables, and how they are read from texts.

use std::fmt;

use serde::Deserialize;

use super::address::addresses;
use super::duration::parse_duration;
use super::exit;
use super::mask;

/// Type of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Int,
    Float,
    /// A whole number of milliseconds, which may have its unit behind it.
    Millis,
    /// A whole number with its unit; handed on as it was given.
    Duration,
    /// 1 or 0, which may be `true` or `false`.
    Flag,
    String,
    Url,
    List,
    /// Of a file, from the current folder on; handed on as an absolute one.
    Path,
}

impl Kind {
    /// Whether its values are numbers.
    pub(crate) fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Float | Self::Millis | Self::Flag)
    }
}

/// A typed value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<String>),
}

/// As the harness reads it: lists are joined by commas.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
            Self::List(items) => f.write_str(&items.join(",")),
        }
    }
}

/// A TOML value as it would be typed by hand.
pub(crate) fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// The number that a TOML value is, if it is one.
pub(crate) fn number(value: &toml::Value) -> Option<f64> {
    match value {
        #[expect(
            clippy::cast_precision_loss,
            reason = "levels and sizes are far below 2^53"
        )]
        toml::Value::Integer(number) => Some(*number as f64),
        toml::Value::Float(number) if number.is_finite() => Some(*number),
        _ => None,
    }
}

/// Reads a value of a type.
///
/// # Errors
/// The text is not of that type; the message names the variable and, unless it may hold a password, the text.
pub(crate) fn parse(name: &str, kind: Kind, text: &str) -> anyhow::Result<Value> {
    let text = text.trim();
    let wrong = |shown: &str, allowed: &str| {
        exit::set_up(format!("{name}: received `{shown}`; allowed: {allowed}"))
    };
    Ok(match kind {
        Kind::Int => Value::Int(text.parse().map_err(|_| wrong(text, "a whole number"))?),
        Kind::Float => {
            let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
            Value::Float(number.ok_or_else(|| wrong(text, "a number"))?)
        }
        Kind::Millis => {
            let digits = text.strip_suffix("ms").unwrap_or(text).trim_end();
            let number = digits.parse();
            Value::Int(number.map_err(|_| {
                wrong(
                    text,
                    "a whole number of milliseconds, as in 60000 or 60000ms",
                )
            })?)
        }
        Kind::Duration => {
            parse_duration(text).map_err(|_| {
                wrong(
                    text,
                    "a whole number with the unit ms, s, m or h, as in 30s",
                )
            })?;
            Value::Text(text.to_owned())
        }
        Kind::Flag => Value::Int(match text.to_ascii_lowercase().as_str() {
            "1" | "true" => 1,
            "0" | "false" => 0,
            _ => return Err(wrong(text, "1, true, 0 or false")),
        }),
        Kind::String => Value::Text(text.to_owned()),
        Kind::Url => match url::Url::parse(text) {
            // Some read a host from less than two slashes too, and what is allowed is looked up as it is written.
            Ok(address)
                if address.has_host()
                    && addresses(text)
                        .next()
                        .is_some_and(|own| text.starts_with(own)) =>
            {
                Value::Text(text.trim_end_matches('/').to_owned())
            }
            _ => {
                return Err(wrong(
                    &mask::masked_address(text),
                    "an address with scheme and one host, as in http://localhost:8080",
                ));
            }
        },
        Kind::Path => Value::Text(
            std::path::absolute(text)
                .map_err(|_| wrong(text, "the path of a file"))?
                .display()
                .to_string(),
        ),
        Kind::List => {
            let mut items: Vec<String> = Vec::new();
            for item in text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
            {
                if !items.iter().any(|known| known == item) {
                    items.push(item.to_owned());
                }
            }
            Value::List(items)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_may_have_their_unit_and_flags_be_words() {
        let read = |kind, text| {
            let value = parse("NAME", kind, text);
            value
                .map(|value| value.to_string())
                .map_err(|error| error.to_string())
        };
        for (text, expected) in [("60000", "60000"), ("60000ms", "60000"), (" -1 ms ", "-1")] {
            assert_eq!(read(Kind::Millis, text).as_deref(), Ok(expected));
        }
        for (text, expected) in [("1", "1"), ("true", "1"), ("0", "0"), (" FALSE ", "0")] {
            assert_eq!(read(Kind::Flag, text).as_deref(), Ok(expected));
        }
        assert_eq!(read(Kind::Duration, " 5m ").as_deref(), Ok("5m"));
        for (kind, text) in [
            (Kind::Duration, "300"),
            (Kind::Duration, "five minutes"),
            (Kind::Millis, "60s"),
            (Kind::Millis, "ms"),
            (Kind::Millis, "1.5ms"),
            (Kind::Flag, "yes"),
            (Kind::Flag, "2"),
        ] {
            let refused = read(kind, text).expect_err(text);
            assert!(
                refused.contains(&format!("received `{text}`; allowed: ")),
                "{refused}"
            );
        }
    }
}
