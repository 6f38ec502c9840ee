//! Whole runs with a real k6 and a real Redis; the target is a mere listener and the script a few lines.

mod common;

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{EVIDENCE, Place, Redis, files, finish, json, k6, text};

struct Probe {
    place: Place,
    listener: TcpListener,
}

impl Probe {
    fn new() -> Self {
        Self {
            place: Place::new(),
            listener: TcpListener::bind("127.0.0.1:0").expect("listener"),
        }
    }

    fn command(&self, mode: &str) -> Command {
        let mut command = self.place.runner();
        let suite = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/suites/probe.toml"
        );
        let address = self.listener.local_addr().expect("address");
        command
            .args([
                "run",
                suite,
                "--set",
                &format!("MODE={mode}"),
                "--set",
                &format!("BASE_URL=http://{address}"),
            ])
            .env("K6_BIN", k6())
            .env("OUTSIDE", "leaks");
        command
    }

    fn folder(&self, scenario: &str) -> PathBuf {
        let calls: Vec<_> = std::fs::read_dir(self.place.evidence())
            .expect("evidence")
            .collect();
        assert_eq!(calls.len(), 1);
        let call = calls
            .into_iter()
            .next()
            .expect("one")
            .expect("entry")
            .path();
        let branch = std::fs::read_dir(&call)
            .expect("call")
            .map(|entry| entry.expect("entry").path())
            .find(|path| path.is_dir())
            .expect("a branch");
        branch.join(scenario)
    }

    /// Runs to the end and returns the exit code, what was printed, and the verdict file.
    fn run(&self, mode: &str) -> (i32, String, serde_json::Value) {
        let (code, printed) = finish(&mut self.command(mode));
        assert!(
            self.place.left_over().is_empty(),
            "{:?}",
            self.place.left_over()
        );
        (
            code,
            printed,
            json(&self.folder("probe").join("verdict.json")),
        )
    }
}

fn interrupt(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("signal");
}

fn reasons(verdict: &serde_json::Value) -> String {
    verdict["reasons"].to_string()
}

