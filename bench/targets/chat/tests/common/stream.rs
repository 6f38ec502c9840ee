//! A client of one stream.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::{CONDITION_LIMIT, Service};

pub struct Stream(WebSocketStream<MaybeTlsStream<TcpStream>>);

/// How a stream ended.
#[derive(Debug, PartialEq)]
pub enum Ended {
    /// With a closing frame.
    Closed(CloseCode),
    /// Without a word.
    BrokenOff,
}

impl Stream {
    /// Opens a stream, or tells with which status it was refused.
    pub async fn open(
        service: &Service,
        socket: &str,
        path: &str,
        bearer: Option<&str>,
    ) -> Result<Self, u16> {
        let url = service.url(socket, path).replacen("http", "ws", 1);
        let mut request = url.into_client_request().expect("address is valid");
        if let Some(token) = bearer {
            let value = HeaderValue::from_str(&format!("Bearer {token}"));
            let value = value.expect("token is text");
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        match connect_async(request).await {
            Ok((stream, _)) => Ok(Self(stream)),
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("{path}: {error}"),
        }
    }

    pub async fn connect(service: &Service, path: &str) -> Self {
        let stream = Self::open(service, "stream", path, None).await;
        stream.unwrap_or_else(|status| panic!("{path}: status {status}"))
    }

    pub async fn send(&mut self, frame: &Value) {
        self.send_raw(Message::text(frame.to_string())).await;
    }

    pub async fn send_raw(&mut self, frame: Message) {
        self.0.send(frame).await.expect("frame can be sent");
    }

    /// The next frame, or how the stream ended.
    pub async fn next(&mut self) -> Result<Value, Ended> {
        let next = tokio::time::timeout(CONDITION_LIMIT, self.0.next()).await;
        match next.expect("something comes") {
            Some(Ok(Message::Text(text))) => {
                Ok(serde_json::from_str(&text).expect("frame is JSON"))
            }
            Some(Ok(Message::Close(Some(frame)))) => {
                // The other side waits for the same.
                let _ = self.0.flush().await;
                Err(Ended::Closed(frame.code))
            }
            Some(Ok(other)) => panic!("unexpected frame: {other}"),
            Some(Err(_)) | None => Err(Ended::BrokenOff),
        }
    }

    pub async fn frame(&mut self) -> Value {
        self.next().await.expect("stream goes on")
    }

    /// The frames up to the first that has no `seq`, at the top or in an event.
    pub async fn reply(&mut self) -> (Vec<Value>, Value) {
        let mut chunks = Vec::new();
        loop {
            let frame = self.frame().await;
            if frame["seq"].is_null() && frame["event"]["seq"].is_null() {
                return (chunks, frame);
            }
            chunks.push(frame);
        }
    }

    /// The frames up to the end of the stream, and how it ended.
    pub async fn rest(&mut self) -> (Vec<Value>, Ended) {
        let mut frames = Vec::new();
        loop {
            match self.next().await {
                Ok(frame) => frames.push(frame),
                Err(ended) => return (frames, ended),
            }
        }
    }
}

/// The numbers of chunks.
pub fn seqs(chunks: &[Value]) -> Vec<u64> {
    let seq = |chunk: &Value| chunk["seq"].as_u64().or(chunk["event"]["seq"].as_u64());
    chunks.iter().filter_map(seq).collect()
}
