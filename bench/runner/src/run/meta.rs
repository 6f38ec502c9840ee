//! The meta files of a run: `meta.txt` for people and scripts, `meta.json` for programs.

use std::path::Path;

use barrier_stats::host;
use serde_json::{Map, Value as Json, json};

use crate::evidence::{Folder, MANIFEST};
use crate::plan::{PlannedRun, file};
use crate::run::k6::{Binary, Finished};
use crate::suite::Suite;
use crate::values::exit;
use crate::values::hash;
use crate::values::mask::masked_address;
use crate::verdict::facts::Facts;

/// What the runs of a plan share.
#[derive(Debug)]
pub(crate) struct Shared<'a> {
    pub(crate) suite: &'a Suite,
    pub(crate) suite_sha256: String,
    /// Of its copy beside the plan, which has no secrets.
    pub(crate) copy_sha256: String,
    pub(crate) k6: Binary,
    /// Runs in the plan.
    pub(crate) runs: usize,
    pub(crate) label: String,
    pub(crate) quick: bool,
}

/// The Redis of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct RedisFacts {
    /// Unknown if it does not tell.
    pub(crate) version: Option<String>,
    /// Started by the runner.
    pub(crate) private: bool,
    /// Its process, if it is on this machine.
    pub(crate) process: Option<u32>,
}

/// What is known about a run; grows with it.
#[derive(Debug)]
pub(crate) struct Meta {
    lines: Vec<String>,
    json: Map<String, Json>,
}

impl Meta {
    /// What is known before anything is touched.
    ///
    /// # Errors
    /// The harness cannot be read.
    pub(crate) fn new(
        shared: &Shared<'_>,
        run: &PlannedRun<'_>,
        attempt: u32,
        run_id: &str,
        redis: &RedisFacts,
    ) -> anyhow::Result<Self> {
        let (git_branch, sha) = host::git();
        let k6 = &shared.k6;
        let vars = &run.vars;
        let version = redis.version.as_deref().unwrap_or("unknown");
        let redis_text = if redis.private {
            format!("private, version {version}")
        } else {
            format!("given by the user, version {version}")
        };
        let text = |name: &str| vars.shown(name).unwrap_or_default();
        let mut meta = Self {
            lines: Vec::new(),
            json: Map::new(),
        };
        let scenario = run.scenario.id.get_ref().clone();
        let strings = [
            ("suite", shared.suite.file.suite.id.clone()),
            ("branch", run.branch.clone()),
            ("sha", sha),
            ("gitBranch", git_branch),
            ("scenario", scenario),
            ("variant", run.variant.clone().unwrap_or_default()),
            ("target", run.target.id.clone()),
            ("runId", run_id.to_owned()),
            ("eventIds", text("EVENT_IDS")),
            (
                "redisUrl",
                masked_address(&vars.text("REDIS_URL").unwrap_or_default()),
            ),
            ("redis", redis_text),
            ("loginEmailDomain", text("LOGIN_EMAIL_DOMAIN")),
            ("slotBoost", text("SLOT_BOOST")),
            ("slotBoostValue", text("SLOT_BOOST_VALUE")),
            ("aggressiveClean", text("AGGRESSIVE_CLEAN")),
            ("k6Version", k6.version_line().to_owned()),
            ("runnerVersion", env!("CARGO_PKG_VERSION").to_owned()),
            ("label", shared.label.clone()),
            ("startTime", host::now()),
        ];
        for (name, value) in strings {
            meta.set(name, &value);
        }
        let environment: Map<String, Json> = vars
            .iter()
            .map(|(name, _, origin)| {
                (
                    name.to_owned(),
                    json!({ "value": vars.shown(name), "from": origin }),
                )
            })
            .collect();
        let limits = run.limits.as_ref().map(|limits| {
            json!({
                "users": limits.users,
                "events": limits.events,
                "slots": limits.slots,
                "boosted": limits.boosted,
                "skewMs": limits.skew_ms,
                "drainMs": limits.drain_ms,
            })
        });
        let facts = json!({
            "schemaVersion": 1,
            "plan": { "run": run.number, "of": shared.runs },
            "attempt": attempt,
            "point": file::point(&run.point),
            "block": run.cycle.block,
            "cycle": run.cycle.number,
            "discarded": run.cycle.discarded,
            "preflight": run.preflight,
            "quick": shared.quick,
            "estimateMs": run.estimate.map(|time| time.as_millis()),
            "suiteFile": {
                "path": shared.suite.path,
                "sha256": shared.suite_sha256,
                "copySha256": shared.copy_sha256,
            },
            "manifest": MANIFEST,
            "harness": hash::harness(&run.script)?,
            "k6": { "path": k6.path, "version": k6.version },
            "redisServer": { "version": redis.version, "private": redis.private },
            "limits": limits,
            "environment": environment,
            "host": host::facts(),
        });
        if let Json::Object(facts) = facts {
            meta.json.extend(facts);
        }
        for (name, value) in [("cycle", run.cycle.number), ("attempt", attempt)] {
            meta.lines.push(format!("[meta] {name}={value}"));
        }
        for (name, key) in [
            ("expected_vus", "VUS"),
            ("sse_p95_threshold_ms", "SSE_P95_THRESHOLD"),
            ("sse_timeout_ms", "SSE_TIMEOUT_MS"),
        ] {
            meta.lines.push(format!("[meta] {name}={}", text(key)));
        }
        Ok(meta)
    }

