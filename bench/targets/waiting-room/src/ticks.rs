//! Events that only count the seconds, to see how many streams a machine carries. The real system has nothing like it.
//!
//! A stream gets one event at every full second of the wall clock, with that second as its id. A stream that does not keep
//! up misses seconds instead of getting them late, so that a client can tell by the ids whether any were lost.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use target_kit::next_full_second;
use tokio::sync::watch;

use crate::app::App;

/// The last second of a stream, and the second it told before; `None` before its first event.
type Ends = Option<(u64, u64)>;

/// The last second that was told.
#[derive(Debug)]
pub(crate) struct Ticks(watch::Sender<u64>);

impl Ticks {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    /// The body of a stream that lasts for `seconds` from its first event on.
    pub(crate) fn stream(&self, seconds: u64) -> Body {
        let mut told = self.0.subscribe();
        told.mark_unchanged();
        let next = move |(mut told, ends): (watch::Receiver<u64>, Ends)| async move {
            if ends.is_some_and(|(last, previous)| previous >= last) {
                return None;
            }
            // Without a sender the server is stopping.
            told.changed().await.ok()?;
            let second = *told.borrow_and_update();
            let (last, _) = ends.unwrap_or((second + seconds.saturating_sub(1), 0));
            let frame = Bytes::from(format!("id:{second}\ndata:{second}\n\n"));
            Some((Ok::<_, Infallible>(frame), (told, Some((last, second)))))
        };
        let frames = stream::unfold((told, None), next);
        Body::from_stream(frames)
    }
}

/// Tells every full second to all streams.
pub(crate) async fn tick_rounds(app: Arc<App>) {
    loop {
        let second = next_full_second().await;
        app.ticks.0.send_replace(second);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn stream_tells_its_seconds_and_ends() {
        let ticks = Ticks::new();
        ticks.0.send_replace(6);
        let mut body = ticks.stream(3).into_data_stream();
        for second in [7, 8, 9] {
            ticks.0.send_replace(second);
            let frame = body.next().await.expect("stream goes on").expect("frame");
            assert_eq!(frame, format!("id:{second}\ndata:{second}\n\n"));
        }
        assert!(body.next().await.is_none());
    }

    #[tokio::test]
    async fn stream_that_does_not_keep_up_misses_seconds() {
        let ticks = Ticks::new();
        let mut body = ticks.stream(60).into_data_stream();
        for second in 1..=5 {
            ticks.0.send_replace(second);
        }
        let frame = body.next().await.expect("stream goes on").expect("frame");
        assert_eq!(frame, "id:5\ndata:5\n\n");
    }
}
