//! Where the database is, and what service and handler have in common.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr as _;

use anyhow::Context as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::catalogue::Index;
use crate::database::Reach;

/// Where the database is.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Database")]
pub(super) struct DatabaseArgs {
    /// Address with user, password and database, such as postgres://postgres:postgres@127.0.0.1:5432/challenge_db; wins over the others
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,

    /// Host
    #[arg(
        long,
        value_name = "HOST",
        env = "DB_HOST",
        default_value = "127.0.0.1"
    )]
    db_host: String,

    /// Port
    #[arg(long, value_name = "PORT", env = "DB_PORT", default_value_t = 5432)]
    db_port: u16,

    /// Database
    #[arg(
        long,
        value_name = "NAME",
        env = "DB_NAME",
        default_value = "challenge_db"
    )]
    db_name: String,

    /// User
    #[arg(long, value_name = "NAME", env = "DB_USER", default_value = "postgres")]
    db_user: String,

    /// Password, better given by the environment
    #[arg(
        long,
        value_name = "TEXT",
        env = "DB_PASSWORD",
        hide_env_values = true,
        default_value = "postgres"
    )]
    db_password: String,
}

impl DatabaseArgs {
    /// The database; `program` is how it is told who is connected.
    pub(super) fn reach(&self, program: &str) -> anyhow::Result<Reach> {
        let options = match &self.database_url {
            // What it says may be a secret, and so may what is wrong with it.
            Some(url) => PgConnectOptions::from_str(url).context(
                "--database-url: an address such as postgres://USER:PASSWORD@HOST:PORT/DATABASE is allowed",
            )?,
            None => PgConnectOptions::new_without_pgpass()
                .host(&self.db_host)
                .port(self.db_port)
                .database(&self.db_name)
                .username(&self.db_user)
                .password(&self.db_password),
        };
        let options = options.ssl_mode(PgSslMode::Disable);
        // Who gave a name in the address wants to find that one.
        let named = options.get_application_name().is_some();
        Ok(Reach(if named {
            options
        } else {
            options.application_name(program)
        }))
    }
}

/// What service and handler have in common.
#[derive(Debug, clap::Args)]
pub(super) struct CommonArgs {
    /// File of the challenges; without one there are 10 of 50 goals each
    #[arg(long, value_name = "FILE", env = "CONFIG_PATH")]
    challenges: Option<PathBuf>,

    /// Namespace of users and rows
    #[arg(
        long,
        value_name = "NAME",
        env = "AB_NAMESPACE",
        default_value = "test"
    )]
    pub(super) namespace: String,

    /// Whether tokens are looked at: they are not
    #[arg(
        long,
        value_name = "false",
        env = "PLUGIN_GRPC_SERVER_AUTH_ENABLED",
        default_value_t = false,
        action = clap::ArgAction::Set
    )]
    auth: bool,
}

impl CommonArgs {
    pub(super) fn index(&self) -> anyhow::Result<Index> {
        anyhow::ensure!(
            !self.auth,
            "--auth (PLUGIN_GRPC_SERVER_AUTH_ENABLED): got true; only false is allowed, as there is nobody who could check tokens"
        );
        let length = self.namespace.len();
        anyhow::ensure!(
            (1..=100).contains(&length),
            "--namespace: got {length} bytes; 1 to 100 are allowed"
        );
        Index::read(self.challenges.as_deref())
    }
}

/// Connections, 1 to 1000.
pub(super) fn connections(text: &str) -> Result<NonZeroU32, String> {
    let number = text.parse::<NonZeroU32>().ok();
    number
        .filter(|number| number.get() <= 1000)
        .ok_or_else(|| "a whole number from 1 to 1000 is allowed".to_owned())
}
