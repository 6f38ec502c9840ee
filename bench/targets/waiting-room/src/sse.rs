//! The bytes on a stream: messages as the real system writes them, and the body that carries them.
//!
//! Lines end in LF, no space follows the colon, there are no `id:` or `event:` lines, and an empty line ends a message.

use std::collections::VecDeque;
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

/// What is put on a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A message, whole.
    Bytes(Bytes),
    /// The stream breaks off here.
    Cut,
}

/// The first message of a stream.
pub(crate) fn greeting(text: &str, user: &str) -> Bytes {
    Bytes::from(format!("data:{text} userId:{user}\n\n"))
}

/// A message of a stream. One that is a JSON string already has its prefix twice.
pub(crate) fn framed(text: &str) -> Bytes {
    let again = if text.starts_with('"') { "data:" } else { "" };
    Bytes::from(format!("data:{again}{text}\n\n"))
}

/// The three chunks in which the real system sends a message; a comment comes whole.
fn chunks(message: &Bytes) -> Vec<Bytes> {
    const PREFIX: &[u8] = b"data:";
    if !message.starts_with(PREFIX) {
        return vec![message.clone()];
    }
    let end = message.len() - 1;
    let parts = [0..PREFIX.len(), PREFIX.len()..end, end..message.len()];
    parts.map(|part| message.slice(part)).into()
}

/// Writes what users are told of their place. The order of JSON keys is drawn once per start, as it varies between starts of the real system.
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

    /// `order` counts from 1.
    pub(crate) fn position(&self, user: &str, event: &str, order: u64) -> Arc<str> {
        self.message(&[
            ("userId", json_text(user)),
            ("eventId", json_text(event)),
            ("status", json_text("IN_ENTRY")),
            ("order", order.to_string()),
        ])
    }

    pub(crate) fn promotion(&self, user: &str, event: &str, token: &str) -> Arc<str> {
        self.message(&[
            ("userId", json_text(user)),
            ("eventId", json_text(event)),
            ("status", json_text("IN_PROGRESS")),
            ("token", json_text(token)),
        ])
    }

    fn message(&self, fields: &[(&str, String); 4]) -> Arc<str> {
        let pairs = self.key_order.map(|index| {
            let (name, value) = &fields[index];
            format!("\"{name}\":{value}")
        });
        let json = format!("{{{}}}", pairs.join(","));
        if self.faults.with(|faults| faults.double_encode) {
            json_text(&json).into()
        } else {
            json.into()
        }
    }
}

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The body of one stream.
pub(crate) struct EventStream {
    pub(crate) frames: mpsc::Receiver<Frame>,
    /// The number of the user who holds it.
    pub(crate) user: u32,
    pub(crate) cut_after: Duration,
    pub(crate) silence: Arc<Silence>,
    pub(crate) stop: Stop,
    /// Messages come in three chunks.
    pub(crate) chunks: bool,
    /// Chunks that follow the one that was sent last.
    pub(crate) rest: VecDeque<Bytes>,
    pub(crate) cut: bool,
}

impl EventStream {
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
        if let Some(chunk) = self.rest.pop_front() {
            // What came before is written meanwhile, by itself.
            tokio::task::yield_now().await;
            return Some(Ok(chunk));
        }
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                // Without a sender the connection was given up elsewhere: the stream falls silent but stays open.
                Some(frame) = self.frames.recv() => return Some(match frame {
                    Frame::Cut => {
                        // What came before is written first.
                        tokio::task::yield_now().await;
                        self.cut(io::ErrorKind::ConnectionAborted, "stream was cut on purpose")
                    }
                    Frame::Bytes(message) if self.chunks => {
                        self.rest = chunks(&message).into();
                        Ok(self.rest.pop_front().unwrap_or_default())
                    }
                    Frame::Bytes(message) => Ok(message),
                }),
                () = tokio::time::sleep(self.cut_after) => {
                    if !self.silence.covers(self.user) {
                        return Some(self.cut(io::ErrorKind::TimedOut, "stream was silent for too long"));
                    }
                }
            }
        }
    }

    fn cut(&mut self, kind: io::ErrorKind, why: &str) -> io::Result<Bytes> {
        self.cut = true;
        Err(io::Error::new(kind, why))
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
            framed(&encoder(false).position("acc-1", "e1", 1)),
            "data:{\"userId\":\"acc-1\",\"eventId\":\"e1\",\"status\":\"IN_ENTRY\",\"order\":1}\n\n"
        );
        assert_eq!(
            framed(&encoder(false).promotion("acc-1", "e1", "eyJ")),
            "data:{\"userId\":\"acc-1\",\"eventId\":\"e1\",\"status\":\"IN_PROGRESS\",\"token\":\"eyJ\"}\n\n"
        );
        assert_eq!(
            greeting("connected,", "acc-1"),
            "data:connected, userId:acc-1\n\n"
        );
    }

    #[test]
    fn double_encoding_is_undone_by_removing_prefix_quotes_and_escapes() {
        let frame = framed(&encoder(true).position("acc-1", "e1", 3));
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
            let encoder = Encoder {
                key_order,
                ..encoder(false)
            };
            let json = encoder.position("acc-1", "e\"\n1", 2);
            serde_json::from_str::<serde_json::Value>(&json).expect("message is JSON")
        };
        assert_eq!(object([3, 1, 0, 2]), object([0, 1, 2, 3]));
    }

    fn event_stream(cut_after: Duration) -> (mpsc::Sender<Frame>, EventStream) {
        let (sender, frames) = mpsc::channel(BACKLOG);
        let stream = EventStream {
            frames,
            user: 1,
            cut_after,
            silence: Arc::new(Silence::new(Switches::default())),
            stop: Stop::new(),
            chunks: false,
            rest: VecDeque::new(),
            cut: false,
        };
        (sender, stream)
    }

    #[tokio::test(start_paused = true)]
    async fn stream_without_a_sender_stays_open_until_it_is_cut() {
        let cut_after = Duration::from_secs(30);
        let (sender, mut stream) = event_stream(cut_after);
        let frame = Frame::Bytes(HEARTBEAT);
        sender.try_send(frame).expect("stream has room");
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
        let (_sender, mut stream) = event_stream(Duration::from_secs(30));
        stream.stop.cancel();
        assert!(stream.next().await.is_none());
    }

    #[test]
    fn chunks_are_the_message() {
        let message = framed("{}");
        assert_eq!(chunks(&message), ["data:", "{}\n", "\n"]);
        assert_eq!(chunks(&HEARTBEAT), [HEARTBEAT]);
    }
}
