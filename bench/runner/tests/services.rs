//! Several services in one run: their order, where they listen, and that none is left.

mod common;

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Child;

use common::bench::{background, signal, until};
use common::own::{LINES, Own};
use common::{files, finish, json, pause, text};
use rustix::process::{Pid, Signal, kill_process};

/// It tells what addresses it got, and hangs if it is to.
const HARNESS: &str = r#"
import { sleep } from 'k6';
import http from 'k6/http';

export const options = { vus: 1, iterations: 1 };

export default function () {
  console.log(`addresses ${__ENV.BASE_URL} ${__ENV.WS_URL} ${__ENV.AUTH_URL} ${__ENV.MORE_URL}`);
  if (__ENV.DO === 'hang') {
    sleep(600);
  }
  if (__ENV.DO === 'ask') {
    // It ends when nobody listens any more.
    http.get(__ENV.STORE_URL, { timeout: '600s' });
  }
}

export function handleSummary(data) {
  return { 'summary.json': JSON.stringify(data) };
}
"#;

/// Each program writes to a journal that it begins and ends, with its process, and what it was told.
const SUITE: &str = r#"
[env.WS_URL]
type = "url"
role = "place"
[env.AUTH_URL]
type = "url"
role = "place"
[env.MORE_URL]
type = "url"
role = "place"
[env.JOURNAL]
type = "path"
role = "place"
[env.STORE_URL]
type = "url"
role = "place"
[env.DO]
type = "string"
[env.SECOND]
type = "string"
default = "serve"

# Under test, though it stands first.
[[target]]
id = "app"
kind = "process"
start = ["sh", "${JOURNAL}.sh", "app", "{port_file}", "{stream_port_file}", "knows ${AUTH_URL}"]
ports = ["stream", "more"]
addresses = { WS_URL = "ws://{stream}/chat", MORE_URL = "http://{more}" }
ready = { tcp = "http://{stream}", every = "10ms", limit = "30s" }

[[target]]
id = "auth"
kind = "process"
role = "service"
start = ["sh", "${JOURNAL}.sh", "auth", "{port_file}"]
addresses = { AUTH_URL = "{address}/auth" }
ready = { tcp = "{address}", every = "10ms", limit = "30s" }

[[target]]
id = "store"
kind = "process"
role = "service"
start = ["sh", "${JOURNAL}.sh", "store", "{port_file}", "${SECOND}"]
ready = { tcp = "${STORE_URL}", every = "10ms", limit = "30s" }

[[meta]]
id = "wsUrl"
value = "WS_URL"

[[monitor]]
id = "processes"
kind = "process"
of = ["k6", "target", "auth", "store"]
every = "50ms"

[[scenario]]
id = "main"
script = "run.js"
limit = "120s"
"#;

/// Writes to the journal, tells where it listens, and stays.
const PROGRAM: &str = r#"
name=$1
echo "begins $name $$ $4" >> "$JOURNAL"
trap 'echo "ends $name" >> "$JOURNAL"; exit 0' TERM
[ "$3" = fail ] && echo "$name has no room" && exit 7
if [ "$3" = wait ]; then echo "$name is slow"; while :; do sleep 0.02; done; fi
# One further place in a file of its own, one in a line of the first.
[ "$name" = app ] && echo "$LISTENER" > "$3"
printf '%s\nmore %s/\n' "$LISTENER" "$LISTENER" > "$2"
while :; do sleep 0.02; done
"#;

struct Services {
    own: Own,
    journal: PathBuf,
}

impl Services {
    fn new() -> Self {
        let own = Own::new(SUITE, HARNESS);
        own.write("journal.sh", PROGRAM);
        let journal = own.folder.join("journal");
        Self { own, journal }
    }

    fn command(&self, set: &[&str]) -> std::process::Command {
        let mut command = self.own.call("run", &[]);
        for name in set {
            command.args(["--set", name]);
        }
        command
            .env("JOURNAL", &self.journal)
            .env("STORE_URL", self.own.address());
        command
    }

    /// Starts a run whose store is asked at the listener of the test, and waits until k6 is at work.
    fn with_a_store_elsewhere(&self) -> (TcpListener, Child, impl Iterator<Item = String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
        let address = format!("http://{}", listener.local_addr().expect("address"));
        let mut command = self.command(&["DO=ask"]);
        command.env("STORE_URL", &address);
        let (child, mut lines) = background(command);
        until(&mut lines, "time=");
        (listener, child, lines)
    }

