//! Values over time as k6's output writes them, with values of the test's choice, and a program in the place of k6 that leaves them.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use serde_json::{Value as Json, json};

use super::{Place, finish, json};

/// When the first second begins, epoch ms.
const BASE_MS: i64 = 1_700_000_000_000;

/// The two files, being written.
pub(crate) struct Recording {
    lines: String,
    histograms: Vec<(String, i64, Histogram<u64>)>,
    known: Vec<(String, Json)>,
}

impl Recording {
    /// `tags`: those that are kept apart.
    pub(crate) fn new(tags: &[&str]) -> Self {
        let head = json!({ "format": "k6-barrier series", "version": 1, "baseMs": BASE_MS, "intervalMs": 1000, "tags": tags });
        Self {
            lines: format!("{head}\n"),
            histograms: Vec::new(),
            known: Vec::new(),
        }
    }

    /// The number of a series, told when it is new.
    fn series(&mut self, metric: &str, kind: &str, tags: &Json) -> usize {
        let key = (metric.to_owned(), tags.clone());
        if let Some(known) = self.known.iter().position(|known| *known == key) {
            return known;
        }
        let number = self.known.len();
        self.known.push(key);
        let line = json!({ "series": number, "metric": metric, "type": kind, "contains": "time", "tags": tags, "scale": 1000 });
        writeln!(self.lines, "{line}").expect("a text");
        number
    }

    fn values(&mut self, series: usize, second: i64, more: &Json) {
        let mut line = json!({ "s": series, "t": BASE_MS + second * 1000 });
        for (key, value) in more.as_object().expect("an object") {
            line[key] = value.clone();
        }
        writeln!(self.lines, "{line}").expect("a text");
    }

    /// Adds samples of a trend to a second.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(crate) fn trend(&mut self, metric: &str, tags: &Json, second: i64, values: &[f64]) {
        let series = self.series(metric, "trend", tags);
        let mut histogram = Histogram::new(3).expect("a histogram");
        for value in values {
            histogram
                .record((value.max(0.0) * 1000.0) as u64)
                .expect("recorded");
        }
        self.histograms
            .push((series.to_string(), second, histogram));
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut more =
            json!({ "n": values.len(), "sum": values.iter().sum::<f64>(), "min": min, "max": max });
        let negative = values.iter().filter(|value| **value < 0.0).count();
        if negative > 0 {
            more["neg"] = json!(negative);
        }
        self.values(series, second, &more);
    }

    pub(crate) fn counter(&mut self, metric: &str, tags: &Json, second: i64, sum: f64) {
        let series = self.series(metric, "counter", tags);
        self.values(series, second, &json!({ "n": 1, "sum": sum }));
    }

    pub(crate) fn rate(&mut self, metric: &str, tags: &Json, second: i64, (of, n): (u32, u32)) {
        let series = self.series(metric, "rate", tags);
        self.values(series, second, &json!({ "n": n, "sum": of }));
    }

    pub(crate) fn gauge(&mut self, metric: &str, second: i64, value: f64) {
        let series = self.series(metric, "gauge", &json!({}));
        let more = json!({ "n": 1, "sum": value, "min": value, "max": value, "last": value });
        self.values(series, second, &more);
    }

    /// Says that this is the end.
    pub(crate) fn end(&mut self, dropped: u32) {
        let line = json!({ "end": true, "series": self.known.len(), "droppedSeries": dropped });
        writeln!(self.lines, "{line}").expect("a text");
    }

    fn log(&self) -> Vec<u8> {
        let (mut bytes, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
        let base = std::time::UNIX_EPOCH + Duration::from_millis(BASE_MS.unsigned_abs());
        let mut log = IntervalLogWriterBuilder::new()
            .add_comment("[Histogram log format version 1.3]")
            .with_base_time(base)
            .begin_log_with(&mut bytes, &mut serializer)
            .expect("a log");
        for (series, second, histogram) in &self.histograms {
            let start = Duration::from_secs(second.unsigned_abs());
            log.write_histogram(histogram, start, Duration::from_secs(1), Tag::new(series))
                .expect("written");
        }
        bytes
    }
}

/// A suite with a scenario of its own, and a program in the place of k6.
pub(crate) struct Stage {
    pub(crate) place: Place,
    listener: TcpListener,
    folder: PathBuf,
}

