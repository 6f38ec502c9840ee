//! Which variables have to wait for computed values, because a text that stands for them takes one.

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
