//! A private Redis server.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::{Connection, FromRedisValue};
use tempfile::TempDir;

use super::CONDITION_LIMIT;

/// A Redis server of one test. It listens on a socket file in a folder of its own, so that no other server can have its
/// address, and a restarted one gets the same. It is killed when dropped.
pub struct RedisServer {
    folder: TempDir,
    process: Option<Child>,
}

impl RedisServer {
    pub fn start() -> Self {
        let folder = TempDir::new().expect("temporary folder can be made");
        let mut server = Self {
            folder,
            process: None,
        };
        server.restart();
        server
    }

    /// Starts the server again, empty, after [`Self::kill`].
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "Redis runs already");
        let process = Command::new("redis-server")
            .args([
                "--port",
                "0",
                "--save",
                "",
                "--appendonly",
                "no",
                "--daemonize",
                "no",
            ])
            .arg("--unixsocket")
            .arg(self.socket())
            .arg("--dir")
            .arg(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        self.process = Some(process);
        let started = Instant::now();
        while self.try_connect().is_err() {
            assert!(
                started.elapsed() < CONDITION_LIMIT,
                "redis-server does not answer"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("redis-server can be killed");
            process.wait().expect("redis-server can be waited for");
        }
    }

    /// Stops the server for a while (`STOP`), or lets it go on (`CONT`).
    pub fn signal(&self, name: &str) {
        let process = self.process.as_ref().expect("Redis runs");
        let id = process.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// The folder of this server, which goes with it.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    fn try_connect(&self) -> redis::RedisResult<Connection> {
        let mut connection = redis::Client::open(self.url())?.get_connection()?;
        redis::cmd("PING").query::<String>(&mut connection)?;
        Ok(connection)
    }

    /// Runs one command, given as words.
    pub fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut connection = self.try_connect().expect("Redis answers");
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(word);
        }
        command.query(&mut connection).expect("command succeeds")
    }

    /// Waits until a command answers this.
    pub async fn until<T: FromRedisValue + PartialEq + std::fmt::Debug>(
        &self,
        words: &[&str],
        expected: T,
    ) {
        let started = Instant::now();
        loop {
            let answer: T = self.ask(words);
            if answer == expected {
                return;
            }
            assert!(
                started.elapsed() < CONDITION_LIMIT,
                "{words:?} answers {answer:?}, expected {expected:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// How often a command ran so far.
    pub fn calls(&self, command: &str) -> u64 {
        let statistics: String = self.ask(&["INFO", "commandstats"]);
        let mut prefix = String::new();
        write!(prefix, "cmdstat_{}:calls=", command.to_lowercase()).expect("text can be written");
        let line = statistics
            .lines()
            .find_map(|line| line.strip_prefix(&prefix));
        let calls = line.and_then(|line| line.split(',').next());
        calls.map_or(0, |calls| calls.parse().expect("calls are a number"))
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
