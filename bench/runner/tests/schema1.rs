//! Evidence of suites of schema 1, when presets, time limits and places were built into the runner: it is judged, compared
//! and reported as before, from what its files hold. Its suite is not run any more.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Place, finish, json, text};
use serde_json::{Value as Json, json};

/// As the runner left it beside its plan.
const SUITE: &str = r#"[suite]
schema = 1
id = "old"
title = "A suite of the schema before"
order = ["smoke"]
exit = "k6_first"
allow_hosts = ["127.0.0.1"]
needs = ["k6", "redis", "nofile>={open_files}"]

[env.BASE_URL]
type = "url"

[env.REDIS_URL]
type = "url"

[env.REDIS_USERNAME]
type = "string"

[env.EVENT_IDS]
type = "list"

[env.EVIDENCE_ROOT]
type = "string"
default = "evidence"

[env.ADMIN_PASSWORD]
type = "string"
default = "***"
secret = true

[env.SCENARIO]
type = "string"
allowed = ["custom", "baseline"]

[env.VUS]
type = "int"

[env.SEATS]
type = "int"
default = 50

[env.SSE_TIMEOUT_MS]
type = "int"
default = "{sse_timeout_ms}"

[evidence]
root = "${EVIDENCE_ROOT}"
folder = "{timestamp}/{branch}/{events}/{slot_mode}/{load}"
files = ["stdout.txt", "summary.json"]

[[target]]
id = "room"
kind = "builtin"
variant = "zset"
start = ["waiting-room", "--events=${EVENT_IDS}", "--seats=${SEATS}"]
ready = { url = "{address}/health", every = "50ms", limit = "30s" }

[[clean]]
id = "queue-keys"
kind = "redis"
when = "before_run"
target = "${REDIS_URL}"
scope = ["WAITING:{event}", "WAITING_QUEUE_IDX[{event}]"]

[[scenario]]
id = "smoke"
script = "js/old.js"
variants = ["zset"]
limit = "{run_limit_ms}"
set = { SCENARIO = "baseline", VUS = "{preset_vus}" }

[[monitor]]
id = "queues"
kind = "redis"
source = "${REDIS_URL}"
of = ["WAITING:{event}"]
every = "500ms"

[[derive]]
id = "expectedVUs"
from = ["env.VUS"]
how = "copy"

[[derive]]
id = "drainMs"
from = ["summary.metrics.open_to_promote_ms.values.max"]
how = "copy"

[[gate]]
id = "all-escaped"
class = "validity"
metric = "completed_users"
type = "counter"
stat = "count"
op = "=="
limit = "${VUS}"

[[gate]]
id = "stream-life"
class = "slo"
metric = "sse_connection_time"
type = "trend"
stat = "max"
op = "<"
limit = "{sse_timeout_ms}"
unit = "ms"

[[compare]]
id = "drain-time"
metric = "drainMs"
stat = "value"
base = "zset"

[report]
formats = ["html"]
sections = ["comparison", "queues"]
"#;

/// A plan with one run, in an own folder of evidence.
fn stored(place: &Place, name: &str) -> PathBuf {
    let plan = place.evidence().join(name);
    let run = plan.join("zset/2/seat-limited/baseline");
    fs::create_dir_all(&run).expect("folders");
    fs::write(plan.join("suite.toml"), SUITE).expect("the suite");
    let selection = json!({
        "scenarios": [], "variants": [], "levels": [], "cycles": null, "discard": null, "quick": false, "label": "",
        "seed": 1, "given": { "set": {}, "environment": {}, "file": {} },
    });
    let planned = json!({
        "number": 1, "folder": "zset/2/seat-limited/baseline", "scenario": "smoke", "point": {}, "variant": "zset",
        "block": 1, "cycle": 1, "discarded": false, "preflight": false, "estimateMs": 45000,
    });
    let whole = json!({
        "schemaVersion": 1, "suite": "old", "title": "A suite of the schema before", "suiteFile": "/gone/old.toml",
        "suiteSha256": "", "created": "2026-01-01T00:00:00.000+00:00", "selection": selection, "secrets": [],
        "k6": "k6 v2.2.0", "harnessSha256": [""], "runs": [planned],
    });
    let setting = |value: &str, from: &str| json!({ "value": value, "from": from });
    let meta = json!({
        "schemaVersion": 1, "suite": "old", "branch": "zset", "scenario": "smoke", "variant": "zset", "sha": "abc1234",
        "point": {}, "block": 1, "cycle": 1, "attempt": 1, "discarded": false, "preflight": false, "quick": false,
        "startTime": "2026-01-01T00:00:01.000+00:00", "openAtMs": 1_000_500,
        "k6Run": { "command": "k6", "exitCode": 0, "startMs": 1_000_000, "endMs": 1_040_000, "wallClockMs": 40_000 },
        "limits": { "users": 2000, "events": 2, "slots": 50, "boosted": false, "skewMs": 19000, "drainMs": 20000 },
        "environment": {
            "EVENT_IDS": setting("e1,e2", "default"),
            "EVIDENCE_ROOT": setting(&plan.display().to_string(), "environment"),
            "REDIS_URL": setting(&format!("redis://127.0.0.1:7/{}", name.len()), "environment"),
            "REDIS_USERNAME": setting(name, "environment"),
            "ADMIN_PASSWORD": setting("***", "default"),
            "SCENARIO": setting("baseline", "scenario"),
            "SEATS": setting("50", "default"),
            "SSE_TIMEOUT_MS": setting("120000", "computed"),
            "VUS": setting("2000", "scenario"),
        },
        "observed": {
            "k6ExitCode": 0, "cause": "own", "summary": true, "unhealthy": null, "evidenceMissing": [],
            "generatorCpuPercentMean": 40.0,
        },
        "machine": { "measured": true, "busy": false, "note": "" },
    });
    let summary = json!({
        "state": { "testRunDurationMs": 39_000.5 },
        "metrics": {
            "completed_users": { "type": "counter", "values": { "count": 2000 } },
            "open_to_promote_ms": { "type": "trend", "values": { "max": 19_500.25 } },
            "sse_connection_time": { "type": "trend", "values": { "max": 41_000.0 } },
        },
    });
    let derived = json!({ "expectedVUs": 2000, "drainMs": 19_500.25 });
    let verdict =
        json!({ "schemaVersion": 1, "verdict": "PASS", "reasons": [], "exitCode": 0, "gates": [] });
    for (file, content) in [
        (plan.join("plan.json"), whole),
        (run.join("meta.json"), meta),
        (run.join("summary.json"), summary),
        (run.join("derived.json"), derived),
        (run.join("verdict.json"), verdict),
    ] {
        fs::write(file, content.to_string()).expect("written");
    }
    let samples = [
        (1_000_000, 0),
        (1_000_500, 2000),
        (1_010_500, 1000),
        (1_020_500, 0),
    ]
    .map(|(t, total)| json!({ "t": t, "sizes": {}, "total": total, "values": {} }).to_string());
    fs::write(run.join("monitor-queues.jsonl"), samples.join("\n")).expect("written");
    plan
}

