//! The meta files of a run: `meta.txt` for people and scripts, `meta.json` for programs.

use std::collections::BTreeSet;

use barrier_stats::host;
use serde_json::{Map, Value as Json, json};

use crate::evidence::{Folder, MANIFEST};
use crate::plan::build::UnderTest;
use crate::plan::{PlannedRun, file};
use crate::run::build::{Identity, Started};
use crate::run::driver::Finished;
use crate::run::fixtures::Looked;
use crate::run::k6::Binary;
use crate::run::sql::server::Facts as PostgresFacts;
use crate::suite::Suite;
use crate::suite::expression::Failure;
use crate::suite::schema::{MetaFile, TargetKind};
use crate::suite::vars::Vars;
use crate::values::exit;
use crate::values::mask::masked;
use crate::values::template::{plain_json, variables};
use crate::verdict::facts::Facts;

/// What the runs of a plan share.
#[derive(Debug)]
pub(crate) struct Shared<'a> {
    pub(crate) suite: &'a Suite,
    pub(crate) suite_sha256: String,
    /// Of its copy beside the plan, which has no secrets.
    pub(crate) copy_sha256: String,
    pub(crate) plan_sha256: String,
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

/// The servers of a run that no target is.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerFacts {
    pub(crate) redis: RedisFacts,
    /// `None` where the suite needs none.
    pub(crate) postgres: Option<PostgresFacts>,
}

