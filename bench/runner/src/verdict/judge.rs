//! From evidence to a verdict: the one way, for a run that has just ended and for one that is judged again.

use std::path::Path;

use serde_json::{Map, Value as Json};

use crate::events::JudgedRun;
use crate::suite::Suite;
use crate::suite::quick::Shares;
use crate::suite::schema::{Class, File};
use crate::suite::vars::Vars;
use crate::values::exit::{self, RunOutcome};
use crate::values::mask::masked;
use crate::values::text::shown;
use crate::verdict::facts::{Cause, Facts};
use crate::verdict::gates::{self, Judged, Verdict};
use crate::verdict::health::{Health, Measured};
use crate::verdict::metric::statistic;
use crate::verdict::over_time::OverTime;
use crate::verdict::thresholds::Crossed;

/// Everything that a verdict follows from.
#[derive(Debug)]
pub(crate) struct Evidence {
    pub(crate) scenario: String,
    pub(crate) facts: Facts,
    pub(crate) summary: Option<Json>,
    /// `None` in evidence of runners that did not watch it.
    pub(crate) health: Option<Health>,
    pub(crate) derived: Map<String, Json>,
    pub(crate) over_time: OverTime,
    pub(crate) vars: Vars,
    /// The load was scaled down.
    pub(crate) quick: bool,
    /// Where stored files contradict each other or their manifest.
    pub(crate) doubts: Vec<String>,
}

/// What follows from it.
#[derive(Debug)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    pub(crate) gates: Vec<Judged>,
    /// Why the verdict is not PASS.
    pub(crate) reasons: Vec<String>,
    /// What the suite tells of it beside the verdict.
    pub(crate) said: Option<String>,
    /// What the run contributes to the exit code.
    pub(crate) code: i32,
}

impl Evidence {
    /// Judges every gate of the suite, the built-in ones first.
    ///
    /// # Errors
    /// A limit names a variable without a value, or is not a number.
    pub(crate) fn judge(&self, suite: &Suite) -> anyhow::Result<Judgement> {
        let crossed = match &self.summary {
            Some(summary) => Crossed::read(summary, &suite.file, &self.scenario, &self.vars),
            None => Crossed::default(),
        };
        let part = Measured::of(self.over_time.judged(), self.summary.as_ref());
        let calls = self.facts.commands.as_ref();
        // There is no generator where commands run.
        let health = self.health.as_ref().filter(|_| calls.is_none());
        let share = health.and_then(|health| health.mean(part));
        let mut gates = self.facts.judge(&crossed, share);
        gates.extend(
            calls
                .iter()
                .flat_map(|calls| calls.judge(&suite.file, &self.scenario)),
        );
        gates.extend(self.over_time.faults().judge(&suite.file, &self.scenario));
        gates.extend(health.map(|health| health.judge(part)));
        let measured = self.health.as_ref().is_some_and(Health::is_measured);
        let by_services = self
            .health
            .as_ref()
            .is_some_and(|health| health.filled_by_services(part));
        let sound = |gate: &Judged| {
            gate.holds || !measures_itself(&gate.id) || by_services && gate.id == HEALTH
        };
        let well = measured && gates.iter().all(sound);
        gates.extend(self.over_time.whole().map(series_complete));
        let place = gates.len();
        let of_k6 = self.summary.as_ref().filter(|_| calls.is_none());
        let dropped = of_k6.map(nothing_dropped);
        let has_dropped = dropped.as_ref().is_some_and(|gate| !gate.holds);
        gates.extend(dropped);
        let evidence = gates::Evidence {
            summary: self.summary.as_ref(),
            derived: &self.derived,
            over_time: &self.over_time,
            vars: &self.vars,
            shares: Shares::of(&suite.file, self.quick),
        };
        gates.extend(gates::judge(&suite.file, &self.scenario, &evidence)?);
        if well {
            self.blame(&mut gates);
        }
        // What k6 itself makes of them, or a limit for them, would make dropped iterations their own excuse.
        let of_dropped = |id: &str| {
            let mut declared = suite.file.gate.iter();
            declared.any(|gate| gate.id.get_ref() == id && gate.metric.get_ref() == DROPPED)
        };
        let missed = |gate: &Judged| {
            gate.class == Class::Slo && !gate.holds && !gate.missing && !of_dropped(&gate.id)
        };
        // Slow is not invalid: users that wait for answers have no time for the next iteration.
        if well
            && self.facts.exhausted
            && gates[place..].iter().any(missed)
            && let Some(dropped) = gates.get_mut(place).filter(|_| has_dropped)
        {
            dropped.class = Class::Slo;
            dropped
                .text
                .push_str("; all users that k6 may have were waiting for the target");
        }
        // Who fills the machine and misses objectives has nobody else to blame. That all were kept on a full machine is no sound figure.
        if by_services
            && gates[place..].iter().any(missed)
            && let Some(full) = gates.iter_mut().find(|gate| gate.id == HEALTH)
        {
            full.class = Class::Watch;
            full.text.push_str(
                "; the services took more of it than all others together, so this excuses no objective that was missed",
            );
        }
        excuse(&suite.file, &mut gates);
        if !self.doubts.is_empty() {
            gates.push(Judged::built_in(
                "evidence-consistent",
                false,
                self.doubts.join("; "),
            ));
        }
        let interrupted = self.facts.cause == Cause::Interrupt;
        let aborted = self.facts.was_aborted(suite.file.suite.exit);
        let verdict = match gates::verdict(&gates) {
            _ if interrupted && self.doubts.is_empty() => Verdict::Interrupted,
            _ if aborted && self.doubts.is_empty() => Verdict::Aborted,
            Verdict::Pass if self.quick => Verdict::Smoke,
            verdict => verdict,
        };
        let mut reasons: Vec<String> = gates::reasons(&gates)
            .iter()
            .map(|reason| masked(reason))
            .collect();
        if interrupted {
            reasons.insert(0, "a signal interrupted the run".to_owned());
        }
        let outcome = RunOutcome {
            k6: self.facts.k6_exit_code,
            summary: self.facts.summary,
            passed: verdict.passed(),
            interrupted: interrupted || verdict == Verdict::Aborted,
        };
        Ok(Judgement {
            verdict,
            said: verdict.said(&suite.file, &self.scenario),
            gates,
            reasons,
            code: exit::of_run(suite.file.suite.exit, outcome),
        })
    }
}

