//! The suite of the load ladders, as a person uses it, in compressed time. Faults are in `m2_faults.rs`.
//!
//! | Acceptance check of the suite | Test |
//! |---|---|
//! | 1, 2, 3, fixtures | `check_01_02_03_…` |
//! | 4, started without a run | `check_04_…` |
//! | 5, a quick level; 6, a declared one | `check_05_06_…` |
//! | 7, the limit is the rate from which on the target is slow; 14, documents | `check_07_14_…` |
//! | 15, interrupted, and gone on with | `check_15_…` |
//! | 8 to 13 | `m2_faults.rs` |
//! | a system that a person started | the last one |

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use common::bench::{background, signal, until};
use common::life::{Ends, Stops, wait_for};
use common::m2::{M2, challenge};
use common::{EVIDENCE, files, finish, json, postgres, text};
use rustix::process::Signal;
use serde_json::{Value as Json, json};

#[test]
fn check_01_02_03_fixtures_are_the_same_each_time() {
    let m2 = M2::without_fixtures(&[]);
    let (code, printed) = finish(&mut m2.call("fixtures", &["--check"]));
    assert_eq!(code, 2, "nothing is there yet: {printed}");
    let (code, printed) = finish(&mut m2.call("fixtures", &[]));
    assert_eq!(code, 0, "{printed}");
    let read = |name: &str| json(&m2.path(&format!("js/m2/fixtures/{name}.json")));
    let (users, tokens) = (read("users"), read("tokens"));
    assert_eq!(users.as_array().map(Vec::len), Some(10_000));
    assert_eq!(tokens.as_array().map(Vec::len), Some(10_000));
    // Nobody was asked for a real one.
    assert_eq!(tokens[0], "mock-jwt-token-for-user-000001");
    let challenges = read("challenges");
    let challenges = challenges["challenges"].as_array().expect("challenges");
    let goals = challenges
        .iter()
        .filter_map(|one| Some(one["goals"].as_array()?.len()));
    assert_eq!((challenges.len(), goals.sum::<usize>()), (10, 500));
    let (code, again) = finish(&mut m2.call("fixtures", &["--check"]));
    assert_eq!(code, 0, "{again}");
    let sums = |printed: &str| -> Vec<String> {
        let lines = printed
            .lines()
            .filter_map(|line| line.split_once("sha256 "));
        lines.map(|(_, sum)| sum.to_owned()).collect()
    };
    assert_eq!(sums(&printed).len(), 3, "{printed}");
    assert_eq!(sums(&printed), sums(&again));
}

