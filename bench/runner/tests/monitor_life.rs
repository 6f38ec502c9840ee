//! The life of a monitor: what starts, what is refused, what ends and what stays. No run is needed for that.

mod common;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, SystemTime};

use common::life::{child, of_another_container, send};
use common::monitor::{Monitor, call, chat_service, folder, run, until};
use common::{Place, files, finish, json, text, wait};
use procfs::process::Process;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;

const FREE: [&str; 6] = [
    "start",
    "--without-grafana",
    "--prometheus-port",
    "0",
    "--dashboard-port",
    "0",
];

/// Whether it runs no more; who has been orphaned may have to wait until somebody reaps it.
fn gone(process: i32) -> bool {
    let stat = Process::new(process).and_then(|process| process.stat());
    stat.map_or(true, |stat| stat.state == 'Z')
}

/// The port of an address.
fn port(address: &str) -> u16 {
    let (_, port) = address.rsplit_once(':').expect("a port");
    port.parse().expect("a number")
}

#[test]
fn what_was_started_ends_and_what_was_kept_stays() {
    let place = Place::new();
    let monitor = Monitor::start(&place);
    let (own, prometheus) = monitor.processes();
    let rules = monitor.ask("rules", &[("type", "alert")]);
    let rules = rules["data"]["groups"][0]["rules"]
        .as_array()
        .expect("rules");
    assert_eq!(rules.len(), 5, "{rules:?}");
    assert_eq!(monitor.page("/api/health"), "ok\n");
    assert!(
        monitor
            .page("/d/testing")
            .contains("No run was watched yet")
    );
    for (arguments, expected) in [
        (&["url", "prometheus"][..], &monitor.prometheus),
        (&["url", "dashboard"], &monitor.dashboard),
    ] {
        let (code, told) = finish(&mut call(&place, arguments));
        assert_eq!((code, told.trim()), (0, expected.as_str()));
    }
    let (code, told) = finish(&mut call(&place, &FREE));
    assert_eq!(code, 0, "{told}");
    assert!(
        told.contains("up already") && told.contains(&monitor.prometheus),
        "{told}"
    );
    let (code, told) = finish(&mut call(&place, &["status"]));
    assert_eq!(code, 0, "{told}");
    assert!(
        told.contains("none now") && told.contains("none fires"),
        "{told}"
    );

    let (code, told) = finish(&mut call(&place, &["stop"]));
    assert_eq!(code, 0, "{told}");
    assert!(gone(own) && gone(prometheus));
    for address in [&monitor.prometheus, &monitor.dashboard] {
        TcpListener::bind(("127.0.0.1", port(address))).expect("a port that is free again");
    }
    assert!(folder(&place).join("data").is_dir(), "what Prometheus kept");
    for (arguments, expected) in [(&["stop"][..], 0), (&["url"], 2), (&["status"], 2)] {
        let (code, told) = finish(&mut call(&place, arguments));
        assert_eq!(code, expected, "{told}");
        assert!(told.contains("no monitor of chat is up"), "{told}");
    }
    assert!(place.left_over().is_empty());
}

#[test]
fn a_killed_monitor_takes_prometheus_along_and_is_no_other_process() {
    let place = Place::new();
    let monitor = Monitor::start(&place);
    let (own, prometheus) = monitor.processes();
    kill_process(Pid::from_raw(own).expect("a process"), Signal::KILL).expect("killed");
    until("Prometheus ends", || gone(prometheus).then_some(()));
    // Its number may be another's by now: here it is that of this test.
    let path = folder(&place).join("monitor.json");
    let mut record = json(&path);
    record["process"] = std::process::id().into();
    std::fs::write(&path, record.to_string()).expect("written");
    let (code, told) = finish(&mut call(&place, &["stop"]));
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("had ended before"), "{told}");
    assert!(!path.exists());
}

/// A call of `start` that waits for a Prometheus that never answers, once the monitor has begun; and the monitor's process.
fn half_started(place: &Place) -> (Child, i32) {
    let program = stand_in(place, "exec sleep 600");
    let mut command = call(place, &FREE);
    command.env("PROMETHEUS_BIN", program);
    let starting = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let starting = starting.expect("the runner starts");
    let monitor = until("the monitor begins", || {
        let record = std::fs::read(folder(place).join("starting.json")).ok()?;
        let record: Json = serde_json::from_slice(&record).ok()?;
        i32::try_from(record["process"].as_i64()?).ok()
    });
    until("its Prometheus begins", || child(monitor, "sleep"));
    (starting, monitor)
}

