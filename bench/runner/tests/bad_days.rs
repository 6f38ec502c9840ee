//! Users that fail, services that die and signals, during whole runs of the waiting-room suite.

mod common;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Place, Redis, finish, json, k6, text, waiting_room};
use rustix::process::{Pid, Signal, kill_process};

/// The barrier's time-out; a run may take half a minute more.
const BARRIER_TIMEOUT_MS: &str = "6000";
const MOST: Duration = Duration::from_secs(36);

/// The runner for the suite on one variant, quick to give up.
fn bench(place: &Place, settings: &[&str]) -> Command {
    let mut command = place.waiting_room_run();
    command.args(["--variant", "zset"]);
    for setting in settings {
        command.args(["--set", setting]);
    }
    command
}

/// Half of the users comes when the others have long been waiting, so that there is time to disturb them.
const TWO_BATCHES: &[&str] = &[
    "VUS=6",
    "BURST_OFFSET_MS=0",
    "LOGIN_BATCH_SIZE=3",
    "LOGIN_BATCH_INTERVAL_MS=3000",
    "LOGIN_TIMEOUT_MS=4000",
    "SSE_IDLE_TIMEOUT_MS=4000",
    "SSE_TIMEOUT_MS=9000",
    "SEATS=1",
    "VERBOSE_LOGS=1",
];

fn folder(place: &Place) -> PathBuf {
    place.run_folder("zset/5/seat-limited/custom")
}

/// A runner in the background.
struct Active {
    child: Child,
    lines: Box<dyn Iterator<Item = String>>,
    seen: Vec<String>,
}

impl Active {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the runner starts");
        let stdout = child.stdout.take().expect("stdout");
        let lines = BufReader::new(stdout).lines().map_while(Result::ok);
        Self {
            child,
            lines: Box::new(lines),
            seen: Vec::new(),
        }
    }

    /// Reads on to a line with the text.
    fn until(&mut self, text: &str) -> String {
        loop {
            let line = self
                .lines
                .next()
                .unwrap_or_else(|| panic!("no line with `{text}`: {:#?}", self.seen));
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    /// The exit code, `None` after a signal, and everything that was printed.
    fn end(mut self) -> (Option<i32>, String) {
        self.seen.extend(self.lines.by_ref());
        (self.child.wait().expect("end").code(), self.seen.join("\n"))
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("signal");
    }

    /// Its child processes with their command lines.
    fn processes(&self) -> Vec<(i32, String)> {
        let own = self.child.id().to_string();
        std::fs::read_dir("/proc")
            .expect("processes")
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let stat = std::fs::read_to_string(path.join("stat")).ok()?;
                // pid (name) state parent …
                let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?;
                let line = std::fs::read(path.join("cmdline")).ok()?;
                let id = path.file_name()?.to_str()?.parse().ok()?;
                (parent == own).then(|| (id, String::from_utf8_lossy(&line).replace('\0', " ")))
            })
            .collect()
    }

    fn kill(&self, program: &str) {
        let found: Vec<_> = self
            .processes()
            .into_iter()
            .filter(|(_, line)| {
                let name = line.split(' ').next().unwrap_or_default();
                Path::new(name)
                    .file_name()
                    .is_some_and(|own| own == program)
            })
            .collect();
        let [(id, _)] = found.as_slice() else {
            panic!("one {program} among {:?}", self.processes());
        };
        kill_process(Pid::from_raw(*id).expect("an id"), Signal::KILL).expect("signal");
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        // After a failed assertion the runner ends what it has started.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::TERM);
            self.lines.by_ref().for_each(drop);
            let _ = self.child.wait();
        }
    }
}

#[test]
fn three_of_fifty_users_cannot_log_in() {
    let place = Place::new();
    let settings = [
        "VUS=50",
        "BURST_OFFSET_MS=0",
        "TARGET_ARGS=--fail-logins 6%",
    ];
    let (code, printed) = finish(&mut bench(&place, &settings));
    assert_eq!(code, 108, "{printed}");
    let stdout = text(&folder(&place).join("stdout.txt"));
    for expected in [
        "Barrier failed: 47 arrived, 3 failed (login 3); joined=47, loginFail=3, sseFail=0",
        "user 17 could not log in: status 401",
        "user 34 could not log in: status 401",
        "user 50 could not log in: status 401",
    ] {
        assert!(stdout.contains(expected), "{expected}: {stdout}");
    }
    let verdict = json(&folder(&place).join("verdict.json"));
    assert_eq!(verdict["verdict"], "INVALID");
    let reasons = verdict["reasons"].to_string();
    assert!(
        reasons.contains("no-login-loss") && reasons.contains("all-escaped"),
        "{reasons}"
    );
    assert_eq!(
        json(&folder(&place).join("derived.json"))["loginFinalFailures"],
        3
    );
    assert!(printed.contains("verdict  INVALID"), "{printed}");
}

