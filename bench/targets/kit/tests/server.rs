//! A target on the kit, asked over real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use reqwest::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use target_kit::{Latencies, ListenArgs, ServeError, Share, Stop, Switches};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Faults {
    delay_ms: u64,
    fail_logins: Share,
}

struct Target {
    address: SocketAddr,
    faults: Switches<Faults>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), ServeError>>,
}

impl Target {
    async fn start(rounds: JoinSet<()>) -> Self {
        let faults = Switches::new(Faults::default());
        let latencies = Latencies::default();
        let delay = faults.clone();
        let slow = target_kit::held_back(
            Router::new().route("/greeting/{name}", get(async || "hello")),
            move || delay.with(|faults| Duration::from_millis(faults.delay_ms)),
        );
        let health = async || {
            let up = target_kit::in_time(async { true }).await;
            target_kit::health(up, Map::from_iter([("kind".to_owned(), json!("test"))]))
        };
        let router = latencies
            .of(slow)
            .merge(latencies.routes())
            .merge(faults.routes())
            .route("/health", get(health));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("socket is bound");
        let (stop, stopped) = oneshot::channel::<()>();
        let server = target_kit::serve(listener, router, rounds, Stop::new(), async {
            // A dropped sender stops the target too.
            let _ = stopped.await;
        });
        Self {
            address,
            faults,
            stop,
            server: tokio::spawn(server),
        }
    }

    async fn get(&self, path: &str) -> Response {
        let answer = reqwest::get(format!("http://{}{path}", self.address)).await;
        answer.expect("target answers")
    }

    async fn put(&self, body: &str) -> (StatusCode, Value) {
        let request = reqwest::Client::new().put(format!("http://{}/faults", self.address));
        let answer = request.body(body.to_owned()).send().await;
        let answer = answer.expect("target answers");
        (
            answer.status(),
            answer.json().await.expect("answer is JSON"),
        )
    }
}

#[tokio::test]
async fn faults_are_changed_while_it_runs() {
    let target = Target::start(JoinSet::new()).await;
    let faults: Value = target.get("/faults").await.json().await.expect("JSON");
    assert_eq!(faults, json!({ "delay-ms": 0, "fail-logins": 0 }));

    let (status, faults) = target
        .put(r#"{"fail-logins": "6%", "delay-ms": 300}"#)
        .await;
    assert_eq!(status, 200);
    assert_eq!(faults, json!({ "delay-ms": 300, "fail-logins": "6.00%" }));
    assert!(target.faults.with(|faults| faults.fail_logins.hits(17)));
    let asked = std::time::Instant::now();
    target.get("/greeting/ann").await;
    assert!(asked.elapsed() >= Duration::from_millis(300));

    for (body, expected) in [
        (
            r#"{"delay-ms": 5, "fail-login": 1}"#,
            "there is no fault \"fail-login\"; there are delay-ms, fail-logins",
        ),
        (
            r#"{"fail-logins": "101%"}"#,
            "fault fail-logins: got \"101%\"; allowed are a number of users",
        ),
        ("[]", "expected a JSON object"),
        ("", "expected a JSON object"),
    ] {
        let (status, answer) = target.put(body).await;
        assert_eq!(status, 400, "{body}");
        let error = answer["error"].as_str().expect("error is text");
        assert!(error.starts_with(expected), "{error}");
    }
    let (_, faults) = target.put("{}").await;
    assert_eq!(faults, json!({ "delay-ms": 300, "fail-logins": "6.00%" }));
}

#[tokio::test]
async fn latencies_are_told_by_route() {
    let target = Target::start(JoinSet::new()).await;
    target
        .faults
        .change(Map::from_iter([("delay-ms".to_owned(), json!(50))]))
        .expect("fault is known");
    for name in ["ann", "bob"] {
        target.get(&format!("/greeting/{name}")).await;
    }
    assert_eq!(target.get("/nowhere").await.status(), 404);
    let latencies: Value = target.get("/latencies").await.json().await.expect("JSON");
    assert_eq!(latencies.as_object().map(Map::len), Some(1), "{latencies}");
    let greeting = &latencies["GET /greeting/{name}"];
    assert_eq!(greeting["count"], 2);
    for field in [
        "minMs", "meanMs", "p50Ms", "p90Ms", "p95Ms", "p99Ms", "maxMs",
    ] {
        assert!(
            greeting[field].as_f64().is_some_and(|ms| ms >= 50.0),
            "{field}: {greeting}"
        );
    }
}

#[tokio::test]
async fn health_tells_the_set_up() {
    let target = Target::start(JoinSet::new()).await;
    let health = target.get("/health").await;
    assert_eq!(health.status(), 200);
    let body: Value = health.json().await.expect("JSON");
    assert_eq!(body, json!({ "status": "UP", "kind": "test" }));
    let ill = target_kit::health(false, Map::new());
    assert_eq!(ill.status(), 503);
}

#[tokio::test]
async fn a_round_that_ends_ends_the_target_and_a_stop_does_so_in_order() {
    let mut rounds = JoinSet::new();
    rounds.spawn(async {});
    let target = Target::start(rounds).await;
    let outcome = target.server.await.expect("server does not panic");
    assert!(matches!(outcome, Err(ServeError::Round)), "{outcome:?}");

    let target = Target::start(JoinSet::new()).await;
    drop(target.stop);
    target
        .server
        .await
        .expect("server does not panic")
        .expect("it ends well");
}

#[tokio::test]
async fn several_sockets_are_told_together_and_end_together() {
    let folder = tempfile::tempdir().expect("folder can be made");
    let port_file = folder.path().join("port");
    let any_port: SocketAddr = "127.0.0.1:0".parse().expect("address is valid");
    let arguments = ListenArgs {
        listen: any_port,
        port_file: Some(port_file.clone()),
    };
    let mut opening = arguments.open().await.expect("a port is free");
    let other = opening.beside("other", any_port).await;
    let other = other.expect("a port is free");
    assert!(
        !port_file.exists(),
        "nobody is told before the target is ready"
    );
    let (first, _) = opening.announce().expect("file can be written");
    let urls = [&first, &other].map(|listener| {
        let address = listener.local_addr().expect("socket is bound");
        format!("http://{address}")
    });
    let told = std::fs::read_to_string(&port_file).expect("port file is there");
    assert_eq!(told, format!("{}\nother {}\n", urls[0], urls[1]));

    let says = |word: &'static str| Router::new().route("/", get(async move || word));
    let (stop, stopped) = oneshot::channel::<()>();
    let sockets = [(first, says("first")), (other, says("other"))];
    let server = tokio::spawn(target_kit::serve_all(
        sockets,
        JoinSet::new(),
        Stop::new(),
        async {
            let _ = stopped.await;
        },
    ));
    for (url, word) in urls.iter().zip(["first", "other"]) {
        let answer = reqwest::get(url).await.expect("target answers");
        assert_eq!(answer.text().await.expect("answer is text"), word);
    }
    drop(stop);
    let ended = server.await.expect("server does not panic");
    ended.expect("it ends well");
    for url in urls {
        assert!(reqwest::get(url).await.is_err(), "nobody listens any more");
    }
}
