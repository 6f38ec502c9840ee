//! A monitor of the chat suite, with a real Prometheus.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::{Place, finish, json, k6, pause, root};

/// A monitor that is up; it ends with its guard.
pub(crate) struct Monitor<'a> {
    place: &'a Place,
    pub(crate) dashboard: String,
    pub(crate) prometheus: String,
}

/// The runner with the monitor's verb.
pub(crate) fn call(place: &Place, arguments: &[&str]) -> Command {
    let mut command = place.runner();
    if let Some(program) = std::env::var_os("PROMETHEUS_BIN") {
        command.env("PROMETHEUS_BIN", program);
    }
    command.args(["monitor", "chat"]).args(arguments);
    command
}

/// Where the monitor keeps what it has.
pub(crate) fn folder(place: &Place) -> PathBuf {
    place.evidence().join("monitoring/chat")
}

/// A run of the chat suite; with its scenario for streams half a minute with five users.
pub(crate) fn run(place: &Place, more: &[&str]) -> Command {
    let mut command = place.runner();
    command
        .args(["run", "chat", "--quick"])
        .args(["--set", "VUS=100", "--set", "DURATION=60s"])
        .args(more)
        .env("K6_BIN", k6())
        .env("CHAT_SERVICE_BIN", chat_service());
    command
}

/// The reference chat service.
pub(crate) fn chat_service() -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_barrier-bench")).with_file_name("chat-service");
    super::program(
        "CHAT_SERVICE_BIN",
        &[root().join("bin/chat-service"), beside],
        "make binaries",
    )
}

impl<'a> Monitor<'a> {
    /// Starts it on free ports, its alerts in compressed time.
    pub(crate) fn start(place: &'a Place) -> Self {
        Self::with(place, &["--quick"])
    }

    /// Starts it on free ports, its alerts as they are declared.
    pub(crate) fn declared(place: &'a Place) -> Self {
        Self::with(place, &[])
    }

    fn with(place: &'a Place, more: &[&str]) -> Self {
        let usual = ["start", "--without-grafana", "--prometheus-port", "0"];
        let arguments = [&usual[..], &["--dashboard-port", "0"], more].concat();
        let (code, told) = finish(&mut call(place, &arguments));
        assert_eq!(code, 0, "{told}");
        let record = json(&folder(place).join("monitor.json"));
        let text = |name: &str| record[name].as_str().expect(name).to_owned();
        Self {
            place,
            dashboard: text("dashboard"),
            prometheus: text("prometheus"),
        }
    }

    /// The processes of this monitor: itself and Prometheus.
    pub(crate) fn processes(&self) -> (i32, i32) {
        let record = json(&folder(self.place).join("monitor.json"));
        let own = i32::try_from(record["process"].as_i64().expect("a process")).expect("a number");
        let mut children = procfs::process::all_processes()
            .expect("/proc")
            .flatten()
            .filter_map(|process| process.stat().ok())
            .filter(|stat| stat.ppid == own && stat.comm == "prometheus");
        (own, children.next().expect("Prometheus").pid)
    }

    /// What Prometheus answers.
    pub(crate) fn ask(&self, path: &str, query: &[(&str, &str)]) -> Json {
        let mut request = ureq::get(format!("{}/api/v1/{path}", self.prometheus));
        for (name, value) in query {
            request = request.query(*name, *value);
        }
        let text = request.call().expect("an answer");
        let text = text.into_body().read_to_string().expect("a text");
        serde_json::from_str(&text).expect("JSON")
    }

    /// A page of the monitor.
    pub(crate) fn page(&self, path: &str) -> String {
        let answer = ureq::get(format!("{}{path}", self.dashboard)).call();
        let mut answer = answer.expect("an answer");
        answer.body_mut().read_to_string().expect("a text")
    }
}

impl Drop for Monitor<'_> {
    fn drop(&mut self) {
        let _ = call(self.place, &["stop"]).output();
    }
}

/// Waits for something, for as long as a machine under load may take.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}");
        pause();
    }
}
