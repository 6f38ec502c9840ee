//! Runs that are watched live: a real Prometheus, real k6, the reference chat service.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::chat::Chat;
use common::monitor::{Monitor, run, until};
use common::{Place, files, finish, json, root, text, wait};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;

/// The folder of the only run of the test; the health check before it has one of its own.
fn run_folder(place: &Place) -> PathBuf {
    let found = files(&place.evidence());
    let mut found = found
        .iter()
        .filter(|path| path.ends_with("websocket-streaming/verdict.json"))
        .filter_map(|path| path.parent());
    let folder = found.next().expect("a run").to_owned();
    assert!(found.next().is_none(), "one run");
    folder
}

fn alert<'a>(alerts: &'a Json, id: &str) -> &'a Json {
    let all = alerts["alerts"].as_array().expect("alerts");
    let found = all.iter().find(|alert| alert["id"] == id);
    found.unwrap_or_else(|| panic!("{id} in {alerts:#}"))
}

/// What the verdict says of a gate. Whether all hold is a matter of the machine, which may have more to do.
fn gate(folder: &Path, id: &str) -> Json {
    let verdict = json(&folder.join("verdict.json"));
    let gates = verdict["gates"].as_array().expect("gates");
    let found = gates.iter().find(|gate| gate["id"] == id);
    found
        .unwrap_or_else(|| panic!("{id} in {verdict:#}"))
        .clone()
}

/// The run at a service that is there already, with messages in quick succession: enough to be judged in a short window.
fn at<'c>(chat: &Chat, command: &'c mut Command) -> &'c mut Command {
    command
        .env("BASE_URL", format!("http://{}", chat.api))
        .env("WS_URL", format!("ws://{}", chat.stream))
        .env("SESSION_MS", "2000-4000")
        .env("PAUSE_MS", "0")
        .env("THINK_MS", "50")
}

/// Every query of the dashboard that can be without samples: of panels, of annotations. A constant is none, and what stands for nothing
/// is taken off.
fn queries() -> Vec<String> {
    let dashboard = json(&root().join("bench/monitoring/dashboards/testing.json"));
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().expect("targets"));
    let annotations = dashboard["annotations"]["list"].as_array().expect("a list");
    let queries = targets.chain(annotations).map(|query| &query["expr"]);
    let queries = queries.map(|query| query.as_str().expect("a query"));
    let queries = queries.filter(|query| !query.starts_with("vector("));
    let queries = queries.map(|query| query.trim_end_matches(" or vector(0)").to_owned());
    queries.collect()
}

