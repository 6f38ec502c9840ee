//! A waiting room with faults, by runs of few users, and what their verdicts say.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use super::{Place, Redis, json};

pub(crate) const INVALID: &str = "INVALID";
pub(crate) const FAIL: &str = "FAIL";
pub(crate) const PASS: &str = "PASS";

/// A run with few users of one event, by compressed limits.
pub(crate) fn run(place: &Place, more: &[&str]) -> Command {
    let mut command = place.lifelike_run();
    let settings = [
        "LIKE=fast",
        "EVENT_COUNT=1",
        "VUS=10",
        "SEATS=2",
        "BURST_OFFSET_MS=0",
        "MAX_LOGIN_RETRIES=2",
        "BARRIER_TIMEOUT_MS=20000",
        "SSE_TIMEOUT_MS=12000",
        "SSE_IDLE_TIMEOUT_MS=6000",
        "STALL_MS=3000",
    ];
    let name = |setting: &str| setting.split('=').next().map(str::to_owned);
    let kept = settings
        .iter()
        .filter(|own| !more.iter().any(|given| name(given) == name(own)));
    for setting in kept.chain(more) {
        command.args(["--set", setting]);
    }
    command
}

/// The reasons for the verdict of the only run, the first one first. A busy machine spoils any run, whatever the fault.
pub(crate) fn reasons(place: &Place, below: &str, expected: &str) -> Vec<String> {
    let verdict = json(&place.run_folder(below).join("verdict.json"));
    let reasons = verdict["reasons"].as_array().expect("a list");
    let text = |reason: &serde_json::Value| reason.as_str().expect("a text").to_owned();
    let reasons: Vec<String> = reasons.iter().map(text).collect();
    let busy = reasons
        .iter()
        .any(|reason| reason.starts_with("generator-"));
    let expected = if busy { INVALID } else { expected };
    assert_eq!(verdict["verdict"], expected, "{verdict:#}");
    reasons
}

/// The gates that do not hold, in the order in which the verdict names them. How busy the machine is is not the fault's.
pub(crate) fn gates(reasons: &[String]) -> Vec<&str> {
    reasons
        .iter()
        .map(|reason| reason.split_once(": ").expect("a gate and its text").0)
        .filter(|gate| !gate.starts_with("generator-"))
        .collect()
}

/// A Redis and a waiting room that a person started for one event, and a run on them.
pub(crate) struct Services {
    room: Child,
    pub(crate) address: String,
    pub(crate) redis: Redis,
    pub(crate) place: Place,
}

impl Services {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let (redis, place) = (Redis::start(&[]), Place::new());
        let port_file = place.evidence().with_file_name("address");
        let (room, address) = super::start_target(
            Command::new(super::waiting_room())
                .args(["--events", "e1"])
                .args(arguments)
                .env("REDIS_URL", &redis.address),
            &port_file,
        );
        Self {
            room,
            address,
            redis,
            place,
        }
    }

    pub(crate) fn run(&self, more: &[&str]) -> Command {
        let mut command = run(&self.place, more);
        command
            .env("BASE_URL", &self.address)
            .env("REDIS_URL", &self.redis.address)
            .env("EVENT_IDS", "e1");
        command
    }

    /// Runs, and does something once a line has been printed that holds the text; returns all that was printed.
    pub(crate) fn run_and(&self, more: &[&str], text: &str, disturb: impl Fn()) -> String {
        self.run_and_each(more, &[(text, &disturb)])
    }

    /// The same with several things, one after the other.
    pub(crate) fn run_and_each(&self, more: &[&str], steps: &[(&str, &dyn Fn())]) -> String {
        let mut command = self.run(more);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the runner starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (mut printed, mut steps) = (String::new(), steps.iter());
        let mut next = steps.next();
        for line in output.lines() {
            let line = line.expect("text");
            printed.push_str(&line);
            printed.push('\n');
            if let Some((text, disturb)) = next
                && line.contains(text)
            {
                disturb();
                next = steps.next();
            }
        }
        child.wait().expect("the runner ends");
        let missing = next.map(|(text, _)| text);
        assert!(missing.is_none(), "{missing:?} in {printed}");
        printed
    }

    pub(crate) fn ask(&self, command: &str) -> i64 {
        super::ask(&mut self.redis.connect(), command)
    }

    pub(crate) fn reasons(&self, verdict: &str) -> Vec<String> {
        reasons(&self.place, "gateway/1/seat-limited/custom", verdict)
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        let _ = self.room.kill();
        let _ = self.room.wait();
    }
}
