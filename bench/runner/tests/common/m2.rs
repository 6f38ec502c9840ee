//! The suite of the load ladders with levels that a test has time for, at service, handler and PostgreSQL that the runner starts.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value as Json;

use super::{Place, files, finish, json, k6, program, root, text};

/// The reference challenge service: `CHALLENGE_BIN`, else beside the runner, else the one in `bin/`.
pub(crate) fn challenge() -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_barrier-bench")).with_file_name("challenge");
    let installed = root().join("bin/challenge");
    program("CHALLENGE_BIN", &[installed, beside], "make binaries")
}

/// Levels of a few requests and events a second, and no waits between runs: nothing here is about how much the reference carries.
const SMALL: [(&str, &str); 9] = [
    (
        "levels = [50, 100, 200, 500, 1000, 2000, 5000]",
        "levels = [10, 20, 40, 80]",
    ),
    (
        "levels = [100, 500, 1000, 2000, 5000, 10000]",
        "levels = [20, 100]",
    ),
    (
        "points = [{ TARGET_RPS = 500, TARGET_EPS = 2000 }]",
        "points = [{ TARGET_RPS = 10, TARGET_EPS = 20 }]",
    ),
    (
        "points = [{ TARGET_EPS = 1000 }]",
        "points = [{ TARGET_EPS = 20 }]",
    ),
    // Limits that are never missed would ask for users who never wait.
    ("default = 15000", "default = 200"),
    (
        "default = 10000\n\n[env.USERS]",
        "default = 200\n\n[env.USERS]",
    ),
    ("cooldown = \"60s\"", "cooldown = \"1s\""),
    ("min_samples = 100", "min_samples = 20"),
    ("min_samples = 50", "min_samples = 5"),
];

/// Where the fixture lies that service and handler read.
const CHALLENGES: &str = "js/m2/fixtures/challenges.json";

/// A project of its own, which holds the suite and what that names.
pub(crate) struct M2 {
    pub(crate) place: Place,
    project: PathBuf,
}

impl M2 {
    /// With its fixtures.
    pub(crate) fn new(edits: &[(&str, &str)]) -> Self {
        let m2 = Self::without_fixtures(edits);
        let (code, printed) = finish(&mut m2.call("fixtures", &[]));
        assert_eq!(code, 0, "{printed}");
        m2
    }

    pub(crate) fn without_fixtures(edits: &[(&str, &str)]) -> Self {
        Self::with(&[&SMALL, edits].concat())
    }

    fn with(edits: &[(&str, &str)]) -> Self {
        let place = Place::new();
        let project = place.evidence().with_file_name("project");
        fs::create_dir_all(project.join("js/m2/fixtures")).expect("folders");
        fs::create_dir_all(project.join("bench/suites")).expect("folders");
        let link = |path: &str| symlink(root().join(path), project.join(path)).expect("a link");
        link("js/lib");
        link("bench/suites/m2");
        for entry in fs::read_dir(root().join("js/m2")).expect("scripts") {
            let name = entry.expect("an entry").file_name();
            if name != "fixtures" {
                link(&format!("js/m2/{}", name.to_string_lossy()));
            }
        }
        let mut suite = text(&root().join("bench/suites/m2.toml"));
        for (old, new) in edits {
            assert!(suite.contains(old), "{old}");
            suite = suite.replace(old, new);
        }
        fs::write(project.join("bench/suites/m2.toml"), suite).expect("written");
        Self { place, project }
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.project.join(below)
    }

    /// The runner, with the suite after its verb.
    pub(crate) fn call(&self, verb: &str, more: &[&str]) -> Command {
        let mut command = self.place.runner();
        command
            .arg(verb)
            .arg(self.path("bench/suites/m2.toml"))
            .args(more)
            .env("K6_BIN", k6())
            .env("CHALLENGE_BIN", challenge())
            .env("CHALLENGES_FILE", self.path(CHALLENGES));
        command
    }

    /// Runs a scenario: a second passes, then so long is measured.
    pub(crate) fn run(&self, scenario: &str, seconds: u32, more: &[&str]) -> (i32, String) {
        let mut call = self.call("run", &["--scenario", scenario]);
        for name in ["DURATION", "E2E_DURATION"] {
            call.args(["--set", &format!("{name}={seconds}s")]);
        }
        finish(call.args(["--set", "WARMUP=1s"]).args(more))
    }

    /// The same verb at the plan that there is.
    pub(crate) fn at_plan(&self, verb: &str) -> (i32, String) {
        let mut call = self.place.runner();
        call.arg(verb)
            .arg(self.plan())
            .env("K6_BIN", k6())
            .env("CHALLENGE_BIN", challenge())
            .env("CHALLENGES_FILE", self.path(CHALLENGES));
        finish(&mut call)
    }

    /// The folder of the last plan.
    pub(crate) fn plan(&self) -> PathBuf {
        let found = files(&self.place.evidence());
        let plans = found.iter().filter(|path| path.ends_with("plan.json"));
        let plan = plans.max().and_then(|path| path.parent());
        plan.expect("a plan").to_owned()
    }

    pub(crate) fn ladder(&self) -> Json {
        json(&self.plan().join("ladders.json"))["ladders"][0].clone()
    }

    /// The only run of the last plan.
    pub(crate) fn ran(&self) -> Ran {
        let mut found = files(&self.plan());
        found.retain(|path| path.ends_with("verdict.json"));
        assert_eq!(found.len(), 1, "{found:?}");
        let folder = found[0].parent().expect("a folder").to_owned();
        Ran {
            verdict: json(&found[0]),
            derived: json(&folder.join("derived.json")),
            folder,
        }
    }
}

/// What a run came to.
pub(crate) struct Ran {
    pub(crate) folder: PathBuf,
    verdict: Json,
    derived: Json,
}

impl Ran {
    pub(crate) fn verdict(&self) -> &str {
        self.verdict["verdict"].as_str().expect("a verdict")
    }

    /// Gates that judge and do not hold.
    pub(crate) fn missed(&self) -> Vec<&str> {
        let gates = self.verdict["gates"].as_array().expect("gates").iter();
        let missed = gates.filter(|gate| gate["holds"] == false && gate["class"] != "watch");
        missed.filter_map(|gate| gate["id"].as_str()).collect()
    }

    /// What a gate saw.
    pub(crate) fn seen(&self, id: &str) -> f64 {
        let mut gates = self.verdict["gates"].as_array().expect("gates").iter();
        let gate = gates.find(|gate| gate["id"] == id);
        gate.and_then(|gate| gate["value"].as_f64())
            .unwrap_or_else(|| panic!("{id}: {:#}", self.verdict))
    }

    pub(crate) fn derived(&self, id: &str) -> f64 {
        let value = self.derived[id].as_f64();
        value.unwrap_or_else(|| panic!("{id}: {:#}", self.derived))
    }
}
