//! Whoever dies in the middle of a run of the chat suite: the target, one of somebody else's, k6, or the runner itself.

mod common;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::chat::Chat;
use common::life::{
    Ends, Seen, all_end, chat_service, child, children, plan, send, verb_in, wait_for,
};
use common::{Place, files, finish, json, k6, text};
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use rustix::process::Signal;

/// A run with two users in the middle of its stream.
struct Run {
    place: Place,
    runner: Ends,
    /// Where its evidence is.
    folder: PathBuf,
    plan: PathBuf,
    started: Vec<Seen>,
}

impl Run {
    /// The runner starts the service.
    fn new() -> Self {
        Self::at(None)
    }

    fn at(service: Option<&Chat>) -> Self {
        let place = Place::new();
        let mut command = place.runner();
        command
            .args([
                "run",
                "chat",
                "--quick",
                "--scenario",
                "websocket-streaming",
            ])
            .args(["--set", "VUS=40", "--set", "DURATION=2h"])
            .env("K6_BIN", k6())
            .env("CHAT_SERVICE_BIN", chat_service())
            .envs(service.map(|chat| ("BASE_URL", format!("http://{}", chat.api))))
            .envs(service.map(|chat| ("WS_URL", format!("ws://{}", chat.stream))))
            .stdout(
                std::fs::File::create(place.evidence().with_file_name("printed")).expect("file"),
            )
            .stderr(Stdio::null());
        let runner = Ends(command.spawn().expect("the runner starts"));
        let plan = plan(&place.evidence());
        let target = if service.is_some() { "service" } else { "chat" };
        let folder = plan.join(target).join("websocket-streaming");
        wait_for("replies are measured", || {
            let lines = std::fs::read_to_string(folder.join("series.hlog.jsonl")).ok()?;
            lines.contains("message_response_time").then_some(())
        });
        let started = children(i32::try_from(runner.0.id()).expect("an id"));
        Self {
            place,
            runner,
            folder,
            plan,
            started,
        }
    }

    fn id(&self) -> i32 {
        i32::try_from(self.runner.0.id()).expect("an id")
    }

    fn kill(&self, name: &str) {
        let child = child(self.id(), name).unwrap_or_else(|| panic!("{name}: {:?}", self.started));
        send(child.id, Signal::KILL);
    }

    fn folder(&self) -> &Path {
        &self.folder
    }

    /// Waits for the end; what was printed comes with the code.
    fn end(&mut self) -> (Option<i32>, String) {
        let code = self.runner.0.wait().expect("end").code();
        all_end(&self.started);
        wait_for("no temporary file is left", || {
            self.place.left_over().is_empty().then_some(())
        });
        (code, text(&self.place.evidence().with_file_name("printed")))
    }

    /// The folder holds all that a run leaves, and what k6 measured can be read.
    fn is_complete(&self, but_for: &[&str]) {
        for name in [
            "meta.json",
            "meta.txt",
            "stdout.txt",
            "summary.json",
            "verdict.json",
            "derived.json",
            "chat.log",
            "monitor-loop.jsonl",
            "monitor-processes.jsonl",
            "monitor-generator.jsonl",
            "SHA256SUMS",
        ] {
            let there = self.folder().join(name).is_file();
            assert_eq!(
                there,
                !but_for.contains(&name),
                "{name}: {:?}",
                files(self.folder())
            );
        }
        let partial = |path: &PathBuf| path.extension().is_some_and(|end| end == "partial");
        assert!(!files(self.folder()).iter().any(partial));
        assert!(intervals(self.folder()) > 0);
    }

    fn verdict(&self) -> (String, String) {
        let verdict = json(&self.folder().join("verdict.json"));
        let word = verdict["verdict"].as_str().expect("a verdict").to_owned();
        (word, verdict["reasons"].to_string())
    }

    fn judged_again(&self) -> (i32, String) {
        verb_in(
            &self.place,
            &["judge", &self.folder().display().to_string()],
        )
    }
}

/// How many intervals the log holds; each of them can be read.
fn intervals(folder: &Path) -> usize {
    let log = std::fs::read(folder.join("series.hlog")).expect("the log");
    let whole = log.iter().rposition(|byte| *byte == b'\n').expect("a line");
    let entries = IntervalLogIterator::new(&log[..=whole]);
    let entries = entries.map(|entry| entry.expect("an entry"));
    entries
        .filter(|entry| matches!(entry, LogEntry::Interval(_)))
        .count()
}

