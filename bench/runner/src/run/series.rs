//! k6's values over time: which output k6 writes them to, and that no secret is left in it.

use std::collections::BTreeSet;

use anyhow::Context as _;

use crate::evidence::Folder;
use crate::plan::PlannedRun;
use crate::run::k6::Call;
use crate::series::{LINES, LOG};
use crate::suite::Suite;
use crate::suite::over_time::{OUTPUT, is_recorded, tags};
use crate::suite::scenario::ScenarioTable;
use crate::suite::vars::Vars;
use crate::values::exit;
use crate::values::mask::masked_json_line;

/// Asks k6 for its values over time, if a scenario needs them. k6 writes them where they are kept: what there is of them outlives
/// whatever ends the run.
///
/// # Errors
/// The folder of the run has no absolute path.
pub(super) fn add(
    call: &mut Call,
    suite: &Suite,
    scenario: &ScenarioTable,
    folder: &Folder,
) -> anyhow::Result<()> {
    if !is_recorded(&suite.file, scenario) {
        return Ok(());
    }
    // k6 works in a folder of its own.
    let path = std::path::absolute(folder.path().join(LOG))
        .with_context(|| format!("resolving {}", folder.path().display()))?;
    let tags = tags(&suite.file).join(",");
    call.output(&format!("{OUTPUT}={}?tags={tags}", path.display()));
    Ok(())
}

/// The variable with a further output of k6, in the suites that declare it.
const FURTHER: &str = "K6_OUT";

/// Lets k6 write its values to where somebody wants them as well; nothing of it is read back. Files are named from the folder on in which
/// the runner was called: k6 works in one of its own.
///
/// # Errors
/// The suite does not allow its host, or there is no folder to name a file from.
pub(super) fn further(call: &mut Call, suite: &Suite, vars: &Vars) -> anyhow::Result<()> {
    let Some(output) = vars.text(FURTHER).filter(|output| !output.is_empty()) else {
        return Ok(());
    };
    suite.allow(FURTHER, &output)?;
    match file_of(&output) {
        Some((kind, file)) => {
            let file = std::path::absolute(file).with_context(|| format!("resolving {file}"))?;
            call.output(&format!("{kind}={}", file.display()));
        }
        _ => call.output(&output),
    }
    Ok(())
}

/// The file that a further output names, behind its kind; `None` of a server, and of k6's own output.
fn file_of(output: &str) -> Option<(&str, &str)> {
    let named = |(kind, file): &(&str, &str)| ["json", "csv"].contains(kind) && *file != "-";
    output.split_once('=').filter(named)
}

/// Refuses a file that several runs would write to, each over what the one before has written.
///
/// # Errors
/// There is such a file.
pub(crate) fn one_file_each<'a>(
    runs: impl Iterator<Item = &'a PlannedRun<'a>>,
) -> anyhow::Result<()> {
    let outputs = runs.filter(|run| run.script.is_some());
    let mut known = BTreeSet::new();
    for output in outputs.filter_map(|run| run.vars.text(FURTHER)) {
        if file_of(&output).is_some() && known.contains(&output) {
            return Err(exit::set_up(format!(
                "{FURTHER}={output}: more than one run would write to this file, each over what the one before has written; ask for one run, as by --scenario, or give an output for several, such as a server or json=-"
            )));
        }
        known.insert(output);
    }
    Ok(())
}

/// Masks what k6 wrote of the tags' values, once it has ended. A failure is among the faults of the folder.
pub(super) fn settle(folder: &Folder) {
    let Some(text) = folder.text(LINES) else {
        return;
    };
    // All else are figures, which are many.
    let mut described = text.lines().filter(|line| line.contains("\"tags\""));
    if described.any(|line| masked_json_line(line) != line) {
        let _ = folder.update(LINES, text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_is_one_that_several_runs_cannot_share() {
        assert_eq!(file_of("json=a/b.json"), Some(("json", "a/b.json")));
        assert_eq!(file_of("csv=b"), Some(("csv", "b")));
        for shared in ["json=-", "csv=-", "influxdb=http://h:1/db", "json"] {
            assert_eq!(file_of(shared), None, "{shared}");
        }
    }
}
