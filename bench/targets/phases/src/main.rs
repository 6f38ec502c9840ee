//! Command line of the reference target of the phase gates.

use std::process::ExitCode;

use clap::Parser as _;
use phases::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    target_kit::exit("phases", phases::run(Cli::parse()).await)
}
