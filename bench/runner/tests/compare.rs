//! Comparing and reporting from stored evidence, as a user calls it.

mod common;

use std::fs;

use common::evidence::{Plan, Run, call, drain, run};
use common::{Place, finish, json, root, text};
use serde_json::{Value as Json, json};

#[test]
fn seven_cycles_end_in_a_verdict() {
    let place = Place::new();
    let plan = Plan::new(&place, "slower").cycles(7, 1.12);
    let (code, printed) = call(&place, "compare", &[&plan.folder], &[]);
    assert_eq!(code, 0, "{printed}");
    assert!(
        printed.contains("smoke: drainMs in ms")
            && printed.contains("hash is slower by 12.2 % [11.2, 13.1]")
            && printed.contains("smoke: testRunDurationMs in ms"),
        "{printed}"
    );
    let plan = Plan::new(&place, "same").cycles(7, 1.0);
    let (_, printed) = call(&place, "compare", &[&plan.folder], &[]);
    assert!(
        printed.contains("no difference shown with 7 cycles; they would have shown 5 %"),
        "{printed}"
    );
}

#[test]
fn fewer_cycles_than_a_verdict_takes_say_how_many_are_missing() {
    let place = Place::new();
    let plan = Plan::new(&place, "five").cycles(5, 2.0);
    let verdict = &drain(&place, &plan)["comparisons"][0]["verdict"];
    assert_eq!(
        (&verdict["outcome"], &verdict["missingCycles"]),
        (&json!("tooFewCycles"), &json!(1))
    );
    let plan = plan.cycles(6, 2.0);
    let verdict = &drain(&place, &plan)["comparisons"][0]["verdict"];
    assert_eq!(verdict["outcome"], "higher", "{verdict}");
}

#[test]
fn a_run_that_was_begun_and_never_judged_is_interrupted() {
    let place = Place::new();
    let mut plan = Plan::new(&place, "plan").cycles(7, 1.12);
    let killed = plan.add(&run("hash", 8, 1.0));
    fs::remove_file(plan.folder.join(&killed).join("verdict.json")).expect("removed");
    let (_, compared) = call(&place, "compare", &[&plan.folder], &[]);
    let why = "INTERRUPTED (its runner was ended before it could judge, or still runs)";
    let line = format!("left out: {killed}: {why}");
    assert!(compared.contains(&line), "{compared}");
    let (_, reported) = call(&place, "report", &[&plan.folder], &[]);
    let report = text(&plan.folder.join("report.md")).replace('\\', "");
    assert!(report.contains("INTERRUPTED"), "{reported} {report}");
    assert!(!(compared + &report).contains("NOT_RUN"), "{report}");
}

#[test]
fn a_run_that_was_watched_is_not_compared_with_one_that_was_not() {
    let place = Place::new();
    let mut plan = Plan::new(&place, "plan").cycles(7, 1.12);
    plan.add(&Run {
        meta: json!({ "watched": "monitor" }),
        ..run("hash", 3, 11_200.0)
    });
    let (_, printed) = call(&place, "compare", &[&plan.folder], &[]);
    assert!(
        printed.contains("they differ in watched (by monitor | not given)"),
        "{printed}"
    );
}

#[test]
fn invalid_runs_and_warm_ups_are_named_and_never_averaged() {
    let place = Place::new();
    let mut plan = Plan::new(&place, "plan").cycles(7, 1.12);
    let invalid = plan.add(&Run {
        verdict: "INVALID",
        ..run("hash", 3, 1.0)
    });
    let warm_up = plan.add(&Run {
        discarded: true,
        ..run("zset", 1, 999_999.0)
    });
    let cell = drain(&place, &plan);
    let hash = &cell["variants"][1];
    assert_eq!((&hash["name"], &hash["n"]), (&json!("hash"), &json!(6)));
    assert!(hash["min"].as_f64() > Some(10_000.0), "{hash}");
    assert!(
        cell["variants"][0]["max"].as_f64() < Some(20_000.0),
        "{cell}"
    );
    assert_eq!(cell["comparisons"][0]["ratio"]["n"], 6, "{cell}");
    let (_, printed) = call(&place, "compare", &[&plan.folder], &[]);
    for line in [
        format!(
            "left out: {invalid}: INVALID (all-escaped: completed_users count: 49; expected == 50)"
        ),
        format!("left out: {warm_up}: warm-up"),
    ] {
        assert!(printed.contains(&line), "{line}: {printed}");
    }

    // Repeated, the cycle counts again.
    for variant in ["hash", "zset"] {
        plan.add(&Run {
            attempt: 2,
            ..run(variant, 3, 12_000.0)
        });
    }
    assert_eq!(drain(&place, &plan)["comparisons"][0]["ratio"]["n"], 7);
}

