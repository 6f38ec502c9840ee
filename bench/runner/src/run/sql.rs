//! Guarded reset of a PostgreSQL database: the statements that a suite lists under `reset`, at a host and in a database that it allows.
//!
//! PostgreSQL's own `psql` carries them out. What only reads is run in a session that cannot write.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Context as _;
use barrier_procs::given_program;
use url::Url;

use crate::run::clean::heading;
use crate::run::process::{find_on_path, homes};
use crate::suite::Suite;
use crate::suite::schema::CleanKind;
use crate::suite::scope::{Condition, Moment};
use crate::suite::vars::{RunValues, Vars};
use crate::values::exit;
use crate::values::mask::masked;

/// Parameters of an address that change neither host nor database nor what a session may do.
const PARAMETERS: [&str; 2] = ["sslmode", "sslrootcert"];
/// For a statement that waits for a lock which nobody gives back.
const LIMIT: &str = "60s";

/// A database and what is done to it before a run.
#[derive(Debug)]
pub(crate) struct Reset {
    database: Database,
    /// What only reads, and is recorded before and after.
    statements: Vec<String>,
    /// What changes data, in its order.
    reset: Vec<String>,
}

/// A database that the suite allows.
#[derive(Debug)]
struct Database {
    psql: PathBuf,
    /// Without its password, which would stand among the arguments of a process.
    address: Url,
    password: Option<String>,
}

impl Reset {
    /// Plans what is reset before a run, one plan for each database; none if the suite declares none. Nothing is asked or changed.
    ///
    /// # Errors
    /// A variable is missing, a host or a database is not allowed, or there is no `psql`.
    pub(crate) fn all(suite: &Suite, vars: &Vars) -> anyhow::Result<Vec<Self>> {
        let mut all = Vec::new();
        for table in &suite.file.clean {
            let condition = Condition::parse(table.when.get_ref()).map_err(exit::set_up)?;
            if table.kind != CleanKind::Sql || !condition.holds(Moment::BeforeRun, vars) {
                continue;
            }
            let expand =
                |text: &toml::Spanned<String>| vars.expand(text.get_ref(), &RunValues::new());
            let address = expand(&table.target)?;
            let statements = table.statements.iter().map(expand);
            let reset = table.reset.iter().map(expand);
            let plan = Self {
                database: Database::new(suite, &table.id, &address)?,
                statements: statements.collect::<anyhow::Result<_>>()?,
                reset: reset.collect::<anyhow::Result<_>>()?,
            };
            let what = |text: String| exit::set_up(format!("clean {}: {text}", table.id));
            plan.reset
                .iter()
                .try_for_each(|text| sql(text))
                .map_err(what)?;
            plan.statements
                .iter()
                .try_for_each(|text| one(text))
                .map_err(what)?;
            all.push(plan);
        }
        Ok(all)
    }

    /// The statements that change data, for the terminal.
    pub(crate) fn summary(&self) -> &[String] {
        &self.reset
    }

    /// The database, without password.
    pub(crate) fn shown_address(&self) -> &str {
        self.database.address.as_str()
    }

    /// Carries the plan out; with `dry_run` it only reads. Every statement and its answer is added to `log`, also when an error ends the
    /// work. `go_on` is asked before each statement that changes anything.
    ///
    /// # Errors
    /// The server cannot be reached or refuses a statement that changes data, or `go_on` refuses.
    pub(crate) fn execute(
        &self,
        dry_run: bool,
        log: &mut Vec<String>,
        mut go_on: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let count = format!("{} statements", self.reset.len());
        log.push(heading(dry_run, &count, self.shown_address()));
        let plan = self.reset.iter();
        log.extend(plan.map(|statement| format!("[plan] {statement}")));
        log.push("[cleanup] state before".to_owned());
        self.read(log);
        if dry_run {
            log.push("[cleanup] dry run: nothing was changed".to_owned());
            return Ok(());
        }
        log.push("[cleanup] statements".to_owned());
        for statement in &self.reset {
            go_on()?;
            let answer = self.database.ask(statement, false);
            let answer = answer.map_err(|error| {
                exit::set_up(format!(
                    "reset of {}: `{statement}`: {error:#}",
                    self.shown_address()
                ))
            })?;
            log.push(said(statement, &answer));
        }
        log.push("[cleanup] state after".to_owned());
        self.read(log);
        log.push("[cleanup] done".to_owned());
        Ok(())
    }

