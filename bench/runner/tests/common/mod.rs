//! What the tests of the runner share: the real programs, and a place where nothing of the machine interferes.

#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod bench;
pub(crate) mod chat;
pub(crate) mod climb;
pub(crate) mod evidence;
pub(crate) mod life;
pub(crate) mod m2;
pub(crate) mod monitor;
pub(crate) mod own;
pub(crate) mod phases;
pub(crate) mod postgres;
pub(crate) mod room;
pub(crate) mod series;
pub(crate) mod services;
pub(crate) mod wire;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value as Json;
use tempfile::TempDir;

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the crate lies in the repository's bench/")
        .to_owned()
}

/// What the folder of every run holds.
pub(crate) const EVIDENCE: [&str; 9] = [
    "meta.txt",
    "meta.json",
    "cleanup.txt",
    "stdout.txt",
    "summary.json",
    "derived.json",
    "verdict.json",
    "monitor-generator.jsonl",
    "SHA256SUMS",
];

/// k6: `K6_BIN`, else `./k6`.
pub(crate) fn k6() -> PathBuf {
    program("K6_BIN", &[root().join("k6")], "make k6")
}

/// The reference target: `WAITING_ROOM_BIN`, else beside the runner, else the one in `bin/`.
pub(crate) fn waiting_room() -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_barrier-bench")).with_file_name("waiting-room");
    let installed = root().join("bin/waiting-room");
    program("WAITING_ROOM_BIN", &[beside, installed], "make binaries")
}

/// The reference chat service: `CHAT_SERVICE_BIN`, else the one in `bin/`, which is built to be fast.
pub(crate) fn chat_service() -> PathBuf {
    let installed = root().join("bin/chat-service");
    program("CHAT_SERVICE_BIN", &[installed], "make binaries")
}

pub(crate) fn program(variable: &str, places: &[PathBuf], build: &str) -> PathBuf {
    let given = std::env::var_os(variable)
        .filter(|given| !given.is_empty())
        .map(PathBuf::from);
    let found = match given {
        Some(given) => vec![std::path::absolute(given).expect("a path")],
        None => places.to_vec(),
    };
    found
        .iter()
        .find(|path| path.is_file())
        .cloned()
        .unwrap_or_else(|| {
            panic!("none of {found:?} exists: build it with `{build}`, or set {variable}")
        })
}

