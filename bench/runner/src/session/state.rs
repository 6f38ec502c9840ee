//! What is left of a plan. The unit is the block: the runs of a cycle are compared with each other, so they are made right
//! after each other or not at all. A block that lacks a sound run is made again as a whole.

use std::collections::{BTreeMap, BTreeSet};

use super::ladders::Ladders;
use crate::evidence::{Folder, Invocation, attempt};
use crate::plan::PlannedRun;
use crate::plan::file::{Beside, Entry};
use crate::plan::ladder::{Outcome, Rung, Step};
use crate::suite::Suite;
use crate::suite::schema::File;
use crate::values::exit;
use crate::verdict;
use crate::verdict::gates::Verdict;

/// What the evidence says about a run: its last attempt counts.
#[derive(Debug)]
pub(super) struct State {
    /// The number of the last one; 0 if there is none.
    pub(super) attempts: u32,
    pub(super) verdict: Option<Verdict>,
    pub(super) code: i32,
    /// Run ids of all attempts.
    pub(super) run_ids: Vec<String>,
    /// What it is to its ladder; `None` without a verdict.
    pub(super) outcome: Option<Outcome>,
    /// The attempt at its block that the last attempt belongs to; 0 if there is none.
    block_attempt: u32,
}

/// A planned run, as far as it matters here.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) folder: String,
    pub(super) preflight: bool,
    pub(super) block: u32,
    pub(super) scenario: String,
    pub(super) rung: Option<Rung>,
}

impl From<&Entry> for Planned {
    fn from(run: &Entry) -> Self {
        Self {
            folder: run.folder.clone(),
            preflight: run.preflight,
            block: run.block,
            scenario: run.scenario.clone(),
            rung: run.rung,
        }
    }
}

impl From<&PlannedRun<'_>> for Planned {
    fn from(run: &PlannedRun<'_>) -> Self {
        Self {
            folder: run.folder.clone(),
            preflight: run.preflight,
            block: run.cycle.block,
            scenario: run.scenario.id.get_ref().clone(),
            rung: run.rung,
        }
    }
}

/// How a planned run stands.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) state: State,
    /// Every run of its block is sound, and all are of one attempt at the block; or its ladder has no need of it.
    pub(super) complete: bool,
    /// Its ladder has no need of it, as far as is known.
    pub(super) spared: bool,
    /// Number of the next attempt at the block.
    pub(super) next: u32,
}

/// How each planned run stands, in the order given.
pub(super) fn standing(suite: &Suite, invocation: &Invocation, runs: &[Planned]) -> Vec<Standing> {
    let beside = Beside::of(invocation.path());
    let states = runs
        .iter()
        .map(|run| State::of(&suite.file, invocation, &beside, &run.folder));
    let mut stands = stand(states.zip(runs).collect());
    spare(suite, runs, &mut stands);
    stands
}

/// Says of the runs of ladders which of those without sound evidence are not needed.
fn spare(suite: &Suite, runs: &[Planned], stands: &mut [Standing]) {
    let rungs = runs
        .iter()
        .filter_map(|run| Some((run.scenario.as_str(), run.rung?)));
    let mut ladders = Ladders::new(suite, rungs);
    for (run, stands) in runs.iter().zip(&*stands) {
        let outcome = stands.state.outcome.clone();
        if let (Some(rung), Some(outcome)) = (run.rung, outcome.filter(Outcome::is_sound)) {
            ladders.note(&run.scenario, rung, outcome);
        }
    }
    for (run, stands) in runs.iter().zip(stands) {
        let Some(rung) = run.rung.filter(|_| !stands.complete) else {
            continue;
        };
        stands.spared = match ladders.next(&run.scenario) {
            Some(Step::Run(next)) => rung != next && rung.is_spare(),
            _ => true,
        };
        stands.complete = stands.spared;
    }
}