    /// Why the run was invalid.
    fn invalid(&self) -> String {
        let folder = self.own.place.run_folder("main");
        let verdict = json(&folder.join("verdict.json"));
        assert_eq!(verdict["verdict"], "INVALID");
        let reasons = verdict["reasons"].to_string();
        assert!(reasons.contains("target-healthy"), "{reasons}");
        reasons
    }

    /// What began and ended, and that no process of it is left.
    fn told(&self) -> Vec<String> {
        let journal = text(&self.journal);
        let told = journal.lines().map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["begins", name, id, ..] = words.as_slice() {
                let there = std::fs::read_to_string(format!("/proc/{id}/cmdline"));
                let own = there.is_ok_and(|line| line.contains("journal.sh"));
                assert!(!own, "{name} is left, process {id}");
            }
            words[..2].join(" ")
        });
        told.collect()
    }
}

const WHOLE: [&str; 6] = [
    "begins auth",
    "begins store",
    "begins app",
    "ends app",
    "ends store",
    "ends auth",
];

#[test]
fn services_start_in_order_before_the_target_and_end_in_reverse() {
    let services = Services::new();
    let (code, printed) = finish(&mut services.command(&[]));
    assert_eq!(code, 0, "{printed}");
    assert_eq!(services.told(), WHOLE);

    let address = services.own.address();
    let host = address.trim_start_matches("http://");
    let folder = services.own.place.run_folder("main");
    let told = format!("addresses {address} ws://{host}/chat {address}/auth {address}");
    let stdout = text(&folder.join("stdout.txt"));
    assert!(stdout.contains(&told), "{told}: {stdout}");
    // Each is told where those before it listen.
    let knows = format!("knows {address}/auth");
    assert!(text(&services.journal).contains(&knows), "{knows}");
    let meta = json(&folder.join("meta.json"));
    assert_eq!(meta["wsUrl"], format!("ws://{host}/chat").as_str());
    let ids = meta["services"].as_array().expect("services");
    let ids: Vec<_> = ids.iter().map(|service| service["id"].clone()).collect();
    assert_eq!(ids, ["auth", "store"]);
    assert!(
        meta["services"][0]["sha256"]
            .as_str()
            .is_some_and(|hash| hash.len() == 64)
    );
    for log in ["auth.log", "store.log", "app.log"] {
        assert!(folder.join(log).is_file(), "{log}");
    }
    let samples = text(&folder.join("monitor-processes.jsonl"));
    for name in ["\"auth\"", "\"store\"", "\"target\""] {
        assert!(samples.contains(name), "{name}: {samples}");
    }
    for line in ["target   auth at ", "target   app at "] {
        assert!(printed.contains(&format!("{line}{address}\n")), "{printed}");
    }
    let (code, printed) = finish(services.command(&[]).arg("--dry-run"));
    assert!(
        code == 0 && printed.contains("     services  auth, store\n     target    app\n"),
        "{printed}"
    );
}

#[test]
fn where_one_does_not_start_those_before_it_end() {
    let services = Services::new();
    // Nobody listens there.
    let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
    let address = format!("http://{}", listener.local_addr().expect("address"));
    drop(listener);
    let mut command = services.command(&["SECOND=fail"]);
    let (code, printed) = finish(command.env("STORE_URL", address));
    assert!(
        code == 2
            && printed.contains("target store ended during its start")
            && printed.contains("store has no room"),
        "{printed}"
    );
    assert_eq!(
        services.told(),
        ["begins auth", "begins store", "ends auth"]
    );
    let folder = services.own.place.run_folder("main");
    assert_eq!(json(&folder.join("verdict.json"))["verdict"], "NOT_RUN");
    assert_eq!(text(&folder.join("store.log")), "store has no room\n");
    assert!(!folder.join("store.log.partial").exists());
    assert!(services.own.place.left_over().is_empty());
}