#[test]
fn check_04_service_and_handler_without_a_run() {
    let m2 = M2::new(&[]);

    let _stops = Stops(&m2.place, &["down", "m2"]);
    let level = [
        "--detach",
        "--scenario",
        "scenario1",
        "--level",
        "TARGET_RPS=10",
    ];
    let (code, printed) = finish(&mut m2.call("up", &level));
    assert_eq!(code, 0, "{printed}");
    let mut lines = printed.lines();
    let line = lines.find_map(|line| line.strip_prefix("target   challenge-service at http://"));
    let address = line.unwrap_or_else(|| panic!("no address: {printed}"));
    let mut stream = TcpStream::connect(address.trim()).expect("somebody listens");
    let question = "GET /challenge/healthz HTTP/1.0\r\n\r\n";
    stream.write_all(question.as_bytes()).expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.ends_with(r#"{"status":"healthy"}"#), "{answer}");
    let (code, printed) = finish(m2.place.runner().args(["down", "m2"]));
    assert_eq!(code, 0, "{printed}");
    for name in ["challenge-service", "challenge-event-handler", "postgres"] {
        let ended = format!("ended    {name}, process ");
        assert!(printed.contains(&ended), "{name}: {printed}");
    }
}

#[test]
fn check_05_06_a_level_that_holds() {
    let m2 = M2::new(&[]);
    let quick = [
        "--level=TARGET_RPS=20",
        "--quick",
        "--set=API_P95_MAX=60000",
    ];
    let (code, printed) = m2.run("scenario1", 400, &quick);
    assert_eq!(code, 0, "{printed}");
    let ran = m2.ran();
    assert_eq!(ran.verdict(), "SMOKE", "{printed}");
    let extra = [
        "query_analysis.txt",
        "series.hlog",
        "challenge-service.log",
        "challenge-event-handler.log",
        "monitor-database.jsonl",
    ];
    for file in EVIDENCE.iter().chain(&extra) {
        assert!(ran.folder.join(file).is_file(), "{file}: {printed}");
    }
    let meta = json(&ran.folder.join("meta.json"));
    assert_eq!(meta["postgresServer"]["private"], true, "{meta:#}");
    let fixture = &meta["fixtures"]["challenges"]["sha256"];
    assert_eq!(fixture.as_str().map(str::len), Some(64), "{meta:#}");

    let (code, printed) = m2.run("scenario1", 8, &[quick[0], quick[2]]);
    assert_eq!(code, 0, "{printed}");
    let ran = m2.ran();
    assert_eq!(ran.verdict(), "PASS", "{printed}");
    let rate = ran.seen("api-rate");
    assert!((rate - 20.0).abs() <= 0.2, "{rate} a second");
    assert!(ran.derived("usersWhoClaimed") >= 2.0);
    for memory in ["serviceMemory", "handlerMemory", "databaseMemory"] {
        assert!(ran.derived(memory) > 1e6, "{memory}: {printed}");
    }
}

/// Slow from 30 requests a second on: 20 hold, 40 do not.
const SLOW: &str = "SERVICE_ARGS=--fault latency-ms=3000 --fault latency-above=30";

#[test]
fn check_07_14_the_limit_of_a_target_that_was_made_slow() {
    let m2 = M2::new(&[]);
    // Long enough that answers of three seconds come while they are measured.
    let (code, printed) = m2.run(
        "scenario1,scenario5",
        1600,
        &["--quick", "--set", SLOW, "--set=CLAIM_SHARE=0.1"],
    );
    assert_eq!(code, 3, "an objective was missed: {printed}");
    let ladder = m2.ladder();
    assert_eq!(ladder["end"], "limit", "{printed}");
    assert_eq!(ladder["lastPassing"], json!({ "TARGET_RPS": "20" }));
    assert_eq!(ladder["firstFailing"], json!({ "TARGET_RPS": "40" }));
    let gates = ladder["failedGates"].as_array().expect("gates");
    assert!(gates.contains(&json!("api-p95")), "{ladder:#}");
    let verdicts: Vec<(&Json, &Json, usize)> = ladder["levels"]
        .as_array()
        .expect("levels")
        .iter()
        .map(|level| {
            let runs = level["runs"].as_array().expect("runs").len();
            (&level["point"]["TARGET_RPS"], &level["verdict"], runs)
        })
        .collect();
    let expected = [
        (&json!("10"), &json!("PASS"), 1),
        (&json!("20"), &json!("PASS"), 2),
        (&json!("40"), &json!("FAIL"), 2),
        (&json!("80"), &json!("NOT_RUN"), 0),
    ];
    assert_eq!(verdicts, expected, "{printed}");
    assert!(
        printed.contains(": scenario5 / "),
        "the next one ran: {printed}"
    );

    let plan = m2.plan();
    let limit = "limit: TARGET_RPS=20 holds, TARGET_RPS=40 does not";
    for name in [
        "PERFORMANCE_BASELINE.md",
        "CAPACITY_PLANNING.md",
        "PERFORMANCE_TUNING.md",
    ] {
        let document = text(&plan.join(name));
        let told = document.replace('\\', "");
        assert!(
            name.contains("TUNING") || told.contains(limit),
            "{document}"
        );
        let links: Vec<&str> = document
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
            .collect();
        assert!(links.len() > 5, "{name}: {document}");
        for link in links {
            assert!(plan.join(link).exists(), "{name}: {link}");
        }
    }
    let page = text(&plan.join("report.html"));
    for part in [
        "Bottlenecks",
        "Processors of the services",
        "Statements by their whole time",
    ] {
        assert!(page.contains(part), "{part}");
    }
    // Stored evidence alone says the same again.
    let documents = || text(&plan.join("CAPACITY_PLANNING.md"));
    let before = documents();
    let (code, printed) = m2.at_plan("report");
    assert_eq!(code, 0, "{printed}");
    assert_eq!(documents(), before);
}

#[test]
fn check_15_an_interrupted_ladder_goes_on_where_it_was() {
    let m2 = M2::new(&[("levels = [10, 20, 40, 80]", "levels = [5, 10, 15]")]);
    let mut call = m2.call("run", &["--scenario", "scenario1", "--quick"]);
    call.args(["--set=DURATION=400s", "--set=API_P95_MAX=60000"]);
    let (runner, mut lines) = background(call);
    until(
        &mut lines,
        "run 3: scenario1 / challenge-service, TARGET_RPS=15",
    );
    until(&mut lines, "target   challenge-service at ");
    signal(&runner, Signal::INT);
    let said: Vec<String> = lines.collect();
    let (code, _) = common::wait(runner);
    assert_eq!(code, 4, "{said:#?}");
    let (code, printed) = m2.at_plan("resume");
    assert_eq!(code, 0, "{printed}");
    assert!(
        printed.contains("at least TARGET_RPS=15, limit not reached"),
        "{printed}"
    );
    let plan = m2.plan();
    let mut folders: Vec<String> = files(&plan)
        .iter()
        .filter(|path| path.ends_with("verdict.json"))
        .filter_map(|path| path.parent()?.strip_prefix(&plan).ok())
        .map(|path| path.display().to_string())
        .collect();
    folders.sort();
    let expected = [
        "scenario1/level_10rps/cycle-01",
        "scenario1/level_15rps/cycle-01",
        "scenario1/level_15rps/cycle-01-attempt-2",
        "scenario1/level_15rps/cycle-02",
        "scenario1/level_5rps/cycle-01",
    ];
    assert_eq!(folders, expected, "no gap, and nothing twice");
    // Each began with a table that nobody else had filled.
    for folder in folders {
        let cleaned = text(&plan.join(&folder).join("cleanup.txt"));
        let after = cleaned.split("state after").nth(1);
        let rows = after.and_then(|after| after.lines().nth(2));
        assert_eq!(rows, Some("0"), "{folder}: {cleaned}");
    }
}

/// A program of the reference as a person starts it, and where it and its admin socket listen.
fn started(program: &str, m2: &M2, folder: &Path, database: &str) -> (Ends, [String; 2]) {
    let addresses = folder.join(program);
    let mut command = Command::new(challenge());
    command
        .args([
            program,
            "--listen=127.0.0.1:0",
            "--admin-listen=127.0.0.1:0",
        ])
        .arg("--port-file")
        .arg(&addresses)
        .arg("--challenges")
        .arg(m2.path("js/m2/fixtures/challenges.json"))
        .env("DATABASE_URL", database)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = Ends(command.spawn().expect("it starts"));
    let told = wait_for("its addresses", || std::fs::read_to_string(&addresses).ok());
    let mut lines = told.lines();
    let mut line = || lines.next().expect("an address");
    let own = [line(), line().trim_start_matches("admin ")].map(str::to_owned);
    (child, own)
}

/// Its sessions have a name that the suite does not know, and nothing is lost for all that.
#[test]
fn a_system_that_a_person_started_is_measured_as_it_is() {
    let m2 = M2::new(&[]);
    let server = postgres::start("challenge_db");
    let folder = tempfile::tempdir().expect("a folder");
    let theirs = format!("{}?application_name=theirs", server.url());
    let [(_service, api), (_handler, events)] =
        ["service", "event-handler"].map(|name| started(name, &m2, folder.path(), &theirs));
    let row = "INSERT INTO user_goal_progress (user_id, goal_id, challenge_id, namespace, progress, status) \
               VALUES ('somebody', 'g', 'c', 'test', 1, 'in_progress')";
    postgres::ask(&server, row);
    let mut call = m2.call(
        "run",
        &["--scenario", "scenario2", "--level", "TARGET_EPS=20"],
    );
    call.args([
        "--set",
        "DURATION=4s",
        "--set",
        "WARMUP=1s",
        "--set",
        "EVENT_P95_MAX=60000",
    ])
    .env("BASE_URL", format!("{}/challenge", api[0]))
    .env("EVENT_HANDLER_ADDR", events[0].replace("http://", ""))
    .env("SERVICE_ADMIN_URL", &api[1])
    .env("HANDLER_ADMIN_URL", &events[1])
    .env("DATABASE_URL", server.url());
    let (code, printed) = finish(&mut call);
    assert_eq!(code, 0, "{printed}");
    let ran = m2.ran();
    assert_eq!(ran.verdict(), "PASS", "{printed}");
    assert!(ran.derived("goalUpdates") > 0.0 && ran.seen("nothing-lost") == 0.0);
    assert!(
        !ran.folder.join("challenge-service.log").exists(),
        "nothing was started"
    );
    let cleaned = text(&ran.folder.join("cleanup.txt"));
    let after = cleaned.split("state after").nth(1);
    let rows = after.and_then(|after| after.lines().nth(2));
    assert_eq!(rows, Some("0"), "what lay there is gone: {cleaned}");
    // What nobody said of their system is not known, and so never used up.
    let figures = json(&m2.plan().join("figures.json"));
    let used = figures["bottlenecks"][0]["runs"][0]["used"].as_array();
    for id in ["handler-pool", "flush", "handler-memory"] {
        let mut all = used.expect("resources").iter();
        let one = all.find(|one| one["id"] == id).expect("a resource");
        assert_eq!(
            (&one["limit"], &one["saturated"]),
            (&Json::Null, &json!(false)),
            "{one}"
        );
    }
}
