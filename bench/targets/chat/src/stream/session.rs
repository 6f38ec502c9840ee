//! One stream: what comes in, what goes out, and when.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Error;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use prometheus_client::metrics::gauge::Gauge;
use target_kit::GRACE;
use tokio::time::Instant;

use super::Dialect;
use super::dialect::{Asked, BadFrame, Heard};
use crate::app::App;
use crate::metrics::Way;

/// Longer frames are not read.
const FRAME_LIMIT: usize = 16 * 1024;

/// Messages that wait for the reply before theirs; more are answered with an error.
const WAITING_LIMIT: usize = 16;

/// The code of the error frames that `error-share` asks for.
const ASKED_FOR: &str = "unavailable";

/// A stream that is open, on the side of the service.
pub(crate) struct Session {
    app: Arc<App>,
    dialect: Dialect,
    waiting: VecDeque<Asked>,
    reply: Option<Reply>,
    /// Whether this stream breaks off in the middle of its first reply; decided when that begins.
    cut: Option<bool>,
}

/// A reply that is under way.
struct Reply {
    asked: Asked,
    /// The number of the next chunk.
    seq: u32,
    /// When it is due.
    due: Instant,
    /// The chunk that gets lost.
    dropped: Option<u32>,
    /// The chunk in place of which the stream breaks off.
    cut: Option<u32>,
}

/// Why a stream is over.
enum End {
    /// The client went away, or does not take what it is sent.
    Gone,
    /// The service stops.
    Stopped,
    /// It was to break off.
    Cut,
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        tracing::debug!(%error, "a stream broke");
        Self::Gone
    }
}

/// One of the open streams, for as long as it is there.
struct Open(Gauge);

