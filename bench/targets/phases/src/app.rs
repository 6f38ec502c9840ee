//! The running target: what its parts share, its start and its end.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};
use target_kit::{GRACE, Latencies, Stop, Switches, held_back};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::answer::{Answer, failure};
use crate::cli::{Cli, ClusterArgs, Command};
use crate::cluster::{self, Cluster};
use crate::faults::Faults;
use crate::measure::Stats;
use crate::subjects::{self, Audit, Cache, Counter, Export, Models, Orders, Registry, Sql, Web};

/// Longer bodies are answered with 413: a list of 100,000 numbers is 2 MB.
const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// What the parts share.
pub(crate) struct App {
    pub(crate) faults: Switches<Faults>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) pairs: mpsc::Sender<subjects::Put>,
    pub(crate) counter: Counter,
    pub(crate) registry: Registry,
    pub(crate) sql: Sql,
    pub(crate) web: Web,
    pub(crate) cache: Cache,
    pub(crate) cluster: Cluster,
    pub(crate) export: Export,
    pub(crate) orders: Orders,
    pub(crate) audit: Audit,
    pub(crate) models: Models,
    pub(crate) workspace: PathBuf,
    pub(crate) latencies: Latencies,
    pub(crate) stop: Stop,
}

/// Runs the program until it is told to stop.
///
/// # Errors
///
/// If arguments are not usable, an address is taken, a node does not start, or a socket fails.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    target_kit::log_to_stderr();
    if let Some(Command::Node(arguments)) = &cli.command {
        return cluster::node(arguments).await;
    }
    let faults = cli.faults.applied_to(&Faults::default());
    let nodes: Vec<String> = (1..=cli.cluster.nodes).map(ClusterArgs::name).collect();
    let allowed = move |faults: &Faults| faults.of_nodes(&nodes);
    let faults = faults.and_then(|faults| Switches::checked(faults, allowed));
    let faults = faults.context("--fault")?;
    let sql = Sql::new(cli.database_url.as_deref(), cli.pool_size)?;
    let audit = Audit::open(cli.audit.as_deref())?;
    let mut opening = cli.listen.open().await?;
    let mut aliases = Vec::new();
    let (addresses, asked) = cli.cluster.aliases();
    for address in addresses {
        match opening.beside("alias", address).await {
            Ok(listener) => aliases.push(Some(listener)),
            Err(error) if !asked => {
                tracing::warn!("{error}; the node has no further address");
                aliases.push(None);
            }
            Err(error) => return Err(error.into()),
        }
    }
    let stop = Stop::new();
    let mut rounds = JoinSet::new();
    let stats = Arc::new(Stats::default());
    let cluster = Cluster::start(
        &cli.cluster,
        aliases,
        faults.clone(),
        &stats,
        &mut rounds,
        &stop,
    );
    let cluster = cluster.await?;
    let app = Arc::new(App {
        counter: Counter::start(&mut rounds, faults.clone()),
        faults,
        stats,
        pairs: subjects::pairs(),
        registry: Registry::default(),
        sql,
        web: Web::default(),
        cache: Cache::default(),
        cluster,
        export: Export::default(),
        orders: Orders::start(),
        audit,
        models: Models::default(),
        workspace: cli.workspace,
        latencies: Latencies::default(),
        stop: stop.clone(),
    });
    rounds.spawn(subjects::evaluate(Arc::clone(&app)));
    let (listener, shutdown) = opening.announce()?;
    let outcome = target_kit::serve(listener, router(&app), rounds, stop, shutdown).await;
    app.stop.cancel();
    app.web.open.close();
    if tokio::time::timeout(GRACE, app.web.open.wait())
        .await
        .is_err()
    {
        tracing::info!("some clients did not take the end of their view; leaving them");
    }
    app.cluster.end().await;
    app.sql.close().await;
    outcome.map_err(anyhow::Error::from)
}

fn router(app: &Arc<App>) -> Router {
    let routes = subjects::routes()
        .merge(cluster::routes())
        .route("/health", get(health))
        .route("/phase/{phase}/stats", get(stats).delete(forget))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(Arc::clone(app));
    let delay = app.faults.clone();
    let routes = held_back(routes, move || delay.with(|faults| faults.delay));
    let routes = app.latencies.of(routes);
    routes
        .merge(app.latencies.routes())
        .merge(app.faults.routes())
}

async fn health(State(app): State<Arc<App>>) -> Response {
    let up = app.cluster.up();
    let details = [
        ("nodes".to_owned(), Value::from(app.cluster.size())),
        ("nodesUp".to_owned(), Value::from(up)),
    ];
    target_kit::health(true, Map::from_iter(details))
}

/// The number of a phase, as two digits or one.
fn phase(text: &str) -> Result<u8, crate::answer::Failure> {
    let phase = text.parse().ok().filter(|phase| *phase <= 15);
    phase.ok_or_else(|| {
        let status = StatusCode::NOT_FOUND;
        failure(status, format!("phase: got {text:?}; 00 to 15 are allowed"))
    })
}

async fn stats(State(app): State<Arc<App>>, Path(text): Path<String>) -> Answer {
    Ok(Json(app.stats.told(phase(&text)?)))
}

async fn forget(State(app): State<Arc<App>>, Path(text): Path<String>) -> Answer {
    app.stats.forget(phase(&text)?);
    Ok(Json(json!({ "ok": true })))
}
