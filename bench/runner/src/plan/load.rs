//! The loads of a run as k6 takes them, and what follows from them: how long the run takes, and how long it may.

use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use crate::suite::load::{Executor, LoadTable, of_secret};
use crate::suite::quick::Shares;
use crate::suite::scenario::ScenarioTable;
use crate::suite::vars::{RunValues, Vars};
use crate::values::duration::{parse_time, written};
use crate::values::exit;
use crate::values::template::variables;
use crate::values::value::plain;

/// How long k6 waits for iterations under way at the end of a load, and for users at the end of a stage.
const GRACE: Duration = Duration::from_secs(30);
/// How long k6 lets counted iterations take.
const COUNTED: Duration = Duration::from_secs(600);
/// Beside the loads: k6's own limits of setup() and teardown(), a minute each, and one for its start, its summary and a
/// machine under load.
const SPARE: Duration = Duration::from_secs(180);
/// In which processes start, where nothing goes wrong.
const START: Duration = Duration::from_secs(3);

/// What a run's harness does, by the suite.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// k6's own `scenarios`, by name; empty where the harness applies loads of its own.
    pub(crate) scenarios: Map<String, Json>,
    /// What is passed over at the beginning.
    pub(crate) warmup: Duration,
    /// What is measured then; `None` if the suite does not say.
    pub(crate) window: Option<Duration>,
    /// How long a run takes if nothing goes wrong; `None` if that is not known.
    pub(super) estimate: Option<Duration>,
    /// The bound of k6 that follows.
    pub(super) bound: Option<Duration>,
}

impl Load {
    /// Reads the loads and times of a scenario with the values of a run.
    ///
    /// # Errors
    /// A text becomes no number or no duration, or one that k6 does not take.
    pub(super) fn new(
        scenario: &ScenarioTable,
        vars: &Vars,
        shares: Shares,
    ) -> anyhow::Result<Self> {
        let reader = Reader {
            scenario: scenario.id.get_ref(),
            vars,
            shares,
        };
        let of_run = |key: &str, text: &Option<toml::Spanned<String>>| {
            let text = text.as_ref().map(|text| text.get_ref().as_str());
            text.map(|text| reader.time(key, text, true)).transpose()
        };
        let warmup = of_run("warmup", &scenario.warmup)?.unwrap_or_default();
        let window = of_run("window", &scenario.window)?;
        if window.is_some_and(|window| window.is_zero()) {
            return Err(reader.wrong("window", "is 0", "allowed: more than 0"));
        }
        let measured = window.map(|window| warmup + window);
        let mut load = Self {
            warmup,
            window,
            estimate: measured.map(|time| time + START),
            bound: measured.map(|time| time + SPARE),
            ..Self::default()
        };
        if !scenario.hands_on_loads() {
            return Ok(load);
        }
        // Of the last load to end; unknown where iterations end one.
        let mut ends = Some(Duration::ZERO);
        let mut most = measured.unwrap_or_default();
        for table in &scenario.load {
            let one = One::new(table, &reader, measured)?;
            let name = table.name.get_ref().clone();
            load.scenarios.insert(name, one.options.into());
            most = most.max(one.most);
            ends = ends.zip(one.lasts).map(|(before, own)| before.max(own));
        }
        reader.covered(measured, ends)?;
        load.estimate = ends.map(|time| time.max(measured.unwrap_or_default()) + START);
        load.bound = Some(most + SPARE);
        Ok(load)
    }

    /// The loads in words, a line each.
    pub(crate) fn shown(&self) -> Vec<String> {
        let stages = |stages: &[Json]| {
            let of = |stage: &Json, name: &str| stage.get(name).map_or_else(String::new, word);
            let stages = stages.iter();
            let stages =
                stages.map(|stage| format!("{}→{}", of(stage, "duration"), of(stage, "target")));
            stages.collect::<Vec<_>>().join(" ")
        };
        let line = |(name, options): (&String, &Json)| {
            let options = options.as_object().into_iter().flatten();
            let options = options.map(|(key, value)| match (key.as_str(), value) {
                ("executor", value) => word(value),
                (key, Json::Array(list)) => format!("{key}={}", stages(list)),
                (key, value) => format!("{key}={}", word(value)),
            });
            format!("{name}: {}", options.collect::<Vec<_>>().join(" "))
        };
        self.scenarios.iter().map(line).collect()
    }
}

fn word(value: &Json) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// One of k6's scenarios.
struct One {
    options: Map<String, Json>,
    /// From the beginning of the run until it begins no more iterations; `None` where these end it.
    lasts: Option<Duration>,
    /// Until k6 ends it.
    most: Duration,
}

