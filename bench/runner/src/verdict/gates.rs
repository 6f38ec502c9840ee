//! Gates: the one place that turns evidence into a verdict.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::series::recorded;
use crate::suite::gate::{limit, of_scenario};
use crate::suite::quick::Shares;
use crate::suite::schema::{Class, File, GateTable, MetricKind, Op};
use crate::suite::vars::Vars;
use crate::verdict::metric::{self, Found, Samples, look};
use crate::verdict::over_time::OverTime;

/// What a run is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Verdict {
    /// Every gate that judges holds.
    Pass,
    /// An objective was missed; the evidence is sound.
    Fail,
    /// The evidence is not good enough to say anything.
    Invalid,
    /// Every gate that judges holds, but the load was scaled down: it works, and says nothing about speed.
    Smoke,
    /// The harness ended the run.
    Aborted,
    /// A signal ended the run.
    Interrupted,
    /// k6 was never started.
    NotRun,
    /// There is nothing to run yet.
    NotImplemented,
}

impl Verdict {
    /// Whether the evidence is sound; anything else is run again when the plan is gone on with.
    pub(crate) fn is_complete(self) -> bool {
        matches!(
            self,
            Self::Pass | Self::Fail | Self::Smoke | Self::NotImplemented
        )
    }

    /// What the suite tells of a run of this scenario beside its verdict.
    pub(crate) fn said(self, file: &File, scenario: &str) -> Option<String> {
        let mut scenarios = file.scenario.iter();
        let table = scenarios.find(|table| table.id.get_ref() == scenario)?;
        let usual = matches!(self, Self::Pass | Self::Fail);
        let say = table.say.as_ref()?.get_ref();
        Some(say.line(self.passed(), &self.to_string(), usual))
    }

    /// Whether every gate that judges holds.
    pub(crate) fn passed(self) -> bool {
        matches!(self, Self::Pass | Self::Smoke)
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Invalid => "INVALID",
            Self::Smoke => "SMOKE",
            Self::Aborted => "ABORTED",
            Self::Interrupted => "INTERRUPTED",
            Self::NotRun => "NOT_RUN",
            Self::NotImplemented => "NOT_IMPLEMENTED",
        })
    }
}

/// The evidence that gates look at.
#[derive(Debug)]
pub(crate) struct Evidence<'a> {
    pub(crate) summary: Option<&'a Json>,
    pub(crate) derived: &'a Map<String, Json>,
    pub(crate) over_time: &'a OverTime,
    pub(crate) vars: &'a Vars,
    /// What quick mode makes of the samples that a gate needs.
    pub(crate) shares: Shares,
}

/// One gate, judged.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Judged {
    pub(crate) id: String,
    pub(crate) class: Class,
    pub(crate) holds: bool,
    /// What was looked at and what was expected, in words.
    pub(crate) text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<f64>,
    /// What the value was held against; none of a built-in gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<f64>,
    /// The metric had no value and the gate declares none for that case.
    pub(crate) missing: bool,
}

impl Judged {
    /// A gate that holds for every suite without being declared.
    pub(super) fn built_in(id: &str, holds: bool, text: impl Into<String>) -> Self {
        Self {
            id: id.to_owned(),
            class: Class::Validity,
            holds,
            text: text.into(),
            value: None,
            limit: None,
            missing: false,
        }
    }
}

/// Judges the declared gates of a scenario.
///
/// # Errors
/// A limit names a variable without a value, or is not a number.
pub(crate) fn judge(
    file: &File,
    scenario: &str,
    evidence: &Evidence<'_>,
) -> anyhow::Result<Vec<Judged>> {
    of_scenario(&file.gate, scenario)
        .map(|gate| match evidence.over_time.value(file, gate) {
            Some(found) => over_time(gate, found, evidence),
            None => of_summary(gate, evidence),
        })
        .collect()
}

