//! When a release takes effect, where the options name an instant.

use barrier_core::ids::Phase;
use barrier_core::protocol::{Release, Why};

use super::World;
use crate::plan::AHEAD;

impl World<'_> {
    /// Who is complete goes at the instant of the options, everybody else at once, but never before those of the phase before.
    pub(super) fn check_instant(&mut self, release: &Release, text: &str) {
        let n = release.phase;
        let is_ahead = self.plan.release_at == Some(AHEAD);
        let is_held = is_ahead && release.at.0 + release.delay.0 >= AHEAD * 1000;
        let before =
            n.0.checked_sub(1)
                .map(|n| self.held.get(&Phase(n)).copied());
        let follows = match before {
            None => Some(false),
            Some(_) if self.plan.amnesia => None,
            Some(known) => known,
        };
        if is_ahead && matches!(release.why, Why::All | Why::Quorum) {
            assert!(is_held, "before its instant: {text}");
        } else if let Some(follows) = follows {
            assert_eq!(is_held, follows && is_ahead, "held, or not: {text}");
        }
        assert!(
            is_held || release.delay.0 < AHEAD,
            "held for no reason: {text}"
        );
        self.held.insert(n, is_held);
    }
}
