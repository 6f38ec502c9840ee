//! Whole plans with a real k6: order, interruption, going on, and what ends a plan early.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::bench::{Bench, SUITE, background, copy, signal, text_of, titles, until};
use common::{files, finish, json, text};
use rustix::process::Signal;
use serde_json::Value as Json;

/// Every file with its content.
fn content(folder: &Path) -> BTreeMap<PathBuf, String> {
    files(folder)
        .into_iter()
        .map(|path| (path.clone(), text(&path)))
        .collect()
}

#[test]
fn more_than_two_variants_rotate_unless_a_suite_says_otherwise() {
    let bench = Bench::new();
    let order = |suite: &str, cycles: &str| {
        let call = [
            "run",
            suite,
            "--scenario",
            "loaded",
            "--cycles",
            cycles,
            "--dry-run",
        ];
        let (code, printed) = finish(&mut bench.call(&call));
        assert_eq!(code, 0, "{printed}");
        let lines = printed
            .lines()
            .skip_while(|line| !line.starts_with("order of "));
        lines.take(2).collect::<Vec<_>>().join("\n")
    };
    let own = order(SUITE, "7");
    assert!(
        own.starts_with(
            "order of loaded: a broken b | broken b a | b a broken | b broken a | a b broken | broken a b | …\n"
        ) && own.contains("7 cycles do not give the 3 variants the same places; 6 or 12 do"),
        "{own}"
    );
    assert!(!order(SUITE, "6").contains("the same places"));
    let listed = "variants = [\"a\", \"broken\", \"b\"]";
    let suite = copy(
        &bench,
        &[(listed, &format!("{listed}\ncycle_order = \"as_listed\""))],
    );
    let stated = order(&suite.display().to_string(), "7");
    assert!(
        stated.starts_with("order of loaded: a broken b | a broken b | a broken b | "),
        "{stated}"
    );
}

#[test]
fn an_interrupted_matrix_goes_on_and_ends_with_exactly_the_planned_runs() {
    let bench = Bench::new();
    let mode = bench.place.evidence().with_file_name("mode");
    let next_runs = |modes: &str| std::fs::write(&mode, modes).expect("written");
    // The first run loses a user.
    next_runs("few pass pass hang");
    let mut command = bench.run(&[]);
    command
        .env("MODE_FILE", &mode)
        .env("PASSWORD", "topsecret11");
    let (mut child, mut lines) = background(command);
    until(&mut lines, "run 4 of 12");
    until(&mut lines, "time=");
    signal(&child, Signal::INT);
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().expect("end").code(), Some(4), "{rest:#?}");
    let plan = bench.plan();
    let advice = format!("barrier-bench resume {}", plan.display());
    assert!(rest.iter().any(|line| line.contains(&advice)), "{rest:#?}");
    let before = content(&plan);
    let mut verdicts: Vec<_> = bench.verdicts().into_values().collect();
    verdicts.sort();
    assert_eq!(verdicts, ["INTERRUPTED", "INVALID", "PASS", "PASS"]);

    let resume = |secret: &str| {
        let mut command = bench.call(&["resume", &plan.display().to_string()]);
        // What the plan began with counts, not what the shell says now.
        command.env("MODE_FILE", "/nowhere");
        if !secret.is_empty() {
            command.env("PASSWORD", secret);
        }
        command
    };
    let (code, printed) = finish(&mut resume(""));
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains("PASSWORD was given when the plan began"),
        "{printed}"
    );

    // Killed in the middle of a run, which leaves that without a verdict.
    next_runs("pass pass pass hang");
    let (mut child, mut lines) = background(resume("topsecret11"));
    until(&mut lines, "run 4 of 12");
    until(&mut lines, "time=");
    child.kill().expect("killed");
    child.wait().expect("end");
    lines.for_each(drop);

    next_runs("");
    let (code, printed) = finish(&mut resume("topsecret11"));
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("plan     12 runs: 12 PASS"), "{printed}");
    let now = content(&plan);
    for (path, old) in &before {
        // The log of what happened grows; nothing else is touched.
        let kept = match now.get(path) {
            Some(now) if path.ends_with("events.jsonl") => now.starts_with(old),
            now => now == Some(old),
        };
        assert!(kept, "{} is as it was", path.display());
    }

    // Each planned run ends with a sound attempt; the runs of a block are of one attempt at it.
    let runs = json(&plan.join("plan.json"))["runs"].clone();
    let runs = runs.as_array().expect("runs");
    assert_eq!(runs.len(), 12);
    let mut blocks: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let verdicts = bench.verdicts();
    for run in runs {
        let folder = text_of(run, "folder");
        let attempts: Vec<_> = verdicts
            .iter()
            .filter(|(name, _)| **name == folder || name.starts_with(&format!("{folder}-attempt-")))
            .collect();
        let last = attempts.last().expect("an attempt");
        assert_eq!(last.1, "PASS", "{attempts:?}");
        let meta = json(&plan.join(last.0).join("meta.json"));
        for name in [
            "scenario",
            "variant",
            "point",
            "cycle",
            "block",
            "discarded",
        ] {
            assert_eq!(meta[name], run[name], "{name} of {folder}");
        }
        let block = meta["block"].as_u64().expect("a block");
        let attempt = meta["blockAttempt"].as_u64().expect("an attempt");
        blocks.entry(block).or_default().push(attempt);
    }
    // Block 1 was repeated after its invalid run, block 2 after the interrupt and after the kill, each as a whole.
    assert_eq!(blocks[&1], [2, 2]);
    assert_eq!(blocks[&2], [3, 3]);
    assert!((3..=6).all(|block| blocks[&block] == [1, 1]), "{blocks:?}");
    for (path, content) in &now {
        assert!(!content.contains("topsecret"), "{}", path.display());
    }

    // Nothing is left to do.
    let (code, printed) = finish(&mut resume("topsecret11"));
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("all 12 runs are complete"), "{printed}");
    assert_eq!(content(&plan), now);
    // What the killed runner left goes a moment later.
    let deadline = Instant::now() + Duration::from_secs(30);
    while !bench.place.left_over().is_empty() {
        assert!(Instant::now() < deadline, "{:?}", bench.place.left_over());
        common::pause();
    }
}

