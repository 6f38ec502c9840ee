//! The phase gates at their reference target, in compressed time. The machine may be busy, so what is judged here is what a fault does
//! to the gate that is there to find it, and not how fast anything is.
//!
//! | Acceptance check of the suite | Test |
//! |---|---|
//! | 1, sixteen scenarios | `check_01_…` |
//! | 2, targets with their limits | `check_02_…` |
//! | 3, added latency | `check_03_…` |
//! | 4, a target without samples | `check_04_…` |
//! | 5, values of the target | `check_05_…` |
//! | 6, no guard against a stampede | `check_06_…` |
//! | 7, faults in a record and errors of their time; 8, an interrupt | `check_07_…`; `phase_gate_drills.rs` |
//! | 9, a tool that fails; 13, what comes after it | `check_09_13_…` |
//! | 10, a test that fails one time in ten | `check_10_…` |
//! | 11, the shape of a quick run | `check_11_…` |
//! | 12, nobody answers | `check_12_…` |
//! | 14, slower but within the limit | `check_14_…`, with declared durations |
//!
//! What is ignored here has the declared durations: `make phase-gate-checks`, a part of `make acceptance`.

mod common;

use std::process::Command;
use std::time::{Duration, Instant};

use common::phases::{System, declared, folder, gate, phases, run, says};
use common::{Place, finish, json, k6, text};
use serde_json::{Value as Json, json};

/// The line of a gate that did not hold. On a busy machine k6 may have measured itself; that is told as well.
fn failed(place: &Place, scenario: &str, phase: u8) -> String {
    let verdict = json(&folder(place, scenario).join("verdict.json"));
    let gates = verdict["gates"].as_array().expect("gates");
    let bad = gates
        .iter()
        .filter(|gate| gate["holds"] == false && gate["class"] == "validity");
    let bad: Vec<&str> = bad
        .map(|gate| gate["id"].as_str().expect("an id"))
        .collect();
    let busy = bad.iter().all(|id| {
        matches!(
            *id,
            "generator-cpu" | "generator-health" | "nothing-dropped"
        )
    });
    assert!(busy, "{bad:?}");
    match verdict["verdict"].as_str() {
        Some("INVALID") if !bad.is_empty() => format!("Phase {phase} Gate: FAILED ✗ (INVALID)"),
        Some("FAIL") => format!("Phase {phase} Gate: FAILED ✗"),
        other => panic!("{other:?}"),
    }
}

/// What `verdict.json` says, with the line that has to follow from it.
fn quick_line(place: &Place, scenario: &str, phase: u8, code: i32) -> String {
    let verdict = json(&folder(place, scenario).join("verdict.json"));
    if code == 0 {
        assert_eq!(verdict["verdict"], "SMOKE");
        format!("Phase {phase} Gate: PASSED ✓ (SMOKE)")
    } else {
        failed(place, scenario, phase)
    }
}

/// Gates of phase 3 that are targets, with their limits where a load lasts so many seconds.
fn targets_of_phase_3(place: &Place, seconds: u32) -> Vec<Json> {
    let expected = [
        ("03-genserver-call-duration", 5),
        ("03-genserver-call-duration-99", 20),
        ("03-genserver-throughput", 500 * seconds),
        ("03-supervisor-restart-time", 100),
    ];
    let judged = expected.map(|(id, limit)| {
        let gate = gate(place, "phase-03", id);
        assert_eq!(gate["limit"].as_f64(), Some(f64::from(limit)), "{gate:#}");
        assert!(gate["value"].as_f64().is_some(), "{gate:#}");
        gate
    });
    judged.to_vec()
}

/// Of whom the evidence says it is.
fn said_of(place: &Place, scenario: &str) -> String {
    let meta = json(&folder(place, scenario).join("meta.json"));
    meta["reference"].as_str().expect("it is said").to_owned()
}