/// Judges a gate over time.
fn over_time(
    gate: &GateTable,
    found: recorded::Found,
    evidence: &Evidence<'_>,
) -> anyhow::Result<Judged> {
    let (mut few, vars) = (None, evidence.vars);
    let limit = limit(gate, vars)?;
    let unit = unit(gate);
    let (value, received) = match (found, gate.absent) {
        (recorded::Found::Value(found), _) => {
            let recorded::Value {
                value,
                least: at_least,
                samples,
                looks,
            } = found;
            let least = gate.min_samples.as_ref();
            let least = least.map(|least| evidence.shares.min_samples(*least.get_ref()));
            few = least
                .filter(|least| samples < *least)
                .map(|least| format!("; {samples} samples, at least {least} are needed to judge"));
            let holds = compare(value, gate.op, limit);
            let shown = |value| {
                shown(value, |shown| {
                    compare(shown, gate.op, limit) == compare(value, gate.op, limit)
                })
            };
            let looks = looks.map(|looks| format!(" ({looks})")).unwrap_or_default();
            match at_least.filter(|least| compare(*least, gate.op, limit) != holds) {
                // A look that would tell is missing.
                Some(least) => {
                    let (from, to) = (shown(least), shown(value));
                    let why = "looks failed or were late just there";
                    (
                        None,
                        format!("from {from} to {to}{unit}{looks}, not known better: {why}"),
                    )
                }
                None => (Some(value), format!("{}{unit}{looks}", shown(value))),
            }
        }
        (recorded::Found::Absent, Some(value)) => (
            Some(value),
            format!("absent, which stands for {value}{unit}"),
        ),
        (recorded::Found::Absent, None) => (None, "absent".to_owned()),
        (recorded::Found::Silent(why), _) => (None, format!("no value, {why}")),
    };
    Ok(judged(
        gate,
        (value, &received),
        limit,
        few.as_deref(),
        vars,
    ))
}

/// Judges a gate on k6's summary, or on a derived value.
fn of_summary(gate: &GateTable, evidence: &Evidence<'_>) -> anyhow::Result<Judged> {
    let (metric, stat) = (gate.metric.get_ref(), gate.stat.get_ref());
    let limit = limit(gate, evidence.vars)?;
    let found = match (evidence.derived.get(metric), evidence.summary) {
        (Some(Json::Null), _) => Found::Silent("nothing to derive it from".to_owned()),
        (Some(value), _) => value.as_f64().map_or_else(
            || Found::Silent(format!("{value} is no number")),
            Found::Value,
        ),
        (None, Some(summary)) => {
            of_kind(gate, summary).unwrap_or_else(|| look(summary, metric, stat))
        }
        (None, None) => Found::Silent("no summary".to_owned()),
    };
    let unit = unit(gate);
    // Only what is not there at all may stand for a value.
    let (value, received) = match (found, gate.absent) {
        (Found::Value(value), _) => (Some(value), format!("{value}{unit}")),
        (Found::Absent, Some(value)) => {
            match evidence
                .summary
                .and_then(|all| metric::unnamed(all, metric))
            {
                Some(why) => (None, format!("absent, which says nothing here: {why}")),
                None => (
                    Some(value),
                    format!("absent, which stands for {value}{unit}"),
                ),
            }
        }
        (Found::Absent, None) if metric.ends_with('}') => (
            None,
            "absent (k6 sums up by tag only where the harness has a threshold on just these tags)"
                .to_owned(),
        ),
        (Found::Absent, None) => (None, "absent".to_owned()),
        (Found::Silent(why), _) => (None, format!("no value, {why}")),
    };
    let few = value.and_then(|_| too_few(gate, evidence));
    let received = (value, received.as_str());
    Ok(judged(gate, received, limit, few.as_deref(), evidence.vars))
}

/// A value with six digits, if it says the same then.
fn shown(value: f64, same: impl Fn(f64) -> bool) -> f64 {
    let rounded = format!("{value:.5e}").parse().unwrap_or(value);
    if same(rounded) { rounded } else { value }
}

fn unit(gate: &GateTable) -> String {
    let unit = gate.unit.as_deref();
    unit.map(|unit| format!(" {unit}")).unwrap_or_default()
}

/// The part of a metric that a gate is about, and its statistic, in words.
fn asked(gate: &GateTable) -> String {
    let metric = gate.metric.get_ref();
    let tag = gate.tag.as_ref();
    let tag = tag.map(|tag| format!("{{{}}}", tag.get_ref()));
    let band = gate.band.as_ref().map(|band| *band.get_ref());
    let band = band.map(|[low, high]| format!(" [{low}, {high}]"));
    format!(
        "{metric}{} {}{}",
        tag.unwrap_or_default(),
        gate.stat.get_ref(),
        band.unwrap_or_default()
    )
}