impl Evidence {
    /// Of a target that locked up beside a generator that did its work: that is a missed objective, and so is each that could not be
    /// measured because nobody was answered. It was well before the run, or there would have been none.
    fn blame(&self, gates: &mut [Judged]) {
        let iterations = self.summary.as_ref();
        let iterations = iterations.and_then(|all| statistic(all, "iterations", "count"));
        let nobody = iterations.unwrap_or(0.0) <= 0.0;
        let (locked, waited) = (self.facts.locked, self.facts.exhausted && nobody);
        if !self.facts.worked() || !locked && !waited {
            return;
        }
        for gate in gates.iter_mut().filter(|gate| !gate.holds) {
            if gate.id == HEALTHY && locked {
                gate.class = Class::Slo;
                gate.text.push_str(
                    "; it answered before the run, and k6 was within its bounds, so it locked up",
                );
            } else if gate.class == Class::Slo && gate.missing && nobody {
                gate.missing = false;
                gate.text
                    .push_str("; the target answered nobody, and k6 was within its bounds");
            }
        }
    }
}

/// Leaves gates that excuse objectives out where there is nothing to excuse: no objective was missed, or another one as well.
fn excuse(file: &File, gates: &mut [Judged]) {
    let missed = gates
        .iter()
        .filter(|gate| gate.class == Class::Slo && !gate.holds);
    let missed: Vec<String> = missed.map(|gate| gate.id.clone()).collect();
    for table in file.gate.iter().filter(|table| !table.excuses.is_empty()) {
        let excuses = |id: &String| table.excuses.iter().any(|name| name.get_ref() == id);
        if !missed.is_empty() && missed.iter().all(excuses) {
            continue;
        }
        let id = table.id.get_ref();
        // Who was not looked at is not known to have been at rest.
        let gate = gates
            .iter_mut()
            .find(|gate| gate.id == *id && !gate.holds && !gate.missing);
        if let Some(gate) = gate {
            gate.class = Class::Watch;
            gate.text.push_str(if missed.is_empty() {
                "; no objective was missed for all that"
            } else {
                "; an objective was missed that this does not explain"
            });
        }
    }
}

/// Whether k6's values over time are whole.
fn series_complete(whole: Result<(), String>) -> Judged {
    let holds = whole.is_ok();
    let good = "k6 wrote its values over time to the end".to_owned();
    Judged::built_in("series-complete", holds, whole.err().unwrap_or(good))
}

/// The metric of k6 that counts iterations for which it had no user.
const DROPPED: &str = "dropped_iterations";

/// The gate of the generator's health over time.
const HEALTH: &str = "generator-health";

/// The gate of the target that answers before and after the run.
const HEALTHY: &str = "target-healthy";

/// Whether a gate says that the generator measured itself.
fn measures_itself(id: &str) -> bool {
    matches!(id, "generator-cpu" | HEALTH)
}

/// Whether a gate is about the generator alone: that it measured itself, or did not apply the load.
pub(super) fn of_generator(file: &File, id: &str) -> bool {
    let mut declared = file.gate.iter();
    measures_itself(id)
        || id == "nothing-dropped"
        || declared.any(|gate| gate.id.get_ref() == id && gate.metric.get_ref() == DROPPED)
}

