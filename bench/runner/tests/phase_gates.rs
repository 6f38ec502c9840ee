//! The phase gates at their reference target, in compressed time. The machine may be busy, so what is judged here is what a fault does
//! to the gate that is there to find it, and not how fast anything is.
//!
//! | Acceptance check of the suite | Test |
//! |---|---|
//! | 1, sixteen scenarios | `check_01_…` |
//! | 3, added latency | `check_03_…` |
//! | 5, values of the target | `check_05_…` |
//! | 6, no guard against a stampede | `check_06_…` |
//! | 7, faults in a record; 8, an interrupt during a partition | `check_07_08_…` |
//! | 9, a tool that fails; 13, what comes after it | `check_09_13_…` |
//! | 10, a test that fails one time in ten | `check_10_…` |

mod common;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::{Place, finish, json, k6, pause, program, root, text, wait};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value as Json, json};

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
fn check_03_added_latency_is_a_missed_objective() {
    let place = Place::new();
    let (code, printed) =
        finish(run(&place, &["phase-03"]).env("TARGET_ARGS", "--fault delay-ms=10"));
    assert_ne!(code, 0, "{printed}");
    let call = gate(&place, "phase-03", "03-genserver-call-duration");
    assert_eq!(call["holds"], false, "{call:#}");
    let verdict = json(&folder(&place, "phase-03").join("verdict.json"));
    assert_eq!(verdict["verdict"], "FAIL", "{verdict:#}");
    says(&printed, &["Phase 3 Gate: FAILED ✗"]);
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
    let server = text(&folder(&place, "phase-02").join("server.json"));
    assert!(
        server.contains("phase02_message_us") && server.contains("askedMs"),
        "{server}"
    );
}

#[test]
fn check_06_a_stampede_without_a_guard_is_seen() {
    let place = Place::new();
    let (code, printed) =
        finish(run(&place, &["phase-08"]).env("TARGET_ARGS", "--fault no-stampede-guard"));
    assert_ne!(code, 0, "{printed}");
    let loads = gate(&place, "phase-08", "08-stampede-loads");
    assert_eq!(loads["holds"], false, "{loads:#}");
}

#[test]
fn check_07_08_faults_are_recorded_and_an_interrupt_takes_them_back() {
    let place = Place::new();
    let system = System::start(&place);
    let mut command = run(&place, &["phase-09"]);
    command.env("BASE_URL", &system.url).env("RPC_RATE", "100");
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let child = child.expect("the runner starts");
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    while system.tells("/faults")["partition"] == "" {
        pause();
    }
    kill_process(id.expect("an id"), Signal::INT).expect("it is there");
    let (code, printed) = wait(child);
    assert_ne!(code, 0, "{printed}");
    assert_eq!(system.tells("/faults")["partition"], "", "{printed}");
    while system.tells("/api/cluster/health")["nodes_available"] != 3 {
        pause();
    }
    let record = json(&folder(&place, "phase-09").join("chaos.json"));
    let ends: Vec<(&str, &str)> = record["faults"]
        .as_array()
        .expect("faults")
        .iter()
        .map(|fault| {
            (
                fault["id"].as_str().expect("id"),
                fault["end"].as_str().expect("end"),
            )
        })
        .collect();
    assert_eq!(
        ends,
        [("kill-node", "held"), ("partition-network", "interrupted")],
        "{record:#}"
    );
    assert!(record["faults"][0]["firstGoodMs"].is_number(), "{record:#}");
    assert!(place.left_over().is_empty(), "{:?}", place.left_over());
}

#[test]
fn check_09_13_a_tool_that_fails_is_named_and_ends_the_call() {
    let place = Place::new();
    let tools = place.evidence().with_file_name("tools");
    std::fs::create_dir(&tools).expect("a folder");
    for (name, script) in [
        ("cargo", "exit 0"),
        ("gofmt", "exit 0"),
        ("make", "[ \"$1\" != audit ]"),
    ] {
        let file = tools.join(name);
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&file, mode).expect("it is ours");
    }
    let path = std::env::var("PATH").expect("a path");
    let mut command = run(&place, &["phase-00", "phase-11"]);
    command.env("PATH", format!("{}:{path}", tools.display()));
    let (code, printed) = finish(&mut command);
    assert_eq!(code, 3, "{printed}");
    let succeed = gate(&place, "phase-00", "commands-succeed");
    assert_eq!(succeed["holds"], false);
    assert!(
        succeed["text"]
            .as_str()
            .is_some_and(|text| text.contains("licences")),
        "{succeed:#}"
    );
    says(&printed, &["Phase 0 Gate: FAILED ✗"]);
    assert!(
        printed.lines().any(|line| line == "NOT_RUN  phase-11"),
        "{printed}"
    );
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
