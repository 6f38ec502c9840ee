//! Targets in containers. No container engine runs where tests do: a program in its place records how it is called, and says
//! that what a container publishes is at the listener of the test. That the calls are right is thereby known, that an engine
//! does what they ask is not.

mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use common::bench::{background, signal, until};
use common::own::{LINES, Own};
use common::{finish, json, text, wait};
use rustix::process::Signal;

const HARNESS: &str = r#"
import { sleep } from 'k6';

export const options = { vus: 1, iterations: 1 };

export default function () {
  console.log(`addresses ${__ENV.BASE_URL} ${__ENV.WS_URL}`);
  if (__ENV.DO === 'hang') {
    sleep(600);
  }
}

export function handleSummary(data) {
  return { 'summary.json': JSON.stringify(data) };
}
"#;

const SUITE: &str = r#"
[env.WS_URL]
type = "url"
role = "place"
[env.DO]
type = "string"

[[target]]
id = "chat"
kind = "compose"
compose = { file = "compose.yaml", service = "chat", port = 4000, ports = { stream = 8080 } }
addresses = { WS_URL = "ws://{stream}/chat" }
ready = { tcp = "{address}", every = "10ms", limit = "30s" }

[[monitor]]
id = "processes"
kind = "process"
of = ["k6", "target"]
every = "50ms"

[[scenario]]
id = "main"
script = "run.js"
limit = "120s"
"#;

const COMPOSE: &str = r#"
services:
  chat:
    image: example.org/chat:1.2
    ports: ["127.0.0.1::4000", "127.0.0.1::8080"]
"#;

