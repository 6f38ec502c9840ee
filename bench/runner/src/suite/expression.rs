//! Expressions of a suite: what a suite computes from variables and run values.
//!
//! The language is that of `minijinja`, and undefined names are errors. An expression can neither read nor change
//! anything but the names that it is given.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use minijinja::value::{Object, Rest, Serde, Value};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};
use serde_json::Value as Json;

use crate::values::duration::parse_time;

/// The functions beside the filters and tests of the language.
pub(super) const FUNCTIONS: [&str; 6] = ["ceil", "ceil_div", "floor", "max", "millis", "min"];

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_function("ceil", |number: f64| whole(number.ceil()));
    environment.add_function("floor", |number: f64| whole(number.floor()));
    environment.add_function("ceil_div", ceil_div);
    environment.add_function("max", |values: Rest<Value>| {
        numbers("max", &values).map(|numbers| numbers.max().cloned())
    });
    environment.add_function("millis", millis);
    environment.add_function("min", |values: Rest<Value>| {
        numbers("min", &values).map(|numbers| numbers.min().cloned())
    });
    environment
});

#[expect(
    clippy::cast_possible_truncation,
    reason = "a number beyond 64 bits becomes the nearest that fits"
)]
fn whole(number: f64) -> i64 {
    number as i64
}

/// The quotient rounded up.
fn ceil_div(number: i64, by: i64) -> Result<i64, Error> {
    if by <= 0 {
        return Err(refused(format!(
            "ceil_div divides by a number above 0, received {by}"
        )));
    }
    Ok(number / by + i64::from(number % by > 0))
}

/// A duration as a person writes it, in milliseconds.
fn millis(text: &str) -> Result<u64, Error> {
    let time = parse_time(text).map_err(refused)?;
    u64::try_from(time.as_millis()).map_err(|_| refused(format!("`{text}` is too long")))
}

fn numbers<'a>(name: &str, values: &'a [Value]) -> Result<std::slice::Iter<'a, Value>, Error> {
    match values.iter().find(|value| !value.is_number()) {
        Some(other) => Err(refused(format!("{name} takes numbers, received `{other}`"))),
        None if values.is_empty() => Err(refused(format!("{name} takes at least one number"))),
        None => Ok(values.iter()),
    }
}

fn refused(text: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, text)
}

/// Why an expression has no value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A name that it takes has no value.
    Missing(String),
    /// Something else, in words.
    Wrong(String),
}

/// The names that an expression takes, in the order of the alphabet.
///
/// # Errors
/// The text is not an expression.
pub(crate) fn names(text: &str) -> Result<BTreeSet<String>, String> {
    let expression = ENVIRONMENT
        .compile_expression(text)
        .map_err(|error| told(&error))?;
    let mut names: BTreeSet<String> = expression.undeclared_variables(false).into_iter().collect();
    names.extend(sliced(text).map(str::to_owned));
    names.retain(|name| !FUNCTIONS.contains(&name.as_str()));
    Ok(names)
}

