//! What every check of a suite file needs: faults with their place, and whether names and placeholders have a meaning.

use std::ops::Range;

use toml::Spanned;

use super::schema::File;
use crate::values::template::{Part, parts};
use crate::values::text::suggestion;

/// Run values that are known of every run, beside those that the suite computes.
pub(super) const RUN_VALUES: &[&str] = &["scenario", "variant", "branch", "label", "quick"];
/// A fault in a suite file and its place.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) span: Range<usize>,
    pub(super) text: String,
}

pub(super) fn problem<T>(place: &Spanned<T>, text: impl Into<String>) -> Problem {
    Problem {
        span: place.span(),
        text: text.into(),
    }
}

/// The names of the lists that cleaning and monitors go through.
pub(super) fn each(file: &File) -> Vec<&str> {
    file.each
        .keys()
        .map(|name| name.get_ref().as_str())
        .collect()
}

pub(super) fn unique<'a>(
    ids: impl Iterator<Item = &'a Spanned<String>>,
    what: &str,
) -> Result<(), Problem> {
    let mut seen: Vec<&str> = Vec::new();
    for id in ids {
        if seen.contains(&id.get_ref().as_str()) {
            return Err(problem(
                id,
                format!("a second {what} has the id `{}`", id.get_ref()),
            ));
        }
        seen.push(id.get_ref());
    }
    Ok(())
}

pub(super) fn known(name: &Spanned<String>, allowed: &[&str], what: &str) -> Result<(), Problem> {
    if allowed.contains(&name.get_ref().as_str()) {
        return Ok(());
    }
    let near = suggestion(name.get_ref(), allowed);
    Err(problem(
        name,
        format!(
            "no {what} `{}`{near}; allowed: {}",
            name.get_ref(),
            allowed.join(", ")
        ),
    ))
}

pub(super) fn variable<T>(file: &File, place: &Spanned<T>, name: &str) -> Result<(), Problem> {
    if file.env.contains_key(name) {
        return Ok(());
    }
    let declared: Vec<&str> = file.env.keys().map(|key| key.get_ref().as_str()).collect();
    Err(problem(
        place,
        format!("no table [env.{name}]{}", suggestion(name, &declared)),
    ))
}

/// Whether every placeholder has something to take; `more`: run values that are known at this place alone.
pub(super) fn placeholders(
    file: &File,
    text: &Spanned<String>,
    more: &[&str],
) -> Result<(), Problem> {
    placeholders_in(file, text, text.get_ref(), more)
}

pub(super) fn placeholders_in<T>(
    file: &File,
    place: &Spanned<T>,
    text: &str,
    more: &[&str],
) -> Result<(), Problem> {
    for part in parts(text).map_err(|text| problem(place, text))? {
        match part {
            Part::Text(_) => {}
            Part::Variable(name) => variable(file, place, name)?,
            Part::RunValue(name) => {
                let computed = file.computed();
                let computed = computed.iter().map(|(name, _)| name.get_ref().as_str());
                let allowed: Vec<&str> = [more, RUN_VALUES]
                    .concat()
                    .into_iter()
                    .chain(computed)
                    .collect();
                if !allowed.contains(&name) {
                    return Err(problem(
                        place,
                        format!(
                            "no run value `{{{name}}}` here{}; allowed: {}",
                            suggestion(name, &allowed),
                            allowed.join(", ")
                        ),
                    ));
                }
            }
        }
    }
    Ok(())
}
