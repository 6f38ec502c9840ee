//! A private PostgreSQL for suites whose user named none, and what is told of the one that a run has.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use barrier_procs::{Error, PrivatePostgres};
use serde_json::{Map, Value as Json, json};

use super::client::{Database, Pause, given_server, installed};
use crate::run::inbox::Inbox;
use crate::run::process::find_on_path;
use crate::run::scratch;
use crate::suite::Suite;
use crate::values::exit;
use crate::values::mask;

/// What decides how fast and how safe a server is, and what it tells about statements.
const SETTINGS: [&str; 13] = [
    "autovacuum",
    "checkpoint_timeout",
    "effective_cache_size",
    "fsync",
    "full_page_writes",
    "max_connections",
    "max_wal_size",
    "pg_stat_statements.track",
    "shared_buffers",
    "shared_preload_libraries",
    "synchronous_commit",
    "track_io_timing",
    "work_mem",
];
/// For a look at a server that ought to answer at once.
const LIMIT: Duration = Duration::from_secs(10);

/// The PostgreSQL of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// Unknown if it does not tell.
    pub(crate) version: Option<String>,
    /// Started by the runner.
    pub(crate) private: bool,
    /// Its process, if the runner has started it.
    pub(crate) process: Option<u32>,
    /// Those of [`SETTINGS`] that it has.
    settings: Map<String, Json>,
    /// `None` if `pg_stat_statements` answers, else why it does not.
    no_statements: Option<String>,
    /// The processors that it was bound to, where it was.
    processors: Option<Vec<u32>>,
}

impl Facts {
    /// What a server says of itself.
    pub(crate) fn ask(database: &Database, pause: Pause<'_>) -> anyhow::Result<Self> {
        let names: Vec<String> = SETTINGS.iter().map(|name| format!("'{name}'")).collect();
        let statement = format!(
            "SELECT name, current_setting(name) AS value FROM pg_settings WHERE name IN ({}) \
             UNION ALL SELECT 'server_version', current_setting('server_version') ORDER BY name",
            names.join(", ")
        );
        let mut facts = Self::default();
        for row in database.rows(&statement, LIMIT, pause)? {
            let text = |column: &str| row[column].as_str().unwrap_or_default().to_owned();
            let (name, value) = (text("name"), text("value"));
            if name == "server_version" {
                facts.version = value.split(' ').next().map(str::to_owned);
            } else {
                facts.settings.insert(name, value.into());
            }
        }
        let counted = "SELECT count(*) AS known FROM pg_stat_statements";
        facts.no_statements = database
            .rows(counted, LIMIT, pause)
            .err()
            .map(|error| format!("{error:#}"));
        Ok(facts)
    }

    /// The same of a server that the runner has started, on these processors where it was bound to some.
    pub(crate) fn of_private(self, server: &PrivatePostgres, processors: Option<Vec<u32>>) -> Self {
        Self {
            version: Some(server.version().to_owned()),
            private: true,
            process: Some(server.id()),
            processors,
            ..self
        }
    }

    /// Why there are no statistics of statements, if there are none.
    pub(crate) fn no_statements(&self) -> Option<&str> {
        self.no_statements.as_deref()
    }

    /// In a few words.
    pub(crate) fn shown(&self) -> String {
        let whose = if self.private {
            "private"
        } else {
            "given by the user"
        };
        let version = self.version.as_deref().unwrap_or("unknown");
        format!("{whose}, version {version}")
    }

    /// As `meta.json` holds it.
    pub(crate) fn record(&self) -> Json {
        let mut record = json!({
            "version": self.version,
            "private": self.private,
            "settings": self.settings,
            "statementStatistics": self.no_statements.is_none(),
        });
        if let Some(why) = &self.no_statements {
            record["noStatementStatistics"] = mask::masked(why).into();
        }
        if let Some(processors) = &self.processors {
            record["processors"] = json!(processors);
        }
        record
    }
}

/// Starts a server of our own with this database and waits until it answers.
///
/// # Errors
/// It does not start, or a signal arrived.
pub(crate) fn start(
    program: &Path,
    database: &str,
    inbox: &mut Inbox,
) -> anyhow::Result<PrivatePostgres> {
    let folder =
        scratch::folder_for_another("postgres-").context("making a folder for PostgreSQL")?;
    can_be_reached(folder.path())?;
    let server = PrivatePostgres::start(program, database, &[], folder, |pause| {
        inbox.pause(pause).map_err(anyhow::Error::from)
    })
    .map_err(|error| match error.downcast_ref::<Error>() {
        Some(Error::NotStarted { .. }) => exit::set_up(mask::masked(&error.to_string())),
        _ => error,
    })?;
    mask::register(server.password());
    Ok(server)
}

/// PostgreSQL does not run as root: where we do, another user has to get to its folder.
fn can_be_reached(folder: &Path) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let closed = folder.ancestors().skip(1).find(|above| {
        let mode = above.metadata().map(|found| found.permissions().mode());
        mode.is_ok_and(|mode| mode & 0o001 == 0)
    });
    match closed {
        None => Ok(()),
        Some(closed) => Err(exit::set_up(format!(
            "PostgreSQL does not run as root, and another user does not get into {}, below which temporary files are; give a TMPDIR that everybody gets into, such as /tmp",
            closed.display()
        ))),
    }
}

/// Finds a postgres with `initdb` and `psql` beside it: `POSTGRES_BIN`, the path, where packages put it, then what
/// `scripts/ensure-postgres.sh` unpacked.
///
/// # Errors
/// There is none; the text says how to get one.
pub(crate) fn find_program(root: &Path) -> anyhow::Result<PathBuf> {
    if let Some(given) = given_server()? {
        return Ok(given);
    }
    let whole = |path: &PathBuf| {
        // A link may lead to where the others are.
        let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        let beside =
            |name: &str| path.with_file_name(name).is_file() || real.with_file_name(name).is_file();
        beside("initdb") && beside("psql")
    };
    find_on_path("postgres")
        .filter(whole)
        .or_else(|| installed("postgres", root).filter(whole))
        .ok_or_else(|| exit::set_up("no postgres of PostgreSQL 15 or later with initdb and psql beside it; run scripts/ensure-postgres.sh, or give DATABASE_URL or POSTGRES_BIN"))
}

/// The database that a suite's private server gets: the first of those that it allows.
pub(crate) fn database_of(suite: &Suite) -> &str {
    let mut allowed = suite.file.suite.allow_databases.iter();
    allowed.next().map_or("", String::as_str)
}
