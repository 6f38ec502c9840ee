//! Reports: what a plan's evidence says, for people (HTML, Markdown) and for programs (JSON).
//!
//! [`figures`] reads the evidence; the other two forms show nothing that is not in it or in the monitors' series. A
//! report is derived from evidence, so unlike evidence it may be written again.

mod answer;
pub(crate) mod artefacts;
pub(crate) mod board;
mod bottleneck;
pub(crate) mod chart;
mod documents;
mod figures;
mod hover;
mod html;
mod junit;
mod ladder;
mod markdown;
mod over_time;
mod series;
pub(crate) mod template;
mod view;

use std::path::Path;

use anyhow::Context as _;

use crate::compare::stored::Stored;
use crate::events::{Event, Stream};
use crate::suite::Suite;
use crate::suite::schema::Format;
pub(crate) use crate::suite::section::Section;
use crate::values::exit;
use crate::values::text::shown;
use crate::values::writer;
use board::Board;
use figures::Figures;

/// The verb `report`: writes the report of a folder again.
///
/// # Errors
/// The folder holds no evidence, the suite declares no report, or a file cannot be written.
pub(crate) fn report(folder: &Path, allowed: &[String], stream: &Stream) -> anyhow::Result<i32> {
    let stored = Stored::open(folder)?;
    if stored.suite.file.report.is_none() {
        return Err(exit::set_up(format!(
            "{} declares no report: it has no table [report]",
            stored.suite.path.display()
        )));
    }
    write(&stored, allowed, stream)
}

/// At the end of a plan: the comparison in words and the report, if the suite declares one.
///
/// # Errors
/// The evidence cannot be read again or the report cannot be written.
pub(crate) fn of_plan(suite: &Suite, folder: &Path, stream: &Stream) -> anyhow::Result<i32> {
    if suite.file.report.is_none() && !limited(suite) && suite.file.suite.regression.is_none() {
        return Ok(exit::OK);
    }
    let code = write(&Stored::open(folder)?, &[], stream)?;
    let report = suite.file.report.as_ref();
    let mut sections = report.into_iter().flat_map(|table| &table.sections);
    if sections.any(|name| Section::parse(name.get_ref()) == Ok(Section::Board))
        && let Some(root) = folder.parent()
    {
        let board = Board::of(suite, root)?;
        stream.tell(Event::Compared {
            lines: board.lines(),
        });
        let path = root.join(board::FILE);
        board.write(&path)?;
        stream.tell(Event::ReportWritten { path: shown(&path) });
    }
    Ok(code)
}

/// What the comparisons of a plan contribute to the exit code; nothing is written.
///
/// # Errors
/// The evidence cannot be read.
pub(crate) fn code_of_plan(suite: &Suite, folder: &Path) -> anyhow::Result<i32> {
    if !limited(suite) {
        return Ok(exit::OK);
    }
    Ok(Figures::of(&Stored::open(folder)?, &[])?.code())
}

/// Whether the suite sets a limit to a comparison.
fn limited(suite: &Suite) -> bool {
    let mut tables = suite.file.compare.iter();
    tables.any(|table| table.worse_than.is_some())
}

/// Writes the forms of the report that the suite asks for; the exit code follows the verdict on the plan.
fn write(stored: &Stored, allowed: &[String], stream: &Stream) -> anyhow::Result<i32> {
    let figures = Figures::of(stored, allowed)?;
    let code = figures.code();
    stream.tell(Event::Compared {
        lines: figures.headline.clone(),
    });
    let Some(table) = &stored.suite.file.report else {
        return Ok(code);
    };
    let sections: Vec<Section> = table
        .sections
        .iter()
        .filter_map(|name| Section::parse(name.get_ref()).ok())
        .collect();
    let mut written: Vec<(&str, String)> = Vec::new();
    for format in &table.formats {
        written.push(match format {
            Format::Html => ("report.html", html::render(&figures, stored, &sections)?),
            Format::Md => ("report.md", markdown::render(&figures, stored, &sections)?),
            Format::Json => (
                "figures.json",
                format!("{:#}\n", serde_json::to_value(&figures).context("figures")?),
            ),
        });
    }
    for document in &table.document {
        let text = documents::render(document, &figures, stored)?;
        written.push((document.file.get_ref(), text));
    }
    for (name, text) in written {
        let path = stored.root.join(name);
        writer::whole(&path, text.as_bytes(), true)
            .with_context(|| format!("writing {}", path.display()))?;
        stream.tell(Event::ReportWritten { path: shown(&path) });
    }
    Ok(code)
}
