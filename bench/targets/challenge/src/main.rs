//! Command line of the reference target.

use std::process::ExitCode;

use challenge::cli::{Cli, Command, HandlerArgs, ServiceArgs};
use challenge::{ChallengeService, EventHandler};
use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match &Cli::parse().command {
        Command::Service(arguments) => serve(arguments).await,
        Command::EventHandler(arguments) => handle(arguments).await,
        Command::Schema(arguments) => arguments.run().await,
        Command::Fixtures(arguments) => arguments.run(),
        other => Err(anyhow::anyhow!("{other:?} cannot be run")),
    };
    target_kit::exit("challenge", outcome)
}

async fn serve(arguments: &ServiceArgs) -> anyhow::Result<()> {
    target_kit::log_to_stderr();
    let config = arguments.config()?;
    let mut opening = arguments.listen.open().await?;
    let admin = opening.beside("admin", arguments.admin_listen).await?;
    let service = ChallengeService::start(config).await?;
    let (api, shutdown) = opening.announce()?;
    service.serve(api, admin, shutdown).await
}

async fn handle(arguments: &HandlerArgs) -> anyhow::Result<()> {
    target_kit::log_to_stderr();
    let config = arguments.config()?;
    let mut opening = arguments.listen.open().await?;
    let admin = opening.beside("admin", arguments.admin_listen).await?;
    let handler = EventHandler::start(config).await?;
    let (events, shutdown) = opening.announce()?;
    handler.serve(events, admin, shutdown).await
}
