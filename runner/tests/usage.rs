//! Wrong use and set-up: exit code 2 with a message that names the variable, and nothing touched.

mod common;

use std::process::Command;

use common::{Place, Redis, finish, root};

const SUITE: &str = "suites/waiting-room.toml";

fn refused(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let place = Place::new();
    let (code, text) = finish(
        place
            .runner()
            .args(arguments)
            .envs(environment.iter().copied()),
    );
    assert_eq!(code, 2, "{text}");
    assert!(!place.evidence().exists(), "no folder is made");
    text
}

#[test]
fn the_committed_suites_are_valid() {
    let (code, text) = finish(Place::new().runner().arg("validate"));
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("suites/waiting-room.toml: valid, 7 scenarios"),
        "{text}"
    );
}

#[test]
fn a_misspelt_key_is_located() {
    let place = Place::new();
    let path = place.evidence().with_file_name("wrong.toml");
    let suite =
        common::text(&root().join(SUITE)).replacen("stat = \"count\"", "stats = \"count\"", 1);
    let line = suite
        .lines()
        .position(|line| line.starts_with("stats"))
        .expect("the line")
        + 1;
    std::fs::write(&path, suite).expect("written");
    let (code, text) = finish(place.runner().arg("validate").arg(&path));
    assert_eq!(code, 2, "{text}");
    assert!(
        text.contains(&format!(
            "wrong.toml:{line}: unknown key `stats`, did you mean `stat`?"
        )),
        "{text}"
    );
}

#[test]
fn an_aggressive_cleaning_is_refused_before_redis_is_touched() {
    let redis = Redis::start(&[]);
    let mut connection = redis.connect();
    let received = |connection: &mut redis::Connection| {
        let info: String = redis::cmd("INFO")
            .arg("stats")
            .query(connection)
            .expect("info");
        info.lines()
            .find(|line| line.starts_with("total_connections_received"))
            .expect("count")
            .to_owned()
    };
    let events = ["0dc2efd8-f760-11f0-8e3b-2a897f646219", "foreign"];
    for event in events {
        let _: i64 = redis::cmd("ZADD")
            .arg(format!("WAITING:{event}"))
            .arg(1)
            .arg("u")
            .query(&mut connection)
            .expect("zadd");
    }
    let content = |connection: &mut redis::Connection| {
        let size: i64 = redis::cmd("DBSIZE").query(connection).expect("dbsize");
        let dumps = events.map(|event| {
            redis::cmd("DUMP")
                .arg(format!("WAITING:{event}"))
                .query::<Vec<u8>>(connection)
                .expect("dump")
        });
        (size, dumps)
    };
    let filled = content(&mut connection);
    let before = received(&mut connection);
    let text = refused(
        &["run", SUITE],
        &[("AGGRESSIVE_CLEAN", "1"), ("REDIS_URL", &redis.address)],
    );
    assert!(
        text.contains("AGGRESSIVE_CLEAN=1 is not allowed; allowed: 0"),
        "{text}"
    );
    assert_eq!(received(&mut connection), before, "nobody connected");
    assert_eq!(content(&mut connection), filled);
}

#[test]
fn missing_variables_are_named() {
    let text = refused(&["run", SUITE, "--scenario", "custom"], &[]);
    assert!(text.contains("VUS is missing"), "{text}");
    let text = refused(
        &["run", SUITE],
        &[("BASE_URL", "http://127.0.0.1:1"), ("EVENT_IDS", " , ")],
    );
    assert!(text.contains("EVENT_IDS is missing"), "{text}");
    let text = refused(&["clean", SUITE], &[]);
    assert!(text.contains("REDIS_URL is missing"), "{text}");
}