#[test]
fn outliers_are_marked_and_counted() {
    let place = Place::new();
    let mut plan = Plan::new(&place, "plan").cycles(7, 1.0);
    plan.add(&run("hash", 4, 50_000.0));
    let cell = drain(&place, &plan);
    let values = cell["variants"][1]["values"].as_array().expect("values");
    let marked: Vec<&Json> = values
        .iter()
        .filter(|value| value["outlier"] == true)
        .collect();
    assert_eq!((values.len(), marked.len()), (7, 1), "{cell}");
    assert_eq!(cell["variants"][1]["max"], 50_000.0);
    let (_, printed) = call(&place, "compare", &[&plan.folder], &[]);
    assert!(printed.contains("50,000*"), "{printed}");
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let place = Place::new();
    let empty = place.evidence().join("empty");
    fs::create_dir_all(&empty).expect("folder");
    let nowhere = place.evidence().join("nowhere");
    let probe = Plan::new(&place, "probe").cycles(1, 1.0);
    let suite = probe.folder.join("suite.toml");
    fs::copy(
        root().join("bench/runner/tests/fixtures/suites/probe.toml"),
        suite,
    )
    .expect("suite");
    let broken = Plan::new(&place, "broken").cycles(1, 1.0);
    let torn = broken
        .folder
        .join("hash/5/seat-limited/smoke/cycle-01/derived.json");
    fs::write(torn, "{ \"drainMs\": 1").expect("file");
    for (folder, expected) in [
        (&empty, "no folder there has a meta.json"),
        (&nowhere, "is not a folder"),
        (&probe.folder, "it has no table [[compare]]"),
        (
            &broken.folder,
            "cycle-01/derived.json is not what the runner writes",
        ),
    ] {
        let (code, printed) = call(&place, "compare", &[folder], &[]);
        assert_eq!(code, 2, "{printed}");
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
    let (code, printed) = call(&place, "report", &[&probe.folder], &[]);
    assert_eq!(code, 2, "{printed}");
    assert!(printed.contains("it has no table [report]"), "{printed}");
}

#[test]
fn a_suite_says_what_it_compares_and_reports() {
    let place = Place::new();
    let suite = text(&root().join("bench/suites/waiting-room.toml"));
    for (from, to, expected) in [
        (
            "metric = \"drainMs\"\nstat = \"value\"\npair_by",
            "metric = \"drainMs\"\nstat = \"avg\"\npair_by",
            "drainMs: a derived value has no `avg`; allowed: value",
        ),
        (
            "base = \"zset\"",
            "base = \"zsett\"",
            "no variant `zsett`, did you mean `zset`?; allowed: zset, hash",
        ),
        (
            "\"validity\",",
            "\"valid\",",
            "no section `valid`; allowed: comparison, cells",
        ),
        ("pair_by = \"cycle\"", "pair_by = \"hour\"", "hour"),
        (
            "method = \"paired-log-ratio\"",
            "method = \"welch-log-ratio\"",
            "welch-log-ratio",
        ),
    ] {
        assert!(suite.contains(from), "{from}");
        let file = place.evidence().with_file_name("suite.toml");
        fs::write(&file, suite.replacen(from, to, 1)).expect("file");
        let (code, printed) = finish(place.runner().arg("validate").arg(&file));
        assert_eq!(code, 2, "{printed}");
        assert!(
            printed.contains(expected) && printed.contains("suite.toml:"),
            "{expected}: {printed}"
        );
    }
}

#[test]
fn a_report_has_three_forms_and_can_be_written_again() {
    let place = Place::new();
    let mut plan = Plan::new(&place, "plan").cycles(6, 1.12);
    plan.add(&Run {
        verdict: "INVALID",
        meta: json!({ "label": "<b>|label|</b>", "machine": { "busy": true, "note": "a <busy> machine" } }),
        ..run("zset", 7, 3.0)
    });
    plan.planned
        .push(json!({ "folder": "hash/5/seat-limited/smoke/cycle-07" }));
    plan.plan_file();
    for round in 1..=2 {
        let (code, printed) = call(&place, "report", &[&plan.folder], &[]);
        assert_eq!(code, 0, "round {round}: {printed}");
        assert!(
            printed.contains("12 of 13 runs count, 1 left out, 1 planned, not run"),
            "{printed}"
        );
    }
    let figures = json(&plan.folder.join("figures.json"));
    let markdown = text(&plan.folder.join("report.md"));
    let html = text(&plan.folder.join("report.html")).replace("&#x2f;", "/");
    assert_eq!(figures["runs"].as_array().map(Vec::len), Some(13));
    assert!(
        markdown.contains("users let in 10.6 s after the events opened"),
        "{markdown}"
    );
    for (form, percent) in [(&markdown, " %"), (&html, "\u{a0}%")] {
        assert!(
            form.contains(&format!("hash is slower by 12{percent}"))
                || form.contains("hash is slower by 12.0"),
            "{form}"
        );
        for part in [
            "zset/5/seat-limited/smoke/cycle-07",
            "hash/5/seat-limited/smoke/cycle-07",
            "planned, no evidence",
        ] {
            assert!(form.contains(part), "{part}: {form}");
        }
        assert!(!form.contains("<busy>"), "{form}");
    }
    let rows: Vec<usize> = markdown
        .lines()
        .filter(|line| line.starts_with("| smoke "))
        .map(|line| line.matches(" |").count())
        .collect();
    assert!(
        rows.len() == 13 && rows.iter().all(|n| *n == rows[0]),
        "{markdown}"
    );
    for loaded in [
        "http://", "https://", "src=", "url(", "@import", "<script", "<link",
    ] {
        let namespace = html.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        assert!(!namespace.contains(loaded), "{loaded}");
    }
    assert!(html.matches("<svg").count() >= 3, "{html}");
}
