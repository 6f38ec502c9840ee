//! Limits that a suite sets to comparisons: whoever looks, now or later, is told the same; and none is passed over.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::bench::{Bench, copy};
use common::evidence::{Plan, Run, call, drain, run};
use common::{Place, finish, text};
use serde_json::json;

/// The matrix suite with a limit to what is the same in every run.
fn limited(bench: &Bench, worse_than: &str) -> String {
    let gate = "[[gate]]\nid = \"in-time\"\n";
    let table = format!(
        "[[compare]]\nid = \"users\"\nmetric = \"completedUsers\"\nstat = \"value\"\nbase = \"a\"\nworse_than = {worse_than}\n\n{gate}"
    );
    copy(bench, &[(gate, &table)]).display().to_string()
}

/// Runs a plan, and asks later what became of it: the codes of `run`, `judge`, `compare` and `report`.
fn codes(bench: &Bench, suite: &str, more: &[&str]) -> ([i32; 3], String) {
    let level = ["run", suite, "--level", "LEVEL=1"];
    let (live, mut printed) = finish(bench.call(&level).args(more));
    assert_ne!(live, 2, "{printed}");
    let folder = bench.plan().display().to_string();
    let mut later = |verb: &str| {
        let (code, text) = finish(&mut bench.call(&[verb, &folder]));
        printed.push_str(&text);
        code
    };
    ([live, later("judge"), later("compare")], printed)
}

#[test]
fn live_and_later_give_the_same_verdict_on_a_plan() {
    for (limit, more, code, verdict) in [
        ("9.0", &["--cycles", "6"][..], 0, Some("PASS")),
        ("0.05", &["--cycles", "1"], 3, Some("INVALID")),
        // A scaled load says nothing to a limit.
        ("0.05", &["--cycles", "1", "--quick"], 0, None),
        (
            "9.0",
            &["--cycles", "1", "--variant", "b"],
            3,
            Some("INVALID"),
        ),
    ] {
        let bench = Bench::new();
        let (codes, printed) = codes(&bench, &limited(&bench, limit), more);
        assert_eq!(codes, [code; 3], "{more:?}: {printed}");
        // Not before the limits have said theirs.
        let good = printed.find("\nOK\n");
        assert_eq!(good.is_some(), verdict == Some("PASS"), "{printed}");
        assert!(
            good >= printed.find("verdict of the plan: PASS"),
            "{printed}"
        );
        let told = verdict.map(|verdict| format!("verdict of the plan: {verdict}"));
        match told {
            Some(told) => assert_eq!(printed.matches(&told).count(), 3, "{printed}"),
            None => assert!(
                !printed.contains("verdict of the plan")
                    && printed
                        .contains("made with --quick: limits of comparisons are not judged\n")
                    && printed.contains("nothing is compared, and no limit is judged"),
                "{printed}"
            ),
        }
    }
}

