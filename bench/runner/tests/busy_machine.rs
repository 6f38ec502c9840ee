//! Who fills the machine: a service that does it itself is slow, and has no excuse.

mod common;

use std::process::{Child, Command, Stdio};

use common::own::Own;
use common::{finish, json, k6, text};
use serde_json::Value as Json;

const SUITE: &str = r#"
[env.TARGET_PROCESSES]
type = "list"
role = "place"

[[target]]
id = "listener"
kind = "external"
ready = { tcp = "${BASE_URL}", every = "20ms", limit = "2s" }
processes = ["${TARGET_PROCESSES}"]

[[scenario]]
id = "main"
script = "run.js"
limit = "5m"

[[monitor]]
id = "processes"
kind = "process"
of = ["target"]
every = "1s"

[[monitor]]
id = "machine"
kind = "machine"
match = ["busy_percent", "contention_percent"]
every = "1s"

[[gate]]
id = "fast"
class = "slo"
metric = "took"
type = "trend"
stat = "max"
op = "<"
limit = 50

[[gate]]
id = "full"
class = "watch"
metric = "busy_percent"
stat = "avg"
op = "<="
limit = 95

[[gate]]
id = "machine-busy"
class = "validity"
metric = "contention_percent"
stat = "avg"
op = "<="
limit = 95
excuses = ["fast"]
"#;

/// Longer than a machine may be full before a run is not sound any more.
const HARNESS: &str = "import { sleep } from 'k6';\nimport { Trend } from 'k6/metrics';\n\
    const took = new Trend('took', true);\nexport const options = { vus: 1, iterations: 1 };\n\
    export default function () {\n  took.add(100);\n  sleep(15);\n}\n\
    export function handleSummary(data) { return { 'summary.json': JSON.stringify(data) }; }\n";

/// Processes that take all they can get; they end with this.
struct Spinners(Vec<Child>);

impl Spinners {
    /// So many for each processor that others get little; each in a session of its own, as time is divided between sessions first.
    fn start() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let spin = || {
            let mut command = Command::new("setsid");
            command.args(["sh", "-c", "while :; do :; done"]);
            command.stdin(Stdio::null());
            command.spawn().expect("a shell")
        };
        Self((0..6 * processors).map(|_| spin()).collect())
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn a_service_that_fills_the_machine_is_slow_and_no_victim() {
    let own = Own::new(SUITE, HARNESS);
    let spinners = Spinners::start();
    let named = spinners.0.iter().map(|child| format!("pid:{}", child.id()));
    let named = named.collect::<Vec<_>>().join(",");
    let mut command = own.call("run", &[]);
    command.env("BASE_URL", own.address()).env("K6_BIN", k6());
    let (code, printed) = finish(command.env("TARGET_PROCESSES", named));
    drop(spinners);
    let folder = own.place.run_folder("main");
    let verdict = json(&folder.join("verdict.json"));
    let gates = verdict["gates"].as_array().expect("gates");
    let holds = |id: &str| {
        let gate = gates.iter().find(|gate| gate["id"] == id);
        gate.unwrap_or_else(|| panic!("no gate {id}: {printed}"))["holds"] == true
    };
    assert!(!holds("full") && !holds("fast"), "{verdict:#}");
    let share = share_of_services(&text(&folder.join("monitor-processes.jsonl")));
    // Others may take half of this machine all the same; where they nearly do, either may be so.
    if share > 0.55 {
        assert!(holds("machine-busy"), "{share}: {verdict:#}");
        // Where the host takes time itself, the machine is not full for ten seconds in a row: the gate is held against the samples.
        let full = longest_full(&text(&folder.join("monitor-generator.jsonl")));
        assert!(
            full >= 9 || holds("generator-health"),
            "{full}: {verdict:#}"
        );
        assert!(
            full <= 11 || !holds("generator-health"),
            "{full}: {verdict:#}"
        );
        assert_eq!(verdict["verdict"], "FAIL", "{printed}");
    } else if share < 0.45 {
        assert!(!holds("machine-busy"), "{share}: {verdict:#}");
        assert_eq!(verdict["verdict"], "INVALID", "{printed}");
    }
    assert_eq!(code, 3, "{printed}");
}

/// How many samples in a row say that the machine was full.
fn longest_full(samples: &str) -> usize {
    let full = samples.lines().map(|line| {
        let sample: serde_json::Value = serde_json::from_str(line).expect("JSON");
        sample["generator"]["machineCpu"]
            .as_f64()
            .is_some_and(|busy| busy > 98.0)
    });
    let full: Vec<bool> = full.collect();
    assert!(full.len() > 10, "{samples}");
    full.split(|full| !full)
        .map(<[bool]>::len)
        .max()
        .unwrap_or(0)
}

/// The mean share of the machine that all named processes took.
fn share_of_services(samples: &str) -> f64 {
    let shares = samples.lines().filter_map(|line| {
        let line: Json = serde_json::from_str(line).expect("a sample");
        let processes = line["processes"].as_object().expect("processes");
        let mut each = processes.values().map(|figures| figures["cpu"].as_f64());
        each.try_fold(0.0, |sum, cpu| Some(sum + cpu?))
    });
    let shares: Vec<f64> = shares.collect();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    shares.iter().sum::<f64>() / (100 * shares.len() * processors) as f64
}
