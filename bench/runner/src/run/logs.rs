//! The part of a log file that was written during a run.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use crate::evidence::{Folder, component};
use crate::suite::Suite;
use crate::suite::schema::{TargetKind, TargetTable};
use crate::suite::vars::{RunValues, Vars};

/// More than this is not kept of one log; the end is, because it tells how it came out.
const MOST: u64 = 64 << 20;

/// Log files with whose they are, and their lengths when the run began.
#[derive(Debug, Default)]
pub(crate) struct Slices(Vec<(String, PathBuf, u64)>);

/// A log in the evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) target: String,
    pub(super) file: String,
}

/// The output of the programs that the runner starts, which it writes itself.
pub(super) fn of_started(targets: &[&TargetTable]) -> Vec<Kept> {
    let started = targets.iter().filter(|target| target.is_started());
    started
        .map(|target| Kept {
            target: target.id.clone(),
            file: own(target),
        })
        .collect()
}

/// The logs that a target was given by a person.
/// A path that the suite itself says begins where all of its paths do, one that a variable gives where the caller is.
fn given(suite: &Suite, target: &TargetTable, vars: &Vars) -> Vec<PathBuf> {
    let paths = target.logs.iter().filter_map(|log| {
        let path = vars.expand(log.get_ref(), &RunValues::new()).ok()?;
        Some(if log.get_ref().contains("${") {
            PathBuf::from(path)
        } else {
            suite.resolve(&path)
        })
    });
    paths.collect()
}

/// The logs of a target while it runs: those that a person names, or the output of a program that the runner started.
pub(super) fn of_target(
    suite: &Suite,
    target: &TargetTable,
    vars: &Vars,
    folder: &Folder,
) -> Vec<PathBuf> {
    if target.kind == TargetKind::External {
        return given(suite, target, vars);
    }
    vec![folder.partial(&own(target))]
}

/// What the output of a program is kept as that the runner starts.
pub(crate) fn own(target: &TargetTable) -> String {
    format!("{}.log", component(&target.id))
}

impl Slices {
    /// Notes how long the logs are now. A file that is not there yet begins with 0.
    pub(crate) fn begin(suite: &Suite, targets: &[&TargetTable], vars: &Vars) -> Self {
        let paths = targets.iter().flat_map(|target| {
            let paths = given(suite, target, vars).into_iter();
            paths.map(|path| (target.id.clone(), path))
        });
        Self(
            paths
                .map(|(target, path)| {
                    let length = std::fs::metadata(&path).map_or(0, |file| file.len());
                    (target, path, length)
                })
                .collect(),
        )
    }

    /// Keeps what has been written since. A log that cannot be read is noted in its place, one that cannot be kept is among
    /// the faults of the folder.
    pub(super) fn end(self, folder: &Folder) -> Vec<Kept> {
        let mut kept = Vec::new();
        for (number, (target, path, from)) in self.0.into_iter().enumerate() {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let name = format!("log-{}-{}", number + 1, component(&name));
            let text = slice(&path, from).unwrap_or_else(|error| {
                format!("[log] {}: {error}\n", path.display()).into_bytes()
            });
            let _ = folder.write(&name, &text);
            kept.push(Kept { target, file: name });
        }
        kept
    }
}

fn slice(path: &PathBuf, from: u64) -> std::io::Result<Vec<u8>> {
    // A pipe or a device would be waited for.
    if !std::fs::metadata(path)?.is_file() {
        let why = "no regular file, so nothing is kept of it; name a file that is written to";
        return Err(std::io::Error::other(why));
    }
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    // A shorter file was replaced by a new one.
    let from = if length < from { 0 } else { from };
    let mut text = Vec::new();
    if length - from > MOST {
        text.extend(format!("[log] {} bytes left out\n", length - from - MOST).into_bytes());
    }
    file.seek(SeekFrom::Start(from.max(length.saturating_sub(MOST))))?;
    file.take(MOST).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Invocation;

    #[test]
    fn only_what_was_written_meanwhile_is_kept() {
        let root = tempfile::tempdir().expect("folder");
        let path = |name: &str| root.path().join(name);
        std::fs::write(path("a.log"), "before\n").expect("written");
        std::fs::write(path("b.log"), "a long old log\n").expect("written");
        let of = |name: &str, from: u64| ("shop".to_owned(), path(name), from);
        let slices = Slices(vec![of("a.log", 7), of("b.log", 15), of("c.log", 0)]);
        std::fs::write(path("a.log"), "before\nduring\n").expect("written");
        std::fs::write(path("b.log"), "new\n").expect("written");
        let folder = Invocation::create(&path("evidence"), "t")
            .and_then(|invocation| invocation.run_folder("r", 1))
            .expect("folder");
        let names = slices.end(&folder).into_iter().map(|kept| kept.file);
        let names: Vec<String> = names.collect();
        assert_eq!(names, ["log-1-a.log", "log-2-b.log", "log-3-c.log"]);
        let kept = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect(name);
        assert_eq!(kept("log-1-a.log"), "during\n");
        assert_eq!(kept("log-2-b.log"), "new\n");
        assert!(
            kept("log-3-c.log").starts_with("[log] "),
            "{}",
            kept("log-3-c.log")
        );
    }

    #[test]
    fn nobody_waits_for_a_log_that_is_a_pipe() {
        let root = tempfile::tempdir().expect("folder");
        let path = root.path().join("a.pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.is_ok_and(|made| made.success()), "a pipe");
        let (done, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || done.send(slice(&path, 0).map_err(|error| error.to_string())));
        let kept = told.recv_timeout(std::time::Duration::from_secs(20));
        let why = kept.expect("nobody waits").expect_err("no file");
        assert!(why.contains("no regular file"), "{why}");
    }
}
