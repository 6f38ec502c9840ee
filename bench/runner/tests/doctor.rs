//! `doctor` tries what a run will do: each failure comes with its mend before anything is measured, and a run is refused by it.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::services::Services;
use common::{Place, Redis, ask, finish, k6, root, text, waiting_room};

const SUITE: &str = "bench/suites/waiting-room.toml";

/// `doctor` tells it with its mend, and `run` refuses because of it, before there is any evidence.
fn refused(services: &Services, environment: &[(&str, &str)], seen: &str, mend: &str) {
    for verb in ["doctor", "run"] {
        let place = Place::new();
        let mut command = services.call(&place, verb);
        let (code, printed) = finish(command.envs(environment.iter().copied()));
        assert_eq!(code, 2, "{verb}: {printed}");
        let lines: Vec<&str> = printed.lines().map(str::trim).collect();
        let at = lines
            .iter()
            .position(|line| line.starts_with("fault  ") && line.contains(seen))
            .unwrap_or_else(|| panic!("{verb}: {seen}: {printed}"));
        assert!(
            lines[at + 1].starts_with("mend: ") && lines[at + 1].contains(mend),
            "{verb}: {mend}: {printed}"
        );
        assert!(!printed.contains("topsecret"), "{verb}: {printed}");
        assert!(!place.evidence().exists() && place.left_over().is_empty());
    }
}