#[test]
fn a_passing_run_leaves_complete_evidence_without_secrets() {
    let redis = Redis::start(&["--requirepass", "topsecret5"]);
    let mut connection = redis.connect_as(":topsecret5@");
    let _: i64 = redis::cmd("ZADD")
        .arg("WAITING:e1")
        .arg(1)
        .arg("u")
        .query(&mut connection)
        .expect("zadd");
    let probe = Probe::new();
    let (code, printed) = finish(
        probe
            .command("pass")
            .env("REDIS_URL", redis.with(":topsecret5@"))
            .env("ADMIN_PASSWORD", "topsecret6"),
    );
    assert_eq!(code, 0, "{printed}");
    let last: Vec<&str> = printed.trim_end().lines().rev().take(2).collect();
    assert!(
        last[0].starts_with("evidence: ") && last[1] == "OK",
        "{printed}"
    );

    let folder = probe.folder("probe");
    let names: Vec<String> = files(&folder)
        .iter()
        .map(|path| {
            path.file_name()
                .expect("name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    for name in EVIDENCE {
        assert!(names.iter().any(|own| own == name), "{name} in {names:?}");
    }
    assert_eq!(names.len(), EVIDENCE.len(), "nothing else: {names:?}");
    for path in files(&probe.place.evidence()) {
        let content = text(&path);
        assert!(
            !content.contains("topsecret"),
            "{} holds a secret",
            path.display()
        );
    }
    assert!(!printed.contains("topsecret"), "{printed}");

    let stdout = text(&folder.join("stdout.txt"));
    assert!(
        stdout.starts_with("[k6] ") && stdout.contains("summed up"),
        "{stdout}"
    );
    assert!(
        stdout.contains("password *** run ") && stdout.contains("outside undefined"),
        "{stdout}"
    );
    assert!(text(&folder.join("cleanup.txt")).contains("> DEL WAITING:e1\n< (integer) 1"));
    let derived = json(&folder.join("derived.json"));
    assert_eq!(
        (&derived["completedUsers"], &derived["sseFailures"]),
        (&3.into(), &0.into())
    );
    let meta = json(&folder.join("meta.json"));
    let wall_clock = meta["k6Run"]["wallClockMs"].as_f64().expect("a number");
    assert!(wall_clock >= derived["testRunDurationMs"].as_f64().expect("a number"));
    assert!(
        meta["k6"]["version"]
            .as_str()
            .is_some_and(|version| version.contains("v2."))
    );
    assert_eq!(meta["environment"]["ADMIN_PASSWORD"]["value"], "***");
    let meta = text(&folder.join("meta.txt"));
    assert!(
        meta.contains("[k6] exit_code=0\n")
            && meta.contains("[k6] wall_clock_ms=")
            && meta.contains("[k6] OK "),
        "{meta}"
    );
}

#[test]
fn the_code_of_k6_is_handed_on_and_the_run_is_judged_all_the_same() {
    for (mode, expected, judged) in [("cross", 99, "FAIL"), ("abort", 108, "INVALID")] {
        let (code, printed, verdict) = Probe::new().run(mode);
        assert_eq!(
            (code, &verdict["k6ExitCode"]),
            (expected, &expected.into()),
            "{printed}"
        );
        assert_eq!(verdict["verdict"], judged);
        assert!(reasons(&verdict).contains("k6-exit"), "{verdict}");
        assert!(
            verdict["gates"]
                .as_array()
                .is_some_and(|gates| gates.iter().any(|gate| gate["id"] == "all-escaped"))
        );
    }
}

#[test]
fn a_threshold_that_ends_the_run_early_is_told() {
    let probe = Probe::new();
    let (code, printed, verdict) = probe.run("stop");
    assert_eq!(
        (code, &verdict["verdict"]),
        (99, &"FAIL".into()),
        "{printed}"
    );
    assert!(
        reasons(&verdict).contains("ended the run early (abortOnFail)"),
        "{verdict}"
    );
    let meta = json(&probe.folder("probe").join("meta.json"));
    assert_eq!(meta["observed"]["cut"], true, "{meta:#}");
}

#[test]
fn a_suite_gives_no_field_of_the_runner_another_meaning() {
    let bench = common::bench::Bench::new();
    let (code, printed) = finish(&mut bench.run(&["--scenario", "first"]));
    assert_eq!(code, 0, "{printed}");
    let meta = json(&bench.plan().join("a/first/0/meta.json"));
    let monitor = "[[monitor]]\nid = \"processes\"\n";
    for id in meta.as_object().expect("fields").keys() {
        let table = format!("[[meta]]\nid = \"{id}\"\ntext = \"x\"\n\n{monitor}");
        let suite = common::bench::copy(&bench, &[(monitor, &table)]);
        let (code, printed) = finish(bench.place.runner().arg("validate").arg(&suite));
        let refused = format!("`{id}` is a field that the runner writes itself");
        assert!(
            code == 2 && printed.contains(&refused),
            "{refused}: {printed}"
        );
    }
}

#[test]
fn a_failed_gate_and_a_missing_summary_have_codes_of_their_own() {
    let (code, printed, verdict) = Probe::new().run("few");
    assert_eq!(code, 3, "{printed}");
    assert!(
        reasons(&verdict).contains("completed_users count: 2; expected == 3"),
        "{verdict}"
    );
    let (code, printed, verdict) = Probe::new().run("none");
    assert_eq!(code, 3, "{printed}");
    assert_eq!(verdict["verdict"], "INVALID");
    assert!(
        reasons(&verdict).contains("completed_users count: absent; expected == 3"),
        "{verdict}"
    );
    let (code, printed, verdict) = Probe::new().run("silent");
    assert_eq!(code, 2, "{printed}");
    assert!(reasons(&verdict).contains("summary.json"), "{verdict}");
}

#[test]
fn a_run_that_hangs_is_ended_at_its_bound() {
    let probe = Probe::new();
    let (code, printed) = finish(probe.command("hang").args(["--scenario", "short"]));
    let verdict = json(&probe.folder("short").join("verdict.json"));
    assert_eq!(code, 105, "k6's code after an interrupt: {printed}");
    assert!(reasons(&verdict).contains("k6-in-time"), "{verdict}");
}

#[test]
fn an_interrupt_ends_everything_and_keeps_the_evidence() {
    let probe = Probe::new();
    let (mut child, redis, lines) = hanging(&probe);
    interrupt(&child);
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().expect("end").code(), Some(4), "{rest:?}");
    let folder = probe.folder("probe");
    let verdict = json(&folder.join("verdict.json"));
    assert_eq!(
        (&verdict["verdict"], &verdict["exitCode"]),
        (&"INTERRUPTED".into(), &4.into())
    );
    assert!(folder.join("summary.json").is_file(), "k6 summed up");
    assert!(!answers(&redis), "the private Redis has ended");
    assert!(probe.place.left_over().is_empty());
}

/// A runner that has started its Redis and its script, which hangs; the address of the Redis, and the rest of the output.
fn hanging(probe: &Probe) -> (Child, String, impl Iterator<Item = String> + use<>) {
    let mut command = probe.command("hang");
    command.env("ADMIN_PASSWORD", "topsecret8");
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the runner starts");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout"))
        .lines()
        .map(|line| line.expect("text"));
    let redis = lines.find_map(|line| {
        Some(
            line.split_once("redis    private ")?
                .1
                .split_once(" at ")?
                .1
                .to_owned(),
        )
    });
    let redis = redis.expect("the private Redis is named");
    lines
        .find(|line| line.contains("outside undefined"))
        .expect("the script runs");
    (child, redis, lines)
}

