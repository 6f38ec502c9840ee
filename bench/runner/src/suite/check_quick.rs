//! Checks of quick mode: its shares, and that no variable stands for what it scales and for what it does not.

use std::ops::Range;

use toml::Spanned;

use super::problem::{Problem, problem};
use super::scenario::ScenarioTable;
use super::schema::File;
use super::waits;
use crate::values::template::{only_variable, variables};
use crate::values::value::plain;

/// Checks `suite.quick_scale` and `[quick]`.
pub(super) fn quick(file: &File) -> Result<(), Problem> {
    if let Some(scale) = &file.suite.quick_scale {
        if !(*scale.get_ref() > 0.0 && *scale.get_ref() < 1.0) {
            return Err(problem(scale, "`quick_scale` must be between 0 and 1"));
        }
        if file.quick.is_some() {
            return Err(problem(
                scale,
                "`quick_scale` and [quick] both say what `--quick` scales; leave one of them out",
            ));
        }
    }
    let Some(table) = &file.quick else {
        return Ok(());
    };
    for (key, share) in [
        ("time", &table.time),
        ("vus", &table.vus),
        ("min_samples", &table.min_samples),
    ] {
        let Some(share) = share else { continue };
        if !(*share.get_ref() > 0.0 && *share.get_ref() <= 1.0) {
            let text = format!(
                "`{key}`: received {}; allowed: a share above 0 and up to 1",
                share.get_ref()
            );
            return Err(problem(share, text));
        }
    }
    file.scenario
        .iter()
        .try_for_each(|scenario| unmixed(file, scenario))
}

/// Quick mode gives a variable another value, so all that it stands for is scaled alike, and so is what follows from it.
fn unmixed(file: &File, scenario: &ScenarioTable) -> Result<(), Problem> {
    let texts = texts(scenario);
    for text in &texts {
        for name in waits::variables_behind(file, &text.text) {
            let otherwise =
                |other: &&Text<'_>| other.scaled() == Some(name.as_str()) && other.by != text.by;
            let direct = variables(&text.text).contains(&name.as_str());
            let Some(other) = texts.iter().find(otherwise).filter(|_| !direct) else {
                continue;
            };
            return Err(problem(
                &Spanned::new(text.place.clone(), ()),
                format!(
                    "`{}`: `{}` follows from {name}, which also stands for `{}`, and that `--quick` scales otherwise; take two variables",
                    text.key, text.text, other.key
                ),
            ));
        }
        for name in variables(&text.text) {
            let scaled = |text: &&Text<'_>| text.scaled() == Some(name);
            let Some(other) = texts.iter().find(scaled) else {
                continue;
            };
            if text.scaled() != Some(name) || text.by != other.by {
                return Err(problem(
                    &Spanned::new(text.place.clone(), ()),
                    format!(
                        "`{}`: {name} also stands for `{}`, which `--quick` scales otherwise; take two variables",
                        text.key, other.key
                    ),
                ));
            }
        }
    }
    Ok(())
}

/// What a text is scaled by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Time,
    Vus,
    Nothing,
}

/// A text of a scenario that becomes a number or a time.
struct Text<'a> {
    key: &'a str,
    text: String,
    by: By,
    place: Range<usize>,
}

impl Text<'_> {
    /// The variable that gets another value because of it.
    fn scaled(&self) -> Option<&str> {
        only_variable(&self.text).filter(|_| self.by != By::Nothing)
    }
}

fn texts(scenario: &ScenarioTable) -> Vec<Text<'_>> {
    let own = [("warmup", &scenario.warmup), ("window", &scenario.window)];
    let own = own.into_iter().filter_map(|(key, text)| {
        let text = text.as_ref()?;
        Some(Text {
            key,
            text: text.get_ref().clone(),
            by: By::Time,
            place: text.span(),
        })
    });
    let loads = scenario.load.iter().flat_map(|load| {
        let times = load.times().into_iter().map(|time| Text {
            key: time.key,
            text: time.text.to_owned(),
            by: if time.lasts { By::Time } else { By::Nothing },
            place: time.place,
        });
        let counts = load.counts().into_iter().map(|count| Text {
            key: count.key,
            text: plain(count.value),
            by: if count.users { By::Vus } else { By::Nothing },
            place: count.place,
        });
        times.chain(counts)
    });
    own.chain(loads).collect()
}
