//! Time limits of a waiting-room run, computed from its variables, and the refusal of runs that cannot keep them.
//!
//! The users log in during the skew, meet at the barrier, and are then promoted at most (events × slots) per round of
//! one second: that is the drain. Every limit follows from these two.

use std::time::Duration;

use crate::suite::vars::{RunValues, Vars};
use crate::values::exit;

/// Run values that this module and [`crate::plan::presets`] compute, for the check of suite files.
pub(crate) const RUN_VALUES: &[&str] = &[
    "preset_vus",
    "preset_hold_ms",
    "hold_ms",
    "sse_p95_threshold_ms",
    "sse_timeout_ms",
    "run_limit_ms",
    "open_files",
];

/// A promotion round of the target.
const ROUND_MS: i64 = 1000;
/// k6 gives iterations this long after `maxDuration`.
const GRACEFUL_STOP_MS: i64 = 30_000;
/// The harness's bound of one event status change, and its pause after it.
const EVENT_CHANGE_MS: i64 = 10_000 + 500;
/// What the harness adds to the bounds of `setup()` and `teardown()`.
const ADMIN_RESERVE_MS: i64 = 60_000;
/// Start of k6, writing of the summary, a machine under load.
const MARGIN_MS: i64 = 60_000;
/// The harness's pause after an event status change in `setup()` and `teardown()`.
const EVENT_PAUSE_MS: i64 = 500;
/// What every run needs beside its pauses: processes start, users log in, files are written.
const OVERHEAD_MS: i64 = 3000;
/// File descriptors beside one per user: listening sockets, Redis, logs, scripts.
const RESERVE_FILES: i64 = 1024;

/// What the variables say about load and capacity.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Limits {
    /// User VUs.
    pub(crate) users: i64,
    /// Events (K).
    pub(crate) events: i64,
    /// Users per event that can be promoted per round.
    pub(crate) slots: i64,
    /// Whether the slots are preset.
    pub(crate) boosted: bool,
    /// From the first to the last planned login.
    pub(crate) skew_ms: i64,
    /// From OPEN to the last promotion, at best.
    pub(crate) drain_ms: i64,
    burst_offset_ms: i64,
}

impl Limits {
    /// Computes the figures; `None` if the suite has no such users and events.
    ///
    /// # Errors
    /// A variable is missing or out of range.
    pub(crate) fn compute(
        vars: &Vars,
        declared: impl Fn(&str) -> bool,
    ) -> anyhow::Result<Option<Self>> {
        if !declared("VUS") || !declared("EVENT_IDS") {
            return Ok(None);
        }
        let users = at_least(vars, "VUS", 1)?;
        let events = i64::try_from(vars.list("EVENT_IDS")?.len()).unwrap_or(i64::MAX);
        let boosted = vars.int("SLOT_BOOST")? != 0;
        let slots = at_least(vars, if boosted { "SLOT_BOOST_VALUE" } else { "SEATS" }, 1)?;
        let batches = (users - 1).max(0) / vars.int("LOGIN_BATCH_SIZE")?.max(1);
        let skew_ms = batches * vars.int("LOGIN_BATCH_INTERVAL_MS")?.max(0)
            + vars.int("LOGIN_BATCH_JITTER_MS")?.max(0);
        let drain_ms = divide_up(users, events.saturating_mul(slots)) * ROUND_MS;
        let hot_users = hot_share(vars, users);
        Ok(Some(Self {
            users,
            events,
            slots,
            boosted,
            skew_ms,
            drain_ms: drain_ms.max(divide_up(hot_users, slots) * ROUND_MS),
            burst_offset_ms: vars.int("BURST_OFFSET_MS")?.max(0),
        }))
    }

    /// Values for the defaults of variables.
    pub(crate) fn run_values(&self) -> RunValues {
        RunValues::from([
            ("hold_ms", (2 * self.drain_ms + 30_000).to_string()),
            (
                "sse_p95_threshold_ms",
                (self.skew_ms + self.drain_ms * 3 / 2 + 30_000)
                    .max(60_000)
                    .to_string(),
            ),
            (
                "sse_timeout_ms",
                (self.skew_ms + 2 * self.drain_ms + 60_000)
                    .max(120_000)
                    .to_string(),
            ),
            ("open_files", self.open_files().to_string()),
        ])
    }

    /// All values that a gate's limit may take: the same before the run and whenever it is judged.
    ///
    /// # Errors
    /// A variable is missing.
    pub(crate) fn all_values(&self, vars: &Vars) -> anyhow::Result<RunValues> {
        let mut values = self.run_values();
        let bound = self.run_limit(vars)?.as_millis();
        values.insert("run_limit_ms", bound.to_string());
        Ok(values)
    }

    /// File descriptors that k6 and the target each need.
    pub(crate) fn open_files(&self) -> i64 {
        self.users + RESERVE_FILES
    }

