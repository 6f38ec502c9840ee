//! What is asked of a PostgreSQL, by its own `psql`: at a host and in a database that the suite allows, and never for longer than its
//! bound. What only reads is asked in a session that cannot write.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use barrier_procs::{Output, Supervised, given_program};
use serde_json::Value as Json;
use url::Url;

use crate::run::process::{find_on_path, homes};
use crate::suite::Suite;
use crate::values::exit;
use crate::values::mask::masked;

/// Parameters of an address that change neither host nor database nor what a session may do.
const PARAMETERS: [&str; 2] = ["sslmode", "sslrootcert"];
/// What sessions are called, so that statements about sessions can tell them.
const NAME: &str = "barrier-bench";
/// How long `psql` may take to connect, in seconds.
const CONNECT: &str = "5";
/// Beyond the bound of its statements: a server that does not even end them has stopped answering.
const BEYOND: Duration = Duration::from_secs(10);
/// How long `psql` may take to end when asked to.
const GRACE: Duration = Duration::from_secs(1);
/// Between two looks whether it has answered.
const POLL: Duration = Duration::from_millis(5);
/// No answer that is worth keeping is longer.
const MOST: u64 = 16 << 20;
/// Where packages put the programs of each version.
const VERSIONS: [&str; 3] = ["17", "16", "15"];

/// Passes the time between two looks; its error ends what was asked.
pub(crate) type Pause<'a> = &'a mut dyn FnMut(Duration) -> anyhow::Result<()>;

/// What a session may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    Reads,
    Writes,
}

/// A database that the suite allows.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    psql: PathBuf,
    /// Without its password, which would stand among the arguments of a process.
    address: Url,
    password: Option<String>,
}

impl Database {
    /// The one at an address. `what` names who asks.
    ///
    /// # Errors
    /// The address is none, names a host or a database that the suite does not allow, or there is no `psql`.
    pub(crate) fn new(suite: &Suite, what: &str, address: &str) -> anyhow::Result<Self> {
        suite.allow_now(what, address)?;
        let refuse = |text: String| Err(exit::set_up(format!("{what}: {text}")));
        let mut url = Url::parse(address).map_err(|error| {
            exit::set_up(format!(
                "{what}: the address of its database is none ({error}); allowed: postgres://USER[:PASSWORD]@HOST[:PORT]/DATABASE"
            ))
        })?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return refuse(format!(
                "received an address of {}; allowed: postgres://USER[:PASSWORD]@HOST[:PORT]/DATABASE",
                url.scheme()
            ));
        }
        let known = |name: &str| PARAMETERS.contains(&name);
        if let Some((name, _)) = url.query_pairs().find(|(name, _)| !known(name)) {
            return refuse(format!(
                "the parameter `{name}` of its address could name another server or database; allowed: {}",
                PARAMETERS.join(", ")
            ));
        }
        // What psql is given is what was checked: one server, by a name that nothing reads in another way.
        let host = url.host_str().unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-:[]".contains(c);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let allowed = &suite.file.suite.allow_hosts;
        if host.is_empty()
            || !host.chars().all(plain)
            || !allowed.iter().any(|own| own == bare || own == host)
        {
            return refuse(format!(
                "the host `{host}` of its address is not allowed; allowed: {} (`allow_hosts` in {})",
                allowed.join(", "),
                suite.path.display()
            ));
        }
        // A reader that knows no fragments takes it for a part of the name or of a parameter.
        if url.fragment().is_some() {
            return refuse(
                "its address has a fragment (`#`), which could name another database; allowed: none".to_owned(),
            );
        }
        let name = url.path().strip_prefix('/').unwrap_or_default().to_owned();
        let allowed = &suite.file.suite.allow_databases;
        if !allowed.contains(&name) {
            return refuse(format!(
                "the database `{name}` is not allowed; allowed: {} (`allow_databases` in {})",
                allowed.join(", "),
                suite.path.display()
            ));
        }
        let password = url.password().map(|text| {
            let text = percent_encoding::percent_decode_str(text);
            text.decode_utf8_lossy().into_owned()
        });
        if url.set_password(None).is_err() {
            return refuse("its address has no host".to_owned());
        }
        Ok(Self {
            psql: psql(suite)?,
            address: url,
            password,
        })
    }

    /// Where it is, without password.
    pub(crate) fn shown(&self) -> &str {
        self.address.as_str()
    }

    /// The answer to a statement, value by value as `psql` prints them bare.
    ///
    /// # Errors
    /// The server cannot be reached, refuses, or has not answered within `limit`; or `pause` fails.
    pub(crate) fn ask(
        &self,
        statement: &str,
        session: Session,
        limit: Duration,
        pause: Pause<'_>,
    ) -> anyhow::Result<String> {
        let arguments = ["--tuples-only", "--no-align", "--command", statement];
        let said = self.run(&arguments, session, limit, pause)?;
        said.ended.map(|()| said.output)
    }

    /// The rows of a statement that reads, each as an object by the names of its columns.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(crate) fn rows(
        &self,
        statement: &str,
        limit: Duration,
        pause: Pause<'_>,
    ) -> anyhow::Result<Vec<Json>> {
        // The line ends, so that a comment at the end of the statement ends there too.
        let statement = format!(
            "SELECT coalesce(json_agg(answer), '[]') FROM (\n{}\n) AS answer",
            statement.trim().trim_end_matches(';')
        );
        let answer = self.ask(&statement, Session::Reads, limit, pause)?;
        serde_json::from_str(&answer).context("reading the rows of an answer")
    }

    /// What `psql` prints of a file of statements and commands, which is read in a session that cannot write; with what kept it from
    /// its end, if anything did.
    ///
    /// # Errors
    /// `psql` cannot be started, or `pause` fails.
    pub(crate) fn file(
        &self,
        file: &Path,
        limit: Duration,
        pause: Pause<'_>,
    ) -> anyhow::Result<(String, anyhow::Result<()>)> {
        let file = file.display().to_string();
        let said = self.run(&["--file", &file], Session::Reads, limit, pause)?;
        Ok((said.output, said.ended))
    }

    /// Runs the statements of a file, which may write, to its end or not at all.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(crate) fn apply(
        &self,
        file: &Path,
        limit: Duration,
        pause: Pause<'_>,
    ) -> anyhow::Result<String> {
        let file = file.display().to_string();
        let arguments = ["--single-transaction", "--file", &file];
        let said = self.run(&arguments, Session::Writes, limit, pause)?;
        said.ended.map(|()| said.output)
    }

    fn run(
        &self,
        arguments: &[&str],
        session: Session,
        limit: Duration,
        pause: Pause<'_>,
    ) -> anyhow::Result<Said> {
        let mut options = format!("-c statement_timeout={}", limit.as_millis().max(1));
        if session == Session::Reads {
            options.push_str(" -c default_transaction_read_only=on");
        }
        let mut command = Command::new(&self.psql);
        command
            // No file and no variable of the caller's changes where this goes.
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .envs(self.password.as_ref().map(|text| ("PGPASSWORD", text)))
            .env("PGCONNECT_TIMEOUT", CONNECT)
            .env("PGAPPNAME", NAME)
            .env("PGOPTIONS", options)
            .args(["--no-psqlrc", "--no-password"])
            .args(["--set=ON_ERROR_STOP=1", "--dbname"])
            .arg(self.address.as_str())
            .args(arguments);
        let [mut output, mut errors] = [file()?, file()?];
        let apart = Output::Apart(output.try_clone()?, errors.try_clone()?);
        // It ends with the runner, however that ends, and with this call.
        let mut process = Supervised::start("psql", &mut command, apart, GRACE)?;
        let deadline = Instant::now() + limit + BEYOND;
        while process.ended()?.is_none() {
            let late = Instant::now() >= deadline;
            if late || output.metadata()?.len() > MOST {
                process.stop();
                let why = if late {
                    format!("no answer within {} s", (limit + BEYOND).as_secs())
                } else {
                    format!("the answer has more than {MOST} bytes")
                };
                return Ok(Said {
                    output: written(&mut output)?,
                    ended: Err(anyhow::anyhow!("{why}; psql was ended")),
                });
            }
            pause(POLL)?;
        }
        let status = process.end()?;
        let ended = if status.success() {
            Ok(())
        } else {
            let said = written(&mut errors)?;
            let said = said.trim();
            Err(anyhow::anyhow!(
                "{}",
                masked(said.strip_prefix("psql: ").unwrap_or(said))
            ))
        };
        Ok(Said {
            output: written(&mut output)?,
            ended,
        })
    }
}