fn call(place: &Place, verb: &str, folders: &[&Path]) -> (i32, String) {
    finish(place.runner().arg(verb).args(folders))
}

fn change(path: &Path, pointer: &str, value: Json) {
    let mut content = json(path);
    *content.pointer_mut(pointer).expect(pointer) = value;
    fs::write(path, content.to_string()).expect("written");
}

#[test]
fn a_stored_run_is_judged_from_the_values_that_it_was_made_with() {
    let place = Place::new();
    let plan = stored(&place, "a");
    let run = plan.join("zset/2/seat-limited/baseline");
    let (code, printed) = call(&place, "judge", &[&plan]);
    assert_eq!(code, 0, "{printed}");
    for expected in [
        "expectedVUs  2000",
        "drainMs      19500.25",
        "stored   the same verdict, PASS",
    ] {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
    assert!(!printed.contains("beware"), "{printed}");

    let summary = run.join("summary.json");
    change(
        &summary,
        "/metrics/sse_connection_time/values/max",
        json!(130_000),
    );
    let (code, printed) = call(&place, "judge", &[&run]);
    assert_eq!(code, 3, "{printed}");
    assert!(
        printed.contains("sse_connection_time max: 130000 ms; expected < 120000 ms"),
        "{printed}"
    );
    change(
        &summary,
        "/metrics/completed_users/values/count",
        json!(1999),
    );
    let (code, printed) = call(&place, "judge", &[&run]);
    assert_eq!(code, 3, "{printed}");
    assert!(
        printed.contains("verdict  INVALID")
            && printed.contains("completed_users count: 1999; expected == 2000"),
        "{printed}"
    );
}

#[test]
fn places_are_still_no_difference_and_charts_still_begin_at_the_opening() {
    let place = Place::new();
    let [a, b] = ["a", "other"].map(|name| stored(&place, name));
    let compare = || {
        let (code, printed) = call(&place, "compare", &[&a, &b]);
        assert_eq!(code, 0, "{printed}");
        printed
    };
    let printed = compare();
    assert!(!printed.contains("they differ in"), "{printed}");
    let meta = b.join("zset/2/seat-limited/baseline/meta.json");
    change(&meta, "/environment/SEATS/value", json!("40"));
    let printed = compare();
    assert!(
        printed.contains("they differ in SEATS (40 | 50)"),
        "{printed}"
    );

    let (code, printed) = call(&place, "report", &[&a]);
    assert_eq!(code, 0, "{printed}");
    let report = text(&a.join("report.html"));
    assert!(report.contains("seconds since OPEN"), "{report}");
}

#[test]
fn its_suite_is_not_run_any_more_and_the_refusal_says_what_has_changed() {
    let place = Place::new();
    let path = place.evidence().with_file_name("old.toml");
    fs::write(&path, SUITE).expect("written");
    for verb in ["validate", "run", "doctor"] {
        let (code, printed) = call(&place, verb, &[&path]);
        assert_eq!(code, 2, "{printed}");
        for expected in [
            "old.toml:2: schema 1",
            "allowed: 2",
            "[preset.NAME]",
            "[computed]",
            "docs/reference/runner.md",
        ] {
            assert!(printed.contains(expected), "{expected}: {printed}");
        }
    }
    assert!(!place.evidence().exists());
}
