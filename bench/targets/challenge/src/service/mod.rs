//! The service: challenges, progress, claims and selections over HTTP.

mod answers;
mod api;
mod app;
mod metrics;
mod selection;

pub use app::ChallengeService;

use std::num::NonZeroU32;

use crate::ServiceFaults;
use crate::catalogue::Index;
use crate::database::Reach;

/// What a service is started with, apart from its sockets.
pub struct ServiceConfig {
    pub(crate) reach: Reach,
    pub(crate) pool_size: NonZeroU32,
    pub(crate) index: Index,
    /// What its rows belong to.
    pub(crate) namespace: String,
    /// Before each address of the API, such as `/challenge`.
    pub(crate) base_path: String,
    pub(crate) faults: ServiceFaults,
}
