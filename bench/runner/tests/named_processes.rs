//! Processes of services that a person has started: named by id, port or command line, they are watched as the target.

mod common;

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use common::services::Services;
use common::{Place, files, finish, json, root, text};
use serde_json::Value as Json;

/// The only file of the evidence with this name.
fn only(place: &Place, name: &str) -> PathBuf {
    let found: Vec<PathBuf> = files(&place.evidence())
        .into_iter()
        .filter(|path| path.ends_with(name))
        .collect();
    assert_eq!(found.len(), 1, "{name}: {found:?}");
    found[0].clone()
}

fn samples(place: &Place) -> Vec<Json> {
    let lines = text(&only(place, "monitor-processes.jsonl"));
    let lines = lines.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[test]
fn each_way_of_naming_is_watched_and_to_be_external_is_no_anomaly() {
    let services = Services::start(&[]);
    let port = services.address.rsplit(':').next().expect("a port");
    let id = services.child.id();
    for (named, name) in [
        (format!("pid:{id}"), format!("pid:{id}")),
        (format!("gateway=port:{port}"), "gateway".to_owned()),
        // Of several processes of the machine, the one with this folder among its arguments.
        (
            format!("room=pattern:--seats 8*{}", services.mark()),
            "room".to_owned(),
        ),
    ] {
        let place = Place::new();
        let mut run = services.call(&place, "run");
        let (code, printed) = finish(run.arg("--set").arg(format!("TARGET_PROCESSES={named}")));
        assert_eq!(code, 0, "{named}: {printed}");
        for line in samples(&place) {
            let rss = line["processes"][&name]["rss"].as_u64();
            assert!(rss.is_some_and(|rss| rss > 1_000_000), "{named}: {line}");
            assert!(line.get("gone").is_none(), "{line}");
        }
        let report = text(&only(&place, "report.html"));
        assert!(report.contains(&format!("{name}: memory, MiB")), "{named}");
    }
    let place = Place::new();
    let (code, printed) = finish(&mut services.call(&place, "run"));
    assert_eq!(code, 0, "{printed}");
    let figures = json(&only(&place, "figures.json"));
    let anomalies = figures["anomalies"].as_array().expect("a list");
    // How busy the machine of this test is is none of the target's being external.
    let own = |line: &&Json| {
        !line
            .to_string()
            .contains("the machine itself was the limit")
    };
    let anomalies: Vec<&Json> = anomalies.iter().filter(own).collect();
    assert!(anomalies.is_empty(), "{anomalies:?}");
    let machine = &json(&only(&place, "meta.json"))["machine"];
    assert_eq!(
        (&machine["busy"], &machine["measured"]),
        (&false.into(), &true.into()),
        "{machine}"
    );
    assert!(
        !printed.contains("did not start") && !printed.contains("other programs"),
        "{printed}"
    );
}

#[test]
fn names_that_lead_nowhere_are_refused_with_what_is_allowed() {
    let services = Services::start(&[]);
    let port = services.address.rsplit(':').next().expect("a port");
    let id = services.child.id();
    for (named, seen) in [
        ("java", "process: received `java`"),
        ("prot:8080", "process: received `prot:8080`"),
        (
            "pid:4194999",
            "process: received `pid:4194999`: there is no process with this id",
        ),
        (
            "port:1",
            "process: received `port:1`: nobody on this machine listens there",
        ),
        (
            "pattern:nothing-is-called*so",
            "process: received `pattern:nothing-is-called*so`: no command line",
        ),
        ("redis=port:1", "process: received `redis=port:1`"),
        (
            &format!("a=port:{port},a=pid:{id}"),
            "process: received `a` a second time",
        ),
    ] {
        for verb in ["doctor", "run"] {
            let place = Place::new();
            let mut command = services.call(&place, verb);
            let (code, printed) = finish(command.env("TARGET_PROCESSES", named));
            assert_eq!(code, 2, "{verb} {named}: {printed}");
            let lines: Vec<&str> = printed.lines().map(str::trim).collect();
            let at = lines
                .iter()
                .position(|line| line.contains(&format!("fault    {seen}")));
            let at = at.unwrap_or_else(|| panic!("{verb} {named}: {printed}"));
            let allowed = lines[at + 1].starts_with("mend: ")
                && lines[at + 1].contains("as in api=port:9000");
            assert!(allowed, "{verb} {named}: {printed}");
            assert!(!place.evidence().exists());
        }
    }
}

#[test]
fn one_that_goes_away_is_said_while_the_run_goes_on() {
    let services = Services::start(&[]);
    let place = Place::new();
    let mut helper = Command::new("sh");
    helper.args(["-c", "read -r _"]).stdin(Stdio::piped());
    let mut helper = helper.spawn().expect("a shell");
    let mut run = services.call(&place, "run");
    let id = helper.id();
    run.env("TARGET_PROCESSES", format!("helper=pid:{id}"))
        // Nobody logs in before this test has seen what it waits for.
        .env("BURST_OFFSET_MS", "200000")
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut run = run.spawn().expect("the runner starts");
    let mut lines = BufReader::new(run.stdout.take().expect("stdout"))
        .lines()
        .map(|line| line.expect("text"));
    lines
        .find(|line| line.contains("execution: local"))
        .expect("k6 runs");
    helper
        .kill()
        .and_then(|()| helper.wait().map(drop))
        .expect("ended");
    let gone =
        format!("warning  the process helper ({id}) of the target has gone while the run goes on");
    lines.find(|line| *line == gone).expect("it is said");
    let mend = lines.next().expect("a line");
    assert!(mend.trim().starts_with("mend: see its log"), "{mend}");
    let pid = rustix::process::Pid::from_child(&run);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("signal");
    let rest: Vec<String> = lines.collect();
    assert_eq!(run.wait().expect("the end").code(), Some(4), "{rest:#?}");
    let said: Vec<Json> = samples(&place)
        .into_iter()
        .filter(|line| line.get("gone").is_some())
        .collect();
    assert!(
        said.len() == 1 && said[0]["gone"][0] == format!("helper ({id})"),
        "{said:?}"
    );
}

#[test]
fn what_nothing_would_watch_is_refused_by_validate() {
    let place = Place::new();
    let suite = text(&root().join("bench/suites/waiting-room.toml"));
    for (from, to, expected) in [
        (
            "of = [\"k6\", \"target\", \"redis\"]",
            "of = [\"k6\", \"redis\"]",
            "nothing watches `processes`",
        ),
        (
            "processes = [\"${TARGET_PROCESSES}\"]",
            "processes = [\"java\"]",
            "process: received `java`; allowed: pid:NUMBER",
        ),
        (
            "faults = \"${TARGET_ARGS}\"\n",
            "faults = \"${TARGET_ARGS}\"\nprocesses = [\"port:1\"]\n",
            "only an external target has `processes`",
        ),
        (
            "limit = \"120s\"",
            "limit = \"soon\"",
            "`limit`: not a duration: `soon`",
        ),
        ("before_run = true", "before = true", "unknown key `before`"),
    ] {
        assert!(suite.contains(from), "{from}");
        let path = place.evidence().with_file_name("wrong.toml");
        std::fs::write(&path, suite.replacen(from, to, 1)).expect("written");
        let (code, printed) = finish(place.runner().arg("validate").arg(&path));
        assert_eq!(code, 2, "{to}: {printed}");
        assert!(
            printed.contains("wrong.toml:") && printed.contains(expected),
            "{to}: {printed}"
        );
    }
}
