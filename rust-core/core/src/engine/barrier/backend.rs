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

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::super::tenant::tests::Ended;
    use super::*;
    use crate::engine::{Call, Engine, Submitted};
    use crate::ids::Participant;
    use crate::ledger::Report;
    use crate::options::BarrierOptions;

    /// Whoever calls while somebody looks for those who are missing waits for a step of that, and not for the whole search.
    #[test]
    fn calls_go_on_between_the_steps_of_a_search() {
        const PARTIES: u32 = 100 * IDS_AT_ONCE;
        let engine = Engine::new(Arc::new(Ended::default()));
        let json = format!(r#"{{"name":"many","parties":{PARTIES}}}"#);
        let options = BarrierOptions::from_json(json.as_bytes()).expect("options");
        let barrier = engine.barrier(options).expect("a barrier");
        drop(barrier.open(1));
        let mut search = pin!(barrier.backend.missing(usize::MAX, Duration::ZERO));
        let mut context = Context::from_waker(Waker::noop());
        let mut steps = 0;
        let missing = loop {
            if let Poll::Ready(missing) = search.as_mut().poll(&mut context) {
                break missing.expect("found");
            }
            steps += 1;
            // Each has been looked at by then, so that none is taken off what is found.
            let participant = Participant::new(&steps.to_string()).expect("valid");
            let call = Call::Report {
                participant,
                report: Report::Arrive { owner: steps },
                explicit: true,
            };
            let arrived = barrier.submit(call, 1 + steps);
            assert!(matches!(arrived, Submitted::Done(Ok(_))), "{arrived:?}");
        };
        assert_eq!(steps, 100);
        assert!(missing.ids.len() > 99_000, "{}", missing.ids.len());
    }
}
