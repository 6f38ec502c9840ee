//! What makes a run impossible is said beforehand: one clear message, exit code 2, and nothing touched.

mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use common::{Place, Redis, finish, k6, root, waiting_room};

const SUITE: &str = "bench/suites/waiting-room.toml";

fn ready(place: &Place, verb: &str) -> Command {
    let mut command = place.runner();
    command
        .args([verb, SUITE, "--scenario", "custom", "--variant", "zset"])
        .env("VUS", "3")
        .env("K6_BIN", k6())
        .env("WAITING_ROOM_BIN", waiting_room());
    command
}

/// `doctor` finds it, and `run` refuses because of it.
fn refused(prepare: impl Fn(&mut Command), expected: &[&str]) {
    for verb in ["doctor", "run"] {
        let place = Place::new();
        let mut command = ready(&place, verb);
        prepare(&mut command);
        let (code, printed) = finish(&mut command);
        assert_eq!(code, 2, "{verb}: {printed}");
        for text in expected {
            assert!(printed.contains(text), "{verb}: {text}: {printed}");
        }
        assert_eq!(
            printed.matches("fault  ").count(),
            1,
            "{verb}: one fault: {printed}"
        );
        assert!(!printed.contains("topsecret"), "{verb}: {printed}");
        mended(&printed);
        assert!(!place.evidence().exists() && place.left_over().is_empty());
    }
}

/// Everything that is found to be wrong comes with what to do about it.
fn mended(printed: &str) {
    let lines: Vec<&str> = printed.lines().collect();
    for (line, next) in lines.iter().zip(&lines[1..]) {
        let trouble = ["fault  ", "warning"]
            .iter()
            .any(|mark| line.trim_start().starts_with(mark));
        assert!(
            !trouble || next.trim_start().starts_with("mend: "),
            "no mend for `{line}`: {printed}"
        );
    }
}

#[test]
fn programs_that_are_missing() {
    let nowhere = Path::new("/nowhere/program");
    refused(
        |command| {
            command.env("K6_BIN", nowhere);
        },
        &[
            "/nowhere/program does not run",
            "mend: build k6 with `make k6`",
        ],
    );
    refused(
        |command| {
            command.env("WAITING_ROOM_BIN", nowhere);
        },
        &["WAITING_ROOM_BIN=/nowhere/program: no such file", "mend: "],
    );
    refused(
        |command| {
            command.env("REDIS_SERVER_BIN", nowhere);
        },
        &["REDIS_SERVER_BIN=/nowhere/program: no such file", "mend: "],
    );
    refused(
        |command| {
            command.env("EVIDENCE_ROOT", "/dev/null/evidence");
        },
        &[
            "evidence cannot be written to /dev/null/evidence",
            "mend: give another place",
        ],
    );
}

#[test]
fn a_k6_without_the_modules() {
    let place = Place::new();
    let plain = place.evidence().with_file_name("k6");
    let script = "#!/bin/sh\necho 'k6 v2.2.0 (go1.26, linux/amd64)'\n";
    std::fs::write(&plain, script).expect("written");
    std::fs::set_permissions(&plain, std::fs::Permissions::from_mode(0o755)).expect("executable");
    refused(
        |command| {
            command.env("K6_BIN", &plain);
        },
        &[
            "k6 v2.2.0",
            "lacks k6/x/barrier, k6/x/sse",
            "mend: build k6 with `make k6`",
        ],
    );
}

#[test]
fn a_redis_that_cannot_be_reached() {
    refused(
        |command| {
            command.env("REDIS_URL", "redis://user:topsecret9@127.0.0.1:1/0");
        },
        &["127.0.0.1:1", "mend: start Redis"],
    );
}

#[test]
fn a_target_that_is_down() {
    let redis = Redis::start(&[]);
    refused(
        |command| {
            command
                .env("BASE_URL", "http://127.0.0.1:1")
                .env("EVENT_IDS", "e1")
                .env("REDIS_URL", &redis.address);
        },
        &["127.0.0.1:1", "refused", "mend: start its services"],
    );
}

#[test]
fn more_users_than_open_files() {
    for verb in ["doctor", "run"] {
        let place = Place::new();
        let direct = ready(&place, verb);
        let mut command = Command::new("sh");
        command
            .args(["-c", "ulimit -n 2000; exec \"$0\" \"$@\""])
            .arg(direct.get_program())
            .args(direct.get_args())
            .current_dir(root())
            .env_clear()
            .envs(
                direct
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .env("VUS", "1000");
        let (code, printed) = finish(&mut command);
        assert_eq!(code, 2, "{verb}: {printed}");
        for text in [
            "2024 open files are needed by k6 and by the target, the limit is 2000",
            "mend: ulimit -Hn 2024",
        ] {
            assert!(printed.contains(text), "{verb}: {text}: {printed}");
        }
        assert!(!place.evidence().exists());
    }
}

#[test]
fn a_queue_key_of_another_type() {
    let redis = Redis::start(&[]);
    let mut connection = redis.connect();
    let _: i64 = redis::cmd("RPUSH")
        .arg("WAITING:e1")
        .arg("x")
        .query(&mut connection)
        .expect("reply");
    let place = Place::new();
    let (code, printed) = finish(
        ready(&place, "run")
            .env("REDIS_URL", &redis.address)
            .env("EVENT_IDS", "e1"),
    );
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains("WAITING:e1 is of type list, which this suite does not own"),
        "{printed}"
    );
    let kind: String = redis::cmd("TYPE")
        .arg("WAITING:e1")
        .query(&mut connection)
        .expect("reply");
    assert_eq!(kind, "list", "it was not touched");
}
