//! Runs that go on without a terminal: beginning, watching, ending, and what is told when they are over.

mod common;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use common::life::{
    Ends, Stops, all_end, call, child, children, of_another_container, plan, plans, process_in,
    processes, send, verb, wait_for, waits,
};
use common::own::Own;
use common::{files, finish, text};
use rustix::process::Signal;

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Begins a run in the background, in a terminal that goes away when that is done.
fn in_a_terminal(own: &Own) -> String {
    let inner = call(own, "run", &["--detach"]);
    let words = std::iter::once(inner.get_program()).chain(inner.get_args());
    let words: Vec<String> = words
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let mut command = Command::new("script");
    command
        .args(["-qec", &words.join(" "), "/dev/null"])
        .env_clear();
    for (name, value) in inner.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.current_dir(inner.get_current_dir().expect("a folder"));
    let (code, printed) = finish(command.stdin(Stdio::null()));
    assert_eq!(code, 0, "{printed}");
    printed
}

/// Lines of the file that is written to once a second while k6 runs.
fn looks(plan: &Path) -> usize {
    let path = plan.join("main/monitor-generator.jsonl");
    let partial = plan.join("main/monitor-generator.jsonl.partial");
    let read = std::fs::read_to_string(path).or_else(|_| std::fs::read_to_string(partial));
    read.unwrap_or_default().lines().count()
}

#[test]
fn a_run_outlives_its_terminal_and_is_watched_and_ended_from_another_one() {
    let own = waits();
    let _stops = Stops(&own.place, &["stop"]);
    let printed = in_a_terminal(&own);
    let plan = plan(&own.place.evidence());
    let runner = process_in(&printed);
    for advice in ["status", "attach", "stop"] {
        let advice = format!("barrier-bench {advice} {}", shown(&plan));
        assert!(printed.contains(&advice), "{advice}: {printed}");
    }
    let seen = processes().into_iter().find(|process| process.id == runner);
    let seen = seen.expect("it runs");
    assert_eq!((seen.session, seen.terminal), (runner, 0), "{seen:?}");

    // What is left of a terminal says that it has gone.
    wait_for("k6 runs", || (looks(&plan) > 0).then_some(()));
    send(runner, Signal::HUP);
    let before = looks(&plan);
    wait_for("it goes on", || (looks(&plan) > before + 3).then_some(()));

    let suite = shown(&own.folder.join("suite.toml"));
    for what in [
        vec!["status"],
        vec!["status", &suite],
        vec!["status", &shown(&plan.join("main"))],
    ] {
        let (code, printed) = verb(&own, &what);
        assert_eq!(code, 5, "{printed}");
        for expected in [
            format!("own      runs, process {runner}, since "),
            "run      1 of 1: main / ".to_owned(),
            ", scenario main, block 1, since ".to_owned(),
            "left     about ".to_owned(),
        ] {
            assert!(printed.contains(&expected), "{expected}: {printed}");
        }
    }
    let (code, printed) = verb(&own, &["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!(
        (code, &status["state"], &status["run"]["block"]),
        (5, &"running".into(), &1.into())
    );
    assert!(
        status["leftMs"].as_u64().is_some_and(|left| left > 0),
        "{printed}"
    );

    // Another run is told who is here, and how to see it.
    let (code, printed) = finish(&mut call(&own, "run", &[]));
    let expected = format!(
        "another run is active: suite own, process {runner}, in {}; watch it with `barrier-bench attach ",
        shown(&plan)
    );
    assert!(code == 2 && printed.contains(&expected), "{printed}");

    // Whoever watches goes away, and the run does not.
    let mut watching = own.place.runner();
    watching.arg("attach").stdout(Stdio::piped());
    let mut watching = Ends(watching.spawn().expect("the runner starts"));
    let output = watching.0.stdout.take().expect("stdout");
    let mut lines = BufReader::new(output).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("waiting now")));
    send(i32::try_from(watching.0.id()).expect("an id"), Signal::INT);
    let rest: Vec<String> = lines.collect();
    assert_eq!(watching.0.wait().expect("end").code(), Some(5), "{rest:?}");
    assert!(
        rest.iter()
            .any(|line| line.starts_with("detached: the run goes on")),
        "{rest:?}"
    );
    assert!(child(runner, "k6").is_some());

    let (code, printed) = verb(&own, &["stop", &suite]);
    assert_eq!(code, 0, "{printed}");
    assert!(
        printed.contains("verdict  INTERRUPTED  main / "),
        "{printed}"
    );
    let log = text(&plan.join("runner.log"));
    assert!(
        log.contains("interrupted: k6 ends its run") && log.contains("waiting now"),
        "{log}"
    );

    // It is over: nobody starts it again by looking at it.
    for what in ["status", "attach"] {
        let (code, printed) = verb(&own, &[what]);
        assert_eq!(code, 4, "{printed}");
        assert!(
            printed.contains("verdict  INTERRUPTED  main / "),
            "{printed}"
        );
    }
    let (code, printed) = verb(&own, &["stop", &suite]);
    assert!(
        code == 2 && printed.contains("nothing runs there"),
        "{printed}"
    );
    assert_eq!(plans(&own.place.evidence()), 1);
}

