//! The thing under test: what it is, and two builds of it in one plan.

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::bench::{Bench, copy, titles};
use common::{Place, finish, json, k6, text};
use serde_json::Value as Json;

/// A program that does what `sh` does, in a build of its own.
fn program(bench: &Bench, name: &str) -> String {
    let path = bench.place.evidence().with_file_name(name);
    std::fs::write(&path, format!("#!/bin/sh\n# {name}\nexec sh \"$@\"\n")).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
    path.display().to_string()
}

/// The matrix suite with something to compare.
fn compared(bench: &Bench) -> PathBuf {
    let gate = "[[gate]]\nid = \"in-time\"\n";
    let table = "[[compare]]\nid = \"duration\"\nmetric = \"testRunDurationMs\"\nstat = \"value\"\nbase = \"a\"\n\n";
    copy(bench, &[(gate, &format!("{table}{gate}"))])
}

#[test]
fn two_builds_run_side_by_side_and_are_compared() {
    let bench = Bench::new();
    let suite = compared(&bench).display().to_string();
    let (old, new) = (program(&bench, "old"), program(&bench, "new"));
    let mut command = bench.call(&["run", &suite, "--variant", "a", "--level", "LEVEL=1"]);
    command.args(["--cycles", "2", "--build", &format!("old={old}")]);
    let (code, printed) = finish(command.args(["--build", &format!("new=target-a:{new}")]));
    assert_eq!(code, 0, "{printed}");
    let began: Vec<&str> = printed
        .lines()
        .filter(|line| line.starts_with("run "))
        .filter_map(|line| line.split_once(": ")?.1.split(',').next())
        .collect();
    assert_eq!(
        began,
        [
            "matrix / a-old",
            "matrix / a-new",
            "matrix / a-new",
            "matrix / a-old"
        ]
    );
    let plan = bench.plan();
    let meta = |build: &str| json(&plan.join(format!("a-{build}/matrix/1/cycle-01/meta.json")));
    let id = |build: &str| {
        meta(build)["build"]["id"]
            .as_str()
            .expect("an id")
            .to_owned()
    };
    assert_eq!(meta("new")["targetProgram"]["path"], new.as_str());
    assert!(
        id("old") != id("new") && id("old").len() == 12,
        "{}",
        id("old")
    );
    assert_eq!(meta("new")["build"]["base"], "old");
    // The current folder says nothing about a program from somewhere else.
    for build in ["old", "new"] {
        let meta = meta(build);
        assert_eq!(
            (&meta["sha"], &meta["gitDirty"]),
            (&"unknown".into(), &Json::Null)
        );
    }

    let mut compare = bench.call(&["compare", &plan.display().to_string(), "--json"]);
    let (code, printed) = finish(&mut compare);
    assert_eq!(code, 0, "{printed}");
    let figures: Json = serde_json::from_str(&printed).expect("JSON");
    let cell = &figures["comparisons"][0];
    assert_eq!(cell["point"], "LEVEL=1 variant=a");
    assert_eq!(
        (&cell["base"], &cell["comparisons"][0]["variant"]),
        (&"old".into(), &"new".into())
    );
    assert_eq!(
        cell["comparisons"][0]["pairs"].as_array().map(Vec::len),
        Some(2)
    );
    assert_eq!(cell["differences"], serde_json::json!([]));
    assert!(!printed.contains("one and the same build"), "{printed}");
}

#[test]
fn one_program_under_two_names_is_said_beside_the_verdict() {
    let bench = Bench::new();
    let suite = compared(&bench).display().to_string();
    let same = program(&bench, "same");
    let mut command = bench.call(&["run", &suite, "--variant", "a", "--level", "LEVEL=1"]);
    command.args(["--cycles", "1", "--build", &format!("old={same}")]);
    let (code, printed) = finish(command.args(["--build", &format!("new={same}")]));
    assert_eq!(code, 0, "{printed}");
    let plan = bench.plan().display().to_string();
    let (code, printed) = finish(&mut bench.call(&["compare", &plan]));
    assert!(
        code == 0 && printed.contains("(one and the same build under both names, new and old)"),
        "{printed}"
    );
}