const K6: &str = r#"#!/bin/sh
here=$(dirname "$0")
case $1 in
version) printf 'k6 v2.2.0 (go1.26, linux/amd64)\nExtensions:\n  example.org/series (devel), hdrlog [output]\n'; exit;;
inspect) echo '{}'; exit;;
run) ;;
*) exit 1;;
esac
while [ $# -gt 0 ]; do
  if [ "$1" = --out ]; then out=$2; fi
  shift
done
echo "$out" > "$here/out"
file=${out#hdrlog=}
file=${file%%\?*}
for end in hlog hlog.jsonl; do
  if [ -e "$here/series.$end" ]; then cp "$here/series.$end" "${file%hlog}$end"; fi
done
. "$here/work"
echo '{ "metrics": {} }' > summary.json
exit "$(cat "$here/code")"
"#;

impl Stage {
    /// `tables`: what stands in the suite below its target.
    pub(crate) fn new(tables: &str) -> Self {
        let place = Place::new();
        let folder = place.evidence().with_file_name("stage");
        fs::create_dir(&folder).expect("a folder");
        let stage = Self {
            place,
            listener: TcpListener::bind("127.0.0.1:0").expect("a listener"),
            folder,
        };
        let suite = format!(
            r#"[suite]
schema = 2
id = "stage"
title = "Values over time"
order = ["load"]
allow_hosts = ["127.0.0.1"]
needs = ["k6"]
[env.EVIDENCE_ROOT]
type = "string"
role = "place"
[env.BASE_URL]
type = "url"
role = "place"
[evidence]
root = "${{EVIDENCE_ROOT}}"
folder = "{{timestamp}}/{{scenario}}"
[[target]]
id = "there"
kind = "external"
ready = {{ tcp = "${{BASE_URL}}", every = "10ms", limit = "20s" }}
{tables}"#
        );
        stage.file("suite.toml", &suite);
        stage.file("s.js", "export default function () {}\n");
        stage.file("code", "0\n");
        stage.work("");
        stage.file("k6", K6);
        let program = stage.folder.join("k6");
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).expect("made");
        stage
    }

    pub(crate) fn file(&self, name: &str, text: &str) {
        fs::write(self.folder.join(name), text).expect("written");
    }

    /// What the program in the place of k6 does while it runs; a script for `sh`.
    pub(crate) fn work(&self, script: &str) {
        self.file("work", script);
    }

    /// A file that the program may wait for.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn recorded(&self, recording: &Recording) {
        self.file("series.hlog.jsonl", &recording.lines);
        fs::write(self.folder.join("series.hlog"), recording.log()).expect("written");
    }

    pub(crate) fn call(&self, arguments: &[&str]) -> Command {
        let mut command = self.place.runner();
        let address = self.listener.local_addr().expect("an address");
        command
            .args(arguments)
            .env("BASE_URL", format!("http://{address}"))
            .env("K6_BIN", self.folder.join("k6"));
        command
    }

    pub(crate) fn suite(&self) -> String {
        self.folder.join("suite.toml").display().to_string()
    }

    /// Runs the suite; the exit code, what was printed, and the verdict.
    pub(crate) fn run(&self) -> (i32, String, Verdict) {
        let (code, printed) = finish(&mut self.call(&["run", &self.suite()]));
        let found = self.place.evidence();
        assert!(found.exists(), "{printed}");
        let verdict = json(&self.run_folder().join("verdict.json"));
        (code, printed, Verdict(verdict))
    }

    pub(crate) fn run_folder(&self) -> PathBuf {
        self.place.run_folder("load")
    }

    /// Judges the run again; the exit code, and what was printed.
    pub(crate) fn judge(&self) -> (i32, String) {
        let folder = self.run_folder();
        let plan = folder.parent().expect("the plan").display().to_string();
        finish(&mut self.call(&["judge", &plan]))
    }
}

/// What `verdict.json` says.
pub(crate) struct Verdict(pub(crate) Json);

impl Verdict {
    pub(crate) fn is(&self) -> &str {
        self.0["verdict"].as_str().expect("a verdict")
    }

    pub(crate) fn gate(&self, id: &str) -> &Json {
        let gates = self.0["gates"].as_array().expect("gates");
        let found = gates.iter().find(|gate| gate["id"] == id);
        found.unwrap_or_else(|| panic!("no gate {id}: {:#}", self.0))
    }

    pub(crate) fn text(&self, id: &str) -> &str {
        self.gate(id)["text"].as_str().expect("a text")
    }

    pub(crate) fn reasons(&self) -> Vec<&str> {
        let reasons = self.0["reasons"].as_array().expect("reasons");
        reasons.iter().filter_map(Json::as_str).collect()
    }
}

/// A gate of a suite file.
pub(crate) fn gate(id: &str, keys: &str) -> String {
    format!("[[gate]]\nid = \"{id}\"\nclass = \"slo\"\n{keys}\n")
}

/// Whether a file of that name is there.
pub(crate) fn is_there(folder: &Path, name: &str) -> bool {
    folder.join(name).is_file()
}
