//! What Prometheus reads: its configuration, and the suite's alerts as rules.

use std::fmt::Write as _;
use std::time::Duration;

use crate::suite::Suite;
use crate::suite::alert::expanded;
use crate::suite::gate;
use crate::suite::quick::Shares;
use crate::suite::vars::Vars;

/// A text as a scalar of YAML.
fn quoted(text: &str) -> String {
    // JSON's strings are among those of YAML.
    serde_json::Value::from(text).to_string()
}

/// A duration as Prometheus writes it.
fn promised(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}

/// The suite's alerts as a file of rules, with the values of variables. `shares`: those of `--quick`, which shorten `for`.
///
/// # Errors
/// An expression names a variable without a value.
pub(super) fn rules(suite: &Suite, vars: &Vars, shares: Shares) -> anyhow::Result<String> {
    let id = &suite.file.suite.id;
    let mut text = String::from("groups:\n");
    // Writing to a text cannot fail.
    let _ = writeln!(text, "  - name: {}\n    interval: 1s", quoted(id));
    let _ = writeln!(
        text,
        "    rules:{}",
        if suite.file.alert.is_empty() {
            " []"
        } else {
            ""
        }
    );
    for alert in &suite.file.alert {
        let _ = writeln!(text, "      - alert: {}", quoted(alert.name()));
        let _ = writeln!(
            text,
            "        expr: {}",
            quoted(&expanded(alert, |name| vars.text(name))?)
        );
        let _ = writeln!(text, "        for: {}", promised(shares.time(alert.lasts)));
        let _ = writeln!(
            text,
            "        labels: {{ severity: {}, suite: {} }}",
            quoted(alert.severity.get_ref()),
            quoted(id)
        );
        let _ = writeln!(text, "        annotations:");
        let _ = writeln!(text, "          id: {}", quoted(alert.id.get_ref()));
        if let Some(say) = &alert.say {
            let _ = writeln!(text, "          description: {}", quoted(say));
        }
    }
    Ok(text)
}

/// A further group of rules: the limits of a scenario's gates as series, as the monitor's own page offers them.
///
/// # Errors
/// A limit names a variable without a value.
pub(super) fn limits(suite: &Suite, vars: &Vars, scenario: &str) -> anyhow::Result<String> {
    let name = quoted(&format!("{}, limits of {scenario}", suite.file.suite.id));
    let mut text = format!("  - name: {name}\n    interval: 5s\n    rules:\n");
    for gate in gate::of_scenario(&suite.file.gate, scenario) {
        let limit = gate::limit(gate, vars)?;
        let _ = writeln!(text, "      - record: barrier_bench_gate_limit");
        let _ = writeln!(
            text,
            "        expr: {}",
            quoted(&format!("vector({limit})"))
        );
        let _ = writeln!(
            text,
            "        labels: {{ gate: {}, scenario: {} }}",
            quoted(gate.id.get_ref()),
            quoted(scenario)
        );
    }
    Ok(text)
}

/// The configuration: what is scraped every second, the page of limits among it.
pub(super) fn prometheus(page: &str) -> String {
    format!(
        "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  evaluation_interval: 1s\n\
         rule_files: [alerting-rules.yml]\n\
         scrape_configs:\n\
         \x20 - job_name: service\n    file_sd_configs: [{{ files: [targets.json], refresh_interval: 5s }}]\n\
         \x20 - job_name: barrier-bench\n    static_configs: [{{ targets: [{}] }}]\n",
        quoted(page)
    )
}