#[test]
fn a_plan_with_runs_that_never_began_is_not_whole() {
    let bench = Bench::new();
    let suite = limited(&bench, "9.0");
    let call = ["run", suite.as_str(), "--level", "LEVEL=1", "--cycles", "2"];
    let (_, printed) = finish(&mut bench.call(&call));
    let plan = bench.plan();
    let judge = || finish(&mut bench.call(&["judge", &plan.display().to_string()]));
    let (code, whole) = judge();
    assert!(
        code == 3 && !whole.contains("never begun"),
        "{printed}{whole}"
    );
    fs::remove_dir_all(plan.join("b/matrix/1/cycle-02")).expect("removed");
    let (code, printed) = judge();
    assert_eq!(code, 4, "as after an interruption: {printed}");
    for part in [
        "verdict  NOT_RUN  b/matrix/1/cycle-02\n         never begun",
        "not whole: 3 of 4 runs were begun",
        "verdict of the plan: INVALID",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    // Values of another suite are judged by that suite.
    let none = copy(&bench, &[]).display().to_string();
    let folder = plan.display().to_string();
    let (_, printed) = finish(&mut bench.call(&["judge", &folder, "--suite", &none]));
    assert!(!printed.contains("verdict of the plan"), "{printed}");
}

/// A plan that says of its runs what they measure.
fn planned(plan: &mut Plan, runs: &[(&str, &str)]) {
    for (scenario, variant) in runs {
        plan.planned.push(json!({
            "folder": format!("{variant}/{scenario}"), "scenario": scenario, "point": {}, "variant": variant,
            "build": "", "discarded": false, "preflight": false,
        }));
    }
    plan.plan_file();
}

#[test]
fn a_limit_is_never_passed_over() {
    let place = Place::new();
    let one_sided = |name: &str, limit: Option<&str>, variant: &'static str| {
        let mut plan = Plan::new(&place, name);
        if let Some(limit) = limit {
            plan = plan.limited(limit);
        }
        for cycle in 1..=7 {
            plan.add(&run(variant, cycle, 10_000.0 + f64::from(cycle)));
        }
        plan
    };
    let base_missing = one_sided("base-missing", Some("0.05"), "hash");
    let mut other_missing = one_sided("other-missing", Some("0.05"), "zset");
    planned(&mut other_missing, &[("smoke", "hash")]);
    let mut point_missing = Plan::new(&place, "point-missing")
        .limited("0.05")
        .cycles(7, 1.0);
    planned(
        &mut point_missing,
        &[("target", "zset"), ("target", "hash")],
    );
    for (plan, reason) in [
        (
            &base_missing,
            "no verdict: zset, which hash is to be compared with, never ran",
        ),
        (&other_missing, "no verdict: hash never ran"),
        (&point_missing, "target drainMs: no verdict: never ran"),
    ] {
        for verb in ["compare", "report"] {
            let (code, printed) = call(&place, verb, &[&plan.folder], &[]);
            assert_eq!(code, 3, "{reason}: {printed}");
            assert!(
                printed.contains(reason) && printed.contains("verdict of the plan: INVALID"),
                "{reason}: {printed}"
            );
        }
    }
    let html = text(&base_missing.folder.join("report.html"));
    assert!(
        html.contains("never ran") && html.contains("card refused"),
        "{html}"
    );
    // Without a limit one variant alone is no question, and one without others has nothing that is to be kept.
    for plan in [
        one_sided("no-limit", None, "hash"),
        one_sided("base-alone", Some("0.05"), "zset"),
    ] {
        let (code, printed) = call(&place, "compare", &[&plan.folder], &[]);
        assert!(code == 0 && !printed.contains("no verdict"), "{printed}");
    }
}

#[test]
fn an_accepted_baseline_is_not_passed_over_where_no_run_counts() {
    let place = Place::new();
    let accepted = Plan::new(&place, "accepted").limited("0.05").cycles(7, 1.0);
    let mut accept = place.runner();
    accept.args(["baseline", "accept"]).arg(&accepted.folder);
    assert_eq!(finish(&mut accept).0, 0);
    let mut plan = Plan::new(&place, "plan").limited("0.05");
    for cycle in 1..=7 {
        plan.add(&Run {
            verdict: "INVALID",
            ..run("zset", cycle, 10_000.0)
        });
    }
    let (code, printed) = call(&place, "compare", &[&plan.folder], &[]);
    assert_eq!(code, 3, "{printed}");
    assert!(
        printed.contains("smoke, zset: drainMs is not compared with what was accepted on")
            && printed.contains("none of its runs counts"),
        "{printed}"
    );
}

/// Rewrites a file of a run.
fn rewrite(plan: &Plan, run: &str, file: &str, content: &str) {
    let path: PathBuf = plan.folder.join(run).join(file);
    fs::write(path, content).expect("written");
}

