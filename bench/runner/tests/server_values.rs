//! Values that a target measured itself: read once k6 has ended, and judged like a metric of k6.

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use common::series::{Stage, gate};
use common::{finish, json};

/// Something that answers every request with this text.
fn answering(text: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let length = text.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}"
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    format!("http://{address}/stats")
}

const STATS: &str = r#"{ "pass": { "n": 5000, "p50": 200, "p95": 900.5, "p99": 1500 }, "spawn": { "samples": [1, 2, 3, 4] }, "loads": 1, "lost": 0, "empty": { "n": 0, "p95": 0 } }"#;

fn stage(source: &str, gates: &str) -> Stage {
    Stage::new(&format!(
        "[[scenario]]\nid = \"load\"\nscript = \"s.js\"\nlimit = \"60s\"\n\
         [[server]]\nid = \"inside\"\nsource = \"{source}\"\n\
         match = {{ pass_us = \"pass\", spawn_us = \"spawn.samples\", loads = \"loads\", lost = \"lost\", empty_us = \"empty\" }}\n{gates}"
    ))
}

/// A stand-in of k6 whose harness reports a value under the same name: it is not the target's.
const LYING: &str = "printf '{ \"metrics\": { \"pass_us\": { \"type\": \"trend\", \"values\": { \"p(95)\": 1, \"count\": 9 } } } }' > summary.json; exit 0\n";

#[test]
fn what_the_target_tells_is_judged_in_its_unit_and_http_stands_apart() {
    let gates = [
        gate(
            "pass",
            "metric = \"pass_us\"\nstat = \"p(95)\"\nop = \"<\"\nlimit = 901\nunit = \"us\"\nmin_samples = 5000",
        ),
        gate(
            "too-slow",
            "metric = \"pass_us\"\nstat = \"p(95)\"\nop = \"<\"\nlimit = 900",
        ),
        gate(
            "median",
            "metric = \"spawn_us\"\nstat = \"med\"\nop = \"==\"\nlimit = 2.5",
        ),
        gate(
            "once",
            "metric = \"loads\"\nstat = \"value\"\nop = \"==\"\nlimit = 1",
        ),
        gate(
            "nothing-lost",
            "metric = \"lost\"\nstat = \"value\"\nop = \"==\"\nlimit = 0",
        ),
    ];
    let stage = stage(&answering(STATS), &gates.concat());
    stage.work(LYING);
    let (code, printed, verdict) = stage.run();
    assert_eq!(code, 3, "{printed}");
    assert_eq!(verdict.is(), "FAIL", "{:#}", verdict.0);
    for (id, holds) in [
        ("pass", true),
        ("too-slow", false),
        ("median", true),
        ("once", true),
        ("nothing-lost", true),
    ] {
        assert_eq!(verdict.gate(id)["holds"], holds, "{}", verdict.text(id));
    }
    assert_eq!(
        verdict.gate("pass")["value"],
        900.5,
        "of the target, and not of the harness"
    );
    let record = json(&stage.run_folder().join("server.json"));
    assert!(record["answers"][0]["askedMs"].as_f64() > Some(0.0));
    assert_eq!(record["answers"][0]["answer"]["pass"]["p99"], 1500);
    let (code, printed) = stage.judge();
    assert_eq!(code, 3, "{printed}");
    assert!(!printed.contains("was "), "the same as before: {printed}");
}

#[test]
fn a_value_without_samples_or_without_an_answer_is_invalid() {
    let stage = stage(
        &answering(STATS),
        &gate(
            "empty",
            "metric = \"empty_us\"\nstat = \"p(95)\"\nop = \"<\"\nlimit = 900",
        ),
    );
    let (code, _, verdict) = stage.run();
    assert_eq!((code, verdict.is()), (3, "INVALID"), "{:#}", verdict.0);
    assert!(
        verdict.text("empty").contains("no samples"),
        "{}",
        verdict.text("empty")
    );

    let asked = gate(
        "pass",
        "metric = \"pass_us\"\nstat = \"p(95)\"\nop = \"<\"\nlimit = 900",
    );
    for answer in ["not JSON", "{}", r#"{ "pass": "fast" }"#] {
        let stage = self::stage(&answering(answer), &asked);
        stage.work(LYING);
        let (code, printed, verdict) = stage.run();
        assert_eq!((code, verdict.is()), (3, "INVALID"), "{answer}: {printed}");
        assert!(
            verdict.text("pass").contains("absent"),
            "{}",
            verdict.text("pass")
        );
    }
}

#[test]
fn an_address_that_is_not_allowed_is_not_read() {
    let stage = stage(
        "http://elsewhere.example/stats",
        &gate(
            "pass",
            "metric = \"pass_us\"\nstat = \"p(95)\"\nop = \"<\"\nlimit = 900",
        ),
    );
    let (code, printed) = finish(&mut stage.call(&["run", &stage.suite()]));
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains("the host elsewhere.example is not allowed"),
        "{printed}"
    );
}
