//! The program itself: what it prints, and how it ends.

mod common;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};

use common::client::{Client, login};
use common::redis_server::RedisServer;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// The process is killed when a test fails before its end.
struct Program(Child);

impl Program {
    /// Starts the program; returns it with its base URL and the rest of its output.
    fn start(arguments: &[&str]) -> (Self, String, BufReader<ChildStdout>) {
        let mut command = program();
        command.args(arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut program = Self(child.expect("program starts"));
        let mut output = BufReader::new(program.0.stdout.take().expect("output is piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a line is printed");
        let url = line
            .strip_prefix("listening on ")
            .expect("line tells the address");
        (program, url.to_owned(), output)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waiting-room"));
    command
        .env_remove("REDIS_URL")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null());
    command
}

#[tokio::test]
async fn address_is_announced_and_signals_end_the_program() {
    let redis = RedisServer::start();
    // The second start finds what the first left in Redis, so another user joins there.
    for (signal, email) in [
        (Signal::INT, "user1@example.com"),
        (Signal::TERM, "user2@example.com"),
    ] {
        let port_file = redis.folder().join("port");
        std::fs::write(&port_file, "stale").expect("file can be written");
        let path = port_file.to_str().expect("path is text");
        let (mut program, url, mut output) = Program::start(&[
            "--redis",
            &redis.url(),
            "--events",
            "e1",
            "--port-file",
            path,
        ]);
        assert_eq!(
            std::fs::read_to_string(&port_file).expect("port file is there"),
            url
        );

        let address = url
            .trim_end()
            .strip_prefix("http://")
            .expect("address is a base URL");
        let address = address.parse().expect("address has host and port");
        let mut stream = Client::log_in(address, email).await.join("e1").await;
        let pid = i32::try_from(program.0.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("process has an id"), signal).expect("signal can be sent");
        assert!(stream.ended_in_order().await);
        drop(stream);
        assert!(program.0.wait().expect("program ends").success());
        let mut rest = String::new();
        output
            .read_to_string(&mut rest)
            .expect("output can be read");
        assert_eq!(rest, "");
    }
}

#[tokio::test]
async fn faults_are_given_by_name_and_the_profile_is_told() {
    let redis = RedisServer::start();
    let faults = json!({
        "connections": 1000, "cut-streams": 1, "dead-brokers": 0, "delay-ms": 5, "double-encode": true,
        "expire-tokens": 2, "fail-first-logins": "1.00%", "fail-logins": 3, "fail-streams": 4, "late-slots-ms": 10,
        "leak-slots": 5, "lose-promotions": 6, "promote-twice": 7, "promotion-slowdown": "20.00%", "silence-users": 8,
        "silent-after-messages": 100_000, "silent-after-ms": 100_000, "stall-promotion": true,
    });
    let by_name = faults.as_object().expect("faults have names");
    for name in by_name.keys() {
        let row = format!("| `{name}` | ");
        assert!(include_str!("../README.md").contains(&row), "{row}");
    }
    let given: Vec<String> = by_name
        .iter()
        .map(|(name, value)| {
            let text = value.as_str().map(str::to_owned);
            format!("--fault={name}={}", text.unwrap_or(value.to_string()))
        })
        .collect();
    let url = redis.url();
    let mut arguments = vec!["--redis", &url, "--like", "real", "--gateway-ms", "0"];
    arguments.extend(given.iter().map(String::as_str));
    let (_program, url, _output) = Program::start(&arguments);
    let get = async |path: &str| -> Value {
        let answer = reqwest::get(format!("{}{path}", url.trim_end())).await;
        let answer = answer.expect("program answers");
        answer.json().await.expect("answer is JSON")
    };
    // All there are, so that one that is added is added here too.
    assert_eq!(get("/faults").await, faults);
    let life = &get("/health").await["life"];
    let expected = json!({
        "pipeline": 1, "index-records": true, "login-ms": 9, "join-ms": 500, "gateway-ms": 0, "gateway-parallel": 2000, "hop": "streams",
        "chunks": true, "round-ms": 1000, "late-rounds-ms": 700, "brokers": 2, "greeting": "연결되었습니다.",
    });
    assert_eq!(*life, expected);
}

#[tokio::test]
async fn connections_are_limited_by_their_option_and_by_no_profile() {
    let redis = RedisServer::start();
    let url = redis.url();
    let start = |more: &[&str]| {
        let all = [&["--redis", url.as_str(), "--events", "e1"], more].concat();
        let (program, url, _) = Program::start(&all);
        let address = url.trim_end().strip_prefix("http://");
        let address: SocketAddr = address
            .and_then(|address| address.parse().ok())
            .expect("address has host and port");
        (program, address)
    };
    let (_limited, address) = start(&["--connections", "1", "--connection-wait-ms", "1"]);
    let user = Client::log_in(address, "user1@example.com").await;
    let stream = user.join("e1").await;
    let refused = login(address, "user2@example.com", "password123").await;
    assert_eq!(refused.status(), 500, "the stream holds the only one");
    drop(stream);
    for profile in ["fast", "real"] {
        let (_unlimited, address) = start(&["--like", profile]);
        let faults = reqwest::get(format!("http://{address}/faults")).await;
        let faults: Value = faults
            .expect("program answers")
            .json()
            .await
            .expect("answer is JSON");
        assert_eq!(faults.get("connections"), Some(&Value::Null), "{profile}");
    }
}

#[test]
fn unreachable_redis_ends_the_program_and_keeps_the_password() {
    // Port 1 is reserved and refuses.
    let output = program()
        .args(["--redis", "redis://:s3cret@127.0.0.1:1"])
        .output();
    let output = output.expect("program runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains("cannot reach Redis at redis://127.0.0.1:1/0"),
        "{errors}"
    );
    assert!(!errors.contains("s3cret"), "{errors}");
}

#[test]
fn wrong_arguments_are_explained() {
    for (arguments, expected) in [
        (["--queue", "list"], "zset, hash"),
        (["--fail-logins", "most"], "6%"),
        (["--events", "a,,b"], "--events"),
        (["--redis", "http://:s3cret@host"], "--redis"),
        (["--like", "life"], "fast, real"),
        (["--transport", "mail"], "sse, polling"),
        (["--chunks", "2"], "1, 3"),
        (["--pipeline", "0"], "--pipeline"),
        (["--fault", "cut-stream=1"], "cut-streams"),
        (["--fault", "cut-streams=most"], "6%"),
    ] {
        let output = program().args(arguments).output().expect("program runs");
        assert!(!output.status.success());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            errors.contains(expected) && !errors.contains("s3cret"),
            "{errors}"
        );
    }
}
