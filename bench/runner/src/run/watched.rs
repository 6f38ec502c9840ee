//! A run that is watched live: what k6 sends to Prometheus, what is scraped meanwhile, and which alerts fired.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context as _;
use barrier_procs::Identity;
use jiff::Timestamp;
use serde_json::Value as Json;
use url::Url;

use crate::events::{Event, Stream};
use crate::evidence::Folder;
use crate::evidence::alerts::{self, Alerts};
use crate::monitoring::alerts::Watch;
use crate::monitoring::place::{Limit, Place, Run};
use crate::monitoring::scrape;
use crate::plan::PlannedRun;
use crate::run::k6::Call;
use crate::suite::Suite;
use crate::suite::gate::{self, of_scenario};
use crate::values::mask;

/// k6's own output.
const OUTPUT: &str = "experimental-prometheus-rw";
/// What its settings in the environment begin with.
const SETTINGS: &str = "K6_PROMETHEUS_RW_";
const ADDRESS: &str = "K6_PROMETHEUS_RW_SERVER_URL";
/// What k6 is told where nobody says otherwise: what panels show, every second, and the end of a series with the run.
const USUAL: [(&str, &str); 3] = [
    (
        "K6_PROMETHEUS_RW_TREND_STATS",
        "p(90),p(95),p(99),avg,min,max",
    ),
    ("K6_PROMETHEUS_RW_PUSH_INTERVAL", "1s"),
    ("K6_PROMETHEUS_RW_STALE_MARKERS", "true"),
];
/// The tag of k6's values, and the label of what is scraped.
const TAG: &str = "run_id";
/// How often Prometheus is asked which alerts fire.
const EVERY: Duration = Duration::from_secs(3);

/// Where k6's values of a run go to.
#[derive(Debug)]
enum To {
    /// The monitor of the suite, with what it scrapes for this run.
    Monitor {
        place: Place,
        prometheus: String,
        targets: Json,
    },
    /// A Prometheus of somebody's own.
    Other,
}

/// A run that is watched, until k6 has ended. Dropped earlier, it leaves nothing behind that is scraped in vain.
#[derive(Debug)]
pub(super) struct Watched {
    to: To,
    run: Run,
    looking: Option<Looking>,
}

/// Asking after alerts, aside.
#[derive(Debug)]
struct Looking {
    end: Sender<()>,
    thread: JoinHandle<Result<Alerts, String>>,
}

impl Watched {
    /// Has k6 send its values to the monitor of the suite if that is up, or to the Prometheus that the environment names.
    /// `options`: those of the harness.
    ///
    /// # Errors
    /// The suite scrapes what it does not allow.
    pub(super) fn begin(
        suite: &Suite,
        planned: &PlannedRun<'_>,
        run_id: &str,
        options: Option<&Json>,
        call: &mut Call,
        stream: &Stream,
    ) -> anyhow::Result<Option<Self>> {
        let place = Place::of(suite, &planned.vars)?;
        // What is no text is none of k6's settings.
        let texts = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let given: Vec<(String, String)> = texts
            .filter(|(name, value)| name.starts_with(SETTINGS) && !value.is_empty())
            .collect();
        // k6 has them whether it sends anything or not, and may tell them in an error.
        let shown: Vec<(String, String, String)> = given
            .into_iter()
            .map(|(name, value)| {
                let shown = without_secrets(name.trim_start_matches(SETTINGS), &value);
                (name, value, shown)
            })
            .collect();
        let to = if shown.iter().any(|(name, _, _)| name == ADDRESS) {
            To::Other
        } else if let Some(record) = place.up() {
            To::Monitor {
                targets: scrape::targets(suite, &planned.vars, Some(run_id))?,
                prometheus: record.prometheus,
                place,
            }
        } else {
            return Ok(None);
        };
        settings(call, &to, shown);
        tags(call, run_id, options);
        call.output(OUTPUT);
        let text = match &to {
            To::Monitor { prometheus, .. } => format!("watched  by {prometheus} (run {run_id})"),
            To::Other => format!(
                "watched  by the Prometheus of {ADDRESS} (run {run_id}); which alerts fire there is not kept"
            ),
        };
        stream.tell(Event::Finding { text });
        let now = Timestamp::now().as_millisecond();
        let limits = of_scenario(&suite.file.gate, planned.scenario.id.get_ref());
        let limits = limits.filter_map(|gate| {
            let limit = Limit {
                metric: gate.metric.get_ref().clone(),
                stat: gate.stat.get_ref().clone(),
                op: gate.op.sign().to_owned(),
                limit: gate::limit(gate, &planned.vars).ok()?,
            };
            Some((gate.id.get_ref().clone(), limit))
        });
        let run = Run {
            run_id: run_id.to_owned(),
            title: planned.title(),
            scenario: planned.scenario.id.get_ref().clone(),
            start_ms: now,
            window_from_ms: now + millis(planned.load.warmup),
            window_to_ms: planned
                .load
                .window
                .map(|window| now + millis(planned.load.warmup + window)),
            end_ms: None,
            limits: limits.collect(),
            runner: Identity::own()?,
        };
        Ok(Some(Self {
            to,
            run,
            looking: None,
        }))
    }