/// Holds a value against its limit. `few`: why the samples are not enough.
fn judged(
    gate: &GateTable,
    (value, received): (Option<f64>, &str),
    limit: f64,
    few: Option<&str>,
    vars: &Vars,
) -> Judged {
    let holds = few.is_none() && value.is_some_and(|value| compare(value, gate.op, limit));
    let mut text = format!(
        "{}: {received}; expected {} {limit}{}{}",
        asked(gate),
        gate.op.sign(),
        unit(gate),
        few.unwrap_or_default()
    );
    if let Some(say) = gate.say.as_ref().filter(|_| !holds) {
        // Evidence of another suite may lack a value that this one computes.
        let said = vars.expand_shown(say.get_ref());
        text = format!("{text}: {}", said.unwrap_or_else(|_| say.get_ref().clone()));
    }
    Judged {
        id: gate.id.get_ref().clone(),
        class: gate.class,
        holds,
        text,
        value,
        limit: Some(limit),
        missing: value.is_none() || few.is_some(),
    }
}

/// Why a metric is not the one that the gate means: it is of another type.
fn of_kind(gate: &GateTable, summary: &Json) -> Option<Found> {
    let (declared, is) = (gate.kind?, metric::kind(summary, gate.metric.get_ref())?);
    (declared != is).then(|| {
        let [is, declared] = [is, declared].map(MetricKind::name);
        Found::Silent(format!("it is a {is}, and the gate says a {declared}"))
    })
}

/// Why the samples are not enough to judge by.
fn too_few(gate: &GateTable, evidence: &Evidence<'_>) -> Option<String> {
    let least = *gate.min_samples.as_ref()?.get_ref();
    let least = evidence.shares.min_samples(least);
    #[expect(
        clippy::cast_precision_loss,
        reason = "a number of samples is far below 2^53"
    )]
    match metric::samples(evidence.summary?, gate.metric.get_ref())? {
        Samples::Counted(count) if count >= least as f64 => None,
        Samples::Some if least <= 1 => None,
        Samples::Counted(count) => Some(format!(
            "; {count} samples, at least {least} are needed to judge"
        )),
        Samples::Some | Samples::Unknown | Samples::Uncounted => Some(format!(
            "; how many samples there were is unknown (a trend needs `count` in summaryTrendStats), at least {least} are needed"
        )),
    }
}

#[expect(
    clippy::float_cmp,
    reason = "`==` is meant for counts, which are exact"
)]
fn compare(value: f64, op: Op, limit: f64) -> bool {
    match op {
        Op::Less => value < limit,
        Op::AtMost => value <= limit,
        Op::Greater => value > limit,
        Op::AtLeast => value >= limit,
        Op::Equal => value == limit,
    }
}

/// The verdict over all gates; gates of class watch never change it.
pub(crate) fn verdict(gates: &[Judged]) -> Verdict {
    let failed = |class: Class| gates.iter().any(|gate| gate.class == class && !gate.holds);
    let slo_unknown = gates
        .iter()
        .any(|gate| gate.class == Class::Slo && gate.missing);
    if failed(Class::Validity) || slo_unknown {
        Verdict::Invalid
    } else if failed(Class::Slo) {
        Verdict::Fail
    } else {
        Verdict::Pass
    }
}