#[test]
fn a_run_in_the_background_ends_with_its_own_code_for_whoever_watches() {
    let own = waits();
    let _stops = Stops(&own.place, &["stop"]);
    let set = ["--set", "SECONDS=4", "--detach"];
    let (code, printed) = finish(&mut call(&own, "run", &set));
    assert_eq!(code, 0, "{printed}");
    let (code, whole) = verb(&own, &["attach"]);
    assert_eq!(code, 0, "{whole}");
    for expected in [
        "run 1 of 1: main",
        "waiting now",
        "verdict  PASS  main",
        "evidence: ",
    ] {
        assert!(whole.contains(expected), "{expected}: {whole}");
    }
    let (code, printed) = verb(&own, &["attach"]);
    assert_eq!(code, 0, "{printed}");
    assert!(
        printed.contains("verdict  PASS  main") && !printed.contains("waiting"),
        "{printed}"
    );
    let plan = plan(&own.place.evidence());
    let before = text(&plan.join("events.jsonl"));
    let (code, printed) = verb(&own, &["resume", &shown(&plan)]);
    assert!(
        code == 0 && printed.contains("verdict  PASS  main"),
        "{printed}"
    );
    assert_eq!(
        text(&plan.join("events.jsonl")),
        before,
        "nothing was started"
    );
    assert_eq!(plans(&own.place.evidence()), 1);
}

#[test]
fn whoever_watches_may_begin_with_the_last_lines() {
    let own = waits();
    let _stops = Stops(&own.place, &["stop"]);
    let (code, printed) = finish(&mut call(&own, "run", &["--detach"]));
    assert_eq!(code, 0, "{printed}");
    let plan = plan(&own.place.evidence());
    wait_for("k6 says something", || {
        let said = std::fs::read_to_string(plan.join("main/stdout.txt.partial")).ok()?;
        said.contains("waiting now").then_some(())
    });
    let mut watching = own.place.runner();
    watching
        .args(["attach", "--lines", "1"])
        .stdout(Stdio::piped());
    let mut watching = Ends(watching.spawn().expect("the runner starts"));
    let output = watching.0.stdout.take().expect("stdout");
    let mut lines = BufReader::new(output).lines().map_while(Result::ok);
    let first = lines.next().expect("a line");
    assert!(
        !first.starts_with("run 1 of 1") && !first.is_empty(),
        "{first}"
    );
    let (code, printed) = verb(&own, &["stop"]);
    assert_eq!(code, 0, "{printed}");
    let rest: Vec<String> = lines.collect();
    assert_eq!(watching.0.wait().expect("end").code(), Some(4), "{rest:?}");
    assert!(
        !rest.iter().any(|line| line.starts_with("run 1 of 1")),
        "{rest:?}"
    );
    assert!(
        rest.iter()
            .any(|line| line.starts_with("verdict  INTERRUPTED")),
        "{rest:?}"
    );
}

#[test]
fn what_cannot_begin_in_the_background_says_why_to_whoever_asked() {
    let own = waits();
    for (arguments, k6, expected) in [
        (
            vec!["--detach", "--set", "NOPE=1"],
            None,
            "the suite declares no such variable",
        ),
        (vec!["--detach", "-s", "nope"], None, "nope"),
        (vec!["--detach"], Some("/nowhere/k6"), "/nowhere/k6"),
    ] {
        let mut command = call(&own, "run", &arguments);
        if let Some(k6) = k6 {
            command.env("K6_BIN", k6);
        }
        let (code, printed) = finish(&mut command);
        assert_eq!(code, 2, "{printed}");
        assert!(printed.contains(expected), "{expected}: {printed}");
        assert!(!printed.contains("detached"), "{printed}");
        assert!(!own.place.evidence().exists(), "nothing was begun");
    }
    let (code, printed) = verb(&own, &["status"]);
    assert!(
        code == 2 && printed.contains("no run of this machine is known"),
        "{printed}"
    );
}

