//! Typed values of variables, and how they are read from texts.

use std::fmt;

use serde::Deserialize;

use super::address::addresses;
use super::exit;
use super::mask;

/// Type of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Int,
    Float,
    String,
    Url,
    List,
    /// Of a file, from the current folder on; handed on as an absolute one.
    Path,
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
