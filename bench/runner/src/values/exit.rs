//! Exit codes: the one place that decides which number a fault becomes.

/// Everything went well and every gate holds.
pub(crate) const OK: i32 = 0;
/// Fault of the runner itself.
pub(crate) const FAULT: i32 = 1;
/// Wrong use, declaration or set-up; nothing was judged.
pub(crate) const SET_UP: i32 = 2;
/// A gate failed, of a run or of a comparison, or stored evidence was changed.
pub(crate) const GATE: i32 = 3;
/// Interrupted by a signal, or ended by the harness.
pub(crate) const INTERRUPTED: i32 = 4;
/// It runs still.
pub(crate) const RUNS: i32 = 5;

/// Errors that have an exit code of their own; every other error is a fault of the runner.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stop {
    /// The user or the machine has to change something before a run is possible.
    #[error("{0}")]
    SetUp(String),
    /// Stored evidence is not what it was, or not what it may be.
    #[error("{0}")]
    Gate(String),
    /// A signal asked the runner to end.
    #[error("interrupted")]
    Interrupted,
}

/// An error with exit code 2.
pub(crate) fn set_up(text: impl Into<String>) -> anyhow::Error {
    Stop::SetUp(text.into()).into()
}

/// An error with exit code 3.
pub(crate) fn gate(text: impl Into<String>) -> anyhow::Error {
    Stop::Gate(text.into()).into()
}

/// The exit code for an error that ended the program.
pub(crate) fn code_of(error: &anyhow::Error) -> i32 {
    match error.downcast_ref::<Stop>() {
        Some(Stop::SetUp(_)) => SET_UP,
        Some(Stop::Gate(_)) => GATE,
        Some(Stop::Interrupted) => INTERRUPTED,
        None => FAULT,
    }
}

/// What one run contributes to the exit code of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunOutcome {
    /// k6's own exit code; `None` if a signal ended it or it never started.
    pub(crate) k6: Option<i32>,
    /// k6 left a summary.
    pub(crate) summary: bool,
    /// All gates that judge hold.
    pub(crate) passed: bool,
    /// A signal interrupted the run, or the harness ended it in a suite whose verdict says so.
    pub(crate) interrupted: bool,
}

/// Which code wins when k6 and the verdict disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Policy {
    /// Only the verdict counts.
    #[default]
    Verdict,
    /// A non-zero code of k6 is handed on.
    K6First,
}

/// The exit code of one run.
pub(crate) fn of_run(policy: Policy, run: RunOutcome) -> i32 {
    if run.interrupted {
        return INTERRUPTED;
    }
    match run.k6 {
        Some(code) if code != 0 && policy == Policy::K6First => code,
        Some(0) if !run.summary => SET_UP,
        _ if run.passed => OK,
        _ => GATE,
    }
}

/// The exit code of several runs: an interruption wins, else the first code that is not 0.
pub(crate) fn of_runs(codes: &[i32]) -> i32 {
    if codes.contains(&INTERRUPTED) {
        return INTERRUPTED;
    }
    codes.iter().copied().find(|&code| code != OK).unwrap_or(OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSED: RunOutcome = RunOutcome {
        k6: Some(0),
        summary: true,
        passed: true,
        interrupted: false,
    };

    #[test]
    fn k6_code_wins_over_a_failed_gate() {
        for code in [99, 107, 108, 255] {
            let run = RunOutcome {
                k6: Some(code),
                passed: false,
                ..PASSED
            };
            assert_eq!(of_run(Policy::K6First, run), code);
            assert_eq!(of_run(Policy::Verdict, run), GATE);
        }
    }

    #[test]
    fn codes_without_a_k6_failure() {
        assert_eq!(of_run(Policy::K6First, PASSED), OK);
        assert_eq!(
            of_run(
                Policy::K6First,
                RunOutcome {
                    passed: false,
                    ..PASSED
                }
            ),
            GATE
        );
        assert_eq!(
            of_run(
                Policy::K6First,
                RunOutcome {
                    passed: false,
                    summary: false,
                    ..PASSED
                }
            ),
            SET_UP
        );
        assert_eq!(
            of_run(
                Policy::K6First,
                RunOutcome {
                    k6: None,
                    passed: false,
                    ..PASSED
                }
            ),
            GATE
        );
    }

    #[test]
    fn interruption_wins_over_everything() {
        let run = RunOutcome {
            k6: Some(105),
            interrupted: true,
            ..PASSED
        };
        assert_eq!(of_run(Policy::K6First, run), INTERRUPTED);
        assert_eq!(of_runs(&[99, 0, INTERRUPTED]), INTERRUPTED);
        assert_eq!(of_runs(&[0, 99, 3]), 99);
        assert_eq!(of_runs(&[]), OK);
    }

    #[test]
    fn errors_map_to_codes() {
        assert_eq!(code_of(&set_up("EVENT_IDS is missing")), SET_UP);
        assert_eq!(code_of(&set_up("inner").context("outer")), SET_UP);
        assert_eq!(
            code_of(&anyhow::Error::from(Stop::Interrupted)),
            INTERRUPTED
        );
        assert_eq!(code_of(&anyhow::anyhow!("disk full")), FAULT);
    }
}
