//! Texts with placeholders: `${NAME}` takes a variable, `{name}` takes a run value.

use std::collections::BTreeMap;

use serde_json::Value as Json;

/// Values for `{name}`, by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RunValues(BTreeMap<String, Json>);

impl<V: Into<Json>, const N: usize> From<[(&str, V); N]> for RunValues {
    fn from(values: [(&str, V); N]) -> Self {
        Self(
            values
                .map(|(name, value)| (name.to_owned(), value.into()))
                .into(),
        )
    }
}

impl RunValues {
    /// None.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a value, or takes the place of another one.
    pub(crate) fn insert(&mut self, name: &str, value: impl Into<Json>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// The value with this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Json> {
        self.0.get(name)
    }

    /// The value as a text takes it.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(plain_json)
    }

    /// All of them, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

/// A JSON value as it would be typed by hand; a list is joined by commas.
pub(crate) fn plain_json(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Null => String::new(),
        Json::Array(items) => items.iter().map(plain_json).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// A piece of a text with placeholders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    Text(&'a str),
    Variable(&'a str),
    RunValue(&'a str),
}

/// Splits a text at its placeholders.
///
/// # Errors
/// A brace is not closed or holds no name.
pub(crate) fn parts(text: &str) -> Result<Vec<Part<'_>>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let close = rest[open..]
            .find('}')
            .ok_or_else(|| format!("`{text}`: a brace is not closed"))?
            + open;
        let name = &rest[open + 1..close];
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(format!("`{text}`: `{{{name}}}` holds no name"));
        }
        let variable = rest[..open].ends_with('$');
        let before = &rest[..if variable { open - 1 } else { open }];
        if !before.is_empty() {
            parts.push(Part::Text(before));
        }
        parts.push(if variable {
            Part::Variable(name)
        } else {
            Part::RunValue(name)
        });
        rest = &rest[close + 1..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    Ok(parts)
}

/// The names of one kind in a text; none if the text is not well formed.
fn names<'a>(text: &'a str, of: impl Fn(Part<'a>) -> Option<&'a str>) -> Vec<&'a str> {
    parts(text)
        .unwrap_or_default()
        .into_iter()
        .filter_map(of)
        .collect()
}

/// The variables that a text takes.
pub(crate) fn variables(text: &str) -> Vec<&str> {
    names(text, |part| match part {
        Part::Variable(name) => Some(name),
        _ => None,
    })
}

/// The variable of a text that is nothing else.
pub(crate) fn only_variable(text: &str) -> Option<&str> {
    let name = text.strip_prefix("${")?.strip_suffix('}')?;
    (variables(text) == [name]).then_some(name)
}

/// The run values that a text takes.
pub(crate) fn run_values(text: &str) -> Vec<&str> {
    names(text, |part| match part {
        Part::RunValue(name) => Some(name),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_split() {
        let expected = vec![
            Part::Text("a/"),
            Part::RunValue("b"),
            Part::Text("-"),
            Part::Variable("C_1"),
        ];
        assert_eq!(parts("a/{b}-${C_1}"), Ok(expected));
        assert_eq!(only_variable("${C_1}"), Some("C_1"));
        for other in ["${C_1}s", "{b}", "C_1", "${A}${B}"] {
            assert_eq!(only_variable(other), None, "{other}");
        }
        assert!(parts("{open").is_err());
        assert!(parts("{}").is_err());
    }
}
