//! Many streams at once, and many who read the metrics.

mod common;

use common::Service;
use common::stream::{Stream, seqs};
use serde_json::json;
use tokio::task::JoinSet;

const STREAMS: u64 = 200;
/// As many as 1,000 users of a script make in a second that reads the metrics once in an iteration of 12 s.
const READS: u64 = 83;

#[tokio::test]
async fn metrics_are_read_while_streams_run() {
    let service = Service::with(&[
        "--chunks=20",
        "--first-chunk-ms=50",
        "--chunk-interval-ms=50",
    ]);
    let mut replies = JoinSet::new();
    for id in 0..STREAMS {
        let mut stream = Stream::connect(&service, "/api/chat").await;
        replies.spawn(async move {
            stream
                .send(&json!({ "type": "message", "id": id, "content": "x" }))
                .await;
            let (chunks, done) = stream.reply().await;
            assert_eq!(seqs(&chunks), (0..20).collect::<Vec<_>>());
            assert_eq!(done["id"], id);
            stream
        });
    }
    service.until_counter("messages", STREAMS).await;
    let mut reads = JoinSet::new();
    for _ in 0..READS {
        let url = service.url("api", "/metrics");
        reads.spawn(async move {
            let answer = reqwest::get(url).await.expect("service answers");
            assert_eq!(answer.status(), 200);
            answer.text().await.expect("body is text")
        });
    }
    for text in reads.join_all().await {
        let names = [
            "\nconsciousness_loop_hz ",
            "\nloop_frequency{",
            "error_rate",
        ];
        assert!(names.iter().all(|name| text.contains(name)), "{text}");
        assert!(
            text.contains(&format!("\nwebsocket_connections {STREAMS}\n")),
            "{text}"
        );
    }
    let streams = replies.join_all().await;
    assert_eq!(service.counter("metricsReads").await, READS);
    assert_eq!(service.counter("replies").await, STREAMS);
    assert_eq!(service.counter("chunks").await, STREAMS * 20);
    drop(streams);
    service.until_counter("openStreams", 0).await;
}
