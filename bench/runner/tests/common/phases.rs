//! The phase gates: the reference target, calls of the runner for them, and what they said.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value as Json;

use super::life::wait_for;
use super::{Place, json, k6, program, root, start_target};

/// The reference target: `PHASES_BIN`, else beside the runner, else the one in `bin/`.
pub(crate) fn phases() -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_barrier-bench")).with_file_name("phases");
    let installed = root().join("bin/phases");
    program("PHASES_BIN", &[beside, installed], "make binaries")
}

/// A run of these phases that is as short as may be.
pub(crate) fn run(place: &Place, scenarios: &[&str]) -> Command {
    let mut command = place.runner();
    command.args(["run", "phase-gates", "--quick"]);
    with(&mut command, scenarios);
    command
}

/// The same as it is declared.
pub(crate) fn declared(place: &Place, scenarios: &[&str]) -> Command {
    let mut command = place.runner();
    command.args(["run", "phase-gates"]);
    with(&mut command, scenarios);
    command
}

fn with(command: &mut Command, scenarios: &[&str]) {
    for scenario in scenarios {
        command.args(["--scenario", scenario]);
    }
    command.env("K6_BIN", k6()).env("PHASES_BIN", phases());
    if let Some(postgres) = std::env::var_os("POSTGRES_BIN") {
        command.env("POSTGRES_BIN", postgres);
    }
}

/// The folder of a scenario's only run. Beside that of its call lies the board.
pub(crate) fn folder(place: &Place, scenario: &str) -> PathBuf {
    let entries = std::fs::read_dir(place.evidence())
        .expect("evidence")
        .flatten();
    let mut calls = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir());
    let call = calls.next().expect("a call");
    assert!(calls.next().is_none(), "one call");
    call.join(scenario)
}

pub(crate) fn gate(place: &Place, scenario: &str, id: &str) -> Json {
    let verdict = json(&folder(place, scenario).join("verdict.json"));
    let gates = verdict["gates"].as_array().expect("gates");
    let found = gates.iter().find(|gate| gate["id"] == id);
    found
        .unwrap_or_else(|| panic!("no gate {id}: {verdict:#}"))
        .clone()
}

/// The lines of gates among what was printed: the runner's alone, one of each run.
#[track_caller]
pub(crate) fn says(printed: &str, expected: &[&str]) {
    let lines: Vec<&str> = printed
        .lines()
        .filter(|line| line.contains(" Gate: "))
        .collect();
    assert_eq!(lines, expected, "{printed}");
}

/// A target that somebody started, with three nodes.
pub(crate) struct System {
    child: Child,
    pub(crate) url: String,
}

impl System {
    pub(crate) fn start(place: &Place) -> Self {
        let port_file = place.evidence().with_file_name("port");
        // It is killed in the end, and what it leaves goes with the place. Files of the runner are looked for elsewhere.
        let temporary = place.evidence().with_file_name("system");
        std::fs::create_dir(&temporary).expect("a folder");
        let (child, url) = start_target(
            Command::new(phases())
                .args(["--listen=127.0.0.1:0", "--node-port=0", "--nodes=3"])
                .env("TMPDIR", temporary)
                .stdin(Stdio::null()),
            &port_file,
        );
        Self { child, url }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn tells(&self, path: &str) -> Json {
        let mut answer = ureq::get(format!("{}{path}", self.url))
            .call()
            .expect("it answers");
        let body = answer.body_mut().read_to_string().expect("text");
        serde_json::from_str(&body).expect("JSON")
    }

    /// Changes its switches.
    pub(crate) fn change_faults(&self, faults: &Json) {
        let sent = ureq::put(format!("{}/faults", self.url)).send(faults.to_string());
        sent.expect("it takes them");
    }

    /// Waits until nobody is missing: by the front, and by each node itself.
    pub(crate) fn is_whole(&self) {
        wait_for("all nodes answer", || {
            let all = self.tells("/api/cluster/health")["nodes_available"] == 3;
            all.then_some(())
        });
        let nodes = self.tells("/api/cluster/nodes");
        let nodes = nodes["nodes"].as_array().expect("nodes");
        assert_eq!(nodes.len(), 3);
        for node in nodes {
            let url = node["url"].as_str().expect("an address");
            let answer = ureq::get(format!("{url}/health")).call();
            assert_eq!(answer.expect("it answers").status(), 200, "{url}");
        }
    }
}

impl Drop for System {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
