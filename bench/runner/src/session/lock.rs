//! One run per machine, whoever measures there.

use barrier_procs::{Error, MachineLock};

use crate::values::exit;

/// Takes the lock of the machine for a suite.
///
/// # Errors
/// Another run is active (exit code 2, the text names it), or the file cannot be used.
pub(crate) fn take(suite: &str) -> anyhow::Result<MachineLock> {
    MachineLock::take(&format!("suite {suite}")).map_err(|error| match error {
        Error::Busy { .. } => exit::set_up(error.to_string()),
        other => other.into(),
    })
}
