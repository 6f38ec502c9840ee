//! The runner's own use of Redis: where it is, a few recorded commands, a private server where none is given.

pub(crate) mod access;
pub(crate) mod client;
pub(crate) mod server;