fn answers(redis: &str) -> bool {
    redis::Client::open(redis)
        .expect("address")
        .get_connection()
        .is_ok()
}

#[test]
fn a_killed_runner_takes_its_processes_along() {
    let probe = Probe::new();
    let (mut child, redis, lines) = hanging(&probe);
    assert!(answers(&redis));
    child.kill().expect("killed");
    child.wait().expect("end");
    // k6 holds the other end until it has ended as well.
    lines.for_each(drop);
    let deadline = Instant::now() + Duration::from_secs(20);
    while answers(&redis) {
        assert!(Instant::now() < deadline, "the private Redis ends");
        common::pause();
    }
}

#[test]
fn secrets_are_not_in_the_process_list() {
    let probe = Probe::new();
    let (child, _, lines) = hanging(&probe);
    let listed: Vec<String> = std::fs::read_dir("/proc")
        .expect("processes")
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok())
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .collect();
    interrupt(&child);
    lines.for_each(drop);
    let mut child = child;
    assert_eq!(child.wait().expect("end").code(), Some(4));
    assert!(listed.iter().any(|line| line.contains("MODE=hang")));
    assert!(!listed.iter().any(|line| line.contains("topsecret8")));
}

#[test]
fn neither_redis_cli_nor_git_is_needed() {
    let redis = Redis::start(&[]);
    let probe = Probe::new();
    let (code, printed) = finish(
        probe
            .command("pass")
            .env("REDIS_URL", &redis.address)
            .env("PATH", "/nowhere"),
    );
    assert_eq!(code, 0, "{printed}");
    let folder = probe.folder("probe");
    assert!(text(&folder.join("cleanup.txt")).contains("note: redis-cli is not on the path"));
    assert_eq!(json(&folder.join("meta.json"))["gitBranch"], "unknown");
}

#[test]
fn only_one_run_at_a_time() {
    let probe = Probe::new();
    let mut first = probe
        .command("hang")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the runner starts");
    let mut lines = BufReader::new(first.stdout.take().expect("stdout"))
        .lines()
        .map(|line| line.expect("text"));
    lines
        .find(|line| line.starts_with("run 1 of 1"))
        .expect("the first run is active");
    // Another folder for temporary files is the same machine.
    let elsewhere = Place::new();
    let temporary = elsewhere.evidence().with_file_name("tmp");
    let (code, printed) = finish(probe.command("pass").env("TMPDIR", temporary));
    let pid = rustix::process::Pid::from_child(&first);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signal");
    lines.for_each(drop);
    assert_eq!(first.wait().expect("end").code(), Some(4));
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains(&format!(
            "another run is active: suite probe, process {}",
            first.id()
        )),
        "{printed}"
    );
}

#[test]
fn evidence_names_the_core_that_is_linked_into_k6() {
    let told = Command::new(k6())
        .args(["x", "barrier", "version", "--json"])
        .env("K6_AUTO_EXTENSION_RESOLUTION", "false")
        .env("K6_NO_USAGE_REPORT", "true")
        .output()
        .expect("k6 runs");
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).expect("JSON");
    let core = format!("\ncore {}", told["core"].as_str().expect("an id"));
    let probe = Probe::new();
    let redis = Redis::start(&[]);
    let (code, printed) = finish(probe.command("pass").env("REDIS_URL", &redis.address));
    assert_eq!(code, 0, "{printed}");
    let folder = probe.folder("probe");
    let plan = folder
        .ancestors()
        .map(|above| above.join("plan.json"))
        .find(|path| path.is_file())
        .expect("a plan");
    let (of_plan, of_run) = (json(&plan), json(&folder.join("meta.json")));
    for version in [&of_plan["k6"], &of_run["k6"]["version"]] {
        let version = version.as_str().expect("a version");
        assert!(version.ends_with(&core) && core.len() > 10, "{version}");
    }
}
