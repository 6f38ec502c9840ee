//! The program itself: what it prints, and how it ends.

mod common;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use common::client::Client;
use common::redis_server::RedisServer;
use rustix::process::{Pid, Signal, kill_process};

/// The process is killed when a test fails before its end.
struct Program(Child);

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
        let mut command = program();
        command
            .args(["--redis", &redis.url(), "--events", "e1", "--port-file"])
            .arg(&port_file);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut program = Program(child.expect("program starts"));
        let mut output = BufReader::new(program.0.stdout.take().expect("output is piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a line is printed");
        let url = line
            .strip_prefix("listening on ")
            .expect("line tells the address");
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
