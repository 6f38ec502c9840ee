//! A real redis-server of the test's own, on a free port, in a folder of its own, gone when dropped.
#![allow(dead_code)] // each test file uses a part of it

#[path = "children.rs"]
mod children;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// `REDIS_SERVER_BIN`, or the `redis-server` on the path.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("REDIS_SERVER_BIN")
        .map_or_else(|| PathBuf::from("redis-server"), PathBuf::from)
}

/// A running server.
pub(crate) struct RedisServer {
    binary: PathBuf,
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
    more: Vec<String>,
}

impl RedisServer {
    /// Starts `REDIS_SERVER_BIN`, or the `redis-server` on the path.
    pub(crate) fn start() -> Self {
        Self::start_with(&binary())
    }

    /// Starts this program.
    pub(crate) fn start_with(binary: &Path) -> Self {
        Self::start_with_arguments(binary, &[])
    }

    /// Starts this program with further arguments.
    pub(crate) fn start_with_arguments(binary: &Path, more: &[&str]) -> Self {
        // The port is free when asked for; another process may take it before the server does, so ask again then.
        let mut attempts = (0..10).map(|_| Self::start_at(binary, free_port(), more));
        let server = attempts.find_map(|server| server);
        server.unwrap_or_else(|| panic!("{} did not come up with {more:?}", binary.display()))
    }

    /// The same on this port; none where it does not come up, as when the port is taken.
    pub(crate) fn start_at(binary: &Path, port: u16, more: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().expect("temporary folder");
        let more: Vec<String> = more.iter().map(|&argument| argument.to_owned()).collect();
        let mut server = Self {
            child: spawn(binary, port, folder.path(), &more),
            binary: binary.to_owned(),
            port,
            folder,
            more,
        };
        ready(&mut server.child, port).then_some(server)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn connection(&self) -> redis::Connection {
        redis::Client::open(self.url())
            .and_then(|c| c.get_connection())
            .expect("the test's own redis-server answers")
    }

    /// A connection to a server that refuses what a client says first.
    pub(crate) fn connection_unasked(&self) -> redis::Connection {
        let info = redis::Client::open(self.url())
            .expect("a URL")
            .get_connection_info()
            .clone();
        let settings = info.redis_settings().clone().set_skip_set_lib_name();
        redis::Client::open(info.set_redis_settings(settings))
            .and_then(|c| c.get_connection())
            .expect("the test's own redis-server answers")
    }

    /// Kills the server and starts an empty one on the same port.
    pub(crate) fn restart_empty(&mut self) {
        self.kill();
        // What a replica was sent stays in a file.
        let _ = std::fs::remove_file(self.folder.path().join("dump.rdb"));
        self.child = spawn(&self.binary, self.port, self.folder.path(), &self.more);
        assert!(ready(&mut self.child, self.port), "redis-server came back");
    }

    /// Kills the server and starts one with further arguments over what it had saved; answers before it has loaded that.
    pub(crate) fn restart_loading(&mut self, more: &[&str]) {
        self.kill();
        self.more.extend(more.iter().map(|&m| m.to_owned()));
        self.child = spawn(&self.binary, self.port, self.folder.path(), &self.more);
    }

    /// Where it saves its data.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it answers, which must be no error.
    pub(crate) fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let answer = redis::cmd(words[0])
            .arg(&words[1..])
            .query(&mut self.connection());
        answer.unwrap_or_else(|e| panic!("{words:?}: {e}"))
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(status.success());
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(binary: &Path, port: u16, folder: &Path, more: &[String]) -> Child {
    let mut command = Command::new(binary);
    command
        .args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
        ])
        .args(["--appendonly", "no", "--maxclients", "20000", "--dir"])
        .arg(folder)
        .args(more)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    children::spawn(command)
        .unwrap_or_else(|e| panic!("{} starts ({e}); install redis-server", binary.display()))
}

fn ready(child: &mut Child, port: u16) -> bool {
    let give_up = Instant::now() + Duration::from_secs(20);
    while Instant::now() < give_up {
        if child.try_wait().expect("child").is_some() {
            return false;
        }
        // Where the port was taken, a stranger may answer. None that still loads what it had saved is asked anything.
        let answers = redis::Client::open(format!("redis://127.0.0.1:{port}"))
            .and_then(|c| c.get_connection_with_timeout(Duration::from_secs(1)))
            .and_then(|mut c| {
                redis::cmd("PING").query::<String>(&mut c)?;
                redis::cmd("INFO")
                    .arg("server")
                    .query::<redis::InfoDict>(&mut c)
            });
        if answers.is_ok_and(|info| info.get("process_id") == Some(child.id())) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|l| l.local_addr())
        .expect("a free port")
        .port()
}
