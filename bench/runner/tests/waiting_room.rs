//! The waiting-room suite end to end: k6 with the modules of this project, the harness, the reference target, Redis.

mod common;

use std::path::PathBuf;
use std::process::Command;

use common::{Place, Redis, finish, json, k6, root, text, waiting_room};

/// The runner for the suite, small and quick, on a Redis of its own.
fn bench(place: &Place, more: &[&str]) -> Command {
    let mut command = place.waiting_room_run();
    command
        .args(["--set", "VUS=10"])
        .args(["--set", "BURST_OFFSET_MS=500"])
        .args(more);
    command
}

fn folder(place: &Place, variant: &str) -> PathBuf {
    place.run_folder(&format!("{variant}/5/seat-limited/custom"))
}

#[test]
fn both_variants_let_everybody_in() {
    let place = Place::new();
    let (code, printed) = finish(&mut bench(
        &place,
        &["--set", "SEATS=1", "--set", "VERBOSE_LOGS=1"],
    ));
    assert_eq!(code, 0, "{printed}");
    for variant in ["zset", "hash"] {
        let folder = folder(&place, variant);
        let derived = json(&folder.join("derived.json"));
        assert_eq!(derived["completedUsers"], 10, "{derived}");
        for name in ["testRunDurationMs", "drainMs", "barrierWaitMaxMs"] {
            assert!(
                derived[name].as_f64().is_some_and(|value| value > 0.0),
                "{name}: {derived}"
            );
        }
        let verdict = json(&folder.join("verdict.json"));
        assert_eq!(verdict["verdict"], "PASS", "{verdict}");
        let meta = json(&folder.join("meta.json"));
        let number = |name: &str| meta.pointer(name).and_then(serde_json::Value::as_i64);
        let opened = number("/openAtMs");
        assert!(
            opened > number("/k6Run/startMs") && opened < number("/k6Run/endMs"),
            "{meta:#}"
        );
        let stdout = text(&folder.join("stdout.txt"));
        assert!(
            stdout.contains("Barrier met") && !stdout.contains("WRONGTYPE"),
            "{stdout}"
        );
        assert!(folder.join(format!("waiting-room-{variant}.log")).is_file());
    }
    for path in common::files(&place.evidence()) {
        let content = text(&path);
        for secret in ["password123", "Bearer ey", "\"eyJ", "=eyJ"] {
            assert!(!content.contains(secret), "{secret}: {}", path.display());
        }
    }
    assert!(place.left_over().is_empty(), "{:?}", place.left_over());
}

#[test]
fn boosted_slots_are_there_before_the_run() {
    let place = Place::new();
    let (code, printed) = finish(&mut bench(
        &place,
        &["--variant", "hash", "--set", "SLOT_BOOST=1"],
    ));
    assert_eq!(code, 0, "{printed}");
    let cleanup = text(
        &place
            .run_folder("hash/5/slot-boosted/custom")
            .join("cleanup.txt"),
    );
    let (before, _) = cleanup
        .split_once("[cleanup] the run is over\n")
        .expect("they are taken back");
    assert!(before.ends_with("< 10000\n[cleanup] done\n"), "{before}");
}

#[test]
fn boosted_slots_are_carried_by_the_lifelike_room() {
    let place = Place::new();
    let mut command = place.lifelike_run();
    command
        .args(["--set", "LIKE=real", "--set", "SLOT_BOOST=true"])
        .args(["--set", "VUS=12", "--set", "BURST_OFFSET_MS=500ms"])
        // In line, the users who are let in together would give their slots back over 3 s, and their calls may take 2 s.
        .args(["--set", "TARGET_ARGS=--gateway-ms 250"]);
    let (_, printed) = finish(&mut command);
    for variant in ["zset", "hash"] {
        let folder = place.run_folder(&format!("{variant}/5/slot-boosted/custom"));
        let derived = json(&folder.join("derived.json"));
        for (name, expected) in [("completedUsers", 12), ("disconnectFailures", 0)] {
            assert_eq!(derived[name], expected, "{variant}, {name}: {derived}");
        }
        let verdict = json(&folder.join("verdict.json"));
        let mut reasons = verdict["reasons"].as_array().expect("a list").clone();
        // How busy the machine is is not the room's.
        reasons.retain(|reason| !reason.to_string().contains("generator-"));
        assert!(reasons.is_empty(), "{reasons:#?}: {printed}");
    }
}