#[test]
fn check_01_all_phases_are_listed() {
    let (code, printed) = finish(Place::new().runner().args(["list", "phase-gates"]));
    assert_eq!(code, 0, "{printed}");
    let listed = |phase: &u8| printed.contains(&format!("phase-{phase:02} "));
    assert!(
        (0..16).all(|phase| listed(&phase)) && !listed(&16),
        "{printed}"
    );
}

#[test]
fn check_02_each_target_has_its_limit() {
    let place = Place::new();
    // What somebody wants of k6's values beside the evidence.
    let wanted = place.evidence().with_file_name("wanted.json");
    let further = format!("json={}", wanted.display());
    let (code, printed) = finish(run(&place, &["phase-03"]).env("K6_OUT", further));
    assert!(text(&wanted).contains("genserver_call_duration"));
    let reference = "reference target on this machine";
    assert_eq!(said_of(&place, "phase-03"), reference);
    targets_of_phase_3(&place, 3);
    says(&printed, &[&quick_line(&place, "phase-03", 3, code)]);
}

#[test]
#[ignore = "declared durations, on a machine that is free: make phase-gate-checks"]
fn check_02_the_reference_passes() {
    let place = Place::new();
    let (code, printed) = finish(&mut declared(&place, &["phase-03"]));
    assert_eq!(code, 0, "{printed}");
    for target in targets_of_phase_3(&place, 30) {
        assert_eq!(target["holds"], true, "{target:#}");
    }
    says(&printed, &["Phase 3 Gate: PASSED ✓"]);
}

#[test]
fn check_03_added_latency_is_a_missed_objective() {
    let place = Place::new();
    let (code, printed) =
        finish(run(&place, &["phase-03"]).env("TARGET_ARGS", "--fault delay-ms=10"));
    assert_ne!(code, 0, "{printed}");
    let call = gate(&place, "phase-03", "03-genserver-call-duration");
    assert_eq!(call["holds"], false, "{call:#}");
    says(&printed, &[&failed(&place, "phase-03", 3)]);
}

/// An alert that never fires has taken no time.
#[test]
fn check_04_a_target_without_samples_is_invalid() {
    let place = Place::new();
    let (code, printed) = finish(run(&place, &["phase-10"]).env("TARGET_ARGS", "--fault no-alert"));
    assert_eq!(code, 3, "{printed}");
    let verdict = json(&folder(&place, "phase-10").join("verdict.json"));
    assert_eq!(verdict["verdict"], "INVALID", "{printed}");
    let alert = gate(&place, "phase-10", "10-alert-ms");
    assert_eq!(
        (&alert["holds"], &alert["missing"]),
        (&json!(false), &json!(true)),
        "{alert:#}"
    );
    says(&printed, &["Phase 10 Gate: FAILED ✗ (INVALID)"]);
    assert!(!printed.contains("PASSED"), "{printed}");
}

#[test]
fn a_load_that_is_too_small_to_mean_something_is_no_pass() {
    let place = Place::new();
    let mut command = place.runner();
    command.args([
        "run",
        "phase-gates",
        "--scenario",
        "phase-06",
        "--set",
        "VIEWS=1",
    ]);
    command.env("K6_BIN", k6()).env("PHASES_BIN", phases());
    let (code, printed) = finish(&mut command);
    assert_ne!(code, 0, "{printed}");
    assert!(
        printed.contains("VIEWS must be at least 1000 where QUICK is not 1"),
        "{printed}"
    );
}

#[test]
fn check_05_a_target_measures_itself() {
    let place = Place::new();
    let (_, printed) = finish(&mut run(&place, &["phase-02"]));
    let inside = gate(&place, "phase-02", "02-message-inside");
    assert_eq!(inside["holds"], true, "{printed}");
    assert!(printed.contains(" us  < 1,000 us"), "{printed}");
    let server = json(&folder(&place, "phase-02").join("server.json"));
    let asked = found(&server, "askedMs").and_then(Json::as_f64);
    assert!(
        asked > Some(0.0) && found(&server, "phase02_message_us").is_some(),
        "{server:#}"
    );
}

