//! What was seen of a run while it ran and cannot be looked up later: the basis of the gates that hold for every run.

use serde::{Deserialize, Serialize};

use crate::suite::schema::Class;
use crate::values::exit::Policy;
use crate::verdict::commands::Calls;
use crate::verdict::gates::Judged;
use crate::verdict::thresholds::Crossed;

/// k6's exit code where a threshold was crossed.
const CROSSED: i32 = 99;

/// k6's exit code where the script has ended the run.
const BY_SCRIPT: i32 = 108;

/// What k6 says before the text of a script that has ended the run.
const ABORTED: &str = "test aborted: ";

/// What k6 says where a threshold with `abortOnFail` has ended the run.
const STOPPED: &str = "stopping test prematurely";

/// Share of the machine, in percent over the whole run, beyond which the generator measures itself.
const GENERATOR_CAP: f64 = 90.0;

/// Why k6 ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Cause {
    /// By itself.
    Own,
    /// A signal reached the runner.
    Interrupt,
    /// The wall-clock bound was reached.
    Limit,
    /// A target that the runner started had ended.
    TargetEnded,
    /// Nobody was there any more where a target of somebody else's had been.
    TargetGone,
}

/// What the machine did while k6 ran, in percent of all its processors.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Machine {
    /// Whether a process monitor was declared and saw anything.
    pub(crate) measured: bool,
    pub(crate) cpu_percent_mean: Option<f64>,
    pub(crate) generator_cpu_percent_mean: Option<f64>,
    /// Neither k6 nor the target nor Redis nor the runner.
    pub(crate) others_cpu_percent_mean: Option<f64>,
    pub(crate) others_cpu_percent_max: Option<f64>,
    /// Something else took so much that figures of this run are to be compared with care.
    pub(crate) busy: bool,
    /// What to read beside the figures; empty if there is nothing.
    pub(crate) note: String,
}

/// Whether the targets had written what they took, before anybody looked at what was stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Drained {
    /// They had.
    pub(crate) holds: bool,
    /// Somebody told how much was left.
    pub(crate) known: bool,
    /// In words.
    pub(crate) text: String,
}

/// The facts, as `meta.json` keeps them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Facts {
    /// `null` if a signal ended k6.
    pub(crate) k6_exit_code: Option<i32>,
    /// Why the harness ended the run, if it did.
    #[serde(default)]
    pub(crate) aborted: Option<String>,
    /// A crossed threshold ended it before its end, so what it measured is cut off.
    #[serde(default)]
    pub(crate) cut: bool,
    pub(crate) cause: Cause,
    /// Every user that k6 may have was waiting when an iteration was due.
    #[serde(default)]
    pub(crate) exhausted: bool,
    /// k6 left a summary in this run, and it is JSON.
    pub(crate) summary: bool,
    /// What the target answered instead of what it should, after the run; `null` if it was right.
    pub(crate) unhealthy: Option<String>,
    /// It was there then, and gave no answer or a wrong one; of one that is gone, no.
    #[serde(default)]
    pub(crate) locked: bool,
    /// `None` where the suite waits for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) drained: Option<Drained>,
    /// What had to be so before anybody could count, and targets that did not tell; `None` where there is neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) preconditions: Option<Drained>,
    /// Declared evidence that was not there at the end, and files that could not be written as they should have been.
    pub(crate) evidence_missing: Vec<String>,
    /// `null` if it was not measured.
    pub(crate) generator_cpu_percent_mean: Option<f64>,
    /// What became of the commands that ran in place of k6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) commands: Option<Calls>,
}

/// What k6 says once where every user that it may have waits, and an iteration is due.
const EXHAUSTED: &str = "Insufficient VUs, reached ";

/// Whether k6 had no user left for an iteration that was due, as it told it in its output.
pub(crate) fn exhausted(output: &str) -> bool {
    output.contains(EXHAUSTED)
}

/// Whether a threshold ended the run early, as k6 told it in its output.
pub(crate) fn cut(output: &str) -> bool {
    let mut errors = output.lines().filter(|line| line.contains("level=error"));
    errors.any(|line| line.contains(STOPPED))
}

/// Why a harness ended the run, as k6 told it at the end of its output.
pub(crate) fn aborted(output: &str) -> Option<String> {
    let line = output.lines().rev().find(|line| line.contains(ABORTED))?;
    let (_, why) = line.split_once(ABORTED)?;
    // k6 logs it as a quoted text, with the place in the script at its end.
    let (mut text, mut escaped) = (String::new(), false);
    for letter in why.chars() {
        match letter {
            '"' if !escaped => break,
            '\\' if !escaped => escaped = true,
            _ => {
                text.push(letter);
                escaped = false;
            }
        }
    }
    if let Some(place) = text.rfind(" (file://") {
        text.truncate(text[..place].rfind(" at ").unwrap_or(place));
    }
    Some(text)
}

