//! What every monitor is.

use serde_json::Value as Json;

use crate::verdict::facts::Machine;

/// Something that can be looked at again and again.
pub(super) trait Sampler: Send + 'static {
    /// Looks once.
    fn sample(&mut self) -> Json;

    /// What all samples together say about the machine.
    fn machine(&self) -> Option<Machine> {
        None
    }
}

/// Epoch milliseconds.
pub(super) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