/// The first value of this name, however deep it lies.
fn found<'a>(value: &'a Json, name: &str) -> Option<&'a Json> {
    match value {
        Json::Object(fields) => fields
            .get(name)
            .or_else(|| fields.values().find_map(|inner| found(inner, name))),
        Json::Array(items) => items.iter().find_map(|inner| found(inner, name)),
        _ => None,
    }
}

/// What a target measured before the run is no part of it.
#[test]
fn earlier_values_of_a_target_are_not_judged() {
    let place = Place::new();
    let system = System::start(&place);
    system.change_faults(&json!({ "message-delay-ms": 20 }));
    let sent = ureq::post(format!("{}/phase/02/message", system.url)).send(r#"{"n": 200}"#);
    assert_eq!(sent.expect("it answers").status(), 200);
    let slow = |told: &Json| told["durations"]["message"]["max"].as_f64() > Some(15_000.0);
    assert!(slow(&system.tells("/phase/02/stats")));
    system.change_faults(&json!({ "message-delay-ms": null }));
    let (_, printed) = finish(run(&place, &["phase-02"]).env("BASE_URL", &system.url));
    let told = json(&folder(&place, "phase-02").join("server.json"));
    let message = found(&told, "phase02_message_us").expect("it was asked");
    // Ten batches of 10,000, and none of those that were sent before.
    let count = found(message, "n").or_else(|| found(message, "count"));
    assert_eq!(
        count.and_then(Json::as_u64),
        Some(100_000),
        "{told:#}\n{printed}"
    );
}

/// A system that somebody started has a database of its own, and its address is nothing to the runner.
#[test]
fn a_system_of_ones_own_may_have_its_database() {
    let place = Place::new();
    let plan = |url: Option<&str>| {
        let mut command = run(&place, &["phase-05"]);
        command
            .arg("--dry-run")
            .env("DATABASE_URL", "postgres://a:secret12@127.0.0.1/d");
        command.envs(url.map(|url| ("BASE_URL", url)));
        finish(&mut command)
    };
    let (code, printed) = plan(Some("http://127.0.0.1:1"));
    assert_eq!(code, 0, "{printed}");
    assert!(
        !printed.contains("private-postgres") && !printed.contains("secret12"),
        "{printed}"
    );
    let (code, printed) = plan(None);
    assert!(
        code == 2 && printed.contains("DATABASE_URL") && !printed.contains("secret12"),
        "{printed}"
    );
}

#[test]
fn the_run_of_record_of_phase_13_may_last_an_hour() {
    let place = Place::new();
    let mut command = declared(&place, &["phase-13"]);
    command.args(["--set", "GATE_MS=3600000", "--dry-run"]);
    let (code, printed) = finish(&mut command);
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("about 1 h"), "{printed}");
}

#[test]
fn check_06_a_stampede_without_a_guard_is_seen() {
    let place = Place::new();
    let (code, printed) =
        finish(run(&place, &["phase-08"]).env("TARGET_ARGS", "--fault no-stampede-guard"));
    assert_ne!(code, 0, "{printed}");
    let loads = gate(&place, "phase-08", "08-stampede-loads");
    assert_eq!(loads["holds"], false, "{loads:#}");
    assert!(loads["value"].as_f64() > Some(1.0), "{loads:#}");
    says(&printed, &[&failed(&place, "phase-08", 8)]);
}

