//! The monitor: the process that `monitor start` leaves behind. It starts Prometheus, and Grafana where there is one, serves
//! our page, and ends what it started when it ends.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use barrier_procs::{Identity, Supervised, last_lines};
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::api::Api;
use super::dashboard::Dashboard;
use super::page::Sight;
use super::place::{Place, Record, Run};
use super::{config, grafana, prometheus};
use crate::values::exit;

/// How often a run that was killed is looked for.
const LOOK: Duration = Duration::from_secs(1);

/// What is to be started, as `monitor start` found it out.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Settings {
    pub(super) suite: String,
    pub(super) title: String,
    pub(super) prometheus: PathBuf,
    /// 0: a free one.
    pub(super) prometheus_port: u16,
    /// Of Grafana, or of our page; 0: a free one.
    pub(super) dashboard_port: u16,
    /// The dashboard's file, and the files by which Grafana is provisioned.
    pub(super) dashboard: Option<PathBuf>,
    pub(super) provision: Option<PathBuf>,
    pub(super) without_grafana: bool,
}

/// What the page and the monitor know of each other.
struct Shared {
    place: Place,
    suite: String,
    dashboard: Dashboard,
    /// Once it answers.
    prometheus: Mutex<Option<String>>,
    ended: Mutex<Option<String>>,
}

/// What the monitor waits for.
enum Message {
    End,
    PrometheusEnded,
}

/// Serves until a signal asks it to end.
///
/// # Errors
/// Something does not start, or a port is taken.
pub(crate) fn serve(place: &Place) -> anyhow::Result<()> {
    let (sender, messages) = channel();
    let on_signal = sender.clone();
    let asked = Arc::new(AtomicBool::new(false));
    let mut signals =
        Signals::new([SIGINT, SIGTERM, SIGHUP]).context("installing the signal handler")?;
    let heard = Arc::clone(&asked);
    thread::spawn(move || {
        for _ in signals.forever() {
            heard.store(true, Ordering::Relaxed);
            let _ = on_signal.send(Message::End);
        }
    });
    let own = Identity::own()?;
    // Before anything is started that somebody would have to find.
    place.start(&own)?;
    let starting = Starting(place);
    // The terminal from which it was started may go away.
    let _ = rustix::process::setsid();
    let is_asked = || asked.load(Ordering::Relaxed);
    let settings: Settings = place
        .read_json("settings.json")
        .with_context(|| format!("reading {}", place.file("settings.json").display()))?;
    let dashboard = match &settings.dashboard {
        Some(path) => Dashboard::read(path)?,
        None => Dashboard {
            title: settings.title.clone(),
            ..Dashboard::default()
        },
    };
    let uid = dashboard.uid.clone();
    let found = wanted(&settings);
    let page_port = match found {
        Ok(_) => 0,
        Err(_) => settings.dashboard_port,
    };
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, page_port))
        .map_err(|error| taken(page_port, "dashboard-port", &error))?;
    let page = listener.local_addr().context("the page's address")?;
    let shared = Arc::new(Shared {
        place: place.clone(),
        suite: settings.suite.clone(),
        dashboard,
        prometheus: Mutex::new(None),
        ended: Mutex::new(None),
    });
    answer(listener, Arc::clone(&shared))?;
    place.write("prometheus.yml", &config::prometheus(&page.to_string()))?;
    let mut prometheus = prometheus::start(
        &settings.prometheus,
        place,
        settings.prometheus_port,
        &is_asked,
    )?;
    *locked(&shared.prometheus) = Some(prometheus.address.clone());
    watch(&prometheus.process, sender.clone());
    let page = format!("http://{page}");
    let (grafana, dashboard, how) = match found {
        Ok(found) => {
            let (running, address) =
                start_grafana(&found, &settings, place, &prometheus.address, &is_asked)?;
            (
                Some(running),
                format!("{address}/d/{uid}"),
                found.to_string(),
            )
        }
        Err(why) => (None, page.clone(), why),
    };
    place.write_json(
        "monitor.json",
        &Record {
            schema_version: 1,
            identity: own.clone(),
            prometheus: prometheus.address.clone(),
            dashboard,
            page,
            grafana: how,
        },
    )?;
    drop(starting);
    let mut told = None;
    loop {
        match messages.recv_timeout(LOOK) {
            Ok(Message::End) => break,
            Ok(Message::PrometheusEnded) => {
                let status = prometheus.process.end()?;
                let log = last_lines(&place.file("prometheus.log"), 1);
                *locked(&shared.ended) = Some(format!("it has ended ({status}): {log}"));
            }
            // Nobody could end it any more once its folder is gone, or another one has taken its place.
            Err(_) if place.record().is_none_or(|record| record.identity != own) => break,
            Err(_) => told = told_once(tidy(place), told.as_deref()),
        }
    }
    drop(grafana);
    prometheus.process.stop();
    Ok(())
}

