//! One attempt at a run: services, driver, monitors, cleaning, evidence.

mod ask;
mod attempt;
mod build;
pub(crate) mod chaos;
pub(crate) mod checks;
pub(crate) mod clean;
mod commands;
pub(crate) mod compose;
mod conclude;
mod declared;
mod driver;
mod environment;
pub(crate) mod inbox;
mod inspect;
pub(crate) mod k6;
mod limits;
pub(crate) mod logs;
pub(crate) mod meta;
pub(crate) mod monitor;
pub(crate) mod probe;
pub(crate) mod process;
mod processors;
pub(crate) mod redis;
mod revive;
pub(crate) mod scratch;
mod series;
mod server;
pub(crate) mod settle;
pub(crate) mod sql;
mod start;
pub(crate) mod target;
pub(crate) mod targets;
mod trend_stats;
mod watched;

pub(crate) use attempt::{Attempt, Outcome};