impl Facts {
    /// The gates that hold for every run without being declared. `crossed`: by the summary. `share`: of k6, in percent, while somebody
    /// was measured; without it, that of the whole run counts.
    pub(crate) fn judge(&self, crossed: &Crossed, share: Option<f64>) -> Vec<Judged> {
        let of_k6 = [
            self.exit(crossed),
            Judged::built_in(
                "k6-in-time",
                self.cause != Cause::Limit,
                "k6 ends by itself within its bound",
            ),
        ];
        let mut gates = if self.commands.is_none() {
            of_k6.to_vec()
        } else {
            Vec::new()
        };
        gates.extend([
            Judged::built_in(
                "summary",
                self.summary,
                "summary.json exists, was written by this run, and is JSON",
            ),
            // Before the run it was waited for: without an answer there is no run.
            Judged::built_in(
                "target-healthy",
                self.unhealthy.is_none(),
                self.unhealthy
                    .as_deref()
                    .unwrap_or("the target answers before and after the run"),
            ),
            Judged::built_in(
                "evidence-complete",
                self.evidence_missing.is_empty(),
                if self.evidence_missing.is_empty() {
                    "every declared file is there".to_owned()
                } else {
                    format!("missing or not whole: {}", self.evidence_missing.join(", "))
                },
            ),
        ]);
        gates.extend(self.drained.as_ref().map(|drained| Judged {
            // Who was given time and has not written everything missed an objective; who does not tell says nothing.
            class: if drained.known {
                Class::Slo
            } else {
                Class::Validity
            },
            ..Judged::built_in("drained", drained.holds, drained.text.as_str())
        }));
        gates.extend(
            self.preconditions
                .as_ref()
                .map(|drained| Judged::built_in("countable", drained.holds, drained.text.as_str())),
        );
        let cut_off = match self.cause {
            Cause::TargetEnded => Some("a target had ended"),
            Cause::TargetGone => Some("nobody answered any more where a target had been"),
            Cause::Own | Cause::Interrupt | Cause::Limit => None,
        };
        // By the end of the run it may answer again.
        if let Some(why) = cut_off.filter(|_| self.commands.is_some()) {
            gates.push(Judged::built_in(
                "commands-ended",
                false,
                format!("the runner asked the commands to end, as {why}; expected that each ends by itself"),
            ));
        }
        let share = share.or(self.generator_cpu_percent_mean);
        if let Some(share) = share.filter(|_| self.commands.is_none()) {
            gates.push(Judged::built_in(
                "generator-cpu",
                share <= GENERATOR_CAP,
                format!("k6 took {share} % of the processors that it may use; expected at most {GENERATOR_CAP} %, beyond it measures itself"),
            ));
        }
        gates
    }

    /// Whether the harness ended the run, in a suite that says so by its verdict. Where k6's own code is handed on, that code
    /// says it, and the evidence is not good enough.
    pub(super) fn was_aborted(&self, policy: Policy) -> bool {
        policy == Policy::Verdict && self.k6_exit_code == Some(BY_SCRIPT)
    }

    /// Whether k6 did its work to the end: what is wrong is the target's or the load's.
    pub(super) fn worked(&self) -> bool {
        self.cause == Cause::Own && self.summary && matches!(self.k6_exit_code, Some(0 | CROSSED))
    }