/// k6 drops iterations when it lacks users or time for them: then it was not the declared load.
fn nothing_dropped(summary: &Json) -> Judged {
    let dropped = statistic(summary, DROPPED, "count").unwrap_or(0.0);
    Judged::built_in(
        "nothing-dropped",
        dropped <= 0.0,
        format!("iterations that k6 dropped: {dropped}; expected 0"),
    )
}

impl Judgement {
    /// The judgement as it is told.
    pub(crate) fn told(
        &self,
        title: &str,
        derived: &Map<String, Json>,
        note: &str,
        folder: &Path,
    ) -> JudgedRun {
        let judging = || self.gates.iter().filter(|gate| gate.class != Class::Watch);
        JudgedRun {
            title: title.to_owned(),
            verdict: self.verdict.to_string(),
            said: self.said.clone(),
            derived: derived.clone(),
            gates: judging().count(),
            holding: judging().filter(|gate| gate.holds).count(),
            reasons: self.reasons.clone(),
            note: note.to_owned(),
            folder: shown(folder),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dropped_iterations_are_another_load() {
        let dropped = |count: u32| json!({ "metrics": { "dropped_iterations": { "values": { "count": count } } } });
        assert!(nothing_dropped(&json!({ "metrics": {} })).holds);
        assert!(nothing_dropped(&dropped(0)).holds);
        let gate = nothing_dropped(&dropped(3));
        assert!(!gate.holds && gate.text.contains("dropped: 3"), "{gate:?}");
    }

    #[test]
    fn a_target_that_lets_all_users_wait_is_slow_and_its_run_is_sound() {
        let suite = crate::suite::tests::suite(
            "[[scenario]]\nid = \"smoke\"\nscript = \"s.js\"\nlimit = \"30s\"\n\
             [[gate]]\nid = \"fast\"\nclass = \"slo\"\nmetric = \"wait\"\nstat = \"max\"\nop = \"<\"\nlimit = 100\n\
             [[gate]]\nid = \"none\"\nclass = \"slo\"\nmetric = \"dropped_iterations\"\nstat = \"count\"\nop = \"==\"\nlimit = 0\n",
        )
        .expect("suite");
        let sample = r#"{"t":1000,"generator":{"generatorCpu":5,"machineCpu":9}}"#;
        let judged = |exhausted: bool, wait: u32, generator: u32, k6: i32, health: &str| {
            let facts = json!({
                "k6ExitCode": k6, "cause": "own", "exhausted": exhausted, "summary": true, "unhealthy": null,
                "evidenceMissing": [], "generatorCpuPercentMean": generator,
            });
            let summary = json!({ "metrics": {
                "dropped_iterations": { "type": "counter", "values": { "count": 3 } },
                "wait": { "type": "trend", "values": { "max": wait, "count": 9 } },
            } });
            let evidence = Evidence {
                scenario: "smoke".to_owned(),
                facts: serde_json::from_value(facts).expect("facts"),
                summary: Some(summary),
                health: Some(Health::read(health)),
                derived: Map::new(),
                over_time: OverTime::default(),
                vars: Vars::default(),
                quick: false,
                doubts: Vec::new(),
            };
            evidence.judge(&suite).expect("judged").verdict
        };
        let verdict = |exhausted, wait, generator| judged(exhausted, wait, generator, 0, sample);
        assert_eq!(verdict(true, 200, 40), Verdict::Fail);
        assert_eq!(
            verdict(false, 200, 40),
            Verdict::Invalid,
            "k6 was still making users"
        );
        assert_eq!(
            verdict(true, 50, 40),
            Verdict::Invalid,
            "too few users for a fast target, also where the suite or a threshold limits what is dropped"
        );
        assert_eq!(
            judged(true, 50, 40, 99, sample),
            Verdict::Invalid,
            "k6 says that a threshold was crossed, and that may be of what was dropped"
        );
        assert_eq!(
            judged(true, 200, 40, 0, ""),
            Verdict::Invalid,
            "nothing is known of the generator"
        );
        assert_eq!(
            verdict(true, 200, 95),
            Verdict::Invalid,
            "k6 measured itself"
        );
        let full = |contention: u32| {
            let line = |second: u32| {
                let t = 1000 * second;
                format!(
                    r#"{{"t":{t},"generator":{{"generatorCpu":9,"machineCpu":100,"contention":{contention}}}}}"#
                ) + "\n"
            };
            (0..30).map(line).collect::<String>()
        };
        assert_eq!(
            judged(true, 200, 40, 0, &full(30)),
            Verdict::Fail,
            "the services filled the machine"
        );
        assert_eq!(
            judged(true, 200, 40, 0, &full(100)),
            Verdict::Invalid,
            "others did"
        );
        assert_eq!(
            judged(true, 50, 40, 0, &full(30)),
            Verdict::Invalid,
            "no objective was missed, and the machine was full"
        );
    }
}