#[test]
fn a_target_that_dies_ends_the_run_at_once_and_is_named() {
    let mut run = Run::new();
    run.kill("chat-service");
    let (code, printed) = run.end();
    assert_eq!(code, Some(3), "{printed}");
    assert!(
        printed.contains("a target has ended: k6 ends its run"),
        "{printed}"
    );
    run.is_complete(&[]);
    let (verdict, reasons) = run.verdict();
    assert_eq!(verdict, "INVALID");
    for expected in [
        "target-healthy: its program has ended (signal: 9 (SIGKILL))",
        "the runner asked it to end, as a target had ended",
    ] {
        assert!(reasons.contains(expected), "{expected}: {reasons}");
    }
    let meta = json(&run.folder().join("meta.json"));
    assert_eq!(meta["observed"]["cause"], "target_ended");
    let (code, printed) = run.judged_again();
    assert!(
        code == 3 && printed.contains("stored   the same verdict, INVALID"),
        "{printed}"
    );
}

#[test]
fn a_service_of_somebody_elses_that_is_gone_ends_the_run_and_is_named() {
    let mut chat = Chat::start();
    let mut run = Run::at(Some(&chat));
    chat.kill();
    // Two hours are declared.
    let (code, printed) = run.end();
    assert_eq!(code, Some(3), "{printed}");
    assert!(
        printed.contains("nobody answers any more where a target was: k6 ends its run"),
        "{printed}"
    );
    run.is_complete(&["chat.log"]);
    let (verdict, reasons) = run.verdict();
    assert_eq!(verdict, "INVALID");
    let asked = format!("target-healthy: GET http://{}/health: ", chat.api);
    for expected in [
        asked.as_str(),
        "the runner asked it to end, as nobody answered any more where a target had been",
    ] {
        assert!(reasons.contains(expected), "{expected}: {reasons}");
    }
    let meta = json(&run.folder().join("meta.json"));
    assert_eq!(meta["observed"]["cause"], "target_gone");
    let (code, printed) = run.judged_again();
    assert!(
        code == 3 && printed.contains("stored   the same verdict, INVALID"),
        "{printed}"
    );
}

#[test]
fn a_k6_that_dies_leaves_what_it_measured_and_a_verdict() {
    let mut run = Run::new();
    run.kill("k6");
    let (code, printed) = run.end();
    assert_eq!(code, Some(3), "{printed}");
    run.is_complete(&["summary.json"]);
    let (verdict, reasons) = run.verdict();
    assert_eq!(verdict, "INVALID");
    assert!(
        reasons.contains("k6's exit code: none, a signal ended it"),
        "{reasons}"
    );
    let (code, printed) = run.judged_again();
    assert!(
        code == 3 && printed.contains("stored   the same verdict, INVALID"),
        "{printed}"
    );
}

#[test]
fn a_runner_that_dies_takes_all_along_and_is_told_by_whoever_asks() {
    let mut run = Run::new();
    send(run.id(), Signal::KILL);
    let (code, printed) = run.end();
    assert_eq!(code, None, "{printed}");
    for name in [
        "meta.json",
        "stdout.txt.partial",
        "chat.log.partial",
        "series.hlog.jsonl",
    ] {
        assert!(
            run.folder().join(name).is_file(),
            "{name}: {:?}",
            files(run.folder())
        );
    }
    assert!(intervals(run.folder()) > 0);
    let (code, printed) = verb_in(&run.place, &["status"]);
    assert_eq!(code, 4, "{printed}");
    assert!(
        printed.contains("chat     INTERRUPTED: its runner, process "),
        "{printed}"
    );
    assert!(printed.contains("websocket-streaming"), "{printed}");
    let (code, printed) = run.judged_again();
    assert!(
        code == 4 && printed.contains("verdict  INTERRUPTED"),
        "{printed}"
    );
    // What is there can be taken along, and says the same elsewhere.
    let out = run.place.evidence().with_file_name("elsewhere.tar.gz");
    let (code, printed) = finish(
        run.place
            .runner()
            .arg("export")
            .arg(&run.plan)
            .arg("--out")
            .arg(&out),
    );
    assert!(
        code == 0 && printed.contains("it has no manifest"),
        "{printed}"
    );
}

#[test]
fn how_long_nobody_may_be_there_is_checked_by_validate() {
    let place = Place::new();
    let suite = text(&common::root().join("bench/suites/chat.toml"));
    for (from, to, expected) in [
        (
            "gone = \"15s\"",
            "gone = \"1s\"",
            "`gone` is 1000 ms, and it is asked every 1000 ms: one look in vain would end a run",
        ),
        (
            "gone = \"15s\"",
            "gone = \"soon\"",
            "not a duration: `soon`",
        ),
        (
            "every = \"50ms\", limit",
            "every = \"50ms\", gone = \"5s\", limit",
            "only an external target has `gone`",
        ),
    ] {
        assert!(suite.contains(from), "{from}");
        let path = place.evidence().with_file_name("wrong.toml");
        std::fs::write(&path, suite.replacen(from, to, 1)).expect("written");
        let (code, printed) = finish(place.runner().arg("validate").arg(&path));
        assert_eq!(code, 2, "{to}: {printed}");
        assert!(
            printed.contains("wrong.toml:") && printed.contains(expected),
            "{to}: {printed}"
        );
    }
}
