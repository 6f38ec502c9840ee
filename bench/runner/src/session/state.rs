//! What is left of a plan.

use crate::evidence::{Folder, Invocation};
use crate::values::exit;
use crate::verdict::gates::Verdict;

/// What the evidence says about a run: its last attempt counts.
#[derive(Debug)]
pub(super) struct State {
    pub(super) attempts: u32,
    pub(super) verdict: Option<Verdict>,
    pub(super) code: i32,
    /// Run ids of all attempts.
    pub(super) run_ids: Vec<String>,
}

impl State {
    /// Reads it.
    pub(super) fn of(invocation: &Invocation, folder: &str) -> Self {
        let folders = invocation.attempts(folder);
        let verdict = folders
            .last()
            .and_then(|folder| folder.json("verdict.json"));
        let field = |name: &str| verdict.as_ref().and_then(|verdict| verdict.get(name));
        let code = field("exitCode").and_then(serde_json::Value::as_i64);
        Self {
            attempts: u32::try_from(folders.len()).unwrap_or(u32::MAX),
            verdict: field("verdict").and_then(|text| serde_json::from_value(text.clone()).ok()),
            code: code
                .and_then(|code| i32::try_from(code).ok())
                .unwrap_or(exit::FAULT),
            run_ids: folders.iter().filter_map(run_id).collect(),
        }
    }

    /// Whether there is nothing left to do. What did not pass a preflight has to be looked at again.
    pub(super) fn settled(&self, preflight: bool) -> bool {
        self.verdict
            .is_some_and(|verdict| verdict.passed() || (verdict.is_complete() && !preflight))
    }
}

fn run_id(folder: &Folder) -> Option<String> {
    let id = folder.json("meta.json")?.get("runId")?.as_str()?.to_owned();
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sound_is_not_run_again_but_a_preflight_has_to_pass() {
        let settled = |verdict: Option<Verdict>, preflight: bool| {
            let state = State {
                attempts: 1,
                verdict,
                code: exit::OK,
                run_ids: Vec::new(),
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
}
