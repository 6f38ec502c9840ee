//! Phases 9 and 12, a cluster: processes with names at addresses of their own, behind a front that survives the end of any of them.
//!
//! The front and the nodes reach each other by links that a fault can cut. The front sees at once that a process has ended, and
//! within [`LOOK_EVERY`] that a link is cut; it tells all nodes who is there.

mod front;
mod life;
mod link;
mod node;
mod ring;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::http::StatusCode;
use rustix::process::Signal;
use serde_json::{Value, json};
use target_kit::{Stop, Switches};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

pub(crate) use front::routes;
pub(crate) use node::node;
pub(crate) use ring::named;

use crate::answer::{Failure, failure, unavailable};
use crate::cli::ClusterArgs;
use crate::faults::Faults;
use crate::measure::Stats;
use life::{End, Keeper, Process, State};
use link::{Ends, link};

const PHASE: u8 = 9;
/// A call that has it is done where it arrives, and never passed on.
const FINAL: &str = "x-cluster-final";
/// Longer no call lasts.
const LIMIT: Duration = Duration::from_secs(15);
/// How often the front looks whether a node can be reached, and how long it waits for a node to say so.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOK_LIMIT: Duration = Duration::from_millis(500);

/// A node as the front knows it.
pub(crate) struct Node {
    name: String,
    /// Where clients reach it.
    url: String,
    /// Where the front does, by a link that may be cut.
    link: String,
    process: watch::Receiver<Process>,
    changes: watch::Sender<Process>,
    reachable: AtomicBool,
    ends: mpsc::Sender<End>,
    /// Calls of the front that are under way.
    under_way: watch::Sender<usize>,
}

impl Node {
    fn available(&self) -> bool {
        self.process.borrow().state == State::Up && self.reachable.load(Ordering::Relaxed)
    }

    /// A call is under way for as long as this is kept.
    fn busy(&self) -> Busy<'_> {
        self.under_way.send_modify(|calls| *calls += 1);
        Busy(&self.under_way)
    }

    fn status(&self) -> &'static str {
        match self.process.borrow().state {
            State::Up if self.available() => "up",
            State::Up => "unreachable",
            State::Draining => "draining",
            State::Down => "down",
        }
    }
}

struct Busy<'a>(&'a watch::Sender<usize>);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|calls| *calls -= 1);
    }
}

/// The nodes, and whoever keeps them alive.
pub(crate) struct Cluster {
    nodes: Arc<[Node]>,
    keepers: TaskTracker,
    /// How long it took until all were there.
    formed: Duration,
    /// One rolling restart at a time.
    restarting: tokio::sync::Mutex<()>,
    /// One further cluster at a time.
    forming: tokio::sync::Mutex<()>,
}

async fn listen_inside() -> anyhow::Result<(TcpListener, String)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((listener, url))
}

/// The address itself, or a free port of it, which a node can take again and again.
async fn settled(address: SocketAddr) -> anyhow::Result<SocketAddr> {
    if address.port() != 0 {
        return Ok(address);
    }
    let listener = TcpListener::bind(address).await?;
    Ok(listener.local_addr()?)
}

