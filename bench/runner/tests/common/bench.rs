//! Plans of the small matrix suite with a real k6.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;

use super::{Place, Redis, files, json, k6, text};

pub(crate) const SUITE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/suites/matrix.toml"
);

/// A place with a listener that stands for the targets, and a Redis, so that no run waits for one of its own.
pub(crate) struct Bench {
    pub(crate) place: Place,
    listener: TcpListener,
    pub(crate) redis: Redis,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            place: Place::new(),
            listener: TcpListener::bind("127.0.0.1:0").expect("listener"),
            redis: Redis::start(&[]),
        }
    }

    pub(crate) fn call(&self, arguments: &[&str]) -> Command {
        let address = self.listener.local_addr().expect("address");
        let mut command = self.place.runner();
        command
            .args(arguments)
            .env("LISTENER", format!("http://{address}"))
            .env("REDIS_URL", &self.redis.address)
            .env("K6_BIN", k6());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Command {
        let mut command = self.call(&["run", SUITE]);
        command.args(arguments);
        command
    }

    /// The folder of the only plan.
    pub(crate) fn plan(&self) -> PathBuf {
        let found: Vec<_> = std::fs::read_dir(self.place.evidence())
            .expect("evidence")
            .map(|entry| entry.expect("entry").path())
            .collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].clone()
    }

    /// Verdicts by folder of the run below that of the plan.
    pub(crate) fn verdicts(&self) -> BTreeMap<String, String> {
        let plan = self.plan();
        files(&plan)
            .into_iter()
            .filter(|path| path.ends_with("verdict.json"))
            .map(|path| {
                let folder = path.parent().expect("folder").strip_prefix(&plan);
                let name = folder.expect("below").display().to_string();
                (name, text_of(&json(&path), "verdict"))
            })
            .collect()
    }
}

pub(crate) fn text_of(value: &Json, name: &str) -> String {
    value[name].as_str().expect(name).to_owned()
}

pub(crate) fn background(mut command: Command) -> (Child, impl Iterator<Item = String>) {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the runner starts");
    let lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    (child, lines.map_while(Result::ok))
}

pub(crate) fn until(lines: &mut impl Iterator<Item = String>, begin: &str) {
    let mut seen = Vec::new();
    for line in lines {
        if line.starts_with(begin) {
            return;
        }
        seen.push(line);
    }
    panic!("no line begins with `{begin}`: {seen:#?}");
}

pub(crate) fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("signal");
}

/// A copy of the suite with its script, some of its text replaced.
pub(crate) fn copy(bench: &Bench, edits: &[(&str, &str)]) -> PathBuf {
    let project = bench.place.evidence().with_file_name("project");
    let suites = project.join("suites");
    std::fs::create_dir_all(&suites).expect("folders");
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::fs::copy(fixtures.join("probe.js"), project.join("probe.js")).expect("copied");
    let mut suite = text(Path::new(SUITE));
    for (from, to) in edits {
        assert!(suite.contains(from), "{from}");
        suite = suite.replace(from, to);
    }
    let path = suites.join("matrix.toml");
    std::fs::write(&path, suite).expect("written");
    path
}

/// Titles of the runs in a dry run, without their times.
pub(crate) fn titles(printed: &str) -> Vec<String> {
    printed
        .lines()
        .filter_map(|line| {
            let (number, title) = line.trim_start().split_once(". ")?;
            number.parse::<usize>().ok()?;
            Some(title.split("  (").next().unwrap_or(title).to_owned())
        })
        .collect()
}
