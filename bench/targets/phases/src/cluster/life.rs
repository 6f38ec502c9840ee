//! The life of a node's process, as the front sees it: its start, its end, and its next start.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use target_kit::{Stop, Switches};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, oneshot, watch};

use super::LIMIT;
use super::ring::named;
use crate::faults::Faults;

/// A node that has not said within this time where it listens is not going to.
const START_LIMIT: Duration = Duration::from_secs(30);
/// A node that was asked to end has so long.
const END_LIMIT: Duration = Duration::from_secs(20);

/// What is known of a node's process.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) state: State,
    /// How many times it was started.
    pub(crate) incarnation: u64,
    pub(crate) pid: Option<u32>,
    /// Of this incarnation alone, so that no connection of an earlier one is used.
    pub(crate) client: reqwest::Client,
}

/// A process, and what it reads: it ends when that is closed, however the front ended.
pub(crate) struct Running {
    child: Child,
    _lifeline: Option<ChildStdin>,
}

/// Whether a node's process is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Up,
    /// It finishes what it has, and gets nothing new.
    Draining,
    Down,
}

/// How a node is to end.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) signal: Signal,
    /// Told how long it took, once the process is gone.
    pub(crate) ended: oneshot::Sender<Duration>,
}

/// Whoever starts a node's process, and starts it again.
pub(crate) struct Keeper {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    /// Where it reaches the others: `NAME=URL`.
    pub(crate) peers: Vec<String>,
    pub(crate) restart_after: Duration,
    pub(crate) process: watch::Sender<Process>,
    pub(crate) ends: mpsc::Receiver<End>,
    pub(crate) faults: Switches<Faults>,
    pub(crate) stop: Stop,
    /// Told how long it took from an end until the node was there again.
    pub(crate) recovered: Arc<dyn Fn(Duration) + Send + Sync>,
}

/// A client for one incarnation of a node.
pub(crate) fn client() -> anyhow::Result<reqwest::Client> {
    let client = reqwest::Client::builder().timeout(LIMIT);
    client.no_proxy().build().context("no client can be made")
}

impl Keeper {
    /// Starts the process, and waits until it listens.
    ///
    /// # Errors
    ///
    /// If it cannot be started, or does not say that it listens.
    pub(crate) async fn start(&self) -> anyhow::Result<Running> {
        let incarnation = self.process.borrow().incarnation + 1;
        let program = std::env::current_exe().context("the own program is not known")?;
        let mut command = Command::new(program);
        command
            .args(["node", "--name", &self.name, "--incarnation"])
            .arg(incarnation.to_string())
            .args(["--listen", &self.address.to_string()])
            .args(self.peers.iter().flat_map(|peer| ["--peer", peer]))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().context("its process was not started")?;
        let output = child.stdout.take().context("its output is piped")?;
        let mut lines = BufReader::new(output).lines();
        let first = tokio::time::timeout(START_LIMIT, lines.next_line()).await;
        let first = first.context("it did not say in time where it listens")?;
        if !first?.is_some_and(|line| line.starts_with("listening on ")) {
            bail!(
                "it ended before it listened at {}; its log says why",
                self.address
            );
        }
        let client = client()?;
        let pid = child.id();
        self.process.send_replace(Process {
            state: State::Up,
            incarnation,
            pid,
            client,
        });
        Ok(Running {
            // Waiting for the child would close it.
            _lifeline: child.stdin.take(),
            child,
        })
    }

    /// Keeps it alive until the end of the target.
    pub(crate) async fn keep(mut self, first: Running) {
        let mut child = Some(first);
        let mut down_since = None;
        loop {
            let mut running = match child.take() {
                Some(child) => child,
                None => match self.again().await {
                    Some(child) => child,
                    None => return,
                },
            };
            if let Some(since) = down_since.take() {
                (self.recovered)(Instant::elapsed(&since));
            }
            let stopped = self.run(&mut running.child).await;
            self.process.send_modify(|process| {
                process.state = State::Down;
                process.pid = None;
            });
            if stopped {
                return;
            }
            down_since = Some(Instant::now());
            tokio::select! {
                () = tokio::time::sleep(self.restart_after) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    /// Starts it again, once no fault says that it is to stay down; nothing at the end of the target.
    async fn again(&mut self) -> Option<Running> {
        loop {
            let mut changes = self.faults.changes();
            let allowed = async {
                let wanted = changes.wait_for(|faults| !named(&faults.down, &self.name));
                drop(wanted.await);
            };
            tokio::select! {
                () = allowed => {}
                () = self.stop.cancelled() => return None,
            }
            match self.start().await {
                Ok(child) => return Some(child),
                Err(error) => tracing::warn!(node = self.name, "not started: {error:#}"),
            }
            tokio::select! {
                () = tokio::time::sleep(self.restart_after.max(LIMIT / 100)) => {}
                () = self.stop.cancelled() => return None,
            }
        }
    }

    /// Waits for the end of the process, whoever brings it about; whether it is the end of the target as well.
    async fn run(&mut self, child: &mut Child) -> bool {
        let mut changes = self.faults.changes();
        let (stop, name) = (self.stop.clone(), self.name.clone());
        let unwanted = async {
            let down = changes.wait_for(|faults| named(&faults.down, &name));
            if down.await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let (signal, ended, stopped) = tokio::select! {
            _ = child.wait() => return false,
            Some(end) = self.ends.recv() => (end.signal, Some(end.ended), false),
            () = unwanted => (Signal::KILL, None, false),
            () = stop.cancelled() => (Signal::TERM, None, true),
        };
        let began = Instant::now();
        // It has an id until it was waited for.
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process(pid, signal);
        }
        if tokio::time::timeout(END_LIMIT, child.wait()).await.is_err() {
            tracing::warn!(node = self.name, "it did not end in time, and is killed");
            let _ = child.kill().await;
        }
        if let Some(ended) = ended {
            // Before whoever asked for it hears of it.
            self.process.send_modify(|process| {
                process.state = State::Down;
                process.pid = None;
            });
            let _ = ended.send(began.elapsed());
        }
        stopped
    }
}