/// What `psql` printed, and what kept it from its end.
struct Said {
    output: String,
    ended: anyhow::Result<()>,
}

/// A file without a name.
pub(in crate::run) fn file() -> anyhow::Result<File> {
    tempfile::tempfile().context("making a file for what psql says")
}

/// The beginning of what was written to a file, as far as it is kept.
pub(in crate::run) fn written(file: &mut File) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `psql` beside `POSTGRES_BIN`, on the path, or where packages put it.
fn psql(suite: &Suite) -> anyhow::Result<PathBuf> {
    let server = given_server()?.map(|server| server.with_file_name("psql"));
    if let Some(psql) = server.filter(|psql| psql.is_file()) {
        return Ok(psql);
    }
    find_on_path("psql").or_else(|| installed("psql", &suite.root)).ok_or_else(|| {
        exit::set_up("no psql; install PostgreSQL's client (Debian: apt-get install postgresql-client), or set POSTGRES_BIN to a postgres beside one")
    })
}

/// The server that `POSTGRES_BIN` names.
pub(super) fn given_server() -> anyhow::Result<Option<PathBuf>> {
    given_program("POSTGRES_BIN")
        .map_err(|error| exit::set_up(format!("{error}; name a postgres, or unset it")))
}

/// A program of PostgreSQL where packages put it, or where `scripts/ensure-postgres.sh` unpacked it.
pub(super) fn installed(program: &str, root: &Path) -> Option<PathBuf> {
    let packaged =
        VERSIONS.map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")));
    let unpacked = homes(root)
        .into_iter()
        .map(|home| home.join(".cache/postgres/bin"));
    let mut folders = packaged.into_iter().chain(unpacked);
    folders
        .by_ref()
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}
