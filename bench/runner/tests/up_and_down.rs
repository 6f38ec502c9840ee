//! What a suite's runs are made with, without a run: started, found, and ended again, and nothing else.

mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use common::life::{
    Ends, Stops, all_end, before_a_restart, chat_service, children, of_another_container,
    process_in, send, verb_in, wait_for,
};
use common::{Place, files, finish, json, text};
use rustix::process::Signal;

fn up(place: &Place, more: &[&str]) -> Command {
    let mut command = place.runner();
    command
        .args(["up", "chat"])
        .args(more)
        .env("CHAT_SERVICE_BIN", chat_service());
    command
}

/// What `http://HOST:PORT/PATH` answers; `None` where nobody does.
fn get(address: &str, path: &str) -> Option<String> {
    let host = address.strip_prefix("http://").expect("an address");
    let mut stream = TcpStream::connect(host).ok()?;
    let question = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(question.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// The address behind `target   chat at `.
fn address(printed: &str) -> String {
    let line = printed
        .lines()
        .find_map(|line| line.strip_prefix("target   chat at "));
    line.unwrap_or_else(|| panic!("no address: {printed}"))
        .trim()
        .to_owned()
}

#[test]
fn services_in_the_background_are_ended_by_name() {
    let place = Place::new();
    let mut neighbour = Ends(
        Command::new(chat_service())
            .args(["--listen", "127.0.0.1:0", "--stream-listen", "127.0.0.1:0"])
            .stdout(Stdio::null())
            .spawn()
            .expect("the service starts"),
    );
    let _stops = Stops(&place, &["down", "chat"]);
    let (code, printed) = finish(&mut up(&place, &["--detach"]));
    assert_eq!(code, 0, "{printed}");
    for expected in [
        "WS_URL=ws://127.0.0.1:",
        "its log: ",
        "end      barrier-bench down ",
    ] {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
    let (runner, address) = (process_in(&printed), address(&printed));
    let answer = get(&address, "/health").expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let started = children(runner);
    assert!(!started.is_empty());
    // The machine is free for a run against them.
    let (code, printed) = verb_in(
        &place,
        &["clean", "chat", "--set", "REDIS_URL=redis://127.0.0.1:1"],
    );
    assert!(
        !printed.contains("another run is active"),
        "{code} {printed}"
    );

    let (code, printed) = verb_in(&place, &["down", "chat"]);
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("ended    chat, process "), "{printed}");
    all_end(&started);
    assert_eq!(get(&address, "/health"), None);
    assert!(
        matches!(neighbour.0.try_wait(), Ok(None)),
        "nobody else is ended"
    );
    let folder = std::fs::read_dir(place.evidence())
        .expect("evidence")
        .next();
    let folder = folder.expect("a folder").expect("an entry").path();
    assert!(folder.join("chat.log").is_file() && folder.join("services.json").is_file());
    assert!(place.left_over().is_empty(), "{:?}", place.left_over());

    let (code, printed) = verb_in(&place, &["down", "chat"]);
    assert!(
        code == 0 && printed.contains("nothing of it runs any more"),
        "{printed}"
    );
}

#[test]
fn services_end_with_their_terminal_and_have_the_faults_of_a_run() {
    let place = Place::new();
    let faults = ["--set", "TARGET_ARGS=--fault loop-hz=50"];
    let mut runner = Ends(
        up(&place, &faults)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the runner starts"),
    );
    let output = runner.0.stdout.take().expect("stdout");
    let mut printed = String::new();
    let mut lines = BufReader::new(output).lines().map_while(Result::ok);
    for line in lines.by_ref() {
        printed.push_str(&line);
        printed.push('\n');
        if line.starts_with("up  ") {
            break;
        }
    }
    let faults = get(&address(&printed), "/faults").expect("an answer");
    assert!(faults.contains("\"loop-hz\""), "{faults}");
    let id = i32::try_from(runner.0.id()).expect("an id");
    let started = children(id);
    send(id, Signal::INT);
    assert_eq!(runner.0.wait().expect("end").code(), Some(0));
    all_end(&started);
}

#[test]
fn services_of_a_killed_runner_are_gone_or_ended() {
    let place = Place::new();
    let _stops = Stops(&place, &["down", "chat"]);
    let (code, printed) = finish(&mut up(&place, &["--detach"]));
    assert_eq!(code, 0, "{printed}");
    let runner = process_in(&printed);
    let started = children(runner);
    send(runner, Signal::KILL);
    let (code, printed) = verb_in(&place, &["down", "chat"]);
    assert_eq!(code, 0, "{printed}");
    all_end(&started);
}

#[test]
fn services_of_another_container_are_not_said_to_be_down() {
    let place = Place::new();
    let (code, printed) = finish(&mut up(&place, &["--detach"]));
    assert_eq!(code, 0, "{printed}");
    let (code, printed) = verb_in(&place, &["down", "chat"]);
    assert_eq!(code, 0, "{printed}");
    let found = files(&place.evidence());
    let path = found.iter().find(|path| path.ends_with("services.json"));
    let path = path.expect("what was started");
    let record = text(path);
    std::fs::write(path, of_another_container(&record)).expect("written");
    let (code, printed) = verb_in(&place, &["down", "chat"]);
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains("not ended: what was started runs, or ran, in another container"),
        "{printed}"
    );
    // After a restart of this machine nothing of them runs. In a container its id tells nothing.
    std::fs::write(path, before_a_restart(&record)).expect("written");
    let (code, printed) = verb_in(&place, &["down", "chat"]);
    let known = record.contains("\"machine\":");
    assert_eq!(code, if known { 0 } else { 2 }, "{printed}");
}

#[test]
fn a_service_that_ends_by_itself_ends_the_call_and_is_named() {
    let place = Place::new();
    let mut command = up(&place, &[]);
    let errors = place.evidence().with_file_name("errors");
    command.stderr(std::fs::File::create(&errors).expect("file"));
    let mut runner = Ends(
        command
            .stdout(Stdio::null())
            .spawn()
            .expect("the runner starts"),
    );
    let folder = wait_for("all are up", || {
        let mut entries = std::fs::read_dir(place.evidence()).ok()?.flatten();
        let found = entries.find(|entry| entry.path().join("services.json").is_file());
        found.map(|entry| entry.path())
    });
    let services = json(&folder.join("services.json"));
    let service = services["services"][0]["process"]["process"]
        .as_i64()
        .expect("a process");
    send(i32::try_from(service).expect("an id"), Signal::KILL);
    assert_eq!(runner.0.wait().expect("end").code(), Some(2));
    let errors = common::text(&errors);
    assert!(
        errors.contains("its program has ended (signal: 9 (SIGKILL))"),
        "{errors}"
    );
}

#[test]
fn what_a_person_started_is_not_started() {
    let place = Place::new();
    let (code, printed) = finish(up(&place, &["--detach"]).env("BASE_URL", "http://127.0.0.1:1"));
    assert_eq!(code, 2, "{printed}");
    assert!(printed.contains("was started by a person"), "{printed}");
    let (code, printed) = verb_in(&place, &["down", "chat"]);
    assert!(
        code == 2 && printed.contains("nothing of it is up"),
        "{printed}"
    );
}
