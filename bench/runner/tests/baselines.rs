//! What was accepted, and what later runs are measured by.

mod common;

use std::fs;

use common::evidence::{Plan, Run, call, run};
use common::{Place, finish, text};
use serde_json::json;

fn accept(place: &Place, plan: &Plan) -> (i32, String) {
    let mut command = place.runner();
    finish(command.args(["baseline", "accept"]).arg(&plan.folder))
}

fn compare(place: &Place, plan: &Plan) -> (i32, String) {
    call(place, "compare", &[&plan.folder], &[])
}

/// A series of one variant around a value.
fn series(
    plan: &mut Plan,
    variant: &'static str,
    cycles: u32,
    drain: f64,
    meta: &serde_json::Value,
) {
    for cycle in 1..=cycles {
        plan.add(&Run {
            meta: meta.clone(),
            ..run(variant, cycle, drain * (1.0 + 0.001 * f64::from(cycle % 3)))
        });
    }
}

#[test]
fn the_limit_is_that_of_the_scenario() {
    let place = Place::new();
    let plan = |name: &str, drain: f64| {
        let mut plan = Plan::new(&place, name);
        let path = plan.folder.join("suite.toml");
        let suite = text(&path);
        let (before, rest) = suite.split_once("[[compare]]").expect("a table");
        let (_, after) = rest.split_once("[report]").expect("a table");
        let table = |id: &str, scenario: &str, limit: f64| {
            format!(
                "[[compare]]\nid = \"{id}\"\nscenarios = [\"{scenario}\"]\nmetric = \"drainMs\"\nstat = \"value\"\nbase = \"zset\"\nworse_than = {limit:?}\n\n"
            )
        };
        // The first table with this metric looks at another scenario.
        let tables = table("lenient", "smoke", 9.0) + &table("strict", "target", 0.05);
        fs::write(&path, format!("{before}{tables}[report]{after}")).expect("suite");
        let meta = json!({ "scenario": "target" });
        series(&mut plan, "zset", 7, drain, &meta);
        plan
    };
    let (first, slower) = (plan("first", 10_000.0), plan("slower", 15_000.0));
    let (code, printed) = accept(&place, &first);
    assert_eq!(code, 0, "{printed}");
    let (code, printed) = compare(&place, &slower);
    assert_eq!(code, 3, "{printed}");
    assert!(
        printed.contains("FAIL: at most 5 % worse is allowed"),
        "{printed}"
    );
}

#[test]
fn what_is_left_of_many_is_neither_accepted_nor_measured() {
    let place = Place::new();
    let whole = |name: &str| {
        let mut plan = Plan::new(&place, name).limited("0.05");
        series(&mut plan, "zset", 12, 10_000.0, &json!({}));
        plan
    };
    let without = |plan: &mut Plan, how: &str| {
        for cycle in 1..=5 {
            let folder = plan.run_folder("zset", cycle);
            match how {
                "invalid" => {
                    plan.add(&Run {
                        verdict: "INVALID",
                        ..run("zset", cycle, 1.0)
                    });
                }
                "lost" => fs::remove_dir_all(folder).expect("removed"),
                "killed" => fs::remove_file(folder.join("verdict.json")).expect("removed"),
                _ => fs::write(folder.join("derived.json"), "{}").expect("written"),
            }
        }
    };
    let base = whole("base");
    for how in ["invalid", "lost", "killed", "without"] {
        let mut plan = whole(how);
        without(&mut plan, how);
        let (code, printed) = accept(&place, &plan);
        assert!(
            code == 2
                && printed.contains("5 of 12 runs of zset invalid")
                && printed.contains("more than one fifth is missing"),
            "{how}: {printed}"
        );
    }
    assert_eq!(accept(&place, &base).0, 0);
    for how in ["invalid", "lost", "killed", "without"] {
        let mut plan = whole(&format!("later-{how}"));
        without(&mut plan, how);
        let (code, printed) = compare(&place, &plan);
        assert!(
            code == 3
                && printed.contains("drainMs is not compared with what was accepted on")
                && printed.contains("more than one fifth is missing"),
            "{how}: {printed}"
        );
    }
    let (code, printed) = compare(&place, &whole("later"));
    assert!(
        code == 0 && printed.contains("; PASS: at most 5 % worse"),
        "{printed}"
    );
}

#[test]
fn a_name_without_a_baseline_is_told() {
    let place = Place::new();
    let of_branch = |name: &str, branch: &str, drain: f64| {
        let mut plan = Plan::new(&place, name);
        series(
            &mut plan,
            "zset",
            7,
            drain,
            &json!({ "variant": "", "branch": branch }),
        );
        plan
    };
    let first = of_branch("first", "main", 10_000.0);
    assert!(!compare(&place, &first).1.contains("baseline:"));
    let (code, printed) = accept(&place, &first);
    assert_eq!(code, 0, "{printed}");
    let (_, printed) = compare(&place, &of_branch("second", "feature", 30_000.0));
    let line = "baseline: smoke, feature: no baseline of this name, so nothing accepted is compared with; there are main";
    assert!(printed.contains(line), "{printed}");
}

/// The files of what was accepted.
fn accepted(plan: &Plan) -> Vec<std::path::PathBuf> {
    let folder = plan.folder.parent().expect("a root").join("baselines");
    let files = fs::read_dir(folder).expect("baselines");
    files.map(|entry| entry.expect("an entry").path()).collect()
}

