//! The way from one process to the server: it can be slow, break anywhere, swallow everything and lead elsewhere.
#![allow(dead_code)] // each test file uses a part of it

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rand::RngExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

const NO_CUT: usize = usize::MAX;

#[derive(Debug, Clone, Copy)]
struct Weather {
    /// The port that new connections lead to.
    server: u16,
    latency: Duration,
    black_hole: bool,
    /// What the server answers waits here.
    holds_replies: bool,
    /// Connections of an earlier generation are cut.
    generation: u64,
}

/// Cuts each direction after so many bytes of its next piece of data.
#[derive(Debug)]
struct Cuts {
    request: AtomicUsize,
    reply: AtomicUsize,
}

/// See the [module's](self) description. Gone when dropped, with its connections.
pub(crate) struct Proxy {
    port: u16,
    weather: watch::Sender<Weather>,
    cuts: Arc<Cuts>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Leads from a free port to this one.
    pub(crate) fn start(runtime: &Handle, server: u16) -> Self {
        let listener = runtime
            .block_on(TcpListener::bind(("127.0.0.1", 0)))
            .expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let weather = watch::Sender::new(Weather {
            server,
            latency: Duration::ZERO,
            black_hole: false,
            holds_replies: false,
            generation: 0,
        });
        let cuts = Arc::new(Cuts {
            request: AtomicUsize::new(NO_CUT),
            reply: AtomicUsize::new(NO_CUT),
        });
        let task = runtime.spawn(accept(listener, weather.clone(), Arc::clone(&cuts)));
        Self {
            port,
            weather,
            cuts,
            task,
        }
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// New connections lead to this port; those that are there stay.
    pub(crate) fn lead_to(&self, server: u16) {
        self.weather.send_modify(|w| w.server = server);
    }

    pub(crate) fn latency(&self, latency: Duration) {
        self.weather.send_modify(|w| w.latency = latency);
    }

    pub(crate) fn black_hole(&self, black_hole: bool) {
        self.weather.send_modify(|w| w.black_hole = black_hole);
    }

    /// Requests pass, and nothing comes back.
    pub(crate) fn hold_replies(&self, hold: bool) {
        self.weather.send_modify(|w| w.holds_replies = hold);
    }

    pub(crate) fn cut(&self) {
        self.weather.send_modify(|w| w.generation += 1);
    }

    pub(crate) fn cut_request(&self, after: usize) {
        self.cuts.request.store(after, Ordering::Relaxed);
    }

    pub(crate) fn cut_reply(&self, after: usize) {
        self.cuts.reply.store(after, Ordering::Relaxed);
    }

    /// It leads nowhere from now on. The task ends a while after it was told to: until then nothing passes either, not even a farewell.
    pub(crate) fn end(&self) {
        self.black_hole(true);
        self.cut();
        self.task.abort();
    }

    /// The trouble is over.
    pub(crate) fn calm(&self) {
        self.cut_request(NO_CUT);
        self.cut_reply(NO_CUT);
        self.weather.send_modify(|w| {
            w.latency = Duration::ZERO;
            w.black_hole = false;
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, weather: watch::Sender<Weather>, cuts: Arc<Cuts>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(join(client, weather.subscribe(), Arc::clone(&cuts)));
        while connections.try_join_next().is_some() {}
    }
}

/// Joins two connections until either ends or is cut.
async fn join(client: TcpStream, mut weather: watch::Receiver<Weather>, cuts: Arc<Cuts>) {
    let port = weather.borrow().server;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let Ok(server) = TcpStream::connect(address).await else {
        return;
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let generation = weather.borrow().generation;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (there, back) = (weather.clone(), weather.clone());
    tokio::select! {
        () = pump(from_client, to_server, there, |w| !w.black_hole, &cuts.request) => {}
        () = pump(from_server, to_client, back, |w| !w.black_hole && !w.holds_replies, &cuts.reply) => {}
        _ = weather.wait_for(|w| w.generation != generation) => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    lets_pass: fn(&Weather) -> bool,
    cut: &AtomicUsize,
) {
    let mut data = vec![0; 64 * 1024];
    loop {
        let n = match from.read(&mut data).await {
            Ok(0) | Err(_) => return,
            Ok(n) => n,
        };
        let latency = weather.borrow().latency;
        if !latency.is_zero() {
            let share: f64 = rand::rng().random();
            tokio::time::sleep(latency.mul_f64(share)).await;
        }
        if weather.wait_for(lets_pass).await.is_err() {
            return;
        }
        let after = cut.swap(NO_CUT, Ordering::Relaxed);
        let cut_here = after != NO_CUT;
        if to.write_all(&data[..n.min(after)]).await.is_err() || cut_here {
            return;
        }
    }
}
