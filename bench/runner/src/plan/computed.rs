//! What a run computes from its variables before it begins, and what it requires.

use crate::suite::expression::Failure;
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
        .try_for_each(|require| check(require, vars))?;
    // What cannot be computed because of a type is said now, not when the run has begun.
    for table in &file.meta {
        let value = table.value.as_ref();
        let computed = value.map(|text| vars.try_evaluate(text.get_ref()));
        if let Some(Err(Failure::Wrong(why))) = computed {
            let id = table.id.get_ref();
            return Err(exit::set_up(format!("[[meta]] {id}: {why}")));
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::given::Given;
    use crate::suite::tests::suite;
    use crate::suite::vars::{Origin, Point};

    const SUITE: &str = r#"
[env.USERS]
type = "int"
[env.PAUSE]
type = "int"
default = "{pause}"
[env.NAMES]
type = "list"
becomes = "NAMES[:USERS]"
[computed]
pause = "USERS * 1000"
whole = "PAUSE + 1"
names = "NAMES|length"
[[require]]
that = "whole <= 5001"
say = "PAUSE=${PAUSE} is too long: {whole} ms"
[[require]]
that = "USERS >= 1"
say = "USERS=${USERS}: allowed: 1 or more"
[[meta]]
id = "more"
value = "names + 1"
[[scenario]]
id = "smoke"
script = "s.js"
limit = "30s"
"#;

    fn computed(text: &str, set: &[(&str, &str)]) -> anyhow::Result<Vars> {
        let file = suite(text).expect("suite").file;
        let set = set
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let given = Given {
            set: set.collect(),
            ..Given::default()
        };
        let mut vars = Vars::resolve(&file, &file.scenario[0], &Point::new(), &given)?;
        compute(&file, &mut vars)?;
        Ok(vars)
    }

    #[test]
    fn values_follow_from_variables_and_variables_from_values() {
        let vars = computed(SUITE, &[("USERS", "2"), ("NAMES", "a,b,c")]).expect("computed");
        let known = ["pause", "whole", "names"].map(|name| vars.known().text(name));
        assert_eq!(
            known,
            ["2000", "2001", "2"].map(|text| Some(text.to_owned()))
        );
        let given = ["PAUSE", "NAMES"].map(|name| (vars.text(name), vars.origin(name)));
        assert_eq!(
            given,
            ["2000", "a,b"].map(|text| (Some(text.to_owned()), Some(Origin::Computed)))
        );
        let vars = computed(SUITE, &[("USERS", "2"), ("NAMES", "a,b"), ("PAUSE", "7")]);
        let vars = vars.expect("computed");
        assert_eq!(vars.known().text("whole").as_deref(), Some("8"));
        assert_eq!(
            vars.origin("NAMES"),
            Some(Origin::CommandLine),
            "it stayed what it was"
        );
    }

    #[test]
    fn what_does_not_hold_is_refused_in_the_words_of_the_suite() {
        for (set, expected) in [
            (
                &[("USERS", "6"), ("NAMES", "a")][..],
                "PAUSE=6000 is too long: 6001 ms",
            ),
            // Said before anything is computed, so before NAMES is looked for.
            (&[("USERS", "0")], "USERS=0: allowed: 1 or more"),
            (&[("USERS", "1")], "NAMES is missing; give --set NAMES=…"),
            (&[("NAMES", "a")], "USERS is missing"),
        ] {
            let error = computed(SUITE, set).expect_err("refused");
            assert_eq!(exit::code_of(&error), exit::SET_UP);
            assert!(
                error.to_string().starts_with(expected),
                "{expected}: {error}"
            );
        }
    }

    #[test]
    fn a_value_of_a_type_that_does_not_fit_is_refused() {
        for (from, to, expected) in [
            ("USERS * 1000", "NAMES - 1", "`NAMES - 1`: "),
            (
                "whole <= 5001",
                "whole + 1",
                "is true or false, received `2002`",
            ),
            ("names + 1", "NAMES + 1", "[[meta]] more: "),
            ("NAMES[:USERS]", "max(NAMES, USERS)", "max takes numbers"),
        ] {
            let text = SUITE.replace(from, to);
            let error = computed(&text, &[("USERS", "2"), ("NAMES", "a")]).expect_err("refused");
            assert_eq!(exit::code_of(&error), exit::SET_UP);
            assert!(error.to_string().contains(expected), "{expected}: {error}");
        }
    }
}
