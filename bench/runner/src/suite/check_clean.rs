//! Checks of cleaning: what may be touched, and that nothing else can be.

use toml::Spanned;

use super::problem::{Problem, each, placeholders, placeholders_in, problem, variable};
use super::schema::{CleanKind, CleanTable, File, Schema};
use super::scope::{Condition, EARLIER_RUN, Scope, Watched, is_reading_command};
use super::statement;
use crate::values::duration::parse_time;

/// Checks what is cleaned before and after runs.
pub(super) fn tables(file: &File) -> Result<(), Problem> {
    let each = each(file);
    let in_scope = [each.as_slice(), &[EARLIER_RUN]].concat();
    for clean in &file.clean {
        placeholders(file, &clean.target, &[])?;
        kind(file, clean)?;
        let condition =
            Condition::parse(clean.when.get_ref()).map_err(|text| problem(&clean.when, text))?;
        if let Some(name) = condition.variable() {
            variable(file, &clean.when, name)?;
        }
        for scope in &clean.scope {
            placeholders(file, scope, &in_scope)?;
            Scope::parse(scope.get_ref(), &each).map_err(|text| problem(scope, text))?;
        }
        for statement in &clean.statements {
            let sql = clean.kind == CleanKind::Sql;
            placeholders(file, statement, if sql { &[] } else { &each })?;
            // What SQL reads is told by its session, which cannot write.
            if sql {
                statement::one(statement.get_ref()).map_err(|why| problem(statement, why))?;
            } else {
                reads(statement)?;
            }
        }
        for statement in &clean.reset {
            placeholders(file, statement, &[])?;
            statement::sql(statement.get_ref()).map_err(|why| problem(statement, why))?;
        }
        schema(file, clean)?;
        if let Some(settle) = &clean.settle {
            for field in &settle.of {
                placeholders(file, field, &each)?;
                if !matches!(Watched::parse(field.get_ref()), Ok(Watched::Field { .. })) {
                    let text = format!("`{}`: allowed: HASH[{{item}}]", field.get_ref());
                    return Err(problem(field, text));
                }
            }
            for full in &settle.one_of {
                placeholders(file, full, &[])?;
            }
            placeholders(file, &settle.say, &[])?;
        }
    }
    Ok(())
}

/// Whether a table has the keys that its kind takes, and no others.
fn kind(file: &File, clean: &CleanTable) -> Result<(), Problem> {
    let refuse = |text: &str| Err(problem(&clean.when, format!("clean {}: {text}", clean.id)));
    if clean.kind == CleanKind::Redis {
        if clean.schema.is_some() || clean.limit.is_some() {
            return refuse("`schema` and `limit` need `kind = \"sql\"`");
        }
        return if clean.reset.is_empty() {
            Ok(())
        } else {
            refuse("`reset` needs `kind = \"sql\"`; in Redis `scope` says what is deleted or set")
        };
    }
    if !clean.scope.is_empty() || !clean.types.is_empty() || clean.settle.is_some() {
        return refuse("`scope`, `types` and `settle` need `kind = \"redis\"`");
    }
    if clean.reset.is_empty() {
        return refuse("`kind = \"sql\"` needs `reset`, the statements that change data");
    }
    if !clean.when.get_ref().starts_with("before_run") {
        return refuse("a database is reset before a run alone: `when = \"before_run\"`");
    }
    if file.suite.allow_databases.is_empty() {
        return refuse("needs `allow_databases` of [suite], the databases that may be reset");
    }
    Ok(())
}

/// Checks what makes the tables, and how long that may take.
fn schema(file: &File, clean: &CleanTable) -> Result<(), Problem> {
    if let Some(place) = &clean.schema {
        let texts = match clean.schema() {
            Some(Schema::File(text)) => vec![text],
            Some(Schema::Program(words)) => words,
            None => {
                let text = "`schema` is a file of SQL, or a list: a program with its arguments";
                return Err(problem(place, text));
            }
        };
        for text in texts {
            placeholders_in(file, place, text, &[])?;
        }
    }
    if let Some(limit) = &clean.limit {
        let time = parse_time(limit.get_ref()).map_err(|why| problem(limit, why))?;
        if time.is_zero() {
            return Err(problem(limit, "`limit` must be more than 0"));
        }
    }
    Ok(())
}

/// Whether a command of Redis only reads.
pub(super) fn reads(statement: &Spanned<String>) -> Result<(), Problem> {
    if is_reading_command(statement.get_ref()) {
        return Ok(());
    }
    Err(problem(
        statement,
        format!(
            "`{}`: only commands that read are allowed here; what is deleted or set goes to `scope` of [[clean]]",
            statement.get_ref()
        ),
    ))
}
