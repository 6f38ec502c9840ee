//! What a comparison could mislead by, and what the runner says instead of a verdict.

mod common;

use std::fs;

use common::evidence::{Plan, Run, call, comparisons, drain, run};
use common::{Place, finish, json, text};
use serde_json::{Value as Json, json};

fn outcome(cell: &Json) -> &Json {
    &cell["comparisons"][0]["verdict"]["outcome"]
}

#[test]
fn one_side_of_a_block_repeated_later_is_no_pair() {
    let place = Place::new();
    let mut plan = Plan::new(&place, "plan").cycles(6, 1.12);
    plan.add(&run("zset", 7, 10_000.0));
    plan.add(&Run {
        verdict: "INVALID",
        ..run("hash", 7, 1.0)
    });
    // At night, by itself.
    plan.add(&Run {
        attempt: 2,
        ..run("hash", 7, 30_000.0)
    });
    let cell = drain(&place, &plan);
    assert_eq!(cell["comparisons"][0]["ratio"]["n"], 6, "{cell:#}");
    let (_, printed) = call(&place, "compare", &[&plan.folder], &[]);
    assert!(
        printed.contains("cycle-07: its block was begun again"),
        "{printed}"
    );

    plan.add(&Run {
        attempt: 2,
        ..run("zset", 7, 10_000.0)
    });
    let cell = drain(&place, &plan);
    assert_eq!(cell["comparisons"][0]["ratio"]["n"], 7, "{cell:#}");
}

#[test]
fn blocks_say_when_they_ran_and_in_which_order() {
    let place = Place::new();
    let plan = Plan::new(&place, "plan").cycles(6, 1.0);
    let (code, printed) = call(&place, "compare", &[&plan.folder], &[]);
    assert_eq!(code, 0, "{printed}");
    assert_eq!(
        printed
            .matches("cycle 3: 2026-01-01 00:03:01 to 00:03:30, ")
            .count(),
        1,
        "{printed}"
    );
    let (_, printed) = call(&place, "report", &[&plan.folder], &[]);
    let html = text(&plan.folder.join("report.html"));
    assert!(
        html.contains("2026-01-01 00:03:01 to 00:03:30"),
        "{printed}"
    );
}

#[test]
fn a_slow_run_that_failed_stays_in_the_comparison() {
    let place = Place::new();
    let mut plan = Plan::new(&place, "plan").cycles(7, 1.12);
    plan.add(&Run {
        verdict: "FAIL",
        ..run("hash", 4, 90_000.0)
    });
    let cell = drain(&place, &plan);
    assert_eq!(cell["comparisons"][0]["ratio"]["n"], 7, "{cell:#}");
    assert_eq!(cell["variants"][1]["max"], 90_000.0);
    let (_, printed) = call(&place, "report", &[&plan.folder], &[]);
    assert!(
        printed.contains("objectives were missed in 1 of 7 runs (FAIL)"),
        "{printed}"
    );
}

#[test]
fn a_run_that_a_threshold_ended_early_leaves_the_comparison_and_stays_a_failure() {
    let place = Place::new();
    let mut plan = Plan::new(&place, "plan").cycles(8, 1.12);
    plan.add(&Run {
        verdict: "FAIL",
        meta: json!({ "observed": { "cut": true } }),
        ..run("hash", 4, 10.0)
    });
    let cell = drain(&place, &plan);
    assert_eq!(cell["comparisons"][0]["ratio"]["n"], 7, "{cell:#}");
    let (_, printed) = call(&place, "compare", &[&plan.folder], &[]);
    assert!(
        printed.contains("cycle-04: a threshold ended it early (abortOnFail)")
            && printed.contains("hash is slower by"),
        "{printed}"
    );
}

