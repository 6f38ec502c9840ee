//! The program itself: what it prints, what it is told, and how it explains what it cannot do.

mod common;

use std::net::TcpListener;

use common::{Service, program};
use serde_json::json;

#[tokio::test]
async fn addresses_are_announced_by_name() {
    let service = Service::start(&[
        "--also=127.0.0.1:0",
        "--consciousness=127.0.0.1:0",
        "--research-api=127.0.0.1:0",
    ]);
    let told = std::fs::read_to_string(service.port_file()).expect("port file is there");
    let lines: Vec<&str> = told.lines().collect();
    // The first line is the base URL alone.
    assert_eq!(service.announced, format!("listening on {}\n", lines[0]));
    let names: Vec<&str> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(" http://127.0.0.1:"))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["stream", "also", "consciousness", "research-api"]);
    for socket in service.urls.keys() {
        assert_eq!(
            service.get(socket, "/health").await.status(),
            200,
            "{socket}"
        );
    }
}

#[tokio::test]
async fn faults_are_given_by_name() {
    let faults = json!({
        "chunk-delay-ms": 1, "cut-share": 1, "drop-chunk": "2.00%", "error-share": 2, "gauge-hz": 100, "loop-hz": 90,
        "loop-stall-ms": 0, "no-hz": true, "refuse-share": 3,
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
    let given: Vec<&str> = given.iter().map(String::as_str).collect();
    let service = Service::start(&given);
    // All there are, so that one that is added is added here too.
    assert_eq!(service.tells("/faults").await, faults);
}

#[test]
fn wrong_arguments_are_explained() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let taken = taken
        .local_addr()
        .map(|address| (taken, address.to_string()));
    let (_taken, address) = taken.expect("socket is bound");
    for (arguments, expected) in [
        (vec!["--hz", "0"], "from 1 to 1000"),
        (vec!["--chunks", "0"], "from 1 to 10000"),
        (
            vec!["--also", "localhost"],
            "allowed are an address such as 127.0.0.1:4002",
        ),
        (
            vec!["--fault", "loop-stall=1"],
            "there is no fault \"loop-stall\"; there are chunk-delay-ms, ",
        ),
        (
            vec!["--fault", "loop-hz=2000"],
            "fault loop-hz: got 2000; a whole number",
        ),
        (vec!["--fault", "cut-share=most"], "6%"),
        (
            vec!["--tokens", "/nowhere/tokens"],
            "--tokens: cannot read /nowhere/tokens",
        ),
        (
            vec!["--listen=127.0.0.1:0", "--stream-listen", &address],
            "cannot listen on 127.0.0.1:",
        ),
    ] {
        let output = program().args(&arguments).output().expect("program runs");
        assert!(!output.status.success(), "{arguments:?}");
        assert!(output.stdout.is_empty());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains(expected), "{errors}");
    }
}
