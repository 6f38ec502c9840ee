//! What goes wrong on purpose, so that a harness can be shown to notice it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use target_kit::Share;

use crate::Hertz;

/// The faults that a chat service is asked to have, each a switch that can be changed while it runs. The default has none.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Faults {
    /// The loop's task sleeps once for so long; the switch goes back to 0 as it begins, so that it can be asked for again.
    #[serde(rename = "loop-stall-ms", with = "target_kit::millis")]
    pub loop_stall: Duration,
    /// The loop has this pace instead of its own.
    pub loop_hz: Option<Hertz>,
    /// This pace is told, whatever the loop does; its ticks are counted as they are.
    pub gauge_hz: Option<Hertz>,
    /// Each chunk comes so much later after the one before it.
    #[serde(rename = "chunk-delay-ms", with = "target_kit::millis")]
    pub chunk_delay: Duration,
    /// Messages whose reply loses one chunk.
    pub drop_chunk: Share,
    /// Upgrades that are answered with 403.
    pub refuse_share: Share,
    /// Messages that are answered by an error frame.
    pub error_share: Share,
    /// Connections that break off in the middle of their first reply.
    pub cut_share: Share,
    /// What the loop does is not told.
    pub no_hz: bool,
}

/// Which of the things that come one after another a share hits: counted, so that it can be foretold.
///
/// The count begins with the first thing after a share was set, and anew when it is set to another value.
#[derive(Debug, Default)]
pub(crate) struct Counted(Mutex<(Share, u32)>);

impl Counted {
    /// Whether the next one is hit.
    pub(crate) fn hits(&self, share: Share) -> bool {
        // Nothing that holds the lock can leave the pair half changed.
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, count) = &mut *counted;
        if *last != share {
            (*last, *count) = (share, 0);
        }
        *count = count.wrapping_add(1);
        share.hits(*count)
    }
}

/// What has been hit by faults that have a share. Each counts for itself.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    pub(crate) refused: Counted,
    pub(crate) errors: Counted,
    pub(crate) dropped: Counted,
    pub(crate) cut: Counted,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_counted_from_when_they_were_set() {
        let counted = Counted::default();
        let share = |text: &str| text.parse::<Share>().expect("share is valid");
        let hit = |share: Share, of: usize| (0..of).filter(|_| counted.hits(share)).count();
        assert_eq!(hit(Share::None, 7), 0);
        assert_eq!(hit(share("2"), 5), 2);
        assert_eq!(hit(share("2%"), 49), 0);
        assert_eq!(hit(share("2%"), 1), 1);
        assert_eq!(hit(share("2%"), 100), 2);
        assert_eq!(hit(share("1"), 3), 1);
        assert_eq!(hit(Share::None, 1), 0);
        assert_eq!(hit(share("1"), 3), 1);
    }
}
