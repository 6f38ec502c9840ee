//! The verb `baseline`.

use std::path::PathBuf;

use clap::Subcommand;

use crate::compare::baseline;
use crate::terminal::say;
use crate::values::exit;

#[derive(Debug, Subcommand)]
pub(super) enum BaselineVerb {
    /// Accept the runs of a plan
    ///
    /// Their values are kept beside the plan, in the folder baselines/, and replace what was accepted before under the same
    /// conditions: suite, harness, parameters, k6, machine. `compare` and reports of later plans show them.
    Accept {
        /// Folder of the plan, as `run` printed it
        folder: PathBuf,
    },
    /// List what was accepted
    List {
        /// Root of the evidence
        #[arg(default_value = "evidence/k6", env = "EVIDENCE_ROOT")]
        root: PathBuf,
    },
}

/// Does what is asked of baselines.
pub(super) fn baseline(what: BaselineVerb) -> anyhow::Result<i32> {
    let (baselines, none) = match what {
        BaselineVerb::Accept { folder } => (baseline::accept(&folder)?, ""),
        BaselineVerb::List { root } => (baseline::list(&root)?, "nothing was accepted"),
    };
    baselines.iter().for_each(|baseline| say(&baseline.line()));
    if baselines.is_empty() {
        say(none);
    }
    Ok(exit::OK)
}
