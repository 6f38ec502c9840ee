//! What host names stand for: asked of the host before every connection where it knows better than the system.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::address::HostPort;
use crate::engine::news::{Emission, Resolved, Sink};
use crate::ledger::Token;

/// Tokens of questions to the host have this bit, those of its own calls have not.
const QUESTION: u64 = 1 << 63;

/// Looks names up, as the system does or as the host says.
#[derive(Default)]
pub(crate) struct Resolver {
    host: Option<Arc<dyn Sink>>,
    next: AtomicU64,
    asked: Mutex<HashMap<Token, oneshot::Sender<Resolved>>>,
}

/// Forgets a question whose asker has gone.
struct Question<'a>(&'a Resolver, Token);

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.0.asked.lock().remove(&self.1);
    }
}

impl Resolver {
    /// Asks this host.
    pub(crate) fn of_host(host: Arc<dyn Sink>) -> Self {
        Self {
            host: Some(host),
            ..Self::default()
        }
    }

    /// Takes the host's answer; one to an unknown question, or a second one, is ignored.
    pub(crate) fn answer(&self, token: Token, answer: Resolved) {
        if let Some(asked) = self.asked.lock().remove(&token) {
            let _ = asked.send(answer);
        }
    }

    /// The addresses of a host, at least one. Cancel-safe.
    pub(crate) async fn lookup(&self, at: &HostPort) -> Result<Vec<SocketAddr>, String> {
        let failed = |why: String| format!("the address {at} could not be resolved: {why}");
        if let Some(host) = &self.host {
            let addr = self.ask(host, at).await.map_err(failed)?;
            return Ok(vec![addr]);
        }
        if let Ok(ip) = at.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, at.port)]);
        }
        let found = tokio::net::lookup_host((at.host.as_str(), at.port)).await;
        let found: Vec<_> = found.map_err(|e| failed(e.to_string()))?.collect();
        if found.is_empty() {
            return Err(failed("it has none".into()));
        }
        Ok(found)
    }

    async fn ask(&self, host: &Arc<dyn Sink>, at: &HostPort) -> Resolved {
        let token = QUESTION | self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.asked.lock().insert(token, answer);
        let _question = Question(self, token);
        host.emit(&mut vec![Emission::Resolve {
            token,
            host: at.to_string(),
        }]);
        answered
            .await
            .unwrap_or_else(|_| Err("the host is gone".into()))
    }
}
