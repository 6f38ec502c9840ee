//! A private PostgreSQL: for runs whose suite needs one and whose user has named none.

mod common;

use std::process::Stdio;

use common::life::{Ends, Stops, all_end, child, children, process_in, verb_in, wait_for};
use common::own::{EXTERNAL, Own};
use common::postgres::{ask_at, holding, psql, start, suite};
use common::{files, finish, json, text};

/// It tells the address so that nothing masks it, and waits for as long as it is told.
const HARNESS: &str = r#"
import { sleep } from 'k6';
export const options = { vus: 1, iterations: 1 };
export default function () {
  console.log(`plainly ${__ENV.DATABASE_URL}`);
  console.log(`backwards<${[...__ENV.DATABASE_URL].reverse().join('')}>`);
  sleep(Number(__ENV.SECONDS));
}
export function handleSummary(data) {
  return { 'summary.json': JSON.stringify(data) };
}
"#;

const SUITE: &str = r#"
[env.SECONDS]
type = "int"
default = 1

[[monitor]]
id = "processes"
kind = "process"
every = "200ms"
of = ["k6", "postgres"]

[[scenario]]
id = "main"
script = "run.js"
limit = "20m"
"#;

fn own() -> Own {
    suite(&format!("{EXTERNAL}{SUITE}"), HARNESS, true)
}

/// The address that a harness has told.
fn told(output: &str) -> Option<String> {
    let (_, rest) = output.split_once("backwards<")?;
    let (backwards, _) = rest.split_once('>')?;
    Some(backwards.chars().rev().collect())
}

#[test]
fn a_run_gets_a_postgres_of_its_own_and_tells_what_it_was() {
    let own = own();
    let (code, printed) = own.at_listener("run", &[]);
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("postgres private 1"), "{printed}");
    let folder = own.place.run_folder("main");
    let stdout = text(&folder.join("stdout.txt"));
    let address = told(&stdout).unwrap_or_else(|| panic!("no address: {stdout}"));
    let (_, rest) = address.split_once("postgres://postgres:").expect("a user");
    let (password, place) = rest.split_once('@').expect("a password");
    assert!(place.starts_with("127.0.0.1:") && place.ends_with("/shop_db"));
    assert_eq!(password.len(), 32);
    assert!(stdout.contains("plainly postgres://postgres:***@127.0.0.1:"));
    assert!(!printed.contains(password));
    let shown = holding(&own.place.evidence(), password);
    assert!(shown.is_empty(), "{shown:?}");

    let meta = json(&folder.join("meta.json"));
    let server = &meta["postgresServer"];
    assert_eq!(server["private"], true);
    assert_eq!(server["statementStatistics"], true);
    assert_eq!(server["settings"]["fsync"], "on");
    assert_eq!(
        server["settings"]["shared_preload_libraries"],
        "pg_stat_statements"
    );
    let version = server["version"].as_str().expect("a version");
    assert!(printed.contains(&format!(
        "postgres private {version} at postgres://postgres:***@"
    )));
    assert_eq!(meta["postgres"], format!("private, version {version}"));
    let samples = text(&folder.join("monitor-processes.jsonl"));
    let last: serde_json::Value =
        serde_json::from_str(samples.lines().last().expect("a sample")).expect("JSON");
    let threads = last["processes"]["postgres"]["threads"].as_u64();
    assert!(
        threads.is_some_and(|threads| threads > 3),
        "with its own: {last}"
    );
    let log = text(&folder.with_file_name("postgres.log"));
    assert!(log.contains("ready to accept connections"), "{log}");
    assert!(
        own.place.left_over().is_empty(),
        "{:?}",
        own.place.left_over()
    );
}

