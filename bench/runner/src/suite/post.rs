//! `[[post]]`: what is made of a run once its load is over.

use std::time::Duration;

use regex::Regex;
use serde::Deserialize;
use toml::Spanned;

use super::problem::{Problem, known, placeholders, problem, unique};
use super::schema::File;
use crate::values::duration;

/// `[[post]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PostTable {
    pub(crate) id: Spanned<String>,
    pub(crate) kind: PostKind,
    /// The address of a database, or the id of the target whose log is read.
    pub(crate) source: Spanned<String>,
    /// The statements, and commands of psql, that a database is asked.
    pub(crate) file: Option<Spanned<String>>,
    /// Regular expressions; a line of a log with one of them is kept.
    #[serde(rename = "match", default)]
    pub(crate) words: Vec<Spanned<String>>,
    /// The text file in the evidence.
    pub(crate) out: Spanned<String>,
    /// How long a database may take for it.
    #[serde(default = "minute", with = "duration")]
    pub(crate) limit: Duration,
    /// Scenarios it belongs to; all when empty.
    #[serde(default)]
    pub(crate) scenarios: Vec<Spanned<String>>,
}

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PostKind {
    /// A PostgreSQL.
    Sql,
    /// The log of a target.
    Log,
}

fn minute() -> Duration {
    Duration::from_secs(60)
}

/// Checks every `[[post]]`.
pub(super) fn posts(file: &File, scenarios: &[&str]) -> Result<(), Problem> {
    unique(file.post.iter().map(|post| &post.id), "post step")?;
    unique(file.post.iter().map(|post| &post.out), "post step that writes")?;
    for post in &file.post {
        for name in &post.scenarios {
            known(name, scenarios, "scenario")?;
        }
        out(&post.out)?;
        match post.kind {
            PostKind::Sql => sql(file, post)?,
            PostKind::Log => log(file, post)?,
        }
    }
    Ok(())
}

/// A text file is what people read, and not what a verdict derives from.
fn out(name: &Spanned<String>) -> Result<(), Problem> {
    let text = name.get_ref();
    let of_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let ending = [".txt", ".log"].iter().any(|ending| text.ends_with(ending));
    let own = ["stdout.txt", "meta.txt", "cleanup.txt"];
    if ending && !text.starts_with('.') && text.chars().all(of_name) && !own.contains(&text.as_str()) {
        return Ok(());
    }
    let allowed = format!(
        "`{text}`: allowed is the name of a text file of the run's folder: letters, digits, `.`, `_` and `-`, \
        then .txt or .log, but not {}",
        own.join(", ")
    );
    Err(problem(name, allowed))
}

fn sql(file: &File, post: &PostTable) -> Result<(), Problem> {
    let Some(statements) = &post.file else {
        let text = "`kind = \"sql\"` needs `file`, the statements that are asked";
        return Err(problem(&post.id, text));
    };
    if let Some(word) = post.words.first() {
        return Err(problem(word, "`match` is of post steps of kind log"));
    }
    placeholders(file, statements, &[])?;
    placeholders(file, &post.source, &[])?;
    if file.suite.allow_databases.is_empty() {
        let text = "needs `allow_databases` of [suite], the databases that may be asked";
        return Err(problem(&post.source, text));
    }
    Ok(())
}

fn log(file: &File, post: &PostTable) -> Result<(), Problem> {
    if let Some(statements) = &post.file {
        return Err(problem(statements, "`file` is of post steps of kind sql"));
    }
    if post.words.is_empty() {
        let text = "`kind = \"log\"` needs `match`, what a line has to have that is kept";
        return Err(problem(&post.id, text));
    }
    for word in &post.words {
        Regex::new(word.get_ref())
            .map_err(|why| problem(word, format!("`{}`: {why}", word.get_ref())))?;
    }
    let targets: Vec<&str> = file.target.iter().map(|target| target.id.as_str()).collect();
    known(&post.source, &targets, "target")
}
