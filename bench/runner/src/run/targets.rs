//! All targets of a run: the services in their order, and the one under test after them.

use std::path::Path;

use serde_json::{Map, Value as Json};

use crate::evidence::Folder;
use crate::plan::PlannedRun;
use crate::run::chaos::proxies::Proxies;
use crate::run::inbox::{Inbox, Needs};
use crate::run::limits;
use crate::run::probe::Unwell;
use crate::run::target::Target;
use crate::suite::Suite;
use crate::suite::vars::Vars;

/// Targets that answer. They end in the reverse order of their start, also where a later one does not start.
#[derive(Debug, Default)]
pub(crate) struct Targets(Vec<Target>, Proxies);

impl Targets {
    /// Starts or asks each of them, one after another. `program`: of another build of the one under test. Their addresses go to
    /// `vars`, so that each can be told where those before it listen.
    ///
    /// # Errors
    /// One does not start or does not answer within its limit (exit code 2), or a signal arrived; those before it have ended.
    pub(crate) fn start(
        suite: &Suite,
        run: &PlannedRun<'_>,
        program: Option<&Path>,
        vars: &mut Vars,
        folder: &Folder,
        inbox: &mut Inbox,
    ) -> anyhow::Result<Self> {
        let mut targets = Self::default();
        match targets.start_all(suite, run, program, vars, folder, inbox) {
            Ok(()) => Ok(targets),
            Err(error) => {
                targets.stop(folder);
                Err(error)
            }
        }
    }

    fn start_all(
        &mut self,
        suite: &Suite,
        run: &PlannedRun<'_>,
        program: Option<&Path>,
        vars: &mut Vars,
        folder: &Folder,
        inbox: &mut Inbox,
    ) -> anyhow::Result<()> {
        let tables = run.targets();
        for table in &tables {
            self.1.open(suite, vars)?;
            let program = program.filter(|_| !table.is_service());
            let target = Target::start(suite, table, program, vars, folder, inbox)?;
            self.0.push(target);
        }
        if tables.is_empty() {
            return Ok(());
        }
        self.1.open(suite, vars)?;
        self.1.complete(suite)
    }

    /// The target or service with this id.
    pub(super) fn named(&mut self, id: &str) -> Option<&mut Target> {
        self.0.iter_mut().find(|target| target.id() == id)
    }

    /// The proxies between them.
    pub(super) fn proxies(&self) -> &Proxies {
        &self.1
    }

    /// All processes that the runner started.
    pub(super) fn processes(&self) -> Vec<u32> {
        self.0.iter().filter_map(Target::process).collect()
    }

    /// Each with what it is called, and its address if it tells one.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Target> {
        self.0.iter()
    }

    /// The process of the one under test, if the runner started it.
    pub(crate) fn process(&self) -> Option<u32> {
        self.0.last()?.process()
    }

    /// The services that the runner started, with their processes.
    pub(crate) fn services(&self) -> impl Iterator<Item = (&str, u32)> {
        let services = self
            .0
            .split_last()
            .map_or(&[][..], |(_, services)| services);
        services
            .iter()
            .filter_map(|target| Some((target.id(), target.process()?)))
    }

    /// Has the inbox hear of the end of each program that the runner started. Returns their processes.
    pub(crate) fn watch(&self, inbox: &Inbox) -> Needs {
        let needs = Needs::default();
        for target in &self.0 {
            target.watch(inbox);
            target.process().into_iter().for_each(|id| needs.add(id));
        }
        needs
    }

    /// The same of those that somebody else started, as far as the suite asks for that. They are among the `needs` then.
    ///
    /// # Errors
    /// There is no thread.
    pub(super) fn look_after(&mut self, inbox: &Inbox, needs: &Needs) -> anyhow::Result<()> {
        for target in &mut self.0 {
            if let Some(number) = target.look_after(inbox)? {
                needs.add_other(number);
            }
        }
        Ok(())
    }

    /// What each may take, by its id, as `meta.json` holds it; empty where nothing is limited.
    pub(super) fn limits(&self) -> Map<String, Json> {
        let limited = self.0.iter();
        limited
            .filter_map(|target| Some((target.id().to_owned(), target.limits()?.record())))
            .collect()
    }

    /// Limits that were not applied as they are declared.
    pub(crate) fn labels(&self) -> Vec<String> {
        let limited = self.0.iter().filter_map(Target::limits);
        limited.flat_map(limits::Applied::labels).collect()
    }

    /// Whether all of them run and answer now.
    ///
    /// # Errors
    /// Of which one what came instead.
    pub(crate) fn healthy(&mut self) -> Result<(), Unwell> {
        let alone = self.0.len() == 1;
        self.0.iter_mut().try_for_each(|target| {
            target.healthy().map_err(|unwell| {
                if alone {
                    unwell
                } else {
                    let text = format!("{}: {}", target.id(), unwell.text);
                    Unwell { text, ..unwell }
                }
            })
        })
    }

    /// Ends those that the runner started, the last one first, and completes their logs.
    pub(crate) fn stop(mut self, folder: &Folder) {
        while let Some(target) = self.0.pop() {
            target.stop(folder);
        }
    }
}

/// Where something else went wrong, too, nothing ends before what needs it.
impl Drop for Targets {
    fn drop(&mut self) {
        while self.0.pop().is_some() {}
    }
}
