//! The command line.

mod database;
mod fixtures;
mod handler;
mod schema;
mod service;

pub use fixtures::FixturesArgs;
pub use handler::HandlerArgs;
pub use schema::SchemaArgs;
pub use service::ServiceArgs;

use clap::{Parser, Subcommand};

/// A service of challenges over HTTP and a handler of events over gRPC, on one PostgreSQL.
///
/// Reference target of load ladders. Logs go to stderr (level by RUST_LOG). Stops on SIGINT and SIGTERM.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    /// What to run
    #[command(subcommand)]
    pub command: Command,
}

/// What to run.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum Command {
    /// Serve challenges, progress, claims and selections over HTTP
    Service(Box<ServiceArgs>),
    /// Take events over gRPC, and write what they change in flushes
    EventHandler(Box<HandlerArgs>),
    /// Make the table of the database
    Schema(SchemaArgs),
    /// Write the files that load scripts read, or check them
    Fixtures(FixturesArgs),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definition_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
