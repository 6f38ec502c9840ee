//! A whole run with a real k6 and a real Redis, as small as it gets.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use barrier_procs::{LOCK_VARIABLE, end_with_parent};
use serde_json::Value as Json;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the crate lies in the repository's bench/")
}

/// k6: `K6_BIN`, else `./k6`.
fn k6() -> PathBuf {
    let given = std::env::var_os("K6_BIN").filter(|given| !given.is_empty());
    let path = given.map_or_else(|| root().join("k6"), PathBuf::from);
    assert!(
        path.is_file(),
        "there is no {}: build it with `make k6`",
        path.display()
    );
    path
}

/// A lock of its own for each run: these measure nothing that anybody will compare.
fn perf(arguments: &[&str]) -> Command {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let lock = format!("lock-{}", RUNS.fetch_add(1, Ordering::Relaxed));
    let mut command = Command::new(env!("CARGO_BIN_EXE_barrier-perf"));
    command
        .current_dir(root())
        .env("K6_BIN", k6())
        .env(
            LOCK_VARIABLE,
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(lock),
        )
        .args(arguments);
    // It ends its servers in order when it is told to end.
    end_with_parent(&mut command);
    command
}

#[test]
fn a_run_leaves_a_table_all_values_and_pictures() {
    let out = tempfile::tempdir().expect("folder");
    let output = perf(&[
        "--users",
        "20",
        "--cycles",
        "1",
        "--cases",
        "release,queues",
    ])
    .args(["--variants", "memory,redis,both", "--out"])
    .arg(out.path())
    .output()
    .expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");

    let folders: Vec<_> = std::fs::read_dir(out.path()).expect("results").collect();
    assert_eq!(folders.len(), 1);
    let folder = folders[0].as_ref().expect("a folder").path();
    let table = std::fs::read_to_string(folder.join("perf.md")).expect("a table");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).lines().next(),
        table.lines().next()
    );
    let text = std::fs::read_to_string(folder.join("perf.json")).expect("the values");
    let json: Json = serde_json::from_str(&text).expect("JSON");

    // What is the same on every machine, however slow it is.
    let row = |title: &str| {
        let rows = json["rows"].as_array().expect("rows");
        let found = rows
            .iter()
            .find(|r| r["title"].as_str().is_some_and(|t| t.contains(title)));
        found
            .unwrap_or_else(|| panic!("no row {title}: {table}"))
            .clone()
    };
    let connections = row("Redis connections of a k6 process with 20 users, barrier");
    assert_eq!(connections["figure"]["median"], 1.0, "{table}");
    assert_eq!(connections["reached"], true);
    let round_trips = row("round trips of a count")["figure"]["median"].as_f64();
    assert!(round_trips.is_some_and(|n| n >= 1.0), "{table}");

    // Everybody's wake comes after the last arrival, in each of the rounds that are not the warm-up.
    let release = &json["samples"]["release/redis"]["release_ms"]["1"];
    let release: Vec<f64> = serde_json::from_value(release.clone()).expect("values");
    assert_eq!(release.len(), 3);
    assert!(release.iter().all(|ms| *ms > 0.0), "{release:?}");
    assert!(
        row("counting 100 queues")["compared"]["median"]
            .as_f64()
            .is_some_and(|r| r > 0.0)
    );

    // What was not asked for is neither measured nor judged, and other cases' rows are left out.
    assert!(json["samples"]["release/plain"].is_null());
    let without_floor = row("release, 20 users in one process, Redis");
    assert_eq!(without_floor["peerName"], "plain k6");
    assert_eq!(without_floor["reached"], Json::Null);
    assert!(!table.contains("four processes"));
    let picture = std::fs::read_to_string(folder.join("release.svg")).expect("a picture");
    assert_eq!(picture.matches("<circle").count(), 6);
}