#[test]
fn impossible_plans_are_refused() {
    let text = refused(
        &[
            "run",
            SUITE,
            "--scenario",
            "stress",
            "--set",
            "BARRIER_TIMEOUT_MS=300000",
        ],
        &[],
    );
    assert!(
        text.contains("BARRIER_TIMEOUT_MS=300000") && text.contains("302000 ms"),
        "{text}"
    );
    let text = refused(
        &[
            "run",
            SUITE,
            "--set",
            "BASE_URL=http://shop.example",
            "--set",
            "EVENT_IDS=e",
        ],
        &[],
    );
    assert!(
        text.contains("the host shop.example is not allowed"),
        "{text}"
    );
}

#[test]
fn a_dry_run_lists_the_runs_and_starts_nothing() {
    let place = Place::new();
    let (code, text) =
        finish(
            place
                .runner()
                .args(["run", SUITE, "--scenario", "target,baseline", "--dry-run"]),
        );
    assert_eq!(code, 0, "{text}");
    for expected in [
        "4 runs",
        "1. target / zset",
        "4. baseline / hash",
        "ADMIN_PASSWORD=***",
        "<timestamp>/zset/5/seat-limited/target",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!place.evidence().exists() && place.left_over().is_empty());
}

#[test]
fn cleaning_by_hand_stays_in_its_scope() {
    let redis = Redis::start(&["--requirepass", "topsecret4"]);
    let mut connection = redis.connect_as(":topsecret4@");
    let mut ask = |command: &str| {
        let words: Vec<&str> = command.split(' ').collect();
        redis::cmd(words[0])
            .arg(&words[1..])
            .query::<i64>(&mut connection)
            .expect("reply")
    };
    for command in [
        "ZADD WAITING:e1 1 u",
        "ZADD WAITING:e2 1 u",
        "HSET WAITING_QUEUE_IDX e1 7 e2 8",
    ] {
        ask(command);
    }
    let address = redis.with(":topsecret4@");
    let clean = |more: &[&str]| {
        let place = Place::new();
        finish(
            place
                .runner()
                .args(["clean", SUITE])
                .args(more)
                .env("REDIS_URL", &address)
                .env("EVENT_IDS", "e1"),
        )
    };
    let (code, text) = clean(&["--dry-run"]);
    assert!(
        code == 0 && text.contains("> TYPE WAITING:e1\n< zset") && !text.contains("topsecret4"),
        "{text}"
    );
    assert_eq!(ask("EXISTS WAITING:e1"), 1);
    let (code, text) = clean(&[]);
    assert!(
        code == 0
            && text.contains("> DEL WAITING:e1\n< (integer) 1")
            && !text.contains("topsecret4"),
        "{text}"
    );
    assert_eq!(
        (
            ask("EXISTS WAITING:e1"),
            ask("EXISTS WAITING:e2"),
            ask("HLEN WAITING_QUEUE_IDX")
        ),
        (0, 1, 1)
    );
}

#[test]
fn the_script_tells_what_is_missing() {
    let script = |environment: &[(&str, &str)], arguments: &[&str]| {
        let mut command = Command::new(root().join("scripts/run-k6-barrier-benchmark.sh"));
        command
            .args(arguments)
            .current_dir(root())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("BARRIER_BENCH_BIN", env!("CARGO_BIN_EXE_barrier-bench"));
        let (code, text) = finish(command.envs(environment.iter().copied()));
        assert_eq!(code, 2, "{text}");
        text
    };
    assert!(script(&[], &[]).contains("EVENT_IDS is missing"));
    assert!(script(&[("EVENT_IDS", "e"), ("SCENARIO", "custom")], &[]).contains("VUS is missing"));
    assert!(
        script(&[("EVENT_IDS", "e"), ("SCENARIO", "smok")], &[])
            .contains("allowed: custom, baseline")
    );
    assert!(
        script(&[("EVENT_IDS", "e"), ("AGGRESSIVE_CLEAN", "1")], &[])
            .contains("AGGRESSIVE_CLEAN=1")
    );
    assert!(script(&[("EVENT_IDS", "e")], &["smoke"]).contains("no arguments"));
}
