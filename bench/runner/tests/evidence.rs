//! What evidence is worth: metrics without samples, a disk that fills up, secrets, and files that somebody has touched.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Place, files, finish, json, k6, root, text};
use serde_json::{Value as Json, json};

/// A project of its own with one scenario, and the verdict of its run.
struct Project {
    place: Place,
    folder: PathBuf,
}

const SUITE: &str = r#"
[suite]
schema = 2
id = "own"
title = "Own"
order = ["own"]
allow_hosts = ["127.0.0.1"]
needs = ["k6"]

[env.EVIDENCE_ROOT]
type = "string"

[env.NOTE]
type = "string"

[env.LIMIT]
type = "int"

[env.PASSWORD]
type = "string"
secret = true

[evidence]
root = "${EVIDENCE_ROOT}"
folder = "{timestamp}/run"
files = ["stdout.txt", "summary.json"]

[[target]]
id = "own"
kind = "process"
start = ["sh", "-c", "echo http://127.0.0.1:1 > \"$0\"; echo target $NOTE; exec sleep 600", "{port_file}"]
ready = { tcp = "${LISTENER}", every = "10ms", limit = "30s" }

[env.LISTENER]
type = "url"

[[scenario]]
id = "own"
script = "own.js"
limit = "60s"
"#;

const SUMMARY: &str =
    "export function handleSummary(data) { return { 'summary.json': JSON.stringify(data) }; }\n";

impl Project {
    fn new(tables: &str, script: &str) -> Self {
        let place = Place::new();
        let folder = place.evidence().with_file_name("project");
        std::fs::create_dir(&folder).expect("folder");
        std::fs::write(folder.join("own.toml"), format!("{SUITE}{tables}")).expect("written");
        std::fs::write(folder.join("own.js"), format!("{SUMMARY}{script}")).expect("written");
        Self { place, folder }
    }

    /// The runner on the suite, in the folder of the project.
    fn runner(&self, verb: &str) -> Command {
        let mut command = self.place.runner();
        command
            .arg(verb)
            .current_dir(&self.folder)
            .env("K6_BIN", k6());
        command
    }

    /// Runs to the end; the exit code, what was printed, and the verdict.
    fn run(&self, settings: &[&str]) -> (i32, String, Json) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listener");
        let address = listener.local_addr().expect("address");
        let mut command = self.runner("run");
        command.args(["own.toml", "--set", &format!("LISTENER=http://{address}")]);
        for setting in settings {
            command.args(["--set", setting]);
        }
        let (code, printed) = finish(&mut command);
        let verdict = json(&self.evidence().join("verdict.json"));
        (code, printed, verdict)
    }

    fn evidence(&self) -> PathBuf {
        self.place.run_folder("run")
    }

    fn judge(&self) -> (i32, String) {
        let folder = self.evidence();
        finish(self.runner("judge").arg(folder))
    }
}

fn gate(verdict: &Json, id: &str) -> Json {
    let gates = verdict["gates"].as_array().expect("gates");
    let found = gates.iter().find(|gate| gate["id"] == id);
    found.unwrap_or_else(|| panic!("{id}: {verdict}")).clone()
}

const OBJECTIVES: &str = r#"
[[gate]]
id = "fast"
class = "slo"
metric = "wait"
stat = "p(95)"
op = "<"
limit = 100

[[gate]]
id = "rarely-fails"
class = "slo"
metric = "failed"
type = "rate"
stat = "rate"
op = "<"
limit = 0.1
absent = 0

[[gate]]
id = "logs-in"
class = "slo"
metric = "ok{step:login}"
stat = "rate"
op = ">"
limit = 0.4

[[gate]]
id = "read"
class = "slo"
metric = "read"
stat = "p(97.5)"
op = "<"
limit = 100

[[gate]]
id = "none-lost"
class = "slo"
metric = "lost"
stat = "count"
op = "=="
limit = 0
"#;