/// The names right before a bracket: the language's own list of names passes over what a slice is taken of.
fn sliced(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('[').filter_map(|(place, _)| {
        let before = &text[..place];
        let start = before.rfind(|c| !is_word(c));
        let name = &before[start.map_or(0, |at| at + 1)..];
        let attribute = start.is_some_and(|at| before[..=at].ends_with(['.', '|']));
        let quoted = before.matches(['\'', '"']).count() % 2 == 1;
        let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        (begins && !attribute && !quoted).then_some(name)
    })
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Computes an expression over the values of names.
///
/// # Errors
/// The text is not an expression, a name has no value, or a value is of a type that does not fit.
pub(crate) fn evaluate(text: &str, values: BTreeMap<String, Json>) -> Result<Json, Failure> {
    let wrong = |error: Error| Failure::Wrong(told(&error));
    let expression = ENVIRONMENT.compile_expression(text).map_err(wrong)?;
    let names = Arc::new(Names {
        known: values
            .into_iter()
            .map(|(name, value)| (name, Value::from(Serde(value))))
            .collect(),
        missed: Mutex::new(Vec::new()),
    });
    let result = expression.eval(Value::from_dyn_object(names.clone()));
    // A name that the expression asks for may be missing; of the others the last one was in the way.
    let asked = |name: &str| {
        let words: Vec<&str> = text
            .split(|c: char| !is_word(c))
            .filter(|word| !word.is_empty())
            .collect();
        words.windows(3).any(|words| {
            words[0] == name
                && words[1] == "is"
                && ["defined", "undefined", "not"].contains(&words[2])
        })
    };
    let missed = || {
        let missed = names.missed.lock().unwrap_or_else(PoisonError::into_inner);
        missed.iter().rev().find(|name| !asked(name)).cloned()
    };
    let failed = match result {
        Ok(result) if result.is_undefined() => Failure::Wrong("has no value".to_owned()),
        Ok(result) => {
            return serde_json::to_value(&result)
                .map_err(|error| Failure::Wrong(error.to_string()));
        }
        Err(error) => wrong(error),
    };
    Err(missed().map_or(failed, Failure::Missing))
}

/// What went wrong, without the name of a template that nobody has written.
fn told(error: &Error) -> String {
    let what = error.kind().to_string();
    error
        .detail()
        .map_or(what.clone(), |detail| format!("{what}: {detail}"))
}

/// What the names stand for; remembers those that stood for nothing, since the language does not tell them.
#[derive(Debug)]
struct Names {
    known: BTreeMap<String, Value>,
    missed: Mutex<Vec<String>>,
}

impl Object for Names {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        let found = self.known.get(name).cloned();
        if found.is_none() && !FUNCTIONS.contains(&name) {
            let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
            missed.push(name.to_owned());
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(text: &str) -> Result<Json, Failure> {
        let values = json!({ "USERS": 1001, "SHARE": 0.3, "IDS": ["a", "b", "c"], "NAME": "x" });
        evaluate(text, serde_json::from_value(values).expect("a map"))
    }

    #[test]
    fn whole_numbers_stay_whole() {
        for (text, expected) in [
            ("ceil_div(USERS, 10) * 1000", json!(101_000)),
            ("(USERS - 1) // 100", json!(10)),
            ("ceil(USERS * SHARE)", json!(301)),
            ("floor(USERS * SHARE)", json!(300)),
            ("max(60000, USERS, 7)", json!(60_000)),
            ("min(SHARE, 1)", json!(0.3)),
            ("millis('5m') == millis('300s')", json!(true)),
            ("millis('250') + millis('1s')", json!(1250)),
            ("IDS|length", json!(3)),
            ("IDS[-2:]", json!(["b", "c"])),
            ("IDS[:1] if USERS > 1 else IDS", json!(["a"])),
            ("OTHER is undefined", json!(true)),
            ("7 if OTHER is defined and OTHER > 1 else 8", json!(8)),
            (
                "{'users': USERS, 'many': USERS > 5}",
                json!({"users": 1001, "many": true}),
            ),
        ] {
            assert_eq!(of(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_missing_name_is_told() {
        for text in [
            "OTHER",
            "OTHER + 1",
            "max(1, OTHER)",
            "MORE is undefined and OTHER > 1",
            "OTHER[:1]",
            "AN_OTHER if AN_OTHER is defined else OTHER",
        ] {
            assert_eq!(
                of(text),
                Err(Failure::Missing("OTHER".to_owned())),
                "{text}"
            );
        }
    }

    #[test]
    fn a_wrong_type_is_told() {
        for (text, expected) in [
            ("max(1, NAME)", "max takes numbers, received `x`"),
            ("ceil_div(USERS, 0)", "above 0, received 0"),
            ("millis(NAME)", "not a duration: `x`"),
            (
                "NAME - 1 if MORE is undefined else 1",
                "tried to use - operator on unsupported types",
            ),
        ] {
            assert!(
                matches!(of(text), Err(Failure::Wrong(told)) if told.contains(expected)),
                "{text}: {:?}",
                of(text)
            );
        }
    }

    #[test]
    fn names_are_those_that_are_taken() {
        let taken = names("max(A, b) if C is defined else D|length").expect("an expression");
        assert_eq!(taken.into_iter().collect::<Vec<_>>(), ["A", "C", "D", "b"]);
        let sliced = names("IDS[:1] if 'x[' != X.y[0] else 1").expect("an expression");
        assert_eq!(sliced.into_iter().collect::<Vec<_>>(), ["IDS", "X"]);
        assert!(names("A +").is_err_and(|told| told.contains("syntax error")));
    }
}
