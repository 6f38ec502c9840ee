//! The start of a target as a program: logs, open files, signals, its socket, and how it tells that it is ready.

use std::fmt::Display;
use std::future::Future;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Where a target listens, and who is told.
#[derive(Debug, Clone, clap::Args)]
pub struct ListenArgs {
    /// Address to listen on; port 0 picks a free one
    ///
    /// When everything is ready, one line on stdout tells the address: "listening on http://127.0.0.1:43121".
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,

    /// File that gets the base URL (one line, such as http://127.0.0.1:43121) when everything is ready
    ///
    /// An older file is removed at start, and the new one appears complete or not at all. Further addresses follow, each in a
    /// line of its own after its name.
    #[arg(long, value_name = "FILE")]
    pub port_file: Option<PathBuf>,
}

/// A target cannot listen, or cannot say where.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The old port file stays where it is.
    #[error("cannot remove the old port file {}", file.display())]
    Stale {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Signals would end the process at once.
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    /// The address is in use, or not one of this machine.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The socket does not tell its port.
    #[error("cannot tell the bound address")]
    Address(#[source] io::Error),
    /// The new port file cannot be written.
    #[error("cannot write the port file {}", file.display())]
    PortFile {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A target that listens but has told nobody yet.
pub struct Opening<S> {
    listener: TcpListener,
    url: String,
    /// Further sockets, by name.
    beside: Vec<(&'static str, String)>,
    port_file: Option<PathBuf>,
    shutdown: S,
}

impl ListenArgs {
    /// Takes what a target needs of the machine: open files, the port file's place, signals, the socket.
    ///
    /// # Errors
    ///
    /// If one of them is not to be had; a limit of open files that cannot be raised is only logged.
    pub async fn open(&self) -> Result<Opening<impl Future<Output = ()> + use<>>, ListenError> {
        raise_open_file_limit();
        if let Some(file) = &self.port_file {
            remove_stale(file)?;
        }
        // Before anything is announced, so that no signal sent in answer to the announcement is lost.
        let shutdown = termination().map_err(ListenError::Signals)?;
        let (listener, url) = bind(self.listen).await?;
        Ok(Opening {
            listener,
            url,
            beside: Vec::new(),
            port_file: self.port_file.clone(),
            shutdown,
        })
    }
}

impl<S: Future<Output = ()>> Opening<S> {
    /// Takes a further socket, which is told with the first one, under this name and after it.
    ///
    /// # Errors
    ///
    /// If the address is not to be had.
    pub async fn beside(
        &mut self,
        name: &'static str,
        address: SocketAddr,
    ) -> Result<TcpListener, ListenError> {
        let (listener, url) = bind(address).await?;
        self.beside.push((name, url));
        Ok(listener)
    }

    /// Tells by the port file and on stdout that the target is ready. What is returned is the first socket, and a future that
    /// completes at the first SIGINT or SIGTERM.
    ///
    /// # Errors
    ///
    /// If the port file cannot be written.
    pub fn announce(self) -> Result<(TcpListener, S), ListenError> {
        let told = |first: &str, between: &str| {
            let mut told = format!("{first}{}\n", self.url);
            for (name, url) in &self.beside {
                told.push_str(&format!("{name}{between}{url}\n"));
            }
            told
        };
        if let Some(file) = &self.port_file {
            write_atomically(file, &told("", " ")).map_err(|source| ListenError::PortFile {
                file: file.clone(),
                source,
            })?;
        }
        // Whoever started the process may have closed its end already; the file or a fixed port may be what they use.
        let _ = io::stdout().write_all(told("listening on ", " on ").as_bytes());
        Ok((self.listener, self.shutdown))
    }
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, String), ListenError> {
    let bound = TcpListener::bind(address).await;
    let listener = bound.map_err(|source| ListenError::Bind { address, source })?;
    let address = listener.local_addr().map_err(ListenError::Address)?;
    Ok((listener, format!("http://{address}")))
}

/// Logs go to stderr; the level comes from `RUST_LOG`.
pub fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();
}

/// The exit code of a target's `main`; an error is printed with its causes.
pub fn exit<E: Display>(program: &str, outcome: Result<(), E>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: {error:#}");
            ExitCode::FAILURE
        }
    }
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

fn remove_stale(file: &Path) -> Result<(), ListenError> {
    match std::fs::remove_file(file) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(ListenError::Stale {
            file: file.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

/// Readers see the whole text or no file: a rename within one folder is atomic.
fn write_atomically(file: &Path, text: &str) -> io::Result<()> {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let draft = PathBuf::from(name);
    std::fs::write(&draft, text)?;
    std::fs::rename(&draft, file)
}

/// Completes at the first SIGINT or SIGTERM.
fn termination() -> io::Result<impl Future<Output = ()> + use<>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