#[test]
fn a_start_that_is_interrupted_leaves_nothing() {
    let place = Place::new();
    let (starting, monitor) = half_started(&place);
    let prometheus = child(monitor, "sleep").expect("it runs").id;
    send(i32::try_from(starting.id()).expect("an id"), Signal::INT);
    let (code, told) = wait(starting);
    assert_eq!(code, 4, "{told}");
    assert!(gone(monitor) && gone(prometheus), "{told}");
    for name in ["starting.json", "monitor.json"] {
        assert!(!folder(&place).join(name).exists(), "{name}");
    }
}

#[test]
fn what_a_killed_start_leaves_is_found_by_stop() {
    let place = Place::new();
    let (mut starting, monitor) = half_started(&place);
    let prometheus = child(monitor, "sleep").expect("it runs").id;
    starting.kill().expect("killed");
    starting.wait().expect("reaped");
    let (code, told) = finish(&mut call(&place, &FREE));
    assert_eq!(code, 2, "{told}");
    let named = format!("is being started already, by process {monitor}");
    assert!(told.contains(&named), "{told}");
    let (code, told) = finish(&mut call(&place, &["stop"]));
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("the monitor of chat has ended"), "{told}");
    until("both end", || {
        (gone(monitor) && gone(prometheus)).then_some(())
    });
    let (code, told) = finish(&mut call(&place, &["stop"]));
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("no monitor of chat is up"), "{told}");
}

#[test]
fn a_monitor_of_another_container_is_neither_doubled_nor_taken_for_dead() {
    let place = Place::new();
    let path = folder(&place).join("monitor.json");
    let record = {
        let _monitor = Monitor::start(&place);
        text(&path)
    };
    let elsewhere = of_another_container(&record);
    std::fs::write(&path, &elsewhere).expect("written");
    for (arguments, what) in [
        (&FREE[..], "not started"),
        (&["stop"], "not stopped"),
        (&["status"], "not asked"),
    ] {
        let (code, told) = finish(&mut call(&place, arguments));
        assert_eq!(code, 2, "{told}");
        assert!(
            told.contains(what) && told.contains("in another container"),
            "{told}"
        );
        assert!(
            told.contains("monitor.json: a monitor ends without it"),
            "{told}"
        );
    }
    assert_eq!(text(&path), elsewhere, "it is as it was");
    // One that is up writes every second.
    let old = SystemTime::now() - Duration::from_hours(1);
    for path in files(&folder(&place)) {
        let file = std::fs::File::options().append(true).open(path);
        file.and_then(|file| file.set_modified(old))
            .expect("a time");
    }
    let (code, told) = finish(&mut call(&place, &["stop"]));
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("had ended before"), "{told}");
}

/// A run as it is kept; its runner is no more.
fn kept(place: &Place, run_id: &str, start_ms: i64, end_ms: Option<i64>) -> PathBuf {
    let record = serde_json::json!({
        "runId": run_id, "title": run_id, "scenario": "health", "startMs": start_ms, "windowFromMs": start_ms,
        "windowToMs": null, "endMs": end_ms, "limits": {}, "process": 1, "startedTicks": 0, "system": "none",
    });
    let path = folder(place).join(format!("runs/{run_id}.json"));
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(&path, record.to_string()).expect("written");
    path
}

#[test]
fn a_monitor_outlives_a_disk_that_it_cannot_write_to() {
    let place = Place::new();
    let monitor = Monitor::start(&place);
    let (own, _) = monitor.processes();
    // Where a file cannot be replaced, as on a full disk.
    let targets = folder(&place).join("targets.json");
    std::fs::remove_file(&targets).expect("removed");
    std::fs::create_dir_all(targets.join("in-the-way")).expect("a folder");
    let run = kept(&place, "killed", 1, None);
    let log = folder(&place).join("monitor.log");
    until("it says so, or ends", || {
        (gone(own) || text(&log).contains("not tidied")).then_some(())
    });
    assert!(!gone(own), "{}", text(&log));
    std::fs::remove_dir_all(&targets).expect("removed");
    until("it tidies", || json(&run)["endMs"].is_i64().then_some(()));
    assert!(targets.is_file());
    assert_eq!(text(&log).matches("not tidied").count(), 1, "said once");
    let (code, told) = finish(&mut call(&place, &["status"]));
    assert_eq!(code, 0, "{told}");
}

