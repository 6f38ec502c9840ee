//! Wrong use and set-up: exit code 2 with a message that names the variable, and nothing touched.

mod common;

use std::process::Command;

use common::{Place, Redis, finish, root};

const SUITE: &str = "bench/suites/waiting-room.toml";

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
        text.contains("bench/suites/waiting-room.toml: valid, 7 scenarios"),
        "{text}"
    );
}

#[test]
fn a_mistyped_suite_is_answered_with_those_there_are() {
    let text = refused(&["run", "waitin-room"], &[]);
    for said in [
        "no suite `waitin-room`",
        ", did you mean `waiting-room`?",
        "bench/suites has chat, controls, m2, phase-gates, waiting-room",
    ] {
        assert!(text.contains(said), "{text}");
    }
}

/// The load would go there, and what was started would be known by its hash.
#[test]
fn an_address_for_a_target_that_the_runner_starts_is_refused() {
    let place = Place::new();
    let mut command = place.runner();
    command
        .args(["run", "bench/suites/controls.toml", "--dry-run"])
        .env("BASE_URL", "http://127.0.0.1:8080");
    let (code, printed) = finish(&mut command);
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed
            .contains("BASE_URL=http://127.0.0.1:8080 is given, and the runner starts the target"),
        "{printed}"
    );
}

#[test]
fn users_who_ask_seldom_hold_their_slots_longer() {
    let ask = |system: &str, interval: &str| {
        let place = Place::new();
        let mut command = place.runner();
        command.args(["run", SUITE, "--scenario", "custom", "--variant", "zset"]);
        for set in ["VUS=30", "SEATS=1", system, interval] {
            command.args(["--set", set]);
        }
        finish(command.arg("--dry-run"))
    };
    for (system, interval, about) in [
        ("SYSTEM=sse", "POLL_INTERVAL_MS=8000", "17 s"),
        ("SYSTEM=polling", "POLL_INTERVAL_MS=200", "17 s"),
        ("SYSTEM=polling", "POLL_INTERVAL_MS=5000", "41 s"),
    ] {
        let (code, text) = ask(system, interval);
        assert!(
            code == 0 && text.contains(&format!("1 runs, about {about}\n")),
            "{text}"
        );
    }
    let (code, text) = ask("SYSTEM=polling", "POLL_INTERVAL_MS=8000");
    let expected = "STALL_MS=10000 is not allowed with users who ask every 8000 ms";
    assert!(code == 2 && text.contains(expected), "{text}");
}

#[test]
fn the_suites_in_the_reference_are_valid() {
    let place = Place::new();
    let reference = common::text(&root().join("docs/reference/runner.md"));
    let blocks: Vec<&str> = reference
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        let path = place.evidence().with_file_name("reference.toml");
        std::fs::write(&path, block).expect("written");
        let (code, text) = finish(place.runner().arg("validate").arg(&path));
        assert_eq!(code, 0, "{text}");
    }
}

/// Changes a line of the committed suite, and expects a refusal before any load that names file, line and key.
fn mistake(from: &str, to: &str, expected: &str) {
    let place = Place::new();
    let path = place.evidence().with_file_name("wrong.toml");
    let suite = common::text(&root().join(SUITE));
    let at = suite.find(from).expect("the line");
    let wrong = suite.replacen(from, to, 1);
    let line = wrong[..at].matches('\n').count() + 1;
    std::fs::write(&path, wrong).expect("written");
    for verb in ["validate", "run"] {
        let (code, text) = finish(place.runner().arg(verb).arg(&path));
        assert_eq!(code, 2, "{verb} {to}: {text}");
        let place = format!("wrong.toml:{line}: ");
        assert!(
            text.contains(&place) && text.contains(expected),
            "{place}{expected}: {text}"
        );
    }
    assert!(!place.evidence().exists());
}

