//! The pool of connections, whose size can be changed while it is in use.

use std::num::NonZeroU32;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context as _;
use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnectOptions, Postgres};
use sqlx::{Connection as _, PgConnection, PgPool};

/// Longer nobody waits for a connection: the answer would help nobody.
const WAIT_LIMIT: Duration = Duration::from_secs(30);
/// How long the first connection may take.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Where a database is. It does not show its password.
#[derive(Debug, Clone)]
pub(crate) struct Reach(pub(crate) PgConnectOptions);

/// A pool whose size can be changed. Who has a connection of the old size keeps it to the end of what it does.
pub(crate) struct Pool {
    reach: Reach,
    // A std lock: it is held for a copy, without an await.
    current: RwLock<PgPool>,
}

/// Makes the table of a database, unless it is there.
pub(crate) async fn make_table(reach: &Reach) -> anyhow::Result<()> {
    let place = format!(
        "{}:{}/{}",
        reach.0.get_host(),
        reach.0.get_port(),
        reach.0.get_database().unwrap_or("(none)")
    );
    let connecting = async {
        // Not by the pool, which would try again and again where nobody is.
        let mut connection = PgConnection::connect_with(&reach.0).await?;
        super::make_schema(&mut connection).await?;
        connection.close().await
    };
    tokio::time::timeout(START_LIMIT, connecting)
        .await
        .with_context(|| format!("the database at {place} did not answer in {START_LIMIT:?}"))?
        .with_context(|| format!("preparing the database at {place}"))
}

impl Pool {
    /// Connects, and makes the table unless it is there.
    pub(crate) async fn open(reach: Reach, size: NonZeroU32) -> anyhow::Result<Self> {
        make_table(&reach).await?;
        Ok(Self {
            current: RwLock::new(of_size(&reach, size)),
            reach,
        })
    }

    /// The pool as it is now. It is cheap; ask again for each piece of work.
    pub(crate) fn get(&self) -> PgPool {
        // No code that holds the lock can leave half a pool.
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }

    /// Makes it as big as this from now on.
    pub(crate) fn resize(&self, size: NonZeroU32) {
        if self.get().options().get_max_connections() == size.get() {
            return;
        }
        let new = of_size(&self.reach, size);
        let old = {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, new)
        };
        tokio::spawn(async move { old.close().await });
    }

    /// Connections that are open, that of them are not in use, and that there may be.
    pub(crate) fn counts(&self) -> Counts {
        let pool = self.get();
        Counts {
            size: pool.size(),
            idle: u32::try_from(pool.num_idle()).unwrap_or(u32::MAX),
            most: pool.options().get_max_connections(),
        }
    }

    /// Waits until all connections are closed.
    pub(crate) async fn close(&self) {
        self.get().close().await;
    }
}

/// How a pool is used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) size: u32,
    pub(crate) idle: u32,
    pub(crate) most: u32,
}

fn of_size(reach: &Reach, size: NonZeroU32) -> PgPool {
    let options: PoolOptions<Postgres> = PoolOptions::new()
        .max_connections(size.get())
        .acquire_timeout(WAIT_LIMIT)
        // A connection that has gone is noticed by what is asked of it; asking twice would double the load.
        .test_before_acquire(false);
    options.connect_lazy_with(reach.0.clone())
}