#[test]
fn users_ask_again_and_again_where_the_system_is_polling() {
    let place = Place::new();
    let more = [
        "--variant",
        "zset",
        "--set",
        "SYSTEM=polling",
        "--set",
        "POLL_INTERVAL_MS=200ms",
        "--set",
        "SEATS=1",
    ];
    let (code, printed) = finish(&mut bench(&place, &more));
    assert_eq!(code, 0, "{printed}");
    let derived = json(&folder(&place, "zset").join("derived.json"));
    assert_eq!(derived["completedUsers"], 10, "{derived}");
}

#[test]
fn a_system_is_found_from_here_on_by_all_that_ask_the_harness() {
    let place = Place::new();
    let more = ["--variant", "zset", "--set", "SYSTEM=js/systems/sse.js"];
    let (code, printed) = finish(&mut bench(&place, &more));
    assert_eq!(code, 0, "{printed}");
    // The statistics that the gates need are kept beside those of the harness.
    let summary = json(&folder(&place, "zset").join("summary.json"));
    let waits = &summary["metrics"]["barrier_wait_ms"]["values"];
    assert_eq!(waits["count"], 1, "{waits}");
}

#[test]
fn a_harness_that_does_not_tell_its_options_is_named() {
    let place = Place::new();
    let silent = place.evidence().with_file_name("k6");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = inspect ] && exit 107\nexec '{}' \"$@\"\n",
        k6().display()
    );
    std::fs::write(&silent, script).expect("written");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&silent, executable).expect("executable");
    let mut command = bench(&place, &["--variant", "zset"]);
    let (_, printed) = finish(command.env("K6_BIN", &silent));
    assert!(
        printed.contains("`k6 inspect` could not read the harness"),
        "{printed}"
    );
}

#[test]
fn what_the_other_variant_left_behind_is_never_seen() {
    let redis = Redis::start(&[]);
    let event = "0dc2efd8-f760-11f0-8e3b-2a897f646219";
    let mut connection = redis.connect();
    for command in [
        format!("ZADD WAITING:{event} 1 user"),
        format!("HSET event_statuses {event} OPEN"),
        format!("HSET ENTRY_QUEUE_SLOTS {event} 4"),
    ] {
        let words: Vec<&str> = command.split(' ').collect();
        let _: i64 = redis::cmd(words[0])
            .arg(&words[1..])
            .query(&mut connection)
            .expect("reply");
    }
    let place = Place::new();
    let more = ["--variant", "hash", "--set", "SEATS=1"];
    let (code, printed) = finish(bench(&place, &more).env("REDIS_URL", &redis.address));
    assert_eq!(code, 0, "{printed}");
    let cleanup = text(&folder(&place, "hash").join("cleanup.txt"));
    let (_, ready) = cleanup
        .split_once("[cleanup] the target is ready\n")
        .expect("looked at once more, directly before k6");
    for asked in [
        format!("> TYPE WAITING:{event}\n< none\n"),
        format!("> HGET ENTRY_QUEUE_SLOTS {event}\n< (nil)\n"),
    ] {
        assert!(ready.contains(&asked), "{asked}: {cleanup}");
    }
    let slots: Option<i64> = redis::cmd("HGET")
        .arg(&["ENTRY_QUEUE_SLOTS", event])
        .query(&mut connection)
        .expect("reply");
    assert_eq!(slots, Some(1), "the seats, since the first join");
    for path in common::files(&place.evidence()) {
        assert!(!text(&path).contains("WRONGTYPE"), "{}", path.display());
    }
}

#[test]
fn failed_users_end_the_run_with_their_number() {
    for (fault, expected) in [
        ("--fail-logins 1", "loginFail=1"),
        ("--fail-streams 10", "sseFail=10"),
    ] {
        let place = Place::new();
        let fault = format!("TARGET_ARGS={fault}");
        let more = [
            "--variant",
            "zset",
            "--set",
            &fault,
            "--set",
            "MAX_LOGIN_RETRIES=2",
        ];
        let (code, printed) = finish(&mut bench(&place, &more));
        assert_eq!(code, 108, "{printed}");
        let folder = folder(&place, "zset");
        assert!(
            text(&folder.join("stdout.txt")).contains(expected),
            "{expected}: {printed}"
        );
        let verdict = json(&folder.join("verdict.json"));
        assert_eq!(
            (&verdict["verdict"], &verdict["k6ExitCode"]),
            (&"INVALID".into(), &108.into())
        );
    }
}