const METRICS: &str = "
import { Counter, Rate, Trend } from 'k6/metrics';
const ok = new Rate('ok'), read = new Trend('read');
new Trend('wait'); new Rate('failed'); new Counter('lost');
export const options = {
  summaryTrendStats: ['p(42)'],
  thresholds: { wait: ['p(95)<100'], failed: ['rate<0.1'], lost: ['count<1'], 'ok{step:login}': ['rate>0.4'] },
};
export default function () {
  read.add(3);
  [true, false].forEach((value) => ok.add(value, { step: 'login' }));
}
";

#[test]
fn a_metric_that_only_a_threshold_made_is_invalid() {
    let project = Project::new(OBJECTIVES, METRICS);
    let (code, printed, verdict) = project.run(&[]);
    assert_eq!(
        (code, &verdict["verdict"]),
        (3, &"INVALID".into()),
        "{printed}"
    );
    for id in ["fast", "rarely-fails"] {
        let gate = gate(&verdict, id);
        assert_eq!(
            (&gate["holds"], &gate["missing"]),
            (&false.into(), &true.into()),
            "{gate}"
        );
        assert!(gate["text"].to_string().contains("no samples"), "{gate}");
    }
    for id in ["logs-in", "read", "none-lost"] {
        assert_eq!(gate(&verdict, id)["holds"], true, "{verdict}");
    }
    let summary = json(&project.evidence().join("summary.json"));
    let read = &summary["metrics"]["read"]["values"];
    assert_eq!(
        *read,
        json!({ "p(42)": 3, "p(95)": 3, "p(97.5)": 3, "count": 1 })
    );
}

#[test]
fn a_gate_that_cannot_be_judged_is_found_before_anything_runs() {
    let tables = "[[derive]]\nid = \"limit\"\nfrom = [\"env.LIMIT\"]\nhow = \"copy\"\n\
        [[gate]]\nid = \"known\"\nclass = \"slo\"\nmetric = \"limit\"\nstat = \"value\"\nop = \">\"\nlimit = 0\n";
    let project = Project::new(tables, "export default function () {}\n");
    let (code, printed) = finish(project.runner("run").args(["own.toml", "--dry-run"]));
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains("gate known: limit is taken from LIMIT"),
        "{printed}"
    );
    let (code, printed, _) = project.run(&["LIMIT=5"]);
    assert_eq!(code, 0, "{printed}");
}

#[test]
fn a_limit_of_the_runner_is_the_same_when_it_is_judged() {
    let place = Place::new();
    let suite = text(&root().join("bench/suites/waiting-room.toml"));
    let scripts = root().join("js/sse-throughput-");
    let suite = suite.replace("js/sse-throughput-", &scripts.display().to_string())
        + "[[gate]]\nid = \"in-bound\"\nclass = \"slo\"\nmetric = \"testRunDurationMs\"\nstat = \"value\"\nop = \"<\"\nlimit = \"{run_limit_ms}\"\n";
    let file = place.evidence().with_file_name("own.toml");
    std::fs::write(&file, suite).expect("written");
    let mut command = place.runner();
    command.args([
        "run",
        "--scenario",
        "preflight",
        "--variant",
        "zset",
        "--set",
        "BURST_OFFSET_MS=0",
    ]);
    let (code, printed) = finish(
        command
            .arg(file)
            .env("K6_BIN", k6())
            .env("WAITING_ROOM_BIN", common::waiting_room()),
    );
    assert_eq!(code, 0, "{printed}");
}

#[test]
fn the_generator_is_watched_without_a_monitor_and_judged_from_its_samples() {
    let project = Project::new("", "export default function () {}\n");
    let (code, printed, verdict) = project.run(&[]);
    assert_eq!(code, 0, "{printed}");
    assert_eq!(gate(&verdict, "generator-health")["holds"], true);
    let folder = project.evidence();
    let path = folder.join("monitor-generator.jsonl");
    let last: Json =
        serde_json::from_str(text(&path).lines().last().expect("a sample")).expect("JSON");
    assert!(last["generator"]["machineCpu"].is_number(), "{last}");

    // The same evidence of a longer run, with a generator that had nothing left for six seconds.
    let mut summary = json(&folder.join("summary.json"));
    summary["state"]["testRunDurationMs"] = 7000.into();
    std::fs::write(folder.join("summary.json"), summary.to_string()).expect("written");
    let busy: String = (0..=6)
        .map(|second| {
            format!(
                "{{\"t\":{},\"generator\":{{\"generatorCpu\":97,\"machineCpu\":97}}}}\n",
                second * 1000
            )
        })
        .collect();
    std::fs::write(&path, busy).expect("written");
    let (code, printed) = project.judge();
    assert_eq!(code, 3, "{printed}");
    assert!(
        printed.contains("INVALID") && printed.contains("generator-health: k6 used more than 90 %"),
        "{printed}"
    );
}

