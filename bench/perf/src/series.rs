//! What it costs to keep values over time: the share of k6's processor time that its output `hdrlog` takes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use axum::Router;
use axum::routing::get;
use tokio::sync::oneshot;

use crate::cases::{Bench, Figures};
use crate::child::Running;
use crate::k6::{free_address, read};
use crate::profile::Profile;

/// What the script prints when the load is what it shall be.
const STANDS: &str = "the load stands";
/// When that is, in s.
const WARM_UP: u32 = 3;
/// How long the profile is, in s.
const PROFILE: u32 = 10;
/// How long there is load, in s.
const SECONDS: u32 = WARM_UP + PROFILE + 4;
/// What names of the output's functions begin with.
const PACKAGE: &str = "github.com/k6-barrier/k6-barrier/xk6-barrier/hdrlog.";

/// One run with a profile in the middle.
///
/// # Errors
/// k6 fails, gives no profile, or requests fail.
pub(crate) fn series(bench: &mut Bench, _: &str) -> anyhow::Result<Figures> {
    let rate = bench.scale.requests();
    let server = Greeter::start()?;
    let runtime = free_address()?;
    let result = bench.k6.folder.join("result.json");
    let _ = std::fs::remove_file(&result);
    let limit = Duration::from_secs(u64::from(SECONDS) + 60);
    let mut command = bench.k6.command("series.js", &result, limit);
    let written = bench.k6.folder.join("series.hlog");
    command
        .args(["--profiling-enabled", "--address", &runtime.to_string()])
        .args(["--out", &format!("hdrlog={}", written.display())]);
    for (name, value) in [
        ("BASE_URL", format!("http://{}/", server.address)),
        ("RATE", rate.to_string()),
        ("SECONDS", SECONDS.to_string()),
        ("STANDS", WARM_UP.to_string()),
    ] {
        command.args(["-e", &format!("{name}={value}")]);
    }
    let log = bench.k6.folder.join("output.txt");
    let mut profile = None;
    Running::start(&mut command, "series.js", &log)?.finish(limit, |running| {
        if profile.is_none() && running.output().contains(STANDS) {
            profile = Some(take(runtime)?);
        }
        Ok(())
    })?;
    let profile = profile.context("k6 was over before a profile was taken")?;
    let made: Made = read(&result)?;
    ensure!(
        made.failed == 0.0,
        "{} of {} requests failed",
        made.failed,
        made.requests
    );
    let share = profile.share_of(PACKAGE)?;
    Ok(vec![
        ("share", vec![share * 100.0]),
        ("cpus", vec![profile.seconds() / f64::from(PROFILE)]),
        ("requests_per_s", vec![made.requests / f64::from(SECONDS)]),
    ])
}

/// What the script leaves.
#[derive(serde::Deserialize)]
struct Made {
    requests: f64,
    failed: f64,
}

/// A profile of the processor time of the k6 that profiles at this address.
fn take(address: SocketAddr) -> anyhow::Result<Profile> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "GET /debug/pprof/profile?seconds={PROFILE} HTTP/1.0\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let head = head.context("k6 answered without a head")?;
    ensure!(
        answer.starts_with(b"HTTP/1.0 200"),
        "k6 gives no profile: {}",
        String::from_utf8_lossy(&answer[..head])
    );
    Profile::read(&answer[head + 4..])
}

/// A server that answers with a greeting, as little work as can be; dropping it ends it.
struct Greeter {
    address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Greeter {
    fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        let (end, ended) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let greet = Router::new().route("/", get(async || "hello"));
            runtime.block_on(async {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
                    return; // k6 will not reach it and says so
                };
                tokio::select! {
                    _ = axum::serve(listener, greet) => {}
                    _ = ended => {}
                }
            });
        });
        Ok(Self {
            address,
            end: Some(end),
            thread: Some(thread),
        })
    }
}

impl Drop for Greeter {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