    /// The bound of the whole k6 process: what the harness allows itself, plus a margin.
    ///
    /// # Errors
    /// A variable is missing.
    pub(crate) fn run_limit(&self, vars: &Vars) -> anyhow::Result<Duration> {
        let controller = (vars.int("BARRIER_TIMEOUT_MS")? + 60_000).max(60_000);
        let scenarios = self.main_limit_ms(vars)?.max(controller) + GRACEFUL_STOP_MS;
        let login = vars.int("LOGIN_TIMEOUT_MS")?.max(1) + vars.int("LOGIN_RETRY_DELAY_MS")?.max(0);
        let admin = vars.int("MAX_LOGIN_RETRIES")?.max(1) * login
            + self.events * EVENT_CHANGE_MS
            + ADMIN_RESERVE_MS;
        // setup, scenarios, teardown
        let total = admin + scenarios + admin + MARGIN_MS;
        Ok(Duration::from_millis(total.unsigned_abs()))
    }

    /// How long the run takes if nothing goes wrong.
    pub(crate) fn estimate(&self) -> Duration {
        let pauses = 2 * self.events * EVENT_PAUSE_MS + self.burst_offset_ms;
        let total = OVERHEAD_MS + pauses + self.skew_ms + self.drain_ms;
        Duration::from_millis(total.unsigned_abs())
    }

    /// Refuses a run whose limits cannot be met.
    ///
    /// # Errors
    /// The message names the limit, what it is, what is needed, and how to change it.
    pub(crate) fn feasible(&self, vars: &Vars) -> anyhow::Result<()> {
        let last_login = self.burst_offset_ms + self.skew_ms;
        let refuse = |name: &str, is: i64, needs: i64, why: &str| {
            Err(exit::set_up(format!(
                "the run cannot keep {name}={is}: {why} takes {needs} ms with VUS={}, {} events and {} slots per event; \
                 raise {name}, or make the login batches larger (LOGIN_BATCH_SIZE)",
                self.users, self.events, self.slots
            )))
        };
        let barrier = vars.int("BARRIER_TIMEOUT_MS")?;
        if barrier <= last_login {
            return refuse(
                "BARRIER_TIMEOUT_MS",
                barrier,
                last_login,
                "the last planned login",
            );
        }
        let whole = last_login + self.drain_ms;
        if self.main_limit_ms(vars)? < whole {
            return refuse(
                "HOLD_MS",
                vars.int("HOLD_MS")?,
                self.drain_ms,
                "the drain after the last planned login",
            );
        }
        let stream = vars.int("SSE_TIMEOUT_MS")?;
        let longest = self.skew_ms + self.drain_ms;
        if stream < longest {
            return refuse(
                "SSE_TIMEOUT_MS",
                stream,
                longest,
                "the life of the longest stream",
            );
        }
        Ok(())
    }

    /// `maxDuration` of the users' scenario, as the harness computes it.
    fn main_limit_ms(&self, vars: &Vars) -> anyhow::Result<i64> {
        let sum = vars.int("HOLD_MS")?.max(0) + self.burst_offset_ms + self.skew_ms;
        Ok((divide_up(sum, 1000) * 1000).max(60_000))
    }
}

fn at_least(vars: &Vars, name: &str, least: i64) -> anyhow::Result<i64> {
    let value = vars.int(name)?;
    if value < least {
        return Err(exit::set_up(format!(
            "{name}={value} is not allowed; allowed: {least} or more"
        )));
    }
    Ok(value)
}

/// Users that go to the hot event, if there is one; all of them while the share is left to the harness.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "users times a share between 0 and 1"
)]
fn hot_share(vars: &Vars, users: i64) -> i64 {
    let ratio: f64 = vars
        .text("HOT_RATIO")
        .and_then(|text| text.parse().ok())
        .unwrap_or(1.0);
    let share = if ratio > 1.0 {
        (ratio / 100.0).min(1.0)
    } else {
        ratio.max(0.0)
    };
    if vars.get("HOT_EVENT_ID").is_some() {
        (users as f64 * share).ceil() as i64
    } else {
        0
    }
}

