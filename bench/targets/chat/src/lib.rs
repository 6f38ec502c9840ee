//! A chat service that streams its replies over WebSocket, with a 100 Hz loop on the runtime that carries the streams: the
//! reference target of the chat suite.
//!
//! One process is API, chat and loop at once. Whoever holds the runtime up slows the loop down, and `/metrics` shows it: that
//! is what the suite is there to see. Existing load scripts find every address and every form of frame that they know
//! ([`Dialect`]).
//!
//! This crate deliberately shares no code with the harness or the runner, only with other targets, by `target-kit`: a
//! reference built from the parts it examines would prove nothing.

mod accounts;
mod app;
pub mod cli;
mod config;
mod faults;
mod http;
mod metrics;
mod pace;
mod stream;

pub use app::{ChatService, Sockets};
pub use config::{Config, Hertz, HertzError, Reply};
pub use faults::Faults;
pub use stream::Dialect;
pub use target_kit::{ServeError, Share};