#[test]
fn a_disk_that_is_full_spoils_the_run_and_not_its_verdict() {
    let script = "export default function () { for (let i = 0; i < 6000; i++) { console.log('x'.repeat(100)); } }\n";
    let project = Project::new("", script);
    let runner = project.runner("run");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listener");
    let address = listener.local_addr().expect("address");
    // No file of the runner may grow beyond 200 KiB; as on a full disk, what is above is refused.
    let mut limited = Command::new("bash");
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 200; exec \"$0\" \"$@\""])
        .arg(runner.get_program())
        .args([
            "run",
            "own.toml",
            "--set",
            &format!("LISTENER=http://{address}"),
        ])
        .current_dir(&project.folder)
        .env_clear()
        .envs(
            runner
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
    let (code, printed) = finish(&mut limited);
    assert_eq!(code, 3, "{printed}");
    let verdict = json(&project.evidence().join("verdict.json"));
    assert_eq!(verdict["verdict"], "INVALID");
    let reasons = verdict["reasons"].to_string();
    assert!(
        reasons.contains("evidence-complete: missing or not whole: stdout.txt (File too large"),
        "{reasons}"
    );
    sealed(&project.evidence());
}

/// The manifest is one that `sha256sum` reads, and it was written last.
fn sealed(folder: &Path) {
    let mut check = Command::new("sha256sum");
    let (code, printed) = finish(
        check
            .args(["-c", "--strict", "SHA256SUMS"])
            .current_dir(folder),
    );
    assert_eq!(code, 0, "{printed}");
    let listed = text(&folder.join("SHA256SUMS")).lines().count();
    assert_eq!(listed + 1, files(folder).len(), "every file but itself");
}

#[test]
fn no_password_is_in_any_file() {
    let script = "export default function () { console.log(__ENV.NOTE, __ENV.PASSWORD, JSON.stringify(__ENV.PASSWORD)); }\n";
    let project = Project::new("", script);
    let note = "NOTE=see redis://me:pw5@127.0.0.1:1/0";
    let (code, printed, _) = project.run(&[note, "PASSWORD=quote\"d-secret"]);
    assert_eq!(code, 0, "{printed}");
    let stdout = text(&project.evidence().join("stdout.txt"));
    assert!(
        stdout.contains("see redis://me:***@127.0.0.1:1/0 ***"),
        "{stdout}"
    );
    let all = files(&project.place.evidence());
    for name in ["events.jsonl", "plan.json", "own.log", "meta.json"] {
        assert!(all.iter().any(|path| path.ends_with(name)), "{name}");
    }
    for path in all {
        let content = text(&path);
        for secret in ["pw5", "d-secret"] {
            assert!(
                !content.contains(secret),
                "{} holds {secret}: {content}",
                path.display()
            );
        }
    }
    assert!(
        !printed.contains("pw5") && !printed.contains("d-secret"),
        "{printed}"
    );
}

