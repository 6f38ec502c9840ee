//! Command line of the reference waiting room.

use std::process::ExitCode;

use clap::Parser as _;
use waiting_room::WaitingRoom;
use waiting_room::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    target_kit::exit("waiting-room", run(&Cli::parse()).await)
}

async fn run(cli: &Cli) -> anyhow::Result<()> {
    target_kit::log_to_stderr();
    let config = cli.config()?;
    let opening = cli.listen.open().await?;
    let room = WaitingRoom::connect(config).await?;
    let (listener, shutdown) = opening.announce()?;
    room.serve(listener, shutdown).await?;
    Ok(())
}