#[test]
fn a_wrong_name_is_refused_before_anything_runs() {
    let output = perf(&["--cases", "relase"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains("\"relase\"") && errors.contains("release"),
        "{errors}"
    );
}

#[test]
fn nothing_is_measured_beside_another_run() {
    let folder = tempfile::tempdir().expect("folder");
    let lock = folder.path().join("lock");
    let held = std::fs::File::create(&lock).expect("a lock");
    std::fs::write(&lock, "suite waiting-room, process 7").expect("written");
    held.lock().expect("held");
    let output = perf(&[
        "--users", "20", "--cycles", "1", "--cases", "release", "--out",
    ])
    .arg(folder.path().join("out"))
    .env(LOCK_VARIABLE, &lock)
    .output()
    .expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(
        errors.contains("another run is active: suite waiting-room, process 7"),
        "{errors}"
    );
}

/// One cycle of a case with so many users: its table, and all values.
fn small(users: &str, arguments: &[&str]) -> (String, Json) {
    let out = tempfile::tempdir().expect("folder");
    let output = perf(&["--users", users, "--cycles", "1"])
        .args(arguments)
        .arg("--out")
        .arg(out.path())
        .output()
        .expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let folder = std::fs::read_dir(out.path()).expect("results").next();
    let folder = folder.expect("a folder").expect("readable").path();
    let text = std::fs::read_to_string(folder.join("perf.json")).expect("the values");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    (table, serde_json::from_str(&text).expect("JSON"))
}

/// The values of the first cycle.
fn values(json: &Json, run: &str, figure: &str) -> Vec<f64> {
    let values = json["samples"][run][figure]["1"].clone();
    serde_json::from_value(values).unwrap_or_else(|e| panic!("{run} has no {figure}: {e}"))
}

#[test]
fn what_takes_longest_is_listed_as_such() {
    let output = perf(&["--list"]).output().expect("it runs");
    let list = String::from_utf8_lossy(&output.stdout);
    let named = |name: &str| {
        let line = list.lines().find(|line| line.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("no {name}: {list}"));
        line.ends_with("(only when it is named)")
    };
    assert!(named("processes") && named("scale"), "{list}");
    assert!(!named("release") && !named("target"), "{list}");
}

#[test]
fn the_decision_to_release_is_compared_with_plain_k6() {
    let variants = "plain,memory-waiting,redis-waiting";
    let (table, json) = small("20", &["--cases", "arrive", "--variants", variants]);
    for store in ["memory", "redis"] {
        let decisions = values(&json, &format!("arrive/{store}-waiting"), "decision_ms");
        assert!(!decisions.is_empty(), "{table}");
        // The store's clock and that of k6 are one: what they say of a moment hardly differs.
        assert!(
            decisions.iter().all(|ms| (0.0..60_000.0).contains(ms)),
            "{decisions:?}"
        );
    }
    let title = "20 users call arriveAndWait at once, Redis: first call to the decision";
    let line = table.lines().find(|line| line.contains(title));
    let line = line.unwrap_or_else(|| panic!("{table}"));
    assert!(
        line.contains("plain k6, reading its clock") && line.contains("≤ 1.6 ×"),
        "{line}"
    );
}

#[test]
fn groups_are_compared_with_one_barrier() {
    let (table, json) = small("22", &["--cases", "groups"]);
    for run in ["memory", "memory-barrier", "redis", "redis-barrier"] {
        let meetings = values(&json, &format!("groups/{run}"), "meeting_ms");
        assert!(!meetings.is_empty(), "{table}");
        assert!(meetings.iter().all(|ms| *ms > 0.0), "{meetings:?}");
    }
    let title = "20 users come at once, in groups of 4, memory";
    let line = table.lines().find(|line| line.contains(title));
    let line = line.unwrap_or_else(|| panic!("{table}"));
    assert!(
        line.contains("one barrier for all") && line.contains("≤ 1.3 ×"),
        "{line}"
    );
}

#[test]
fn what_values_over_time_cost_is_read_from_a_profile() {
    let (table, json) = small("4000", &["--cases", "series"]);
    let share = values(&json, "series/hdrlog", "share");
    // A profile of so short a run may hold no sample of it.
    assert!(
        !share.is_empty() && share.iter().all(|share| *share >= 0.0 && *share < 100.0),
        "{share:?}"
    );
    let made = values(&json, "series/hdrlog", "requests_per_s");
    assert!(made[0] > 0.0 && made[0] < 2001.0, "{made:?}");
    let title = "2,000 requests a second asked for: its share of k6's processor time";
    let line = table.lines().find(|line| line.contains(title));
    assert!(line.is_some_and(|line| line.contains("≤ 3 %")), "{table}");
}

#[test]
fn processes_that_meet_again_and_again_are_compared_with_sleepers() {
    let (table, json) = small("40", &["--cases", "processes"]);
    for run in ["processes/redis", "processes/sleepers"] {
        let spreads = values(&json, run, "spread_ms");
        assert!((9..=10).contains(&spreads.len()), "{spreads:?}");
        assert!(spreads.iter().all(|ms| *ms >= 0.0), "{spreads:?}");
    }
    // Nobody who sleeps until an instant wakes before it.
    let late = values(&json, "processes/sleepers", "first_wake_ms");
    assert!(late.iter().all(|ms| *ms > 0.0), "{late:?}");
    let line = table
        .lines()
        .find(|line| line.contains("10 meetings a cycle"));
    let line = line.unwrap_or_else(|| panic!("{table}"));
    assert!(
        line.contains("sleep until one instant") && line.contains("≤ 1.5 ×"),
        "{line}"
    );
}

#[test]
fn as_many_users_and_clients_as_there_is_room_for_lose_nobody() {
    let (table, json) = small("20", &["--cases", "scale", "--processes", "2"]);
    for run in ["scale/redis", "scale/plain"] {
        assert_eq!(values(&json, run, "users"), [200.0], "{table}");
        assert_eq!(values(&json, run, "lost"), [0.0; 5], "{table}");
        let memory = values(&json, run, "memory_gb");
        assert!(memory[0] > 0.01 && memory[0] < 20.0, "{memory:?}");
        assert!(
            values(&json, run, "release_ms").iter().all(|ms| *ms > 0.0),
            "{table}"
        );
    }
    let clients = |figure| values(&json, "scale/clients", figure);
    assert_eq!(clients("lost"), [0.0], "{table}");
    assert_eq!(clients("connections"), [100.0], "{table}");
    assert!(
        clients("decision_ms")[0] > 0.0 && clients("skew_ms")[0] >= 0.0,
        "{table}"
    );
    assert!(
        table.contains("2,000 participants of 100 clients without k6: arrivals"),
        "{table}"
    );
}

/// The page on several machines tells its readers to measure theirs: by this command, with fewer users.
#[test]
fn the_command_of_the_page_measures_how_far_apart_processes_wake() {
    let page = root().join("docs/how-to/run-on-several-machines.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let command = page
        .lines()
        .find_map(|line| line.strip_prefix("make perf "))
        .expect("the page has the command");
    let out = tempfile::tempdir().expect("folder");
    let mut perf = perf(&["--users", "40"]);
    for setting in command.split_whitespace() {
        match setting.split_once('=').expect("NAME=VALUE") {
            ("CASES", cases) => perf.args(["--cases", cases]),
            ("CYCLES", cycles) => perf.args(["--cycles", cycles]),
            other => panic!("make perf has no {other:?}"),
        };
    }
    let output = perf.arg("--out").arg(out.path()).output().expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let table = String::from_utf8_lossy(&output.stdout);
    for row in [
        "spread of the processes' first wakes",
        "news of the release from the instant on",
        "first wake from the instant on",
    ] {
        assert!(table.contains(row), "{row}: {table}");
    }
}
