//! Checks of everything that gives values a name: presets, expressions, requirements and lists.

use toml::Spanned;

use super::check_plan::given;
use super::problem::{Problem, RUN_VALUES, known, placeholders, problem, variable};
use super::schema::File;
use super::scope::EARLIER_RUN;
use super::{expression as language, waits};
use crate::values::template::variables;
use crate::values::text::suggestion;
use crate::values::value::{Kind, plain};

/// Checks the tables that name values.
pub(super) fn names(file: &File) -> Result<(), Problem> {
    if let Some(text) = &file.suite.scenario {
        one_variable(file, text)?;
    }
    presets(file)?;
    computed(file)?;
    for table in file.env.values() {
        if let Some(becomes) = &table.becomes {
            if table.secret || table.kind == Kind::Url {
                return Err(problem(
                    becomes,
                    "a secret or an address stays as it is: expressions see it masked",
                ));
            }
            let taken = taken(file, becomes, &[])?;
            waits_for_nothing(file, becomes, &taken)?;
        }
    }
    for require in &file.require {
        expression(file, &require.that)?;
        placeholders(file, &require.say, &[])?;
    }
    each(file)
}

/// An expression over all variables and everything that is computed.
pub(super) fn expression(file: &File, text: &Spanned<String>) -> Result<(), Problem> {
    let computed = file.computed();
    let computed: Vec<&str> = computed
        .iter()
        .map(|(name, _)| name.get_ref().as_str())
        .collect();
    taken(file, text, &computed).map(drop)
}

fn presets(file: &File) -> Result<(), Problem> {
    let chooser = file.suite.preset.as_ref();
    if let Some(text) = chooser {
        placeholders(file, text, &[])?;
    }
    let choosing = variables(chooser.map_or("", |text| text.get_ref()));
    for (name, values) in &file.preset {
        if choosing.is_empty() {
            return Err(problem(
                name,
                "nothing chooses a preset: `preset` in [suite] names the variable, as in \"${NAME}\"",
            ));
        }
        // Where the one variable that chooses has a closed list of values, a preset beyond it is a slip.
        if let [variable] = choosing.as_slice()
            && let Some(allowed) = file
                .env
                .get(*variable)
                .and_then(|table| table.allowed.as_ref())
        {
            let allowed: Vec<String> = allowed.iter().map(plain).collect();
            let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
            known(
                name,
                &allowed,
                "value of the variable that chooses a preset",
            )?;
        }
        for (variable, value) in values {
            given(file, variable, value)?;
            if choosing.contains(&variable.get_ref().as_str()) {
                let text = format!(
                    "{} chooses the preset and cannot be in one",
                    variable.get_ref()
                );
                return Err(problem(variable, text));
            }
        }
    }
    Ok(())
}

/// Each takes variables and what stands before it, so that there is no circle.
fn computed(file: &File) -> Result<(), Problem> {
    let mut before: Vec<&str> = Vec::new();
    for (name, text) in file.computed() {
        let own = name.get_ref().as_str();
        let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !own.chars().all(lower) || own.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(problem(
                name,
                format!("`{own}`: a computed value has a lower-case name"),
            ));
        }
        let others: Vec<&str> =
            [RUN_VALUES, &language::FUNCTIONS, &[EARLIER_RUN, "run_id"]].concat();
        if others.contains(&own) || file.each.contains_key(own) {
            return Err(problem(
                name,
                format!("`{own}` has another meaning already"),
            ));
        }
        for taken in taken(file, text, &before)? {
            let needed = waits::computed_for(file, &taken);
            if let Some(later) = needed
                .iter()
                .find(|needed| !before.contains(&needed.as_str()))
            {
                return Err(problem(
                    text,
                    format!(
                        "`{own}` takes {taken}, which may need {{{later}}}: that is not computed before it"
                    ),
                ));
            }
        }
        before.push(own);
    }
    Ok(())
}

/// The names that an expression takes, all of which have a meaning; `computed`: what it may take of the computed values.
fn taken(file: &File, text: &Spanned<String>, computed: &[&str]) -> Result<Vec<String>, Problem> {
    let names = language::names(text.get_ref())
        .map_err(|why| problem(text, format!("`{}`: {why}", text.get_ref())))?;
    for name in &names {
        let name = name.as_str();
        if file.env.contains_key(name) || RUN_VALUES.contains(&name) || computed.contains(&name) {
            continue;
        }
        if file
            .computed()
            .iter()
            .any(|(later, _)| later.get_ref() == name)
        {
            return Err(problem(
                text,
                format!("`{}`: `{name}` is not computed before it", text.get_ref()),
            ));
        }
        let variables = file.env.keys().map(|key| key.get_ref().as_str());
        let allowed: Vec<&str> = variables
            .chain(RUN_VALUES.iter().chain(computed).copied())
            .collect();
        return Err(problem(
            text,
            format!(
                "`{}`: no variable, run value or computed value `{name}`{}",
                text.get_ref(),
                suggestion(name, &allowed)
            ),
        ));
    }
    Ok(names.into_iter().collect())
}

/// What a variable becomes is known before anything is computed.
fn waits_for_nothing(file: &File, text: &Spanned<String>, taken: &[String]) -> Result<(), Problem> {
    for name in taken {
        if let Some(needed) = waits::computed_for(file, name).first() {
            return Err(problem(
                text,
                format!(
                    "`becomes` takes {name}, which may need {{{needed}}}: that is computed only after it"
                ),
            ));
        }
    }
    Ok(())
}

/// The variable of a text that is nothing else.
fn one_variable<'a>(file: &File, text: &'a Spanned<String>) -> Result<&'a str, Problem> {
    match variables(text.get_ref()).as_slice() {
        [one] if *text.get_ref() == format!("${{{one}}}") => {
            variable(file, text, one)?;
            Ok(one)
        }
        _ => Err(problem(
            text,
            format!(
                "`{}`: allowed: one variable, as in \"${{NAME}}\"",
                text.get_ref()
            ),
        )),
    }
}

fn each(file: &File) -> Result<(), Problem> {
    for (name, text) in &file.each {
        let list = one_variable(file, text)?;
        if file.env[list].kind != Kind::List {
            return Err(problem(text, format!("{list} is not of type list")));
        }
        if RUN_VALUES.contains(&name.get_ref().as_str()) || name.get_ref() == EARLIER_RUN {
            return Err(problem(
                name,
                format!("`{}` has another meaning already", name.get_ref()),
            ));
        }
    }
    Ok(())
}
