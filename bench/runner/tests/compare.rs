//! Comparing and reporting from stored evidence, as a user calls it.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Place, finish, json, root, text};
use serde_json::{Value as Json, json};

/// A folder of evidence as the runner leaves it, with values of the test's choice.
struct Plan {
    folder: PathBuf,
    planned: Vec<Json>,
}

/// One run of it.
struct Run<'a> {
    variant: &'a str,
    cycle: u32,
    drain: f64,
    verdict: &'a str,
    attempt: u32,
    discarded: bool,
    meta: Json,
}

fn run(variant: &str, cycle: u32, drain: f64) -> Run<'_> {
    Run {
        variant,
        cycle,
        drain,
        verdict: "PASS",
        attempt: 1,
        discarded: false,
        meta: json!({}),
    }
}

impl Plan {
    fn new(place: &Place, name: &str) -> Self {
        let folder = place.evidence().join(name);
        fs::create_dir_all(&folder).expect("folder");
        fs::copy(
            root().join("bench/suites/waiting-room.toml"),
            folder.join("suite.toml"),
        )
        .expect("suite");
        let mut plan = Self {
            folder,
            planned: Vec::new(),
        };
        plan.plan_file();
        plan
    }

    fn plan_file(&mut self) {
        let plan = json!({ "schemaVersion": 1, "suite": "waiting-room", "runs": self.planned });
        fs::write(self.folder.join("plan.json"), plan.to_string()).expect("plan");
    }

    fn planned_folder(run: &Run<'_>) -> String {
        let kind = if run.discarded { "warmup" } else { "cycle" };
        format!(
            "{}/5/seat-limited/smoke/{kind}-{:02}",
            run.variant, run.cycle
        )
    }

    fn add(&mut self, run: &Run<'_>) -> String {
        let planned = Self::planned_folder(run);
        if run.attempt == 1 {
            self.planned.push(json!({ "folder": planned }));
            self.plan_file();
        }
        let name = match run.attempt {
            1 => planned,
            n => format!("{planned}-attempt-{n}"),
        };
        let folder = self.folder.join(&name);
        fs::create_dir_all(&folder).expect("folder");
        let mut meta = json!({
            "suite": "waiting-room", "scenario": "smoke", "variant": run.variant, "branch": run.variant, "sha": "abc1234",
            "point": {}, "cycle": run.cycle, "attempt": run.attempt, "discarded": run.discarded,
            "startTime": format!("2026-01-01T00:{:02}:{:02}.000+00:00", run.cycle, run.attempt),
            "environment": { "VUS": { "value": "50", "from": "scenario" } },
        });
        for (key, value) in run.meta.as_object().into_iter().flatten() {
            meta[key] = value.clone();
        }
        let reasons: &[&str] = if run.verdict == "INVALID" {
            &["all-escaped: completed_users count: 49; expected == 50"]
        } else {
            &[]
        };
        let verdict = json!({ "verdict": run.verdict, "reasons": reasons, "gates": [] });
        let derived = json!({ "drainMs": run.drain, "testRunDurationMs": run.drain + 6000.0 });
        for (file, content) in [
            ("meta.json", &meta),
            ("verdict.json", &verdict),
            ("derived.json", &derived),
        ] {
            fs::write(folder.join(file), content.to_string()).expect("file");
        }
        name
    }

    /// Both variants in so many cycles; the hash takes `ratio` times as long, give or take a percent.
    fn cycles(mut self, n: u32, ratio: f64) -> Self {
        for cycle in 1..=n {
            let luck = 10_000.0 + 300.0 * f64::from(cycle * 7 % 5);
            let noise = 1.0 + 0.01 * (f64::from(cycle * 5 % 3) - 1.0);
            self.add(&run("zset", cycle, luck));
            self.add(&run("hash", cycle, luck * ratio * noise));
        }
        self
    }
}

fn call(place: &Place, verb: &str, folders: &[&Path], more: &[&str]) -> (i32, String) {
    finish(place.runner().arg(verb).args(folders).args(more))
}

fn comparisons(place: &Place, folders: &[&Path]) -> Vec<Json> {
    let (code, printed) = call(place, "compare", folders, &["--json"]);
    assert_eq!(code, 0, "{printed}");
    let figures: Json = serde_json::from_str(&printed).expect("JSON");
    figures["comparisons"].as_array().expect("cells").clone()
}

/// The comparison of `drainMs`.
fn drain(place: &Place, plan: &Plan) -> Json {
    let cells = comparisons(place, &[&plan.folder]);
    let found = cells.iter().find(|cell| cell["metric"] == "drainMs");
    found.expect("a cell").clone()
}

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
    plan.add(&Run {
        attempt: 2,
        ..run("hash", 3, 12_000.0)
    });
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
fn what_is_not_the_same_in_all_runs_is_said() {
    let place = Place::new();
    let mut plan = Plan::new(&place, "plan").cycles(7, 1.0);
    plan.add(&Run {
        meta: json!({ "environment": { "VUS": { "value": "60", "from": "command_line" } } }),
        ..run("zset", 2, 10_000.0)
    });
    let notes = drain(&place, &plan)["notes"].to_string();
    assert!(
        notes.contains("not the same in all runs: VUS (50 | 60)"),
        "{notes}"
    );
}

#[test]
fn two_builds_are_compared_variant_by_variant() {
    let place = Place::new();
    let (a, b) = (
        Plan::new(&place, "a").cycles(7, 1.0),
        Plan::new(&place, "b").cycles(7, 1.3),
    );
    let cells = comparisons(&place, &[&a.folder, &b.folder]);
    let outcome = |variant: &str| {
        let found = cells
            .iter()
            .find(|cell| cell["metric"] == "drainMs" && cell["point"] == variant);
        found.expect("a cell")["comparisons"][0]["verdict"]["text"].clone()
    };
    assert!(
        outcome("hash")
            .as_str()
            .expect("text")
            .starts_with("B is slower by 30 % ["),
        "{cells:?}"
    );
    assert!(
        outcome("zset")
            .as_str()
            .expect("text")
            .starts_with("no difference shown"),
        "{cells:?}"
    );
    assert_eq!(cells[0]["method"], "welch-log-ratio");
    let (_, printed) = call(&place, "compare", &[&a.folder, &b.folder], &[]);
    assert!(
        printed.contains("/b (abc1234)") && printed.contains("did not run side by side"),
        "{printed}"
    );
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
