//! What a plan's reports say to those who plan capacity: how much each level used of what the suite declares, what was saturated first,
//! and documents that are filled from the evidence. With a real k6, at a service that gives way from a known rate on.

mod common;

use common::climb::{Climb, Way};
use common::{json, text};
use serde_json::json;

/// What each level is said to use: of the pool as many connections as there are requests a second, of the processors half as much.
const RESOURCES: &str = r#"
[computed]
half = "RPS // 2"

[[derive]]
id = "connections"
from = ["env.RPS"]
how = "copy"
[[derive]]
id = "nowhere"
from = ["summary.metrics.no_such_metric.values.max"]
how = "copy"

[[resource]]
id = "pool"
title = "Connections"
value = "connections"
limit = 8
unit = "connections"
say = "give the service a larger pool"
[[resource]]
id = "locks"
title = "Locks"
value = "nowhere"
limit = "{half}"
[[resource]]
id = "cpu"
title = "Processors"
parts = { api = "connections", store = "connections" }
limit = "processors"
unit = "%"

[[gate]]
"#;

const REPORT: &str = r#"limit = 0.01

[report]
formats = ["html", "md", "json"]
sections = ["ladders", "bottlenecks", "text:cleanup.txt"]
[[report.document]]
file = "CAPACITY.md"
template = "capacity.md"
"#;

const TEMPLATE: &str = r#"# Capacity of {{ figures.title }}
{% for ladder in figures.ladders %}
Limit: {{ ladder.text }}
{% for level in ladder.levels %}
{% for run in level.runs %}
{{ level.point.RPS }} a second: {{ run.gates[0].value|from(run.folder, "verdict.json") }}, {{ run.gates[7].value|from(run.folder, "verdict.json") }}
{% endfor %}
{% endfor %}
{% endfor %}
{% for used in figures.bottlenecks %}
{{ used.text|md }} {{ "evidence"|from(used.folder, "derived.json") }}
Share: {{ used.runs[0].used[0].share|percent }}
Cleaned: {{ text(used.folder, "cleanup.txt") }}
Nothing: {{ text(used.folder, "../../../nothing.txt") }}
{% endfor %}
"#;

fn climb(resources: &str) -> Climb {
    let edits = [("[[gate]]", resources), ("limit = 0.01\n", REPORT)];
    let climb = Climb::new(8, Way::Refuses, &edits);
    climb.own.write("capacity.md", TEMPLATE);
    climb
}