    /// By whom the run is watched.
    pub(super) fn whom(&self) -> &'static str {
        match self.to {
            To::Monitor { .. } => "monitor",
            To::Other => "prometheus",
        }
    }

    /// k6 runs: its target is scraped from now on.
    ///
    /// # Errors
    /// A file of the monitor cannot be written, or there is no thread.
    pub(super) fn began(&mut self) -> anyhow::Result<()> {
        let To::Monitor {
            place,
            prometheus,
            targets,
        } = &self.to
        else {
            return Ok(());
        };
        let now = Timestamp::now().as_millisecond();
        let late = now - self.run.start_ms;
        self.run.start_ms = now;
        self.run.window_from_ms += late;
        self.run.window_to_ms = self.run.window_to_ms.map(|to| to + late);
        place.keep(&self.run)?;
        place.scrape(targets, false)?;
        let (end, ended) = channel();
        let (prometheus, run_id) = (prometheus.clone(), self.run.run_id.clone());
        let thread = thread::Builder::new().name("alerts".to_owned());
        let thread = thread.spawn(move || {
            let mut alerts = Watch::begin(&prometheus, &run_id, now)?;
            loop {
                let over = ended.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout);
                alerts.read(Timestamp::now().as_millisecond());
                if over {
                    return Ok(alerts.known());
                }
            }
        });
        let thread = thread.context("a thread for the alerts")?;
        self.looking = Some(Looking { end, thread });
        Ok(())
    }

    /// k6 has ended: keeps which alerts fired, and tells it. The verdict does not rest on that, so nothing here fails the run; what
    /// is not known of them goes beside it.
    pub(super) fn ended(mut self, folder: &Folder, stream: &Stream) -> Option<String> {
        let To::Monitor { prometheus, .. } = &self.to else {
            return None;
        };
        let prometheus = prometheus.clone();
        let Looking { end, thread } = self.looking.take()?;
        let _ = end.send(());
        let alerts = match thread.join() {
            Ok(Ok(alerts)) => alerts,
            other => Alerts {
                to_ms: Timestamp::now().as_millisecond(),
                unknown: Some(match other {
                    Ok(Err(why)) => why,
                    _ => "asking after them failed".to_owned(),
                }),
                ..Alerts::new(&prometheus, self.run.start_ms, Vec::new())
            },
        };
        self.close();
        // A failure is among the faults of the folder.
        if let Ok(record) = serde_json::to_value(&alerts) {
            let _ = folder.write_json(alerts::FILE, &record);
        }
        stream.tell(Event::Alerts {
            lines: alerts.lines(),
        });
        let unknown = alerts.told_unknown()?;
        Some(format!("which alerts fired is {unknown}"))
    }

    /// Nothing of this run is scraped any more.
    fn close(&mut self) {
        if let To::Monitor { place, .. } = &self.to
            && self.run.end_ms.is_none()
        {
            self.run.end_ms = Some(Timestamp::now().as_millisecond());
            // A monitor whose folder is gone shows nothing; the run does not need it.
            let _ = place.keep(&self.run);
            let _ = place.restore_targets();
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.looking.is_some() {
            self.close();
        }
    }
}

/// What k6's output is told by its environment, which nobody else can read.
fn settings(call: &mut Call, to: &To, given: Vec<(String, String, String)>) {
    if let To::Monitor { prometheus, .. } = to {
        call.setting(ADDRESS, &format!("{prometheus}/api/v1/write"), None);
    }
    for (name, value) in USUAL {
        if given.iter().all(|(own, _, _)| own != name) {
            call.setting(name, value, None);
        }
    }
    for (name, value, shown) in given {
        call.setting(&name, &value, Some(&shown));
    }
}

/// A setting as it may be shown. What is secret in it is remembered: k6's log tells addresses and headers. `what`: its name, without what
/// all begin with.
fn without_secrets(what: &str, value: &str) -> String {
    let secret = ["PASSWORD", "TOKEN", "SECRET", "KEY"];
    if what.contains("HEADERS") {
        // One header by its name, or a list of `name:value`.
        let list = value.split(',').filter_map(|pair| pair.split_once(':'));
        for (name, value) in list.chain([(what, value)]) {
            let name = name.trim();
            mask::register_named(name, value);
            // Of `Bearer TOKEN` the second word alone opens the door.
            let words = value.split_whitespace().skip(1);
            words.for_each(|word| mask::register_named(name, word));
        }
        return mask::MASK.to_owned();
    }
    if secret.iter().any(|word| what.contains(word)) {
        mask::register(value);
        return mask::MASK.to_owned();
    }
    match Url::parse(value) {
        Ok(address) if address.has_host() => mask::address_alone(address),
        _ => mask::masked_address(value),
    }
}

/// k6 takes tags that it is told in place of the harness's own, so these are told too.
fn tags(call: &mut Call, run_id: &str, options: Option<&Json>) {
    let own = options.and_then(|options| options["tags"].as_object());
    for (name, value) in own.into_iter().flatten() {
        if let Some(value) = value.as_str().filter(|_| name != TAG) {
            call.tag(name, value);
        }
    }
    call.tag(TAG, run_id);
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