#[test]
fn builds_cross_the_variants_and_say_which_program_they_replace() {
    let bench = Bench::new();
    let suite = copy(&bench, &[]).display().to_string();
    let (old, new) = (program(&bench, "old"), program(&bench, "new"));
    let dry = |suite: &str, builds: &[&str]| {
        let mut command = bench.call(&[
            "run",
            suite,
            "--level",
            "LEVEL=1",
            "--cycles",
            "1",
            "--dry-run",
        ]);
        for build in builds {
            command.args(["--build", build]);
        }
        finish(&mut command)
    };
    let (old, new) = (format!("old={old}"), format!("new={new}"));
    let (code, printed) = dry(&suite, &[&old, &new]);
    assert_eq!(code, 0, "{printed}");
    let expected =
        ["a-old", "a-new", "b-old", "b-new"].map(|name| format!("matrix / {name}, LEVEL=1"));
    assert_eq!(titles(&printed), expected);
    let two = copy(
        &bench,
        &[(
            "variant = \"b\"\nstart = [\"sh\"",
            "variant = \"b\"\nstart = [\"env\", \"sh\"",
        )],
    );
    let only_a = old.replacen("old=", "old=target-a:", 1);
    for (suite, builds, expected) in [
        (
            two.display().to_string(),
            vec![old.as_str(), &new],
            "say which one as --build old=TARGET:PATH: target-a (sh), target-b (env)",
        ),
        (
            suite.clone(),
            vec![only_a.as_str()],
            "the plan also starts target-b; name variants with --variant",
        ),
        (
            suite.clone(),
            vec![old.as_str(), &old],
            "--build old: named twice",
        ),
        (
            suite.clone(),
            vec!["old", "new"],
            "several builds need to be told where they are",
        ),
        (
            suite.clone(),
            vec!["old=/nowhere/x"],
            "there is no file /nowhere/x",
        ),
        (
            suite.clone(),
            vec!["old=/etc/passwd"],
            "/etc/passwd cannot be started: Permission denied",
        ),
        (
            suite.clone(),
            vec!["old=target-x:/bin/sh"],
            "no target `target-x` (there are: target-a, target-b",
        ),
        (
            suite.clone(),
            vec!["old=http://127.0.0.1:1"],
            "no target that a person starts",
        ),
        (
            suite,
            vec!["old=http://me:secret@127.0.0.1:1"],
            "an address with credentials",
        ),
    ] {
        let (code, printed) = dry(&suite, &builds);
        assert!(
            code == 2 && printed.contains(expected),
            "{expected}: {printed}"
        );
    }
}

/// A matrix suite whose target is a script that an interpreter runs.
fn interpreted(bench: &Bench, start: &str, more: &str) -> (String, PathBuf) {
    let own = "variant = \"a\"\nstart = [\"sh\", \"-c\", \"echo ${LISTENER} > \\\"$0\\\"; exec sleep 600\", \"{port_file}\"]\n";
    let suite = copy(
        bench,
        &[(own, &format!("variant = \"a\"\n{start}\n{more}\n"))],
    );
    (
        suite.display().to_string(),
        suite.with_file_name("server.sh"),
    )
}

fn identity(bench: &Bench, suite: &str, more: &[(&str, &str)]) -> Json {
    let mut command = bench.call(&["run", suite, "--scenario", "first"]);
    let (code, printed) = finish(command.envs(more.iter().copied()));
    assert_eq!(code, 0, "{printed}");
    let plan = bench.plan();
    let meta = json(&plan.join("a/first/0/meta.json"));
    std::fs::remove_dir_all(plan).expect("removed");
    meta
}

#[test]
fn a_program_of_an_interpreter_is_known_by_the_files_that_it_is_given() {
    let bench = Bench::new();
    let place = bench
        .place
        .evidence()
        .with_file_name("project/suites/server.sh");
    let server = place.display();
    for start in [
        format!("start = [\"sh\", \"{server}\", \"{{port_file}}\"]"),
        format!("start = [\"sh\", \"-c\", \". '{server}'\", \"sh\", \"{{port_file}}\"]"),
    ] {
        let (suite, script) = interpreted(&bench, &start, "");
        let write = |version: &str| {
            let text = format!("# {version}\necho \"$LISTENER\" > \"$1\"; exec sleep 600\n");
            std::fs::write(&script, text).expect("written");
        };
        write("1");
        let old = identity(&bench, &suite, &[]);
        let again = identity(&bench, &suite, &[]);
        write("2");
        let new = identity(&bench, &suite, &[]);
        assert_eq!(old["build"], again["build"], "nothing has changed");
        assert_ne!(old["build"]["id"], new["build"]["id"], "{start}");
        assert_eq!(
            old["targetProgram"]["sha256"],
            new["targetProgram"]["sha256"]
        );
        let file = script.display().to_string();
        assert!(old["targetProgram"]["files"][&file].is_string(), "{old:#}");
    }
}

