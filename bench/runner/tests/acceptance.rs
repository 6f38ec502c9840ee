//! The waiting-room benchmark as a person uses it: services started by hand, one call of the script.

mod common;

use std::path::PathBuf;
use std::process::{Child, Command};

use common::{EVIDENCE, Place, Redis, files, finish, json, k6, root, text, waiting_room};

const EVENTS: &str = "0dc2efd8-f760-11f0-8e3b-2a897f646219,b55834d0-f834-11f0-999b-a7e49b723099,\
    ba1d5e02-f834-11f0-999b-05d0f9a25396,bc113ec4-f834-11f0-999b-1786beee8658,be54c626-f834-11f0-999b-9fdbde76a760";

/// A waiting room that a person started.
struct Services {
    child: Child,
    address: String,
}

impl Services {
    fn start(place: &Place, queue: &str, redis: &Redis) -> Self {
        let port_file = place.evidence().with_file_name("address");
        let log = std::fs::File::create(Self::log(place)).expect("log");
        let mut child = Command::new(waiting_room())
            .args(["--queue", queue, "--events", EVENTS, "--port-file"])
            .arg(&port_file)
            .env("REDIS_URL", &redis.address)
            .stdout(log.try_clone().expect("log"))
            .stderr(log)
            .spawn()
            .expect("the waiting room starts");
        loop {
            if let Ok(address) = std::fs::read_to_string(&port_file) {
                let address = address.trim().to_owned();
                return Self { child, address };
            }
            let ended = child.try_wait().expect("state");
            assert!(ended.is_none(), "the waiting room runs");
            common::pause();
        }
    }
}

impl Services {
    fn log(place: &Place) -> PathBuf {
        place.evidence().with_file_name("broker.log")
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The only folder below the evidence that holds a run.
fn only_run(place: &Place) -> PathBuf {
    let runs: Vec<_> = files(&place.evidence())
        .into_iter()
        .filter(|path| path.ends_with("meta.json"))
        .collect();
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs[0].parent().expect("a folder").to_owned()
}

fn smoke(queue: &str) {
    let redis = Redis::start(&[]);
    let mut connection = redis.connect();
    let mut ask = |command: &str| common::ask::<redis::Value>(&mut connection, command);
    // The services look at every queue, so a foreign one has to be of their type.
    let queue_of_others = match queue {
        "zset" => "ZADD WAITING:foreign 1 u",
        _ => "HSET WAITING:foreign u 1",
    };
    for command in [
        "HSET WAITING_QUEUE_IDX foreign 7",
        "HSET ENTRY_QUEUE_SLOTS foreign 8",
        queue_of_others,
        "SET strange yes",
        "RPUSH DISPATCH:other x",
    ] {
        ask(command);
    }
    let foreign = [
        "HGET WAITING_QUEUE_IDX foreign",
        "HGET ENTRY_QUEUE_SLOTS foreign",
        "DUMP WAITING:foreign",
        "DUMP strange",
        "DUMP DISPATCH:other",
    ];
    let before = foreign.map(&mut ask);

    let place = Place::new();
    let services = Services::start(&place, queue, &redis);
    let mut command = Command::new(root().join("scripts/run-k6-barrier-benchmark.sh"));
    command
        .current_dir(root())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("TMPDIR", place.evidence().with_file_name("tmp"))
        .env(barrier_procs::LOCK_VARIABLE, place.lock())
        .env("EVIDENCE_ROOT", place.evidence())
        .env("BARRIER_BENCH_BIN", env!("CARGO_BIN_EXE_barrier-bench"))
        .env("K6_BIN", k6())
        .env("BROKER_LOG", Services::log(&place))
        .env("BASE_URL", &services.address)
        .env("REDIS_URL", &redis.address)
        .env("EVENT_IDS", EVENTS)
        .env("BURST_OFFSET_MS", "0");
    let (code, printed) = finish(command.env("SCENARIO", "custom").env("VUS", "50"));
    drop(services);
    assert_eq!(code, 0, "{printed}");

    let folder = only_run(&place);
    for name in EVIDENCE.into_iter().chain(["log-1-broker.log"]) {
        assert!(folder.join(name).is_file(), "{name}: {printed}");
    }
    let derived = json(&folder.join("derived.json"));
    assert_eq!(
        (&derived["completedUsers"], &derived["expectedVUs"]),
        (&50.into(), &50.into())
    );
    let headline = derived["testRunDurationMs"].as_f64().expect("the headline");
    let meta = json(&folder.join("meta.json"));
    let wall_clock = meta["k6Run"]["wallClockMs"].as_f64().expect("a number");
    assert!(
        headline > 0.0 && wall_clock >= headline,
        "{wall_clock} {headline}"
    );
    let before_the_run = "listening on";
    assert!(text(&Services::log(&place)).contains(before_the_run));
    assert!(!text(&folder.join("log-1-broker.log")).contains(before_the_run));
    let cleanup = text(&folder.join("cleanup.txt"));
    let (_, ready) = cleanup
        .split_once("[cleanup] the target is ready\n")
        .expect("read back directly before k6");
    for event in EVENTS.split(',') {
        assert!(
            ready.contains(&format!("> TYPE WAITING:{event}\n< none\n")),
            "{cleanup}"
        );
    }
    for path in files(&place.evidence()) {
        let content = text(&path);
        assert!(!content.contains("WRONGTYPE"), "{}", path.display());
        // Neither the password of the users and the admin nor a token that they were given.
        assert!(!content.contains("password123"), "{}", path.display());
        assert!(!content.contains("Bearer "), "{}", path.display());
    }
    assert_eq!(
        foreign.map(&mut ask),
        before,
        "what belongs to others is unchanged"
    );
}

#[test]
fn smoke_with_services_that_keep_a_sorted_set() {
    smoke("zset");
}

#[test]
fn smoke_with_services_that_keep_a_hash() {
    smoke("hash");
}

#[test]
fn a_summary_of_another_run_is_never_taken_for_this_one() {
    let place = Place::new();
    let folder = place.evidence().with_file_name("project");
    std::fs::create_dir(&folder).expect("folder");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listener");
    let redis = Redis::start(&[]);
    let probe = root().join("bench/runner/tests/fixtures/suites/probe.toml");
    std::fs::write(folder.join("suite.toml"), text(&probe)).expect("written");
    std::fs::write(folder.join("probe.js"), "throw new Error('dies early');").expect("written");
    std::fs::write(
        folder.join("summary.json"),
        "{\"state\":{\"testRunDurationMs\":1}}",
    )
    .expect("written");
    let (code, printed) = finish(
        place
            .runner()
            .args(["run", "suite.toml"])
            .current_dir(&folder)
            .env(
                "BASE_URL",
                format!("http://{}", listener.local_addr().expect("address")),
            )
            .env("REDIS_URL", &redis.address)
            .env("K6_BIN", k6()),
    );
    assert_eq!(code, 107, "k6's own code: {printed}");
    let run = only_run(&place);
    assert!(!run.join("summary.json").exists());
    let derived = json(&run.join("derived.json"));
    assert!(derived["testRunDurationMs"].is_null(), "{derived}");
    let verdict = json(&run.join("verdict.json"));
    assert_eq!(verdict["verdict"], "INVALID");
}