#[test]
fn mistakes_in_a_suite_file_are_located() {
    mistake(
        "stat = \"count\"",
        "stats = \"count\"",
        "unknown key `stats`, did you mean `stat`?",
    );
    mistake(
        "[[gate]]",
        "[[gates]]",
        "unknown key `gates`, did you mean `gate`?",
    );
    mistake(
        "plan = \"product\"",
        "plan = \"stairs\"",
        "allowed: single, points, product",
    );
    mistake(
        "kind = \"process\"",
        "kind = \"container\"",
        "`container` is not known here",
    );
    mistake(
        "\"target\", \"redis\"]",
        "\"targt\", \"redis\"]",
        "no process `targt`, did you mean `target`?",
    );
    mistake(
        "{ env = \"SLOT_BOOST\"",
        "{ env = \"SLOT_BOST\"",
        "no table [env.SLOT_BOST], did you mean `SLOT_BOOST`?",
    );
    mistake(
        "slots = \"SLOT_BOOST_VALUE if",
        "slots = \"SLOT_BOST_VALUE if",
        "no variable, run value or computed value `SLOT_BOST_VALUE`, did you mean `SLOT_BOOST_VALUE`?",
    );
    mistake(
        "hold_ms = \"2 * drain_ms",
        "hold_ms = \"2 * main_limit_ms",
        "`main_limit_ms` is not computed before it",
    );
    mistake(
        "open_files = \"VUS + 1024\"",
        "open_files = \"VUS + HOLD_MS +\"",
        "syntax error",
    );
    mistake(
        "[preset.stress]",
        "[preset.stres]",
        "did you mean `stress`?",
    );
    mistake(
        "\"nofile>={open_files}\"",
        "\"nofile>={open_file}\"",
        "no run value `{open_file}` here, did you mean `open_files`?",
    );
    mistake(
        "cooldown = \"10s\"",
        "cooldown = \"10\"",
        "not a duration: `10`",
    );
    let gate = "[[gate]]\nid = \"x\"\nclass = \"slo\"\nop = \"<\"\nlimit = 1\n";
    for (keys, line, expected) in [
        (
            "metric = \"http_req_failed\"\nstat = \"avg\"\n",
            7,
            "a rate has no `avg`; allowed: rate",
        ),
        (
            "metric = \"m\"\nstat = \"count\"\nscenarios = [\"smok\"]\n",
            8,
            "no scenario `smok`, did you mean `smoke`?",
        ),
        (
            "metric = \"drainMs\"\nstat = \"value\"\nmin_samples = 3\n",
            8,
            "the samples of a derived value are not counted",
        ),
    ] {
        let place = Place::new();
        let path = place.evidence().with_file_name("wrong.toml");
        let suite = common::text(&root().join(SUITE));
        let line = suite.matches('\n').count() + line;
        std::fs::write(&path, format!("{suite}{gate}{keys}")).expect("written");
        let (code, text) = finish(place.runner().arg("run").arg(&path));
        assert_eq!(code, 2, "{keys}: {text}");
        assert!(
            text.contains(&format!("wrong.toml:{line}: ")) && text.contains(expected),
            "{line} {expected}: {text}"
        );
        assert!(!place.evidence().exists());
    }
}