#[test]
fn invalid_runs_of_one_side_leave_no_verdict() {
    let place = Place::new();
    let invalid = |plan: &mut Plan, variant: &'static str, cycle: u32| {
        plan.add(&Run {
            verdict: "INVALID",
            ..run(variant, cycle, 1.0)
        });
    };
    // Two of one side, none of the other, in long series: not a fifth, but not alike.
    let mut apart = Plan::new(&place, "apart").cycles(14, 1.12);
    invalid(&mut apart, "hash", 3);
    invalid(&mut apart, "hash", 4);
    // As many of both, but too many.
    let mut many = Plan::new(&place, "many").cycles(9, 1.12);
    for cycle in [3, 4] {
        invalid(&mut many, "hash", cycle);
        invalid(&mut many, "zset", cycle);
    }
    for (plan, why) in [
        (&apart, "what is left of the two is not alike"),
        (&many, "more than one fifth is missing"),
    ] {
        let cell = drain(&place, plan);
        assert_eq!(outcome(&cell), "tooManyInvalid", "{cell:#}");
        let (_, printed) = call(&place, "report", &[&plan.folder], &[]);
        assert!(
            printed.contains(why) && !printed.contains("slower"),
            "{printed}"
        );
        let html = text(&plan.folder.join("report.html"));
        assert!(
            html.contains(why) && html.contains("card refused"),
            "{html}"
        );
    }
    let mut one = Plan::new(&place, "one").cycles(9, 1.12);
    invalid(&mut one, "hash", 3);
    assert_eq!(outcome(&drain(&place, &one)), "higher");
}

#[test]
fn only_like_is_compared_with_like() {
    let place = Place::new();
    let other = |name: &str, meta: Json| {
        let mut plan = Plan::new(&place, name).cycles(7, 1.12);
        plan.add(&Run {
            meta,
            ..run("zset", 2, 10_300.0)
        });
        plan
    };
    let environment = |name: &str, value: &str| {
        let vus = json!({ "value": "50", "from": "scenario" });
        let mut environment = json!({ "VUS": vus });
        environment[name] = json!({ "value": value, "from": "command_line" });
        json!({ "environment": environment })
    };
    for (name, meta, difference) in [
        ("users", environment("VUS", "60"), "VUS (50 | 60)"),
        (
            "suite",
            json!({ "suiteFile": { "sha256": "abc" } }),
            "suite (abc | unknown)",
        ),
        (
            "harness",
            json!({ "harness": { "sha256": "abc" } }),
            "harness (abc | unknown)",
        ),
        (
            "k6",
            json!({ "k6": { "version": "k6 v9" } }),
            "k6 (k6 v9 | unknown)",
        ),
        (
            "core",
            json!({ "k6": { "version": "k6 v9\nExtensions:\n  m (devel), m [js]\ncore 5eed" } }),
            "k6 (k6 v9, modules 53be1f906682, core 5eed | unknown)",
        ),
        (
            "kernel",
            json!({ "host": { "kernel": "Linux 1" } }),
            "kernel (Linux 1 | unknown)",
        ),
        (
            "machine",
            json!({ "host": { "cpus": 2, "cpuModel": "fast", "architecture": "x" } }),
            "machine (2 × fast x | unknown)",
        ),
        (
            "direct",
            environment("BROKER_BASE_URL", "http://localhost:9000"),
            "addresses (BROKER_BASE_URL=1 | the runner's own)",
        ),
        (
            "rebuilt",
            json!({ "build": { "id": "abc" } }),
            "build of zset (abc | zset)",
        ),
    ] {
        let plan = other(name, meta);
        let cell = drain(&place, &plan);
        assert_eq!(outcome(&cell), "refused", "{name}: {cell:#}");
        let (code, printed) = call(&place, "compare", &[&plan.folder], &[]);
        assert_eq!(code, 0, "{printed}");
        assert!(
            printed.contains(difference) && !printed.contains("slower"),
            "{difference}: {printed}"
        );
        // Allowed by name, and said beside the verdict.
        let differing = difference.split(" (").next().expect("a name");
        let allow = ["--allow-differences", differing];
        let (_, printed) = call(&place, "compare", &[&plan.folder], &allow);
        assert!(
            printed.contains("hash is slower by")
                && printed.contains(&format!(
                    "although they differ, as was allowed, in {difference}"
                )),
            "{printed}"
        );
        let (code, printed) = call(&place, "report", &[&plan.folder], &allow);
        assert_eq!(code, 0, "{printed}");
        let beside = format!("although they differ, as was allowed, in {difference}");
        let report = text(&plan.folder.join("report.md")).replace('\\', "");
        let answer = format!("no one answer: its runs are not alike, they differ in {difference}");
        assert!(report.contains(&answer), "{answer}: {report}");
        let verdicts = report
            .lines()
            .filter(|line| line.contains("hash is slower by"));
        assert!(
            verdicts.clone().count() > 0 && verdicts.clone().all(|line| line.contains(&beside)),
            "{beside}: {report}"
        );
    }
    // Where something is, and who asks, may differ.
    for (name, value) in [
        ("REDIS_USERNAME", "me"),
        ("EVIDENCE_ROOT", "elsewhere"),
        ("LABEL", "night"),
    ] {
        let plan = other(name, environment(name, value));
        assert_eq!(outcome(&drain(&place, &plan)), "higher", "{name}");
    }
}