/// Why the verdict is not PASS, one reason per failed gate: what makes the evidence worthless stands before what was missed.
pub(crate) fn reasons(gates: &[Judged]) -> Vec<String> {
    let of_class = |class: Class| {
        let failed = gates.iter();
        failed.filter(move |gate| !gate.holds && gate.class == class)
    };
    of_class(Class::Validity)
        .chain(of_class(Class::Slo))
        .map(|gate| format!("{}: {}", gate.id, gate.text))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::tests::suite;
    use crate::suite::vars::Origin;
    use crate::suite::vars::Value;

    const HEAD: &str = "[env.VUS]\ntype = \"int\"\n[[scenario]]\nid = \"smoke\"\nscript = \"s.js\"\nlimit = \"30s\"\n";

    fn judge_with(gate: &str, summary: &Json) -> Judged {
        let suite = suite(&format!("{HEAD}[[gate]]\nid = \"g\"\n{gate}\n")).expect("suite");
        let mut vars = Vars::default();
        vars.supply("VUS", Value::Int(50), Origin::CommandLine);
        let derived = Map::from_iter([
            ("drainMs".to_owned(), Json::Null),
            ("known".to_owned(), Json::from(3)),
        ]);
        let evidence = Evidence {
            summary: Some(summary),
            derived: &derived,
            over_time: &OverTime::default(),
            vars: &vars,
            shares: Shares::WHOLE,
        };
        judge(&suite.file, "smoke", &evidence)
            .expect("judged")
            .remove(0)
    }

    fn completed(count: u32) -> Json {
        serde_json::json!({ "metrics": { "completed_users": { "values": { "count": count } } } })
    }

    const ALL: &str = "class = \"validity\"\nmetric = \"completed_users\"\nstat = \"count\"\nop = \"==\"\nlimit = \"${VUS}\"";

    #[test]
    fn a_limit_may_be_a_variable() {
        let gate = judge_with(ALL, &completed(50));
        assert!(gate.holds);
        let gate = judge_with(ALL, &completed(49));
        assert_eq!(
            (gate.holds, gate.text.as_str()),
            (false, "completed_users count: 49; expected == 50")
        );
        assert_eq!(verdict(&[gate]), Verdict::Invalid);
    }

    #[test]
    fn a_gate_that_does_not_hold_says_what_that_means() {
        let say = format!("{ALL}\nsay = \"not all of ${{VUS}} were let in\"");
        assert_eq!(
            judge_with(&say, &completed(50)).text,
            "completed_users count: 50; expected == 50"
        );
        assert_eq!(
            judge_with(&say, &completed(49)).text,
            "completed_users count: 49; expected == 50: not all of 50 were let in"
        );
        let unknown = say.replace("${VUS}", "${VU}");
        suite(&format!("{HEAD}[[gate]]\nid = \"g\"\n{unknown}\n")).expect_err("refused");
    }

    #[test]
    fn absence_is_invalid_unless_declared() {
        let gate = judge_with(ALL, &serde_json::json!({ "metrics": {} }));
        assert!(gate.missing && !gate.holds);
        let zero = "class = \"validity\"\nmetric = \"sse_failures\"\nstat = \"count\"\nop = \"<=\"\nlimit = 0\nabsent = 0";
        assert!(judge_with(zero, &serde_json::json!({ "metrics": {} })).holds);
        let slo = "class = \"slo\"\nmetric = \"latency\"\nstat = \"p(95)\"\nop = \"<\"\nlimit = 5";
        assert_eq!(
            verdict(&[judge_with(slo, &serde_json::json!({ "metrics": {} }))]),
            Verdict::Invalid
        );
    }

    #[test]
    fn absence_by_tag_stands_for_nothing_where_the_metric_is_there() {
        let zero = "class = \"validity\"\nmetric = \"lost{step:pay}\"\nstat = \"count\"\nop = \"==\"\nlimit = 0\nabsent = 0";
        let some = serde_json::json!({ "metrics": { "lost": { "type": "counter", "values": { "count": 4, "rate": 1 } } } });
        let gate = judge_with(zero, &some);
        assert!(
            gate.missing && gate.text.contains("declare one on lost{step:pay}"),
            "{gate:?}"
        );
        assert_eq!(verdict(&[gate]), Verdict::Invalid);
        let gate = judge_with(zero, &serde_json::json!({ "metrics": {} }));
        assert!(gate.holds, "without the whole there is no part: {gate:?}");
    }

    #[test]
    fn too_few_samples_are_invalid() {
        let slo = |least: u32| {
            format!(
                "class = \"slo\"\nmetric = \"checks\"\nstat = \"rate\"\nop = \">\"\nlimit = 0.5\nmin_samples = {least}"
            )
        };
        let summary = serde_json::json!({ "metrics": { "checks": { "values": { "rate": 0.9, "passes": 9, "fails": 1 } } } });
        assert!(judge_with(&slo(10), &summary).holds);
        let gate = judge_with(&slo(11), &summary);
        assert!(
            !gate.holds
                && gate
                    .text
                    .ends_with("10 samples, at least 11 are needed to judge"),
            "{gate:?}"
        );
        assert_eq!(verdict(&[gate]), Verdict::Invalid);
        let trend = "class = \"slo\"\nmetric = \"latency\"\nstat = \"p(95)\"\nop = \"<\"\nlimit = 5\nmin_samples = 2";
        let summary = serde_json::json!({ "metrics": { "latency": { "values": { "p(95)": 2 } } } });
        let gate = judge_with(trend, &summary);
        assert!(
            gate.missing && gate.text.contains("summaryTrendStats"),
            "{gate:?}"
        );
    }

    #[test]
    fn a_metric_without_samples_is_invalid_whatever_k6_shows_for_it() {
        // As k6 sums up what only a threshold has made.
        let summary = serde_json::json!({ "metrics": {
            "latency": { "type": "trend", "values": { "p(95)": 0, "count": 0 } },
            "ok": { "type": "rate", "values": { "rate": 0, "passes": 0, "fails": 0 } },
            "ok{step:login}": { "type": "rate", "values": { "rate": 0.5, "passes": 2, "fails": 2 } },
            "lost": { "type": "counter", "values": { "count": 0, "rate": 0 } },
        } });
        let gate = |metric: &str, stat: &str, more: &str| {
            judge_with(
                &format!(
                    "class = \"slo\"\nmetric = \"{metric}\"\nstat = \"{stat}\"\nop = \"<\"\nlimit = 1\n{more}"
                ),
                &summary,
            )
        };
        for (metric, stat) in [("latency", "p(95)"), ("latency", "p(99)"), ("ok", "rate")] {
            for more in ["", "absent = 0"] {
                let gate = gate(metric, stat, more);
                assert!(gate.missing && !gate.holds, "{gate:?}");
                assert_eq!(verdict(&[gate]), Verdict::Invalid);
            }
        }
        assert!(gate("lost", "count", "").holds, "a counter's 0 is a value");
        assert!(gate("ok{step:login}", "rate", "").holds, "by tag");
        let other = gate("ok{step:login}", "rate", "type = \"rate\"\nmin_samples = 5");
        assert!(
            other.missing && other.text.contains("4 samples"),
            "{other:?}"
        );
        let other = gate("lost", "count", "type = \"trend\"");
        assert!(
            other.missing && other.text.contains("is a counter"),
            "{other:?}"
        );
    }

    #[test]
    fn classes_decide_the_verdict() {
        let summary =
            serde_json::json!({ "metrics": { "latency": { "values": { "p(95)": 7.5 } } } });
        let gate = |class: &str| {
            judge_with(
                &format!(
                    "class = \"{class}\"\nmetric = \"latency\"\nstat = \"p(95)\"\nop = \"<\"\nlimit = 5"
                ),
                &summary,
            )
        };
        assert_eq!(verdict(&[gate("slo")]), Verdict::Fail);
        assert_eq!(verdict(&[gate("watch")]), Verdict::Pass);
        assert!(reasons(&[gate("watch")]).is_empty());
        assert_eq!(
            reasons(&[gate("slo")]),
            ["g: latency p(95): 7.5; expected < 5"]
        );
    }

    #[test]
    fn operators() {
        for (op, holds) in [
            ("<", false),
            ("<=", true),
            (">", false),
            (">=", true),
            ("==", true),
        ] {
            let gate = format!(
                "class = \"slo\"\nmetric = \"completed_users\"\nstat = \"count\"\nop = \"{op}\"\nlimit = 50"
            );
            assert_eq!(judge_with(&gate, &completed(50)).holds, holds, "{op}");
        }
    }
    #[test]
    fn a_value_that_is_not_known_exactly_is_judged_where_that_makes_no_difference() {
        let judged = |limit: u32| {
            let gate = ALL
                .replace("==", "<")
                .replace("\"${VUS}\"", &limit.to_string());
            let suite = suite(&format!("{HEAD}[[gate]]\nid = \"g\"\n{gate}\n")).expect("suite");
            let evidence = Evidence {
                summary: None,
                derived: &Map::new(),
                over_time: &OverTime::default(),
                vars: &Vars::default(),
                shares: Shares::WHOLE,
            };
            let value = recorded::Value {
                value: 2.5,
                least: Some(1.0),
                samples: 9,
                looks: Some("9 of 10 looks".to_owned()),
            };
            over_time(
                &suite.file.gate[0],
                recorded::Found::Value(value),
                &evidence,
            )
            .expect("judged")
        };
        for (limit, holds) in [(3, true), (1, false)] {
            let gate = judged(limit);
            assert_eq!((gate.holds, gate.missing), (holds, false), "{gate:?}");
            assert!(gate.text.contains("2.5 (9 of 10 looks);"), "{gate:?}");
        }
        let gate = judged(2);
        assert!(gate.missing && !gate.holds, "{gate:?}");
        assert!(
            gate.text.contains("from 1 to 2.5 (9 of 10 looks)"),
            "{gate:?}"
        );
    }
}