/// A place for one test: a working directory, temporary files and evidence of its own.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // As `/tmp` is: a server that refuses to be root's runs as somebody else, who has to get to its files.
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).expect("a mode");
        std::fs::create_dir(folder.path().join("tmp")).expect("a folder");
        Self { folder }
    }

    pub(crate) fn evidence(&self) -> PathBuf {
        self.folder.path().join("evidence")
    }

    /// The lock of this place's runs.
    pub(crate) fn lock(&self) -> PathBuf {
        self.folder.path().join("lock")
    }

    /// The runner with an environment that holds nothing but what the test gives.
    pub(crate) fn runner(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_barrier-bench"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("TMPDIR", self.folder.path().join("tmp"))
            .env("EVIDENCE_ROOT", self.evidence())
            // Tests measure nothing that anybody compares, so they need not wait for each other.
            .env(barrier_procs::LOCK_VARIABLE, self.lock())
            .current_dir(root())
            .stdin(Stdio::null());
        for server in ["REDIS_SERVER_BIN", "POSTGRES_BIN"] {
            command.envs(std::env::var_os(server).map(|program| (server, program)));
        }
        command
    }

    /// The runner for the waiting-room suite with loads of one's own.
    pub(crate) fn waiting_room_run(&self) -> Command {
        let mut command = self.lifelike_run();
        command.args(["--set", "LIKE=fast"]);
        command
    }

    /// The same, with a room that takes its time as a real one does.
    pub(crate) fn lifelike_run(&self) -> Command {
        let mut command = self.runner();
        command
            .args(["run", "bench/suites/waiting-room.toml"])
            .args(["--scenario", "custom"])
            .env("K6_BIN", k6())
            .env("WAITING_ROOM_BIN", waiting_room());
        command
    }

    /// The folder of the only run with this path below the folder of its call.
    pub(crate) fn run_folder(&self, below: &str) -> PathBuf {
        let calls: Vec<_> = std::fs::read_dir(self.evidence())
            .expect("evidence")
            .map(|entry| entry.expect("entry").path())
            .filter(|path| !path.ends_with("monitoring"))
            .collect();
        assert_eq!(calls.len(), 1, "one call: {calls:?}");
        let folder = calls[0].join(below);
        assert!(folder.is_dir(), "{} exists", folder.display());
        folder
    }

    /// Temporary files that are left over.
    pub(crate) fn left_over(&self) -> Vec<String> {
        std::fs::read_dir(self.folder.path().join("tmp"))
            .expect("tmp")
            .map(|entry| {
                entry
                    .expect("entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect()
    }
}

/// Between two looks at a condition.
pub(crate) fn pause() {
    std::thread::sleep(std::time::Duration::from_millis(10));
}

/// Exit code, and both outputs as one text.
pub(crate) fn finish(command: &mut Command) -> (i32, String) {
    told(command.output().expect("the runner starts"))
}

/// The same for a runner that was started in the background.
pub(crate) fn wait(child: Child) -> (i32, String) {
    told(child.wait_with_output().expect("the runner ends"))
}

fn told(output: Output) -> (i32, String) {
    let text = [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat();
    (output.status.code().expect("an exit code"), text)
}

pub(crate) fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn json(path: &Path) -> Json {
    serde_json::from_str(&text(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Asks the server something that has no blanks in its words.
pub(crate) fn ask<T: redis::FromRedisValue>(
    connection: &mut redis::Connection,
    command: &str,
) -> T {
    let words: Vec<&str> = command.split(' ').collect();
    redis::cmd(words[0])
        .arg(&words[1..])
        .query(connection)
        .expect("reply")
}

/// A target that a person has started, and what it has told in its file once it listens: its address, and what follows.
pub(crate) fn start_target(command: &mut Command, port_file: &Path) -> (Child, String) {
    let log = port_file.with_extension("log");
    let file = std::fs::File::create(&log).expect("a log");
    let mut target = command
        .arg("--port-file")
        .arg(port_file)
        .stdout(Stdio::null())
        .stderr(file)
        .spawn()
        .expect("the target starts");
    loop {
        if let Some(status) = target.try_wait().expect("state") {
            panic!("{command:?} ended with {status}: {}", text(&log));
        }
        match std::fs::read_to_string(port_file) {
            Ok(told) => return (target, told.trim().to_owned()),
            Err(_) => pause(),
        }
    }
}

/// A Redis of the test's own, ended when dropped.
pub(crate) struct Redis {
    child: Child,
    pub(crate) address: String,
    _folder: TempDir,
}

impl Redis {
    pub(crate) fn start(more: &[&str]) -> Self {
        // Between the look at a free port and the server's start another program may take it.
        std::iter::repeat_with(|| Self::try_start(more))
            .take(10)
            .flatten()
            .next()
            .expect("redis-server starts on one of ten ports")
    }

    fn try_start(more: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let program = std::env::var_os("REDIS_SERVER_BIN")
            .filter(|given| !given.is_empty())
            .unwrap_or_else(|| "redis-server".into());
        let log = folder.path().join("redis.log");
        let child = Command::new(program)
            .args([
                "--bind",
                "127.0.0.1",
                "--port",
                &port.to_string(),
                "--save",
                "",
                "--dir",
            ])
            .arg(folder.path())
            .args(more)
            .stdout(std::fs::File::create(&log).expect("a log"))
            .spawn()
            .expect("redis-server starts; get one with scripts/ensure-redis.sh");
        let mut redis = Self {
            child,
            address: format!("redis://127.0.0.1:{port}"),
            _folder: folder,
        };
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        loop {
            // Its own word: on the port a stranger may answer, whose socket came first.
            if text(&log).contains("Ready to accept connections") {
                return Some(redis);
            }
            if redis.child.try_wait().expect("state").is_some() {
                return None;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "redis-server is ready: {}",
                text(&log)
            );
            pause();
        }
    }

    pub(crate) fn connect(&self) -> redis::Connection {
        self.connect_as("")
    }

    /// With credentials, as in `user:password@`.
    pub(crate) fn connect_as(&self, credentials: &str) -> redis::Connection {
        redis::Client::open(self.with(credentials))
            .and_then(|client| client.get_connection())
            .expect("a connection")
    }

    pub(crate) fn with(&self, credentials: &str) -> String {
        self.address
            .replace("redis://", &format!("redis://{credentials}"))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
