//! A PostgreSQL for a test, and suites that have one.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use barrier_procs::{Error, PrivatePostgres, find_on_path, given_program};

use super::own::Own;

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Procs(#[from] Error),
    #[error(transparent)]
    System(#[from] io::Error),
}

/// The server's program.
pub(crate) fn program() -> PathBuf {
    let program = given_program("POSTGRES_BIN").expect("a program, if it is set");
    program
        .or_else(|| find_on_path("postgres"))
        .expect("a postgres; scripts/ensure-postgres.sh gets one")
}

/// A server of the test's own, which a run may be told of.
pub(crate) fn start(database: &str) -> PrivatePostgres {
    let folder = tempfile::tempdir().expect("a folder");
    let pause = |time: Duration| -> Result<(), Failed> {
        std::thread::sleep(time);
        Ok(())
    };
    PrivatePostgres::start(&program(), database, &[], folder, pause).expect("a server")
}

/// What a server answers to a statement.
pub(crate) fn ask(server: &PrivatePostgres, statement: &str) -> String {
    answer(server.psql().args(["--command", statement]))
}

/// The same by an address.
pub(crate) fn ask_at(address: &str, statement: &str) -> String {
    answer(&mut psql(address, statement))
}

/// `psql` with a statement at an address.
pub(crate) fn psql(address: &str, statement: &str) -> Command {
    let mut command = Command::new(program().with_file_name("psql"));
    command
        .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
        .arg(address)
        .args(["--command", statement]);
    command
}

fn answer(command: &mut Command) -> String {
    let output = command.output().expect("psql runs");
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// What a suite has that is told of a database.
pub(crate) const VARIABLE: &str = "\n[env.DATABASE_URL]\ntype = \"url\"\nrole = \"place\"\n";

/// A suite that may use the database `shop_db`; `needs`: also one of its own.
pub(crate) fn suite(text: &str, harness: &str, needs: bool) -> Own {
    let own = Own::new(&format!("{VARIABLE}{text}"), harness);
    let more = if needs { ", \"postgres\"" } else { "" };
    own.edit(
        "needs = [\"k6\"]",
        &format!("allow_databases = [\"shop_db\"]\nneeds = [\"k6\"{more}]"),
    );
    own
}

/// Every file below a folder that holds a text.
pub(crate) fn holding(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = super::files(folder);
    found.retain(|path| {
        let bytes = std::fs::read(path).expect("a file");
        String::from_utf8_lossy(&bytes).contains(text)
    });
    found
}
