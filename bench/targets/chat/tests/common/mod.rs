//! The chat service as a process, and clients that speak to it over real sockets.

// Each test file is a crate of its own and uses its own part of this module.
#![allow(dead_code, unreachable_pub)]

pub mod stream;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Response, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a condition may take to come true. Far above what is needed, as the machine may be busy.
pub const CONDITION_LIMIT: Duration = Duration::from_secs(30);

/// A pace that is above the limit of `/healthz` also on a machine that is busy with other things.
pub const FAST: &str = "--hz=250";

/// Chunks of a reply in tests.
pub const CHUNKS: usize = 4;

pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat-service"));
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// A running chat service. It is killed when a test fails before its end.
pub struct Service {
    child: Child,
    folder: TempDir,
    /// What was said on stdout first.
    pub announced: String,
    /// Base URLs by name: "api", and the names of the port file.
    pub urls: BTreeMap<String, String>,
}

impl Service {
    /// Starts the program on free ports, with replies of four chunks without delay, and these arguments.
    pub fn start(arguments: &[&str]) -> Self {
        let replies = ["--chunks=4", "--first-chunk-ms=0", "--chunk-interval-ms=0"];
        Self::with(&[&replies, arguments].concat())
    }

    /// Starts the program on free ports, with these arguments alone.
    pub fn with(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("folder can be made");
        let port_file = folder.path().join("port");
        std::fs::write(&port_file, "stale").expect("file can be written");
        let mut command = program();
        command
            .args(["--listen=127.0.0.1:0", "--stream-listen=127.0.0.1:0"])
            .arg(format!("--port-file={}", port_file.display()))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().expect("program starts");
        let mut output = BufReader::new(child.stdout.take().expect("output is piped"));
        let mut announced = String::new();
        output.read_line(&mut announced).expect("a line is printed");
        let told = std::fs::read_to_string(&port_file).expect("port file is there");
        let urls = told.lines().map(|line| match line.split_once(' ') {
            Some((name, url)) => (name.to_owned(), url.to_owned()),
            None => ("api".to_owned(), line.to_owned()),
        });
        Self {
            child,
            folder,
            announced,
            urls: urls.collect(),
        }
    }

    pub fn port_file(&self) -> PathBuf {
        self.folder.path().join("port")
    }

    pub fn url(&self, socket: &str, path: &str) -> String {
        format!("{}{path}", self.urls[socket])
    }

    pub async fn get(&self, socket: &str, path: &str) -> Response {
        let answer = reqwest::get(self.url(socket, path)).await;
        answer.expect("service answers")
    }

    /// What the API tells at a path.
    pub async fn tells(&self, path: &str) -> Value {
        let answer = self.get("api", path).await;
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.expect("body is JSON")
    }

    pub async fn counter(&self, name: &str) -> u64 {
        let count = self.tells("/counters").await[name].as_u64();
        count.unwrap_or_else(|| panic!("{name} is counted"))
    }

    /// Changes faults while the service runs.
    pub async fn change_faults(&self, changes: Value) -> Value {
        let request = reqwest::Client::new().put(self.url("api", "/faults"));
        let answer = request.json(&changes).send().await.expect("it answers");
        assert_eq!(answer.status(), 200, "{changes}");
        answer.json().await.expect("body is JSON")
    }

    /// A form that is called JSON, as load scripts send them.
    pub async fn post_form(&self, socket: &str, path: &str, form: &str) -> (StatusCode, Value) {
        let request = reqwest::Client::new()
            .post(self.url(socket, path))
            .header("Content-Type", "application/json")
            .body(form.to_owned());
        let answer = request.send().await.expect("service answers");
        let status = answer.status();
        (status, answer.json().await.expect("body is JSON"))
    }

    /// A token, as a login gives it.
    pub async fn log_in(&self, email: &str) -> String {
        let form = format!("email={email}&password=any");
        let (status, answer) = self.post_form("api", "/api/auth/login", &form).await;
        assert_eq!(status, 200);
        answer["token"].as_str().expect("token is text").to_owned()
    }

    /// The samples of `/metrics`, by name and labels.
    pub async fn samples(&self, socket: &str) -> BTreeMap<String, f64> {
        let text = self.get(socket, "/metrics").await.text().await;
        let text = text.expect("body is text");
        assert!(text.ends_with("# EOF\n"), "{text}");
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let pairs = samples.map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("sample has a value");
            (name.to_owned(), value.parse().expect("value is a number"))
        });
        pairs.collect()
    }

    /// What `/healthz` answers once the pace in that answer is as it should be.
    pub async fn health_when(&self, right: impl Fn(f64) -> bool) -> (StatusCode, Value) {
        let started = Instant::now();
        loop {
            let answer = self.get("stream", "/healthz").await;
            let status = answer.status();
            let health: Value = answer.json().await.expect("body is JSON");
            if health["hz"].as_f64().is_some_and(&right) {
                return (status, health);
            }
            assert!(started.elapsed() < CONDITION_LIMIT, "stays at {health}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a count is reached.
    pub async fn until_counter(&self, name: &str, right: u64) {
        let started = Instant::now();
        loop {
            let count = self.counter(name).await;
            if count == right {
                return;
            }
            assert!(
                started.elapsed() < CONDITION_LIMIT,
                "{name} stays at {count}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
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

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A change of one fault.
pub fn fault(name: &str, value: impl Into<Value>) -> Value {
    json!({ name: value.into() })
}