#[test]
fn runs_without_a_value_are_missing_as_invalid_ones_are() {
    let place = Place::new();
    let folder = |cycle: u32| format!("hash/5/seat-limited/smoke/cycle-{cycle:02}");
    // The value is missing where the build was at its worst.
    let without = Plan::new(&place, "without").cycles(14, 0.8);
    let zero = Plan::new(&place, "zero").cycles(14, 0.8);
    let not_begun = Plan::new(&place, "not-begun").cycles(14, 0.8);
    for cycle in 1..=5 {
        rewrite(
            &without,
            &folder(cycle),
            "derived.json",
            "{ \"completedUsers\": 50 }",
        );
        rewrite(&zero, &folder(cycle), "derived.json", "{ \"drainMs\": 0 }");
        let verdict = "{ \"verdict\": \"NOT_RUN\", \"reasons\": [\"target hash is not ready\"] }";
        rewrite(&not_begun, &folder(cycle), "verdict.json", verdict);
    }
    for plan in [without, zero, not_begun] {
        let cell = drain(&place, &plan);
        assert_eq!(
            cell["comparisons"][0]["verdict"]["outcome"], "tooManyInvalid",
            "{cell:#}"
        );
        let (_, printed) = call(&place, "compare", &[&plan.folder], &[]);
        assert!(
            printed.contains("5 of 14 runs of hash invalid, not run or without a value"),
            "{printed}"
        );
    }
    // One is no choice.
    let one = Plan::new(&place, "one").cycles(14, 0.8);
    rewrite(
        &one,
        &folder(1),
        "derived.json",
        "{ \"completedUsers\": 50 }",
    );
    let cell = drain(&place, &one);
    assert_eq!(cell["comparisons"][0]["verdict"]["outcome"], "lower");
}

#[test]
fn evidence_that_is_gone_on_one_side_leaves_no_verdict() {
    let bench = Bench::new();
    let suite = limited(&bench, "9.0");
    let call = ["run", suite.as_str(), "--level", "LEVEL=1", "--cycles", "8"];
    let (code, printed) = finish(&mut bench.call(&call));
    assert_eq!(code, 0, "{printed}");
    let plan = bench.plan();
    let compare = || finish(&mut bench.call(&["compare", &plan.display().to_string()]));
    let remove = |run: &str| fs::remove_dir_all(plan.join(run)).expect("removed");
    remove("b/matrix/1/cycle-03");
    let (code, printed) = compare();
    assert_eq!(code, 0, "{printed}");
    let line = "missing: b/matrix/1/cycle-03: planned, no evidence";
    assert!(printed.contains(line), "{printed}");
    remove("b/matrix/1/cycle-05");
    let (code, printed) = compare();
    assert_eq!(code, 3, "{printed}");
    assert!(
        printed.contains("2 of 8 runs of b invalid, not run or without a value: what is left of the two is not alike"),
        "{printed}"
    );
    // As many of both, but from the middle of a series that went on: what is left is a choice.
    remove("a/matrix/1/cycle-03");
    remove("a/matrix/1/cycle-05");
    let (code, printed) = compare();
    assert_eq!(code, 3, "{printed}");
    assert!(
        printed.contains("2 of 8 runs of a invalid, not run or without a value, 2 of 8 runs of b invalid, not run or without a value: more than one fifth is missing"),
        "{printed}"
    );
}

#[test]
fn a_plan_that_was_ended_early_lacks_as_many_of_both() {
    let place = Place::new();
    let remove = |plan: &Plan, cycle: u32| {
        for variant in ["zset", "hash"] {
            fs::remove_dir_all(plan.run_folder(variant, cycle)).expect("removed");
        }
    };
    for (name, gone, outcome) in [
        ("tail", 10..=16, "lower"),
        ("head", 1..=7, "tooManyInvalid"),
    ] {
        let plan = Plan::new(&place, name).cycles(16, 0.8);
        gone.for_each(|cycle| remove(&plan, cycle));
        let cell = drain(&place, &plan);
        assert_eq!(
            cell["comparisons"][0]["verdict"]["outcome"], outcome,
            "{cell:#}"
        );
    }
}

/// Writes the manifest of a run.
fn seal(folder: &Path) {
    let output = std::process::Command::new("sh")
        .args(["-c", "sha256sum * > SHA256SUMS"])
        .current_dir(folder)
        .status();
    assert!(output.expect("sha256sum").success());
}

