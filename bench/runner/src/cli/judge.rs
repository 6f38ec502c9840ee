//! The verb `judge`: what stored evidence says, once more.

use std::path::Path;

use crate::session;
use crate::terminal::{self, say};
use crate::verdict::stored::Now;

/// Judges the run of a folder, or the runs of a plan, and says what follows. Nothing is written.
///
/// # Errors
/// The folder holds neither, or its evidence cannot be read.
pub(super) fn judge(folder: &Path, suite: Option<&str>) -> anyhow::Result<i32> {
    let again = session::again::judge(folder, suite)?;
    for run in &again.judged.runs {
        match &run.now {
            Now::Nothing {
                title,
                doubts,
                killed: true,
            } if doubts.is_empty() => say(&format!(
                "verdict  INTERRUPTED  {title}\n         the runner was ended before it could judge, or still runs (`barrier-bench status {title}`); what was measured until then is there"
            )),
            Now::Nothing { title, doubts, .. } if doubts.is_empty() => say(&format!(
                "verdict  {}  {title}\n         k6 did not come to its end, so there is nothing to judge",
                run.before.as_deref().unwrap_or("NOT_RUN")
            )),
            Now::Nothing { title, doubts, .. } => say(&format!(
                "verdict  INVALID  {title}\n         {}",
                doubts.join("\n         ")
            )),
            Now::Judged {
                run: now, notes, ..
            } => {
                terminal::judged(now).iter().for_each(|line| say(line));
                for note in notes {
                    say(&format!("beware   {note}; the verdict does not rest on it"));
                }
                say(&match &run.before {
                    Some(before) if *before == now.verdict => {
                        format!("stored   the same verdict, {before}")
                    }
                    Some(before) => format!(
                        "stored   differs: the stored verdict is {before}, judged again it is {}",
                        now.verdict
                    ),
                    None => "stored   no verdict".to_owned(),
                });
            }
        }
    }
    let (begun, never) = (again.judged.runs.len(), &again.judged.never_begun);
    for folder in never {
        say(&format!("verdict  NOT_RUN  {folder}\n         never begun"));
    }
    for folder in &again.judged.strangers {
        say(&format!(
            "verdict  INVALID  {folder}\n         its folder is not in the plan"
        ));
    }
    if !never.is_empty() {
        say(&format!(
            "plan     not whole: {begun} of {} runs were begun; `barrier-bench resume` goes on",
            begun + never.len()
        ));
    }
    for folder in &again.torn {
        say(&format!(
            "plan     {folder}: of an earlier attempt at its block than the runs beside it; `barrier-bench resume` makes the block again"
        ));
    }
    for text in &again.judged.ladders {
        say(&format!("ladder   {text}"));
    }
    if let Some(verdict) = &again.verdict {
        say(&verdict.to_string());
    }
    Ok(again.code)
}
