//! What is made of a run once its load is over: answers of a database, lines of logs, each in a text file of the evidence. What
//! goes wrong is told there and beside the verdict, and loses nothing.

use anyhow::Context as _;
use regex::RegexSet;

use crate::evidence::Folder;
use crate::plan::PlannedRun;
use crate::run::logs::Kept;
use crate::run::sql::client::{Database, Pause};
use crate::suite::Suite;
use crate::suite::post::{PostKind, PostTable};
use crate::suite::scenario::looks_at;
use crate::suite::vars::RunValues;
use crate::values::exit::Stop;
use crate::values::mask::masked;

/// Asks the databases, while everything still runs. Returns what went wrong, in words.
///
/// # Errors
/// `pause` fails by a signal; the files until then are whole.
pub(super) fn databases(
    suite: &Suite,
    run: &PlannedRun<'_>,
    folder: &Folder,
    pause: Pause<'_>,
) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    for table in of_run(suite, run, PostKind::Sql) {
        let (text, ended) = match database(suite, run, table, pause) {
            Ok(said) => said,
            Err(error) => (String::new(), Err(error)),
        };
        let interrupted = matches!(
            ended.as_ref().err().and_then(|error| error.downcast_ref()),
            Some(Stop::Interrupted)
        );
        wrong.extend(keep(folder, table, &text, ended.as_ref().err()));
        if interrupted {
            ended?;
        }
    }
    Ok(wrong)
}

/// Goes through the logs, once they are complete. Returns what went wrong, in words.
pub(super) fn logs(
    suite: &Suite,
    run: &PlannedRun<'_>,
    folder: &Folder,
    kept: &[Kept],
) -> Vec<String> {
    let tables = of_run(suite, run, PostKind::Log);
    tables
        .filter_map(|table| match lines(table, folder, kept) {
            Ok(text) => keep(folder, table, &text, None),
            Err(error) => keep(folder, table, "", Some(&error)),
        })
        .collect()
}

fn of_run<'s>(
    suite: &'s Suite,
    run: &PlannedRun<'_>,
    kind: PostKind,
) -> impl Iterator<Item = &'s PostTable> {
    let scenario = run.scenario.id.get_ref().clone();
    let posts = suite.file.post.iter();
    posts.filter(move |table| table.kind == kind && looks_at(&table.scenarios, &scenario))
}

/// What a database answers, and what kept it from its end, if anything did.
fn database(
    suite: &Suite,
    run: &PlannedRun<'_>,
    table: &PostTable,
    pause: Pause<'_>,
) -> anyhow::Result<(String, anyhow::Result<()>)> {
    let none = RunValues::new();
    let address = run.vars.expand(table.source.get_ref(), &none)?;
    let statements = table.file.as_ref().context("a step of SQL has a file")?;
    let file = suite.resolve(&run.vars.expand(statements.get_ref(), &none)?);
    let what = format!("post {}", table.id.get_ref());
    Database::new(suite, &what, &address)?.file(&file, table.limit, pause)
}

/// The lines of a target's log that are asked for, in their order.
fn lines(table: &PostTable, folder: &Folder, kept: &[Kept]) -> anyhow::Result<String> {
    let words = table.words.iter().map(|word| word.get_ref());
    let words = RegexSet::new(words).context("reading `match`")?;
    let mut text = String::new();
    let own = kept
        .iter()
        .filter(|kept| kept.target == *table.source.get_ref());
    let mut any = false;
    for kept in own {
        any = true;
        let log = folder.text(&kept.file);
        let log = log.with_context(|| format!("{} is not there", kept.file))?;
        for line in log.lines().filter(|line| words.is_match(line)) {
            text.push_str(line);
            text.push('\n');
        }
    }
    anyhow::ensure!(any, "no log of {} is known", table.source.get_ref());
    Ok(text)
}

/// Writes the file of a step, and says what went wrong.
fn keep(
    folder: &Folder,
    table: &PostTable,
    text: &str,
    error: Option<&anyhow::Error>,
) -> Option<String> {
    let id = table.id.get_ref();
    let why = error.map(|error| masked(&format!("{error:#}")));
    let end = why
        .as_ref()
        .map_or_else(String::new, |why| format!("[post] failed: {why}\n"));
    // A failure is among the faults of the folder.
    let _ = folder.write(table.out.get_ref(), format!("{text}{end}").as_bytes());
    why.map(|why| format!("post step {id}: {why}"))
}
