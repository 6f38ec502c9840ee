//! A PostgreSQL of one's own.

mod account;
mod cluster;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

pub use cluster::{DATABASE_NAMES, is_database_name};

use crate::{Error, Supervised, doing, free_port, last_lines};
use account::Account;

const START_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// Another process may take the port between the choice and the start.
const ATTEMPTS: u32 = 5;
/// How much of its log an error quotes.
const LAST_LINES: usize = 8;
/// Who owns the databases.
const USER: &str = "postgres";

/// A server of one's own: a new cluster with one database, on a free port of the loopback alone, with a random password; writes are
/// synced to disk, and `pg_stat_statements` counts. Ended when dropped, without a checkpoint: nothing of it is kept.
///
/// PostgreSQL refuses to run as root. Where the caller is root, server and cluster belong to the system's user `postgres`, or to
/// `nobody` where there is none; else to the caller.
#[derive(Debug)]
pub struct PrivatePostgres {
    // Before the folder, so that the server has ended when the folder goes.
    process: Ending,
    access: Access,
    version: String,
    folder: TempDir,
}

impl PrivatePostgres {
    /// Makes a cluster by the `initdb` beside the program, starts the program with these further settings (`name=value`), and waits
    /// until it answers the `psql` beside it. Then it makes the database with its extension `pg_stat_statements`, and asks that.
    ///
    /// The folder gets the server's owner, holds cluster and log, and goes with the server. `pause` is what passes the time between
    /// two looks, at least once. Where it fails, everything is ended and its error is this one's: so signals interrupt the start.
    ///
    /// # Errors
    /// What `pause` says; [`Error::NotStarted`] where a program ends with an error, or the server does not answer within 60 s;
    /// [`Error::System`], also where the database's name is not made of small letters, digits and `_`, or a program is missing beside
    /// the server.
    pub fn start<E: From<Error>>(
        program: &Path,
        database: &str,
        settings: &[&str],
        folder: TempDir,
        mut pause: impl FnMut(Duration) -> Result<(), E>,
    ) -> Result<Self, E> {
        cluster::allowed_name(database)?;
        let account = Account::of_the_server()?;
        let mut access = Access {
            psql: cluster::beside(program, "psql")?,
            port: 0,
            database: database.to_owned(),
            password: cluster::random_password()?,
        };
        account.own(folder.path())?;
        cluster::make(
            program,
            &account,
            folder.path(),
            &access.password,
            &mut pause,
        )?;
        let log = cluster::log_in(folder.path());
        for _ in 0..ATTEMPTS {
            access.port = free_port()?;
            let server = cluster::spawn(program, &account, access.port, settings, folder.path())?;
            let mut process = Ending(server);
            let deadline = Instant::now() + START_LIMIT;
            while process.0.ended()?.is_none() && Instant::now() < deadline {
                pause(POLL)?;
                if let Some(version) = access.version_of(folder.path()) {
                    access.make_database()?;
                    return Ok(Self {
                        process,
                        access,
                        version,
                        folder,
                    });
                }
            }
            // Anything but a port that was taken meanwhile would come again.
            if process.0.ended()?.is_none() || !last_lines(&log, LAST_LINES).contains("bind") {
                break;
            }
        }
        Err(E::from(Error::NotStarted {
            program: program.to_owned(),
            last_words: last_lines(&log, LAST_LINES),
        }))
    }

    /// Where its database is, `postgres://postgres:PASSWORD@127.0.0.1:PORT/DATABASE`. The password is as secret as the machine's
    /// loopback wants it to be.
    #[must_use]
    pub fn url(&self) -> String {
        let Access {
            port,
            database,
            password,
            ..
        } = &self.access;
        format!("postgres://{USER}:{password}@127.0.0.1:{port}/{database}")
    }

    /// The random password alone, for what masks it.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.access.password
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.access.port
    }

    /// Who owns its database.
    #[must_use]
    pub const fn user(&self) -> &'static str {
        USER
    }

    /// Its database.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.access.database
    }

    /// The process id of the server. It starts a process for each connection.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.0.id()
    }

    /// Its version, such as `15.8`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Where its log is, as long as it lives.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        cluster::log_in(self.folder.path())
    }

    /// `psql` on its database, without the caller's own settings: it prints values alone, and ends at the first error with 3, or 1.
    /// What it shall run are further arguments (`--command`, `--file`) or its input.
    #[must_use]
    pub fn psql(&self) -> Command {
        self.access.psql(&self.access.database)
    }
}

/// A server that is ended at once, whoever is connected.
#[derive(Debug)]
struct Ending(Supervised);

impl Drop for Ending {
    fn drop(&mut self) {
        // It takes SIGTERM, which comes next, as "once all clients have gone".
        self.0.signal(Signal::QUIT);
    }
}

/// How the server is reached.
struct Access {
    psql: PathBuf,
    port: u16,
    database: String,
    password: String,
}

/// Without the password.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Access");
        shown
            .field("port", &self.port)
            .field("database", &self.database);
        shown.finish_non_exhaustive()
    }
}

impl Access {
    fn psql(&self, database: &str) -> Command {
        let mut command = Command::new(&self.psql);
        command
            // No file and no variable of the caller's changes where this goes or what it prints.
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("PGPASSWORD", &self.password)
            .env("PGCONNECT_TIMEOUT", "5")
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .args(["--set=ON_ERROR_STOP=1", "--host=127.0.0.1"])
            .arg(format!("--port={}", self.port))
            .args([format!("--username={USER}"), format!("--dbname={database}")]);
        command
    }

    fn asked(&self, database: &str, statement: &str) -> Result<String, Error> {
        let mut command = self.psql(database);
        command.arg("--command").arg(statement);
        let asking = || format!("asking {}", self.psql.display());
        let output = doing(asking, command.output())?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            Err(Error::NotStarted {
                program: self.psql.clone(),
                last_words: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            })
        }
    }

    /// The version, if the server on the port is the one of this folder and not a stranger.
    fn version_of(&self, folder: &Path) -> Option<String> {
        let statement =
            "SELECT current_setting('data_directory') || ' ' || current_setting('server_version')";
        let answer = self.asked(USER, statement).ok()?;
        let data = cluster::data_in(folder);
        let version = answer.strip_prefix(data.to_str()?)?.trim();
        Some(version.split(' ').next().unwrap_or(version).to_owned())
    }

    fn make_database(&self) -> Result<(), Error> {
        self.asked(USER, &format!("CREATE DATABASE {}", self.database))?;
        self.asked(&self.database, "CREATE EXTENSION pg_stat_statements")?;
        // Unless the server has loaded it at its start, the view refuses.
        self.asked(
            &self.database,
            "SELECT count(*) >= 0 FROM pg_stat_statements",
        )?;
        Ok(())
    }
}
