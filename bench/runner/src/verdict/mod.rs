//! What a run is worth, from its evidence alone.

pub(crate) mod chaos;
pub(crate) mod commands;
pub(crate) mod derive;
mod drills;
pub(crate) mod facts;
pub(crate) mod gates;
pub(crate) mod health;
pub(crate) mod judge;
pub(crate) mod ladders;
pub(crate) mod metric;
pub(crate) mod over_time;
pub(crate) mod server;
pub(crate) mod stored;
pub(crate) mod thresholds;