#[test]
fn runs_that_were_ended_before_their_verdict_are_missing() {
    let place = Place::new();
    // By the death of the runner, by a signal, by somebody who removed the verdict of a run that was whole.
    for (name, verdict, sealed) in [
        ("killed", None, false),
        ("interrupted", Some("INTERRUPTED"), false),
        ("removed", None, true),
    ] {
        let mut plan = Plan::new(&place, name).limited("0.05").cycles(10, 0.8);
        for cycle in 1..=4 {
            let manifest = json!({ "manifest": "SHA256SUMS" });
            let meta = if sealed { manifest } else { json!({}) };
            plan.add(&Run {
                meta,
                ..run("hash", cycle, 30_000.0)
            });
            let folder = plan.run_folder("hash", cycle);
            if sealed {
                seal(&folder);
            }
            match verdict {
                Some(verdict) => fs::write(
                    folder.join("verdict.json"),
                    json!({ "verdict": verdict }).to_string(),
                ),
                None => fs::remove_file(folder.join("verdict.json")),
            }
            .expect("changed");
        }
        let (code, printed) = call(&place, "compare", &[&plan.folder], &[]);
        assert_eq!(code, 3, "{name}: {printed}");
        assert!(
            printed.contains("4 of 10 runs of hash invalid")
                && printed.contains("what is left of the two is not alike")
                && !printed.contains("faster"),
            "{name}: {printed}"
        );
    }
}

#[test]
fn a_run_that_was_changed_to_be_another_is_missing_where_it_was_planned() {
    let place = Place::new();
    for (name, value) in [
        ("discarded", json!(true)),
        ("quick", json!(true)),
        ("variant", json!("hash2")),
        ("scenario", json!("target")),
        ("cycle", json!(99)),
    ] {
        let plan = Plan::new(&place, name).limited("0.05").cycles(10, 0.8);
        for cycle in 1..=4 {
            let folder = plan.run_folder("hash", cycle);
            let path = folder.join("meta.json");
            let mut meta: serde_json::Value = serde_json::from_str(&text(&path)).expect("JSON");
            meta["manifest"] = "SHA256SUMS".into();
            fs::write(&path, meta.to_string()).expect("written");
            seal(&folder);
            meta[name] = value.clone();
            fs::write(&path, meta.to_string()).expect("written");
        }
        let (code, printed) = call(&place, "compare", &[&plan.folder], &[]);
        assert_eq!(code, 3, "{name}: {printed}");
        assert!(
            printed.contains("4 of 10 runs of hash invalid") && !printed.contains("faster"),
            "{name}: {printed}"
        );
    }
}

#[test]
fn builds_that_never_ran_are_missing_under_their_names() {
    let place = Place::new();
    let mut plan = Plan::new(&place, "plan").limited("0.05");
    let named = json!({ "named": [{ "name": "old" }, { "name": "new" }] });
    plan.selection = json!({ "builds": named });
    for cycle in 1..=10 {
        for (name, drain) in [("old", 10_000.0), ("new", 8_000.0)] {
            let mut started = run("zset", cycle, drain + 10.0 * f64::from(cycle % 3));
            // Each folder is of a build.
            started.variant = name;
            started.meta =
                json!({ "variant": "zset", "build": { "id": name, "name": name, "base": "old" } });
            plan.add(&started);
        }
    }
    // The first one, and four of the other, ended before their build was known.
    for (name, cycle) in [("old", 1), ("new", 2), ("new", 3), ("new", 4), ("new", 5)] {
        let folder = plan.run_folder(name, cycle);
        let path = folder.join("meta.json");
        let mut meta: serde_json::Value = serde_json::from_str(&text(&path)).expect("JSON");
        meta.as_object_mut().expect("object").remove("build");
        fs::write(&path, meta.to_string()).expect("written");
        let verdict = json!({ "verdict": "NOT_RUN" }).to_string();
        fs::write(folder.join("verdict.json"), verdict).expect("written");
    }
    let (code, printed) = call(&place, "compare", &[&plan.folder], &[]);
    assert_eq!(code, 3, "{printed}");
    assert!(
        printed.contains("4 of 10 runs of new invalid") && printed.contains("1 of 10 runs of old"),
        "{printed}"
    );
}

