//! `[each]`: the lists that cleaning and monitors go through.

use std::collections::BTreeMap;

use super::schema::File;
use super::vars::{RunValues, Vars};
use crate::values::template::{run_values, variables};

/// The variable that holds a list, by the name that an item has.
pub(crate) fn lists(file: &File) -> BTreeMap<&str, &str> {
    file.each
        .iter()
        .filter_map(|(name, text)| {
            let variable = *variables(text.get_ref()).first()?;
            Some((name.get_ref().as_str(), variable))
        })
        .collect()
}

/// What a text takes, once for each item of the lists that it names; once with nothing if it names none.
///
/// # Errors
/// A list has no value.
pub(crate) fn items(file: &File, text: &str, vars: &Vars) -> anyhow::Result<Vec<RunValues>> {
    let lists = lists(file);
    let named = run_values(text);
    let mut all = vec![RunValues::new()];
    for (name, variable) in lists.iter().filter(|(name, _)| named.contains(name)) {
        let items = vars.list(variable)?;
        let with = |values: &RunValues, item: &String| {
            let mut values = values.clone();
            values.insert(name, item.clone());
            values
        };
        all = all
            .iter()
            .flat_map(|values| items.iter().map(move |item| with(values, item)))
            .collect();
    }
    Ok(all)
}