/// Kills a service when a line appears, and expects the run to end in time, invalid, with its evidence.
fn service_dies(program: &str, when: &str, codes: &[i32], expected: &str) {
    let place = Place::new();
    let mut command = bench(&place, TWO_BATCHES);
    command.args(["--set", &format!("BARRIER_TIMEOUT_MS={BARRIER_TIMEOUT_MS}")]);
    let mut active = Active::start(&mut command);
    active.until(when);
    active.kill(program);
    let killed = Instant::now();
    let (ended, printed) = active.end();
    assert!(killed.elapsed() < MOST, "{printed}");
    let code = ended.expect("an exit code");
    assert!(codes.contains(&code), "{code}: {printed}");
    assert!(printed.contains(expected), "{expected}: {printed}");
    let folder = folder(&place);
    let verdict = json(&folder.join("verdict.json"));
    assert_eq!(
        (&verdict["verdict"], &verdict["exitCode"]),
        (&"INVALID".into(), &code.into())
    );
    for name in [
        "meta.json",
        "stdout.txt",
        "summary.json",
        "derived.json",
        "waiting-room-zset.log",
    ] {
        assert!(folder.join(name).is_file(), "{name}: {printed}");
    }
    assert!(place.left_over().is_empty(), "{:?}", place.left_over());
}

#[test]
fn redis_dies_before_all_users_have_met() {
    service_dies(
        "redis-server",
        "joined the queue",
        &[108],
        "Barrier failed: ",
    );
}

#[test]
fn redis_dies_after_the_events_have_opened() {
    service_dies(
        "redis-server",
        "all events are OPEN",
        &[99],
        "lost the place",
    );
}

#[test]
fn the_target_dies_during_the_run() {
    service_dies(
        "waiting-room",
        "joined the queue",
        // The runner interrupts k6 at once, unless the harness has seen before that all users are lost.
        &[105, 108],
        "target-healthy: its program has ended (signal: 9 (SIGKILL))",
    );
}

/// Sends a signal while users are connected, and expects nothing to stay but the evidence.
fn interrupted(signal: Signal, code: Option<i32>) -> Place {
    let place = Place::new();
    let mut active = Active::start(&mut bench(&place, TWO_BATCHES));
    active.until("joined the queue");
    let started = active.processes();
    for program in ["k6", "redis-server", "waiting-room"] {
        assert!(
            started.iter().any(|(_, line)| line.contains(program)),
            "{program}: {started:?}"
        );
    }
    active.signal(signal);
    let (ended, printed) = active.end();
    assert_eq!(ended, code, "{printed}");

    let deadline = Instant::now() + Duration::from_secs(30);
    let alive = |(id, line): &(i32, String)| {
        std::fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|now| {
            !now.is_empty() && String::from_utf8_lossy(&now).replace('\0', " ") == *line
        })
    };
    while started.iter().any(alive) || !place.left_over().is_empty() {
        assert!(
            Instant::now() < deadline,
            "left over: {:?} {:?}",
            started
                .iter()
                .filter(|process| alive(process))
                .collect::<Vec<_>>(),
            place.left_over()
        );
        common::pause();
    }
    place
}

#[test]
fn sigint_leaves_nothing_but_the_evidence() {
    let place = interrupted(Signal::INT, Some(4));
    assert_eq!(
        json(&folder(&place).join("verdict.json"))["verdict"],
        "INTERRUPTED"
    );
}

#[test]
fn sigterm_leaves_nothing_but_the_evidence() {
    let place = interrupted(Signal::TERM, Some(4));
    assert_eq!(
        json(&folder(&place).join("verdict.json"))["verdict"],
        "INTERRUPTED"
    );
}

#[test]
fn sigkill_leaves_nothing_but_the_evidence_so_far() {
    let place = interrupted(Signal::KILL, None);
    assert!(folder(&place).join("meta.json").is_file());
}

#[test]
fn several_scenarios_and_calls_need_no_hands_in_between() {
    let redis = Redis::start(&[]);
    let place = Place::new();
    for call in 1..=2 {
        let (code, printed) = finish(
            place
                .runner()
                .args([
                    "run",
                    "bench/suites/waiting-room.toml",
                    "--scenario",
                    "smoke,baseline,target",
                ])
                .args(["--variant", if call == 1 { "zset" } else { "hash" }])
                .args(["--set", "VUS=3", "--set", "BURST_OFFSET_MS=0"])
                .env("K6_BIN", k6())
                .env("WAITING_ROOM_BIN", waiting_room())
                .env("REDIS_URL", &redis.address),
        );
        assert_eq!(code, 0, "call {call}: {printed}");
    }
    let derived = common::files(&place.evidence())
        .into_iter()
        .filter(|path| path.ends_with("derived.json"))
        .collect::<Vec<_>>();
    assert_eq!(derived.len(), 6, "{derived:?}");
    assert!(derived.iter().all(|path| json(path)["completedUsers"] == 3));
}