#[test]
fn whom_a_person_interrupts_is_chance() {
    let place = Place::new();
    let mut plan = Plan::new(&place, "plan").cycles(10, 0.8);
    for cycle in 1..=2 {
        for variant in ["zset", "hash"] {
            plan.add(&Run {
                attempt: 2,
                ..run(variant, cycle, 10_000.0 + f64::from(cycle))
            });
        }
        let verdict = json!({ "verdict": "INTERRUPTED" }).to_string();
        let folder = plan.run_folder("hash", cycle);
        fs::write(folder.join("verdict.json"), verdict).expect("written");
    }
    let cell = drain(&place, &plan);
    let outcome = &cell["comparisons"][0]["verdict"]["outcome"];
    assert_ne!(*outcome, "tooManyInvalid", "{cell:#}");
}

/// It may be the variant's own doing, as where it takes all memory.
#[test]
fn whom_something_kills_is_no_chance() {
    let place = Place::new();
    let mut plan = Plan::new(&place, "plan").cycles(20, 0.8);
    for cycle in 1..=4 {
        for variant in ["zset", "hash"] {
            plan.add(&Run {
                attempt: 2,
                ..run(variant, cycle, 10_000.0 + f64::from(cycle))
            });
        }
        let folder = plan.run_folder("hash", cycle);
        fs::remove_file(folder.join("verdict.json")).expect("removed");
    }
    let cell = drain(&place, &plan);
    let outcome = &cell["comparisons"][0]["verdict"]["outcome"];
    assert_eq!(*outcome, "tooManyInvalid", "{cell:#}");
}

#[test]
fn an_attempt_that_is_gone_is_missing() {
    let place = Place::new();
    let mut plan = Plan::new(&place, "plan").cycles(10, 0.8);
    for cycle in 1..=4 {
        for variant in ["zset", "hash"] {
            plan.add(&Run {
                attempt: 2,
                ..run(variant, cycle, 10_000.0 + f64::from(cycle))
            });
        }
        fs::remove_dir_all(plan.run_folder("hash", cycle)).expect("removed");
    }
    let cell = drain(&place, &plan);
    assert_eq!(
        cell["comparisons"][0]["verdict"]["outcome"], "tooManyInvalid",
        "{cell:#}"
    );
    let (_, printed) = call(&place, "compare", &[&plan.folder], &[]);
    let line =
        "missing: hash/5/seat-limited/smoke/cycle-01: attempt 1 is gone, and a later one is there";
    assert!(printed.contains(line), "{printed}");
}

#[test]
fn a_block_that_was_begun_again_without_a_run_has_lost_it() {
    let place = Place::new();
    let mut plan = Plan::new(&place, "plan").cycles(16, 0.8);
    plan.add(&Run {
        verdict: "INVALID",
        ..run("zset", 1, 1.0)
    });
    // Made three times more, and of the other side nothing is there.
    for attempt in 2..=4 {
        plan.add(&Run {
            attempt,
            ..run("zset", 1, 10_000.0)
        });
    }
    let cell = drain(&place, &plan);
    assert_eq!(
        cell["comparisons"][0]["verdict"]["outcome"], "tooManyInvalid",
        "{cell:#}"
    );
}

#[test]
fn a_limit_is_kept_only_where_the_whole_interval_is_within_it() {
    let place = Place::new();
    let mut noisy = Plan::new(&place, "noisy").limited("0.05");
    for (cycle, ratio) in (1..).zip([1.9, 1.0, 1.6, 0.9, 1.7, 1.3, 1.05]) {
        noisy.add(&run("zset", cycle, 10_000.0));
        noisy.add(&run("hash", cycle, 10_000.0 * ratio));
    }
    let (code, printed) = call(&place, "compare", &[&noisy.folder], &[]);
    assert_eq!(code, 3, "{printed}");
    assert!(
        printed.contains("INVALID: at most 5 % higher than zset is allowed; the interval reaches from within to beyond that: more cycles tell")
            && printed.contains("verdict of the plan: INVALID"),
        "{printed}"
    );
}