#[test]
fn check_07_faults_are_recorded_and_their_time_is_judged() {
    let place = Place::new();
    let system = System::start(&place);
    let mut command = run(&place, &["phase-09"]);
    command.env("BASE_URL", &system.url).env("RPC_RATE", "200");
    let (_, printed) = finish(&mut command);
    let record = json(&folder(&place, "phase-09").join("chaos.json"));
    let other = "not the reference target as it is built here";
    assert_eq!(said_of(&place, "phase-09"), other);
    for (number, id) in ["kill-node", "partition-network"].into_iter().enumerate() {
        let fault = &record["faults"][number];
        assert_eq!(
            (&fault["id"], &fault["end"]),
            (&json!(id), &json!("held")),
            "{printed}"
        );
        for instant in ["injectedMs", "undoneMs", "firstGoodMs"] {
            assert!(fault[instant].is_number(), "{instant}: {fault:#}");
        }
        let failover = gate(&place, "phase-09", &format!("chaos-{id}"));
        assert_eq!(failover["limit"].as_f64(), Some(5000.0), "{failover:#}");
        assert!(failover["value"].as_f64().is_some(), "{failover:#}");
    }
    for id in ["09-errors-killed", "09-errors-cut-off"] {
        let errors = gate(&place, "phase-09", id);
        assert_eq!(errors["limit"].as_f64(), Some(0.01), "{errors:#}");
        assert!(errors["value"].as_f64().is_some(), "{errors:#}");
    }
    system.is_whole();
}

/// The programs of the six tools, of which the one fails that this tool calls with these words.
fn tools(place: &Place, program: &str, words: &str) -> String {
    let tools = place.evidence().with_file_name("tools");
    std::fs::create_dir(&tools).expect("a folder");
    for name in ["cargo", "gofmt", "make"] {
        let file = tools.join(name);
        let fails = if name == program {
            format!("case \"$*\" in {words}) exit 1;; esac\n")
        } else {
            String::new()
        };
        // Without a way to the databases of vulnerabilities.
        let says = "[ \"$*\" != audit ] || echo 'audit: databases of vulnerabilities that could not be reached: 3'";
        std::fs::write(&file, format!("#!/bin/sh\n{fails}{says}\nexit 0\n")).expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&file, mode).expect("it is ours");
    }
    let path = std::env::var("PATH").expect("a path");
    format!("{}:{path}", tools.display())
}

#[test]
fn check_09_13_a_tool_that_fails_is_named_and_ends_the_call() {
    for (tool, program, words) in [
        ("format", "cargo", "fmt*"),
        ("clippy", "cargo", "clippy*"),
        ("vet", "make", "*types*"),
        ("licences", "make", "audit"),
        ("documentation", "cargo", "doc*"),
        ("tests", "make", "quick-core*"),
    ] {
        let place = Place::new();
        let path = tools(&place, program, words);
        let mut command = run(&place, &["phase-00", "phase-11"]);
        let (code, printed) = finish(command.env("PATH", path));
        assert_eq!(code, 3, "{tool}: {printed}");
        let succeed = gate(&place, "phase-00", "commands-succeed");
        assert_eq!(succeed["holds"], false, "{tool}");
        let text = succeed["text"].as_str().expect("a text");
        assert!(text.contains(&format!("{tool}: failed")), "{tool}: {text}");
        if tool != "licences" {
            let unchecked = gate(&place, "phase-00", "00-advisories-unchecked");
            assert_eq!(
                (&unchecked["holds"], &unchecked["value"]),
                (&json!(false), &json!(3.0)),
                "{tool}: {unchecked:#}"
            );
        }
        let tools = "tools and tests of this project, on this machine";
        assert_eq!(said_of(&place, "phase-00"), tools);
        says(&printed, &["Phase 0 Gate: FAILED ✗"]);
        assert!(
            printed.lines().any(|line| line == "NOT_RUN  phase-11"),
            "{printed}"
        );
    }
}

#[test]
fn check_10_a_suite_that_fails_one_time_in_ten_is_flaky() {
    let place = Place::new();
    let cache = Command::new("go")
        .args(["env", "GOCACHE"])
        .output()
        .expect("go runs");
    let cache = String::from_utf8(cache.stdout).expect("a path");
    let runs = place.evidence().with_file_name("runs");
    let mut command = run(&place, &["phase-11"]);
    // Quickly, the suite runs ten times.
    command.env("GOCACHE", cache.trim()).env("FLAKY", &runs);
    let (code, printed) = finish(&mut command);
    assert_eq!(code, 3, "{printed}");
    let flakes = gate(&place, "phase-11", "11-flakes");
    assert_eq!(
        (&flakes["holds"], &flakes["value"]),
        (&json!(false), &json!(0.1)),
        "{flakes:#}"
    );
    for id in ["11-coverage", "commands-in-time", "values-read"] {
        assert_eq!(
            gate(&place, "phase-11", id)["holds"],
            true,
            "{id}: {printed}"
        );
    }
    assert_eq!(text(&runs), "10");
}