#[test]
fn the_matrix_has_16_runs_and_its_cycles_alternate() {
    let dry = |more: &[&str]| {
        let place = Place::new();
        let mut command = place.runner();
        command.args(["run", "waiting-room", "--scenario", "matrix", "--dry-run"]);
        // A left-over of the shell must not change what a preset stands for.
        let (code, text) = finish(command.args(more).env("VUS", "7").env("EVENT_COUNT", "2"));
        assert_eq!(code, 0, "{text}");
        assert!(!place.evidence().exists());
        text
    };
    let titles = |text: &str| -> Vec<String> {
        let titles = text
            .lines()
            .filter_map(|line| line.split_once(". matrix / "));
        titles
            .map(|(_, title)| title.split("  (").next().unwrap_or(title).to_owned())
            .collect()
    };
    let text = dry(&[]);
    assert!(text.starts_with("waiting-room: 16 runs, about "), "{text}");
    let runs = titles(&text);
    assert_eq!(runs.len(), 16, "{text}");
    for events in [1, 4] {
        for boost in [0, 1] {
            for scenario in ["baseline", "target"] {
                for variant in ["zset", "hash"] {
                    let run = format!(
                        "{variant}, EVENT_COUNT={events} SLOT_BOOST={boost} SCENARIO={scenario}"
                    );
                    assert!(runs.contains(&run), "{run}: {runs:?}");
                    let slots = if boost == 1 {
                        "slot-boosted"
                    } else {
                        "seat-limited"
                    };
                    let folder =
                        format!("evidence  <timestamp>/{variant}/{events}/{slots}/{scenario}\n");
                    assert!(text.contains(&folder), "{folder}: {text}");
                }
            }
        }
    }
    for expected in [
        "VUS=2000",
        "VUS=10000",
        "EVENT_COUNT=1 EVENT_IDS=0dc2efd8-f760-11f0-8e3b-2a897f646219 ",
        "EVENT_COUNT=4 EVENT_IDS=b55834d0-f834-11f0-999b-a7e49b723099,ba1d5e02-f834-11f0-999b-05d0f9a25396,",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!text.contains("VUS=7"), "{text}");
    let first = runs
        .iter()
        .step_by(2)
        .filter(|run| run.starts_with("zset"))
        .count();
    assert_eq!(first, 4, "each variant goes first as often: {runs:?}");

    let runs = titles(&dry(&["--cycles", "3", "--discard", "1"]));
    assert_eq!(runs.len(), 64);
    let expected = [
        ("zset", "warm-up 1 (discarded)"),
        ("hash", "warm-up 1 (discarded)"),
        ("hash", "cycle 1"),
        ("zset", "cycle 1"),
        ("zset", "cycle 2"),
        ("hash", "cycle 2"),
        ("hash", "cycle 3"),
        ("zset", "cycle 3"),
    ];
    for point in runs.chunks(8) {
        for (run, (variant, cycle)) in point.iter().zip(expected) {
            assert!(
                run.starts_with(variant) && run.ends_with(cycle),
                "{variant} {cycle}: {point:?}"
            );
        }
    }
}

#[test]
fn an_environment_file_ranks_behind_the_environment() {
    let place = Place::new();
    let file = place.evidence().with_file_name("bench.env");
    std::fs::write(&file, "SEATS=7\nSSE_P95_THRESHOLD=70000\n").expect("written");
    let mut command = place.runner();
    command
        .args(["run", SUITE, "--dry-run", "--env-file"])
        .arg(&file);
    let (code, text) = finish(command.env("SEATS", "8"));
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains(" SEATS=8 ") && text.contains(" SSE_P95_THRESHOLD=70000 "),
        "{text}"
    );
    let text = refused(&["run", SUITE, "--env-file", "/nowhere.env"], &[]);
    assert!(text.contains("--env-file /nowhere.env: "), "{text}");
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
fn a_suite_without_anything_to_clean_asks_for_no_server() {
    for more in [&[][..], &["--dry-run"]] {
        let place = Place::new();
        let (code, text) = finish(place.runner().args(["clean", "chat"]).args(more));
        assert!(
            code == 0 && text.contains("the suite declares nothing to clean"),
            "{text}"
        );
    }
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
fn nothing_is_sent_to_a_host_that_is_not_allowed() {
    // The loopback network has more than the one address that the suite allows.
    let strangers = ["127.0.0.2:0", "127.0.0.2:0"].map(|place| {
        let stranger = std::net::TcpListener::bind(place).expect("listener");
        stranger.set_nonblocking(true).expect("non-blocking");
        stranger
    });
    let [target, redis] = strangers
        .each_ref()
        .map(|stranger| stranger.local_addr().expect("address"));
    let target = format!("http://{target}");
    let redis = format!("redis://{redis}");
    for (environment, name) in [
        (
            vec![("BASE_URL", target.as_str()), ("EVENT_IDS", "e")],
            "BASE_URL",
        ),
        (vec![("REDIS_URL", redis.as_str())], "REDIS_URL"),
    ] {
        for verb in ["run", "clean", "doctor"] {
            let text = refused(&[verb, SUITE], &environment);
            assert!(
                text.contains(&format!(
                    "{name}: the host 127.0.0.2 is not allowed; allowed: localhost"
                )),
                "{text}"
            );
        }
    }
    for stranger in &strangers {
        assert!(stranger.accept().is_err(), "nobody has connected");
    }
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
    let mut ask = |command: &str| common::ask::<i64>(&mut connection, command);
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
