//! The life of a monitor: what starts, what is refused, what ends and what stays. No run is needed for that.

mod common;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use common::monitor::{Monitor, call, chat_service, folder, run, until};
use common::{Place, files, finish, json, text};
use procfs::process::Process;
use rustix::process::{Pid, Signal, kill_process};

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
    assert_eq!(rules.len(), 4, "{rules:?}");
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
        told.contains("expr: \"backend_loop_hz < 42\"\n        for: 30000ms"),
        "{told}"
    );
    let (_, told) = finish(command.arg("--quick"));
    assert!(told.contains("for: 3000ms"), "{told}");
}
