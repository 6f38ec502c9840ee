//! `challenge schema`.

use std::num::NonZeroU32;

use super::database::DatabaseArgs;
use crate::database::Pool;

/// Make the table and its indexes, unless they are there.
///
/// Service and handler do so too. This is for who empties the table before either of them has run.
#[derive(Debug, clap::Args)]
pub struct SchemaArgs {
    #[command(flatten)]
    database: DatabaseArgs,
}

impl SchemaArgs {
    /// Makes them.
    ///
    /// # Errors
    ///
    /// If the database is not to be had, or refuses.
    pub async fn run(&self) -> anyhow::Result<()> {
        let pool = Pool::open(self.database.reach("challenge-schema")?, NonZeroU32::MIN).await?;
        pool.close().await;
        Ok(())
    }
}
