//! A service of challenges over HTTP and a handler of events over gRPC, on one PostgreSQL: the reference target of load ladders.
//!
//! Two processes, as in the systems that it stands for. The service lists 500 goals with what a user has reached, and lets users
//! claim what they completed. The handler takes logins and changes of statistics, each of which concerns a hundred goals, buffers
//! what they change, and writes it in flushes. Where either gives out, and at which rate, is what a ladder is there to find.
//!
//! This crate deliberately shares no code with the harness or the runner, only with other targets, by `target-kit`: a
//! reference built from the parts it examines would prove nothing.

mod admin;
mod catalogue;
pub mod cli;
mod database;
mod faults;
mod fixtures;
mod handler;
mod rewards;
mod service;

pub use catalogue::{
    CHALLENGES, Catalogue, Challenge, GOALS, Goal, Kind, Requirement, Reward, Source,
};
pub use database::Mode;
pub use faults::{HandlerFaults, ServiceFaults};
pub use fixtures::{Fixture, USERS};
pub use handler::{EventHandler, HandlerConfig, Limits, events};
pub use service::{ChallengeService, ServiceConfig};