#[test]
fn evidence_that_was_touched_is_invalid_and_named() {
    let tables = "[[derive]]\nid = \"runs\"\nfrom = [\"summary.metrics.iterations.values.count\"]\nhow = \"copy\"\n\
        [[gate]]\nid = \"ran\"\nclass = \"slo\"\nmetric = \"runs\"\nstat = \"value\"\nop = \"==\"\nlimit = 1\n";
    let project = Project::new(tables, "export default function () {}\n");
    let (code, printed, _) = project.run(&[]);
    assert_eq!(code, 0, "{printed}");
    let folder = project.evidence();
    sealed(&folder);
    let (code, printed) = project.judge();
    assert!(
        code == 0 && printed.contains("the same verdict, PASS"),
        "{printed}"
    );

    // A text for people is missed, and nothing rests on it.
    let stdout = folder.join("stdout.txt");
    let kept = text(&stdout);
    std::fs::remove_file(&stdout).expect("removed");
    let (code, printed) = project.judge();
    assert!(
        code == 0
            && printed.contains("beware   stdout.txt is missing; the verdict does not rest on it"),
        "{printed}"
    );
    std::fs::write(&stdout, kept).expect("put back");

    for (name, from, to, expected) in [
        (
            "derived.json",
            "\"runs\": 1",
            "\"runs\": 2",
            "derived.json says runs = 2, and 1 follows from the other files",
        ),
        (
            "summary.json",
            "iterations",
            "iteration5",
            "summary.json was changed after the run",
        ),
        (
            "verdict.json",
            "\"PASS\"",
            "\"FAIL\"",
            "verdict.json was changed after the run",
        ),
        (
            "meta.json",
            "\"exitCode\": 0,\n    \"startMs\"",
            "\"exitCode\": 7,\n    \"startMs\"",
            "meta.json has k6's exit code 7",
        ),
        (
            "SHA256SUMS",
            "verdict.json",
            "verdict.jso",
            "verdict.json was added after the run",
        ),
        (
            "../suite.toml",
            "limit = 1",
            "limit = 1.0",
            "suite.toml beside the plan was changed",
        ),
    ] {
        let path = folder.join(name);
        let kept = text(&path);
        let touched = kept.replace(from, to);
        assert_ne!(touched, kept, "{name}: {kept}");
        std::fs::write(&path, touched).expect("touched");
        let (code, printed) = project.judge();
        assert_eq!(code, 3, "{name}: {printed}");
        assert!(
            printed.contains("INVALID") && printed.contains(expected),
            "{name}: {printed}"
        );
        std::fs::write(&path, kept).expect("put back");
    }

    // Somebody who also mends the sums is found by what follows from the other files.
    let path = folder.join("verdict.json");
    std::fs::write(&path, text(&path).replace("\"PASS\"", "\"FAIL\"")).expect("touched");
    let sums = "find . -type f ! -name SHA256SUMS -printf '%P\\n' | xargs sha256sum > SHA256SUMS";
    let (code, printed) = finish(Command::new("sh").args(["-c", sums]).current_dir(&folder));
    assert_eq!(code, 0, "{printed}");
    let (code, printed) = project.judge();
    assert!(
        code == 3
            && printed.contains("verdict.json says FAIL, and PASS follows from the other files"),
        "{printed}"
    );
    std::fs::remove_file(folder.join("SHA256SUMS")).expect("removed");
    let (code, printed) = project.judge();
    assert!(
        code == 3 && printed.contains("SHA256SUMS is missing"),
        "{printed}"
    );
}

#[test]
fn a_target_that_is_too_slow_for_the_rate_fails() {
    let objective = "[[gate]]\nid = \"fast\"\nclass = \"slo\"\nmetric = \"wait\"\nstat = \"p(95)\"\nop = \"<\"\nlimit = 100\n";
    // Twenty are due in a second, and the only user that there may be is kept by the first.
    let script = "
import { sleep } from 'k6';
import { Trend } from 'k6/metrics';
const wait = new Trend('wait');
export const options = { scenarios: { calls: {
  executor: 'constant-arrival-rate', rate: 20, timeUnit: '1s', duration: '1s', preAllocatedVUs: 1, maxVUs: 1,
} } };
export default function () { sleep(0.6); wait.add(600); }
";
    let project = Project::new(objective, script);
    let (code, printed, verdict) = project.run(&[]);
    assert_eq!(
        (code, &verdict["verdict"]),
        (3, &"FAIL".into()),
        "{printed}"
    );
    let gate = gate(&verdict, "nothing-dropped");
    assert_eq!(gate["class"], "slo", "{gate}");
    let (code, printed) = project.judge();
    assert!(
        code == 3 && printed.contains("the same verdict, FAIL"),
        "{printed}"
    );
}
