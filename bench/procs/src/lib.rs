//! Child processes that never outlive their parent, and a private Redis among them.
//!
//! What the runner and the benchmark of the barrier start besides themselves (k6, targets, servers) they start here:
//! [`Supervised`] is any child, [`PrivateRedis`] a server that is ready and gone with its guard. Signals are the
//! caller's to catch: children have process groups of their own, so that a Ctrl-C in a terminal does not reach them.

mod redis;
mod supervised;

use std::io;
use std::path::{Path, PathBuf};

pub use redis::PrivateRedis;
pub use supervised::{EachLine, Output, Supervised};

/// Why a process could not be started or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused something.
    #[error("{doing}")]
    System {
        /// What was tried.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// The program was started, and ended or did not answer.
    #[error("{} did not start; its last words:\n{last_words}", program.display())]
    NotStarted {
        /// The program.
        program: PathBuf,
        /// The end of its log.
        last_words: String,
    },
}

/// Adds what was tried to what the system says.
fn doing<T>(what: impl FnOnce() -> String, result: io::Result<T>) -> Result<T, Error> {
    result.map_err(|source| Error::System {
        doing: what(),
        source,
    })
}

/// Where a program is on the path.
#[must_use]
pub fn find_on_path(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// The last lines of a log, for an error text; says so where there are none.
#[must_use]
pub fn last_lines(log: &Path, lines: usize) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    match &all[all.len().saturating_sub(lines)..] {
        [] => "(no output)".to_owned(),
        last => last.join("\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_on_the_path() {
        let shell = find_on_path("sh").expect("every machine has one");
        assert!(shell.is_absolute() && shell.ends_with("sh"), "{shell:?}");
        assert_eq!(find_on_path("no-such-program-anywhere"), None);
    }

    #[test]
    fn the_last_lines_are_those_that_say_why() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        assert_eq!(last_lines(&log, 2), "(no output)");
        std::fs::write(&log, "one\ntwo\nthree\n").expect("a log");
        assert_eq!(last_lines(&log, 2), "two\nthree");
        assert_eq!(last_lines(&log, 9), "one\ntwo\nthree");
    }
}