#[test]
fn check_11_a_quick_run_keeps_the_shape_and_says_smoke() {
    let place = Place::new();
    let (code, printed) = finish(&mut run(&place, &["phase-06"]));
    let meta = json(&folder(&place, "phase-06").join("meta.json"));
    assert_eq!(meta["quick"], true);
    let views = gate(&place, "phase-06", "06-concurrent-liveviews");
    assert_eq!(views["limit"].as_f64(), Some(100.0), "{views:#}");
    assert!(views["value"].as_f64() >= Some(100.0), "{views:#}");
    // Counted by the target.
    let sockets = gate(&place, "phase-06", "06-concurrent-websockets");
    assert_eq!(
        (&sockets["limit"], &sockets["value"]),
        (&json!(500.0), &json!(500.0)),
        "{sockets:#}"
    );
    // All targets of the full form, and nothing else of the suite.
    let verdict = json(&folder(&place, "phase-06").join("verdict.json"));
    let gates = verdict["gates"].as_array().expect("gates").iter();
    let ids: Vec<&str> = gates.filter_map(|gate| gate["id"].as_str()).collect();
    for id in [
        "checks",
        "06-http-request-duration",
        "06-liveview-mount-duration",
        "06-concurrent-liveviews",
        "06-json-api-duration",
        "06-liveview-patch-duration",
        "06-websocket-msg-duration",
        "06-memory-per-liveview-kb",
        "06-concurrent-websockets",
    ] {
        assert!(ids.contains(&id), "{id}: {ids:?}");
    }
    says(&printed, &[&quick_line(&place, "phase-06", 6, code)]);
}

#[test]
fn check_12_a_system_that_never_answers_ends_the_call_with_an_artefact() {
    let place = Place::new();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}", nobody.local_addr().expect("it is bound"));
    drop(nobody);
    let ci = place.evidence().with_file_name("ci");
    let mut command = declared(&place, &["phase-01"]);
    command.arg("--ci").arg(&ci).env("BASE_URL", url);
    let began = Instant::now();
    let (code, printed) = finish(&mut command);
    assert_eq!(code, 2, "{printed}");
    assert!(began.elapsed() >= Duration::from_secs(60), "{printed}");
    says(&printed, &["Phase 1 Gate: FAILED ✗ (NOT_RUN)"]);
    let verdicts = json(&ci.join("verdicts.json"));
    assert_eq!(verdicts["exitCode"], 2, "{verdicts:#}");
    let junit = text(&ci.join("junit.xml"));
    assert!(junit.contains("/health"), "{junit}");
}

#[test]
#[ignore = "declared durations, on a machine that is free: make phase-gate-checks"]
fn check_14_what_is_slower_within_its_limit_passes_with_the_regression_named() {
    let place = Place::new();
    let system = System::start(&place);
    let pass = |delay: u32| {
        system.change_faults(&json!({ "swap-delay-ms": delay }));
        let (code, printed) = finish(declared(&place, &["phase-15"]).env("BASE_URL", &system.url));
        assert_eq!(code, 0, "{delay}: {printed}");
        says(&printed, &["Phase 15 Gate: PASSED ✓"]);
        printed
    };
    let printed = pass(500);
    assert!(!printed.contains("is worse by"), "{printed}");
    let accepted = folder(&place, "phase-15");
    let accept = ["baseline", "accept"];
    let (code, printed) = finish(place.runner().args(accept).arg(accepted));
    assert_eq!(code, 0, "{printed}");
    let printed = pass(600);
    assert!(printed.contains("15-swap-ms is worse by"), "{printed}");
}
