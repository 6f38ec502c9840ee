//! Where a barrier's record is, and how it is asked.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use redis::Value;

use crate::engine::net::Hub;
use crate::error::Error;
use crate::protocol::Missing;
use crate::store::memory::MemoryStore;
use crate::store::redis::{Scripts, Search};

/// How many ids are looked at while nobody else has the store: of 10,000,000 that takes seconds, and callers must not wait.
const IDS_AT_ONCE: u32 = 1000;

/// Where a barrier's record is.
pub(super) enum Backend {
    /// In this process.
    Memory(Box<Mutex<MemoryStore>>),
    /// In Redis.
    Redis(Remote),
}

/// The way to a record in Redis.
#[derive(Clone)]
pub(super) struct Remote {
    pub(super) hub: Arc<Hub>,
    pub(super) scripts: Arc<Scripts>,
}

impl Backend {
    pub(super) const fn remote(&self) -> Option<&Remote> {
        match self {
            Self::Memory(_) => None,
            Self::Redis(remote) => Some(remote),
        }
    }

    /// Who is missing.
    pub(super) async fn missing(&self, limit: usize, timeout: Duration) -> Result<Missing, Error> {
        match self {
            Self::Memory(store) => {
                let mut missing = Missing::default();
                let mut from = Some(1);
                while let Some(first) = from {
                    from = store
                        .lock()
                        .missing_from(first, limit, IDS_AT_ONCE, &mut missing);
                    tokio::task::yield_now().await;
                }
                Ok(missing)
            }
            Self::Redis(remote) => remote.missing(limit, timeout).await,
        }
    }
}

impl Remote {
    async fn missing(&self, limit: usize, timeout: Duration) -> Result<Missing, Error> {
        let mut connection = self.hub.connection(timeout).await?;
        let mut search = Search::new(limit);
        while let Some(call) = search.next(&self.scripts) {
            let value: Value = call
                .invoke_async(&mut connection)
                .await
                .map_err(|e| self.hub.error(&e))?;
            let taken = search.take(value);
            taken.map_err(|e| Error::store(e.to_string()))?;
        }
        Ok(search.found())
    }
}