#[test]
fn the_newest_hundred_runs_are_kept_to_be_looked_at() {
    let place = Place::new();
    let runs: Vec<PathBuf> = (0..103)
        .map(|number| kept(&place, &format!("run-{number}"), number, Some(number + 1)))
        .collect();
    let _monitor = Monitor::start(&place);
    until("the older ones are removed", || {
        runs[..3].iter().all(|run| !run.exists()).then_some(())
    });
    assert!(runs[3..].iter().all(|run| run.is_file()));
}

#[test]
fn a_monitor_ends_with_its_folder() {
    let place = Place::new();
    let monitor = Monitor::start(&place);
    let (own, prometheus) = monitor.processes();
    std::fs::remove_file(folder(&place).join("monitor.json")).expect("removed");
    until("both end", || (gone(own) && gone(prometheus)).then_some(()));
}

#[test]
fn a_port_that_is_taken_is_named_with_the_way_out() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener
        .local_addr()
        .expect("an address")
        .port()
        .to_string();
    for option in ["--prometheus-port", "--dashboard-port"] {
        let other = ["--prometheus-port", "--dashboard-port"];
        let other = other.iter().find(|other| **other != option).expect("one");
        let (code, told) = finish(&mut call(&place, &["start", option, &port, other, "0"]));
        assert_eq!(code, 2, "{told}");
        assert!(
            told.contains(&format!("port {port} of 127.0.0.1")),
            "{told}"
        );
        assert!(told.contains(&format!("{option}, 0 for any")), "{told}");
    }
    assert!(!folder(&place).join("monitor.json").exists());
}

/// A program that stands where Prometheus should, beside a promtool that likes everything.
fn stand_in(place: &Place, script: &str) -> PathBuf {
    let folder = place.evidence().with_file_name("stand-in");
    std::fs::create_dir_all(&folder).expect("a folder");
    for (name, script) in [("prometheus", script), ("promtool", "exit 0")] {
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("runs");
    }
    folder.join("prometheus")
}

#[test]
fn a_prometheus_that_is_not_there_or_dies_says_so() {
    let place = Place::new();
    // Where nothing was unpacked either.
    let suite = place.evidence().with_file_name("chat.toml");
    std::fs::copy(common::root().join("bench/suites/chat.toml"), &suite).expect("copied");
    let elsewhere = place.evidence().with_file_name("tmp");
    let mut command = place.runner();
    command
        .args(["monitor"])
        .arg(&suite)
        .args(FREE)
        .env("PATH", "/nonexistent")
        .current_dir(elsewhere);
    let (code, told) = finish(&mut command);
    assert_eq!(code, 2, "{told}");
    assert!(told.contains("scripts/ensure-prometheus.sh"), "{told}");

    let mut named = call(&place, &FREE);
    let (code, told) = finish(named.env("PROMETHEUS_BIN", "/no/such/prometheus"));
    assert_eq!(code, 2, "{told}");
    assert!(
        told.contains("PROMETHEUS_BIN=/no/such/prometheus: no such file"),
        "{told}"
    );

    let program = stand_in(&place, "echo no space left in this house; exit 7");
    let (code, told) = finish(call(&place, &FREE).env("PROMETHEUS_BIN", program));
    assert_eq!(code, 2, "{told}");
    assert!(told.contains("exit status: 7"), "{told}");
    assert!(told.contains("no space left in this house"), "{told}");
    assert!(!folder(&place).join("monitor.json").exists());
}

#[test]
fn alerts_that_prometheus_does_not_take_are_told_before_anything_starts() {
    let place = Place::new();
    let suite = place.evidence().with_file_name("chat.toml");
    let own = text(&common::root().join("bench/suites/chat.toml"));
    let wrong = own.replace("expr = 'up{job=\"service\"} == 0'", "expr = 'up{job= == 0'");
    assert_ne!(own, wrong);
    std::fs::write(&suite, wrong).expect("written");
    let mut command = place.runner();
    if let Some(program) = std::env::var_os("PROMETHEUS_BIN") {
        command.env("PROMETHEUS_BIN", program);
    }
    let (code, told) = finish(command.arg("monitor").arg(&suite).args(FREE));
    assert_eq!(code, 2, "{told}");
    assert!(told.contains("does not take the suite's alerts"), "{told}");
    assert!(told.contains("Service unavailable"), "{told}");
    assert!(
        !folder(&place).join("prometheus.log").exists(),
        "nothing was started"
    );
}

