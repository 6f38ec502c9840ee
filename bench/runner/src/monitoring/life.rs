//! Starting, ending and asking after the monitor of a suite.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use barrier_procs::last_lines;
use rustix::process::Signal;
use serde_json::Value as Json;

use super::api::Api;
use super::dashboard::Dashboard;
use super::place::{Place, Record};
use super::serve::{Settings, check_port};
use super::{config, prometheus, scrape};
use crate::suite::Suite;
use crate::suite::quick::Shares;
use crate::suite::vars::Vars;
use crate::values::exit;
use crate::values::text::shown;

/// Grafana's image may have to be fetched.
const START_LIMIT: Duration = Duration::from_secs(420);
/// Prometheus and Grafana end one after the other.
const STOP_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
const LOG: &str = "monitor.log";

/// How a monitor is started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) prometheus_port: u16,
    pub(crate) dashboard_port: u16,
    pub(crate) without_grafana: bool,
    /// Alerts fire after the share of their time that `[quick]` has.
    pub(crate) quick: bool,
}

/// The suite's alerts as a file of rules for any Prometheus.
///
/// # Errors
/// A variable has no value.
pub(crate) fn rules(suite: &Suite, vars: &Vars, quick: bool) -> anyhow::Result<String> {
    config::rules(suite, vars, Shares::of(&suite.file, quick))
}

/// Starts the monitor and returns its record; also that of one that is up already.
///
/// # Errors
/// A program is missing, a port is taken, Prometheus does not take the alerts, or something does not start.
pub(crate) fn start(
    suite: &Suite,
    vars: &Vars,
    place: &Place,
    options: Options,
) -> anyhow::Result<Record> {
    if let Some(record) = place.up() {
        return Ok(record);
    }
    if suite.file.alert.is_empty() && suite.file.dashboard.is_none() {
        return Err(exit::set_up(format!(
            "{} declares nothing to watch: neither [[alert]] nor [dashboard]",
            suite.path.display()
        )));
    }
    let program = prometheus::find(&suite.root)?;
    let program = std::path::absolute(&program)
        .with_context(|| format!("resolving {}", program.display()))?;
    let place = &Place::at(
        &std::path::absolute(place.folder())
            .with_context(|| format!("resolving {}", place.folder().display()))?,
    );
    for (port, option) in [
        (options.prometheus_port, "prometheus-port"),
        (options.dashboard_port, "dashboard-port"),
    ] {
        if port != 0 {
            check_port(port, option)?;
        }
    }
    let dashboard = suite.file.dashboard.as_ref();
    let path =
        |text: Option<&toml::Spanned<String>>| text.map(|text| suite.resolve(text.get_ref()));
    let settings = Settings {
        suite: suite.file.suite.id.clone(),
        title: suite.file.suite.title.clone(),
        prometheus: program.clone(),
        prometheus_port: options.prometheus_port,
        dashboard_port: options.dashboard_port,
        dashboard: path(dashboard.and_then(|table| table.file.as_ref())),
        provision: path(dashboard.and_then(|table| table.provision.as_ref())),
        without_grafana: options.without_grafana,
    };
    let _ = std::fs::remove_file(place.file("monitor.json"));
    place.write("alerting-rules.yml", &rules(suite, vars, options.quick)?)?;
    prometheus::check_rules(&program, &place.file("alerting-rules.yml"))?;
    if let Some(file) = &settings.dashboard {
        Dashboard::read(file)?;
    }
    place.write_json(
        "standing-targets.json",
        &scrape::targets(suite, vars, None)?,
    )?;
    place.restore_targets()?;
    place.write_json("settings.json", &settings)?;
    leave_behind(place)
}

/// Starts the process that stays, and waits until everything answers.
fn leave_behind(place: &Place) -> anyhow::Result<Record> {
    let path = place.file(LOG);
    let log = File::create(&path).with_context(|| format!("making {}", path.display()))?;
    let program = std::env::current_exe().context("the path of this program")?;
    let mut child = Command::new(program)
        .arg("serve-monitor")
        .arg(place.folder())
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("the log")?)
        .stderr(log)
        .spawn()
        .context("starting the monitor")?;
    let deadline = Instant::now() + START_LIMIT;
    loop {
        if let Some(record) = place.up() {
            return Ok(record);
        }
        if let Some(status) = child.try_wait().context("the monitor's state")? {
            let said = last_lines(&path, 8);
            let said = said.strip_prefix("barrier-bench: ").unwrap_or(&said);
            return Err(exit::set_up(format!(
                "the monitor did not start ({status}): {said}"
            )));
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return Err(exit::set_up(format!(
                "the monitor did not start in time; {} has what it said",
                shown(&path)
            )));
        }
        std::thread::sleep(POLL);
    }
}

/// What a monitor that is up says: the run that it watches, and which alerts fire or are about to; and whether Prometheus
/// answers.
pub(crate) fn status(place: &Place, record: &Record) -> (Vec<String>, bool) {
    let runs = place.runs();
    let watched = runs.last().filter(|run| run.end_ms.is_none());
    let mut lines = vec![match watched {
        Some(run) => format!("run        {} ({})", run.title, run.run_id),
        None => "run        none now".to_owned(),
    }];
    let asked = Api::new(&record.prometheus).ask("alerts", &[]);
    let answers = asked.is_ok();
    match asked {
        Ok(data) => {
            let active = data["alerts"].as_array().into_iter().flatten();
            let active = active.map(|alert| {
                let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
                format!(
                    "alert      {} ({}) is {}",
                    text(&alert["labels"]["alertname"]),
                    text(&alert["labels"]["severity"]),
                    text(&alert["state"])
                )
            });
            let before = lines.len();
            lines.extend(active);
            if lines.len() == before {
                lines.push("alert      none fires".to_owned());
            }
        }
        Err(why) => lines.push(format!("prometheus does not answer: {why}")),
    }
    (lines, answers)
}

/// How a monitor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// It was up, and has ended with all that it started.
    Ended,
    /// It had ended before.
    Gone,
    /// There was none.
    None,
}

/// Ends the monitor that the record names, and nothing else. What it kept stays.
///
/// # Errors
/// It cannot be signalled, or does not end.
pub(crate) fn stop(place: &Place) -> anyhow::Result<Stopped> {
    let Some(record) = place.record() else {
        return Ok(Stopped::None);
    };
    let identity = record.identity;
    let stopped = if identity.lives() {
        identity
            .signal(Signal::TERM)
            .context("ending the monitor")?;
        if !identity.ends_within(STOP_LIMIT) {
            identity
                .signal(Signal::KILL)
                .context("ending the monitor")?;
            anyhow::ensure!(
                identity.ends_within(STOP_LIMIT),
                "the monitor, process {}, does not end",
                identity.process()
            );
        }
        Stopped::Ended
    } else {
        Stopped::Gone
    };
    let path = place.file("monitor.json");
    std::fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    Ok(stopped)
}