    /// A question that cannot be answered (no such table yet) is a finding, not a fault.
    fn read(&self, log: &mut Vec<String>) {
        for statement in &self.statements {
            let answer = self.database.ask(statement, true);
            log.push(match answer {
                Ok(answer) => said(statement, &answer),
                Err(error) => said(statement, &format!("{error:#}")),
            });
        }
    }
}

/// Whether a statement goes to the server: what begins with a backslash is a command to psql, which may start programs and connect to
/// other servers.
pub(crate) fn sql(statement: &str) -> Result<(), String> {
    if statement.trim_start().starts_with('\\') {
        return Err(format!(
            "`{statement}`: a command to psql; only SQL is allowed"
        ));
    }
    Ok(())
}

/// Whether it is one statement alone: a second one could leave the transaction that cannot write.
pub(crate) fn one(statement: &str) -> Result<(), String> {
    sql(statement)?;
    if statement.trim().trim_end_matches(';').contains(';') {
        return Err(format!(
            "`{statement}`: more than one statement; what is only read is one each, without `;` in it"
        ));
    }
    Ok(())
}

fn said(statement: &str, answer: &str) -> String {
    let answer = answer.trim().replace('\n', "; ");
    masked(&format!("> {statement}\n{answer}"))
}

impl Database {
    fn new(suite: &Suite, id: &str, address: &str) -> anyhow::Result<Self> {
        let what = format!("clean {id}");
        suite.allow_now(&what, address)?;
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
        let name = url.path().trim_start_matches('/').to_owned();
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

    /// The answer to a statement; one that reads is asked in a session that cannot write.
    fn ask(&self, statement: &str, reads: bool) -> anyhow::Result<String> {
        let mut options = format!("-c statement_timeout={LIMIT}");
        if reads {
            options.push_str(" -c default_transaction_read_only=on");
        }
        let mut command = Command::new(&self.psql);
        command
            // No file and no variable of the caller's changes where this goes.
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .envs(self.password.as_ref().map(|text| ("PGPASSWORD", text)))
            .env("PGCONNECT_TIMEOUT", "5")
            .env("PGOPTIONS", options)
            .args([
                "--no-psqlrc",
                "--no-password",
                "--tuples-only",
                "--no-align",
            ])
            .args(["--set=ON_ERROR_STOP=1", "--dbname"])
            .arg(self.address.as_str())
            .arg("--command")
            .arg(statement)
            .stdin(Stdio::null())
            // An interrupt from a terminal is for the runner, which ends between two statements.
            .process_group(0);
        let output = command
            .output()
            .with_context(|| format!("starting {}", self.psql.display()))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim().strip_prefix("psql: ").unwrap_or(said.trim());
        anyhow::bail!("{}", masked(said))
    }
}

/// `psql` beside `POSTGRES_BIN`, on the path, or where packages put it.
fn psql(suite: &Suite) -> anyhow::Result<PathBuf> {
    let server = given_program("POSTGRES_BIN")
        .map_err(|error| exit::set_up(format!("{error}; name a postgres, or unset it")))?;
    let beside = server.map(|server| server.with_file_name("psql"));
    if let Some(psql) = beside.filter(|psql| psql.is_file()) {
        return Ok(psql);
    }
    let packaged = || {
        let versions = ["17", "16", "15"];
        let folders = versions
            .map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin/psql")));
        let cached = homes(&suite.root)
            .into_iter()
            .map(|home| home.join(".cache/postgres/bin/psql"));
        folders
            .into_iter()
            .chain(cached)
            .find(|psql| psql.is_file())
    };
    find_on_path("psql").or_else(packaged).ok_or_else(|| {
        exit::set_up("no psql; install PostgreSQL's client (Debian: apt-get install postgresql-client), or set POSTGRES_BIN to a postgres beside one")
    })
}
