//! The programs as processes, their database, and clients that speak to them over real sockets.

// Each test file is a crate of its own and uses its own part of this module.
#![allow(dead_code, unreachable_pub)]

pub mod events;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use target_kit::test_postgres::Database;

use reqwest::{Method, Response};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How long a condition may take to come true. Far above what is needed, as the machine may be busy.
pub const CONDITION_LIMIT: Duration = Duration::from_secs(60);

pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_challenge"));
    // Settings of whoever runs the tests are not meant.
    for name in [
        "RUST_LOG",
        "DATABASE_URL",
        "DB_HOST",
        "DB_PORT",
        "DB_NAME",
        "DB_USER",
        "DB_PASSWORD",
        "DB_MAX_OPEN_CONNS",
        "BASE_PATH",
        "CONFIG_PATH",
        "AB_NAMESPACE",
        "FLUSH_WORKERS",
        "REWARD_CLIENT_MODE",
        "PLUGIN_GRPC_SERVER_AUTH_ENABLED",
    ] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// A running service or handler. It is killed when a test fails before its end.
pub struct Target {
    child: Child,
    folder: TempDir,
    /// Base URLs by name: "main", and the names of the port file.
    pub urls: BTreeMap<String, String>,
}

impl Target {
    /// `challenge service` on free ports, on this database.
    pub fn service(database: &Database, arguments: &[&str]) -> Self {
        Self::start("service", database, arguments)
    }

    /// `challenge event-handler` on free ports, on this database.
    pub fn handler(database: &Database, arguments: &[&str]) -> Self {
        Self::start("event-handler", database, arguments)
    }

    fn start(command: &str, database: &Database, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("folder can be made");
        let port_file = folder.path().join("port");
        let log = std::fs::File::create(folder.path().join("log")).expect("log can be made");
        let mut child = program()
            .arg(command)
            .args(["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"])
            .arg(format!("--port-file={}", port_file.display()))
            .args(arguments)
            .env("DATABASE_URL", &database.url)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("program starts");
        let mut output = BufReader::new(child.stdout.take().expect("output is piped"));
        let mut announced = String::new();
        output.read_line(&mut announced).expect("output is text");
        let told = std::fs::read_to_string(&port_file).unwrap_or_else(|_| {
            let log = std::fs::read_to_string(folder.path().join("log"));
            panic!("{command} did not start: {}", log.unwrap_or_default())
        });
        let urls = told.lines().map(|line| match line.split_once(' ') {
            Some((name, url)) => (name.to_owned(), url.to_owned()),
            None => ("main".to_owned(), line.to_owned()),
        });
        let urls = urls.collect();
        Self {
            child,
            folder,
            urls,
        }
    }

    pub fn log(&self) -> String {
        let log: PathBuf = self.folder.path().join("log");
        std::fs::read_to_string(log).expect("log is text")
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.urls["main"])
    }

    pub fn admin(&self, path: &str) -> String {
        format!("{}{path}", self.urls["admin"])
    }

    /// A request of a user to the API, below `/challenge`.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        user: &str,
        body: Option<&str>,
    ) -> Response {
        let mut request = reqwest::Client::new()
            .request(method, self.url(&format!("/challenge{path}")))
            .header("Authorization", format!("Bearer mock-jwt-token-for-{user}"))
            .header("Content-Type", "application/json")
            .header("X-Mock-User-Id", user);
        if let Some(body) = body {
            request = request.body(body.to_owned());
        }
        request.send().await.expect("service answers")
    }

    /// Its status and its body as JSON.
    pub async fn says(
        &self,
        method: Method,
        path: &str,
        user: &str,
        body: Option<&str>,
    ) -> (u16, Value) {
        let answer = self.ask(method, path, user, body).await;
        let status = answer.status().as_u16();
        (status, answer.json().await.expect("body is JSON"))
    }

    /// What the admin socket tells at a path.
    pub async fn tells(&self, path: &str) -> Value {
        let answer = reqwest::get(self.admin(path)).await.expect("it answers");
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.expect("body is JSON")
    }

    pub async fn counter(&self, name: &str) -> u64 {
        let count = self.tells("/counters").await[name].as_u64();
        count.unwrap_or_else(|| panic!("{name} is counted"))
    }

    /// Waits until a count is as it should be.
    pub async fn until_counter(&self, name: &str, right: impl Fn(u64) -> bool) {
        let started = Instant::now();
        loop {
            let count = self.counter(name).await;
            if right(count) {
                return;
            }
            assert!(
                started.elapsed() < CONDITION_LIMIT,
                "{name} stays at {count}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Changes faults while it runs.
    pub async fn change_faults(&self, changes: Value) -> Value {
        let request = reqwest::Client::new().put(self.admin("/faults"));
        let answer = request.json(&changes).send().await.expect("it answers");
        assert_eq!(answer.status(), 200, "{changes}");
        answer.json().await.expect("body is JSON")
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("process has an id"), signal).expect("signal can be sent");
    }

    /// Waits for the end; whether it is a good one.
    pub fn ended_well(&mut self) -> bool {
        self.child.wait().expect("program ends").success()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
