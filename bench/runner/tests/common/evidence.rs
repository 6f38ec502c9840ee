//! Evidence as the runner leaves it, with values of the test's choice.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::{Place, finish, root, text};

/// A folder of evidence as the runner leaves it, with values of the test's choice.
pub(crate) struct Plan {
    pub(crate) folder: PathBuf,
    pub(crate) planned: Vec<Json>,
    /// What was asked for.
    pub(crate) selection: Json,
}

/// One run of it.
pub(crate) struct Run<'a> {
    pub(crate) variant: &'a str,
    pub(crate) cycle: u32,
    pub(crate) drain: f64,
    pub(crate) verdict: &'a str,
    pub(crate) attempt: u32,
    pub(crate) discarded: bool,
    pub(crate) meta: Json,
}

pub(crate) fn run(variant: &str, cycle: u32, drain: f64) -> Run<'_> {
    Run {
        variant,
        cycle,
        drain,
        verdict: "PASS",
        attempt: 1,
        discarded: false,
        meta: json!({}),
    }
}

impl Plan {
    pub(crate) fn new(place: &Place, name: &str) -> Self {
        let folder = place.evidence().join(name);
        fs::create_dir_all(&folder).expect("folder");
        let suite = text(&root().join("bench/suites/waiting-room.toml"));
        fs::write(folder.join("suite.toml"), suite).expect("suite");
        let mut plan = Self {
            folder,
            planned: Vec::new(),
            selection: json!({}),
        };
        plan.plan_file();
        plan
    }

    /// Sets a limit to the comparison of drain times.
    pub(crate) fn limited(self, worse_than: &str) -> Self {
        let path = self.folder.join("suite.toml");
        let from = "[[compare]]\nid = \"drain-time\"\n";
        let suite = text(&path);
        assert!(suite.contains(from));
        let to = format!("{from}worse_than = {worse_than}\n");
        fs::write(path, suite.replace(from, &to)).expect("suite");
        self
    }

    pub(crate) fn plan_file(&mut self) {
        let plan = json!({ "schemaVersion": 1, "suite": "waiting-room", "selection": self.selection, "runs": self.planned });
        fs::write(self.folder.join("plan.json"), plan.to_string()).expect("plan");
    }

    fn planned_folder(point: &str, run: &Run<'_>) -> String {
        let kind = if run.discarded { "warmup" } else { "cycle" };
        format!(
            "{}/{point}/seat-limited/smoke/{kind}-{:02}",
            run.variant, run.cycle
        )
    }

    pub(crate) fn add(&mut self, run: &Run<'_>) -> String {
        self.add_at("5", run)
    }

    /// The same below another point's folder.
    pub(crate) fn add_at(&mut self, point: &str, run: &Run<'_>) -> String {
        let planned = Self::planned_folder(point, run);
        let name = match run.attempt {
            1 => planned.clone(),
            n => format!("{planned}-attempt-{n}"),
        };
        let folder = self.folder.join(&name);
        fs::create_dir_all(&folder).expect("folder");
        let mut meta = json!({
            "suite": "waiting-room", "scenario": "smoke", "variant": run.variant, "branch": run.variant, "sha": "abc1234",
            "point": {}, "cycle": run.cycle, "attempt": run.attempt, "discarded": run.discarded,
            "startTime": format!("2026-01-01T00:{:02}:{:02}.000+00:00", run.cycle, run.attempt),
            "endTime": format!("2026-01-01T00:{:02}:30.000+00:00", run.cycle), "blockAttempt": run.attempt,
            "environment": { "VUS": { "value": "50", "from": "scenario" } }, "build": { "id": run.variant },
        });
        for (key, value) in run.meta.as_object().into_iter().flatten() {
            meta[key] = value.clone();
        }
        let mut known = self.planned.iter();
        if !known.any(|entry| entry["folder"] == planned.as_str()) {
            let build = meta["build"]["name"].as_str().unwrap_or_default();
            let place = [&meta["scenario"], &meta["point"], &meta["variant"]];
            self.planned.push(json!({
                "folder": planned, "scenario": place[0], "point": place[1], "variant": place[2], "build": build,
                "cycle": run.cycle, "discarded": run.discarded, "preflight": false,
            }));
            self.plan_file();
        }
        let reasons: &[&str] = if run.verdict == "INVALID" {
            &["all-escaped: completed_users count: 49; expected == 50"]
        } else {
            &[]
        };
        let verdict = json!({ "verdict": run.verdict, "reasons": reasons, "gates": [] });
        let derived = json!({ "completedUsers": 50, "expectedVUs": 50, "drainMs": run.drain, "testRunDurationMs": run.drain + 6000.0 });
        for (file, content) in [
            ("meta.json", &meta),
            ("verdict.json", &verdict),
            ("derived.json", &derived),
        ] {
            fs::write(folder.join(file), content.to_string()).expect("file");
        }
        name
    }

    /// A variant at twenty points, in seven cycles each that scatter by a share around what the number of the point says.
    pub(crate) fn at_points(
        mut self,
        variant: &str,
        noise: f64,
        drain: impl Fn(u32) -> f64,
    ) -> Self {
        for users in 1..=20_u32 {
            for (cycle, luck) in (1..).zip([1.0, -1.0, 0.5, -0.5, 0.8, -0.8, 0.0]) {
                let run = Run {
                    meta: json!({ "point": { "USERS": users.to_string() } }),
                    ..run(variant, cycle, drain(users) * (1.0 + noise * luck))
                };
                self.add_at(&users.to_string(), &run);
            }
        }
        self
    }

    /// The folder of a run that was added.
    pub(crate) fn run_folder(&self, variant: &str, cycle: u32) -> PathBuf {
        let name = Self::planned_folder("5", &run(variant, cycle, 0.0));
        self.folder.join(name)
    }

    /// Both variants in so many cycles; the hash takes `ratio` times as long, give or take a percent.
    pub(crate) fn cycles(mut self, n: u32, ratio: f64) -> Self {
        for cycle in 1..=n {
            let luck = 10_000.0 + 300.0 * f64::from(cycle * 7 % 5);
            let noise = 1.0 + 0.01 * (f64::from(cycle * 5 % 3) - 1.0);
            self.add(&run("zset", cycle, luck));
            self.add(&run("hash", cycle, luck * ratio * noise));
        }
        self
    }
}

pub(crate) fn call(place: &Place, verb: &str, folders: &[&Path], more: &[&str]) -> (i32, String) {
    finish(place.runner().arg(verb).args(folders).args(more))
}

pub(crate) fn comparisons(place: &Place, folders: &[&Path]) -> Vec<Json> {
    let (code, printed) = call(place, "compare", folders, &["--json"]);
    assert_eq!(code, 0, "{printed}");
    let figures: Json = serde_json::from_str(&printed).expect("JSON");
    figures["comparisons"].as_array().expect("cells").clone()
}

/// The comparison of `drainMs`.
pub(crate) fn drain(place: &Place, plan: &Plan) -> Json {
    let cells = comparisons(place, &[&plan.folder]);
    let found = cells.iter().find(|cell| cell["metric"] == "drainMs");
    found.expect("a cell").clone()
}