#[test]
fn limits_are_corrected_for_their_number() {
    let place = Place::new();
    // Twenty points whose true ratio is just allowed; at one of them luck puts the whole interval beyond.
    let series = |name: &str, unlucky: f64| {
        let plan = Plan::new(&place, name).limited("0.05");
        let plan = plan.at_points("zset", 0.0, |_| 10_000.0);
        let plan = plan.at_points("hash", 0.02, |users| {
            10_000.0 * if users == 20 { unlucky } else { 1.05 }
        });
        call(&place, "compare", &[&plan.folder], &[])
    };
    let (code, printed) = series("luck", 1.07);
    assert_eq!(code, 3, "{printed}");
    assert!(
        printed.contains("verdict of the plan: INVALID")
            && printed.contains(
                "taken alone it is more, which is not shown among 20 limits: more cycles tell"
            ),
        "{printed}"
    );
    let (_, printed) = series("slow", 1.3);
    assert!(printed.contains("verdict of the plan: FAIL"), "{printed}");
}

#[test]
fn a_suite_that_was_changed_beside_its_plan_decides_nothing() {
    let place = Place::new();
    let mut plan = Plan::new(&place, "plan").limited("0.05");
    let copy = plan.folder.join("suite.toml");
    let sum = |path: &Path| {
        let output = std::process::Command::new("sha256sum").arg(path).output();
        let text = String::from_utf8(output.expect("sha256sum").stdout).expect("text");
        text.split(' ').next().expect("a sum").to_owned()
    };
    let meta = json!({ "suiteFile": { "sha256": "of the suite", "copySha256": sum(&copy) } });
    for cycle in 1..=7 {
        for (variant, ratio) in [("zset", 1.0), ("hash", 1.2)] {
            let drain = ratio * (10_000.0 + f64::from(cycle * 7 % 5));
            plan.add(&Run {
                meta: meta.clone(),
                ..run(variant, cycle, drain)
            });
        }
    }
    let (code, printed) = call(&place, "compare", &[&plan.folder], &[]);
    assert!(
        code == 3 && printed.contains("verdict of the plan: FAIL"),
        "{printed}"
    );
    let suite = text(&copy).replace("worse_than = 0.05", "worse_than = 0.5");
    fs::write(&copy, suite).expect("written");
    let (code, printed) = call(&place, "compare", &[&plan.folder], &[]);
    assert_eq!(code, 3, "{printed}");
    assert!(
        printed.contains("suite.toml beside the plan was changed after the run")
            && printed.contains("verdict of the plan: INVALID"),
        "{printed}"
    );
}

#[test]
fn suggested_cycles_balance_all_that_stand_in_a_block() {
    let place = Place::new();
    let mut plan = Plan::new(&place, "plan");
    for cycle in 1..=7_u32 {
        for variant in ["zset", "hash"] {
            for (build, sign) in [
                ("old", 0.0),
                ("new", if cycle % 2 == 0 { 1.0 } else { -1.0 }),
            ] {
                plan.add_at(
                    build,
                    &Run {
                        meta: json!({ "block": cycle, "build": { "id": build, "name": build, "base": "old" } }),
                        ..run(variant, cycle, 10_000.0 * (1.0 + 0.045 * sign))
                    },
                );
            }
        }
    }
    let cell = drain(&place, &plan);
    let verdict = &cell["comparisons"][0]["verdict"];
    assert_eq!(verdict["outcome"], "noDifferenceShown", "{cell:#}");
    let needed = verdict["cyclesFor5Percent"].as_u64().expect("a number");
    assert!(needed > 7 && needed.is_multiple_of(4), "{verdict}");
}
