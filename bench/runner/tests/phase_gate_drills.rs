//! The drills of the phase gates, in which the runner is interrupted or killed: what it broke is mended, all nodes answer, and nothing
//! is left of it.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use common::life::{self, Seen, all_end, children, send, wait_for};
use common::phases::{System, folder, run};
use common::{Place, finish, json, wait};
use rustix::process::Signal;

fn child_of(runner: &Child, program: &str) -> Option<Seen> {
    life::child(id(runner), program)
}

fn id(runner: &Child) -> i32 {
    i32::try_from(runner.id()).expect("an id")
}

/// Entries of the journal.
fn journal(place: &Place) -> Vec<PathBuf> {
    let home = place.evidence();
    let home = home.parent().expect("the place");
    let entries = std::fs::read_dir(home.join(".local/state/k6-barrier/undo"));
    let entries = entries.into_iter().flatten();
    entries.map(|entry| entry.expect("entry").path()).collect()
}

/// A quick run of a phase on this system, until a switch of it is set.
fn until_broken(place: &Place, system: &System, scenario: &str, switch: &str) -> Child {
    let mut command = run(place, &[scenario]);
    command.env("BASE_URL", &system.url).env("RPC_RATE", "100");
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let child = child.expect("the runner starts");
    wait_for("the fault", || {
        (system.tells("/faults")[switch] != "").then_some(())
    });
    child
}

/// Every drill: its phase, its number there, and the switch that it sets.
const DRILLS: [(&str, usize, &str); 4] = [
    ("phase-09", 0, "down"),
    ("phase-09", 1, "partition"),
    ("phase-13", 0, "down"),
    ("phase-13", 1, "partition"),
];

#[test]
fn check_08_an_interrupt_takes_each_drill_back() {
    for (scenario, number, switch) in DRILLS {
        let place = Place::new();
        let system = System::start(&place);
        let runner = until_broken(&place, &system, scenario, switch);
        send(id(&runner), Signal::INT);
        let (code, printed) = wait(runner);
        assert_eq!(code, 4, "{printed}");
        assert_eq!(system.tells("/faults")[switch], "", "{printed}");
        system.is_whole();
        let record = json(&folder(&place, scenario).join("chaos.json"));
        let faults = record["faults"].as_array().expect("faults");
        let ends: Vec<&str> = faults
            .iter()
            .map(|fault| fault["end"].as_str().expect("an end"))
            .collect();
        let expected = [["interrupted", "never"], ["held", "interrupted"]][number];
        assert_eq!(ends, expected, "{record:#}");
        assert!(
            faults[0]["firstGoodMs"].is_number() || number == 0,
            "{record:#}"
        );
        assert!(journal(&place).is_empty());
        assert!(place.left_over().is_empty(), "{:?}", place.left_over());
    }
}

#[test]
fn undo_takes_each_drill_of_a_killed_runner_back() {
    for (scenario, _, switch) in DRILLS {
        let place = Place::new();
        let system = System::start(&place);
        let mut runner = until_broken(&place, &system, scenario, switch);
        let started = all_of(id(&runner));
        runner.kill().expect("killed");
        runner.wait().expect("its end");
        all_end(&started);
        assert_ne!(system.tells("/faults")[switch], "", "nobody took it back");
        assert_eq!(journal(&place).len(), 1);
        let (code, printed) = finish(place.runner().arg("undo"));
        assert!(code == 0 && printed.contains("taken back"), "{printed}");
        assert_eq!(system.tells("/faults")[switch], "");
        system.is_whole();
        assert!(journal(&place).is_empty());
    }
}

/// All that a process has started, and what that has.
fn all_of(parent: i32) -> Vec<Seen> {
    let mut all = children(parent);
    let mut at = 0;
    while let Some(next) = all.get(at).map(|seen| seen.id) {
        all.extend(children(next));
        at += 1;
    }
    all
}

/// Folders of a database below the temporary files of a place.
fn databases(place: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    let folders = entries.map(|entry| entry.path());
    folders
        .filter(|path| path.join("data/PG_VERSION").exists())
        .collect()
}

/// The target, its nodes, the database and k6 end with the runner that started them, however that ends.
#[test]
fn nothing_that_a_killed_runner_started_goes_on() {
    let place = Place::new();
    let child = run(&place, &["phase-13"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut runner = child.expect("the runner starts");
    let evidence = place.evidence();
    wait_for("the fault", || {
        let calls = std::fs::read_dir(&evidence).ok()?.flatten();
        let mut texts = calls.map(|call| {
            std::fs::read_to_string(call.path().join("events.jsonl")).unwrap_or_default()
        });
        texts
            .any(|text| text.contains("orders-kill-node is injected"))
            .then_some(())
    });
    let temporary = evidence.with_file_name("tmp");
    assert_eq!(databases(&temporary).len(), 1);
    let started = all_of(id(&runner));
    for program in ["phases", "postgres", "k6"] {
        let there = |seen: &Seen| seen.command.contains(program);
        assert!(started.iter().any(there), "{program}: {started:?}");
    }
    runner.kill().expect("killed");
    runner.wait().expect("its end");
    all_end(&started);
    wait_for("the database's folder goes", || {
        databases(&temporary).is_empty().then_some(())
    });
    // The fault went with the target.
    let (code, printed) = finish(place.runner().arg("undo"));
    assert_eq!(code, 0, "{printed}");
    assert!(journal(&place).is_empty());
}

/// A target that is killed cannot remove what it kept among temporary files: the runner does.
#[test]
fn a_target_that_is_killed_leaves_no_files() {
    let place = Place::new();
    let child = run(&place, &["phase-14"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let runner = child.expect("the runner starts");
    let target = wait_for("load on the target", || {
        child_of(&runner, "k6")?;
        child_of(&runner, "phases")
    });
    send(target.id, Signal::KILL);
    let (code, printed) = wait(runner);
    assert!(code != 0 && printed.contains("phases"), "{code}: {printed}");
    assert!(place.left_over().is_empty(), "{:?}", place.left_over());
}

/// A system that a test started and kills leaves nothing where other programs keep their temporary files.
#[test]
fn a_system_of_a_test_leaves_no_files() {
    let place = Place::new();
    let system = System::start(&place);
    let own = format!("phases-audit-{}-", system.id());
    drop(system);
    let entries = std::fs::read_dir(std::env::temp_dir()).expect("temporary files");
    let names = entries.map(|entry| entry.expect("entry").file_name());
    let mut left = names.filter(|name| name.to_string_lossy().starts_with(&own));
    assert_eq!(left.next(), None);
}