    /// A crossed threshold is an objective that the target missed; every other code says that k6 did not do its work.
    ///
    /// Where gates of the run say the same as all that were crossed, they judge that, each over the part of the run that counts.
    fn exit(&self, crossed: &Crossed) -> Judged {
        let mirrored = crossed.alone.is_empty() && !crossed.mirrored.is_empty() && !self.cut;
        if self.k6_exit_code == Some(CROSSED) && mirrored {
            let text = format!(
                "k6's exit code: {CROSSED}, over the whole run thresholds were crossed that gates judge over the part that counts: {}",
                crossed.mirrored.join(", ")
            );
            return Judged::built_in("k6-exit", true, text);
        }
        if self.k6_exit_code == Some(CROSSED) {
            let how = if self.cut {
                " and ended the run early (abortOnFail), which leaves comparisons"
            } else {
                ""
            };
            let which = match crossed.alone.as_slice() {
                [] => String::new(),
                alone => format!(" ({})", alone.join(", ")),
            };
            let text = format!(
                "k6's exit code: {CROSSED}, a threshold was crossed{which}{how}; expected 0"
            );
            return Judged {
                class: Class::Slo,
                ..Judged::built_in("k6-exit", false, text)
            };
        }
        let code = self.k6_exit_code.map_or_else(
            || "none, a signal ended it".to_owned(),
            |code| code.to_string(),
        );
        Judged::built_in(
            "k6-exit",
            self.k6_exit_code == Some(0),
            match &self.aborted {
                None if self.cause == Cause::TargetEnded => format!(
                    "k6's exit code: {code}; expected 0: the runner asked it to end, as a target had ended"
                ),
                None if self.cause == Cause::TargetGone => format!(
                    "k6's exit code: {code}; expected 0: the runner asked it to end, as nobody answered any more where a target had been"
                ),
                Some(why) => format!("k6's exit code: {code}; expected 0: {why}"),
                None => format!("k6's exit code: {code}; expected 0"),
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::gates::{Verdict, verdict};

    /// Of a run that nothing is wrong with.
    fn good() -> Facts {
        Facts {
            k6_exit_code: Some(0),
            aborted: None,
            cut: false,
            exhausted: false,
            cause: Cause::Own,
            summary: true,
            unhealthy: None,
            locked: false,
            drained: None,
            preconditions: None,
            evidence_missing: Vec::new(),
            generator_cpu_percent_mean: Some(40.0),
            commands: None,
        }
    }

    #[test]
    fn each_fact_has_its_gate() {
        let good = good();
        assert!(
            good.judge(&Crossed::default(), None)
                .iter()
                .all(|gate| gate.holds)
        );
        let cases: [(&str, Facts); 7] = [
            (
                "k6-exit",
                Facts {
                    k6_exit_code: None,
                    ..good.clone()
                },
            ),
            (
                "k6-in-time",
                Facts {
                    cause: Cause::Limit,
                    ..good.clone()
                },
            ),
            (
                "summary",
                Facts {
                    summary: false,
                    ..good.clone()
                },
            ),
            (
                "target-healthy",
                Facts {
                    unhealthy: Some("refused".to_owned()),
                    ..good.clone()
                },
            ),
            (
                "evidence-complete",
                Facts {
                    evidence_missing: vec!["stdout.txt".to_owned()],
                    ..good.clone()
                },
            ),
            (
                "commands-ended",
                Facts {
                    cause: Cause::TargetGone,
                    commands: Some(Calls::default()),
                    ..good.clone()
                },
            ),
            (
                "generator-cpu",
                Facts {
                    generator_cpu_percent_mean: Some(95.0),
                    ..good
                },
            ),
        ];
        for (id, facts) in cases {
            let failed: Vec<Judged> = facts
                .judge(&Crossed::default(), None)
                .into_iter()
                .filter(|gate| !gate.holds)
                .collect();
            assert_eq!(
                failed
                    .iter()
                    .map(|gate| gate.id.as_str())
                    .collect::<Vec<_>>(),
                [id]
            );
        }
    }

    #[test]
    fn why_a_harness_ended_the_run_is_told_by_its_last_line() {
        let output = "level=info msg=\"test aborted: not this\"\n\
            level=error msg=\"test aborted: no \\\"e1\\\" at the gate at endRun (file:///s.js:5:18(6))\"\nTitle: 1\n";
        assert_eq!(aborted(output).as_deref(), Some("no \"e1\" at the gate"));
        let plain = "level=error msg=\"test aborted: why\" hint=none";
        assert_eq!(aborted(plain).as_deref(), Some("why"));
        assert_eq!(aborted("level=error msg=\"thresholds crossed\""), None);
    }

    #[test]
    fn a_threshold_that_ended_the_run_is_told_by_k6() {
        let line = "time=\"t\" level=error msg=\"thresholds on metrics 'lost' were crossed; at least one has abortOnFail enabled, stopping test prematurely\"";
        assert!(cut(line));
        assert!(!cut(
            "level=error msg=\"thresholds on metrics 'lost' have been crossed\""
        ));
        assert!(!cut(
            "level=info msg=\"stopping test prematurely\" source=console"
        ));
    }

    #[test]
    fn who_has_not_written_everything_missed_an_objective_and_who_does_not_tell_says_nothing() {
        let judged = |holds: bool, known: bool| {
            let facts = Facts {
                drained: Some(Drained {
                    holds,
                    known,
                    text: "pending".to_owned(),
                }),
                ..good()
            };
            verdict(&facts.judge(&Crossed::default(), None))
        };
        assert_eq!(judged(true, true), Verdict::Pass);
        assert_eq!(judged(false, true), Verdict::Fail);
        assert_eq!(judged(false, false), Verdict::Invalid);
    }

    #[test]
    fn a_crossed_threshold_is_a_missed_objective() {
        let judged = |code: i32| {
            let facts = Facts {
                k6_exit_code: Some(code),
                ..good()
            };
            verdict(&facts.judge(&Crossed::default(), None))
        };
        assert_eq!(judged(99), Verdict::Fail);
        assert_eq!(judged(107), Verdict::Invalid);
    }
}