#[test]
fn a_run_that_does_not_pass_ends_as_much_as_the_suite_says() {
    for (on_fail, expected) in [
        ("stop", vec!["a/listed/8"]),
        ("next_scenario", vec!["a/listed/8", "a/loaded/5"]),
        ("next_run", vec!["a/listed/7", "a/listed/8", "a/loaded/5"]),
    ] {
        let bench = Bench::new();
        let suite = copy(&bench, &[("\"next_run\"", &format!("\"{on_fail}\""))]);
        let mut command = bench.call(&["run", &suite.display().to_string()]);
        command.args(["--scenario", "listed,loaded", "--variant", "a"]);
        let (code, printed) = finish(command.env("MODE", "few"));
        assert_eq!(code, 3, "{printed}");
        let verdicts = bench.verdicts();
        assert_eq!(verdicts.keys().collect::<Vec<_>>(), expected, "{on_fail}");
        assert!(verdicts.values().all(|verdict| verdict == "INVALID"));
    }
}

#[test]
fn an_interrupt_ends_a_cool_down_and_keeps_what_is_complete() {
    let bench = Bench::new();
    let suite = copy(&bench, &[("cooldown = \"1ms\"", "cooldown = \"1h\"")]);
    let (mut child, mut lines) = background(bench.call(&["run", &suite.display().to_string()]));
    until(&mut lines, "cooling down for 1 h");
    signal(&child, Signal::INT);
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().expect("end").code(), Some(4), "{rest:#?}");
    assert_eq!(
        bench.verdicts().into_iter().collect::<Vec<_>>(),
        [("a/matrix/1/cycle-01".to_owned(), "PASS".to_owned())]
    );
    assert!(
        rest.iter()
            .any(|line| line.contains("plan     12 runs: 11 NOT_RUN, 1 PASS")),
        "{rest:#?}"
    );
}

