//! Ending a target's program while a run goes on, and starting it again.

use rustix::process::Signal;

use crate::evidence::Folder;
use crate::run::limits;
use crate::run::process;
use crate::run::start::{STOP_GRACE, command};
use crate::run::target::{Started, Target};
use crate::suite::schema::TargetTable;
use crate::suite::target::{By, Told};

impl Target {
    /// Sends its program a signal that ends it.
    pub(super) fn end_by(&mut self, signal: Signal) {
        if let Some(started) = &mut self.started {
            started.process.signal(signal);
        }
    }

    /// Whether its program has ended; of one that the runner did not start nobody knows.
    pub(super) fn has_ended(&mut self) -> bool {
        let started = self.started.as_mut();
        started.is_some_and(|started| matches!(started.process.ended(), Ok(Some(_))))
    }

    /// Starts its program again: with the same arguments, and with its output in the same log.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn again(&mut self, table: &TargetTable, folder: &Folder) -> anyhow::Result<u32> {
        let Some(started) = &mut self.started else {
            anyhow::bail!("target {}: the runner has not started it", table.id);
        };
        started.again(table, folder)
    }

    /// Whether it answers where it did before.
    ///
    /// # Errors
    /// The text says what came instead.
    pub(super) fn answers_again(&mut self, table: &TargetTable) -> Result<(), String> {
        if self.has_ended() {
            return Err(format!("target {} has ended again", table.id));
        }
        let Some(started) = &self.started else {
            return Ok(());
        };
        for place in table.told() {
            let now = started.told(&place);
            let was = started.was.iter().find(|(name, _)| name == place.name);
            match (now, was) {
                (None, _) => {
                    return Err(format!("target {} has not told where it listens", table.id));
                }
                (Some(now), Some((_, was))) if now != *was => {
                    return Err(format!(
                        "target {} listens at {now} now, and did at {was}: give it an address of its own",
                        table.id
                    ));
                }
                _ => {}
            }
        }
        self.question.ask().map_err(|unwell| unwell.text)
    }
}

impl Started {
    fn again(&mut self, table: &TargetTable, folder: &Folder) -> anyhow::Result<u32> {
        let private = self.folder.path().to_owned();
        let told: Vec<Told<'_>> = table.told();
        if self.was.is_empty() {
            let was = told
                .iter()
                .filter_map(|place| Some((place.name.to_owned(), self.told(place)?)));
            self.was = was.collect();
        }
        // Waited for, with all that it had started.
        self.process.stop();
        for place in &told {
            if let By::File { file, .. } = &place.by {
                // What it told before would be taken for what it tells now.
                let _ = std::fs::remove_file(private.join(file));
            }
        }
        let mut command = command(table, &self.program, &self.vars, &private)?;
        let log = folder.go_on(&self.log)?;
        self.process = process::start(&table.id, &mut command, log, None, STOP_GRACE)?;
        let id = self.process.id();
        // What held the one before is let go first.
        self.limits = None;
        self.limits = limits::apply(table, id)?;
        Ok(id)
    }
}