#[test]
fn a_started_target_may_tell_its_version_too() {
    let bench = Bench::new();
    let start = "start = [\"sh\", \"-c\", \"echo ${LISTENER} > \\\"$0\\\"; exec sleep 600\", \"{port_file}\"]";
    let version = "version = { url = \"{address}/version\", json = \"build.commit\" }";
    let (suite, _) = interpreted(&bench, start, version);
    let ids = ["c0ffee", "decaf"].map(|version| {
        let meta = identity(&bench, &suite, &[("LISTENER", &service(version))]);
        assert_eq!(meta["build"]["from"], "version");
        meta["build"]["id"].as_str().expect("an id").to_owned()
    });
    // What was started counts beside it: a version may stay although the program was built again.
    let program: Vec<_> = ids.iter().map(|id| id.split(' ').nth(1)).collect();
    assert!(
        ids[0].starts_with("c0ffee ") && ids[1].starts_with("decaf "),
        "{ids:?}"
    );
    assert!(
        program[0].is_some_and(|hash| hash.len() == 12) && program[0] == program[1],
        "{ids:?}"
    );
}

const PROBE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/suites/probe.toml"
);

/// A service that a person started and that says its version.
fn service(version: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
    let address = format!("http://{}", listener.local_addr().expect("address"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            // Who only connects says nothing.
            if stream.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {
                let body = format!("{{\"build\":{{\"commit\":\"{version}\"}}}}");
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close",
                    body.len()
                );
                // The runner may have gone.
                let _ = write!(stream, "{head}\r\n\r\n{body}");
            }
        }
    });
    address
}

fn probe(place: &Place, suite: &Path) -> Command {
    let mut command = place.runner();
    command.arg("run").arg(suite).env("K6_BIN", k6());
    command
}

#[test]
fn builds_that_a_person_started_are_reached_at_their_addresses() {
    let place = Place::new();
    let (old, new) = (service("1"), service("2"));
    let mut command = probe(&place, Path::new(PROBE));
    command.args(["--cycles", "2", "--build", &format!("old={old}")]);
    let (code, printed) = finish(command.args(["--build", &format!("new={new}")]));
    assert_eq!(code, 0, "{printed}");
    for (build, address) in [("old", &old), ("new", &new)] {
        for cycle in 1..=2 {
            let meta = json(
                &place
                    .run_folder(&format!("{build}/probe/cycle-0{cycle}"))
                    .join("meta.json"),
            );
            assert_eq!(meta["build"]["id"], build);
            assert_eq!(meta["environment"]["BASE_URL"]["value"], address.as_str());
        }
    }
}

#[test]
fn an_external_target_is_what_it_says_or_what_a_person_says() {
    let (place, address) = (Place::new(), service("c0ffee"));
    let folder = place.evidence().with_file_name("suites");
    std::fs::create_dir_all(&folder).expect("folder");
    let ready = "ready = { tcp = \"${BASE_URL}\", every = \"20ms\", limit = \"2s\" }";
    let suite = text(Path::new(PROBE));
    assert!(suite.contains(ready));
    let version = "version = { url = \"${BASE_URL}/version\", json = \"build.commit\" }";
    let asking = folder.join("probe.toml");
    std::fs::write(
        &asking,
        suite.replace(ready, &format!("{ready}\n{version}")),
    )
    .expect("suite");
    let fixtures = Path::new(PROBE).ancestors().nth(2).expect("fixtures");
    std::fs::copy(fixtures.join("probe.js"), folder.with_file_name("probe.js")).expect("script");

    let run = |place: &Place, suite: &Path, said: &[(&str, &str)]| {
        let mut command = probe(place, suite);
        command.env("BASE_URL", &address).envs(said.iter().copied());
        let (code, printed) = finish(&mut command);
        assert_eq!(code, 0, "{printed}");
    };
    run(&place, &asking, &[]);
    let meta = json(&place.run_folder("listener/probe").join("meta.json"));
    assert_eq!(
        (&meta["build"]["id"], &meta["build"]["from"]),
        (&"c0ffee".into(), &"version".into())
    );

    let said = Place::new();
    run(
        &said,
        Path::new(PROBE),
        &[("BRANCH", "feature/x"), ("SHA", "abc1234")],
    );
    let meta = json(&said.run_folder("feature-x/probe").join("meta.json"));
    assert_eq!(
        (&meta["build"]["id"], &meta["sha"]),
        (&"feature/x abc1234".into(), &"abc1234".into())
    );

    // Of the folder that the runner was called from nothing is believed.
    let silent = Place::new();
    run(&silent, Path::new(PROBE), &[]);
    let meta = json(&silent.run_folder("listener/probe").join("meta.json"));
    assert_eq!(
        (&meta["build"]["from"], &meta["sha"]),
        (&"unknown".into(), &"unknown".into())
    );
    assert_eq!(
        (&meta["gitBranch"], &meta["gitDirty"]),
        (&"unknown".into(), &Json::Null)
    );
}