#[test]
fn a_changed_suite_is_not_gone_on_with() {
    let bench = Bench::new();
    let path = copy(&bench, &[]);
    let suite = text(&path);
    let mut command = bench.call(&["run", &path.display().to_string(), "--scenario", "listed"]);
    let (code, printed) = finish(command.env("MODE", "few"));
    assert_eq!(code, 3, "{printed}");
    let plan = bench.plan().display().to_string();

    std::fs::write(&path, suite.replace("min(3, USERS)", "min(2, USERS)")).expect("written");
    let (code, printed) = finish(&mut bench.call(&["resume", &plan]));
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains("was changed after the plan began"),
        "{printed}"
    );
    std::fs::write(&path, &suite).expect("written");
    let project = path.ancestors().nth(2).expect("the project");
    std::fs::write(project.join("more.js"), "").expect("written");
    let (code, printed) = finish(&mut bench.call(&["resume", &plan]));
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains("the harness has changed since the plan began"),
        "{printed}"
    );
    let (code, printed) = finish(&mut bench.call(&["resume", "/nowhere"]));
    assert!(
        code == 2 && printed.contains("/nowhere/plan.json"),
        "{printed}"
    );
}

#[test]
fn stored_evidence_is_judged_again() {
    let bench = Bench::new();
    let (code, printed) = finish(&mut bench.run(&["--scenario", "first"]));
    assert_eq!(code, 0, "{printed}");
    let folder = bench.plan().join("a/first/0");
    let judge = |folder: &Path| finish(&mut bench.call(&["judge", &folder.display().to_string()]));

    std::fs::remove_file(folder.join("stdout.txt")).expect("removed");
    let before = content(&folder);
    for place in [&folder, &bench.plan()] {
        let (code, printed) = judge(place);
        assert_eq!(code, 0, "{printed}");
        assert!(
            printed.contains("stored   the same verdict, PASS"),
            "{printed}"
        );
    }
    assert_eq!(content(&folder), before, "nothing is written");
    let moved = bench.place.evidence().with_file_name("moved");
    std::fs::create_dir(&moved).expect("folder");
    for path in before.keys() {
        let name = path.file_name().expect("a name");
        std::fs::copy(path, moved.join(name)).expect("copied");
    }
    let mut alone = bench.call(&["judge", &moved.display().to_string(), "--suite", SUITE]);
    let (code, printed) = finish(&mut alone);
    assert_eq!(code, 0, "{printed}");

    let path = folder.join("summary.json");
    let mut summary = json(&path);
    summary["metrics"]["iteration_duration"]["values"]["max"] = 700_000.into();
    std::fs::write(&path, summary.to_string()).expect("written");
    let (code, printed) = judge(&folder);
    assert_eq!(code, 3, "{printed}");
    for expected in [
        "verdict  INVALID",
        "summary.json was changed after the run",
        "in-time: iteration_duration max: 700000 ms; expected < 600000 ms",
        "stored   differs: the stored verdict is PASS, judged again it is INVALID",
    ] {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }

    summary["metrics"]["completed_users"]["values"]["count"] = 2.into();
    std::fs::write(&path, summary.to_string()).expect("written");
    let (code, printed) = judge(&folder);
    assert_eq!(code, 3, "{printed}");
    assert!(
        printed.contains("verdict  INVALID")
            && printed.contains(
                "derived.json says completedUsers = 3, and 2 follows from the other files"
            ),
        "{printed}"
    );

    // What the run computed is in its evidence; nothing is computed again.
    let path = folder.join("meta.json");
    let mut meta = json(&path);
    assert_eq!(meta["computed"]["expected"], 3);
    meta["computed"]["expected"] = 2.into();
    std::fs::write(&path, meta.to_string()).expect("written");
    let (_, printed) = judge(&folder);
    assert!(
        !printed.contains("all-escaped") && printed.contains("meta.json was changed after the run"),
        "{printed}"
    );
    let (code, printed) = judge(bench.place.evidence().as_path());
    assert!(
        code == 2 && printed.contains("neither the folder of a run nor of a plan"),
        "{printed}"
    );
}

#[test]
fn a_preflight_that_fails_ends_the_plan_until_it_passes() {
    let bench = Bench::new();
    let mode = bench.place.evidence().with_file_name("mode");
    std::fs::write(&mode, "few").expect("written");
    let mut command = bench.run(&["--scenario", "first,listed", "--cycles", "2"]);
    // Each call starts a Redis of its own.
    command.env("MODE_FILE", &mode).env_remove("REDIS_URL");
    let (code, printed) = finish(&mut command);
    assert_eq!(code, 2, "nothing of the plan proper was judged: {printed}");
    assert!(
        printed.contains("preflight: it did not pass, so nothing else is run"),
        "{printed}"
    );
    assert_eq!(
        bench.verdicts().into_iter().collect::<Vec<_>>(),
        [("a/first/0".to_owned(), "INVALID".to_owned())]
    );
    assert!(
        printed.contains("plan     5 runs: 1 INVALID, 4 NOT_RUN"),
        "{printed}"
    );

    let mut resume = bench.call(&["resume", &bench.plan().display().to_string()]);
    let (code, printed) = finish(&mut resume);
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("plan     5 runs: 5 PASS"), "{printed}");
    assert_eq!(bench.verdicts()["a/first/0-attempt-2"], "PASS");
    for log in ["redis.log", "redis-2.log"] {
        assert!(bench.plan().join(log).is_file(), "{log}");
    }
}