#[test]
fn many_comparisons_are_counted_and_corrected() {
    let place = Place::new();
    let mut plan = Plan::new(&place, "plan");
    // Nine points without a difference, and one whose difference is no more than luck finds among ten.
    for users in 1..=10_u32 {
        for cycle in 1..=7 {
            let sign = if (cycle + users) % 2 == 0 { 1.0 } else { -1.0 };
            let shift = if users == 10 { 0.06 } else { 0.0 };
            for (variant, drain) in [
                ("zset", 10_000.0),
                ("hash", 10_000.0 * (1.0 + shift + 0.04 * sign)),
            ] {
                let point = json!({ "point": { "USERS": users.to_string() } });
                plan.add_at(
                    &format!("{users}"),
                    &Run {
                        meta: point,
                        ..run(variant, cycle, drain)
                    },
                );
            }
        }
    }
    let (code, printed) = call(&place, "report", &[&plan.folder], &[]);
    assert_eq!(code, 0, "{printed}");
    assert!(
        printed.contains(
            "20 comparisons were made and corrected for their number (Holm): 0 with a difference, "
        ),
        "{printed}"
    );
    assert!(
        printed.contains("USERS=10: drainMs in ms: no difference shown among 20 comparisons; taken alone, hash is slower by"),
        "{printed}"
    );
}

#[test]
fn two_folders_give_a_ratio_and_no_verdict() {
    let place = Place::new();
    let (a, b) = (
        Plan::new(&place, "a").cycles(7, 1.0),
        Plan::new(&place, "b").cycles(7, 1.3),
    );
    let cells = comparisons(&place, &[&a.folder, &b.folder]);
    assert!(
        cells.iter().all(|cell| outcome(cell) == "oneSessionEach"),
        "{cells:#?}"
    );
    let (code, printed) = call(&place, "compare", &[&a.folder, &b.folder], &[]);
    assert_eq!(code, 0, "{printed}");
    assert!(
        printed.contains("B / A: 1.30\n")
            && printed.contains("one session each cannot say which build is faster")
            && printed.contains("did not run side by side"),
        "{printed}"
    );
    for word in ["is faster by", "is slower by", "no difference shown"] {
        assert!(!printed.contains(word), "{word}: {printed}");
    }
}

#[test]
fn a_limit_fails_the_plan() {
    let place = Place::new();
    for (name, ratio, cycles, limit, code, verdict) in [
        ("worse", 1.12, 7, "0.05", 3, "FAIL"),
        ("within", 1.12, 7, "0.25", 0, "PASS"),
        ("same", 1.0, 7, "0.05", 0, "PASS"),
        // Not shown to be worse is not shown to be as good.
        ("unknown", 1.0, 7, "0.0", 3, "INVALID"),
        ("short", 1.12, 3, "0.05", 3, "INVALID"),
    ] {
        let plan = Plan::new(&place, name).limited(limit).cycles(cycles, ratio);
        for verb in ["compare", "report"] {
            let (ended, printed) = call(&place, verb, &[&plan.folder], &[]);
            assert_eq!(ended, code, "{name}: {printed}");
            assert!(
                printed.contains(&format!("verdict of the plan: {verdict}")),
                "{printed}"
            );
        }
        assert_eq!(
            json(&plan.folder.join("figures.json"))["verdict"]["verdict"],
            verdict
        );
    }
    let plan = Plan::new(&place, "wrong").limited("-0.1");
    let (code, printed) = finish(
        place
            .runner()
            .arg("validate")
            .arg(plan.folder.join("suite.toml")),
    );
    assert!(
        code == 2 && printed.contains("allowed: a share from 0 on"),
        "{printed}"
    );
}