impl Open {
    fn new(open: &Gauge) -> Self {
        open.inc();
        Self(open.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Session {
    pub(crate) fn new(app: Arc<App>, dialect: Dialect) -> Self {
        Self {
            app,
            dialect,
            waiting: VecDeque::new(),
            reply: None,
            cut: None,
        }
    }

    /// Speaks with the client until one of both ends it. There is no limit to how long a client may be silent.
    pub(crate) async fn run(mut self, mut socket: WebSocket) {
        let _open = Open::new(&self.app.metrics.open);
        let Err(end) = self.speak(&mut socket).await;
        match end {
            End::Gone => {}
            // Without a closing frame, as if the service had died.
            End::Cut => {
                self.app.metrics.cut.inc();
            }
            End::Stopped => {
                let farewell = close(&mut socket);
                let _ = tokio::time::timeout(GRACE, farewell).await;
            }
        }
    }

    async fn speak(&mut self, socket: &mut WebSocket) -> Result<Infallible, End> {
        if self.dialect.begins() {
            self.hear(socket, Asked { id: None }).await?;
        }
        loop {
            self.next(socket).await?;
        }
    }

    /// The next thing that happens.
    async fn next(&mut self, socket: &mut WebSocket) -> Result<(), End> {
        if self.reply.is_none()
            && let Some(asked) = self.waiting.pop_front()
        {
            self.reply = Some(self.begin(asked));
        }
        let due = self.reply.as_ref().map(|reply| reply.due);
        let stop = self.app.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(End::Stopped),
            () = until(due) => self.go_on(socket).await,
            frame = socket.recv() => match frame {
                None => Err(End::Gone),
                Some(Err(error)) => Err(error.into()),
                Some(Ok(frame)) => self.take(socket, frame).await,
            },
        }
    }

    async fn take(&mut self, socket: &mut WebSocket, frame: Message) -> Result<(), End> {
        let heard = match frame {
            Message::Text(text) => {
                self.app.metrics.frame(Way::IN);
                self.read(&text)
            }
            Message::Binary(_) => Err(BadFrame::new("not_text", "expected a text frame")),
            // Answered by the library, the end of the stream included.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => return Ok(()),
        };
        match heard {
            Ok(Heard::Message(asked)) => self.hear(socket, asked).await,
            Ok(Heard::Token(_)) => Ok(()),
            Err(bad) => {
                self.app.metrics.bad_frames.inc();
                let error = self.dialect.error(bad.id.as_ref(), bad.code, &bad.text);
                self.send(socket, error).await
            }
        }
    }

    fn read(&self, text: &Utf8Bytes) -> Result<Heard, BadFrame> {
        if text.len() > FRAME_LIMIT {
            let text = format!("got {} bytes; allowed are {FRAME_LIMIT}", text.len());
            return Err(BadFrame::new("too_long", text));
        }
        let heard = self.dialect.read(text)?;
        match &heard {
            Heard::Token(token)
                if self.app.config.require_token && !self.app.accounts.knows(token) =>
            {
                Err(BadFrame::new("bad_token", "the token is not known"))
            }
            Heard::Message(asked) if self.waiting.len() >= WAITING_LIMIT => Err(BadFrame {
                id: asked.id.clone(),
                code: "too_many",
                text: format!("{WAITING_LIMIT} messages are waiting for their replies"),
            }),
            _ => Ok(heard),
        }
    }

    /// A message that asks for a reply.
    async fn hear(&mut self, socket: &mut WebSocket, asked: Asked) -> Result<(), End> {
        self.app.metrics.messages.inc();
        let share = self.app.faults.with(|faults| faults.error_share);
        if self.app.shares.errors.hits(share) {
            self.app.metrics.errors.inc();
            let text = "the reply fails because the fault error-share is on";
            let error = self.dialect.error(asked.id.as_ref(), ASKED_FOR, text);
            return self.send(socket, error).await;
        }
        self.waiting.push_back(asked);
        Ok(())
    }

    fn begin(&mut self, asked: Asked) -> Reply {
        let (drop_chunk, cut_share, delay) = self
            .app
            .faults
            .with(|faults| (faults.drop_chunk, faults.cut_share, faults.chunk_delay));
        let shares = &self.app.shares;
        let first_reply = self.cut.is_none();
        let cut = *self.cut.get_or_insert_with(|| shares.cut.hits(cut_share));
        let middle = self.app.config.reply.chunks.get() / 2;
        Reply {
            asked,
            seq: 0,
            due: later(Instant::now(), self.app.config.reply.first, delay),
            dropped: shares.dropped.hits(drop_chunk).then_some(middle),
            cut: (first_reply && cut).then_some(middle),
        }
    }

    /// The next chunk is due, or the end.
    async fn go_on(&mut self, socket: &mut WebSocket) -> Result<(), End> {
        let Some(mut reply) = self.reply.take() else {
            return Ok(());
        };
        let app = Arc::clone(&self.app);
        let seq = reply.seq;
        if reply.cut == Some(seq) {
            return Err(End::Cut);
        }
        if reply.dropped == Some(seq) {
            app.metrics.dropped.inc();
        } else {
            let text = app.text.chunk(seq);
            let chunk = self.dialect.chunk(&reply.asked, seq, text, app.hz());
            self.send(socket, chunk).await?;
            app.metrics.chunks.inc();
        }
        if let Some(beside) = self.dialect.beside(seq) {
            self.send(socket, beside).await?;
        }
        reply.seq += 1;
        let chunks = app.config.reply.chunks.get();
        if reply.seq < chunks {
            let delay = app.faults.with(|faults| faults.chunk_delay);
            reply.due = later(reply.due, app.config.reply.interval, delay);
            self.reply = Some(reply);
            return Ok(());
        }
        let whole = app.text.whole();
        let done = self.dialect.done(&reply.asked, chunks, whole, app.hz());
        self.send(socket, done).await?;
        app.metrics.replies.inc();
        Ok(())
    }

    /// Sends a frame. A client that takes nothing does not hold up the end of the service.
    async fn send(&self, socket: &mut WebSocket, frame: String) -> Result<(), End> {
        let stop = self.app.stop.clone();
        tokio::select! {
            sent = socket.send(Message::Text(frame.into())) => sent?,
            () = stop.cancelled() => return Err(End::Stopped),
        }
        self.app.metrics.frame(Way::OUT);
        Ok(())
    }
}

/// Ends a stream in order, and waits for the client to agree.
async fn close(socket: &mut WebSocket) {
    let farewell = CloseFrame {
        code: close_code::AWAY,
        reason: "the service stops".into(),
    };
    if socket.send(Message::Close(Some(farewell))).await.is_ok() {
        while let Some(Ok(_)) = socket.recv().await {}
    }
}

/// Waits for a time; for ever where there is none.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// A time that is later by two durations. One that is too far away to be told is as far as a day.
fn later(from: Instant, by: Duration, and: Duration) -> Instant {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    from.checked_add(by.saturating_add(and))
        .unwrap_or_else(|| from + DAY)
}