/// Has the preflights made once more of what is left: what they saw was before the interruption.
pub(super) fn look_again(suite: &Suite, runs: &[Planned], stands: &mut [Standing]) {
    let left: BTreeSet<&str> = runs
        .iter()
        .zip(&*stands)
        .filter(|(_, stands)| !stands.complete)
        .map(|(run, _)| run.scenario.as_str())
        .collect();
    let scenarios = suite.file.scenario.iter();
    let waiting = scenarios.filter(|scenario| left.contains(scenario.id.get_ref().as_str()));
    let before: BTreeSet<&str> = waiting
        .flat_map(|scenario| &scenario.after)
        .map(|id| id.get_ref().as_str())
        .collect();
    for (run, stands) in runs.iter().zip(stands) {
        if run.preflight && before.contains(run.scenario.as_str()) {
            stands.complete = false;
        }
    }
}

/// The folders of runs that are sound, as all of their block are, and not of the last attempt at it.
pub(super) fn torn(suite: &Suite, invocation: &Invocation, runs: &[Planned]) -> Vec<String> {
    let beside = Beside::of(invocation.path());
    let states: Vec<State> = runs
        .iter()
        .map(|run| State::of(&suite.file, invocation, &beside, &run.folder))
        .collect();
    let of_block = |block: u32| {
        let all = states.iter().zip(runs);
        all.filter(move |(_, run)| run.block == block)
    };
    let mut torn = Vec::new();
    for (state, run) in states.iter().zip(runs) {
        let last = of_block(run.block).map(|(state, _)| state.block_attempt);
        let sound = of_block(run.block).all(|(state, _)| state.verdict.is_some());
        if sound && Some(state.block_attempt) < last.max() {
            torn.push(run.folder.clone());
        }
    }
    torn
}

fn stand(runs: Vec<(State, &Planned)>) -> Vec<Standing> {
    let mut blocks: BTreeMap<u32, Vec<(bool, u32)>> = BTreeMap::new();
    for (state, run) in &runs {
        let sound = match run.rung {
            Some(_) => state.outcome.as_ref().is_some_and(Outcome::is_sound),
            None => state.settled(run.preflight),
        };
        let block = blocks.entry(run.block).or_default();
        block.push((sound, state.block_attempt));
    }
    let of_block = |number: u32| {
        let members = &blocks[&number];
        let last = members.iter().map(|member| member.1).max().unwrap_or(0);
        let complete = members.iter().all(|member| *member == (true, last));
        (complete, last + 1)
    };
    runs.into_iter()
        .map(|(state, run)| {
            let (complete, next) = of_block(run.block);
            Standing {
                state,
                complete,
                spared: false,
                next,
            }
        })
        .collect()
}

impl State {
    /// Reads it.
    fn of(file: &File, invocation: &Invocation, beside: &Beside, folder: &str) -> Self {
        let folders = invocation.attempts(folder);
        let last = folders.last();
        // A verdict beside files that are not what it was made from, or of a run that belongs elsewhere, is none.
        let sound = |number: u32, own: &Folder| {
            let doubts = beside.unsound(own, &attempt(folder, number));
            doubts.is_ok_and(|doubts| doubts.is_empty())
        };
        let verdict = last
            .filter(|(number, folder)| sound(*number, folder))
            .and_then(|(_, folder)| folder.json("verdict.json"));
        let field = |name: &str| verdict.as_ref().and_then(|verdict| verdict.get(name));
        let code = field("exitCode").and_then(serde_json::Value::as_i64);
        Self {
            attempts: last.map_or(0, |(number, _)| *number),
            verdict: field("verdict").and_then(|text| serde_json::from_value(text.clone()).ok()),
            code: code
                .and_then(|code| i32::try_from(code).ok())
                .unwrap_or(exit::FAULT),
            outcome: verdict
                .as_ref()
                .map(|verdict| verdict::ladders::outcome(file, verdict)),
            run_ids: folders
                .iter()
                .filter_map(|(_, folder)| run_id(folder))
                .collect(),
            block_attempt: last.map_or(0, |(number, folder)| block_attempt(folder, *number)),
        }
    }

    /// Whether there is nothing left to do. What did not pass a preflight has to be looked at again.
    fn settled(&self, preflight: bool) -> bool {
        self.verdict
            .is_some_and(|verdict| verdict.passed() || (verdict.is_complete() && !preflight))
    }
}

/// The attempt at its block that a run belongs to. Where nothing says it, each run was repeated by itself.
fn block_attempt(folder: &Folder, attempt: u32) -> u32 {
    let meta = folder.json("meta.json");
    let said = meta.and_then(|meta| meta.get("blockAttempt")?.as_u64());
    said.and_then(|number| u32::try_from(number).ok())
        .unwrap_or(attempt)
}