#[test]
fn what_was_saturated_first_is_told_with_its_evidence() {
    let climb = climb(RESOURCES);
    let (code, printed) = climb.run(&[]);
    assert_eq!(code, 3, "{printed}");
    let plan = climb.plan();
    assert!(plan.join("figures.json").exists(), "{printed}");
    let figures = json(&plan.join("figures.json"));
    let found = &figures["bottlenecks"][0];
    assert_eq!(found["scenario"], "main");
    assert_eq!(
        found["text"],
        "saturated first at RPS=8 (FAIL): Connections, 8 of 8 connections"
    );
    assert_eq!(found["resource"], "pool");
    assert_eq!(found["folder"], "main/8/cycle-01");
    assert_eq!(found["say"], "give the service a larger pool");
    let runs = found["runs"].as_array().expect("runs");
    let of: Vec<_> = runs
        .iter()
        .map(|run| (&run["point"], &run["used"][0]["share"]))
        .collect();
    let expected = [
        (json!("RPS=2"), json!(0.25)),
        (json!("RPS=4"), json!(0.5)),
        (json!("RPS=4"), json!(0.5)),
        (json!("RPS=8"), json!(1.0)),
        (json!("RPS=8"), json!(1.0)),
    ];
    let expected: Vec<_> = expected.iter().map(|(a, b)| (a, b)).collect();
    assert_eq!(of, expected, "{found:#}");
    let locks = &runs[0]["used"][1];
    assert_eq!(
        (&locks["value"], &locks["limit"]),
        (&json!(null), &json!(1.0))
    );
    let cpu = &runs[3]["used"][2];
    assert_eq!(cpu["value"], 16.0);
    assert_eq!(cpu["parts"], json!([["api", 8.0], ["store", 8.0]]));
    assert!(cpu["limit"].as_f64().expect("a limit") >= 100.0, "{cpu}");
    let headline = figures["headline"].as_array().expect("lines");
    let first = json!("main: saturated first at RPS=8 (FAIL): Connections, 8 of 8 connections");
    assert!(headline.contains(&first), "{headline:?}");

    let page = text(&plan.join("report.html"));
    for part in [
        "<p>give the service a larger pool</p>",
        "<th>Connections, connections</th>",
        "<td>8 (100 %) !</td>",
        "<a href=\"main&#x2f;8&#x2f;cycle-01/\">",
        "<h2>cleanup.txt</h2>",
        "the suite declares nothing to clean",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let lines = text(&plan.join("report.md"));
    assert!(
        lines.contains("| RPS=8 | FAIL | 8 (100 %) ! | – |"),
        "{lines}"
    );
    assert!(lines.contains("nothing to clean"), "{lines}");

    let filled = text(&plan.join("CAPACITY.md"));
    for part in [
        "# Capacity of Own",
        "Limit: main: limit: RPS=4 holds, RPS=8 does not (errors)",
        "8 a second: [1](main/8/cycle-01/verdict.json), –",
        "[evidence](main/8/cycle-01/derived.json)",
        "Share: 25 %",
        "Cleaned: [cleanup] the suite declares nothing to clean",
        "Nothing: –",
    ] {
        assert!(filled.contains(part), "{part}: {filled}");
    }
    // A number that a document links to is there.
    for link in filled.split("](").skip(1) {
        let link = link.split(')').next().expect("an end");
        assert!(plan.join(link).exists(), "{link}");
    }
    // Stored evidence alone makes the same again.
    std::fs::remove_file(plan.join("CAPACITY.md")).expect("removed");
    let (_, printed) = climb.at_plan("report");
    assert_eq!(text(&plan.join("CAPACITY.md")), filled, "{printed}");
}

#[test]
fn where_nothing_is_saturated_the_nearest_is_told() {
    let climb = climb(&RESOURCES.replace("limit = 8", "limit = 80"));
    let (_, printed) = climb.run(&[]);
    let figures = climb.plan().join("figures.json");
    assert!(figures.exists(), "{printed}");
    let figures = json(&figures);
    let found = &figures["bottlenecks"][0];
    assert_eq!(
        found["text"],
        "none of the declared resources was saturated up to the last run at RPS=8 (FAIL); the nearest is Connections, 8 of 80 connections"
    );
    assert!(found["resource"].is_null());
    assert_eq!(found["folder"], "main/8/cycle-02", "what it was read from");
}

/// What follows from a cause may be over its limit by more, as it may grow without an end.
#[test]
fn of_what_is_saturated_the_suite_says_what_is_the_cause() {
    let symptom = "[[resource]]\nid = \"flush\"\ntitle = \"Flush\"\nvalue = \"connections\"\nlimit = \"{room}\"\n";
    let room = "half = \"RPS // 2\"\nroom = \"2 if RPS >= 8 else 100\"";
    let resources = RESOURCES.replace("half = \"RPS // 2\"", room);
    let after = resources.replace("[[gate]]", &format!("{symptom}[[gate]]"));
    let before = resources.replacen("[[resource]]", &format!("{symptom}[[resource]]"), 1);
    for (resources, expected) in [
        (
            after,
            "Connections, 8 of 8 connections; beside it Flush, 8 of 2",
        ),
        (
            before,
            "Flush, 8 of 2; beside it Connections, 8 of 8 connections",
        ),
    ] {
        let climb = climb(&resources);
        let (_, printed) = climb.run(&[]);
        let figures = climb.plan().join("figures.json");
        assert!(figures.exists(), "{printed}");
        let told = json(&figures)["bottlenecks"][0]["text"].clone();
        assert_eq!(told, format!("saturated first at RPS=8 (FAIL): {expected}"));
    }
}

#[test]
fn a_template_that_cannot_be_filled_is_refused_before_anything_runs() {
    let climb = climb(RESOURCES);
    climb.own.write("capacity.md", "{% for %}");
    let (code, printed) = climb.run(&[]);
    assert_eq!(code, 2, "{printed}");
    assert!(printed.contains("capacity.md"), "{printed}");
    std::fs::remove_file(climb.own.folder.join("capacity.md")).expect("removed");
    let (code, printed) = climb.run(&[]);
    assert_eq!(code, 2, "{printed}");
    assert!(printed.contains("No such file"), "{printed}");
}
