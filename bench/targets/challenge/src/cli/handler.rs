//! `challenge event-handler`.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use anyhow::Context as _;
use target_kit::{FaultArgs, ListenArgs};

use super::database::{CommonArgs, DatabaseArgs, connections};
use crate::{HandlerConfig, HandlerFaults, Limits, Mode};

/// Take events over gRPC, and write what they change in flushes.
#[derive(Debug, clap::Args)]
#[command(mut_arg("listen", |listen| listen.default_value("127.0.0.1:6565").help("Address of the events; port 0 picks a free one")))]
pub struct HandlerArgs {
    /// Where it listens
    #[command(flatten)]
    pub listen: ListenArgs,

    /// Address of metrics, profiles, counters and faults; told as "admin"
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    pub admin_listen: SocketAddr,

    /// From one flush to the next
    #[arg(long, value_name = "MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    flush_interval_ms: u64,

    /// Updates that the buffer holds before it is flushed early; events wait at 1.5 times this, and are refused at 2.5 times
    #[arg(long, value_name = "N", default_value_t = 3000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    buffer_size: u32,

    /// Parts of the buffer, each flushed by a worker of its own; a user is always in the same one
    #[arg(long, value_name = "N", env = "FLUSH_WORKERS", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=32))]
    workers: u8,

    /// So long an event waits for room in the buffer
    #[arg(long, value_name = "MS", default_value_t = 5000, value_parser = clap::value_parser!(u64).range(0..=600_000))]
    wait_ms: u64,

    /// Which rows a flush makes
    #[arg(long, value_enum, default_value_t = Mode::Upsert)]
    flush_mode: Mode,

    /// Connections to the database at most
    #[arg(long, value_name = "N", default_value = "50", value_parser = connections)]
    pool_size: NonZeroU32,

    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    faults: FaultArgs,
}

impl HandlerArgs {
    /// The configuration that these arguments describe. The file of the challenges is read.
    ///
    /// # Errors
    ///
    /// If an argument or that file is not usable.
    pub fn config(&self) -> anyhow::Result<HandlerConfig> {
        let faults = self.faults.applied_to(&HandlerFaults::default());
        let workers = usize::from(self.workers);
        let size = usize::try_from(self.buffer_size).unwrap_or(usize::MAX);
        Ok(HandlerConfig {
            reach: self.database.reach("challenge-event-handler")?,
            pool_size: self.pool_size,
            index: self.common.index()?,
            namespace: self.common.namespace.clone(),
            mode: self.flush_mode,
            workers,
            flush_interval: Duration::from_millis(self.flush_interval_ms),
            limits: Limits::of(size, workers, Duration::from_millis(self.wait_ms)),
            faults: faults.context("--fault")?,
        })
    }
}
