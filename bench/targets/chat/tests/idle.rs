//! A client that says nothing, by the service's own clock.

mod common;

use std::time::Duration;

use chat_service::{ChatService, Config, Sockets};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test(start_paused = true)]
async fn a_stream_may_be_silent_before_its_first_message() {
    let mut config = Config::default();
    // The clock goes from one tick to the next: few of them.
    config.pace = 1.try_into().expect("pace is possible");
    let bind = async || TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (api, streams) = (bind().await, bind().await);
    let url = format!("ws://{}/chat", streams.local_addr().expect("bound"));
    let service = ChatService::start(config).await;
    let sockets = Sockets {
        api,
        streams: vec![streams],
        consciousness: None,
        research: None,
    };
    let server = tokio::spawn(service.serve(sockets, std::future::pending()));
    let (mut stream, _) = connect_async(url).await.expect("stream is opened");
    let opened = Instant::now();
    // Frames and the end of the stream would come in this time.
    let heard = tokio::time::timeout(Duration::from_secs(3600), stream.next()).await;
    assert!(heard.is_err(), "{heard:?}");
    assert!(opened.elapsed() >= Duration::from_secs(3600));

    let chat = r#"{"type":"chat","content":"still there?","messageId":"m","timestamp":1}"#;
    stream.send(Message::text(chat)).await.expect("it is open");
    let mut frames: Vec<Value> = Vec::new();
    while frames
        .last()
        .is_none_or(|frame| frame["event"]["type"] != "complete")
    {
        let frame = stream.next().await.expect("stream goes on").expect("frame");
        let frame = frame.into_text().expect("frame is text");
        frames.push(serde_json::from_str(&frame).expect("frame is JSON"));
    }
    assert_eq!(frames.len(), 21);
    server.abort();
}