#[test]
fn a_slow_loop_raises_its_alert_and_every_query_has_samples() {
    let place = Place::new();
    let monitor = Monitor::start(&place);
    // The loop falls while users talk to it: the twelve seconds after which its alert fires are within the run.
    let chat = Chat::start();
    let mut child = at(
        &chat,
        &mut run(&place, &["--scenario", "websocket-streaming"]),
    )
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .expect("the runner starts");
    until("the first message", || {
        (chat.counter("messages") > 0).then_some(())
    });
    chat.set_faults(&serde_json::json!({ "loop-hz": 90 }));
    // Each panel shows something while the run goes on; alerts take their time, and so does the part that is measured.
    let queries = queries();
    assert!(queries.len() > 20, "{queries:?}");
    for query in queries.iter().filter(|query| !query.contains("ALERTS")) {
        let now = query.replace("$run_id", ".*");
        let now = now.trim_end_matches(" == 1");
        until(query, || {
            let answer = monitor.ask("query", &[("query", now)]);
            (answer["data"]["result"] != Json::Array(vec![])).then_some(())
        });
    }
    let ended = child.try_wait().expect("state");
    assert!(ended.is_none(), "it was asked during the run");
    let (code, told) = wait(child);
    assert_eq!(code, 3, "{told}");
    assert!(
        told.contains("alert    Low loop pace (critical) fired from"),
        "{told}"
    );

    let folder = run_folder(&place);
    let average = gate(&folder, "hz-average");
    assert_eq!(average["holds"], false);
    assert!(
        average["value"].as_f64().is_some_and(|hz| hz < 95.0),
        "{average}"
    );
    // Of the objectives none is missed but those of the loop.
    let verdict = json(&folder.join("verdict.json"));
    for gate in verdict["gates"].as_array().expect("gates") {
        let id = gate["id"].as_str().expect("an id");
        let of_others = gate["class"] == "slo" && !id.starts_with("hz-");
        assert!(!of_others || gate["holds"] == true, "{gate:#}");
    }
    let meta = json(&folder.join("meta.json"));
    assert_eq!(meta["watched"], "monitor");
    let run_id = meta["runId"].as_str().expect("an id");
    let alerts = json(&folder.join("alerts.json"));
    assert_eq!(alerts["unknown"], Json::Null, "{alerts:#}");
    assert_eq!(
        alerts["alerts"].as_array().map(Vec::len),
        Some(5),
        "{alerts:#}"
    );
    let low = alert(&alerts, "low-loop-pace");
    let fired = &low["fired"][0];
    assert_eq!(fired["labels"]["run_id"], run_id, "{low:#}");
    let ms = |value: &Json| value.as_i64().expect("a time");
    assert!(ms(&alerts["fromMs"]) < ms(&fired["fromMs"]), "{low:#}");
    assert!(ms(&fired["fromMs"]) < ms(&fired["toMs"]), "{low:#}");
    assert_eq!(low["forMs"], 12_000, "a tenth of what is declared");
    assert!(low["pending"][0].is_object(), "{low:#}");
    for id in ["high-error-rate", "ws-connect-failures"] {
        assert_eq!(
            alert(&alerts, id)["fired"],
            Json::Array(vec![]),
            "{alerts:#}"
        );
    }
    let plan = folder
        .ancestors()
        .find(|folder| folder.join("report.html").is_file());
    let plan = plan.expect("a report");
    for report in ["report.html", "report.md"] {
        assert!(
            text(&plan.join(report)).contains("Low loop pace"),
            "{report}"
        );
    }

    // What Prometheus kept of the run, asked as the panels ask.
    let span = |query: &str| {
        let (from, to) = (ms(&alerts["fromMs"]) / 1000, ms(&alerts["toMs"]) / 1000);
        let (from, to) = (from.to_string(), to.to_string());
        let asked = [
            ("query", query),
            ("start", &from),
            ("end", &to),
            ("step", "1"),
        ];
        monitor.ask("query_range", &asked)
    };
    let has_samples = |query: &str| {
        let answer = span(query);
        let series = answer["data"]["result"].as_array().expect("series").len();
        assert!(series > 0, "no samples of {query}: {answer}");
    };
    for query in &queries {
        has_samples(&query.replace("$run_id", run_id));
    }
    let rules = monitor.ask("rules", &[("type", "alert")]);
    let rules = rules["data"]["groups"][0]["rules"]
        .as_array()
        .expect("rules");
    assert_eq!(rules.len(), 5);
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule:#}");
        let query = rule["query"].as_str().expect("a query");
        let compared = [" > ", " < ", " == "]
            .iter()
            .find_map(|op| query.rsplit_once(op));
        has_samples(compared.expect("a comparison").0);
    }

    // The page of our own draws each panel of this run.
    let page = monitor.page(&format!("/?run={run_id}"));
    let panels = json(&root().join("bench/monitoring/dashboards/testing.json"));
    let panels = panels["panels"].as_array().expect("panels").len();
    assert_eq!(page.matches("<figure").count(), panels);
    assert_eq!(page.matches("<svg").count(), panels, "{page}");
    let state = format!("(run {run_id}): ended after");
    assert!(page.contains(&state), "{page}");
    assert!(page.contains("limit: 95"), "{page}");

    // The monitor ends, and the evidence stays.
    let (code, told) = finish(&mut common::monitor::call(&place, &["stop"]));
    assert_eq!(code, 0, "{told}");
    for name in ["verdict.json", "alerts.json", "series.hlog", "summary.json"] {
        assert!(folder.join(name).is_file(), "{name}");
    }
}

