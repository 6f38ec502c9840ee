//! `doctor` tries what a run will do: each failure comes with its mend before anything is measured, and a run is refused by it.

mod common;

use std::process::{Command, Stdio};

use common::life::chat_service;
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
fn the_load_is_held_beside_the_machine() {
    let place = Place::new();
    let mut command = place.runner();
    command
        .args(["doctor", "chat", "--scenario", "websocket-streaming"])
        .args(["--set", "VUS=400"])
        .env("K6_BIN", k6())
        .env("CHAT_SERVICE_BIN", chat_service());
    let (_, printed) = finish(&mut command);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let expected = format!(
        "load: 400 users on {processors} processors, {} for each; about 78 of ",
        400_usize.div_ceil(processors)
    );
    assert!(printed.contains(&expected), "{printed}");
    assert!(
        printed.contains("400 sockets of k6, and as many of the target, of "),
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

#[test]
fn a_port_finds_the_variables_that_its_suite_declares() {
    let services = Services::start(&[]);
    let place = Place::new();
    let beside = |name: &str| place.evidence().with_file_name(name);
    let js = root().join("js");
    let port = format!(
        "import * as sse from '{}';\n\
         export const {{ setEventStatus, wait, leave, withdraw }} = sse;\n\
         export function logIn(settings, account) {{\n\
           if (__ENV.BOX_OFFICE_PIN !== 'topsecret7') throw new Error('the PIN is ' + __ENV.BOX_OFFICE_PIN);\n\
           return sse.logIn(settings, account);\n\
         }}\n",
        js.join("systems/sse.js").display()
    );
    std::fs::write(beside("port.js"), port).expect("written");
    let call = |mut command: Command| {
        command
            .env("SYSTEM", beside("port.js"))
            .env("BOX_OFFICE_PIN", "topsecret7");
        finish(&mut command)
    };
    // What the suite does not declare stays outside.
    let (code, printed) = call(services.call(&place, "doctor"));
    assert_eq!(code, 2, "{printed}");
    assert!(printed.contains("the PIN is undefined"), "{printed}");

    // As the page for ports says, in a copy elsewhere.
    let suite = text(&root().join("bench/suites/waiting-room.toml"))
        .replace("\"js/", &format!("\"{}/", js.display()));
    let page = text(&root().join("docs/how-to/port-to-your-waiting-room.md"));
    let (_, table) = page.split_once("```toml\n").expect("a table");
    let (table, _) = table.split_once("```").expect("its end");
    assert!(table.starts_with("[env.BOX_OFFICE_PIN]"), "{table}");
    std::fs::write(beside("own.toml"), format!("{suite}\n{table}")).expect("written");
    let own = beside("own.toml").display().to_string();
    for verb in ["doctor", "run"] {
        let (code, printed) = call(services.call_suite(&own, &place, verb));
        assert_eq!(code, 0, "{verb}: {printed}");
        assert!(!printed.contains("topsecret"), "{verb}: {printed}");
    }
    for path in common::files(&place.evidence()) {
        let kept = std::fs::read(&path).expect("read");
        let secret = b"topsecret7";
        assert!(
            !kept.windows(secret.len()).any(|part| part == secret),
            "{}",
            path.display()
        );
    }
}