fn run_id(folder: &Folder) -> Option<String> {
    let id = folder.json("meta.json")?.get("runId")?.as_str()?.to_owned();
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::tests::suite;

    #[test]
    fn what_is_sound_is_not_run_again_but_a_preflight_has_to_pass() {
        let settled = |verdict: Option<Verdict>, preflight: bool| {
            let state = State {
                attempts: 1,
                verdict,
                code: exit::OK,
                run_ids: Vec::new(),
                outcome: None,
                block_attempt: 1,
            };
            state.settled(preflight)
        };
        for verdict in [Verdict::Pass, Verdict::Smoke] {
            assert!(settled(Some(verdict), false) && settled(Some(verdict), true));
        }
        assert!(settled(Some(Verdict::Fail), false) && !settled(Some(Verdict::Fail), true));
        for verdict in [Verdict::Invalid, Verdict::Interrupted, Verdict::NotRun] {
            assert!(!settled(Some(verdict), false));
        }
        assert!(!settled(None, false), "killed in the middle");
    }

    #[test]
    fn preflights_of_what_is_left_are_looked_at_again() {
        let table = |id: &str, more: &str| {
            format!("[[scenario]]\nid = \"{id}\"\nscript = \"s.js\"\nlimit = \"30s\"\n{more}\n")
        };
        let text = [
            "[[target]]\nid = \"t\"\nkind = \"builtin\"\nstart = [\"t\"]\nready = { url = \"{address}/health\", every = \"1s\", limit = \"5s\" }\n".to_owned(),
            table("health", "preflight = true"),
            table("other", "preflight = true"),
            table("smoke", "after = [\"health\"]"),
        ];
        let suite = suite(&text.concat()).expect("suite");
        let planned = |(block, scenario): (u32, &str)| Planned {
            folder: String::new(),
            preflight: scenario != "smoke",
            block,
            scenario: scenario.to_owned(),
            rung: None,
        };
        let runs = [(1, "health"), (2, "other"), (3, "smoke")].map(planned);
        for (load, health) in [(true, true), (false, false)] {
            let standing = |complete: bool| Standing {
                state: State {
                    attempts: 1,
                    verdict: None,
                    code: exit::OK,
                    run_ids: Vec::new(),
                    outcome: None,
                    block_attempt: 1,
                },
                complete,
                spared: false,
                next: 2,
            };
            let mut stands = [true, true, load].map(standing);
            look_again(&suite, &runs, &mut stands);
            let complete = stands.map(|run| run.complete);
            assert_eq!(complete, [health, true, load]);
        }
    }

    #[test]
    fn a_block_is_complete_or_made_again_as_a_whole() {
        let run = |verdict: Option<Verdict>, block_attempt: u32| State {
            attempts: block_attempt,
            verdict,
            code: exit::OK,
            run_ids: Vec::new(),
            outcome: None,
            block_attempt,
        };
        let planned = |block: u32| Planned {
            folder: String::new(),
            preflight: false,
            block,
            scenario: String::new(),
            rung: None,
        };
        let (pass, fail, invalid) = (Verdict::Pass, Verdict::Fail, Verdict::Invalid);
        for (name, states, complete, next) in [
            (
                "both sound",
                [run(Some(pass), 1), run(Some(fail), 1)],
                true,
                2,
            ),
            (
                "one invalid",
                [run(Some(pass), 1), run(Some(invalid), 1)],
                false,
                2,
            ),
            (
                "one never begun",
                [run(Some(pass), 1), run(None, 0)],
                false,
                2,
            ),
            (
                "of different attempts",
                [run(Some(pass), 2), run(Some(pass), 1)],
                false,
                3,
            ),
        ] {
            let (block, other) = (planned(1), planned(2));
            let mut runs: Vec<(State, &Planned)> =
                states.into_iter().map(|state| (state, &block)).collect();
            runs.push((run(Some(pass), 1), &other));
            let stands = stand(runs);
            assert!(
                stands[..2]
                    .iter()
                    .all(|run| (run.complete, run.next) == (complete, next)),
                "{name}: {stands:?}"
            );
            assert!(stands[2].complete, "{name}: another block stays");
        }
    }
}
