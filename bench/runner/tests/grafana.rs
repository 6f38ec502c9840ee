//! The monitor with a real Grafana: `make grafana-test`. No registry of packages has one, so that whoever runs this brings it:
//! `GRAFANA_HOME`, or `grafana` on the path.

mod common;

use common::monitor::call;
use common::{Place, finish, json, root};
use serde_json::Value as Json;

const PASSWORD: &str = "a-password-of-a-test";

#[test]
#[ignore = "needs a Grafana: GRAFANA_HOME=FOLDER make grafana-test"]
fn a_real_grafana_has_data_source_and_dashboard_without_a_click() {
    let place = Place::new();
    let mut command = call(&place, &["start"]);
    command.args(["--prometheus-port", "0", "--dashboard-port", "0"]);
    if let Some(home) = std::env::var_os("GRAFANA_HOME") {
        command.env("GRAFANA_HOME", home);
    }
    let (code, told) = finish(command.env("GRAFANA_PASSWORD", PASSWORD));
    assert_eq!(code, 0, "{told}");
    let ended = Ended(&place);
    let record = json(&common::monitor::folder(&place).join("monitor.json"));
    let grafana = record["grafana"].as_str().expect("a text");
    assert!(!grafana.contains("no Grafana"), "{grafana}");
    let dashboard = record["dashboard"].as_str().expect("an address");
    let (origin, path) = dashboard
        .split_once("/d/")
        .expect("the way to the dashboard");
    assert!(path.starts_with("testing"), "{dashboard}");

    // Who only looks needs no password.
    let shown = ask(&format!("{origin}/api/dashboards/uid/testing"));
    let file = json(&root().join("bench/monitoring/dashboards/testing.json"));
    assert_eq!(shown["dashboard"]["title"], file["title"]);
    let panels = |of: &Json| of["panels"].as_array().map(Vec::len);
    assert_eq!(panels(&shown["dashboard"]), panels(&file));
    assert_eq!(shown["meta"]["provisioned"], true);

    let (_, host) = origin.split_once("://").expect("a scheme");
    let admin = format!("http://admin:{PASSWORD}@{host}");
    let source = ask(&format!("{admin}/api/datasources/uid/prometheus"));
    assert_eq!(source["url"], record["prometheus"], "{source}");
    // What panels ask goes through it.
    let through = "api/datasources/proxy/uid/prometheus/api/v1/query?query=up";
    let answer = ask(&format!("{admin}/{through}"));
    assert_eq!(answer["status"], "success", "{answer}");
    drop(ended);
    assert!(ureq::get(dashboard).call().is_err(), "it has ended");
}

/// A monitor that ends with its test.
struct Ended<'a>(&'a Place);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        let _ = call(self.0, &["stop"]).output();
    }
}

fn ask(address: &str) -> Json {
    let mut answer = ureq::get(address).call().expect("an answer");
    let text = answer.body_mut().read_to_string().expect("a text");
    serde_json::from_str(&text).expect("JSON")
}