/// What is known about a run; grows with it.
#[derive(Debug)]
pub(crate) struct Meta {
    lines: Vec<String>,
    json: Map<String, Json>,
    /// Declared fields that are there already.
    told: BTreeSet<String>,
    /// What the verdict is to be read with.
    labels: Vec<String>,
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
        servers: &ServerFacts,
    ) -> anyhow::Result<Self> {
        let redis = &servers.redis;
        // The folder that the runner was called from says nothing about what comes from somewhere else.
        let elsewhere = run.target.kind == TargetKind::External || run.under_test.program.is_some();
        let ((git_branch, sha), dirty) = if elsewhere {
            let said = &run.under_test.sha;
            let sha = if said.is_empty() { "unknown" } else { said };
            (("unknown".to_owned(), sha.to_owned()), None)
        } else {
            (host::git(), host::git_is_dirty())
        };
        let k6 = &shared.k6;
        let vars = &run.vars;
        let version = redis.version.as_deref().unwrap_or("unknown");
        let redis_text = if redis.private {
            format!("private, version {version}")
        } else if vars.get("REDIS_URL").is_none() {
            "none".to_owned()
        } else {
            format!("given by the user, version {version}")
        };
        let mut meta = Self {
            lines: Vec::new(),
            json: Map::new(),
            told: BTreeSet::new(),
            labels: Vec::new(),
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
            ("redis", redis_text),
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
        let computed: Map<String, Json> = vars
            .known()
            .iter()
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .collect();
        let facts = json!({
            "schemaVersion": 1,
            "plan": { "run": run.number, "of": shared.runs },
            "attempt": attempt,
            "point": file::point(&run.point),
            "block": run.cycle.block,
            "blockAttempt": run.cycle.attempt,
            "cycle": run.cycle.number,
            "discarded": run.cycle.discarded,
            "preflight": run.preflight,
            "quick": shared.quick,
            "gitDirty": dirty,
            "estimateMs": run.estimate.map(|time| time.as_millis()),
            "load": run.load.scenarios,
            "warmupMs": run.load.warmup.as_millis(),
            "windowMs": run.load.window.map(|time| time.as_millis()),
            "suiteFile": {
                "path": shared.suite.path,
                "sha256": shared.suite_sha256,
                "copySha256": shared.copy_sha256,
            },
            "planSha256": shared.plan_sha256,
            "manifest": MANIFEST,
            "harness": run.harness(shared.suite)?,
            "k6": { "path": k6.path, "version": k6.version },
            "redisServer": { "version": redis.version, "private": redis.private },
            "computed": computed,
            "environment": environment,
            "host": host::facts(),
        });
        if let Json::Object(facts) = facts {
            meta.json.extend(facts);
        }
        if let Some(postgres) = &servers.postgres {
            meta.set("postgres", &postgres.shown());
            let record = postgres.record();
            meta.json.insert("postgresServer".to_owned(), record);
        }
        for (name, value) in [("cycle", run.cycle.number), ("attempt", attempt)] {
            meta.lines.push(format!("[meta] {name}={value}"));
        }
        meta.declared(shared.suite, vars, false)?;
        Ok(meta)
    }

    /// Whether the load was scaled down.
    pub(crate) fn quick(&self) -> bool {
        self.json.get("quick") == Some(&Json::Bool(true))
    }

    /// The program of a target that the runner started.
    pub(super) fn target_program(&mut self, started: &Started, version: Option<&str>) {
        let mut entry =
            json!({ "path": started.path, "version": version, "sha256": started.sha256 });
        if !started.files.is_empty() {
            let files = started.files.iter();
            let files: Map<String, Json> = files
                .map(|(path, hash)| (path.display().to_string(), hash.as_str().into()))
                .collect();
            entry["files"] = files.into();
        }
        self.json.insert("targetProgram".to_owned(), entry);
    }

    /// The programs of the services that the runner starts; without one there is no such field.
    pub(super) fn services(&mut self, programs: &[Json]) {
        if !programs.is_empty() {
            self.json.insert("services".to_owned(), programs.into());
        }
    }

    /// The files that were made for the run.
    pub(super) fn fixtures(&mut self, fixtures: &[Looked]) {
        if fixtures.is_empty() {
            return;
        }
        let fixtures = fixtures.iter();
        let fixtures: Map<String, Json> = fixtures
            .map(|fixture| (fixture.id.clone(), fixture.record()))
            .collect();
        self.json.insert("fixtures".to_owned(), fixtures.into());
    }

    /// What targets may take, and where that is not as it is declared.
    pub(super) fn limits(&mut self, limits: Map<String, Json>, labels: Vec<String>) {
        if !limits.is_empty() {
            self.json.insert("targetLimits".to_owned(), limits.into());
        }
        self.labels = labels;
    }

    /// Which processors k6 and the services have, where they are kept apart.
    pub(super) fn processors(&mut self, record: Option<Json>) {
        if let Some(record) = record {
            self.json.insert("processors".to_owned(), record);
        }
    }

    /// What the verdict is to be read with.
    pub(super) fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The fields that the suite declares, as far as they are known: at the latest once the target answers.
    ///
    /// # Errors
    /// A value is of a type that does not fit.
    fn declared(&mut self, suite: &Suite, vars: &Vars, ready: bool) -> anyhow::Result<()> {
        for table in &suite.file.meta {
            let id = table.id.get_ref();
            if self.told.contains(id) {
                continue;
            }
            let value = if let Some(text) = &table.text {
                let waits = variables(text.get_ref())
                    .iter()
                    .any(|name| vars.get(name).is_none());
                if waits && !ready {
                    continue;
                }
                Json::from(vars.expand_shown(text.get_ref())?)
            } else {
                let expression = table.value.as_ref().map_or("none", |text| text.get_ref());
                match vars.try_evaluate(expression) {
                    Ok(Json::Null) | Err(Failure::Missing(_)) => continue,
                    Ok(value) => value,
                    Err(Failure::Wrong(why)) => {
                        return Err(exit::set_up(format!("[[meta]] {id}: {why}")));
                    }
                }
            };
            let value = match value {
                Json::String(text) => Json::from(masked(&text)),
                other => other,
            };
            if table.only != Some(MetaFile::Json) {
                let text = plain_json(&value);
                self.lines.push(format!("[meta] {}={text}", snake(id)));
            }
            if table.only != Some(MetaFile::Text) {
                self.json.insert(id.clone(), value);
            }
            self.told.insert(id.clone());
        }
        Ok(())
    }

    /// What the thing under test is.
    pub(super) fn build(&mut self, under: &UnderTest, identity: &Identity) {
        let entry = json!({
            "id": identity.id,
            "from": identity.from,
            "name": under.name,
            "base": under.base,
        });
        self.json.insert("build".to_owned(), entry);
    }

    /// What a server answered, under the id of the record.
    pub(crate) fn recorded(&mut self, id: &str, answer: Json) {
        let value = match answer {
            Json::String(text) => masked(&text).into(),
            other => other,
        };
        self.json.insert(id.to_owned(), value);
    }

    /// What servers were asked for, among all else.
    pub(super) fn records(&self) -> Json {
        Json::Object(self.json.clone())
    }

    /// Something that the verdict is to be read with.
    pub(super) fn label(&mut self, text: String) {
        self.labels.push(text);
    }

    /// What the gates look at beside k6's summary.
    ///
    /// # Errors
    /// None of today's facts; they are all JSON.
    pub(super) fn judged_by(&mut self, facts: &Facts, machine: Json) -> anyhow::Result<()> {
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

    /// What is known only once the target answers: its address among the variables.
    ///
    /// # Errors
    /// A value is of a type that does not fit.
    pub(super) fn target_ready(&mut self, suite: &Suite, vars: &Vars) -> anyhow::Result<()> {
        self.declared(suite, vars, true)
    }

    /// The run is watched while it runs, by `whom`.
    pub(super) fn watched(&mut self, whom: &str) {
        self.lines.push(format!("[run] watched_by={whom}"));
        self.json.insert("watched".to_owned(), whom.into());
    }

    /// How k6 ended.
    pub(super) fn k6_ended(&mut self, command: &str, finished: &Finished) {
        let none = match finished.calls {
            Some(_) => "none",
            None => "none (ended by a signal)",
        };
        let code = finished
            .code
            .map_or_else(|| none.to_owned(), |code| code.to_string());
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
