//! What a test starts ends with it, however it ends.
#![cfg(target_os = "linux")]

mod support;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::RedisServer;

/// Set for the process that is to be killed.
const VICTIM: &str = "K6_BARRIER_TEST_VICTIM";

#[test]
fn servers_end_with_a_test_that_is_killed() {
    if std::env::var_os(VICTIM).is_some() {
        return start_and_wait();
    }
    let this = std::env::current_exe().expect("its own path");
    let mut victim = Command::new(this)
        .args([
            "--exact",
            "servers_end_with_a_test_that_is_killed",
            "--nocapture",
        ])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the same program");
    let lines = BufReader::new(victim.stdout.take().expect("a pipe")).lines();
    let ports: Vec<u16> = lines
        .map_while(Result::ok)
        .filter_map(|line| line.split_once("port ")?.1.parse().ok())
        .take(2)
        .collect();
    victim.kill().expect("it lives");
    victim.wait().expect("it has ended");
    assert_eq!(ports.len(), 2, "it started two servers");
    let give_up = Instant::now() + Duration::from_secs(30);
    for port in ports {
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            assert!(Instant::now() < give_up, "the server on {port} goes on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// One server of a thread that has ended, as that of a test that is over, and one that stands still.
fn start_and_wait() {
    let start = || std::mem::ManuallyDrop::new(RedisServer::start());
    let of_thread = std::thread::spawn(start).join().expect("starts");
    let stopped = start();
    stopped.signal("-STOP");
    assert_eq!(
        of_thread.ask::<String>(&["PING"]),
        "PONG",
        "it outlives its thread"
    );
    println!("\nport {}\nport {}", of_thread.port(), stopped.port());
    loop {
        std::thread::park();
    }
}
