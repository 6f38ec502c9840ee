//! Command line of the reference waiting room.

use std::future::Future;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use waiting_room::WaitingRoom;
use waiting_room::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("waiting-room: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: &Cli) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();
    let config = cli.config()?;
    raise_open_file_limit();
    if let Some(file) = &cli.port_file {
        remove_stale(file)?;
    }
    // Before anything is announced, so that no signal sent in answer to the announcement is lost.
    let shutdown = termination().context("cannot listen for signals")?;
    let listener = TcpListener::bind(cli.listen)
        .await
        .with_context(|| format!("cannot listen on {}", cli.listen))?;
    let url = format!(
        "http://{}",
        listener
            .local_addr()
            .context("cannot tell the bound address")?
    );
    let room = WaitingRoom::connect(config).await?;
    if let Some(file) = &cli.port_file {
        write_atomically(file, &url)
            .with_context(|| format!("cannot write the port file {}", file.display()))?;
    }
    // Whoever started the process may have closed its end already; the file or a fixed port may be what they use.
    let _ = writeln!(io::stdout(), "listening on {url}");
    room.serve(listener, shutdown).await?;
    Ok(())
}

/// Each stream needs a file descriptor, and the usual soft limit of 1024 is far below the hard one.
fn raise_open_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => tracing::info!(limit = ?raised.current, "open file limit"),
        Err(error) => {
            tracing::warn!(%error, limit = ?limit.current, "cannot raise the open file limit");
        }
    }
}

fn remove_stale(file: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error)
            .with_context(|| format!("cannot remove the old port file {}", file.display())),
        _ => Ok(()),
    }
}

/// Readers see the whole line or no file: a rename within one folder is atomic.
fn write_atomically(file: &Path, line: &str) -> io::Result<()> {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let draft = PathBuf::from(name);
    std::fs::write(&draft, format!("{line}\n"))?;
    std::fs::rename(&draft, file)
}

/// Completes at the first SIGINT or SIGTERM.
fn termination() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
