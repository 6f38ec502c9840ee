//! What a run computes from its variables before it begins, and what it requires.

use crate::suite::schema::{File, RequireTable};
use crate::suite::vars::Vars;
use crate::suite::waits::takes_computed;
use crate::values::exit;
use crate::values::template::plain_json;
use crate::values::value::parse;

/// Checks what is required and computes the declared values, in this order: requirements that take nothing computed, what
/// variables become, computed values as the file lists them, the other requirements. A variable that takes a computed
/// value has its own as soon as that is known.
///
/// # Errors
/// A variable has no value, a value is of a type that does not fit, or a requirement does not hold.
pub(super) fn compute(file: &File, vars: &mut Vars) -> anyhow::Result<()> {
    vars.fill()?;
    let (late, early): (Vec<_>, Vec<_>) = file
        .require
        .iter()
        .partition(|require| takes_computed(file, require.that.get_ref()));
    for require in early {
        check(require, vars)?;
    }
    become_others(file, vars)?;
    for (name, text) in file.computed() {
        let value = vars.evaluate(text.get_ref())?;
        vars.know(name.get_ref(), value);
        vars.fill()?;
    }
    late.into_iter()
        .try_for_each(|require| check(require, vars))
}

/// Gives the variables that have a value the one that theirs becomes.
fn become_others(file: &File, vars: &mut Vars) -> anyhow::Result<()> {
    for (name, table) in &file.env {
        let name = name.get_ref();
        let (Some(text), Some(before)) = (&table.becomes, vars.get(name)) else {
            continue;
        };
        let value = parse(
            name,
            table.kind,
            &plain_json(&vars.evaluate(text.get_ref())?),
        )?;
        if value != *before {
            vars.replace(name, value);
        }
    }
    Ok(())
}

fn check(require: &RequireTable, vars: &Vars) -> anyhow::Result<()> {
    let that = require.that.get_ref();
    match vars.evaluate(that)? {
        serde_json::Value::Bool(true) => Ok(()),
        serde_json::Value::Bool(false) => {
            Err(exit::set_up(vars.expand_shown(require.say.get_ref())?))
        }
        other => Err(exit::set_up(format!(
            "`{that}`: a requirement is true or false, received `{}`",
            plain_json(&other)
        ))),
    }
}
