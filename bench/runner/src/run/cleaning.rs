//! The cleaning of a run and its record.

use crate::evidence::Folder;
use crate::run::clean;

/// The cleaning of a run and its record.
pub(super) struct Cleaning {
    pub(super) plan: Option<clean::Plan>,
    pub(super) log: Vec<String>,
    /// Something may have been preset that is to be taken back.
    pub(super) begun: bool,
}

impl Cleaning {
    /// Does a part of the work and records it, also when it fails.
    pub(super) fn step(
        &mut self,
        folder: &Folder,
        work: impl FnOnce(&clean::Plan, &mut Vec<String>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let Some(plan) = &self.plan else {
            if !self.log.is_empty() {
                return self.record(folder, Ok(()));
            }
            return folder.update(
                "cleanup.txt",
                b"[cleanup] the suite declares nothing to clean\n",
            );
        };
        let result = work(plan, &mut self.log);
        self.record(folder, result)
    }

    /// Records what was done so far.
    pub(super) fn record(
        &mut self,
        folder: &Folder,
        result: anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if let Err(error) = &result {
            self.log.push(format!("[cleanup] failed: {error:#}"));
        }
        folder.update(
            "cleanup.txt",
            format!("{}\n", self.log.join("\n")).as_bytes(),
        )?;
        result
    }
}