#[test]
fn a_killed_runner_leaves_no_server_and_none_of_its_files() {
    let own = own();
    let mut call = own.call("run", &["--set", "SECONDS=900"]);
    call.env("BASE_URL", own.address())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut runner = Ends(call.spawn().expect("the runner starts"));
    let id = i32::try_from(runner.0.id()).expect("an id");
    let address = wait_for("an address", || {
        let evidence = own.place.evidence();
        let mut outputs = evidence
            .is_dir()
            .then(|| files(&evidence))?
            .into_iter()
            .filter(|path| path.to_string_lossy().contains("stdout.txt"));
        told(&std::fs::read_to_string(outputs.next()?).ok()?)
    });
    let server = child(id, "postgres").expect("a server");
    // Somebody else who is connected does not keep it.
    let mut guest = psql(&address, "SELECT pg_sleep(900)")
        .stderr(Stdio::null())
        .spawn()
        .expect("psql runs");
    wait_for("a guest", || {
        let asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        (ask_at(&address, asleep) == "1").then_some(())
    });
    let started = children(id);
    runner.0.kill().expect("a signal");
    runner.0.wait().expect("its end");
    all_end(&started);
    all_end(&[server]);
    assert!(!guest.wait().expect("its end").success());
    wait_for("no files", || {
        own.place.left_over().is_empty().then_some(())
    });
}

#[test]
fn an_interrupted_plan_goes_on_with_a_new_server() {
    let own = own();
    let mut call = own.call("run", &["--set", "SECONDS=900", "--cycles", "2"]);
    call.env("BASE_URL", own.address()).arg("--detach");
    let (code, printed) = finish(&mut call);
    assert_eq!(code, 0, "{printed}");
    let _stops = Stops(&own.place, &["stop"]);
    let runner = process_in(&printed);
    wait_for("a server", || child(runner, "postgres"));
    let plan = common::life::plan(&own.place.evidence());
    let folder = plan.display().to_string();
    wait_for("a run", || {
        text(&plan.join("events.jsonl"))
            .contains("\"event\":\"runBegan\"")
            .then_some(())
    });
    let started = children(runner);
    let (code, printed) = verb_in(&own.place, &["stop", &folder]);
    assert_eq!(code, 0, "{printed}");
    all_end(&started);
    assert!(plan.join("postgres.log").is_file());
    assert!(
        own.place.left_over().is_empty(),
        "{:?}",
        own.place.left_over()
    );

    let mut call = own.place.runner();
    call.args(["resume", &folder, "--detach"]);
    call.env("K6_BIN", common::k6());
    let (code, printed) = finish(&mut call);
    assert_eq!(code, 0, "{printed}");
    let runner = process_in(&printed);
    let again = wait_for("another server", || child(runner, "postgres"));
    assert!(!started.contains(&again));
    let (code, printed) = verb_in(&own.place, &["stop", &folder]);
    assert_eq!(code, 0, "{printed}");
    assert!(plan.join("postgres-2.log").is_file());
    assert!(
        own.place.left_over().is_empty(),
        "{:?}",
        own.place.left_over()
    );
}

const STARTED: &str = r#"
[[target]]
id = "own"
kind = "process"
start = ["sh", "-c", 'echo "$0" > "$1"; echo "backwards<$(echo "$DATABASE_URL" | rev)>"; exec sleep 900', "${LISTENER}", "{port_file}"]
ready = { tcp = "${LISTENER}", every = "20ms", limit = "20s" }
"#;

#[test]
fn it_is_up_with_the_targets_until_they_are_down() {
    let own = suite(&format!("{STARTED}{SUITE}"), HARNESS, true);
    let (code, printed) = finish(&mut own.call("up", &["--detach"]));
    let down = own.folder.join("suite.toml").display().to_string();
    assert_eq!(code, 0, "{printed}");
    let runner = process_in(&printed);
    let server = child(runner, "postgres").expect("a server");
    let log = files(&own.place.evidence()).into_iter();
    let mut log = log.filter(|path| path.to_string_lossy().contains("own.log"));
    let address = told(&text(&log.next().expect("a log"))).expect("an address");
    assert_eq!(ask_at(&address, "SELECT current_database()"), "shop_db");
    let services = common::files(&own.place.evidence());
    let services = services.iter().find(|path| path.ends_with("services.json"));
    let services = json(services.expect("services"));
    assert_eq!(services["services"][0]["id"], "postgres");
    let shown = services["services"][0]["address"]
        .as_str()
        .expect("an address");
    assert!(
        shown.starts_with("postgres://postgres:***@127.0.0.1:"),
        "{shown}"
    );
    let (code, printed) = verb_in(&own.place, &["down", &down]);
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("ended    postgres, process "), "{printed}");
    all_end(&[server]);
    assert!(
        own.place.left_over().is_empty(),
        "{:?}",
        own.place.left_over()
    );
}

