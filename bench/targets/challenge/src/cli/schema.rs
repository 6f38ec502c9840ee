//! `challenge schema`.

use super::database::DatabaseArgs;
use crate::database::make_table;

/// Make the table, unless it is there.
///
/// Service and handler do so at their start; a load test that empties the table before that calls this first.
#[derive(Debug, clap::Args)]
pub struct SchemaArgs {
    #[command(flatten)]
    database: DatabaseArgs,
}

impl SchemaArgs {
    /// Does it.
    ///
    /// # Errors
    ///
    /// If the database cannot be reached, or refuses.
    pub async fn run(&self) -> anyhow::Result<()> {
        make_table(&self.database.reach("challenge-schema")?).await
    }
}
