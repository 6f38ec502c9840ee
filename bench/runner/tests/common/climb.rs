//! A suite with one ladder, at a service that gives way from a known rate on.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value as Json;

use super::own::{EXTERNAL, Own};
use super::{files, finish, json, k6, text};

const HARNESS: &str = r#"
import http from 'k6/http';
import { declared } from 'LIB/load.js';

export const options = { scenarios: declared({}) };

let broken = '';
try {
  broken = open(`${__ENV.FLAGS}/broken-${__ENV.RPS}`);
} catch {
  // There is no such file.
}

export function setup() {
  if (broken !== '') throw new Error('not today');
}

export default function () {
  http.get(`${__ENV.BASE_URL}/?rate=${__ENV.RPS}`, { timeout: '60s' });
}

export function handleSummary(data) {
  return { 'summary.json': JSON.stringify(data) };
}
"#;

/// How a service gives way.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    /// It refuses.
    Refuses,
    /// It answers after three seconds.
    Waits,
    /// It takes connections and answers nobody any more, not even who asks whether it is well.
    LocksUp,
}

/// A service that gives way to requests that say they come at a rate from `from` on.
pub(crate) fn service(from: u32, way: Way) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address");
    let locked = AtomicBool::new(false);
    let serve = move |mut stream: TcpStream| {
        let mut lines = BufReader::new(stream.try_clone().expect("a stream")).lines();
        let first = lines.next()?.ok()?;
        let _ = lines.find(|line| line.as_ref().is_ok_and(String::is_empty));
        let rate = first.split_once("rate=").map_or("0", |(_, rest)| rest);
        let rate: u32 = rate.split(' ').next()?.parse().ok()?;
        if matches!(way, Way::LocksUp) && rate >= from {
            locked.store(true, Ordering::Relaxed);
        }
        if locked.load(Ordering::Relaxed) {
            // Nobody hangs up first.
            let mut rest = Vec::new();
            return stream.read_to_end(&mut rest).ok().map(drop);
        }
        let status = match way {
            Way::Refuses if rate >= from => "503 Service Unavailable",
            Way::Waits if rate >= from => {
                thread::sleep(Duration::from_secs(3));
                "200 OK"
            }
            _ => "200 OK",
        };
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(answer.as_bytes()).ok()
    };
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream));
        }
    });
    format!("http://{address}")
}

/// A suite with one ladder, or with what stands in its place.
pub(crate) struct Climb {
    pub(crate) own: Own,
    pub(crate) address: String,
}

const LADDER: &str = r#"
[env.RPS]
type = "int"
default = 1
[env.FLAGS]
type = "string"
role = "place"

[[scenario]]
id = "main"
script = "run.js"
plan = "ladder"
axis = [{ env = "RPS", levels = [2, 4, 8, 16] }]
window = "1s"
load = [{ name = "api", executor = "constant-arrival-rate", rate = "${RPS}", pre_vus = 20 }]

[[gate]]
id = "errors"
class = "slo"
metric = "http_req_failed"
stat = "rate"
op = "<"
limit = 0.01
"#;

impl Climb {
    pub(crate) fn new(from: u32, way: Way, edits: &[(&str, &str)]) -> Self {
        let mut ladder = LADDER.to_owned();
        for (old, new) in edits {
            assert!(ladder.contains(old), "{old}");
            ladder = ladder.replace(old, new);
        }
        let own = Own::new(&format!("{EXTERNAL}{ladder}"), HARNESS);
        let suite = text(&own.folder.join("suite.toml"));
        let suite = suite.replace("{scenario}\"", "{scenario}/${RPS}\"");
        own.write("suite.toml", &suite);
        let address = service(from, way);
        Self { own, address }
    }

    pub(crate) fn run(&self, more: &[&str]) -> (i32, String) {
        let mut call = self.own.call("run", more);
        finish(
            call.env("BASE_URL", &self.address)
                .env("FLAGS", &self.own.folder),
        )
    }

    /// The same verb at the plan that there is.
    pub(crate) fn at_plan(&self, verb: &str) -> (i32, String) {
        let mut call = self.own.place.runner();
        call.arg(verb).arg(self.plan());
        finish(call.env("K6_BIN", k6()))
    }

    /// The folder of the only plan.
    pub(crate) fn plan(&self) -> PathBuf {
        let found = files(&self.own.place.evidence());
        let plan = found.iter().find(|path| path.ends_with("plan.json"));
        plan.and_then(|path| path.parent())
            .expect("a plan")
            .to_owned()
    }

    pub(crate) fn ladder(&self) -> Json {
        json(&self.plan().join("ladders.json"))["ladders"][0].clone()
    }

    /// Each level's verdict, and those of its runs.
    pub(crate) fn levels(&self) -> Vec<String> {
        let ladder = self.ladder();
        let levels = ladder["levels"].as_array().expect("levels").iter();
        let words = |value: &Json| value.as_str().expect("a text").to_owned();
        let levels = levels.map(|level| {
            let runs = level["runs"].as_array().expect("runs").iter();
            let runs: Vec<String> = runs.map(|run| words(&run["verdict"])).collect();
            let line = format!(
                "{} {}: {}",
                words(&level["point"]["RPS"]),
                words(&level["verdict"]),
                runs.join(" ")
            );
            line.trim().to_owned()
        });
        levels.collect()
    }

    /// The folders of runs below the plan's, those of later attempts included.
    pub(crate) fn folders(&self) -> Vec<String> {
        let plan = self.plan();
        let found = files(&plan).into_iter();
        let metas = found.filter(|path| path.ends_with("meta.json"));
        let below = |path: PathBuf| {
            let folder = path.parent().and_then(|path| path.strip_prefix(&plan).ok());
            folder.unwrap_or(Path::new("")).display().to_string()
        };
        let mut folders: Vec<String> = metas.map(below).collect();
        folders.sort();
        folders
    }
}
