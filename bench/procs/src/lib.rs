//! Child processes that never outlive their parent, a private Redis and a private PostgreSQL among them.
//!
//! What the runner and the benchmark of the barrier start besides themselves (k6, targets, servers) they start here:
//! [`Supervised`] is any child, [`PrivateRedis`] and [`PrivatePostgres`] are servers that are ready and gone with their guards;
//! [`MachineLock`] keeps two measurements from running at once, and an [`Identity`] tells whether a process is still the one that it
//! was. Signals are the caller's to catch: children have process groups of their own, so that a Ctrl-C in a terminal does not reach
//! them.

mod affinity;
mod identity;
mod limits;
mod lock;
mod postgres;
mod redis;
mod supervised;

use std::ffi::OsString;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

pub use affinity::{Bound, allowed_processors};
pub use identity::Identity;
pub use limits::{Applied, Limited, Limits};
pub use lock::{LOCK_VARIABLE, LastHolder, MachineLock};
pub use postgres::{DATABASE_NAMES, PrivatePostgres, is_database_name};
pub use redis::PrivateRedis;
pub use supervised::{EachLine, Output, Supervised, end_with_parent};

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
    /// An environment variable names a program that is not there.
    #[error("{variable}={}: no such file", program.display())]
    NoSuchProgram {
        /// The variable.
        variable: String,
        /// What it says.
        program: PathBuf,
    },
    /// Another process measures on this machine.
    #[error("another run is active: {holder}; wait for it, or interrupt it")]
    Busy {
        /// What it says about itself.
        holder: String,
        /// Where it keeps what it measures, once it has said so.
        place: Option<PathBuf>,
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

/// A port of loopback that nobody listens at: somebody else may come first.
fn free_port() -> Result<u16, Error> {
    let listener = TcpListener::bind(("127.0.0.1", 0));
    let address = listener.and_then(|listener| listener.local_addr());
    doing(|| "looking for a free port".to_owned(), address).map(|address| address.port())
}

/// Where a program is on the path.
#[must_use]
pub fn find_on_path(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// The program that an environment variable names; `None` where it is unset or empty.
///
/// # Errors
/// [`Error::NoSuchProgram`].
pub fn given_program(variable: &str) -> Result<Option<PathBuf>, Error> {
    named(variable, std::env::var_os(variable))
}

fn named(variable: &str, value: Option<OsString>) -> Result<Option<PathBuf>, Error> {
    match value.filter(|value| !value.is_empty()).map(PathBuf::from) {
        Some(program) if !program.is_file() => Err(Error::NoSuchProgram {
            variable: variable.to_owned(),
            program,
        }),
        given => Ok(given),
    }
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
    fn a_variable_names_a_program_or_nothing() {
        let shell = find_on_path("sh").expect("every machine has one");
        let given = |value: &str| named("SHELL_BIN", Some(value.into()));
        assert_eq!(named("SHELL_BIN", None).expect("unset"), None);
        assert_eq!(given("").expect("empty"), None);
        let found = given(&shell.to_string_lossy()).expect("a program");
        assert_eq!(found, Some(shell));
        let error = given("/no/such/program").expect_err("there is none");
        assert_eq!(
            error.to_string(),
            "SHELL_BIN=/no/such/program: no such file"
        );
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
