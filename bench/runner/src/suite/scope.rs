//! What a suite may touch in Redis, as a language that cannot say more than that.

use super::vars::Vars;
use crate::values::template::run_values;

/// In a key: the id of each run before this one.
pub(crate) const EARLIER_RUN: &str = "earlier_run";

/// The one list whose items an entry names: a name of `each`, or the earlier runs.
pub(crate) fn iterated<'a>(text: &'a str, each: &[&str]) -> Option<&'a str> {
    let mut names = run_values(text);
    names.retain(|name| *name == EARLIER_RUN || each.contains(name));
    names.dedup();
    match names.as_slice() {
        [one] => Some(one),
        _ => None,
    }
}

/// Commands that `statements` may hold: none of them changes anything.
const READING: &[&str] = &[
    "EXISTS", "GET", "HGET", "HLEN", "LLEN", "SCARD", "TTL", "TYPE", "XLEN", "XPENDING", "ZCARD",
];

/// Whether a statement only reads.
pub(super) fn is_reading_command(statement: &str) -> bool {
    statement
        .split_whitespace()
        .next()
        .is_some_and(|name| READING.contains(&name.to_ascii_uppercase().as_str()))
}

/// When something is cleaned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    BeforeRun,
    AfterRun,
}

/// `before_run` or `after_run`, alone or with ` if NAME=VALUE`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Condition<'a> {
    moment: Moment,
    only_if: Option<(&'a str, &'a str)>,
}

impl<'a> Condition<'a> {
    /// Reads a `when`.
    ///
    /// # Errors
    /// The text says what is allowed.
    pub(crate) fn parse(text: &'a str) -> Result<Self, String> {
        let refuse = || {
            format!(
                "`when = \"{text}\"` is not known; allowed: before_run or after_run, alone or with `if NAME=VALUE`"
            )
        };
        let (moment, rest) = match text.split_once(' ') {
            Some((moment, rest)) => (moment, Some(rest)),
            None => (text, None),
        };
        let moment = match moment {
            "before_run" => Moment::BeforeRun,
            "after_run" => Moment::AfterRun,
            _ => return Err(refuse()),
        };
        let only_if = match rest {
            None => None,
            Some(rest) => {
                let pair = rest
                    .strip_prefix("if ")
                    .and_then(|pair| pair.split_once('='));
                let (name, value) = pair.ok_or_else(refuse)?;
                Some((name.trim(), value.trim()))
            }
        };
        Ok(Self { moment, only_if })
    }

    /// The variable it looks at.
    pub(crate) fn variable(&self) -> Option<&'a str> {
        self.only_if.map(|(name, _)| name)
    }

    /// Whether it holds for a run at this moment.
    pub(crate) fn holds(&self, moment: Moment, vars: &Vars) -> bool {
        self.moment == moment
            && self
                .only_if
                .is_none_or(|(name, value)| vars.text(name).as_deref() == Some(value))
    }
}

/// One entry of a monitor's `of`: what is only read may be any key that is named in full.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Watched<'a> {
    /// The size of a key, whatever its type.
    Size(&'a str),
    /// A number in a field of a hash.
    Field { hash: &'a str, field: &'a str },
}

impl<'a> Watched<'a> {
    /// Reads an entry.
    ///
    /// # Errors
    /// The text says what is allowed.
    pub(crate) fn parse(text: &'a str) -> Result<Self, String> {
        let refuse = || {
            Err(format!(
                "`{text}`: allowed: KEY, KEY:{{item}}, HASH[{{item}}], with {{item}} of a list in [each]"
            ))
        };
        if text.is_empty() || text.contains(['*', '?', '\\']) || text.contains(char::is_whitespace)
        {
            return refuse();
        }
        match text.split_once('[') {
            None => Ok(Self::Size(text)),
            Some((hash, rest)) => match rest.strip_suffix(']') {
                Some(field) if !hash.is_empty() && !field.is_empty() => {
                    Ok(Self::Field { hash, field })
                }
                _ => refuse(),
            },
        }
    }
}

/// One entry of `scope`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Scope<'a> {
    /// A whole key.
    Key(&'a str),
    /// A field of a hash, removed or set.
    Field {
        hash: &'a str,
        field: &'a str,
        value: Option<&'a str>,
    },
}

impl<'a> Scope<'a> {
    /// Reads an entry; refuses one that could reach beyond the items of the lists in `each`, or the earlier runs.
    ///
    /// # Errors
    /// The text says what is allowed.
    pub(crate) fn parse(text: &'a str, each: &[&str]) -> Result<Self, String> {
        let item = format!("{{{}}}", each.first().unwrap_or(&"item"));
        let names = if each.is_empty() {
            "none declared".to_owned()
        } else {
            each.join(", ")
        };
        let allowed = format!(
            "allowed: KEY:{item}, KEY:{{{EARLIER_RUN}}}, HASH[{item}], HASH[{item}]=VALUE, with a name of [each] ({names})"
        );
        let refuse = |why: &str| Err(format!("scope `{text}` {why}; {allowed}"));
        if text.contains(['*', '?', '\\']) || text.chars().any(char::is_whitespace) {
            return refuse("holds a pattern or a space");
        }
        if let Some((hash, rest)) = text.split_once('[') {
            let Some((field, tail)) = rest.split_once(']') else {
                return refuse("lacks a closing bracket");
            };
            let value = match tail.strip_prefix('=') {
                Some(value) if !value.is_empty() => Some(value),
                None if tail.is_empty() => None,
                _ => return refuse("has no value after `=`, or something else there"),
            };
            let is_item = iterated(text, each)
                .is_some_and(|name| name != EARLIER_RUN && field == format!("{{{name}}}"));
            if hash.is_empty() || hash.contains('{') || !is_item {
                return refuse("must name a hash, and as field the item of a list alone");
            }
            return Ok(Self::Field { hash, field, value });
        }
        match (iterated(text, each), text.find('{')) {
            (Some(_), Some(place)) if place > 0 => Ok(Self::Key(text)),
            _ => refuse("would touch a key that belongs to no item of a list, or to several"),
        }
    }
}