impl Cluster {
    /// Starts the nodes, and waits until all of them listen. Links and looks go on in `rounds`.
    ///
    /// # Errors
    ///
    /// If a node does not start.
    pub(crate) async fn start(
        arguments: &ClusterArgs,
        aliases: Vec<Option<TcpListener>>,
        faults: Switches<Faults>,
        stats: &Arc<Stats>,
        rounds: &mut JoinSet<()>,
        stop: &Stop,
    ) -> anyhow::Result<Self> {
        let began = Instant::now();
        let mut named = Vec::new();
        for number in 1..=arguments.nodes {
            let name = ClusterArgs::name(number);
            let address = settled(arguments.address(number)).await;
            let address = address.with_context(|| format!("--node-port: no address for {name}"))?;
            named.push((name, address));
        }
        for (alias, (_, address)) in aliases.into_iter().zip(named.iter().skip(1)) {
            if let Some(alias) = alias {
                rounds.spawn(link(alias, *address, None, faults.clone()));
            }
        }
        let mut nodes = Vec::new();
        let mut starts = JoinSet::new();
        for (name, address) in &named {
            let (listener, url) = listen_inside().await?;
            let to = name.clone();
            let ends = Some(Ends { from: None, to });
            rounds.spawn(link(listener, *address, ends, faults.clone()));
            let mut peers = Vec::new();
            for (peer, peer_address) in named.iter().filter(|(peer, _)| peer != name) {
                let (listener, url) = listen_inside().await?;
                let ends = Ends {
                    from: Some(name.clone()),
                    to: peer.clone(),
                };
                rounds.spawn(link(listener, *peer_address, Some(ends), faults.clone()));
                peers.push(format!("{peer}={url}"));
            }
            let (ask, ends) = mpsc::channel(1);
            let client = life::client()?;
            let (changes, process) = watch::channel(Process {
                state: State::Down,
                incarnation: 0,
                pid: None,
                client,
            });
            let stats = Arc::clone(stats);
            let keeper = Keeper {
                name: name.clone(),
                address: *address,
                peers,
                restart_after: arguments.restart_after_ms,
                process: changes.clone(),
                ends,
                faults: faults.clone(),
                stop: stop.clone(),
                recovered: Arc::new(move |took| stats.record(PHASE, "node_recovery", took)),
            };
            starts.spawn(async move {
                let child = keeper.start().await;
                let child = child.with_context(|| format!("cluster: {}", keeper.name))?;
                anyhow::Ok((keeper, child))
            });
            nodes.push(Node {
                name: name.clone(),
                url: format!("http://{address}"),
                link: url,
                process,
                changes,
                reachable: AtomicBool::new(true),
                ends: ask,
                under_way: watch::Sender::new(0),
            });
        }
        let mut running = Vec::new();
        while let Some(started) = starts.join_next().await {
            running.push(started??);
        }
        let keepers = TaskTracker::new();
        for (keeper, child) in running {
            keepers.spawn(keeper.keep(child));
        }
        let cluster = Self {
            nodes: nodes.into(),
            keepers,
            formed: began.elapsed(),
            restarting: tokio::sync::Mutex::default(),
            forming: tokio::sync::Mutex::default(),
        };
        stats.record(PHASE, "formed", cluster.formed);
        let told = watch::Sender::new(Vec::new());
        for index in 0..cluster.nodes.len() {
            rounds.spawn(look(Arc::clone(&cluster.nodes), index, told.clone()));
        }
        rounds.spawn(tell_all(Arc::clone(&cluster.nodes), told));
        Ok(cluster)
    }

    /// Forms a cluster of so many nodes at free ports, without faults, and ends it: how long it took until all were there.
    async fn formed_of(nodes: u8, stop: &Stop) -> anyhow::Result<Duration> {
        let arguments = ClusterArgs {
            nodes,
            node_port: 0,
            aliases: Vec::new(),
            restart_after_ms: Duration::ZERO,
        };
        let faults = Switches::new(Faults::default());
        let (mut rounds, stats) = (JoinSet::new(), Arc::default());
        let cluster = Self::start(&arguments, Vec::new(), faults, &stats, &mut rounds, stop);
        let cluster = cluster.await?;
        stop.cancel();
        cluster.end().await;
        Ok(cluster.formed)
    }

    /// How many nodes there are.
    pub(crate) fn size(&self) -> usize {
        self.nodes.len()
    }

    /// How many of them can be used.
    pub(crate) fn up(&self) -> usize {
        self.nodes.iter().filter(|node| node.available()).count()
    }

    /// Waits for the end of all nodes, which were told by `stop`.
    pub(crate) async fn end(&self) {
        self.keepers.close();
        self.keepers.wait().await;
    }

    /// The node that has the key.
    fn owner(&self, key: &str) -> Result<&Node, Failure> {
        let available = self.nodes.iter().filter(|node| node.available());
        let owner = ring::owner(key, available, |node| &node.name);
        owner.ok_or_else(|| unavailable(format!("none of {} nodes is available", self.size())))
    }

    /// A key that a node has where all are there.
    fn key_of(&self, node: &Node) -> Option<String> {
        let keys = (0..1000).map(|number| format!("failover_{number}"));
        let owner = |key: &str| ring::owner(key, self.nodes.iter(), |node| &node.name);
        let mut keys = keys.filter(|key| owner(key).is_some_and(|owner| owner.name == node.name));
        keys.next()
    }