#[test]
fn limits_are_recorded_and_one_that_is_not_as_declared_labels_the_run() {
    let services = Services::new();
    let suite = text(&services.own.folder.join("suite.toml"));
    let of = |id: &str, limits: &str| {
        let line = format!("id = \"{id}\"\nkind = \"process\"\n");
        (line.clone(), format!("{line}limits = {limits}\n"))
    };
    let whole = of("auth", "{ cpu = \"100%\", memory = \"512M\" }");
    let half = of("app", "{ cpu = \"50%\" }");
    let limited = suite
        .replacen(&whole.0, &whole.1, 1)
        .replacen(&half.0, &half.1, 1);
    services.own.write("suite.toml", &limited);
    let (code, printed) = finish(&mut services.command(&[]));
    assert_eq!(code, 0, "{printed}");
    let folder = services.own.place.run_folder("main");
    let limits = &json(&folder.join("meta.json"))["targetLimits"];
    let auth = &limits["auth"];
    assert_eq!(
        (&auth["cpuPercent"], &auth["memoryBytes"]),
        (&100.into(), &536_870_912.into())
    );
    assert_eq!(
        limits.as_object().map(serde_json::Map::len),
        Some(2),
        "{limits}"
    );
    // What a machine can apply differs; what it could not is said wherever the run is looked at.
    let by_group = limits["app"]["cpuBy"] == "control group";
    let label = "target app: 50 % of a processor was not applied as declared: 1 whole processor";
    let warnings = json(&folder.join("verdict.json"))["warnings"].to_string();
    for told in [&printed, &warnings] {
        assert_eq!(told.contains(label), !by_group, "{limits} {told}");
        assert!(!told.contains("target auth"), "{told}");
    }
    for (limits, expected) in [
        (
            "{ cpu = \"half\" }",
            "`cpu`: received `half`; allowed: percent of one processor",
        ),
        (
            "{ memory = \"512\" }",
            "`memory`: received `512`; allowed: a whole number with the unit",
        ),
        ("{ disk = \"1G\" }", "unknown key `disk`"),
    ] {
        let (from, to) = of("app", limits);
        services
            .own
            .write("suite.toml", &suite.replacen(&from, &to, 1));
        let (code, printed) = finish(&mut services.own.call("validate", &[]));
        assert!(
            code == 2 && printed.contains(expected),
            "{expected}: {printed}"
        );
    }
}

#[test]
fn an_interrupt_during_the_start_of_one_keeps_what_it_said() {
    let services = Services::new();
    let (mut child, lines) = background(services.command(&["SECOND=wait"]));
    let folder = loop {
        assert!(child.try_wait().expect("state").is_none(), "it waits");
        let evidence = services.own.place.evidence();
        let there = if evidence.exists() {
            files(&evidence)
        } else {
            Vec::new()
        };
        let begun = there
            .into_iter()
            .find(|path| path.ends_with("store.log.partial") && text(path) == "store is slow\n");
        match begun {
            Some(path) => break path.parent().expect("a folder").to_owned(),
            None => pause(),
        }
    };
    signal(&child, Signal::INT);
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().expect("end").code(), Some(4), "{rest:?}");
    // The shell may add how its own programs ended.
    assert!(text(&folder.join("store.log")).starts_with("store is slow\n"));
    assert!(!folder.join("store.log.partial").exists());
    let manifest = text(&folder.join("SHA256SUMS"));
    assert!(manifest.contains(" store.log\n"), "{manifest}");
    let mut told = services.told();
    told.sort();
    assert_eq!(
        told,
        ["begins auth", "begins store", "ends auth", "ends store"]
    );
}

#[test]
fn an_interrupt_leaves_none_of_them() {
    let services = Services::new();
    let (mut child, mut lines) = background(services.command(&["DO=hang"]));
    until(&mut lines, "time=");
    signal(&child, Signal::INT);
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().expect("end").code(), Some(4), "{rest:?}");
    assert_eq!(services.told(), WHOLE);
    assert!(services.own.place.left_over().is_empty());
}

#[test]
fn a_service_that_listens_where_the_suite_says_need_not_tell_it() {
    let services = Services::new();
    let suite = text(&services.own.folder.join("suite.toml"));
    let silent = suite.replace("\"store\", \"{port_file}\"", "\"store\", \"/dev/null\"");
    assert_ne!(silent, suite);
    services.own.write("suite.toml", &silent);
    let (code, printed) = finish(&mut services.command(&[]));
    assert_eq!(code, 0, "{printed}");
    let told = format!("target   store at {}\n", services.own.address());
    assert!(printed.contains(&told), "{printed}");
    let mut told = services.told();
    told.sort();
    let mut whole = WHOLE;
    whole.sort_unstable();
    assert_eq!(told, whole);
}