#[test]
fn what_a_run_will_do_is_tried_and_left_as_it_was() {
    let services = Services::start(&[]);
    let mut connection = services.redis.connect();
    for command in [
        "HSET event_statuses e1 OPEN",
        "HSET event_statuses e2 CLOSED",
        "HSET event_statuses other OPEN",
        "SET strange yes",
    ] {
        ask::<redis::Value>(&mut connection, command);
    }
    // From now on Redis keeps every command that it gets.
    for command in [
        "CONFIG SET slowlog-max-len 10000",
        "CONFIG SET slowlog-log-slower-than 0",
    ] {
        ask::<redis::Value>(&mut connection, command);
    }
    let place = Place::new();
    let (code, printed) = finish(&mut services.call(&place, "doctor"));
    assert_eq!(code, 0, "{printed}");
    for expected in [
        "ok       gateway, admin: admin@example.com logs in at ",
        "ok       gateway, users: the first and the last of 5 users log in",
        "ok       gateway, events: all 2 events can be read, opened and closed",
        "ok       gateway, stream: the first user waits for event e1 and leaves it",
        "ok       gateway, slots: 8 slots in event e1, as SEATS says",
    ] {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
    let commands: Vec<redis::Value> = ask(&mut connection, "SLOWLOG GET 10000");
    let statuses: Vec<String> = commands
        .iter()
        .rev()
        .map(|command| format!("{command:?}"))
        .filter(|command| command.contains("HSET") && command.contains("event_statuses"))
        .map(|command| {
            let has = |word: &str| command.contains(&format!("\"{word}\""));
            let status = if has("OPEN") { "OPEN" } else { "CLOSED" };
            format!("{} {status}", if has("e1") { "e1" } else { "e2" })
        })
        .collect();
    assert_eq!(
        statuses,
        ["e1 OPEN", "e2 CLOSED", "e1 CLOSED", "e1 OPEN"],
        "closed while the stream is open"
    );
    let mut told = |command: &str| ask::<Option<String>>(&mut connection, command);
    assert_eq!(told("HGET event_statuses e1").as_deref(), Some("OPEN"));
    assert_eq!(told("HGET event_statuses e2").as_deref(), Some("CLOSED"));
    assert_eq!(told("HGET event_statuses other").as_deref(), Some("OPEN"));
    assert_eq!(told("GET strange").as_deref(), Some("yes"));
    assert_eq!(
        told("HGET ENTRY_QUEUE_SLOTS e1").as_deref(),
        Some("8"),
        "nobody was promoted"
    );
    let queue: i64 = ask(&mut connection, "HLEN WAITING_USER_IDS:e1");
    assert_eq!(queue, 0, "the user has left");
    assert!(!place.evidence().exists() && place.left_over().is_empty());

    // What it leaves in the queue's counters is cleaned before a run, which is tried first as well.
    let (code, printed) = finish(&mut services.call(&place, "run"));
    assert_eq!(code, 0, "{printed}");
}

#[test]
fn accounts_that_do_not_log_in() {
    let services = Services::start(&[]);
    ask::<i64>(
        &mut services.redis.connect(),
        "HSET event_statuses e1 CLOSED",
    );
    refused(
        &services,
        &[("LOGIN_PASSWORD", "topsecret1")],
        "gateway, users: the first user, user1@example.com, cannot log in: status 401",
        "give the right LOGIN_PASSWORD and LOGIN_EMAIL_DOMAIN, or make the accounts",
    );
    refused(
        &services,
        &[("ADMIN_PASSWORD", "topsecret2")],
        "gateway, admin: the admin admin@example.com cannot log in at http://127.0.0.1:",
        "give ADMIN_EMAIL and ADMIN_PASSWORD of an account that may open events (role MANAGER or ADMIN)",
    );
    refused(
        &services,
        &[("ADMIN_EMAIL", "user2@example.com")],
        "gateway, events: event e1 cannot be set to CLOSED: status",
        "give user2@example.com the role MANAGER or ADMIN",
    );
}

#[test]
fn fewer_accounts_than_users() {
    let services = Services::start(&[]);
    refused(
        &services,
        &[("VUS", "12")],
        "gateway, users: of 12 users only the first 5 can log in; the last, user12@example.com: status 401",
        "make the accounts from user6@example.com on, with the password of the others, or run with VUS=5 at most",
    );
    let place = Place::new();
    let csv = place.evidence().with_file_name("users.csv");
    let csv_text = csv.display().to_string();
    let users =
        |lines: &str| std::fs::write(&csv, format!("email,password\n{lines}")).expect("written");
    users("user1@example.com,password123\nuser2@example.com,password123\n");
    let given = [("USERS_CSV", csv_text.as_str()), ("VUS", "3")];
    refused(
        &services,
        &given,
        "got 2 users for VUS=3",
        "put right the setting, or the file that it names",
    );
    users(
        "user1@example.com,password123\nuser2@example.com,password123\nuser3@example.com,topsecret3\n",
    );
    refused(
        &services,
        &given,
        "of 3 users only the first 2 can log in; the last, user3@example.com: status 401",
        "make the accounts from user3@example.com on",
    );
}

#[test]
fn events_that_do_not_exist() {
    let services = Services::start(&[]);
    let refused_as = |seen: &str| {
        let mend = "EVENT_IDS must be ids of events that exist there; make them, or name others";
        refused(&services, &[("EVENT_IDS", "e1,e8,e9")], seen, mend);
    };
    refused_as("gateway, events: event e8 cannot be read: status 404");
    ask::<i64>(
        &mut services.redis.connect(),
        "HSET event_statuses e8 CLOSED",
    );
    refused_as("gateway, events: event e8 cannot be set to CLOSED: status 404");
}

#[test]
fn slots_that_are_not_the_seats() {
    let services = Services::start(&[]);
    refused(
        &services,
        &[("SEATS", "50")],
        "gateway, slots: event e1 has 8 seats, SEATS is 50",
        "give SEATS=8",
    );
    // Slots that an earlier run has left are cleaned before the next one: something to know.
    let mut connection = services.redis.connect();
    ask::<i64>(&mut connection, "HSET ENTRY_QUEUE_SLOTS e1 13");
    let (code, printed) = finish(&mut services.call(&Place::new(), "doctor"));
    assert_eq!(code, 0, "{printed}");
    let expected = "warning  gateway, slots: event e1 has 13 slots left over from before, SEATS is 8\n         mend: ";
    assert!(printed.contains(expected), "{printed}");
    // Those that the run presets are compared with nothing.
    let (code, printed) = finish(
        services
            .call(&Place::new(), "doctor")
            .env("SLOT_BOOST", "1"),
    );
    assert!(
        code == 0 && !printed.contains("gateway, slots"),
        "{printed}"
    );
}

#[test]
fn a_stream_that_is_refused() {
    refused(
        &Services::start(&["--fail-streams", "1"]),
        &[],
        "gateway, stream: the first user cannot wait for event e1: status 503",
        "users need the role that may wait (USER), streams a broker that is alive",
    );
    // What is left over in the queue does not explain it.
    let services = Services::start(&["--fault", "dead-brokers=1"]);
    for left_over in [
        "HSET WAITING_USER_IDS:e1 acc-1 \"true\"",
        "ZADD WAITING:e1 1 {\"userId\":\"acc-1\"}",
    ] {
        refused(
            &services,
            &[],
            "gateway, stream: the first user cannot wait for event e1: status 500",
            "a broker that is alive",
        );
        ask::<i64>(&mut services.redis.connect(), left_over);
    }
}

#[test]
fn an_interrupted_trial_opens_its_event_again() {
    // The first user hears nothing, and would wait for 15 s.
    let services = Services::start(&["--fault", "silence-users=1"]);
    let mut connection = services.redis.connect();
    ask::<i64>(&mut connection, "HSET event_statuses e1 OPEN");
    let place = Place::new();
    let mut command = services.call(&place, "doctor");
    let runner = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the runner starts");
    let mut status = || ask::<String>(&mut connection, "HGET event_statuses e1");
    while status() != "CLOSED" {
        common::pause();
    }
    common::bench::signal(&runner, rustix::process::Signal::INT);
    let (code, printed) = common::wait(runner);
    assert_eq!(code, 4, "{printed}");
    assert_eq!(status(), "OPEN", "{printed}");
}

#[test]
fn what_an_interrupted_run_has_left_keeps_no_run_from_cleaning_it() {
    let services = Services::start(&[]);
    let mut connection = services.redis.connect();
    ask::<i64>(&mut connection, "HSET WAITING_USER_IDS:e1 acc-1 \"true\"");
    let place = Place::new();
    let (code, printed) = finish(&mut services.call(&place, "doctor"));
    assert_eq!(code, 0, "{printed}");
    for expected in [
        "warning  gateway, queues: 1 user is in the queue of event e1\n         mend: ",
        "warning  gateway, stream: the first user cannot wait for event e1: status 409",
    ] {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
    let (code, printed) = finish(&mut services.call(&place, "run"));
    assert_eq!(code, 0, "{printed}");

    // A queue of the other kind, in which nobody can wait before it is gone.
    ask::<i64>(&mut connection, "HSET WAITING:e1 acc-9 1");
    let (code, printed) = finish(&mut services.call(&place, "doctor"));
    assert_eq!(code, 0, "{printed}");
    assert!(
        printed.contains("warning  gateway, stream: the first user cannot wait"),
        "{printed}"
    );
}

#[test]
fn a_port_that_is_open_is_no_health() {
    let services = Services::start(&[]);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("listener");
    let address = format!("http://{}", silent.local_addr().expect("address"));
    let environment = [
        ("BASE_URL", address.as_str()),
        ("LOGIN_TIMEOUT_MS", "200"),
        ("EVENT_IDS", "e1"),
    ];
    let place = Place::new();
    let mut command = services.call(&place, "doctor");
    command.envs(environment).args(["--set", "SYSTEM=polling"]);
    let (code, printed) = finish(&mut command);
    assert_eq!(code, 2, "{printed}");
    for expected in [
        "ok       target gateway answers",
        "fault    gateway, admin: ",
        "fault    gateway, users: ",
    ] {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
}

#[test]
fn without_redis_nothing_is_tried() {
    let mut services = Services::start(&[]);
    services.redis = Redis::start(&[]);
    let gone = services.redis.address.clone();
    services.redis = Redis::start(&[]);
    let (code, printed) = finish(
        services
            .call(&Place::new(), "doctor")
            .env("REDIS_URL", &gone),
    );
    assert_eq!(code, 2, "{printed}");
    for expected in [
        "fault    Redis at ",
        "mend: start Redis, mend REDIS_URL",
        "warning  what the runs will do was not tried\n         mend: see to the faults, and call doctor again",
    ] {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
    assert!(!printed.contains("gateway, admin"), "{printed}");
}

#[test]
fn a_target_that_the_runner_starts_is_tried_too_and_ends() {
    let place = Place::new();
    let doctor = |more: &[&str]| {
        let mut command = place.runner();
        command
            .args(["doctor", SUITE, "--scenario", "custom", "--set", "VUS=3"])
            .args(more)
            .env("K6_BIN", k6())
            .env("WAITING_ROOM_BIN", waiting_room());
        finish(&mut command)
    };
    let (code, printed) = doctor(&[]);
    assert_eq!(code, 0, "{printed}");
    for variant in ["zset", "hash"] {
        let expected = format!("ok       waiting-room-{variant}, stream: the first user waits");
        assert!(printed.contains(&expected), "{printed}");
    }
    let address = printed.split_once("logs in at ").expect("an address").1;
    let address = address
        .lines()
        .next()
        .expect("a line")
        .trim_start_matches("http://");
    assert!(
        std::net::TcpStream::connect(address).is_err(),
        "{address} has ended"
    );
    let (code, printed) = doctor(&["--variant", "hash", "--set", "TARGET_ARGS=--fail-streams 1"]);
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains("fault    waiting-room-hash, stream: the first user cannot wait"),
        "{printed}"
    );
    assert!(
        !printed.contains("waiting-room-zset, "),
        "one variant was asked for: {printed}"
    );
    assert!(place.left_over().is_empty() && !place.evidence().exists());
}

#[test]
fn a_port_to_another_waiting_room_is_tried_by_its_own_calls() {
    let services = Services::start(&[]);
    let place = Place::new();
    let system = place.evidence().with_file_name("own.js");
    let users = place.evidence().with_file_name("users.csv");
    std::fs::write(&users, "u@example.com,topsecret4\n".repeat(5)).expect("written");
    let trial = |log_in: &str| {
        let script = format!(
            "export function logIn(settings, account) {{ {log_in} }}\n\
             export function setEventStatus() {{}}\n\
             export function wait(settings, session, eventId, place) {{ place.position(); throw new Error('it goes on'); }}\n\
             export function leave() {{}}\n\
             export function seats() {{ return 3; }}\n"
        );
        std::fs::write(&system, script).expect("written");
        let mut command = services.call(&place, "doctor");
        command.env("SYSTEM", &system).env("USERS_CSV", &users);
        finish(command.env("SEATS", "3"))
    };
    let (code, printed) = trial("return {};");
    assert_eq!(code, 0, "{printed}");
    assert!(
        printed.contains("gateway, slots: 3 seats in each event, as SEATS says"),
        "{printed}"
    );
    let (code, printed) =
        trial("throw new Error('the box office is closed for ' + account.password)");
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains("cannot log in: the box office is closed for ***")
            && !printed.contains("topsecret"),
        "{printed}"
    );
    let (code, printed) = trial("}; export function unused() {");
    assert_eq!(code, 0, "{printed}");
    std::fs::write(&system, "export function logIn() {}\n").expect("written");
    let (code, printed) = finish(
        services
            .call(&Place::new(), "doctor")
            .env("SYSTEM", &system),
    );
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains("exports no function setEventStatus, wait, leave"),
        "{printed}"
    );
}

/// A suite of one's own in a folder of its own, with this probe; the runner is called from yet another folder.
struct Own {
    place: Place,
    folder: PathBuf,
    listener: std::net::TcpListener,
}

impl Own {
    fn new(probe: &str, limit: &str) -> Self {
        let place = Place::new();
        let folder = place.evidence().with_file_name("elsewhere");
        std::fs::create_dir_all(folder.join("scripts")).expect("a folder");
        std::fs::create_dir(folder.join("cwd")).expect("a folder");
        let suite = text(&root().join("bench/runner/tests/fixtures/suites/probe.toml"));
        let suite = suite.replace("script = \"probe.js\"", "script = \"scripts/run.js\"");
        let table = format!(
            "[probe]\nscript = \"scripts/own.js\"\nlimit = \"{limit}\"\nbefore_run = true\n\n[each]\n"
        );
        std::fs::write(folder.join("suite.toml"), suite.replace("[each]\n", &table))
            .expect("written");
        let run = root().join("bench/runner/tests/fixtures/probe.js");
        std::fs::copy(run, folder.join("scripts/run.js")).expect("copied");
        std::fs::write(folder.join("scripts/own.js"), probe).expect("written");
        Self {
            place,
            folder,
            listener: std::net::TcpListener::bind("127.0.0.1:0").expect("listener"),
        }
    }

    fn call(&self, verb: &str) -> Command {
        let address = self.listener.local_addr().expect("address");
        let mut command = self.place.runner();
        command
            .arg(verb)
            .arg("../suite.toml")
            .current_dir(self.folder.join("cwd"))
            .env("K6_BIN", k6())
            .env("BASE_URL", format!("http://{address}"));
        command
    }

    fn finds(&self, code: i32, expected: &[&str]) {
        let (seen, printed) = finish(&mut self.call("doctor"));
        assert_eq!(seen, code, "{printed}");
        for text in expected {
            assert!(printed.contains(text), "{text}: {printed}");
        }
    }
}

/// Lines of a probe, said by its only iteration.
fn says(lines: &[&str]) -> String {
    let lines: Vec<String> = lines
        .iter()
        .map(|line| format!("  console.log({line:?});\n"))
        .collect();
    format!("export default function () {{\n{}}}\n", lines.concat())
}

#[test]
fn the_runner_runs_any_probe_and_prints_what_it_says() {
    let good = r#"{"check":"bell","ok":true,"seen":"it rings"}"#;
    let know = r#"{"check":"door","ok":true,"seen":"it creaks","mend":"oil it"}"#;
    let bad = r#"{"check":"roof","ok":false,"seen":"it leaks topsecret-default","mend":"mend it"}"#;
    let own = Own::new(&says(&[good, "not a check", know]), "30s");
    own.finds(
        0,
        &[
            "ok       listener, bell: it rings\n",
            "warning  listener, door: it creaks\n         mend: oil it\n",
        ],
    );
    let own = Own::new(&says(&[good, bad]), "30s");
    own.finds(
        2,
        &["fault    listener, roof: it leaks ***\n         mend: mend it\n"],
    );
    let (code, printed) = finish(&mut own.call("run"));
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains("the run cannot start:\n  fault    listener, roof: it leaks ***"),
        "{printed}"
    );
    assert!(!own.place.evidence().exists());

    let own = Own::new(
        "export default function () { throw new Error('no bell at all'); }\n",
        "30s",
    );
    own.finds(
        2,
        &[
            "fault    listener: the probe ",
            "own.js broke off",
            "no bell at all",
            "mend: put right what it names",
        ],
    );
    let slow = format!(
        "import {{ sleep }} from 'k6';\n{}",
        says(&[good]).replace("}\n", "  sleep(600);\n}\n")
    );
    let own = Own::new(&slow, "2s");
    own.finds(
        2,
        &[
            "ok       listener, bell: it rings\n",
            "own.js did not end within 2 s, after the look at `bell`\n         mend: see whether the target answers at all",
        ],
    );
    assert!(own.place.left_over().is_empty());
}

