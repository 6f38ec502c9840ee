//! Barrier accounting and type-aware queue counting.
//!
//! A barrier is a meeting point of a known number of participants. Each of them has exactly one outcome per phase
//! (arrived, failed and why, or left); when all are accounted for, the phase is released. The truth lives in a store
//! ([`store`]); each process keeps its own participants' outcomes in a [`ledger`] and replays them into a store that
//! lost its memory.
//!
//! | module | what it holds |
//! |---|---|
//! | [`ids`], [`options`], [`address`], [`tls`] | identifiers and options, each checked in one place |
//! | [`protocol`] | what a process says to a store and hears from it |
//! | [`ticket`], [`panics`] | that each call is answered once, whatever happens |
//! | [`ledger`], [`session`] | the process's side, without clock or socket |
//! | [`store`] | the store's side, in this process or in Redis |
//! | [`group`] | groups that form by themselves: rules, process's side and stores |
//! | [`engine`], [`clock`] | what drives it all: runtime, connections, time |

pub mod address;
pub mod clock;
pub mod engine;
pub mod error;
pub mod group;
mod host;
pub mod ids;
mod kept;
pub mod ledger;
pub mod options;
pub mod panics;
pub mod protocol;
pub mod session;
pub mod spread;
pub mod store;
pub mod ticket;
pub mod tls;
