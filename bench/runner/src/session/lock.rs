//! One run per machine, whoever measures there.

use barrier_procs::{Error, MachineLock};

use crate::values::exit;
use crate::values::text::shown;

/// Takes the lock of the machine for a suite.
///
/// # Errors
/// Another run is active (exit code 2, the text names it and says how to watch and to end it), or the file cannot be used.
pub(crate) fn take(suite: &str) -> anyhow::Result<MachineLock> {
    MachineLock::take(&format!("suite {suite}")).map_err(|error| match error {
        Error::Busy {
            holder,
            place: Some(place),
        } => {
            let place = shown(&place);
            exit::set_up(format!(
                "another run is active: {holder}, in {place}; watch it with `barrier-bench attach {place}`, end it with `barrier-bench stop {place}`, or wait for it"
            ))
        }
        Error::Busy { .. } => exit::set_up(error.to_string()),
        other => other.into(),
    })
}