    /// Whether the load was scaled down.
    pub(crate) fn quick(&self) -> bool {
        self.json.get("quick") == Some(&Json::Bool(true))
    }

    /// The program of a target that the runner started.
    pub(crate) fn target_program(&mut self, program: &Path, version: Option<&str>) {
        let entry = json!({ "path": program, "version": version });
        self.json.insert("targetProgram".to_owned(), entry);
    }

    /// When the harness set the events OPEN, epoch ms.
    pub(crate) fn opened(&mut self, at: i64) {
        self.json.insert("openAtMs".to_owned(), at.into());
    }

    /// What the gates look at beside k6's summary.
    ///
    /// # Errors
    /// None of today's facts; they are all JSON.
    pub(crate) fn judged_by(&mut self, facts: &Facts, machine: Json) -> anyhow::Result<()> {
        self.json
            .insert("observed".to_owned(), serde_json::to_value(facts)?);
        self.json.insert("machine".to_owned(), machine);
        Ok(())
    }

    /// A text, in both files.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.lines.push(format!("[meta] {}={value}", snake(name)));
        self.json.insert(name.to_owned(), value.into());
    }

    /// The addresses, known once the target answers.
    pub(crate) fn target_ready(&mut self, run: &PlannedRun<'_>) {
        let base = run.vars.shown("BASE_URL").unwrap_or_default();
        let broker = run.vars.shown("BROKER_BASE_URL");
        let defaulted = broker.is_none();
        self.set("baseUrl", &base);
        self.set("brokerBaseUrl", &broker.unwrap_or(base));
        if defaulted {
            self.lines
                .push("[meta] broker_base_url_note=not given, defaults to base_url".to_owned());
        }
    }

    /// How k6 ended.
    pub(crate) fn k6_ended(&mut self, command: &str, finished: &Finished) {
        let code = finished.code.map_or_else(
            || "none (ended by a signal)".to_owned(),
            |code| code.to_string(),
        );
        self.lines.push(format!("[k6] command={command}"));
        self.lines.push(format!("[k6] exit_code={code}"));
        self.lines
            .push(format!("[k6] wall_clock_ms={}", finished.wall_clock_ms));
        self.json.insert(
            "k6Run".to_owned(),
            json!({
                "command": command,
                "exitCode": finished.code,
                "startMs": finished.began.timestamp().as_millisecond(),
                "endMs": finished.ended.timestamp().as_millisecond(),
                "wallClockMs": finished.wall_clock_ms,
            }),
        );
    }

    /// The end of the run.
    pub(crate) fn ended(&mut self, verdict: &str, code: i32, folder: &Folder) {
        self.set("endTime", &host::now());
        self.json
            .insert("loadAverageEnd".to_owned(), json!(host::load_average()));
        self.set("verdict", verdict);
        self.json.insert("exitCode".to_owned(), json!(code));
        if code == exit::OK {
            self.lines
                .push(format!("[k6] OK {}", folder.path().display()));
        }
    }

    /// Writes both files as they are now.
    ///
    /// # Errors
    /// They cannot be written.
    pub(crate) fn write(&self, folder: &Folder) -> anyhow::Result<()> {
        folder.update(
            "meta.txt",
            format!("{}\n", self.lines.join("\n")).as_bytes(),
        )?;
        folder.update(
            "meta.json",
            format!("{:#}\n", Json::Object(self.json.clone())).as_bytes(),
        )
    }
}

fn snake(name: &str) -> String {
    name.chars()
        .flat_map(|c| {
            c.is_ascii_uppercase()
                .then_some('_')
                .into_iter()
                .chain([c.to_ascii_lowercase()])
        })
        .collect()
}
