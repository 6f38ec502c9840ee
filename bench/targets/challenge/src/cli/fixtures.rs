//! `challenge fixtures`.

use std::path::PathBuf;

use crate::Fixture;

/// Write the files that load scripts read, or check them.
///
/// The same call writes the same bytes. Nothing is fetched, and no token is real.
#[derive(Debug, clap::Args)]
pub struct FixturesArgs {
    /// Folder of the files; it is made
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// One of them only, can be given several times
    #[arg(long, value_enum, value_name = "NAME")]
    only: Vec<Fixture>,

    /// Write nothing; fail unless the files are there and as they would be written
    #[arg(long)]
    check: bool,
}

impl FixturesArgs {
    /// Does it, and prints a line for each file.
    ///
    /// # Errors
    ///
    /// If a file cannot be written, or is not as it should be.
    pub fn run(&self) -> anyhow::Result<()> {
        for fixture in Fixture::ALL {
            if !self.only.is_empty() && !self.only.contains(&fixture) {
                continue;
            }
            let file = if self.check {
                fixture.check(&self.out)?
            } else {
                fixture.write(&self.out)?
            };
            println!("{}", file.display());
        }
        Ok(())
    }
}