#[test]
fn a_target_that_falls_silent_ends_at_the_idle_limit() {
    let place = Place::new();
    let more = [
        "--variant",
        "zset",
        "--set",
        "SEATS=1",
        "--set",
        "SSE_IDLE_TIMEOUT_MS=4000",
    ];
    let silent = ["--set", "TARGET_ARGS=--silent-after-ms 100"];
    let (code, printed) = finish(bench(&place, &more).args(silent));
    assert_eq!(code, 99, "the users never got in: {printed}");
    let verdict = json(&folder(&place, "zset").join("verdict.json"));
    let reasons = verdict["reasons"].to_string();
    assert!(
        reasons.contains("all-escaped") && reasons.contains("streams-held"),
        "{verdict}"
    );
    assert!(!reasons.contains("k6-in-time"), "{verdict}");
    let derived = json(&folder(&place, "zset").join("derived.json"));
    assert!(
        derived["drainMs"].as_f64() > Some(2500.0),
        "whoever gave up is counted with the whole wait: {derived}"
    );
    // They waited for seconds, so they were seen.
    let queues = text(&folder(&place, "zset").join("monitor-queues.jsonl"));
    let totals = queues.lines().filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        line["total"].as_i64()
    });
    assert!(totals.max() > Some(0), "{queues}");
}

#[test]
fn a_crossed_threshold_is_handed_on() {
    let place = Place::new();
    let (code, printed) = finish(&mut bench(
        &place,
        &["--variant", "zset", "--set", "SSE_P95_THRESHOLD=1"],
    ));
    assert_eq!(code, 99, "{printed}");
    let meta = text(&folder(&place, "zset").join("meta.txt"));
    assert!(
        meta.contains("[k6] exit_code=99\n[k6] wall_clock_ms="),
        "{meta}"
    );
}

#[test]
fn the_script_benchmarks_services_that_a_person_started() {
    let redis = Redis::start(&["--requirepass", "topsecret7"]);
    let mut connection = redis.connect_as(":topsecret7@");
    let mut ask = |command: &str| common::ask::<i64>(&mut connection, command);
    for command in [
        "HSET WAITING_QUEUE_IDX e1 3 other 7",
        "HSET ENTRY_QUEUE_SLOTS other 8",
        "ZADD WAITING:other 1 u",
    ] {
        ask(command);
    }
    let place = Place::new();
    let port_file = place.evidence().with_file_name("address");
    let (mut services, address) = common::start_target(
        Command::new(waiting_room())
            .args(["--queue", "hash", "--events", "e1,e2"])
            .env("REDIS_URL", redis.with(":topsecret7@")),
        &port_file,
    );
    let mut command = Command::new(root().join("scripts/run-k6-barrier-benchmark.sh"));
    let (path, tmp) = (
        std::env::var_os("PATH").unwrap_or_default(),
        place.evidence().with_file_name("tmp"),
    );
    command
        .current_dir(root())
        .env_clear()
        .env("PATH", path)
        .env("TMPDIR", tmp)
        .env(barrier_procs::LOCK_VARIABLE, place.lock())
        .env("EVIDENCE_ROOT", place.evidence());
    command
        .env("BARRIER_BENCH_BIN", env!("CARGO_BIN_EXE_barrier-bench"))
        .env("K6_BIN", k6());
    command
        .env("BASE_URL", address)
        .env("REDIS_URL", redis.with(":topsecret7@"))
        .env("BURST_OFFSET_MS", "500");
    let (code, printed) = finish(
        command
            .env("EVENT_IDS", " e1 , e2,")
            .env("SCENARIO", "custom")
            .env("VUS", "10"),
    );
    let stopped = services.kill().and_then(|()| services.wait());
    assert_eq!(code, 0, "{printed}");
    stopped.expect("the waiting room ends");
    assert!(!printed.contains("topsecret7"), "{printed}");
    for path in common::files(&place.evidence()) {
        assert!(!text(&path).contains("topsecret7"), "{}", path.display());
    }
    assert_eq!(
        (
            ask("HLEN WAITING_QUEUE_IDX"),
            ask("HEXISTS WAITING_QUEUE_IDX other"),
            ask("ZCARD WAITING:other")
        ),
        (3, 1, 1)
    );
}
