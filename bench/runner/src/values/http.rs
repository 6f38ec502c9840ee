//! How the runner asks others over HTTP.

use std::time::Duration;

/// Asks exactly the host that is named, and takes every status for an answer. Who has not answered within the limit does not answer.
pub(crate) fn agent(limit: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        // Another host would be asked than the one that is allowed.
        .max_redirects(0)
        .proxy(None)
        .build()
        .into()
}