#[test]
fn what_was_accepted_is_not_changed_by_hand() {
    let place = Place::new();
    let plan = |name: &str, drain: f64| {
        let mut plan = Plan::new(&place, name).limited("0.05");
        series(&mut plan, "zset", 7, drain, &json!({}));
        plan
    };
    let (first, second) = (plan("first", 10_000.3), plan("second", 10_000.0));
    let (code, printed) = accept(&place, &first);
    assert_eq!(code, 0, "{printed}");
    let (code, printed) = compare(&place, &second);
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("of what was accepted on"), "{printed}");
    let path = accepted(&first).remove(0);
    let kept = text(&path);
    let value = kept
        .lines()
        .find(|line| line.trim().starts_with("100"))
        .expect("a value");
    fs::write(&path, kept.replace(value, "20000.0,")).expect("written");
    let (code, printed) = compare(&place, &second);
    assert_eq!(code, 3, "{printed}");
    assert!(
        printed.contains("changed since it was accepted")
            && printed.contains("verdict of the plan: INVALID"),
        "{printed}"
    );
    // What is no baseline at all says as little; what is another suite's, or nobody's, is looked past.
    fs::write(&path, "{").expect("written");
    let (code, printed) = compare(&place, &second);
    assert!(code == 3 && printed.contains("not a baseline"), "{printed}");
    fs::write(&path, &kept).expect("written");
    let other = kept.replace("\"waiting-room\"", "\"other\"");
    assert_ne!(other, kept);
    fs::write(path.with_file_name("other_smoke.json"), other).expect("written");
    fs::write(path.with_file_name("notes.json"), "{").expect("written");
    let (code, printed) = compare(&place, &second);
    assert_eq!(code, 0, "{printed}");
}

#[test]
fn what_was_accepted_is_found_for_a_part_of_a_plan_and_for_several() {
    let place = Place::new();
    let plan = |name: &str, drain: f64| {
        let mut plan = Plan::new(&place, name).limited("0.05");
        series(&mut plan, "zset", 7, drain, &json!({}));
        plan
    };
    let (first, second) = (plan("first", 10_000.0), plan("second", 15_000.0));
    assert_eq!(accept(&place, &first).0, 0);
    for folder in [second.folder.join("zset"), place.evidence()] {
        let (code, printed) = call(&place, "compare", &[&folder], &[]);
        assert!(
            code == 3
                && printed.contains("1.50 of what was accepted on")
                && printed.contains("FAIL: at most 5 % worse"),
            "{}: {printed}",
            folder.display()
        );
    }
    let (code, printed) = call(&place, "compare", &[&first.folder.join("zset")], &[]);
    assert!(
        code == 0 && !printed.contains("baseline:"),
        "nothing is measured by itself: {printed}"
    );
}

#[test]
fn a_limit_of_a_name_without_a_baseline_is_not_kept_by_silence() {
    let place = Place::new();
    let plan = |name: &str, branches: &[&'static str]| {
        let mut plan = Plan::new(&place, name).limited("0.05");
        for branch in branches {
            series(&mut plan, branch, 7, 10_000.0, &json!({}));
        }
        plan
    };
    assert_eq!(accept(&place, &plan("first", &["zset"])).0, 0);
    let (code, printed) = compare(&place, &plan("second", &["hash"]));
    assert!(
        code == 3
            && printed.contains("smoke, hash: no baseline of this name")
            && printed.contains("judged by nothing"),
        "{printed}"
    );
    let (code, printed) = compare(&place, &plan("both", &["zset", "hash"]));
    assert!(
        code == 0
            && printed.contains("smoke, hash: no baseline of this name")
            && !printed.contains("judged by nothing"),
        "{printed}"
    );
}

#[test]
fn of_several_under_other_conditions_the_last_that_was_accepted_is_told() {
    let place = Place::new();
    let plan = |name: &str, users: &str| {
        let mut plan = Plan::new(&place, name).limited("0.05");
        let meta = json!({ "environment": { "VUS": { "value": users, "from": "scenario" } } });
        series(&mut plan, "zset", 7, 10_000.0, &meta);
        plan
    };
    // Among the names of the files the older one may be the last.
    for order in [["50", "60"], ["60", "50"]] {
        for users in order {
            let plan = plan(&format!("of-{users}"), users);
            assert_eq!(accept(&place, &plan).0, 0);
        }
        let (code, printed) = compare(&place, &plan("now", "70"));
        assert!(
            code == 3 && printed.contains(&format!("(of-{}): conditions differ in VUS", order[1])),
            "{printed}"
        );
    }
}

#[test]
fn limits_to_baselines_are_corrected_with_all_others() {
    let place = Place::new();
    // Twenty points; at one of them luck puts the whole interval beyond what is allowed.
    let series = |name: &str, factor: f64| {
        let plan = Plan::new(&place, name).limited("0.05");
        plan.at_points("zset", 0.02, |users| {
            10_000.0 * if users == 20 { factor } else { 1.0 }
        })
    };
    assert_eq!(accept(&place, &series("first", 1.0)).0, 0);
    let (code, printed) = compare(&place, &series("luck", 1.08));
    assert_eq!(code, 3, "{printed}");
    assert!(
        printed.contains("verdict of the plan: INVALID")
            && printed.contains("taken alone it is more, which is not shown among 20 limits"),
        "{printed}"
    );
    let (_, printed) = compare(&place, &series("slow", 1.3));
    assert!(printed.contains("verdict of the plan: FAIL"), "{printed}");
}