#[test]
fn a_runner_that_was_killed_is_told_by_whoever_asks_and_by_the_next_run() {
    let own = waits();
    let _stops = Stops(&own.place, &["stop"]);
    let (code, printed) = finish(&mut call(&own, "run", &["--detach"]));
    assert_eq!(code, 0, "{printed}");
    let plan = plan(&own.place.evidence());
    wait_for("k6 runs", || (looks(&plan) > 0).then_some(()));
    send(process_in(&printed), Signal::KILL);
    let (code, printed) = wait_for("it is gone", || {
        Some(verb(&own, &["status"])).filter(|(code, _)| *code != 5)
    });
    assert_eq!(code, 4, "{printed}");
    for expected in [
        "own      INTERRUPTED: its runner, process ",
        "run      1 of 1: main",
        "go on    barrier-bench resume ",
    ] {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
    let (code, printed) = verb(&own, &["judge", &shown(&plan)]);
    assert_eq!(code, 4, "{printed}");
    assert!(printed.contains("verdict  INTERRUPTED"), "{printed}");
    let (code, printed) = finish(&mut call(&own, "run", &["--set", "SECONDS=1"]));
    let expected = format!(
        "the run before this one was ended before it could judge, in {}",
        shown(&plan)
    );
    assert!(code == 0 && printed.contains(&expected), "{printed}");
}

#[test]
fn a_runner_of_another_container_is_neither_taken_for_dead_nor_disturbed() {
    let own = waits();
    let _stops = Stops(&own.place, &["stop"]);
    let (code, printed) = finish(&mut call(&own, "run", &["--detach"]));
    assert_eq!(code, 0, "{printed}");
    let plan = plan(&own.place.evidence());
    wait_for("k6 runs", || (looks(&plan) > 0).then_some(()));
    let runner = process_in(&printed);
    let started = children(runner);
    send(runner, Signal::KILL);
    all_end(&started);
    // As seen from elsewhere: its numbers are of another system.
    let events = plan.join("events.jsonl");
    std::fs::write(&events, of_another_container(&text(&events))).expect("written");
    let folder = shown(&plan);
    let (code, printed) = verb(&own, &["status", &folder]);
    assert_eq!(code, 2, "{printed}");
    for expected in ["runs, or ran, in another container", "; last written to "] {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
    assert!(!printed.contains("INTERRUPTED"), "{printed}");
    let (_, printed) = verb(&own, &["status", &folder, "--json"]);
    assert!(printed.contains("\"state\": \"elsewhere\""), "{printed}");
    let out = shown(&own.folder.join("out.tar.gz"));
    for (arguments, refused) in [
        (&["resume", &folder][..], "not resumed"),
        (&["stop", &folder], "not stopped"),
        (&["export", &folder, "--out", &out], "not exported"),
    ] {
        let (code, printed) = verb(&own, arguments);
        assert_eq!(code, 2, "{printed}");
        assert!(
            printed.contains(refused) && printed.contains("in another container"),
            "{refused}: {printed}"
        );
    }
    // A runner would have written meanwhile.
    let old = std::time::SystemTime::now() - std::time::Duration::from_hours(1);
    for path in files(&plan) {
        let file = std::fs::File::options().append(true).open(path);
        file.and_then(|file| file.set_modified(old))
            .expect("a time");
    }
    let (code, printed) = verb(&own, &["status", &folder]);
    assert_eq!(code, 4, "{printed}");
    assert!(printed.contains("INTERRUPTED"), "{printed}");
}

#[test]
fn whoever_has_hangups_ignored_is_not_ended_by_one() {
    let own = waits();
    let inner = call(&own, "run", &[]);
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]);
    command
        .arg(inner.get_program())
        .args(inner.get_args())
        .env_clear();
    for (name, value) in inner.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.current_dir(inner.get_current_dir().expect("a folder"));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut runner = Ends(command.spawn().expect("the runner starts"));
    let plan = plan(&own.place.evidence());
    wait_for("k6 runs", || (looks(&plan) > 0).then_some(()));
    let id = i32::try_from(runner.0.id()).expect("an id");
    send(id, Signal::HUP);
    let before = looks(&plan);
    wait_for("it goes on", || (looks(&plan) > before + 3).then_some(()));
    let (code, printed) = verb(&own, &["stop"]);
    assert_eq!(code, 0, "{printed}");
    assert_eq!(runner.0.wait().expect("end").code(), Some(4));
}
