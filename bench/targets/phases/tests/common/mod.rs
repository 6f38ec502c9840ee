//! The target as a process, and clients that speak to it over real sockets.

// Each test file is a crate of its own and uses its own part of this module.
#![allow(dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::{Method, Response, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// How long a condition may take to come true. Far above what is needed, as the machine may be busy.
pub const CONDITION_LIMIT: Duration = Duration::from_secs(60);

pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phases"));
    // Settings of whoever runs the tests are not meant.
    command.env_remove("RUST_LOG").env_remove("DATABASE_URL");
    command.stdin(Stdio::null());
    command
}

/// A running target. It is killed when a test fails before its end, and its nodes end with it.
pub struct Target {
    child: Child,
    folder: TempDir,
    /// What was said on stdout first.
    pub announced: String,
    /// Base URLs by name: "main", and the names of the port file.
    pub urls: BTreeMap<String, String>,
    client: reqwest::Client,
}

impl Target {
    /// Starts the program on free ports, without a cluster, with these arguments.
    pub fn alone(arguments: &[&str]) -> Self {
        Self::start(&[&["--nodes=0"], arguments].concat())
    }

    /// Starts it with so many nodes, which are started again soon.
    pub fn cluster(nodes: u8, arguments: &[&str]) -> Self {
        Self::restarting_after(50, nodes, arguments)
    }

    /// The same, with nodes that are started again after so many milliseconds.
    pub fn restarting_after(millis: u32, nodes: u8, arguments: &[&str]) -> Self {
        let (nodes, after) = (
            format!("--nodes={nodes}"),
            format!("--restart-after-ms={millis}"),
        );
        let usual = [nodes.as_str(), "--node-port=0", after.as_str()];
        Self::start(&[&usual, arguments].concat())
    }

    fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("folder can be made");
        let port_file = folder.path().join("port");
        let log = std::fs::File::create(folder.path().join("log")).expect("log can be made");
        let mut command = program();
        command
            .arg("--listen=127.0.0.1:0")
            .arg(format!("--port-file={}", port_file.display()))
            .args(arguments)
            // A killed target leaves what it has there, and this goes with the test.
            .env("TMPDIR", folder.path())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = command.spawn().expect("program starts");
        let mut output = BufReader::new(child.stdout.take().expect("output is piped"));
        let mut announced = String::new();
        output.read_line(&mut announced).expect("a line is printed");
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        let told = std::fs::read_to_string(&port_file).unwrap_or_else(|error| {
            panic!("no port file: {error}\n{log}");
        });
        let urls = told.lines().map(|line| match line.split_once(' ') {
            Some((name, url)) => (name.to_owned(), url.to_owned()),
            None => ("main".to_owned(), line.to_owned()),
        });
        Self {
            child,
            folder,
            announced,
            urls: urls.collect(),
            client: reqwest::Client::new(),
        }
    }

    pub fn port_file(&self) -> PathBuf {
        self.folder.path().join("port")
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it keeps among the temporary files that are its own.
    pub fn temporary(&self) -> Vec<String> {
        audit_folders(self.folder.path(), "")
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.urls["main"])
    }

    /// Asks at a path of this target, or at any address.
    pub async fn ask(&self, method: Method, at: &str, body: Option<Value>) -> Response {
        let url = if at.starts_with('/') {
            self.url(at)
        } else {
            at.to_owned()
        };
        let mut request = self.client.request(method, &url);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await;
        answer.unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    /// What it tells at a path, with 200.
    pub async fn tells(&self, path: &str) -> Value {
        let (status, told) = said(self.ask(Method::GET, path, None).await).await;
        assert_eq!(status, 200, "{path}: {told}");
        told
    }

    /// What an operation answers, with 200.
    pub async fn does(&self, path: &str, body: Value) -> Value {
        let (status, told) = self.post(path, body).await;
        assert_eq!(status, 200, "{path}: {told}");
        told
    }

    /// Status and answer of an operation.
    pub async fn post(&self, at: &str, body: Value) -> (StatusCode, Value) {
        said(self.ask(Method::POST, at, Some(body)).await).await
    }

    /// Changes faults while the target runs.
    pub async fn change_faults(&self, changes: Value) {
        let answer = self
            .ask(Method::PUT, "/faults", Some(changes.clone()))
            .await;
        assert_eq!(answer.status(), 200, "{changes}");
    }

    /// Waits until a path tells, with any status, what is right.
    pub async fn until(&self, path: &str, right: impl Fn(StatusCode, &Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let (status, told) = said(self.ask(Method::GET, path, None).await).await;
            if right(status, &told) {
                return told;
            }
            let late = started.elapsed() >= CONDITION_LIMIT;
            assert!(!late, "{path} stays at {status}: {told}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The nodes by their names, once so many are up.
    pub async fn nodes_when(&self, up: usize) -> BTreeMap<String, Value> {
        let told = self.until("/api/cluster/nodes", |_, told| {
            let nodes = told["nodes"].as_array().expect("nodes are a list");
            nodes.iter().filter(|node| node["status"] == "up").count() == up
        });
        let told = told.await;
        let nodes = told["nodes"].as_array().expect("nodes are a list");
        let named = nodes.iter().map(|node| (text(node, "name"), node.clone()));
        named.collect()
    }

    /// Opens a WebSocket.
    pub async fn socket(&self, path: &str) -> Socket {
        let url = self.url(path).replacen("http", "ws", 1);
        let (stream, _) = connect_async(&url).await.expect("it is opened");
        Socket(stream)
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

/// Folders of audit logs of the target with this process id, or of any.
pub fn audit_folders(folder: &Path, id: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("folder can be read");
    let names = entries.map(|entry| entry.expect("entry can be read").file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    let prefix = format!("phases-audit-{id}");
    names.filter(|name| name.starts_with(&prefix)).collect()
}

/// Status and JSON of an answer.
pub async fn said(answer: Response) -> (StatusCode, Value) {
    let status = answer.status();
    (status, answer.json().await.expect("body is JSON"))
}

/// A text in an object.
pub fn text(value: &Value, field: &str) -> String {
    let text = value[field].as_str().map(str::to_owned);
    text.unwrap_or_else(|| panic!("{field} is a text: {value}"))
}

/// A number in an object.
pub fn number(value: &Value, field: &str) -> f64 {
    let number = value[field].as_f64();
    number.unwrap_or_else(|| panic!("{field} is a number: {value}"))
}

/// A client of a WebSocket.
pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    pub async fn send(&mut self, frame: Value) {
        let sent = self.0.send(Message::text(frame.to_string()));
        sent.await.expect("frame can be sent");
    }

    /// The next frame of text; nothing where the other side has closed.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            let frame = tokio::time::timeout(CONDITION_LIMIT, self.0.next()).await;
            match frame.expect("something comes") {
                Some(Ok(Message::Text(text))) => {
                    return Some(serde_json::from_str(&text).expect("frame is JSON"));
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Joins the lobby, as clients of channels do.
    pub async fn join(&mut self) {
        let join = json!({ "topic": "room:lobby", "event": "phx_join", "payload": {}, "ref": "1" });
        self.send(join).await;
        let reply = self.next().await.expect("it is answered");
        assert_eq!(
            (&reply["event"], &reply["ref"]),
            (&json!("phx_reply"), &json!("1"))
        );
        assert_eq!(reply["payload"]["status"], "ok");
    }
}