    /// A node by its name, with or without its host.
    fn named(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| ring::named(name, &node.name))
    }

    /// Calls the node that has the key, and gives what it answered.
    ///
    /// A call that got lost is not made again: nobody knows whether it was carried out.
    pub(crate) async fn call(&self, key: &str, message: &Value) -> Result<Value, Failure> {
        let began = Instant::now();
        let (node, _busy) = loop {
            let node = self.owner(key)?;
            let busy = node.busy();
            // One that is being drained meanwhile may not have seen that it is busy.
            if node.available() {
                break (node, busy);
            }
        };
        let lost = |error: reqwest::Error| {
            // Until it is looked at again.
            node.reachable.store(false, Ordering::Relaxed);
            let why = error.without_url();
            failure(StatusCode::BAD_GATEWAY, format!("{}: {why}", node.name))
        };
        let client = node.process.borrow().client.clone();
        let sent = client
            .post(format!("{}/api/cluster/rpc", node.link))
            .header(FINAL, "1");
        let answer = sent.json(message).send().await.map_err(lost)?;
        let status = answer.status();
        let mut told: Value = answer.json().await.map_err(lost)?;
        if !status.is_success() {
            let why = told["error"].as_str().unwrap_or("no reason was given");
            return Err(failure(status, format!("{}: {why}", node.name)));
        }
        told["elapsed_us"] = json!(crate::answer::micros(began.elapsed()));
        Ok(told)
    }

    /// Ends a node, and waits until its process is gone. It is started again by whoever keeps it.
    async fn end_one(&self, node: &Node, signal: Signal) -> Result<Duration, Failure> {
        let (ended, gone) = oneshot::channel();
        let down = || failure(StatusCode::CONFLICT, format!("{} is down", node.name));
        if node.process.borrow().state == State::Down {
            return Err(down());
        }
        let end = End { signal, ended };
        node.ends.try_send(end).map_err(|_| down())?;
        gone.await.map_err(|_| down())
    }

    /// Waits until a node is there again, and has been seen to be.
    async fn again(&self, node: &Node, after: u64) -> Result<(), Failure> {
        let mut process = node.process.clone();
        let there = process.wait_for(|now| now.incarnation > after && now.state == State::Up);
        let limit = LIMIT + LIMIT;
        let there = tokio::time::timeout(limit, there)
            .await
            .is_ok_and(|there| there.is_ok());
        there.then_some(()).ok_or_else(|| {
            let seconds = limit.as_secs();
            unavailable(format!(
                "{} is not there again within {seconds} s",
                node.name
            ))
        })
    }

    /// Ends the nodes one after another, each when the one before is there again: told is, for each, how long it took to end.
    ///
    /// A node is drained before: it gets nothing new, and finishes what it has. If not `drained`, it is killed as it is.
    async fn restart_all(&self, drained: bool) -> Result<Vec<(String, Duration)>, Failure> {
        let Ok(_alone) = self.restarting.try_lock() else {
            return Err(failure(
                StatusCode::CONFLICT,
                "the nodes are being restarted already",
            ));
        };
        let mut took = Vec::new();
        for node in &*self.nodes {
            let incarnation = node.process.borrow().incarnation;
            let began = Instant::now();
            if drained {
                node.changes.send_if_modified(|process| {
                    let up = process.state == State::Up;
                    if up {
                        process.state = State::Draining;
                    }
                    up
                });
                let mut calls = node.under_way.subscribe();
                // The sender is the node's own.
                let done = calls.wait_for(|calls| *calls == 0);
                let _ = tokio::time::timeout(LIMIT, done).await.is_ok();
            }
            let signal = if drained { Signal::TERM } else { Signal::KILL };
            self.end_one(node, signal).await?;
            took.push((node.name.clone(), began.elapsed()));
            self.again(node, incarnation).await?;
        }
        Ok(took)
    }
}

/// Looks again and again whether a node can be reached, and tells `told` who is there when that has changed.
async fn look(nodes: Arc<[Node]>, index: usize, told: watch::Sender<Vec<String>>) {
    let node = &nodes[index];
    let mut process = node.process.clone();
    loop {
        let (state, client) = {
            let now = process.borrow_and_update();
            (now.state, now.client.clone())
        };
        if state == State::Down {
            node.reachable.store(true, Ordering::Relaxed);
        } else {
            let asked = client
                .get(format!("{}/health", node.link))
                .timeout(LOOK_LIMIT);
            let well = asked
                .send()
                .await
                .is_ok_and(|answer| answer.status().is_success());
            node.reachable.store(well, Ordering::Relaxed);
        }
        let available = nodes.iter().filter(|node| node.available());
        let available: Vec<String> = available.map(|node| node.name.clone()).collect();
        told.send_if_modified(|told| {
            let changed = *told != available;
            *told = available;
            changed
        });
        tokio::select! {
            changed = process.changed() => if changed.is_err() {
                // The keeper has gone, so this is the end.
                std::future::pending::<()>().await;
            },
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Tells all nodes who is there, whenever that has changed.
async fn tell_all(nodes: Arc<[Node]>, told: watch::Sender<Vec<String>>) {
    let mut changes = told.subscribe();
    loop {
        let members = changes.borrow_and_update().clone();
        let calls = nodes.iter().filter(|node| node.available()).map(|node| {
            let client = node.process.borrow().client.clone();
            let told = client
                .put(format!("{}/members", node.link))
                .timeout(LOOK_LIMIT);
            // One that was not reached is looked at soon, and is told when it is back.
            async { drop(told.json(&json!({ "members": members })).send().await) }
        });
        futures_util::future::join_all(calls).await;
        if changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
