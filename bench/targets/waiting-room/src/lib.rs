//! A ticketing waiting room with server-sent events over a real Redis: the reference target of the barrier benchmark.
//!
//! One process is gateway, authentication, event service, broker and dispatcher at once. Users log in, join the queue
//! of an event and hold a stream open; once a second everybody hears their position, and while an event is open users are
//! promoted as slots become free. The queue is a sorted set or a hash ([`QueueKind`]), with the work pattern that goes
//! with each, because the cost of these two patterns is what the benchmark compares.
//!
//! This crate deliberately shares no code with the harness or the barrier, only with other targets, by `target-kit`: a
//! reference built from the parts it examines would prove nothing.

mod app;
mod auth;
mod broker;
pub mod cli;
mod config;
mod faults;
mod gateway;
mod hop;
mod http;
mod life;
mod promote;
mod queue;
mod registry;
mod rounds;
mod sse;
mod ticks;

pub use app::{StartError, WaitingRoom, run};
pub use config::{Config, DEFAULT_EVENT_IDS, RedisUrl, RedisUrlError};
pub use faults::Faults;
pub use life::{Hop, Life, Transport};
pub use queue::QueueKind;
pub use target_kit::{Percent, Share};
