//! Reading an address, once or again and again.

use std::time::Duration;

use crate::values::http::agent;

/// A target that has not answered by then is told as one that does not; no second question waits behind the first.
const LIMIT: Duration = Duration::from_secs(5);
/// No answer that is worth reading every second is longer.
const MOST: u64 = 16 << 20;

/// An address with the connection that is kept to it.
pub(super) struct Page {
    agent: ureq::Agent,
    address: String,
}

impl Page {
    pub(super) fn new(address: String) -> Self {
        Self {
            agent: agent(LIMIT),
            address,
        }
    }

    /// Its status and its text.
    ///
    /// # Errors
    /// It does not answer in time, or too much.
    pub(super) fn read(&self) -> Result<(u16, String), String> {
        let told = |error: ureq::Error| format!("GET {}: {error}", self.address);
        let mut answer = self.agent.get(&self.address).call().map_err(told)?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(MOST);
        Ok((status, body.read_to_string().map_err(told)?))
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }
}
