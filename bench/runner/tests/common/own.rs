//! A suite of the test's own with a harness of its own, and a listener that stands for a target.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use super::{Place, finish, k6, root};

/// A harness that lasts as long as `SECONDS` says and does nothing.
pub(crate) const SLEEPS: &str = r#"
import { sleep } from 'k6';
export const options = { vus: 1, iterations: 1 };
export default function () { sleep(Number(__ENV.SECONDS)); }
export function handleSummary(data) {
  return { 'summary.json': JSON.stringify(data) };
}
"#;

/// What every such suite begins with; the rest begins in line 23.
const HEAD: &str = r#"[suite]
schema = 2
id = "own"
title = "Own"
order = ["main"]
allow_hosts = ["127.0.0.1"]
needs = ["k6"]

[env.LISTENER]
type = "url"
role = "place"
[env.BASE_URL]
type = "url"
role = "place"
[env.EVIDENCE_ROOT]
type = "string"
role = "place"

[evidence]
root = "${EVIDENCE_ROOT}"
folder = "{timestamp}/{scenario}"

"#;

/// Lines of [`HEAD`].
pub(crate) const LINES: usize = 22;

/// A target that a person started.
pub(crate) const EXTERNAL: &str = r#"
[[target]]
id = "listener"
kind = "external"
ready = { tcp = "${BASE_URL}", every = "20ms", limit = "2s" }
"#;

pub(crate) struct Own {
    pub(crate) place: Place,
    pub(crate) folder: PathBuf,
    listener: TcpListener,
}

impl Own {
    /// With this suite, but for its head, and this harness, in which `LIB` is the folder `js/lib`.
    pub(crate) fn new(suite: &str, harness: &str) -> Self {
        let place = Place::new();
        let folder = place.evidence().with_file_name("own");
        std::fs::create_dir(&folder).expect("a folder");
        let own = Self {
            place,
            folder,
            listener: TcpListener::bind("127.0.0.1:0").expect("listener"),
        };
        own.write("suite.toml", &format!("{HEAD}{suite}"));
        let lib = root().join("js/lib").display().to_string();
        own.write("run.js", &harness.replace("LIB", &lib));
        own
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join(name), text).expect("written");
    }

    /// Says something of the suite in another way.
    pub(crate) fn edit(&self, old: &str, new: &str) {
        let suite = super::text(&self.folder.join("suite.toml"));
        assert!(suite.contains(old), "{old}");
        self.write("suite.toml", &suite.replace(old, new));
    }

    /// Where something listens.
    pub(crate) fn address(&self) -> String {
        let address = self.listener.local_addr().expect("address");
        format!("http://{address}")
    }

    /// The runner, with the suite after its verb.
    pub(crate) fn call(&self, verb: &str, more: &[&str]) -> Command {
        let mut command = self.place.runner();
        command
            .arg(verb)
            .arg(self.folder.join("suite.toml"))
            .args(more)
            .env("LISTENER", self.address())
            .env("K6_BIN", k6());
        command
    }

    /// The same at the target that a person started, to its end.
    pub(crate) fn at_listener(&self, verb: &str, more: &[&str]) -> (i32, String) {
        finish(self.call(verb, more).env("BASE_URL", self.address()))
    }
}