#[test]
fn a_target_that_does_not_start_ends_the_plan_unless_asked_to_keep_going() {
    for (more, code, runs) in [(None, 2, 2), (Some("--keep-going"), 2, 3)] {
        let bench = Bench::new();
        let mut command = bench.run(&["--scenario", "loaded"]);
        let (ended, printed) = finish(command.args(more));
        assert_eq!(ended, code, "{printed}");
        assert!(printed.contains("no seats left"), "{printed}");
        let verdicts = bench.verdicts();
        assert_eq!(verdicts.len(), runs, "{verdicts:?}");
        assert_eq!(verdicts["a/loaded/5"], "PASS");
        assert_eq!(verdicts["broken/loaded/5"], "NOT_RUN");
        let reasons =
            json(&bench.plan().join("broken/loaded/5/verdict.json"))["reasons"].to_string();
        assert!(reasons.contains("no seats left"), "{reasons}");
    }
}

#[test]
fn quick_runs_are_scaled_down_and_never_pass() {
    let bench = Bench::new();
    let file = bench.place.evidence().with_file_name("bench.env");
    std::fs::write(&file, "# users\nUSERS=50\n").expect("written");
    let mut command = bench.run(&[
        "--scenario",
        "loaded",
        "--variant",
        "a",
        "--quick",
        "--label",
        "just a look",
    ]);
    let (code, printed) = finish(command.arg("--env-file").arg(&file));
    assert_eq!(code, 0, "{printed}");
    let folder = bench.plan().join("a/loaded/5");
    assert_eq!(
        text_of(&json(&folder.join("verdict.json")), "verdict"),
        "SMOKE"
    );
    assert_eq!(json(&folder.join("derived.json"))["users"], 5);
    let meta = json(&folder.join("meta.json"));
    assert_eq!(
        (&meta["quick"], &meta["label"]),
        (&true.into(), &"just a look".into())
    );
    assert!(!printed.contains("PASS"), "{printed}");
}

#[test]
fn what_ran_can_be_told_from_the_evidence() {
    let bench = Bench::new();
    let (code, printed) = finish(&mut bench.run(&["--scenario", "listed"]));
    assert_eq!(code, 0, "{printed}");
    let folder = bench.plan().join("a/listed/8");
    let meta = json(&folder.join("meta.json"));
    let sha = |name: &str| {
        let text = meta.pointer(name).and_then(Json::as_str).expect(name);
        assert_eq!(text.len(), 64, "{name}: {text}");
    };
    sha("/suiteFile/sha256");
    sha("/harness/sha256");
    assert_eq!(meta["point"], serde_json::json!({ "LEVEL": "8" }));
    for name in [
        "cpus",
        "memoryBytes",
        "kernel",
        "openFilesSoft",
        "loadAverageStart",
    ] {
        assert!(!meta["host"][name].is_null(), "{name}: {meta:#}");
    }
    assert!(
        meta["k6Run"]["command"]
            .as_str()
            .is_some_and(|text| text.contains("PASSWORD=***"))
    );
    assert!(meta["redisServer"]["version"].is_string(), "{meta:#}");
    assert_eq!(meta["machine"]["measured"], true);

    let lines: Vec<Json> = text(&folder.join("monitor-processes.jsonl"))
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let last_of = |name: &str| {
        let found = lines
            .iter()
            .rev()
            .find_map(|line| line["processes"].get(name).cloned());
        found.unwrap_or_else(|| panic!("{name}: {lines:#?}"))
    };
    for name in ["k6", "target", "redis"] {
        let figures = last_of(name);
        for figure in ["rss", "fds", "connections", "threads"] {
            assert!(
                figures[figure].as_u64().is_some(),
                "{figure} of {name}: {figures}"
            );
        }
    }
    let times: Vec<i64> = lines
        .iter()
        .map(|line| line["t"].as_i64().expect("a time"))
        .collect();
    assert!(times.is_sorted() && times.len() >= 2, "{times:?}");
}

