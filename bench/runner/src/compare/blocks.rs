//! Blocks: the runs of a cycle, made right after each other.

use serde::Serialize;

use super::stored::StoredRun;

/// When the runs of a cycle were made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Block {
    pub(crate) cycle: String,
    /// Start of its first run.
    pub(crate) began: String,
    /// End of its last one; its start where the end is not known.
    pub(crate) ended: String,
    /// The variants in the order in which they ran.
    pub(crate) order: Vec<String>,
}

/// The blocks of runs of one scenario and point; what was repeated and warm-ups are left out.
pub(super) fn of(runs: &[&StoredRun]) -> Vec<Block> {
    let mut runs: Vec<&StoredRun> = runs
        .iter()
        .copied()
        .filter(|run| run.superseded.is_none() && !run.meta.discarded)
        .collect();
    runs.sort_by(|a, b| a.meta.start_time.cmp(&b.meta.start_time));
    let mut blocks: Vec<Block> = Vec::new();
    for run in runs {
        let (began, ended) = (&run.meta.start_time, &run.meta.end_time);
        let ended = if ended.is_empty() { began } else { ended };
        let cycle = run.cycle();
        let variant = run.variant().to_owned();
        match blocks.iter_mut().find(|block| block.cycle == cycle) {
            Some(block) => {
                block.ended.clone_from(ended);
                block.order.push(variant);
            }
            None => blocks.push(Block {
                cycle,
                began: began.clone(),
                ended: ended.clone(),
                order: vec![variant],
            }),
        }
    }
    blocks
}

impl Block {
    /// `2026-01-01 10:00:12 to 10:01:30`.
    pub(crate) fn time(&self) -> String {
        let part = |text: &str, from: usize, to: usize| text.get(from..to).map(str::to_owned);
        match (
            part(&self.began, 0, 10),
            part(&self.began, 11, 19),
            part(&self.ended, 11, 19),
        ) {
            (Some(day), Some(from), Some(to)) => format!("{day} {from} to {to}"),
            _ => "time unknown".to_owned(),
        }
    }
}