impl One {
    /// `measured`: warm-up and window, what a constant load lasts by default.
    fn new(
        table: &LoadTable,
        reader: &Reader<'_>,
        measured: Option<Duration>,
    ) -> anyhow::Result<Self> {
        let executor = *table.executor.get_ref();
        let mut options = Map::new();
        options.insert("executor".to_owned(), executor.name().into());
        let mut begins = Duration::ZERO;
        let mut lasts = measured.filter(|_| executor.is_constant());
        let [mut stop, mut ramp_down] = [GRACE, Duration::ZERO];
        if executor == Executor::RampingVus {
            ramp_down = GRACE;
        }
        let mut stages: Vec<Json> = Vec::new();
        for time in table.times() {
            let value = reader.time(time.key, time.text, time.lasts)?;
            match time.key {
                "start_time" => begins = value,
                "duration" => lasts = Some(value),
                "graceful_stop" => stop = value,
                "graceful_ramp_down" => ramp_down = value,
                "stages" => {
                    lasts = Some(lasts.unwrap_or_default() + value);
                    stages.push(json!({ "duration": written(value) }));
                    continue;
                }
                _ if value.is_zero() => {
                    return Err(reader.wrong(time.key, "is 0", "allowed: more than 0"));
                }
                _ => {}
            }
            options.insert(of_k6(time.key, executor).to_owned(), written(value).into());
        }
        if executor.is_constant()
            && let Some(time) = lasts
        {
            options.insert("duration".to_owned(), written(time).into());
        }
        let mut targets = stages.iter_mut();
        for count in table.counts() {
            let number = reader.count(count.key, count.value, count.least, count.users)?;
            if count.key == "stages" {
                if let Some(stage) = targets.next() {
                    stage["target"] = number.into();
                }
                continue;
            }
            options.insert(of_k6(count.key, executor).to_owned(), number.into());
        }
        if table.stages.is_some() {
            options.insert("stages".to_owned(), stages.into());
        }
        let at_most = |name: &str| options.get(name).and_then(Json::as_i64);
        if let (Some(before), Some(most)) = (at_most("preAllocatedVUs"), at_most("maxVUs"))
            && most < before
        {
            return Err(reader.wrong(
                "max_vus",
                &format!("is {most}"),
                &format!("allowed: `pre_vus`, {before}, or more"),
            ));
        }
        if let Some(exec) = &table.exec {
            let text = reader.open("exec", exec.get_ref())?;
            options.insert("exec".to_owned(), text.into());
        }
        if let Some(tags) = &table.tags {
            let mut own = Map::new();
            for (name, value) in tags.get_ref() {
                own.insert(name.clone(), reader.open("tags", &plain(value))?.into());
            }
            options.insert("tags".to_owned(), own.into());
        }
        let ends = lasts.unwrap_or(COUNTED);
        Ok(Self {
            options,
            lasts: lasts
                .filter(|_| executor.is_timed())
                .map(|time| begins + time),
            most: begins + ends + stop.max(ramp_down),
        })
    }
}

/// Refuses a text that everybody can read where it takes a secret, also one that only its value makes so.
///
/// # Errors
/// It does.
pub(super) fn open(scenario: &str, key: &str, text: &str, vars: &Vars) -> anyhow::Result<()> {
    let mut names = variables(text).into_iter();
    match names.find(|name| vars.is_secret(name)) {
        Some(name) => {
            let why = of_secret(name, key);
            Err(exit::set_up(format!("scenario {scenario}: {why}")))
        }
        None => Ok(()),
    }
}

/// What k6 calls a key of the suite.
fn of_k6(key: &'static str, executor: Executor) -> &'static str {
    match key {
        "time_unit" => "timeUnit",
        "pre_vus" => "preAllocatedVUs",
        "max_vus" => "maxVUs",
        "start" if executor.is_arrival() => "startRate",
        "start" => "startVUs",
        "duration" if !executor.is_timed() => "maxDuration",
        "graceful_stop" => "gracefulStop",
        "graceful_ramp_down" => "gracefulRampDown",
        "start_time" => "startTime",
        other => other,
    }
}

/// Reads what the keys of a scenario become in a run.
struct Reader<'a> {
    scenario: &'a str,
    vars: &'a Vars,
    shares: Shares,
}

impl Reader<'_> {
    fn wrong(&self, key: &str, what: &str, allowed: &str) -> anyhow::Error {
        let scenario = self.scenario;
        exit::set_up(format!("scenario {scenario}: `{key}` {what}; {allowed}"))
    }

    fn text(&self, text: &str) -> anyhow::Result<String> {
        self.vars.expand(text, &RunValues::new())
    }

    /// A text that holds no secret.
    fn open(&self, key: &str, text: &str) -> anyhow::Result<String> {
        open(self.scenario, key, text, self.vars)?;
        self.text(text)
    }

    fn time(&self, key: &str, text: &str, lasts: bool) -> anyhow::Result<Duration> {
        let value = self.text(text)?;
        let time = parse_time(&value).map_err(|why| {
            let scenario = self.scenario;
            exit::set_up(format!("scenario {scenario}: `{key}`: {why}"))
        })?;
        Ok(if lasts {
            self.shares.time_of(text, time)
        } else {
            time
        })
    }

    fn count(
        &self,
        key: &str,
        value: &toml::Value,
        least: i64,
        users: bool,
    ) -> anyhow::Result<i64> {
        let text = plain(value);
        let value = self.text(&text)?;
        let number: Option<i64> = value.trim().parse().ok();
        let Some(number) = number.filter(|number| *number >= least) else {
            return Err(self.wrong(
                key,
                &format!("becomes `{value}`"),
                &format!("allowed: a whole number from {least} on"),
            ));
        };
        Ok(if users {
            self.shares.vus_of(&text, number)
        } else {
            number
        })
    }

    /// Refuses loads that end before what is to be measured does. Shares of times are not exact, so quick mode is let off.
    fn covered(&self, measured: Option<Duration>, ends: Option<Duration>) -> anyhow::Result<()> {
        match (measured, ends) {
            (Some(measured), Some(ends)) if ends < measured && self.shares == Shares::WHOLE => {
                let [ends, measured] = [ends, measured].map(written);
                Err(self.wrong(
                    "load",
                    &format!("ends after {ends}, and `warmup` and `window` take {measured}"),
                    "allowed: loads that last at least so long",
                ))
            }
            _ => Ok(()),
        }
    }
}
