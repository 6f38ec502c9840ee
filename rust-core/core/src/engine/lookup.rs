//! What host names stand for: asked of the host before every connection where it knows better than the system.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::oneshot;

use crate::address::HostPort;
use crate::ledger::Token;

use super::{Emission, Shared, lock};

/// Tokens of questions to the host have this bit, those of its own calls have not.
pub(crate) const QUESTION: u64 = 1 << 63;

/// Questions on their way to the host.
#[derive(Default)]
pub(crate) struct Lookups {
    next: AtomicU64,
    asked: Mutex<HashMap<Token, oneshot::Sender<Result<SocketAddr, String>>>>,
}

impl Lookups {
    /// Takes the host's answer; one to an unknown question, or a second one, is ignored.
    pub(crate) fn answer(&self, token: Token, answer: Result<SocketAddr, String>) {
        if let Some(asked) = lock(&self.asked).remove(&token) {
            let _ = asked.send(answer);
        }
    }
}

/// Forgets a question whose asker has gone.
struct Question<'a>(&'a Lookups, Token);

impl Drop for Question<'_> {
    fn drop(&mut self) {
        lock(&self.0.asked).remove(&self.1);
    }
}

impl Shared {
    /// The addresses of a host, at least one. Cancel-safe.
    pub(super) async fn lookup(&self, at: &HostPort) -> Result<Vec<SocketAddr>, String> {
        if self.host_resolves {
            let token = QUESTION | self.lookups.next.fetch_add(1, Ordering::Relaxed);
            let (answer, answered) = oneshot::channel();
            lock(&self.lookups.asked).insert(token, answer);
            let _question = Question(&self.lookups, token);
            self.sink.emit(&mut vec![Emission::Resolve {
                token,
                host: at.to_string(),
            }]);
            let found = answered
                .await
                .unwrap_or_else(|_| Err("the host is gone".into()));
            return found
                .map(|addr| vec![addr])
                .map_err(|why| format!("the address {at} could not be resolved: {why}"));
        }
        if let Ok(ip) = at.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, at.port)]);
        }
        let found = tokio::net::lookup_host((at.host.as_str(), at.port)).await;
        let found: Vec<_> = found
            .map_err(|e| format!("the address {at} could not be resolved: {e}"))?
            .collect();
        if found.is_empty() {
            return Err(format!(
                "the address {at} could not be resolved: it has none"
            ));
        }
        Ok(found)
    }
}