/// A monitor that is being started; it is no more when this is dropped.
struct Starting<'a>(&'a Place);

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        self.0.started();
    }
}

/// Says what cannot be tidied, as on a disk that is full: to show runs goes on without, and the next look tries again. Returns what was
/// said, if it still holds.
fn told_once(tidied: anyhow::Result<()>, told: Option<&str>) -> Option<String> {
    let why = format!("{:#}", tidied.err()?);
    if told != Some(why.as_str()) {
        // The log may be on the same disk.
        let _ = writeln!(
            std::io::stderr(),
            "warning  not tidied, tried again every second: {why}"
        );
    }
    Some(why)
}

/// Which Grafana is to run, or why none does.
fn wanted(settings: &Settings) -> Result<grafana::Found, String> {
    if settings.without_grafana {
        return Err("not asked for".to_owned());
    }
    if settings.dashboard.is_none() || settings.provision.is_none() {
        return Err("the suite declares no dashboard for it".to_owned());
    }
    grafana::find()
}

fn start_grafana(
    found: &grafana::Found,
    settings: &Settings,
    place: &Place,
    prometheus: &str,
    is_asked: &dyn Fn() -> bool,
) -> anyhow::Result<(grafana::Running, String)> {
    let port = match settings.dashboard_port {
        // Grafana does not say which one it chose.
        0 => free()?,
        port => port,
    };
    let (Some(dashboard), Some(provision)) = (&settings.dashboard, &settings.provision) else {
        return Err(exit::set_up("the suite declares no dashboard"));
    };
    let show = grafana::Show {
        place,
        port,
        prometheus,
        provision,
        dashboards: dashboard.parent().unwrap_or(dashboard),
    };
    let running = grafana::start(found, &show, is_asked)?;
    Ok((running, format!("http://127.0.0.1:{port}")))
}

fn free() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a free port")?;
    Ok(listener.local_addr().context("a free port")?.port())
}

/// A port that cannot be had, and what helps.
pub(super) fn taken(port: u16, option: &str, error: &std::io::Error) -> anyhow::Error {
    exit::set_up(format!(
        "port {port} of 127.0.0.1 cannot be had ({error}); end what listens there, or give another one with --{option}, 0 for any that is free"
    ))
}

fn watch(process: &Supervised, sender: Sender<Message>) {
    process.watch(move || {
        let _ = sender.send(Message::PrometheusEnded);
    });
}

/// Ends what a killed runner left open: its target is gone too, and is no longer to be scraped. Forgets runs that are too many.
fn tidy(place: &Place) -> anyhow::Result<()> {
    let runs = place.runs();
    let open = |run: &&Run| run.end_ms.is_none();
    let watched = runs.iter().filter(open).any(|run| run.runner.lives());
    for run in runs.iter().filter(open) {
        if !run.runner.lives() {
            // Last of all that it has ended: what fails before is tried again. What a run of now has scraped is its own.
            if !watched {
                place.restore_targets()?;
            }
            place.keep(&Run {
                end_ms: Some(now_ms()),
                ..run.clone()
            })?;
        }
    }
    place.prune(&runs)
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers on a thread of its own, as long as the process lives.
fn answer(listener: std::net::TcpListener, shared: Arc<Shared>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("a runtime for the page")?;
    listener
        .set_nonblocking(true)
        .context("the page's socket")?;
    thread::Builder::new()
        .name("page".to_owned())
        .spawn(move || {
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                axum::serve(listener, router(shared)).await
            })
        })
        .context("a thread for the page")?;
    Ok(())
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/panels", get(panels))
        .route("/metrics", get(metrics))
        // As Grafana's, so that one check and one link fit both.
        .route("/api/health", get(|| async { "ok\n" }))
        .route("/d/{uid}", get(|| async { Redirect::to("/") }))
        .with_state(shared)
}

