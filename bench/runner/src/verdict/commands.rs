//! What became of the commands of a run: the gates that every run of commands has.

use serde::{Deserialize, Serialize};

use crate::suite::command::metric;
use crate::suite::gate::of_scenario;
use crate::suite::schema::{Class, File};
use crate::verdict::gates::Judged;

/// What became of the calls of a run, as `meta.json` keeps it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Calls {
    /// How many were made.
    pub(crate) made: u32,
    /// Those that failed.
    pub(crate) failed: Vec<Failed>,
    /// Those that were ended for their time, in words.
    pub(crate) late: Vec<String>,
    /// Values that calls which succeeded did not give, in words.
    pub(crate) unread: Vec<String>,
}

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Failed {
    pub(crate) command: String,
    /// With what, in words.
    pub(crate) why: String,
}

impl Calls {
    /// The gates of a scenario's commands.
    pub(super) fn judge(&self, file: &File, scenario: &str) -> Vec<Judged> {
        let judges = |metric: &str| {
            let mut gates = of_scenario(&file.gate, scenario);
            gates.any(|gate| gate.class != Class::Watch && gate.metric.get_ref() == metric)
        };
        let all = judges(metric::FAILED);
        let left = |failed: &&Failed| !all && !judges(&metric::of(metric::FAILED, &failed.command));
        let failed: Vec<String> = self
            .failed
            .iter()
            .filter(left)
            .map(|failed| format!("{}: {}", failed.command, failed.why))
            .collect();
        let text = |faults: &[String], good: String| {
            if faults.is_empty() {
                good
            } else {
                faults.join("; ")
            }
        };
        let objective = |id: &str, faults: &[String], good: String| Judged {
            class: Class::Slo,
            ..Judged::built_in(id, faults.is_empty(), text(faults, good))
        };
        let made = self.made;
        vec![
            Judged::built_in(
                "commands-ran",
                made > 0,
                format!("calls that were made: {made}; expected at least 1"),
            ),
            objective(
                "commands-succeed",
                &failed,
                format!("{made} calls, and no failure that is not left to a gate"),
            ),
            objective(
                "commands-in-time",
                &self.late,
                format!("{made} calls, each within its time"),
            ),
            Judged::built_in(
                "values-read",
                self.unread.is_empty(),
                text(
                    &self.unread,
                    "every value of a call that succeeded was found".to_owned(),
                ),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::gates::{Verdict, verdict};

    fn judged(gate: &str, calls: &Calls) -> Vec<Judged> {
        let suite = crate::suite::tests::suite(&format!(
            "[[scenario]]\nid = \"smoke\"\ntime_limit = \"5s\"\n\
             [[scenario.command]]\nid = \"lint\"\nrun = [\"true\"]\n{gate}"
        ))
        .expect("suite");
        calls.judge(&suite.file, "smoke")
    }

    #[test]
    fn a_failure_is_left_to_a_gate_on_it() {
        let calls = Calls {
            made: 10,
            failed: vec![Failed {
                command: "lint".to_owned(),
                why: "exit code 1".to_owned(),
            }],
            ..Calls::default()
        };
        let gates = judged("", &calls);
        assert_eq!(verdict(&gates), Verdict::Fail);
        assert!(gates.iter().any(|gate| gate.text == "lint: exit code 1"));
        for (metric, class, expected) in [
            ("command_failed", "slo", Verdict::Pass),
            ("command_failed{command:lint}", "slo", Verdict::Pass),
            ("command_failed{command:other}", "slo", Verdict::Fail),
            ("command_failed", "watch", Verdict::Fail),
        ] {
            let gate = format!(
                "[[gate]]\nid = \"flakes\"\nclass = \"{class}\"\nmetric = \"{metric}\"\nstat = \"rate\"\nop = \"<\"\nlimit = 0.2\n"
            );
            assert_eq!(
                verdict(&judged(&gate, &calls)),
                expected,
                "{metric} {class}"
            );
        }
    }

    #[test]
    fn without_a_call_nothing_is_known() {
        assert_eq!(verdict(&judged("", &Calls::default())), Verdict::Invalid);
    }
}
