//! What has to be there before the first run: a fit machine, k6, servers.

use barrier_stats::host;

use super::servers::Servers;
use super::trial;
use crate::doctor;
use crate::events::{Event, Stream};
use crate::plan::Plan;
use crate::run::inbox::Inbox;
use crate::run::k6::Binary;
use crate::run::scratch::Scratch;
use crate::suite::Suite;
use crate::values::exit;

/// What has to be there before the first run.
pub(super) struct Ready {
    pub(super) k6: Binary,
    pub(super) inbox: Inbox,
    pub(super) scratch: Scratch,
    pub(super) servers: Servers,
}

impl Ready {
    /// Looks for what would spoil the runs, and starts the servers that nobody has given; all this before there is any evidence.
    ///
    /// # Errors
    /// The machine, the plan or the programs are not fit for the runs; the text says what to mend.
    pub(super) fn new(suite: &Suite, plan: &Plan<'_>, stream: &Stream) -> anyhow::Result<Self> {
        if plan.runs.is_empty() {
            return Err(exit::set_up("the plan holds no run"));
        }
        host::raise_open_files();
        let mut report = doctor::examine(suite, plan);
        let k6 = doctor::require(&report)?.clone();
        let mut inbox = Inbox::install()?;
        let scratch = Scratch::open()?;
        let servers = Servers::start(suite, plan, &mut inbox, stream)?;
        trial::before_runs(plan, &k6, &servers, &mut inbox, &mut report)?;
        doctor::require(&report)?;
        report
            .troubles()
            .map(ToString::to_string)
            .for_each(|text| stream.tell(Event::Finding { text }));
        Ok(Self {
            k6,
            inbox,
            scratch,
            servers,
        })
    }
}
