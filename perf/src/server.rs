//! A Redis of the run's own: loopback only, nothing on disk, gone with the run.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use redis::{Connection, FromRedisValue};

use crate::child::{Running, check_interrupt};

const START_LIMIT: Duration = Duration::from_secs(20);
/// Another process may take the port between the choice and the start.
const ATTEMPTS: u32 = 5;
/// Polling peers need a connection per user.
const MAX_CLIENTS: u32 = 50_000;

/// A running server.
pub(crate) struct Server {
    // Before the folder, so that the server has ended when the folder goes.
    process: Running,
    connection: Connection,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Server {
    /// Starts the program and waits until it answers.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) fn start(program: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("making a folder for Redis")?;
        for _ in 0..ATTEMPTS {
            let port = free_port()?;
            let mut process = spawn(program, port, folder.path())?;
            if let Some(connection) = answers(&mut process, port)? {
                return Ok(Self {
                    process,
                    connection,
                    port,
                    _folder: folder,
                });
            }
        }
        bail!("{} did not start", program.display())
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Asks it something.
    ///
    /// # Errors
    /// It refuses, or does not answer.
    pub(crate) fn ask<T: FromRedisValue>(&mut self, words: &[&str]) -> anyhow::Result<T> {
        let (name, arguments) = words.split_first().context("a command has a name")?;
        redis::cmd(name)
            .arg(arguments)
            .query(&mut self.connection)
            .with_context(|| format!("Redis was asked {words:?}"))
    }

    /// Forgets everything that earlier runs left.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(crate) fn forget(&mut self) -> anyhow::Result<()> {
        self.ask(&["FLUSHALL"])
    }

    /// How many connections others than this program hold.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(crate) fn foreign_connections(&mut self) -> anyhow::Result<usize> {
        let list: String = self.ask(&["CLIENT", "LIST"])?;
        Ok(list.lines().count().saturating_sub(1))
    }

    /// The value of a field of `INFO`.
    ///
    /// # Errors
    /// As [`Self::ask`], or there is no such field.
    pub(crate) fn info(&mut self, section: &str, field: &str) -> anyhow::Result<String> {
        let text: String = self.ask(&["INFO", section])?;
        text.lines()
            .find_map(|line| {
                line.strip_prefix(field)?
                    .strip_prefix(':')
                    .map(|v| v.trim().to_owned())
            })
            .with_context(|| format!("Redis tells no {field} in INFO {section}"))
    }

    /// How often a command was called since the start.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(crate) fn calls(&mut self, command: &str) -> anyhow::Result<u64> {
        let text: String = self.ask(&["INFO", "commandstats"])?;
        let prefix = format!("cmdstat_{command}:calls=");
        let calls = text
            .lines()
            .find_map(|line| line.strip_prefix(&prefix)?.split(',').next());
        calls.map_or(Ok(0), |n| n.parse().context("Redis counts in numbers"))
    }

    /// Its version.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(crate) fn version(&mut self) -> anyhow::Result<String> {
        self.info("server", "redis_version")
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("process", &self.process)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

fn spawn(program: &Path, port: u16, folder: &Path) -> anyhow::Result<Running> {
    let mut command = Command::new(program);
    command
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args([
            "--port",
            &port.to_string(),
            "--maxclients",
            &MAX_CLIENTS.to_string(),
            "--dir",
        ])
        .arg(folder)
        .current_dir(folder);
    Running::start(&mut command, "redis-server", &folder.join("redis.log"))
}

/// A connection to the server that was started, not to a stranger on its port; none where it has ended.
fn answers(process: &mut Running, port: u16) -> anyhow::Result<Option<Connection>> {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}"))?;
    let deadline = Instant::now() + START_LIMIT;
    while process.ended()?.is_none() && Instant::now() < deadline {
        check_interrupt()?;
        if let Ok(mut connection) = client.get_connection_with_timeout(Duration::from_secs(1)) {
            let info: Result<String, _> = redis::cmd("INFO").arg("server").query(&mut connection);
            if info.is_ok_and(|info| info.contains(&format!("process_id:{}\r", process.id()))) {
                return Ok(Some(connection));
            }
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(None)
}

fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("looking for a free port")?;
    Ok(listener
        .local_addr()
        .context("looking for a free port")?
        .port())
}

/// Finds a program: what the environment variable says, else the path.
///
/// # Errors
/// There is none; the text says how to get it.
pub(crate) fn find(variable: &str, name: &str, remedy: &str) -> anyhow::Result<PathBuf> {
    let given = std::env::var_os(variable)
        .filter(|given| !given.is_empty())
        .map(PathBuf::from);
    if let Some(path) = given {
        if path.is_file() {
            return Ok(path);
        }
        bail!("{variable}={}: no such file", path.display());
    }
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .with_context(|| format!("there is no {name}; {remedy}"))
}

/// Finds a program of this project: what the environment variable says, else where it is built.
///
/// # Errors
/// There is none; the text says how to build it.
pub(crate) fn built(variable: &str, place: &str, remedy: &str) -> anyhow::Result<PathBuf> {
    let given = std::env::var_os(variable).filter(|given| !given.is_empty());
    let path = given.map_or_else(|| PathBuf::from(place), PathBuf::from);
    path.canonicalize().with_context(|| {
        format!(
            "there is no {}; {remedy} builds it, or set {variable}",
            path.display()
        )
    })
}
