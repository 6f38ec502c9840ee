//! Command line of the reference chat service.

use std::process::ExitCode;

use chat_service::cli::Cli;
use chat_service::{ChatService, Sockets};
use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    target_kit::exit("chat-service", run(&Cli::parse()).await)
}

async fn run(cli: &Cli) -> anyhow::Result<()> {
    target_kit::log_to_stderr();
    let config = cli.config()?;
    let mut opening = cli.listen.open().await?;
    let mut streams = vec![opening.beside("stream", cli.stream_listen).await?];
    for &address in &cli.also {
        streams.push(opening.beside("also", address).await?);
    }
    let consciousness = match cli.consciousness {
        Some(address) => Some(opening.beside("consciousness", address).await?),
        None => None,
    };
    let research = match cli.research_api {
        Some(address) => Some(opening.beside("research-api", address).await?),
        None => None,
    };
    let service = ChatService::start(config).await;
    let (api, shutdown) = opening.announce()?;
    let sockets = Sockets {
        api,
        streams,
        consciousness,
        research,
    };
    service.serve(sockets, shutdown).await?;
    Ok(())
}
