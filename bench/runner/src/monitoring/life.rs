//! Starting, ending and asking after the monitor of a suite.

use std::fs::File;
use std::io::ErrorKind;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use barrier_procs::{Identity, last_lines};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::api::Api;
use super::dashboard::Dashboard;
use super::place::{Place, Record};
use super::serve::{Settings, check_port};
use super::{config, container, prometheus, scrape};
use crate::evidence::silence::{is_silent, last_written};
use crate::suite::Suite;
use crate::suite::quick::Shares;
use crate::suite::vars::Vars;
use crate::values::exit::{self, Stop};
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

/// The suite's alerts as a file of rules for any Prometheus. `limits_of`: a scenario whose gates' limits are recorded too, for panels that a
/// monitor would tell them.
///
/// # Errors
/// A variable has no value.
pub(crate) fn rules(
    suite: &Suite,
    vars: &Vars,
    quick: bool,
    limits_of: Option<&str>,
) -> anyhow::Result<String> {
    let mut text = config::rules(suite, vars, Shares::of(&suite.file, quick))?;
    if let Some(scenario) = limits_of {
        text.push_str(&config::limits(suite, vars, scenario)?);
    }
    Ok(text)
}

/// Starts the monitor and returns its record; also that of one that is up already.
///
/// # Errors
/// A program is missing, a port is taken, Prometheus does not take the alerts, something does not start, or a signal arrived: then all
/// that was started has ended.
pub(crate) fn start(
    suite: &Suite,
    vars: &Vars,
    place: &Place,
    options: Options,
) -> anyhow::Result<Record> {
    if let Some(record) = place.up() {
        return Ok(record);
    }
    refuse_elsewhere(place, "not started")?;
    if let Some(other) = place.starting().filter(Identity::lives) {
        return Err(exit::set_up(format!(
            "a monitor of this suite is being started already, by process {}; wait for it, or end it with: barrier-bench monitor {} stop",
            other.process(),
            suite.file.suite.id
        )));
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
    // Of one that was killed. Where it cannot be removed, its port is taken.
    let _ = container::remove_left(place);
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
    place.write(
        "alerting-rules.yml",
        &rules(suite, vars, options.quick, None)?,
    )?;
    prometheus::check_rules(&program, &place.file("alerting-rules.yml"))?;
    if let Some(file) = &settings.dashboard {
        Dashboard::read(file)?;
    }
    place.scrape(&scrape::targets(suite, vars, None)?, true)?;
    place.write_json("settings.json", &settings)?;
    leave_behind(place)
}

/// Starts the process that stays, and waits until everything answers.
fn leave_behind(place: &Place) -> anyhow::Result<Record> {
    let path = place.file(LOG);
    let log = File::create(&path).with_context(|| format!("making {}", path.display()))?;
    let program = std::env::current_exe().context("the path of this program")?;
    // Whoever asks this call to end asks the monitor, too, which is not theirs yet. A terminal that goes away ends no monitor.
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("listening to signals")?;
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
        // First: from a terminal the monitor gets it, too, and may have ended by it.
        if signals.pending().next().is_some() {
            end(&mut child, place)?;
            return Err(Stop::Interrupted.into());
        }
        if let Some(status) = child.try_wait().context("the monitor's state")? {
            let said = last_lines(&path, 8);
            let said = said.strip_prefix("barrier-bench: ").unwrap_or(&said);
            return Err(exit::set_up(format!(
                "the monitor did not start ({status}): {said}"
            )));
        }
        if Instant::now() > deadline {
            end(&mut child, place)?;
            return Err(exit::set_up(format!(
                "the monitor did not start in time; {} has what it said",
                shown(&path)
            )));
        }
        std::thread::sleep(POLL);
    }
}

/// Ends a monitor that is being started, with what it has started so far.
fn end(child: &mut Child, place: &Place) -> anyhow::Result<()> {
    let pid = Pid::from_child(child);
    let deadline = Instant::now() + STOP_LIMIT;
    // Whether it has ended or not, nobody has reaped it: the number is its own.
    let _ = kill_process(pid, Signal::TERM);
    while child.try_wait().context("the monitor's state")?.is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
        }
        std::thread::sleep(POLL);
    }
    place.started();
    let _ = std::fs::remove_file(place.file("monitor.json"));
    Ok(())
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
/// It cannot be signalled, or does not end; or what it ran in a container is not removed.
pub(crate) fn stop(place: &Place) -> anyhow::Result<Stopped> {
    refuse_elsewhere(place, "not stopped")?;
    let starting = place.starting().filter(Identity::lives);
    let record = place.record().map(|record| record.identity);
    let Some(identity) = starting.or(record) else {
        container::remove_left(place)?;
        return Ok(Stopped::None);
    };
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
    place.started();
    let path = place.file("monitor.json");
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))?;
        }
        _ => {}
    }
    // By itself where it could; who was killed could not.
    container::remove_left(place)?;
    Ok(stopped)
}

/// Refuses where nobody can tell whether a monitor is up. `what`: what is refused.
///
/// # Errors
/// The last one was started in another container or on another machine.
pub(crate) fn refuse_elsewhere(place: &Place, what: &str) -> anyhow::Result<()> {
    let record = place.record();
    let elsewhere = record.is_some_and(|record| record.identity.is_elsewhere());
    // Prometheus keeps what it scrapes every second.
    if !elsewhere || last_written(place.folder()).is_some_and(is_silent) {
        return Ok(());
    }
    Err(exit::set_up(format!(
        "{what}: the monitor of this suite runs, or ran, in another container or on another machine, which cannot be told from here; stop it there, or remove {}: a monitor ends without it",
        shown(&place.file("monitor.json"))
    )))
}