/// The harness has no load of the suite's, and does not ask for one.
const LADDER: &str = r#"
[env.LEVEL]
type = "int"
default = 1

[[scenario]]
id = "main"
script = "run.js"
limit = "60s"
plan = "ladder"
axis = [{ env = "LEVEL", levels = [1] }]
ladder = { confirm = 0 }

[[gate]]
id = "done"
class = "slo"
metric = "iterations"
stat = "count"
op = ">="
limit = 1
"#;

#[test]
fn it_runs_beside_the_services_where_a_limit_is_sought() {
    let (before, _) = SUITE.split_once("[[scenario]]").expect("a scenario");
    let own = suite(&format!("{STARTED}{before}{LADDER}"), HARNESS, true);
    own.edit("{timestamp}/{scenario}", "{timestamp}/{scenario}/${LEVEL}");
    let (code, printed) = finish(&mut own.call("run", &[]));
    assert_eq!(code, 0, "{printed}");
    let meta = json(&own.place.run_folder("main/1").join("meta.json"));
    let services = &meta["processors"]["services"];
    // Where there is one processor alone, nothing is divided.
    assert_eq!(&meta["postgresServer"]["processors"], services, "{meta}");
    let several = std::thread::available_parallelism().is_ok_and(|all| all.get() > 1);
    assert_eq!(services.is_array(), several, "{meta}");
}

#[test]
fn doctor_tells_the_server_that_is_given_and_the_one_that_would_be_started() {
    let own = own();
    let (code, printed) = own.at_listener("doctor", &[]);
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("private PostgreSQL from /"), "{printed}");

    let server = start("shop_db");
    let set = |address: &str| format!("DATABASE_URL={address}");
    let (code, printed) = own.at_listener("doctor", &["--set", &set(&server.url())]);
    assert_eq!(code, 0, "{printed}");
    let expected = format!(
        "PostgreSQL {} at postgres://postgres:***@",
        server.version()
    );
    assert!(printed.contains(&expected), "{printed}");
    assert!(
        printed.contains("PostgreSQL counts statements"),
        "{printed}"
    );

    common::postgres::ask(&server, "DROP EXTENSION pg_stat_statements");
    let (code, printed) = own.at_listener("doctor", &["--set", &set(&server.url())]);
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("does not count statements"), "{printed}");

    let nobody = "postgres://postgres@127.0.0.1:1/shop_db";
    let (code, printed) = own.at_listener("doctor", &["--set", &set(nobody)]);
    assert_eq!(code, 2, "{printed}");
    assert!(printed.contains("mend DATABASE_URL"), "{printed}");
}

#[test]
fn what_a_private_server_takes_from_a_suite_is_checked() {
    for (old, new, expected) in [
        (
            "[env.DATABASE_URL]",
            "[env.DATABASE_URI]",
            "needs [env.DATABASE_URL] of type url",
        ),
        (
            "allow_databases = [\"shop_db\"]",
            "allow_databases = []",
            "needs `allow_databases`",
        ),
        ("\"shop_db\"", "\"Shop DB\"", "cannot be called `Shop DB`"),
        (
            "[\"127.0.0.1\"]",
            "[\"localhost\"]",
            "a private one listens at 127.0.0.1",
        ),
    ] {
        let own = own();
        own.edit(old, new);
        let (code, printed) = finish(own.call("validate", &[]).env_remove("LISTENER"));
        assert!(
            code == 2 && printed.contains(expected),
            "{expected}: {printed}"
        );
    }
}
