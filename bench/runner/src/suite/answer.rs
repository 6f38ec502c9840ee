//! `[report] answer`: a sentence over derived values, that a report begins with.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::value::ValueKind;
use minijinja::{Environment, UndefinedBehavior};

use crate::values::text::figure;

/// What an answer may name beside derived values and variables.
const NAMES: &[&str] = &["scenario", "point", "variant", "runs"];

/// What reads an answer.
pub(crate) fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_filter("seconds", seconds);
    // Numbers as in the rest of a report.
    environment.set_formatter(|out, state, value| match f64::try_from(value.clone()) {
        Ok(number) if value.kind() == ValueKind::Number => Ok(out.write_str(&figure(number))?),
        _ => minijinja::escape_formatter(out, state, value),
    });
    environment
}

/// Milliseconds as people say them.
fn seconds(ms: f64) -> String {
    match ms / 1000.0 {
        s if s < 1.0 => format!("{} ms", figure(ms.round())),
        s if s < 100.0 => format!("{s:.1} s"),
        s => format!("{} s", figure(s.round())),
    }
}

/// Looks whether an answer can be given with these derived values and variables.
///
/// # Errors
/// A text that says what was received and what is allowed.
pub(super) fn check(template: &str, derived: &[&str], variables: &[&str]) -> Result<(), String> {
    let environment = environment();
    let parsed = environment
        .template_from_str(template)
        .map_err(|error| format!("`answer`: {error}"))?;
    let named: BTreeSet<String> = parsed.undeclared_variables(false).into_iter().collect();
    let allowed: Vec<&str> = derived.iter().chain(NAMES).copied().collect();
    let allowed_too = |name: &&str| allowed.contains(name) || variables.contains(name);
    if let Some(name) = named.iter().find(|name| !allowed_too(&name.as_str())) {
        return Err(format!(
            "`answer` names `{name}`; allowed: {}, and variables that are no secret",
            allowed.join(", ")
        ));
    }
    // A filter that there is not shows itself only when it is used.
    let all = allowed.iter().chain(variables);
    let values: BTreeMap<&str, f64> = all.map(|name| (*name, 1000.0)).collect();
    parsed
        .render(values)
        .map(drop)
        .map_err(|error| format!("`answer`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_names_what_there_is() {
        let good = "{{ completedUsers }} of {{ expectedVUs }} in {{ drainMs | seconds }}";
        let derived = ["completedUsers", "expectedVUs", "drainMs"];
        assert_eq!(check(good, &derived, &[]), Ok(()));
        let error = check(good, &derived[..2], &["USERS"]).expect_err("refused");
        assert!(
            error.contains("names `drainMs`; allowed: completedUsers, expectedVUs, scenario"),
            "{error}"
        );
        assert!(check("{{ drainMs", &derived, &[]).is_err());
        assert!(check("{{ drainMs | fortnights }}", &derived, &[]).is_err());
        let by_variable = "{{ 'soon' if LIKE == 'fast' else '' }}";
        assert_eq!(check(by_variable, &[], &["LIKE"]), Ok(()));
        assert!(check(by_variable, &[], &[]).is_err());
    }

    #[test]
    fn times_are_told_as_people_say_them() {
        for (ms, text) in [
            (42_123.0, "42.1 s"),
            (830.4, "830 ms"),
            (1_234_567.0, "1,235 s"),
        ] {
            assert_eq!(seconds(ms), text);
        }
    }
}