#[test]
fn an_accepted_baseline_is_compared_with_under_the_same_key() {
    let place = Place::new();
    let first = Plan::new(&place, "first").limited("0.05").cycles(7, 1.0);
    let root = place.evidence().display().to_string();
    let list = || finish(place.runner().args(["baseline", "list", &root]));
    assert!(list().1.contains("nothing was accepted"));
    let accept = |plan: &Plan| {
        finish(
            place
                .runner()
                .args(["baseline", "accept"])
                .arg(&plan.folder),
        )
    };
    let (code, printed) = accept(&first);
    assert_eq!(code, 0, "{printed}");
    for variant in ["zset", "hash"] {
        let line = format!("waiting-room / smoke / {variant}, build {variant}, of first, key ");
        assert!(
            printed.contains(&line) && list().1.contains(&line),
            "{printed}"
        );
    }
    assert!(printed.contains("(7 runs)"), "{printed}");
    // Nothing is its own baseline.
    let (code, printed) = call(&place, "compare", &[&first.folder], &[]);
    assert!(code == 0 && !printed.contains("baseline:"), "{printed}");

    // Both are slower than before, which no comparison inside of the plan can see.
    let mut slower = Plan::new(&place, "slower").limited("0.05");
    for cycle in 1..=7 {
        let drain = 15_000.0 + 100.0 * f64::from(cycle % 3);
        slower.add(&run("zset", cycle, drain));
        slower.add(&run("hash", cycle, drain + 50.0 * f64::from(cycle % 2)));
    }
    let (code, printed) = call(&place, "compare", &[&slower.folder], &[]);
    assert_eq!(code, 3, "{printed}");
    assert!(
        printed.contains("baseline: smoke, hash: drainMs is 1.4")
            && printed.contains(
                "(build hash, first); not side by side; FAIL: at most 5 % worse is allowed"
            ),
        "{printed}"
    );

    // Other conditions, another key: nothing is compared, and that is said.
    let vus = json!({ "environment": { "VUS": { "value": "60", "from": "command_line" } } });
    let mut other = Plan::new(&place, "other").limited("0.05");
    for cycle in 1..=7 {
        for variant in ["zset", "hash"] {
            let meta = vus.clone();
            other.add(&Run {
                meta,
                ..run(variant, cycle, 15_000.0 + f64::from(cycle))
            });
        }
    }
    let (code, printed) = call(&place, "compare", &[&other.folder], &[]);
    assert_eq!(
        code, 3,
        "a limit that cannot be judged is not kept: {printed}"
    );
    assert!(
        printed.contains("conditions differ in VUS; accept a new one"),
        "{printed}"
    );

    fs::remove_dir_all(place.evidence().join("baselines")).expect("removed");
    let empty = Plan::new(&place, "empty");
    let (code, printed) = accept(&empty);
    assert!(
        code == 2 && printed.contains("no evidence below"),
        "{printed}"
    );
}

#[test]
fn a_report_begins_with_the_answer_and_the_single_run_with_no_verdict_at_all() {
    let place = Place::new();
    let mut single = Plan::new(&place, "single");
    single.add(&run("zset", 1, 42_123.0));
    let both = Plan::new(&place, "both").cycles(1, 1.12);
    for (plan, expected) in [
        (
            &single,
            "<p class=\"answer\">50 of 50 users let in 42.1 s after the events opened</p>",
        ),
        (
            &both,
            "<p class=\"answer\">zset: 50 of 50 users let in 10.6 s after the events opened; hash: 50 of 50",
        ),
    ] {
        let (code, printed) = call(&place, "report", &[&plan.folder], &[]);
        assert_eq!(code, 0, "{printed}");
        let html = text(&plan.folder.join("report.html"));
        let (head, _) = html.split_once("</header>").expect("a header");
        assert!(head.contains(expected), "{head}");
        assert!(
            !head.contains("no verdict") && !head.contains("<table"),
            "{head}"
        );
    }
    let head = text(&both.folder.join("report.html"));
    assert!(
        head.contains("Which one is faster takes at least 6 valid cycles to say, and there is 1."),
        "{head}"
    );
}

#[test]
fn a_dirty_tree_is_said() {
    let place = Place::new();
    for (dirty, said) in [(true, true), (false, false)] {
        let mut plan = Plan::new(&place, &dirty.to_string());
        plan.add(&Run {
            meta: json!({ "gitDirty": dirty }),
            ..run("zset", 1, 1000.0)
        });
        let (code, printed) = call(&place, "report", &[&plan.folder], &[]);
        assert_eq!(code, 0, "{printed}");
        let markdown = text(&plan.folder.join("report.md"));
        assert_eq!(
            markdown.contains("abc1234, with changes that are not committed"),
            said,
            "{markdown}"
        );
    }
}