/// What stands where Grafana should: the reference chat service answers `/api/health`, too. It notes what it was told.
fn grafana(place: &Place) -> PathBuf {
    let home = place.evidence().with_file_name("grafana");
    std::fs::create_dir_all(home.join("bin")).expect("a folder");
    let path = home.join("bin/grafana");
    let script = format!(
        "#!/bin/sh\n{{ echo \"$@\"; env; }} >{}/told\nexec {} --listen \"$GF_SERVER_HTTP_ADDR:$GF_SERVER_HTTP_PORT\" --stream-listen 127.0.0.1:0\n",
        home.display(),
        chat_service().display()
    );
    std::fs::write(&path, script).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("runs");
    home
}

#[test]
fn grafana_is_told_where_everything_is_and_ends_with_the_monitor() {
    let place = Place::new();
    let home = grafana(&place);
    let start = FREE.iter().filter(|word| **word != "--without-grafana");
    let start: Vec<&str> = start.copied().collect();
    let mut command = call(&place, &start);
    command
        .env("GRAFANA_HOME", &home)
        .env("GRAFANA_PASSWORD", "a-password-of-a-test");
    let (code, told) = finish(&mut command);
    assert_eq!(code, 0, "{told}");
    let record = json(&folder(&place).join("monitor.json"));
    let dashboard = record["dashboard"].as_str().expect("an address");
    let address = dashboard
        .strip_suffix("/d/testing")
        .expect("the dashboard's uid");
    let health = ureq::get(format!("{address}/api/health")).call();
    assert_eq!(health.expect("an answer").status(), 200);
    assert_ne!(
        record["page"], address,
        "our page has an address of its own"
    );
    let known = text(&home.join("told"));
    for line in [
        &format!("server --homepath {}", home.display()),
        "GF_SERVER_HTTP_ADDR=127.0.0.1",
        "GF_SECURITY_ADMIN_PASSWORD=a-password-of-a-test",
        &format!(
            "PROMETHEUS_URL={}",
            record["prometheus"].as_str().expect("it")
        ),
    ] {
        assert!(known.lines().any(|own| own == line), "{line}: {known}");
    }
    let set = |name: &str| {
        let line = known.lines().find_map(|line| line.strip_prefix(name));
        PathBuf::from(line.expect(name))
    };
    let provision = set("GF_PATHS_PROVISIONING=");
    assert!(provision.join("datasources/prometheus.yml").is_file());
    assert!(provision.join("dashboards/files.yml").is_file());
    assert!(set("DASHBOARDS_FOLDER=").join("testing.json").is_file());
    for file in files(&folder(&place)) {
        let content = std::fs::read(&file).expect("read");
        let content = String::from_utf8_lossy(&content);
        assert!(
            !content.contains("a-password-of-a-test"),
            "{}",
            file.display()
        );
    }
    let (code, told) = finish(&mut call(&place, &["stop"]));
    assert_eq!(code, 0, "{told}");
    TcpListener::bind(("127.0.0.1", port(address))).expect("a port that is free again");
}

#[test]
fn a_plan_that_does_not_pass_ends_the_monitor_where_that_is_asked_for() {
    let place = Place::new();
    let _monitor = Monitor::start(&place);
    let failing = [
        "--scenario",
        "health",
        "--set",
        "TARGET_ARGS=--no-such-switch",
    ];
    let (code, told) = finish(&mut run(&place, &failing));
    assert_ne!(code, 0, "{told}");
    let (code, told) = finish(&mut call(&place, &["status"]));
    assert_eq!(code, 0, "it stays for those who look into it: {told}");
    let asked = [&failing[..], &["--stop-monitoring-on-fail"]].concat();
    let (code, told) = finish(&mut run(&place, &asked));
    assert_ne!(code, 0, "{told}");
    assert!(told.contains("the monitor of chat has ended"), "{told}");
    let (code, told) = finish(&mut call(&place, &["status"]));
    assert_eq!(code, 2, "{told}");
}

