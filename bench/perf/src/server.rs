//! A Redis of the run's own: loopback only, nothing on disk, gone with the run.

use std::path::{Path, PathBuf};
use std::thread;

use anyhow::Context as _;
use barrier_procs::{PrivateRedis, find_on_path, given_program};
use redis::{Connection, FromRedisValue};

use crate::child::check_interrupt;

/// Polling peers need a connection per user.
const MAX_CLIENTS: u32 = 50_000;

/// A running server, and a connection to it.
pub(crate) struct Server {
    connection: Connection,
    private: PrivateRedis,
}

impl Server {
    /// Starts the program and waits until it answers.
    ///
    /// # Errors
    /// It does not start, or a signal arrived.
    pub(crate) fn start(program: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("making a folder for Redis")?;
        let arguments = ["--maxclients", &MAX_CLIENTS.to_string()];
        let private = PrivateRedis::start(program, &arguments, folder, |pause| {
            thread::sleep(pause);
            check_interrupt()
        })?;
        let connection = redis::Client::open(private.address())?
            .get_connection()
            .context("connecting to Redis")?;
        Ok(Self {
            connection,
            private,
        })
    }

    /// Its address.
    pub(crate) fn url(&self) -> &str {
        self.private.address()
    }

    /// Its port.
    pub(crate) const fn port(&self) -> u16 {
        self.private.port()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.private.id()
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
    pub(crate) fn version(&self) -> &str {
        self.private.version()
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("private", &self.private)
            .finish_non_exhaustive()
    }
}

/// Finds a program: what the environment variable says, else the path.
///
/// # Errors
/// There is none; the text says how to get it.
pub(crate) fn find(variable: &str, name: &str, remedy: &str) -> anyhow::Result<PathBuf> {
    if let Some(path) = given_program(variable)? {
        return Ok(path);
    }
    find_on_path(name).with_context(|| format!("there is no {name}; {remedy}"))
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