#[test]
fn a_build_moves_every_address_or_none() {
    let place = Place::new();
    let call = |settings: &[&str]| {
        let mut command = place.runner();
        command.args(["run", "bench/suites/waiting-room.toml", "--dry-run"]);
        for setting in settings {
            command.args(["--set", setting]);
        }
        for build in ["old=http://localhost:1", "new=http://localhost:2"] {
            command.args(["--build", build]);
        }
        finish(&mut command)
    };
    let redis = "REDIS_URL=redis://localhost:3";
    let mut same = place.runner();
    same.args(["run", "bench/suites/waiting-room.toml", "--dry-run"]);
    same.args(["--set", "EVENT_IDS=e1", "--set", redis]);
    for build in ["old=http://localhost:1", "new=http://LOCALHOST:1/"] {
        same.args(["--build", build]);
    }
    let (code, printed) = finish(&mut same);
    assert!(
        code == 2 && printed.contains("--build new: the address of old"),
        "{printed}"
    );
    let (code, printed) = call(&["EVENT_IDS=e1", redis]);
    assert_eq!(code, 0, "{printed}");
    let (code, printed) = call(&["EVENT_IDS=e1", redis, "BROKER_BASE_URL=http://localhost:4"]);
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains("--build old: it moves BASE_URL alone, and BROKER_BASE_URL would be the same for every build; unset it"),
        "{printed}"
    );
}

#[test]
fn a_file_that_a_variable_names_is_part_of_the_harness() {
    let bench = Bench::new();
    let mode = "[env.MODE]\n";
    let room = "[env.ROOM]\ntype = \"string\"\nharness = true\n\n";
    let suite = copy(&bench, &[(mode, &format!("{room}{mode}"))]);
    let elsewhere = bench.place.evidence().with_file_name("elsewhere");
    std::fs::create_dir_all(&elsewhere).expect("folder");
    let file = elsewhere.join("room.js");
    std::fs::write(elsewhere.join("calls.js"), "1").expect("written");
    let suite = suite.display().to_string();
    let harness = |room: &str| {
        let call = [
            "run",
            &suite,
            "--scenario",
            "first",
            "--set",
            &format!("ROOM={room}"),
        ];
        let (code, printed) = finish(&mut bench.call(&call));
        assert_eq!(code, 0, "{printed}");
        let plan = bench.plan();
        let meta = json(&plan.join("a/first/0/meta.json"));
        std::fs::remove_dir_all(plan).expect("removed");
        meta["harness"].clone()
    };
    let path = file.display().to_string();
    // A name that the harness knows is no file.
    let without = harness("sse");
    std::fs::write(&file, "import './calls.js';").expect("written");
    let first = harness(&path);
    std::fs::write(elsewhere.join("calls.js"), "2").expect("written");
    let second = harness(&path);
    assert!(without["loaded"].is_null(), "{without}");
    assert_eq!(
        first["loaded"].as_object().map(serde_json::Map::len),
        Some(2),
        "{first}"
    );
    assert!(
        first["sha256"] != without["sha256"] && first["sha256"] != second["sha256"],
        "{without} {first} {second}"
    );

    // A plan goes on with the file that it began with.
    let call = [
        "run",
        &suite,
        "--scenario",
        "first,listed",
        "--set",
        &format!("ROOM={path}"),
        "--set",
        "MODE=few",
    ];
    let (code, printed) = finish(&mut bench.call(&call));
    assert_ne!(code, 0, "{printed}");
    std::fs::write(&file, "import './calls.js'; // another").expect("written");
    let folder = bench.plan().display().to_string();
    let (code, printed) = finish(&mut bench.call(&["resume", &folder]));
    assert!(
        code == 2 && printed.contains("the harness has changed"),
        "{printed}"
    );
}