#[test]
fn a_service_that_goes_away_makes_the_run_invalid_and_is_named() {
    let services = Services::new();
    let (listener, mut child, lines) = services.with_a_store_elsewhere();
    drop(listener);
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().expect("end").code(), Some(3), "{rest:?}");
    let reasons = services.invalid();
    assert!(reasons.contains("store: connecting to "), "{reasons}");
    assert_eq!(services.told(), WHOLE);
}

#[test]
fn a_program_that_ends_during_the_run_is_told_with_its_status() {
    let services = Services::new();
    // Whoever else answers there is not the program.
    let (listener, mut child, lines) = services.with_a_store_elsewhere();
    let journal = text(&services.journal);
    let begun = journal
        .lines()
        .find_map(|line| line.strip_prefix("begins auth "));
    let id = begun.and_then(|rest| rest.split(' ').next()?.parse().ok());
    let auth = Pid::from_raw(id.expect("an id")).expect("a process");
    kill_process(auth, Signal::KILL).expect("killed");
    drop(listener);
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().expect("end").code(), Some(3), "{rest:?}");
    let reasons = services.invalid();
    assert!(
        reasons.contains("auth: its program has ended (signal: 9"),
        "{reasons}"
    );
}

#[test]
fn an_address_is_refused_where_the_runner_starts_what_listens_there() {
    let services = Services::new();
    for name in ["WS_URL", "AUTH_URL", "BASE_URL"] {
        let (code, printed) =
            finish(&mut services.command(&[&format!("{name}=http://127.0.0.1:1")]));
        let expected =
            format!("{name}=http://127.0.0.1:1 is given, and the runner starts the target ");
        assert!(code == 2 && printed.contains(&expected), "{printed}");
    }
    assert!(!services.journal.exists());
}

#[test]
fn mistakes_in_services_are_located() {
    for (from, to, expected) in [
        (
            "ports = [\"stream\", \"more\"]",
            "ports = [\"Stream\", \"more\"]",
            "`Stream`: a port has a lower-case name",
        ),
        (
            "addresses = { WS_URL = \"ws://{stream}/chat\",",
            "addresses = { WS_URL = \"ws://{streams}/chat\",",
            "no run value `{streams}` here, did you mean `stream`?",
        ),
        (
            "addresses = { WS_URL = \"ws://{stream}/chat\",",
            "addresses = { W_URL = \"ws://{stream}/chat\",",
            "no table [env.W_URL], did you mean `WS_URL`?",
        ),
        (
            "role = \"service\"",
            "role = \"services\"",
            "`services` is not known here, did you mean `service`?",
        ),
        (
            "role = \"service\"",
            "role = \"service\"\nvariant = \"a\"",
            "`variant` belongs to a target under test; a service has none",
        ),
        (
            "of = [\"k6\", \"target\", \"auth\", \"store\"]",
            "of = [\"k6\", \"target\", \"auth\", \"stores\"]",
            "no process `stores`, did you mean `store`?; allowed: k6, target, redis, postgres, auth, store",
        ),
    ] {
        let suite = SUITE.replacen(from, to, 1);
        let own = Own::new(&suite, HARNESS);
        let at = suite.find(to).expect("the text");
        // Where a line was added, the mistake is in that.
        let added = to.matches('\n').count();
        let line = LINES + suite[..at].matches('\n').count() + 1 + added;
        let (code, printed) = finish(&mut own.call("validate", &[]));
        let expected = format!("suite.toml:{line}: {expected}");
        let shown = printed.replace("`role`: ", "");
        assert!(
            code == 2 && shown.contains(&expected),
            "{expected}\n{printed}"
        );
    }
    for (from, to, expected) in [
        (
            "id = \"store\"",
            "id = \"auth\"",
            "target auth is there a second time",
        ),
        (
            "id = \"store\"",
            "id = \"redis\"",
            "target redis is a service, and monitors call something else so",
        ),
    ] {
        let suite = SUITE.replacen(from, to, 1).replace(", \"store\"]", "]");
        let own = Own::new(&suite, HARNESS);
        let (code, printed) = finish(&mut own.call("validate", &[]));
        assert!(
            code == 2 && printed.contains(expected),
            "{expected}\n{printed}"
        );
    }
}