#[derive(Debug, Deserialize)]
struct Asked {
    #[serde(default)]
    run: String,
}

async fn page(State(shared): State<Arc<Shared>>, Query(asked): Query<Asked>) -> Response {
    shown(shared, asked, |sight| sight.page()).await
}

async fn panels(State(shared): State<Arc<Shared>>, Query(asked): Query<Asked>) -> Response {
    shown(shared, asked, |sight| sight.panels()).await
}

/// Draws aside: Prometheus may take its time.
async fn shown(
    shared: Arc<Shared>,
    asked: Asked,
    draw: impl FnOnce(&Sight<'_>) -> anyhow::Result<String> + Send + 'static,
) -> Response {
    let drawn = tokio::task::spawn_blocking(move || {
        let Some(prometheus) = locked(&shared.prometheus).clone() else {
            anyhow::bail!("Prometheus is starting");
        };
        let runs: Vec<Run> = shared.place.runs();
        let run = runs.iter().find(|run| run.run_id == asked.run);
        let sight = Sight {
            dashboard: &shared.dashboard,
            api: &Api::new(&prometheus),
            prometheus: &prometheus,
            ended: locked(&shared.ended).clone(),
            runs: &runs,
            run: run.or(runs.last()),
            pinned: run.is_some(),
            now_ms: now_ms(),
        };
        draw(&sight)
    });
    match drawn.await {
        Ok(Ok(text)) => Html(text).into_response(),
        Ok(Err(error)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error:#}\n")).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The limits of the run that is watched, and whether it is being measured: so that they are series like all else.
async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let text = exposition(&shared.suite, &shared.place.runs(), now_ms());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

fn exposition(suite: &str, runs: &[Run], now_ms: i64) -> String {
    let mut text = String::from(
        "# HELP barrier_bench_measuring Whether what k6 does now is measured.\n# TYPE barrier_bench_measuring gauge\n",
    );
    let escaped = |text: &str| {
        text.replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n")
    };
    let active: Vec<&Run> = runs.iter().filter(|run| run.end_ms.is_none()).collect();
    let labels = |run: &Run| {
        format!(
            "run_id=\"{}\",scenario=\"{}\",suite=\"{}\"",
            escaped(&run.run_id),
            escaped(&run.scenario),
            escaped(suite)
        )
    };
    for run in &active {
        let value = u8::from(run.measures(now_ms));
        text.push_str(&format!(
            "barrier_bench_measuring{{{}}} {value}\n",
            labels(run)
        ));
    }
    text.push_str("# HELP barrier_bench_gate_limit The limit of a gate.\n# TYPE barrier_bench_gate_limit gauge\n");
    for run in &active {
        for (gate, limit) in &run.limits {
            text.push_str(&format!(
                "barrier_bench_gate_limit{{{},gate=\"{}\",metric=\"{}\",stat=\"{}\",op=\"{}\"}} {}\n",
                labels(run),
                escaped(gate),
                escaped(&limit.metric),
                escaped(&limit.stat),
                escaped(&limit.op),
                limit.limit
            ));
        }
    }
    text
}

/// Whether a port of this machine can be listened on.
///
/// # Errors
/// It cannot; the text says what helps.
pub(super) fn check_port(port: u16, option: &str) -> anyhow::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    std::net::TcpListener::bind(address)
        .map(drop)
        .map_err(|error| taken(port, option, &error))
}
