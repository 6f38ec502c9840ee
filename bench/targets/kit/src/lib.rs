//! What every reference target needs, whatever it is a reference of.
//!
//! - [`ListenArgs`], [`serve`] and [`serve_all`]: where it listens and how it says so, its signals and its orderly end;
//! - [`Switches`]: faults that are asked for at the start and changed while it runs, at `/faults`;
//! - [`Share`] and [`Percent`]: which users a fault hits, and by how much something is slower;
//! - [`Rounds`] and [`next_full_second`]: work that is done again and again;
//! - [`Latencies`]: how long its answers took, at `/latencies`; [`held_back`]: longer than they need to;
//! - [`health`]: whether it can work;
//! - `test_postgres`, a feature for tests alone: a private PostgreSQL.
//!
//! Targets depend on this crate and on nothing else of this project, nothing else depends on it, and it depends on nothing
//! of this project: a reference that shares code with what it tests proves nothing.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use clap::Parser;
//! use serde::{Deserialize, Serialize};
//! use target_kit::{FaultArgs, Latencies, ListenArgs, Share, Stop, Switches};
//! use tokio::task::JoinSet;
//!
//! #[derive(Parser)]
//! struct Cli {
//!     #[command(flatten)]
//!     listen: ListenArgs,
//!     #[command(flatten)]
//!     faults: FaultArgs,
//! }
//!
//! #[derive(Debug, Clone, Default, Serialize, Deserialize)]
//! #[serde(rename_all = "kebab-case")]
//! struct Faults {
//!     fail_logins: Share,
//! }
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! target_kit::log_to_stderr();
//! let cli = Cli::parse();
//! let faults = Switches::new(cli.faults.applied_to(&Faults::default())?);
//! let opening = cli.listen.open().await?;
//! let latencies = Latencies::default();
//! let router = latencies
//!     .of(Router::new().route("/greeting", get(|| async { "hello" })))
//!     .merge(latencies.routes())
//!     .merge(faults.routes());
//! let (listener, shutdown) = opening.announce()?;
//! target_kit::serve(listener, router, JoinSet::new(), Stop::new(), shutdown).await?;
//! # Ok(())
//! # }
//! ```

mod answers;
mod latencies;
pub mod millis;
mod rounds;
mod serve;
mod share;
mod start;
mod switches;
#[cfg(feature = "test-postgres")]
pub mod test_postgres;

pub use answers::{health, held_back, in_time};
pub use latencies::Latencies;
pub use rounds::{Rounds, next_full_second};
pub use serve::{GRACE, ServeError, serve, serve_all};
pub use share::{Percent, PercentError, Share, ShareError};
pub use start::{ListenArgs, ListenError, Opening, exit, log_to_stderr};
pub use switches::{FaultArgs, SwitchError, Switches};
pub use tokio_util::sync::CancellationToken as Stop;
