//! The event handler: events over gRPC, buffered, and written to the database in flushes.

mod app;
mod buffer;
mod flush;
mod intake;
mod metrics;

pub use app::EventHandler;
pub use buffer::Limits;
pub use intake::events;

use std::num::NonZeroU32;
use std::time::Duration;

use crate::HandlerFaults;
use crate::catalogue::Index;
use crate::database::{Mode, Reach};

/// What an event handler is started with, apart from its sockets.
pub struct HandlerConfig {
    pub(crate) reach: Reach,
    pub(crate) pool_size: NonZeroU32,
    pub(crate) index: Index,
    /// Events of other namespaces are acknowledged and ignored.
    pub(crate) namespace: String,
    pub(crate) mode: Mode,
    /// Parts of the buffer, each of which is flushed by itself.
    pub(crate) workers: usize,
    pub(crate) flush_interval: Duration,
    pub(crate) limits: Limits,
    pub(crate) faults: HandlerFaults,
}