#[test]
fn k6_sends_to_a_prometheus_of_ones_own_and_its_password_is_kept_secret() {
    let (theirs, place) = (Place::new(), Place::new());
    let prometheus = Monitor::start(&theirs);
    let mut command = run(&place, &["--scenario", "health"]);
    command
        .env(
            "K6_PROMETHEUS_RW_SERVER_URL",
            format!("{}/api/v1/write", prometheus.prometheus),
        )
        .env("K6_PROMETHEUS_RW_USERNAME", "somebody")
        .env("K6_PROMETHEUS_RW_PASSWORD", "a-password-of-a-test");
    let (_, told) = finish(&mut command);
    assert!(
        told.contains("which alerts fire there is not kept"),
        "{told}"
    );
    let evidence = files(&place.evidence());
    let meta = evidence.iter().find(|path| path.ends_with("meta.json"));
    let meta = json(meta.expect("a run"));
    assert_eq!(meta["watched"], "prometheus");
    let run_id = meta["runId"].as_str().expect("an id");
    let query = format!("count_over_time(k6_http_reqs_total{{run_id=\"{run_id}\"}}[1h])");
    let answer = prometheus.ask("query", &[("query", &query)]);
    assert!(answer["data"]["result"][0].is_object(), "{answer} {told}");
    assert!(evidence.iter().all(|path| !path.ends_with("alerts.json")));
    for path in &evidence {
        let content = String::from_utf8_lossy(&std::fs::read(path).expect("read")).into_owned();
        assert!(
            !content.contains("a-password-of-a-test"),
            "{}",
            path.display()
        );
    }
    assert!(!told.contains("a-password-of-a-test"), "{told}");
}

#[test]
fn tokens_of_a_prometheus_of_ones_own_are_told_nowhere() {
    let place = Place::new();
    // Nobody listens there, so k6 tells the address in its errors.
    let mut command = run(&place, &["--scenario", "health"]);
    command
        .env(
            "K6_PROMETHEUS_RW_SERVER_URL",
            "http://user-token-of-a-test@127.0.0.1:1/write?token=query-token-of-a-test",
        )
        .env(
            "K6_PROMETHEUS_RW_HTTP_HEADERS",
            "X-Scope:first-header-of-a-test,Authorization:Bearer second-header-of-a-test",
        )
        .env("K6_PROMETHEUS_RW_HEADERS_X_KEY", "third-header-of-a-test");
    let (_, told) = finish(&mut command);
    let evidence = files(&place.evidence());
    let output = evidence.iter().find(|path| path.ends_with("stdout.txt"));
    let output = text(output.expect("a run"));
    assert!(output.contains("127.0.0.1:1/write"), "{output}");
    let contents = evidence.iter().map(|path| {
        let content = std::fs::read(path).expect("read");
        (
            path.display().to_string(),
            String::from_utf8_lossy(&content).into_owned(),
        )
    });
    for (name, content) in contents.chain([("printed".to_owned(), told)]) {
        for line in content.lines() {
            assert!(!line.contains("-of-a-test"), "{name}: {line}");
        }
    }
}

#[test]
fn an_address_that_prometheus_cannot_ask_as_it_is_is_refused() {
    let place = Place::new();
    let mut command = call(&place, &FREE);
    command.env(
        "BASE_URL",
        "http://somebody:password-of-a-test@127.0.0.1:4000",
    );
    let (code, told) = finish(&mut command);
    assert_eq!(code, 2, "{told}");
    assert!(
        told.contains("scrape.service") && told.contains("without a user and a password"),
        "{told}"
    );
    assert!(!told.contains("password-of-a-test"), "{told}");
    assert!(!folder(&place).join("monitor.json").exists());
}

#[test]
fn rules_hold_the_values_of_variables() {
    let place = Place::new();
    let mut command = place.runner();
    command.args([
        "monitor",
        "chat",
        "--set",
        "HZ_AVERAGE_THRESHOLD=42",
        "rules",
    ]);
    let (code, told) = finish(&mut command);
    assert_eq!(code, 0, "{told}");
    assert!(
        told.contains("expr: \"backend_loop_hz < 42\"\n        for: 120000ms"),
        "{told}"
    );
    let (_, told) = finish(command.arg("--quick"));
    assert!(told.contains("for: 12000ms"), "{told}");
}
