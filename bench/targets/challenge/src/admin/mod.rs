//! What service and handler are asked by those who watch them: profiles, and the state of the pool.

mod profiles;

use std::future::Future;
use std::num::NonZeroU32;

use axum::http::HeaderName;
use axum::http::header::CONTENT_TYPE;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde::Serialize;
use serde::de::DeserializeOwned;
use target_kit::Switches;

pub(crate) use profiles::routes as profiles;

use crate::database::Counts;

/// What metrics are.
pub(crate) const METRICS: [(HeaderName, &str); 1] = [(
    CONTENT_TYPE,
    "application/openmetrics-text; version=1.0.0; charset=utf-8",
)];

/// How the pool of connections is used, as metrics.
pub(crate) struct PoolGauges {
    size: Gauge,
    idle: Gauge,
    used: Gauge,
    most: Gauge,
}

impl PoolGauges {
    /// Registers them.
    pub(crate) fn of(registry: &mut Registry) -> Self {
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        Self {
            size: gauge("pool_connections", "Connections to the database"),
            idle: gauge("pool_connections_idle", "Those of them that nobody uses"),
            used: gauge("pool_connections_used", "Those of them that somebody uses"),
            most: gauge("pool_connections_max", "How many there may be"),
        }
    }

    /// Takes over how it is now.
    pub(crate) fn set(&self, counts: Counts) {
        self.size.set(counts.size.into());
        self.idle.set(counts.idle.into());
        self.used
            .set(counts.size.saturating_sub(counts.idle).into());
        self.most.set(counts.most.into());
    }
}

/// Never ends: calls `resize` with what the switches say about the size of the pool, now and at each change.
pub(crate) fn resized<S>(
    faults: &Switches<S>,
    size: impl Fn(&S) -> Option<NonZeroU32> + Send + 'static,
    resize: impl Fn(Option<NonZeroU32>) + Send + 'static,
) -> impl Future<Output = ()> + Send + 'static
where
    S: Default + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let (mut changes, kept) = (faults.changes(), faults.clone());
    async move {
        loop {
            resize(kept.with(&size));
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
