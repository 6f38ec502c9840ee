//! Checks of what is made of a run once its load is over.

use regex::Regex;
use toml::Spanned;

use super::post::{PostKind, PostTable};
use super::problem::{Problem, known, placeholders, problem, unique};
use super::schema::File;

/// Checks every `[[post]]`.
pub(super) fn posts(file: &File, scenarios: &[&str]) -> Result<(), Problem> {
    unique(file.post.iter().map(|post| &post.id), "post step")?;
    unique(
        file.post.iter().map(|post| &post.out),
        "post step that writes",
    )?;
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
    if ending
        && !text.starts_with('.')
        && text.chars().all(of_name)
        && !own.contains(&text.as_str())
    {
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
    let targets: Vec<&str> = file
        .target
        .iter()
        .map(|target| target.id.as_str())
        .collect();
    known(&post.source, &targets, "target")
}
