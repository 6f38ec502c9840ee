//! k6's thresholds beside gates: a harness may mirror gates for people who run it without the runner.
//!
//! k6 judges a threshold over the whole run, and a gate over time the part that counts. Where both say the same of the same metric, the
//! gate's word counts, so that what was crossed before or after the window fails nothing, and what a suite only watches neither.

use serde_json::Value as Json;

use crate::suite::gate::{limit, of_scenario};
use crate::suite::over_time::source;
use crate::suite::schema::{File, GateTable, Op};
use crate::suite::vars::Vars;

/// The crossed thresholds of a summary, as `METRIC: THRESHOLD`: those that a gate over time mirrors, and the others.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Crossed {
    pub(crate) mirrored: Vec<String>,
    pub(crate) alone: Vec<String>,
}

impl Crossed {
    /// Sorts them, for a scenario.
    pub(crate) fn read(summary: &Json, file: &File, scenario: &str, vars: &Vars) -> Self {
        let mut crossed = Self::default();
        let gates = of_scenario(&file.gate, scenario);
        let gates: Vec<&GateTable> = gates.filter(|gate| source(file, gate).is_some()).collect();
        let metrics = summary["metrics"].as_object().into_iter().flatten();
        for (metric, told) in metrics {
            let thresholds = told["thresholds"].as_object().into_iter().flatten();
            let failed = thresholds.filter(|(_, told)| told["ok"] == false);
            for (text, _) in failed {
                let mirrors = |gate: &&GateTable| {
                    named(gate) == *metric
                        && Some((gate.stat.get_ref().as_str(), gate.op)) == asked(text)
                        && limit(gate, vars).is_ok_and(|limit| Some(limit) == bound(text))
                };
                let list = if gates.iter().any(mirrors) {
                    &mut crossed.mirrored
                } else {
                    &mut crossed.alone
                };
                list.push(format!("{metric}: {text}"));
            }
        }
        crossed
    }
}

/// The metric of a gate, as k6 would name it.
fn named(gate: &GateTable) -> String {
    let metric = gate.metric.get_ref();
    match &gate.tag {
        Some(tag) => format!("{metric}{{{}}}", tag.get_ref()),
        None => metric.clone(),
    }
}

/// Where the operator of a threshold begins, and where its limit does.
fn operator(text: &str) -> Option<(usize, usize)> {
    let from = text.find(['<', '>', '=', '!'])?;
    let length = text[from..].find(|c| !['<', '>', '=', '!'].contains(&c))?;
    Some((from, from + length))
}

/// The statistic and the operator of a threshold.
fn asked(text: &str) -> Option<(&str, Op)> {
    let (from, to) = operator(text)?;
    let op = match &text[from..to] {
        "<" => Op::Less,
        "<=" => Op::AtMost,
        ">" => Op::Greater,
        ">=" => Op::AtLeast,
        "==" | "===" => Op::Equal,
        _ => return None,
    };
    Some((text[..from].trim(), op))
}

/// The limit of a threshold.
fn bound(text: &str) -> Option<f64> {
    let (_, to) = operator(text)?;
    text[to..].trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_threshold_is_mirrored_by_a_gate_that_says_the_same() {
        let suite = crate::suite::tests::suite(
            "[series]\n[[scenario]]\nid = \"smoke\"\nscript = \"s.js\"\nlimit = \"30s\"\n\
             [[gate]]\nid = \"fast\"\nclass = \"slo\"\nmetric = \"wait\"\nstat = \"p(95)\"\nop = \"<\"\nlimit = 100\n\
             [[gate]]\nid = \"all\"\nclass = \"slo\"\nmetric = \"ok{kind:chat}\"\nstat = \"rate\"\nop = \"==\"\nlimit = 1\n\
             [[gate]]\nid = \"seen\"\nclass = \"watch\"\nmetric = \"seen\"\nstat = \"count\"\nop = \">\"\nlimit = 1\n",
        )
        .expect("suite");
        let failed = json!({ "ok": false });
        let summary = json!({ "metrics": {
            "wait": { "thresholds": {
                "p(95)<100": failed, "p(95) < 100.0": failed, "p(95)<=100": failed, "p(99)<100": failed, "p(95)<90": failed,
                "max<100": { "ok": true },
            } },
            "ok{kind:chat}": { "thresholds": { "rate==1": failed } },
            "ok": { "thresholds": { "rate==1": failed } },
            "seen": { "thresholds": { "count>1": failed, "count>2": failed } },
            "none": {},
        } });
        let crossed = Crossed::read(&summary, &suite.file, "smoke", &Vars::default());
        assert_eq!(
            crossed.mirrored,
            [
                "wait: p(95)<100",
                "wait: p(95) < 100.0",
                "ok{kind:chat}: rate==1",
                "seen: count>1"
            ],
            "one that is only watched misses nothing"
        );
        assert_eq!(
            crossed.alone,
            [
                "wait: p(95)<=100",
                "wait: p(99)<100",
                "wait: p(95)<90",
                "ok: rate==1",
                "seen: count>2"
            ]
        );
    }
}
