//! The running service: what its parts share, its start and its end.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use target_kit::{GRACE, Latencies, ServeError, Stop, Switches};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use crate::accounts::Accounts;
use crate::faults::Shares;
use crate::metrics::Metrics;
use crate::pace::Pace;
use crate::stream::Text;
use crate::{Config, Faults, http, pace};

/// What the parts share.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) accounts: Accounts,
    pub(crate) text: Text,
    pub(crate) pace: Pace,
    pub(crate) metrics: Metrics,
    pub(crate) faults: Switches<Faults>,
    pub(crate) shares: Shares,
    pub(crate) latencies: Latencies,
    pub(crate) files: Numbers,
    pub(crate) analyses: Numbers,
    pub(crate) datasets: Numbers,
    pub(crate) streams: TaskTracker,
    pub(crate) stop: Stop,
}

impl App {
    /// The pace of the loop over the last full second, or the one that is told in its place, unless none is to be told.
    pub(crate) fn hz(&self) -> Option<f64> {
        let (told, wrong) = self.faults.with(|faults| (!faults.no_hz, faults.gauge_hz));
        let wrong = wrong.map(|pace| f64::from(u32::from(pace)));
        told.then(|| wrong.unwrap_or_else(|| self.pace.hz()))
    }
}

/// Hands out the numbers 1, 2, 3 …, so that what has a number needs no memory.
#[derive(Debug, Default)]
pub(crate) struct Numbers(AtomicU64);

impl Numbers {
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Whether a text is this word, a hyphen and a number that was handed out.
    pub(crate) fn has(&self, word: &str, text: &str) -> bool {
        let number = text
            .strip_prefix(word)
            .and_then(|rest| rest.strip_prefix('-'));
        let number = number.and_then(|number| number.parse().ok());
        number.is_some_and(|number| (1..=self.count()).contains(&number))
    }
}

/// Where a chat service listens.
#[derive(Debug)]
pub struct Sockets {
    /// The API.
    pub api: TcpListener,
    /// Streams; all of these are alike.
    pub streams: Vec<TcpListener>,
    /// The part of the research platform that analyses.
    pub consciousness: Option<TcpListener>,
    /// The part of the research platform that takes data.
    pub research: Option<TcpListener>,
}

/// A chat service whose loop runs, and which waits to be given its sockets.
pub struct ChatService {
    app: Arc<App>,
    rounds: JoinSet<()>,
}

impl ChatService {
    /// Starts the loop, and waits for its first full second, so that there is a pace to tell from the first request on.
    pub async fn start(config: Config) -> Self {
        let app = Arc::new(App {
            accounts: Accounts::with_tokens(&config.tokens),
            text: Text::new(config.reply.chunks),
            pace: Pace::default(),
            metrics: Metrics::default(),
            faults: Switches::new(config.faults.clone()),
            shares: Shares::default(),
            latencies: Latencies::default(),
            files: Numbers::default(),
            analyses: Numbers::default(),
            datasets: Numbers::default(),
            streams: TaskTracker::new(),
            stop: Stop::new(),
            config,
        });
        let mut rounds = JoinSet::new();
        rounds.spawn(pace::run(Arc::clone(&app)));
        app.pace.first_second().await;
        Self { app, rounds }
    }

    /// Serves until `shutdown` completes. Then all streams are closed with the code 1001 (going away), and have 1.5 s for it.
    ///
    /// # Errors
    ///
    /// If a socket fails or the loop panics.
    pub async fn serve(
        self,
        sockets: Sockets,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServeError> {
        let Self { app, rounds } = self;
        let mut served = vec![(sockets.api, http::api(&app))];
        for listener in sockets.streams {
            served.push((listener, http::streams(&app)));
        }
        if let Some(listener) = sockets.consciousness {
            served.push((listener, http::consciousness(&app)));
        }
        if let Some(listener) = sockets.research {
            served.push((listener, http::research(&app)));
        }
        let outcome = target_kit::serve_all(served, rounds, app.stop.clone(), shutdown).await;
        // Where a socket failed, nobody has told the streams yet.
        app.stop.cancel();
        app.streams.close();
        if tokio::time::timeout(GRACE, app.streams.wait())
            .await
            .is_err()
        {
            tracing::info!("some clients did not take the end of their stream; leaving them");
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_that_were_handed_out_are_known() {
        let files = Numbers::default();
        assert!(!files.has("file", "file-1"));
        assert_eq!((files.next(), files.next()), (1, 2));
        assert!(files.has("file", "file-1") && files.has("file", "file-2"));
        for unknown in [
            "file-0", "file-3", "file-", "file1", "1", "data-1", "file--1",
        ] {
            assert!(!files.has("file", unknown), "{unknown}");
        }
    }
}
