//! The meta files of a run: `meta.txt` for people and scripts, `meta.json` for programs.

use serde_json::{Map, Value as Json, json};

use crate::evidence::Folder;
use crate::k6::{Binary, Finished};
use crate::mask::{masked, masked_address};
use crate::plan::PlannedRun;
use crate::{exit, host};

/// What is known about a run; grows with it.
#[derive(Debug)]
pub(crate) struct Meta {
    lines: Vec<String>,
    json: Map<String, Json>,
}

impl Meta {
    /// What is known before anything is touched.
    pub(crate) fn new(
        suite: &str,
        run: &PlannedRun<'_>,
        run_id: &str,
        k6: &Binary,
        redis: &str,
    ) -> Self {
        let (git_branch, sha) = host::git();
        let vars = &run.vars;
        let text = |name: &str| vars.shown(name).unwrap_or_default();
        let mut meta = Self {
            lines: Vec::new(),
            json: Map::new(),
        };
        let scenario = run.scenario.id.get_ref().clone();
        let strings = [
            ("suite", suite.to_owned()),
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
            ("redis", redis.to_owned()),
            ("loginEmailDomain", text("LOGIN_EMAIL_DOMAIN")),
            ("slotBoost", text("SLOT_BOOST")),
            ("slotBoostValue", text("SLOT_BOOST_VALUE")),
            ("aggressiveClean", text("AGGRESSIVE_CLEAN")),
            ("k6Version", k6.version_line().to_owned()),
            ("startTime", now()),
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
        meta.json.insert("schemaVersion".to_owned(), json!(1));
        meta.json.insert("cycle".to_owned(), json!(run.cycle));
        meta.json.insert(
            "k6".to_owned(),
            json!({ "path": k6.path, "version": k6.version }),
        );
        meta.json
            .insert("environment".to_owned(), Json::Object(environment));
        meta.json.insert("host".to_owned(), host::facts());
        for (name, key) in [
            ("expected_vus", "VUS"),
            ("sse_p95_threshold_ms", "SSE_P95_THRESHOLD"),
            ("sse_timeout_ms", "SSE_TIMEOUT_MS"),
        ] {
            meta.lines.push(format!("[meta] {name}={}", text(key)));
        }
        meta
    }

    /// A text, in both files.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        let value = masked(value);
        self.lines.push(format!("[meta] {}={value}", snake(name)));
        self.json.insert(name.to_owned(), Json::String(value));
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
        self.lines.push(format!("[k6] command={}", masked(command)));
        self.lines.push(format!("[k6] exit_code={code}"));
        self.lines
            .push(format!("[k6] wall_clock_ms={}", finished.wall_clock_ms));
        self.json.insert(
            "k6Run".to_owned(),
            json!({
                "command": masked(command),
                "exitCode": finished.code,
                "startMs": finished.began.timestamp().as_millisecond(),
                "endMs": finished.ended.timestamp().as_millisecond(),
                "wallClockMs": finished.wall_clock_ms,
            }),
        );
    }

    /// The end of the run.
    pub(crate) fn ended(&mut self, verdict: &str, code: i32, folder: &Folder) {
        self.set("endTime", &now());
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

fn now() -> String {
    jiff::Zoned::now()
        .strftime("%Y-%m-%dT%H:%M:%S%.3f%:z")
        .to_string()
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