#[test]
fn a_dry_run_shows_points_and_cycles_in_their_order() {
    let bench = Bench::new();
    let dry = |arguments: &[&str]| {
        let (code, printed) = finish(bench.run(arguments).arg("--dry-run"));
        assert_eq!(code, 0, "{printed}");
        assert!(!bench.place.evidence().exists());
        titles(&printed)
    };
    assert_eq!(
        dry(&["--scenario", "first,listed"]),
        ["first / a", "listed / a, LEVEL=8", "listed / a, LEVEL=7"]
    );
    assert_eq!(
        dry(&["--level", "LEVEL=2", "--cycles", "1", "--discard", "1"]),
        [
            "matrix / a, LEVEL=2, warm-up 1 (discarded)",
            "matrix / b, LEVEL=2, warm-up 1 (discarded)",
            "matrix / b, LEVEL=2, cycle 1",
            "matrix / a, LEVEL=2, cycle 1",
        ]
    );
    for (arguments, expected) in [
        (
            ["--level", "LEVEL=3"],
            "no such point; it has LEVEL=1; LEVEL=2",
        ),
        (
            ["--level", "USERS=3"],
            "a single value is given by --set USERS=VALUE",
        ),
        (
            ["--set", "LEVEL=1"],
            "choose among them with --level LEVEL=VALUE",
        ),
        (["--cycles", "0"], "allowed: 1 or more"),
    ] {
        let (code, printed) = finish(bench.run(&arguments).arg("--dry-run"));
        assert!(
            code == 2 && printed.contains(expected),
            "{expected}: {printed}"
        );
    }
}

#[test]
fn a_missed_objective_ends_a_plan_once_its_block_is_complete() {
    for (on_fail, runs) in [("stop", 2), ("next_scenario", 4)] {
        let bench = Bench::new();
        let suite = copy(&bench, &[("\"next_run\"", &format!("\"{on_fail}\""))]);
        let mode = bench.place.evidence().with_file_name("mode");
        std::fs::write(&mode, "cross pass pass pass").expect("written");
        let mut command = bench.call(&["run", &suite.display().to_string()]);
        command.args(["--scenario", "matrix,listed"]);
        let (code, printed) = finish(command.env("MODE_FILE", &mode));
        assert_eq!(code, 99, "{printed}");
        let verdicts = bench.verdicts();
        assert_eq!(verdicts["a/matrix/1/cycle-01"], "FAIL");
        assert_eq!(verdicts["b/matrix/1/cycle-01"], "PASS", "{verdicts:?}");
        assert_eq!(verdicts.len(), runs, "{verdicts:?}");
    }
}

#[test]
fn three_variants_take_each_place_in_turn_and_the_plan_says_what_balances() {
    let bench = Bench::new();
    let suite = copy(
        &bench,
        &[(
            "variants = [\"a\", \"b\"]\n",
            "variants = [\"a\", \"b\", \"broken\"]\n",
        )],
    );
    let dry = |cycles: &str| {
        let mut command = bench.call(&["run", &suite.display().to_string(), "--dry-run"]);
        let (code, printed) = finish(command.args(["--level", "LEVEL=1", "--cycles", cycles]));
        assert_eq!(code, 0, "{printed}");
        printed
    };
    let printed = dry("6");
    let order: Vec<String> = titles(&printed)
        .iter()
        .filter_map(|title| {
            Some(
                title
                    .strip_prefix("matrix / ")?
                    .split(',')
                    .next()?
                    .to_owned(),
            )
        })
        .collect();
    let blocks: Vec<String> = order.chunks(3).map(|block| block.join(" ")).collect();
    assert_eq!(
        blocks,
        [
            "a b broken",
            "b broken a",
            "broken a b",
            "broken b a",
            "a broken b",
            "b a broken",
        ]
    );
    assert!(
        printed.contains("order of matrix: a b broken | b broken a | "),
        "{printed}"
    );
    assert!(!printed.contains("balance"), "{printed}");
    assert!(
        dry("7").contains("7 cycles do not give the 3 variants the same places; 6 or 12 do"),
        "{printed}"
    );
}