/// Its calls go to the journal, without the words that are the same in all; `up` stays until it is asked to end.
const ENGINE: &str = r#"#!/bin/sh
here=${0%/*}
echo "$*" >> "$here/journal"
[ "$1 $2" = "compose version" ] && exit 0
[ "$1" = info ] && exit 0
shift 5
case $1 in
up)
  echo "chat is up with DO=$DO and $COMPOSE_FILE"
  [ ! -e "$here/broken" ] || { echo "no such image"; exit 7; }
  touch "$here/up"
  trap 'echo stopped >> "$here/journal"; exit 0' TERM
  exec 2>/dev/null
  while :; do sleep 0.02; done ;;
port)
  [ -e "$here/up" ] || exit 1
  cat "$here/address" ;;
down) [ ! -e "$here/stuck" ] || exit 9 ;;
esac
"#;

struct Boxed {
    own: Own,
    engines: PathBuf,
}

impl Boxed {
    fn new() -> Self {
        let own = Own::new(SUITE, HARNESS);
        own.write("compose.yaml", COMPOSE);
        let engines = own.folder.join("engines");
        std::fs::create_dir(&engines).expect("a folder");
        let boxed = Self { own, engines };
        boxed.engine("docker", ENGINE);
        let address = boxed.own.address().replace("http://", "");
        boxed.write("address", &address);
        boxed
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.engines.join(name), text).expect("written");
    }

    fn engine(&self, name: &str, script: &str) {
        self.write(name, script);
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.engines.join(name), executable).expect("executable");
    }

    fn call(&self, verb: &str) -> std::process::Command {
        let path = std::env::var("PATH").expect("a path");
        let mut command = self.own.call(verb, &[]);
        command
            .env("PATH", format!("{}:{path}", self.engines.display()))
            // Of the person who calls: it would start something else.
            .env("COMPOSE_FILE", "elsewhere.yaml");
        command
    }

    /// The calls of the engine, without its own version and state.
    fn calls(&self) -> Vec<String> {
        let journal = std::fs::read_to_string(self.engines.join("journal")).unwrap_or_default();
        let calls = journal.lines().map(str::to_owned);
        calls
            .filter(|call| call != "compose version" && call != "info")
            .collect()
    }

    /// The calls, each without what begins all of them: the project, which is one, and the file.
    fn words(&self) -> Vec<String> {
        let file = self.own.folder.join("compose.yaml");
        let file = std::fs::canonicalize(file).expect("the compose file");
        let calls = self.calls();
        let project = calls.iter().find_map(|call| {
            call.split(' ')
                .find(|word| word.starts_with("barrier-bench-"))
        });
        let project = project.expect("a project").to_owned();
        let head = format!(
            "compose --project-name {project} --file {} ",
            file.display()
        );
        // How often it is asked until it answers is its own affair, and the first time may be before the start is noted.
        let mut words: Vec<String> = calls
            .iter()
            .map(|call| call.strip_prefix(&head).unwrap_or(call).to_owned())
            .skip_while(|call| call.starts_with("port "))
            .collect();
        words.dedup();
        words
    }

    fn run_folder(&self) -> PathBuf {
        self.own.place.run_folder("main")
    }
}

fn lacks(folder: &Path, name: &str) -> bool {
    !folder.join(name).exists()
}

#[test]
fn a_service_is_started_reached_and_removed() {
    let boxed = Boxed::new();
    let (code, said) = finish(boxed.call("run").env("DO", "nothing"));
    assert_eq!(code, 0, "{said}");
    assert_eq!(
        boxed.words(),
        [
            "up chat",
            "port chat 4000",
            "port chat 8080",
            "stopped",
            "down --volumes --timeout 5"
        ]
    );
    let folder = boxed.run_folder();
    let address = boxed.own.address();
    let streams = address.replace("http", "ws");
    assert!(
        text(&folder.join("stdout.txt")).contains(&format!("addresses {address} {streams}/chat")),
        "the harness knows where it is"
    );
    assert_eq!(
        text(&folder.join("chat.log")),
        "chat is up with DO=nothing and \n",
        "it gets the suite's variables, and no settings of the caller's"
    );
    let meta = json(&folder.join("meta.json"));
    assert!(
        meta.to_string().contains("compose.yaml"),
        "what was started is kept: {meta}"
    );
}

#[test]
fn what_does_not_start_is_quoted_and_removed() {
    let boxed = Boxed::new();
    boxed.write("broken", "");
    let (code, said) = finish(&mut boxed.call("run"));
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains("target chat ended during its start"),
        "{said}"
    );
    assert!(said.contains("no such image"), "{said}");
    let words = boxed.words();
    assert_eq!(words.first().map(String::as_str), Some("up chat"));
    assert_eq!(
        words.last().map(String::as_str),
        Some("down --volumes --timeout 5")
    );
}

#[test]
fn an_interrupted_run_leaves_no_containers() {
    let boxed = Boxed::new();
    let mut call = boxed.call("run");
    call.env("DO", "hang");
    let (child, mut lines) = background(call);
    until(&mut lines, "time=");
    signal(&child, Signal::INT);
    lines.for_each(drop);
    let (code, said) = wait(child);
    assert_eq!(code, 4, "{said}");
    assert!(
        boxed
            .words()
            .ends_with(&["down --volumes --timeout 5".to_owned()])
    );
}

#[test]
fn containers_that_stay_are_told_with_the_remedy() {
    let boxed = Boxed::new();
    boxed.write("stuck", "");
    let (code, said) = finish(&mut boxed.call("run"));
    assert_eq!(code, 0, "{said}");
    let log = text(&boxed.run_folder().join("chat.log"));
    assert!(
        log.contains("do it by hand: ") && log.contains(" down --volumes"),
        "{log}"
    );
}

#[test]
fn without_an_engine_each_one_is_named_with_what_it_lacks() {
    let boxed = Boxed::new();
    boxed.engine("docker", "#!/bin/sh\n[ \"$1\" != info ]\n");
    for verb in ["run", "doctor"] {
        let (code, said) = finish(boxed.call(verb).env("PATH", &boxed.engines));
        assert_eq!(code, 2, "{said}");
        for expected in [
            "target chat needs a container engine",
            "docker info`: exit status: 1",
            "podman is not on the path",
            "kind `process`",
        ] {
            assert!(said.contains(expected), "{verb}: {expected}: {said}");
        }
    }
    assert!(lacks(&boxed.engines, "up"), "nothing was started");
}

#[test]
fn validate_looks_into_the_compose_file_without_an_engine() {
    let boxed = Boxed::new();
    let validate = || finish(boxed.call("validate").env("PATH", "/nonexistent"));
    let (code, said) = validate();
    assert_eq!(code, 0, "{said}");
    for (from, to, expected) in [
        (
            "127.0.0.1::4000",
            "4000:4000",
            "`4000:4000` is open to others",
        ),
        ("chat:1.2", "chat", "may be another one tomorrow"),
        ("  chat:", "  talk:", "no service `chat`; allowed: talk"),
    ] {
        boxed.own.write("compose.yaml", &COMPOSE.replace(from, to));
        let (code, said) = validate();
        assert_eq!(code, 2, "{said}");
        let line = format!("suite.toml:{}: ", LINES + 11);
        assert!(
            said.contains(&line) && said.contains("compose.yaml: ") && said.contains(expected),
            "{expected}: {said}"
        );
    }
    std::fs::remove_file(boxed.own.folder.join("compose.yaml")).expect("removed");
    let (code, said) = validate();
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("it cannot be read"), "{said}");
    assert!(boxed.calls().is_empty(), "no engine was asked");
}

#[test]
fn the_projects_own_file_will_do() {
    let boxed = Boxed::new();
    let own = text(&common::root().join("compose.yaml"));
    boxed.own.write("compose.yaml", &own);
    let (code, said) = finish(&mut boxed.call("validate"));
    assert_eq!(code, 0, "{said}");
}

#[test]
fn keys_that_mean_nothing_to_a_container_are_refused() {
    let line = "compose = { file = \"compose.yaml\", service = \"chat\", port = 4000, ports = { stream = 8080 } }";
    for (to, expected) in [
        (
            "",
            "target chat needs `compose`: its file, its service and its port",
        ),
        (
            &format!("{line}\nstart = [\"sh\"]"),
            "`start` belongs to a program",
        ),
        (
            &format!("{line}\nlimits = {{ cpu = \"50%\" }}"),
            "`limits` belongs to a program",
        ),
        (
            &format!("{line}\nfaults = \"--slow\""),
            "`faults` belongs to a program",
        ),
        (
            &line.replace("port = 4000", "prt = 4000"),
            "unknown key `prt`, did you mean `port`?",
        ),
        (
            &line.replace("stream", "address"),
            "`address` has another meaning already",
        ),
    ] {
        let own = Own::new(&SUITE.replace(line, to), HARNESS);
        own.write("compose.yaml", COMPOSE);
        let (code, said) = finish(&mut own.call("validate", &[]));
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let program = SUITE.replace("kind = \"compose\"", "kind = \"process\"\nstart = [\"sh\"]");
    let own = Own::new(&program, HARNESS);
    let (code, said) = finish(&mut own.call("validate", &[]));
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains("only a target of kind `compose` has `compose`"),
        "{said}"
    );
}

#[test]
fn no_other_program_takes_the_place_of_a_container() {
    let boxed = Boxed::new();
    let mut call = boxed.call("run");
    call.args(["--dry-run", "--build", "mine=/bin/sh"]);
    let (code, said) = finish(&mut call);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("chat runs in a container"), "{said}");
}