#[test]
fn a_run_outlives_its_prometheus_and_says_since_when_alerts_are_unknown() {
    let place = Place::new();
    let monitor = Monitor::start(&place);
    let child = run(&place, &["--scenario", "websocket-streaming"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the runner starts");
    // As soon as k6's own values have come in, Prometheus knows of the run; the health check before it sends no messages.
    until("values of k6", || {
        let answer = monitor.ask("query", &[("query", "k6_attempted_messages_total > 0")]);
        (answer["data"]["result"] != Json::Array(vec![])).then_some(())
    });
    let (_, prometheus) = monitor.processes();
    let prometheus = Pid::from_raw(prometheus).expect("a process");
    kill_process(prometheus, Signal::KILL).expect("killed");
    let (_, told) = wait(child);
    let own = "target   without BASE_URL the suite's own target is tested: chat\n";
    assert_eq!(told.matches(own).count(), 1, "{told}");
    let folder = run_folder(&place);
    let verdict = json(&folder.join("verdict.json"));
    assert_eq!(verdict["k6ExitCode"], 0, "{told}");
    assert_eq!(gate(&folder, "connected")["holds"], true, "{told}");
    assert_eq!(gate(&folder, "evidence-complete")["holds"], true, "{told}");
    // It changes no gate and no reason, and it is said beside them.
    let warnings = verdict["warnings"].to_string();
    assert!(
        warnings.contains("which alerts fired is unknown from ")
            && warnings.contains(&monitor.prometheus),
        "{verdict:#}"
    );
    for part in ["gates", "reasons"] {
        for word in ["rometheus", "lert"] {
            assert!(!verdict[part].to_string().contains(word), "{verdict:#}");
        }
    }
    let (_, again) = finish(place.runner().arg("judge").arg(&folder));
    assert!(again.contains("stored   the same verdict"), "{again}");
    let alerts = json(&folder.join("alerts.json"));
    let why = alerts["unknown"].as_str().expect("a reason");
    assert!(why.contains(&monitor.prometheus), "{why}");
    let (known, end) = (&alerts["knownToMs"], &alerts["toMs"]);
    assert!(known.as_i64() < end.as_i64(), "{alerts:#}");
    assert!(told.contains("unknown from"), "{told}");
    let page = monitor.page("/panels");
    assert!(
        page.contains("Prometheus does not answer: it has ended"),
        "{page}"
    );
    let (code, told) = finish(&mut common::monitor::call(&place, &["status"]));
    assert_eq!(code, 2, "{told}");
    assert!(told.contains("prometheus does not answer"), "{told}");
}

#[test]
fn the_monitor_ends_what_a_killed_runner_left_open() {
    let place = Place::new();
    let monitor = Monitor::start(&place);
    let mut child = run(&place, &["--scenario", "websocket-streaming"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the runner starts");
    let folder = common::monitor::folder(&place);
    let targets = || text(&folder.join("targets.json"));
    let record = until("a run", || {
        let mut runs = std::fs::read_dir(folder.join("runs")).ok()?.flatten();
        let path = runs.find(|run| text(&run.path()).contains("websocket-streaming"))?;
        targets().contains("run_id").then_some(path.path())
    });
    assert_eq!(json(&record)["endMs"], Json::Null);
    let metrics = monitor.page("/metrics");
    assert!(metrics.contains("gate=\"hz-average\""), "{metrics}");
    child.kill().expect("killed");
    child.wait().expect("it ends");
    until("its end", || json(&record)["endMs"].as_i64());
    until("nothing to scrape", || {
        (targets().trim() == "[]").then_some(())
    });
    let metrics = monitor.page("/metrics");
    assert!(!metrics.contains("gate="), "{metrics}");
}
