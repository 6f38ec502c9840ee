//! `scenario.load[]`: the loads that k6 applies, in the words of the suite.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

pub(crate) use crate::values::shortcut::LOAD;

/// Why a load, or arguments of k6, take no secret.
pub(crate) fn of_secret(name: &str, key: &str) -> String {
    format!(
        "`{key}`: {name} is a secret, and what stands here can be read in the evidence or on k6's command line; the harness gets \
         {name} as a variable"
    )
}

/// `scenario.load[]`. A number may be a text with placeholders; a duration is a text.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoadTable {
    /// Of k6's scenario.
    pub(crate) name: Spanned<String>,
    pub(crate) executor: Spanned<Executor>,
    /// Iterations begun per `time_unit`.
    pub(crate) rate: Option<Spanned<toml::Value>>,
    pub(crate) time_unit: Option<Spanned<String>>,
    pub(crate) vus: Option<Spanned<toml::Value>>,
    /// Users that an arrival rate has from the beginning on.
    pub(crate) pre_vus: Option<Spanned<toml::Value>>,
    /// How many it may have.
    pub(crate) max_vus: Option<Spanned<toml::Value>>,
    pub(crate) iterations: Option<Spanned<toml::Value>>,
    /// Users, or rate, at the beginning of the first stage.
    pub(crate) start: Option<Spanned<toml::Value>>,
    pub(crate) stages: Option<Spanned<Vec<Stage>>>,
    /// How long it lasts; of counted iterations, how long they may take.
    pub(crate) duration: Option<Spanned<String>>,
    pub(crate) graceful_stop: Option<Spanned<String>>,
    pub(crate) graceful_ramp_down: Option<Spanned<String>>,
    /// When it begins, counted from the beginning of the run.
    pub(crate) start_time: Option<Spanned<String>>,
    /// The function of the harness; k6's default is `default`.
    pub(crate) exec: Option<Spanned<String>>,
    pub(crate) tags: Option<Spanned<BTreeMap<String, toml::Value>>>,
}

/// A stage: how long it lasts, and the users, or the rate, at its end.
pub(crate) type Stage = (Spanned<String>, Spanned<toml::Value>);

/// The executors of k6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum Executor {
    #[serde(rename = "constant-vus")]
    ConstantVus,
    #[serde(rename = "ramping-vus")]
    RampingVus,
    #[serde(rename = "constant-arrival-rate")]
    ConstantArrivalRate,
    #[serde(rename = "ramping-arrival-rate")]
    RampingArrivalRate,
    #[serde(rename = "per-vu-iterations")]
    PerVuIterations,
    #[serde(rename = "shared-iterations")]
    SharedIterations,
}

impl Executor {
    /// What k6 calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ConstantVus => "constant-vus",
            Self::RampingVus => "ramping-vus",
            Self::ConstantArrivalRate => "constant-arrival-rate",
            Self::RampingArrivalRate => "ramping-arrival-rate",
            Self::PerVuIterations => "per-vu-iterations",
            Self::SharedIterations => "shared-iterations",
        }
    }

    /// Whether time ends it, and not the number of its iterations.
    pub(crate) fn is_timed(self) -> bool {
        !matches!(self, Self::PerVuIterations | Self::SharedIterations)
    }

    /// Whether it begins iterations at a rate, whatever becomes of those before.
    pub(crate) fn is_arrival(self) -> bool {
        matches!(self, Self::ConstantArrivalRate | Self::RampingArrivalRate)
    }

    /// Whether it lasts as long as one key says.
    pub(crate) fn is_constant(self) -> bool {
        matches!(self, Self::ConstantVus | Self::ConstantArrivalRate)
    }
}

/// A number of a load.
#[derive(Debug)]
pub(crate) struct Count<'a> {
    pub(crate) key: &'static str,
    pub(crate) value: &'a toml::Value,
    /// Allowed from here on.
    pub(crate) least: i64,
    /// Users who come by themselves: of those there may be fewer in quick mode. Users of an arrival rate follow from the rate.
    pub(crate) users: bool,
    pub(crate) place: Range<usize>,
}

/// A duration of a load.
#[derive(Debug)]
pub(crate) struct Time<'a> {
    pub(crate) key: &'static str,
    pub(crate) text: &'a str,
    /// Part of how long the load takes: that may be shorter in quick mode.
    pub(crate) lasts: bool,
    pub(crate) place: Range<usize>,
}

impl LoadTable {
    /// Its numbers.
    pub(crate) fn counts(&self) -> Vec<Count<'_>> {
        let users = !self.executor.get_ref().is_arrival();
        let keys = [
            ("rate", &self.rate, 1, false),
            ("vus", &self.vus, 1, users),
            ("pre_vus", &self.pre_vus, 1, false),
            ("max_vus", &self.max_vus, 1, false),
            ("iterations", &self.iterations, 1, false),
            ("start", &self.start, 0, users),
        ];
        let keys = keys
            .into_iter()
            .filter_map(|(key, value, least, users)| Some((key, value.as_ref()?, least, users)));
        let stages = self.stages().iter();
        let stages = stages.map(|(_, target)| ("stages", target, 0, users));
        keys.chain(stages)
            .map(|(key, value, least, users)| Count {
                key,
                value: value.get_ref(),
                least,
                users,
                place: value.span(),
            })
            .collect()
    }

    /// Its durations.
    pub(crate) fn times(&self) -> Vec<Time<'_>> {
        let keys = [
            ("time_unit", &self.time_unit, false),
            ("duration", &self.duration, true),
            ("graceful_stop", &self.graceful_stop, false),
            ("graceful_ramp_down", &self.graceful_ramp_down, false),
            ("start_time", &self.start_time, true),
        ];
        let keys = keys
            .into_iter()
            .filter_map(|(key, text, lasts)| Some((key, text.as_ref()?, lasts)));
        let stages = self.stages().iter();
        let stages = stages.map(|(time, _)| ("stages", time, true));
        keys.chain(stages)
            .map(|(key, text, lasts)| Time {
                key,
                text: text.get_ref(),
                lasts,
                place: text.span(),
            })
            .collect()
    }

    /// Its stages; none where it has no such key.
    pub(crate) fn stages(&self) -> &[Stage] {
        self.stages
            .as_ref()
            .map_or(&[], |stages| stages.get_ref().as_slice())
    }
}
