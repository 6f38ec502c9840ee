//! `challenge service`.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use anyhow::Context as _;
use target_kit::{FaultArgs, ListenArgs};

use super::database::{CommonArgs, DatabaseArgs, connections};
use crate::{ServiceConfig, ServiceFaults};

/// Serve challenges, progress, claims and selections over HTTP.
#[derive(Debug, clap::Args)]
#[command(mut_arg("listen", |listen| listen.default_value("127.0.0.1:8000").help("Address of the API; port 0 picks a free one")))]
pub struct ServiceArgs {
    /// Where it listens
    #[command(flatten)]
    pub listen: ListenArgs,

    /// Address of metrics, profiles and faults; told as "admin"
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub admin_listen: SocketAddr,

    /// What stands before each address of the API
    #[arg(
        long,
        value_name = "PATH",
        env = "BASE_PATH",
        default_value = "/challenge"
    )]
    base_path: String,

    /// Who grants rewards: nobody, they are only told in the log
    #[arg(long, value_name = "mock", env = "REWARD_CLIENT_MODE", default_value = "mock", value_parser = ["mock"])]
    rewards: String,

    /// Connections to the database at most
    #[arg(long, value_name = "N", env = "DB_MAX_OPEN_CONNS", default_value = "25", value_parser = connections)]
    pool_size: NonZeroU32,

    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    faults: FaultArgs,
}

impl ServiceArgs {
    /// The configuration that these arguments describe. The file of the challenges is read.
    ///
    /// # Errors
    ///
    /// If an argument or that file is not usable.
    pub fn config(&self) -> anyhow::Result<ServiceConfig> {
        let path = &self.base_path;
        anyhow::ensure!(
            path.starts_with('/') && !path.ends_with('/') && !path.contains(['{', '}', '*']),
            "--base-path: got {path:?}; a path such as /challenge is allowed"
        );
        let faults = self.faults.applied_to(&ServiceFaults::default());
        Ok(ServiceConfig {
            reach: self.database.reach("challenge-service")?,
            pool_size: self.pool_size,
            index: self.common.index()?,
            namespace: self.common.namespace.clone(),
            base_path: path.clone(),
            faults: faults.context("--fault")?,
        })
    }
}
