//! The making of a cluster, and the start of its server.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::account::Account;
use super::{LAST_LINES, POLL, USER};
use crate::{Error, Output, Supervised, doing, last_lines};

/// A cluster is made in seconds; on a machine that is busy with other things it takes longer.
const MAKE_LIMIT: Duration = Duration::from_secs(180);
const STOP_GRACE: Duration = Duration::from_secs(20);
/// What a server is started with; what the caller gives comes after it and wins.
const SETTINGS: [&str; 5] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "shared_preload_libraries=pg_stat_statements",
    "pg_stat_statements.track=all",
    "max_connections=300",
];

pub(super) fn data_in(folder: &Path) -> PathBuf {
    folder.join("data")
}

pub(super) fn log_in(folder: &Path) -> PathBuf {
    folder.join("postgres.log")
}

/// Makes a cluster in the folder, whose owner has this password.
pub(super) fn make<E: From<Error>>(
    program: &Path,
    account: &Account,
    folder: &Path,
    password: &str,
    pause: &mut impl FnMut(Duration) -> Result<(), E>,
) -> Result<(), E> {
    let initdb = beside(program, "initdb")?;
    let password_file = folder.join("password");
    write_secret(&password_file, password)?;
    account.own(&password_file)?;
    let log = folder.join("initdb.log");
    let mut command = Command::new(&initdb);
    command
        .arg("--pgdata")
        .arg(data_in(folder))
        .arg("--pwfile")
        .arg(&password_file)
        .args(["--username", USER, "--auth", "scram-sha-256"])
        .args(["--encoding", "UTF8", "--locale", "C"])
        // What it makes is synced by the server's first checkpoint, like everything else.
        .arg("--no-sync");
    let mut process = started("initdb", account, &mut command, &log, folder)?;
    let deadline = Instant::now() + MAKE_LIMIT;
    let status = loop {
        pause(POLL)?;
        match process.ended()? {
            None if Instant::now() < deadline => {}
            ended => break ended,
        }
    };
    if status.is_none_or(|status| !status.success()) {
        return Err(E::from(Error::NotStarted {
            program: initdb,
            last_words: last_lines(&log, LAST_LINES),
        }));
    }
    let removed = fs::remove_file(&password_file);
    doing(|| "removing the file of the password".to_owned(), removed)?;
    Ok(())
}

/// Starts the server of the cluster in the folder.
pub(super) fn spawn(
    program: &Path,
    account: &Account,
    port: u16,
    settings: &[&str],
    folder: &Path,
) -> Result<Supervised, Error> {
    let mut command = Command::new(program);
    command
        .arg("-D")
        .arg(data_in(folder))
        .args(["-p", &port.to_string()]);
    for setting in SETTINGS.iter().chain(settings) {
        command.args(["-c", setting]);
    }
    let log = log_in(folder);
    started("postgres", account, &mut command, &log, folder)
}

fn started(
    name: &str,
    account: &Account,
    command: &mut Command,
    log: &Path,
    folder: &Path,
) -> Result<Supervised, Error> {
    let file = doing(|| format!("making the log of {name}"), File::create(log))?;
    // Settings of the caller's own, such as another cluster, are not meant.
    for (variable, _) in std::env::vars_os() {
        if variable.to_str().is_some_and(|name| name.starts_with("PG")) {
            command.env_remove(variable);
        }
    }
    account.run(command.current_dir(folder));
    // It takes SIGTERM as "once all clients have gone", and whoever else is connected need not go with a caller that was killed.
    Supervised::start_until(name, command, Output::File(file), STOP_GRACE, Signal::QUIT)
}

/// The program that is installed beside the server.
pub(super) fn beside(program: &Path, name: &str) -> Result<PathBuf, Error> {
    // A link may lead to where the others are.
    let real = fs::canonicalize(program);
    let real = doing(|| format!("looking for {}", program.display()), real)?;
    let found = [program, &real]
        .into_iter()
        .map(|program| program.with_file_name(name))
        .find(|path| path.is_file());
    let missing = || io::Error::other(format!("there is no {name} beside it"));
    doing(
        || format!("looking at {}", program.display()),
        found.ok_or_else(missing),
    )
}

/// What a private database may be called, in words.
pub const DATABASE_NAMES: &str =
    "allowed are up to 63 small letters, digits and _, the first a letter";

/// Whether a private database may be called so: without quotes it means the same everywhere.
#[must_use]
pub fn is_database_name(name: &str) -> bool {
    let mut letters = name.bytes();
    let first = letters.next().is_some_and(|c| c.is_ascii_lowercase());
    let rest = letters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_');
    first && rest && name.len() <= 63
}

pub(super) fn allowed_name(database: &str) -> Result<(), Error> {
    let verdict = is_database_name(database).then_some(());
    doing(
        || format!("naming a database {database:?}"),
        verdict.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, DATABASE_NAMES)),
    )
}

/// 32 hexadecimal digits.
pub(super) fn random_password() -> Result<String, Error> {
    let mut bytes = [0; 16];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    doing(|| "making a password".to_owned(), read)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn write_secret(path: &Path, text: &str) -> Result<(), Error> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    doing(|| "writing the file of the password".to_owned(), written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_databases_are_plain_words() {
        for name in ["challenge_db", "a", "db2"] {
            assert!(allowed_name(name).is_ok(), "{name}");
        }
        for name in [
            "",
            "Challenge",
            "2db",
            "a b",
            "a;b",
            "a\"b",
            &"a".repeat(64),
        ] {
            let error = allowed_name(name).expect_err("it is refused");
            assert!(error.to_string().contains(&format!("{name:?}")), "{error}");
        }
    }

    #[test]
    fn passwords_differ() {
        let password = random_password().expect("the system gives random bytes");
        assert!(password.len() == 32 && password != random_password().expect("again"));
    }
}
