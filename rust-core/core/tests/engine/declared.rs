//! Every key that the script touches is among those that its call names: there are servers that refuse it otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use super::host::{Process, failure};
use super::support::RedisServer;
use barrier_core::ledger::Report;

/// What the server says that it executes, one line each.
struct Monitor(BufReader<TcpStream>);

impl Monitor {
    fn of(server: &RedisServer) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("connected");
        stream.write_all(b"MONITOR\r\n").expect("asked");
        let mut monitor = Self(BufReader::new(stream));
        assert_eq!(monitor.line(), "+OK");
        monitor
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    /// Keys that were touched and not declared, by command, until this word is said; and how many were touched.
    fn undeclared_until(&mut self, end: &str) -> (BTreeMap<String, BTreeSet<String>>, usize) {
        let mut undeclared: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut declared: Vec<String> = Vec::new();
        let mut touched = 0;
        loop {
            let line = self.line();
            let (_, words) = line.split_once("] \"").expect("a command");
            let words = words.strip_suffix('"').expect("its end");
            let words: Vec<&str> = words.split("\" \"").collect();
            if words.contains(&end) {
                return (undeclared, touched);
            }
            let name = words[0].to_ascii_uppercase();
            if !line.contains(" lua] ") {
                if matches!(name.as_str(), "EVAL" | "EVALSHA") {
                    let count: usize = words[2].parse().expect("a number of keys");
                    declared = words[3..3 + count]
                        .iter()
                        .map(|k| (*k).to_owned())
                        .collect();
                }
                continue;
            }
            let keys = match name.as_str() {
                "TIME" | "PUBLISH" => &[],
                "DEL" => &words[1..],
                _ => &words[1..2],
            };
            for key in keys {
                touched += 1;
                if !declared.iter().any(|known| known == key) {
                    let of_command = undeclared.entry(name.clone()).or_default();
                    of_command.insert((*key).to_owned());
                }
            }
        }
    }
}

#[test]
fn every_key_that_is_touched_is_declared() {
    let server = RedisServer::start();
    let mut monitor = Monitor::of(&server);
    let (a, b) = (Process::start(), Process::start());
    let json = |reasons: &str| {
        format!(
            r#"{{"store":"{}","runId":"r","name":"gate","parties":6,"cyclic":true,"releaseDelayMs":0,"reasons":[{reasons}]}}"#,
            server.url()
        )
    };
    let mine = a.open(&json(r#""login""#)).expect("open");
    let theirs = b.open(&json(r#""sse","zero""#)).expect("open");
    for phase in 0..6 {
        a.arrive(&mine, 1).expect("recorded");
        a.report(&mine, 2, failure("login")).expect("recorded");
        b.report(&theirs, 3, failure("sse")).expect("recorded");
        b.report(&theirs, 4, failure("unheard-of"))
            .expect("recorded");
        if phase == 3 {
            // The store forgets everything, and is told again.
            let _: String = server.ask(&["FLUSHALL"]);
        }
        a.arrive(&mine, 5).expect("recorded");
        b.arrive(&theirs, 6).expect("recorded");
        a.released(&mine, phase);
        b.released(&theirs, phase);
    }
    a.report(&mine, 5, Report::Leave).expect("recorded");
    let mirrors: (String, String, String, u32) = redis::pipe()
        .cmd("GET")
        .arg("K6_BARRIER_LOGIN_FAIL:r:gate:@5")
        .cmd("GET")
        .arg("K6_BARRIER_ZERO_FAIL:r:gate:@5")
        .cmd("GET")
        .arg("K6_BARRIER_UNHEARD-OF_FAIL:r:gate:@5")
        .cmd("SCARD")
        .arg("K6_BARRIER_JOINED:r:gate:@5")
        .query(&mut server.connection())
        .expect("all are there");
    assert_eq!(mirrors, ("1".into(), "0".into(), "1".into(), 3));
    let keys: Vec<String> = server.ask(&["KEYS", "*@3"]);
    assert!(keys.is_empty(), "mirrors of old phases go: {keys:?}");

    let one_shot = a.open(&format!(
        r#"{{"store":"{}","runId":"r","name":"once","parties":2,"reasons":["login"]}}"#,
        server.url()
    ));
    let one_shot = one_shot.expect("open");
    a.report(&one_shot, 1, failure("login")).expect("recorded");
    a.arrive(&one_shot, 2).expect("recorded");
    a.arrive(&one_shot, 3).expect("late");
    a.missing(&one_shot, 5).expect("nobody");
    a.abort(&mine, "enough").expect("broken");
    b.broken(&theirs);

    let _: String = server.ask(&["ECHO", "the end"]);
    let (undeclared, touched) = monitor.undeclared_until("the end");
    assert!(undeclared.is_empty(), "{undeclared:#?}");
    assert!(touched > 500, "{touched} keys were touched");
}
