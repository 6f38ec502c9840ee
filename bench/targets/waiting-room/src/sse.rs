//! The bytes on a stream: messages as the real system writes them, and the body that carries them.
//!
//! Lines end in LF, no space follows the colon, there are no `id:` or `event:` lines, and an empty line ends a message.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use rand::seq::SliceRandom;
use target_kit::{Stop, Switches};
use tokio::sync::mpsc;

use crate::faults::{Faults, Silence};

/// Messages that may wait for one stream. A stream further behind counts as broken: its client stopped reading long
/// ago, since the sockets hold some minutes' worth on top of this.
pub(crate) const BACKLOG: usize = 16;

/// The heartbeat, a comment.
pub(crate) const HEARTBEAT: Bytes = Bytes::from_static(b":heartBeat\n\n");

/// Writes messages. The order of JSON keys is drawn once per start, as it varies between starts of the real system.
#[derive(Debug, Clone)]
pub(crate) struct Encoder {
    key_order: [usize; 4],
    faults: Switches<Faults>,
}

impl Encoder {
    pub(crate) fn new(faults: Switches<Faults>) -> Self {
        let mut key_order = [0, 1, 2, 3];
        key_order.shuffle(&mut rand::rng());
        Self { key_order, faults }
    }

    pub(crate) fn greeting(user: &str) -> Bytes {
        Bytes::from(format!("data:connected, userId:{user}\n\n"))
    }

    /// `order` counts from 1.
    pub(crate) fn position(&self, user: &str, event: &str, order: u64) -> Bytes {
        self.message(&[
            ("userId", json_text(user)),
            ("eventId", json_text(event)),
            ("status", json_text("IN_ENTRY")),
            ("order", order.to_string()),
        ])
    }

    pub(crate) fn promotion(&self, user: &str, event: &str, token: &str) -> Bytes {
        self.message(&[
            ("userId", json_text(user)),
            ("eventId", json_text(event)),
            ("status", json_text("IN_PROGRESS")),
            ("token", json_text(token)),
        ])
    }

    fn message(&self, fields: &[(&str, String); 4]) -> Bytes {
        let pairs = self.key_order.map(|index| {
            let (name, value) = &fields[index];
            format!("\"{name}\":{value}")
        });
        let json = format!("{{{}}}", pairs.join(","));
        Bytes::from(if self.faults.with(|faults| faults.double_encode) {
            format!("data:data:{}\n\n", json_text(&json))
        } else {
            format!("data:{json}\n\n")
        })
    }
}

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The body of one stream.
pub(crate) struct EventStream {
    frames: mpsc::Receiver<Bytes>,
    cut_after: Duration,
    silence: Arc<Silence>,
    stop: Stop,
    cut: bool,
}

impl EventStream {
    pub(crate) fn new(
        frames: mpsc::Receiver<Bytes>,
        cut_after: Duration,
        silence: Arc<Silence>,
        stop: Stop,
    ) -> Self {
        Self {
            frames,
            cut_after,
            silence,
            stop,
            cut: false,
        }
    }

    /// The stream ends when the server stops, and breaks off after `cut_after` without a message.
    pub(crate) fn into_body(self) -> Body {
        let frames: Pin<Box<dyn stream::Stream<Item = io::Result<Bytes>> + Send>> =
            Box::pin(stream::unfold(self, |mut stream| async move {
                let frame = stream.next().await?;
                Some((frame, stream))
            }));
        Body::from_stream(frames)
    }

    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.cut {
            return None;
        }
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                // Without a sender the connection was given up elsewhere: the stream falls silent but stays open.
                Some(frame) = self.frames.recv() => return Some(Ok(frame)),
                () = tokio::time::sleep(self.cut_after) => {
                    if self.silence.reached() {
                        continue;
                    }
                    self.cut = true;
                    return Some(Err(io::Error::new(io::ErrorKind::TimedOut, "stream was silent for too long")));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoder(double_encode: bool) -> Encoder {
        Encoder {
            key_order: [0, 1, 2, 3],
            faults: Switches::new(Faults {
                double_encode,
                ..Faults::default()
            }),
        }
    }

    #[test]
    fn messages_have_the_given_bytes() {
        assert_eq!(
            encoder(false).position("acc-1", "e1", 1),
            "data:{\"userId\":\"acc-1\",\"eventId\":\"e1\",\"status\":\"IN_ENTRY\",\"order\":1}\n\n"
        );
        assert_eq!(
            encoder(false).promotion("acc-1", "e1", "eyJ"),
            "data:{\"userId\":\"acc-1\",\"eventId\":\"e1\",\"status\":\"IN_PROGRESS\",\"token\":\"eyJ\"}\n\n"
        );
        assert_eq!(
            Encoder::greeting("acc-1"),
            "data:connected, userId:acc-1\n\n"
        );
    }

    #[test]
    fn double_encoding_is_undone_by_removing_prefix_quotes_and_escapes() {
        let frame = encoder(true).position("acc-1", "e1", 3);
        let text = std::str::from_utf8(&frame).expect("frame is text");
        let data = text
            .strip_prefix("data:")
            .and_then(|rest| rest.strip_suffix("\n\n"));
        let data = data
            .and_then(|data| data.strip_prefix("data:"))
            .expect("prefix is doubled");
        let inner = data
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        assert_eq!(
            inner.expect("JSON is quoted").replace("\\\"", "\""),
            r#"{"userId":"acc-1","eventId":"e1","status":"IN_ENTRY","order":3}"#
        );
    }

    #[test]
    fn any_key_order_is_the_same_object() {
        let object = |key_order| {
            let frame = Encoder {
                key_order,
                ..encoder(false)
            }
            .position("acc-1", "e\"\n1", 2);
            let json = frame
                .strip_prefix(b"data:")
                .expect("frame has data")
                .to_vec();
            serde_json::from_slice::<serde_json::Value>(&json).expect("data is JSON")
        };
        assert_eq!(object([3, 1, 0, 2]), object([0, 1, 2, 3]));
    }

    #[tokio::test(start_paused = true)]
    async fn stream_without_a_sender_stays_open_until_it_is_cut() {
        let (sender, frames) = mpsc::channel(BACKLOG);
        let silence = Arc::new(Silence::new(Switches::default()));
        let cut_after = Duration::from_secs(30);
        let mut stream = EventStream::new(frames, cut_after, silence, Stop::new());
        sender.try_send(HEARTBEAT).expect("stream has room");
        drop(sender);
        let started = tokio::time::Instant::now();
        assert_eq!(
            stream
                .next()
                .await
                .expect("a frame waits")
                .expect("frame is good"),
            HEARTBEAT
        );
        let cut = stream.next().await.expect("the cut is reported");
        assert_eq!(
            cut.expect_err("the cut is an error").kind(),
            io::ErrorKind::TimedOut
        );
        assert_eq!(started.elapsed(), cut_after);
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn stop_ends_a_silent_stream() {
        let (_sender, frames) = mpsc::channel(BACKLOG);
        let silence = Arc::new(Silence::new(Switches::default()));
        let stop = Stop::new();
        let mut stream = EventStream::new(frames, Duration::from_secs(30), silence, stop.clone());
        stop.cancel();
        assert!(stream.next().await.is_none());
    }
}