fn divide_up(number: i64, by: i64) -> i64 {
    number / by + i64::from(number % by > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::vars::{Origin, Value};

    fn vars(users: i64, events: usize, more: &[(&str, i64)]) -> Vars {
        let mut vars = Vars::default();
        for (name, value) in more {
            vars.supply(name, Value::Int(*value), Origin::CommandLine);
        }
        let defaults = [
            ("VUS", users),
            ("SLOT_BOOST", 0),
            ("SLOT_BOOST_VALUE", 10_000),
            ("SEATS", 50),
            ("LOGIN_BATCH_SIZE", 100),
            ("LOGIN_BATCH_INTERVAL_MS", 1000),
            ("LOGIN_BATCH_JITTER_MS", 0),
            ("BURST_OFFSET_MS", 3000),
            ("BARRIER_TIMEOUT_MS", 300_000),
            ("HOLD_MS", 0),
            ("SSE_TIMEOUT_MS", 120_000),
            ("MAX_LOGIN_RETRIES", 10),
            ("LOGIN_TIMEOUT_MS", 10_000),
            ("LOGIN_RETRY_DELAY_MS", 0),
        ];
        for (name, value) in defaults {
            vars.supply(name, Value::Int(value), Origin::Default);
        }
        let ids = (0..events).map(|n| format!("event-{n}")).collect();
        vars.supply("EVENT_IDS", Value::List(ids), Origin::Default);
        vars
    }

    fn compute(vars: &Vars) -> Limits {
        Limits::compute(vars, |_| true)
            .expect("limits")
            .expect("declared")
    }

    #[test]
    fn figures_of_the_presets() {
        for (users, skew, hold, main) in [
            (2000, 19_000, 300_000, 322_000),
            (10_000, 99_000, 600_000, 702_000),
            (30_000, 299_000, 60_000, 362_000),
        ] {
            let vars = vars(users, 5, &[("HOLD_MS", hold)]);
            let limits = compute(&vars);
            assert_eq!(
                (limits.skew_ms, limits.main_limit_ms(&vars).expect("limit")),
                (skew, main)
            );
        }
        assert_eq!(compute(&vars(50, 5, &[])).skew_ms, 0);
    }

    #[test]
    fn stream_limits_hold_target_with_one_event() {
        let limits = compute(&vars(10_000, 1, &[]));
        assert_eq!(limits.drain_ms, 200_000);
        let run = limits.run_values();
        assert_eq!(
            (
                run["sse_p95_threshold_ms"].as_str(),
                run["sse_timeout_ms"].as_str()
            ),
            ("429000", "559000")
        );
        let small = compute(&vars(50, 5, &[])).run_values();
        assert_eq!(
            (
                small["sse_p95_threshold_ms"].as_str(),
                small["sse_timeout_ms"].as_str()
            ),
            ("60000", "120000")
        );
        let boosted = compute(&vars(10_000, 1, &[("SLOT_BOOST", 1)]));
        assert_eq!((boosted.slots, boosted.drain_ms), (10_000, 1000));
    }

    #[test]
    fn impossible_plans_are_refused_with_the_limit_to_raise() {
        let refused = |vars: &Vars| {
            compute(vars)
                .feasible(vars)
                .expect_err("refused")
                .to_string()
        };
        let stress = refused(&vars(
            30_000,
            5,
            &[("HOLD_MS", 600_000), ("SSE_TIMEOUT_MS", 900_000)],
        ));
        assert!(
            stress.contains("BARRIER_TIMEOUT_MS=300000") && stress.contains("302000 ms"),
            "{stress}"
        );
        let custom = refused(&vars(2000, 1, &[("SEATS", 8)]));
        assert!(
            custom.contains("HOLD_MS=0") && custom.contains("250000 ms"),
            "{custom}"
        );
        let stream = refused(&vars(10_000, 1, &[("HOLD_MS", 600_000)]));
        assert!(
            stream.contains("SSE_TIMEOUT_MS=120000") && stream.contains("299000 ms"),
            "{stream}"
        );
        let baseline = vars(2000, 5, &[("HOLD_MS", 300_000)]);
        compute(&baseline)
            .feasible(&baseline)
            .expect("baseline is possible");
    }

    #[test]
    fn a_hot_event_lengthens_the_drain() {
        let mut vars = vars(1000, 5, &[]);
        vars.supply(
            "HOT_EVENT_ID",
            Value::Text("event-0".to_owned()),
            Origin::CommandLine,
        );
        vars.supply("HOT_RATIO", Value::Float(0.5), Origin::CommandLine);
        assert_eq!(compute(&vars).drain_ms, 10_000);
    }

    #[test]
    fn the_wall_clock_bound_exceeds_what_the_harness_allows() {
        let vars = vars(10_000, 5, &[("HOLD_MS", 600_000)]);
        let admin = Duration::from_millis(10 * 10_000 + 5 * 10_500 + 60_000);
        assert_eq!(
            compute(&vars).run_limit(&vars).expect("limit"),
            Duration::from_secs(702 + 30 + 60) + 2 * admin
        );
    }

    #[test]
    fn counts_below_one_are_refused() {
        for (name, more) in [("VUS", ("X", 0)), ("SEATS", ("SEATS", 0))] {
            let vars = vars(i64::from(name != "VUS"), 1, &[more]);
            let text = Limits::compute(&vars, |_| true)
                .expect_err("refused")
                .to_string();
            assert!(text.starts_with(name), "{text}");
        }
    }
}
