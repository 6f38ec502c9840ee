//! Checks of what a server is asked for, by `[[record]]` and `[[drain]]`.

use toml::Spanned;

use super::asked::{AskedKind, Until};
use super::check_clean::reads;
use super::problem::{Problem, known, placeholders, problem, unique};
use super::schema::{Class, File};
use super::statement;
use crate::values::exposition::Selector;

/// Checks every `[[drain]]`.
pub(super) fn drains(file: &File, scenarios: &[&str]) -> Result<(), Problem> {
    unique(file.drain.iter().map(|drain| &drain.id), "drain")?;
    for drain in &file.drain {
        for name in &drain.scenarios {
            known(name, scenarios, "scenario")?;
        }
        if drain.every.is_zero() || drain.limit < drain.every {
            let text = "`every` must be more than 0, and `limit` at least as long";
            return Err(problem(&drain.id, text));
        }
        if let Some(still) = &drain.still {
            match drain.until() {
                Ok(Until::Still(time)) if time >= drain.every && time < drain.limit => {}
                Err(why) => return Err(problem(still, why)),
                Ok(_) => {
                    let text = "`still` must be at least `every`, and less than `limit`";
                    return Err(problem(still, text));
                }
            }
            if drain.is.is_some() {
                let text = "either `is` or `still` says when nothing is left";
                return Err(problem(still, text));
            }
        }
        if let Some(class) = &drain.class
            && *class.get_ref() == Class::Watch
        {
            let text =
                "`class` must be `slo` or `validity`: what is waited for says something of the run";
            return Err(problem(class, text));
        }
        asked(file, drain.kind, &drain.source, &drain.statement, &[])?;
        if let Some(say) = &drain.say {
            placeholders(file, say, &[])?;
        }
    }
    Ok(())
}

/// Checks who is asked for what. `more`: run values that the statement may take.
pub(super) fn asked(
    file: &File,
    kind: AskedKind,
    source: &Spanned<String>,
    text: &Spanned<String>,
    more: &[&str],
) -> Result<(), Problem> {
    let of_pages = matches!(kind, AskedKind::Http | AskedKind::Prom);
    let address: &[&str] = if of_pages { &["address"] } else { &[] };
    placeholders(file, source, address)?;
    // Braces of a sample are its own.
    if kind != AskedKind::Prom {
        placeholders(file, text, more)?;
    }
    match kind {
        AskedKind::Redis => reads(text),
        AskedKind::Sql => statement::one(text.get_ref()).map_err(|why| problem(text, why)),
        AskedKind::Http => path(text.get_ref())
            .map_err(|why| problem(text, format!("`{}`: {why}", text.get_ref()))),
        AskedKind::Prom => Selector::parse(text.get_ref())
            .map(drop)
            .map_err(|why| problem(text, format!("`{}`: {why}", text.get_ref()))),
    }
}

/// Whether a text can lead to a number in JSON.
pub(super) fn path(text: &str) -> Result<(), String> {
    if text.split('.').any(str::is_empty) {
        return Err("no path; allowed: status, or names in the JSON joined by dots".to_owned());
    }
    Ok(())
}