#[test]
fn a_run_that_is_active_is_not_disturbed() {
    let own = Own::new(
        &says(&[r#"{"check":"bell","ok":true,"seen":"it rings"}"#]),
        "30s",
    );
    let mut run = own.call("run");
    run.args(["--set", "MODE=hang"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut run = run.spawn().expect("the runner starts");
    let output = std::io::BufReader::new(run.stdout.take().expect("stdout"));
    let mut lines = std::io::BufRead::lines(output).map(|line| line.expect("text"));
    lines
        .find(|line| line.starts_with("run 1 of 1"))
        .expect("the run is active");
    let (code, printed) = finish(&mut own.call("doctor"));
    let pid = rustix::process::Pid::from_child(&run);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signal");
    lines.for_each(drop);
    assert_eq!(run.wait().expect("end").code(), Some(4));
    assert_eq!(code, 0, "{printed}");
    assert!(
        printed.contains(
            "warning  what the runs will do was not tried: another run is active: suite probe"
        ) && !printed.contains("it rings"),
        "{printed}"
    );
}

#[test]
fn a_suite_elsewhere_works_from_any_folder() {
    let own = Own::new(
        &says(&[r#"{"check":"bell","ok":true,"seen":"it rings"}"#]),
        "30s",
    );
    let mut run = own.call("run");
    let (code, printed) = finish(run.env_remove("EVIDENCE_ROOT"));
    assert_eq!(code, 0, "{printed}");
    assert!(own.folder.join("evidence").is_dir(), "beside the suite");
    assert_eq!(
        std::fs::read_dir(own.folder.join("cwd"))
            .expect("a folder")
            .count(),
        0
    );
    for verb in ["list", "validate"] {
        let (code, printed) = finish(&mut own.call(verb));
        assert_eq!(code, 0, "{verb}: {printed}");
    }
    // k6 of the folder that the runner is called from.
    std::os::unix::fs::symlink(k6(), own.folder.join("cwd/k6")).expect("linked");
    let (code, printed) = finish(own.call("doctor").env_remove("K6_BIN"));
    assert!(
        code == 0 && printed.contains("elsewhere/cwd/k6) with "),
        "{printed}"
    );
    std::fs::remove_file(own.folder.join("cwd/k6")).expect("removed");

    let root = std::fs::canonicalize(&own.folder).expect("the folder");
    let shown = |path: &Path| path.display().to_string();
    let doctor = |command: &mut Command| finish(command.env("PATH", "/nowhere"));
    let (code, printed) = doctor(own.call("doctor").env_remove("K6_BIN"));
    assert_eq!(code, 2, "{printed}");
    for place in [root.join("cwd/k6"), root.join("k6")] {
        assert!(
            printed.contains(&shown(&place)),
            "{}: {printed}",
            place.display()
        );
    }
    for name in ["run.js", "own.js"] {
        std::fs::remove_file(own.folder.join("scripts").join(name)).expect("removed");
    }
    let (code, printed) = finish(&mut own.call("doctor"));
    assert_eq!(code, 2, "{printed}");
    for (what, name) in [("harness", "run.js"), ("probe", "own.js")] {
        let expected = format!(
            "fault    the {what} {} is missing\n         mend: paths in ../suite.toml begin at {}: put it there, or mend `script`",
            shown(&root.join("scripts").join(name)),
            shown(&root)
        );
        assert!(printed.contains(&expected), "{expected}: {printed}");
    }
    let mut unknown = own.place.runner();
    let (code, printed) = finish(
        unknown
            .args(["doctor", "nosuch"])
            .current_dir(own.folder.join("cwd")),
    );
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains(&format!(
            "no suite `nosuch`: neither {}",
            shown(&root.join("cwd/nosuch"))
        )),
        "{printed}"
    );
}
