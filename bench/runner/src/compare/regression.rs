//! What a run's objectives say beside those of a baseline: a warning where one is worse by more than the suite says, whatever its
//! limit allows. It changes no verdict.

use serde::Serialize;

use super::alike;
use super::baseline::{Group, groups, known, of_gate};
use super::stored::Stored;
use crate::suite::gate::of_scenario;
use crate::suite::schema::{Class, GateTable, Op};
use crate::values::text::figure;

/// An objective that is worse than it was when it was accepted.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Regression {
    pub(crate) scenario: String,
    point: String,
    variant: String,
    pub(crate) gate: String,
    accepted: f64,
    now: f64,
    /// By which share it is worse; `None` where nothing was accepted and something is there now.
    worse: Option<f64>,
    pub(crate) text: String,
}

/// The objectives of a plan that are worse than what was accepted under the same conditions; nothing where the suite does not ask.
///
/// # Errors
/// A folder of baselines cannot be read.
pub(crate) fn of(stored: &Stored) -> anyhow::Result<Vec<Regression>> {
    let Some(share) = &stored.suite.file.suite.regression else {
        return Ok(Vec::new());
    };
    let known = known(stored)?;
    let mut found = Vec::new();
    for group in &groups(stored) {
        let Some(first) = group.runs.first() else {
            continue;
        };
        let key = alike::key(&alike::conditions(&stored.suite, first));
        let mut same = known.iter().filter(|baseline| {
            let place = (
                baseline.scenario.as_str(),
                &baseline.point,
                baseline.variant.as_str(),
            );
            place == (group.scenario, &group.point, group.variant) && baseline.key == key
        });
        let Some(baseline) = same.next_back() else {
            continue;
        };
        // What was accepted itself is not measured by itself.
        let later = group.without(stored, &baseline.from)?;
        for gate in objectives(stored, group.scenario) {
            let id = gate.id.get_ref();
            let then = baseline.gates.iter().find(|kept| kept.metric == *id);
            let then = then.and_then(|kept| middle(&kept.values));
            let now = middle(&of_gate(&later, id, |_| true));
            let (Some(then), Some(now)) = (then, now) else {
                continue;
            };
            if let Some(worse) = worse(gate.op, then, now).filter(|worse| worse > share.get_ref()) {
                found.push(told(
                    &later,
                    gate,
                    baseline.accepted.get(..10),
                    (then, now),
                    worse,
                ));
            }
        }
    }
    Ok(found)
}

/// The objectives of a scenario that have a direction.
fn objectives<'s>(stored: &'s Stored, scenario: &'s str) -> impl Iterator<Item = &'s GateTable> {
    let gates = of_scenario(&stored.suite.file.gate, scenario);
    gates.filter(|gate| gate.class == Class::Slo && gate.op != Op::Equal)
}

fn middle(values: &[f64]) -> Option<f64> {
    barrier_stats::median::median(values)
}

/// By which share a value is worse than another one: further towards its limit.
fn worse(op: Op, then: f64, now: f64) -> Option<f64> {
    let by = match op {
        Op::Less | Op::AtMost => now - then,
        Op::Greater | Op::AtLeast => then - now,
        Op::Equal => return None,
    };
    (by > 0.0).then(|| {
        if then == 0.0 {
            f64::INFINITY
        } else {
            by / then.abs()
        }
    })
}

fn told(
    group: &Group<'_>,
    gate: &GateTable,
    accepted: Option<&str>,
    (then, now): (f64, f64),
    worse: f64,
) -> Regression {
    let unit = gate.unit.as_deref().map(|unit| format!(" {unit}"));
    let unit = unit.unwrap_or_default();
    let by = if worse.is_finite() {
        format!("{} %", figure(worse * 100.0))
    } else {
        "from nothing".to_owned()
    };
    let text = format!(
        "regression: {}: {} is worse by {by}: {}{unit} now, {}{unit} accepted on {}",
        group.place(),
        gate.id.get_ref(),
        figure(now),
        figure(then),
        accepted.unwrap_or_default()
    );
    Regression {
        scenario: group.scenario.to_owned(),
        point: group.point.clone(),
        variant: group.variant.to_owned(),
        gate: gate.id.get_ref().clone(),
        accepted: then,
        now,
        worse: Some(worse).filter(|worse| worse.is_finite()),
        text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worse_is_further_towards_the_limit() {
        let near = |found: Option<f64>, share: f64| {
            found.is_some_and(|found| (found - share).abs() < 1e-9)
        };
        assert!(near(worse(Op::Less, 100.0, 120.0), 0.2));
        assert!(near(worse(Op::AtLeast, 500.0, 400.0), 0.2));
        assert_eq!(worse(Op::Less, 100.0, 90.0), None);
        assert_eq!(worse(Op::Greater, 400.0, 500.0), None);
        assert_eq!(worse(Op::AtMost, 0.0, 1.0), Some(f64::INFINITY));
        assert_eq!(worse(Op::Equal, 1.0, 2.0), None);
    }
}
