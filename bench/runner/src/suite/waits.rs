//! What variables and computed values follow from: which variables have to wait for computed values, because a text that stands
//! for them takes one, and which variables are behind a text.

use std::collections::BTreeSet;

use super::expression;
use super::schema::File;
use crate::values::template;
use crate::values::value::plain;

/// The computed values that a variable may have to wait for, directly or by other variables.
pub(super) fn computed_for(file: &File, variable: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let (mut seen, mut left) = (BTreeSet::new(), vec![variable.to_owned()]);
    while let Some(name) = left.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        for text in texts(file, &name) {
            left.extend(template::variables(&text).into_iter().map(str::to_owned));
            let taken = template::run_values(&text).into_iter().map(str::to_owned);
            found.extend(taken.filter(|name| is_computed(file, name)));
        }
    }
    found
}

/// Whether an expression takes a computed value, directly or by a variable. One that is not well formed does not.
pub(crate) fn takes_computed(file: &File, expression: &str) -> bool {
    expression::names(expression)
        .unwrap_or_default()
        .iter()
        .any(|name| is_computed(file, name) || !computed_for(file, name).is_empty())
}

/// The variables that a text takes, directly, by computed values, or by what other variables take or become.
pub(super) fn variables_behind(file: &File, text: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut left = taken(text);
    while let Some(name) = left.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        left.extend(texts(file, &name).iter().flat_map(|text| taken(text)));
        let becomes = file.env.get(name.as_str());
        let becomes = becomes.and_then(|table| table.becomes.as_ref());
        let computed = file.computed().into_iter();
        let computed = computed.filter(|(known, _)| *known.get_ref() == name);
        let expressions = computed.map(|(_, text)| text).chain(becomes);
        left.extend(expressions.flat_map(|text| {
            let names = expression::names(text.get_ref());
            names.unwrap_or_default()
        }));
    }
    seen.retain(|name| file.env.contains_key(name.as_str()));
    seen
}

/// All names that a text takes.
fn taken(text: &str) -> Vec<String> {
    let names = template::variables(text).into_iter();
    let names = names.chain(template::run_values(text));
    names.map(str::to_owned).collect()
}

fn is_computed(file: &File, name: &str) -> bool {
    file.computed()
        .iter()
        .any(|(known, _)| known.get_ref() == name)
}

/// The texts that may become the value of a variable.
fn texts(file: &File, variable: &str) -> Vec<String> {
    let default = file
        .env
        .get(variable)
        .and_then(|table| table.default.as_ref())
        .map(|default| plain(default.get_ref()));
    let tables = file.scenario.iter().map(|scenario| &scenario.set);
    let set = tables
        .chain(file.preset.values())
        .filter_map(|table| table.get(variable).map(plain));
    default.into_iter().chain(set).collect()
}
