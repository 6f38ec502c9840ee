//! The API and what else is served over HTTP, as load scripts ask for it.

mod common;

use std::time::{Duration, Instant};

use common::{FAST, Service};
use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const EVERYWHERE: [&str; 3] = [
    "--also=127.0.0.1:0",
    "--consciousness=127.0.0.1:0",
    "--research-api=127.0.0.1:0",
];

/// A number that follows a name and white space, as a script would find it: the name has no labels, the number no exponent.
fn number_after(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find(|line| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(' '))
    })?;
    let value = line[name.len()..].trim();
    let plain = value
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    plain.then(|| value.parse().ok()).flatten()
}

#[tokio::test]
async fn every_address_of_the_scripts_is_served() {
    let service = Service::start(&EVERYWHERE);
    for (socket, method, path, body, status, field) in [
        ("api", "GET", "/health", "", 200, "status"),
        ("api", "GET", "/api/health", "", 200, "status"),
        (
            "api",
            "POST",
            "/api/auth/login",
            "username=demo&password=demo",
            200,
            "token",
        ),
        (
            "api",
            "POST",
            "/api/auth/login",
            "email=a%40b.c&password=p",
            200,
            "accessToken",
        ),
        (
            "api",
            "POST",
            "/api/auth/register",
            "email=r%40b.c&password=p&name=R",
            201,
            "email",
        ),
        (
            "api",
            "POST",
            "/api/auth/research-login",
            "email=s%40b.c&password=p&research_access=true",
            200,
            "token",
        ),
        (
            "api",
            "POST",
            "/api/chat/message",
            "message=hello&stream=false",
            200,
            "response",
        ),
        ("api", "GET", "/api/chat/history", "", 200, "messages"),
        (
            "api",
            "GET",
            "/api/chat/conversations",
            "",
            200,
            "conversations",
        ),
        ("api", "GET", "/api/chat/sessions", "", 200, "sessions"),
        ("api", "GET", "/api/datasets", "", 200, "datasets"),
        ("api", "GET", "/api/system/performance", "", 200, "hz"),
        ("api", "GET", "/counters", "", 200, "metricsReads"),
        ("stream", "GET", "/health", "", 200, "status"),
        ("stream", "GET", "/healthz", "", 200, "hz"),
        ("also", "GET", "/health", "", 200, "status"),
        ("also", "GET", "/healthz", "", 200, "uptime"),
        ("consciousness", "GET", "/health", "", 200, "status"),
        (
            "consciousness",
            "POST",
            "/analyze",
            "query=why&analysis_type=deep&depth=comprehensive&include_metrics=true&research_mode=true",
            202,
            "analysis_id",
        ),
        ("consciousness", "GET", "/models/status", "", 200, "status"),
        (
            "consciousness",
            "GET",
            "/metrics/consciousness",
            "",
            200,
            "hz",
        ),
        ("research-api", "GET", "/health", "", 200, "status"),
        (
            "research-api",
            "POST",
            "/datasets/upload",
            "name=n&type=t&content=%7B%7D",
            201,
            "processing_id",
        ),
        (
            "research-api",
            "GET",
            "/datasets/processing/dataset-1",
            "",
            200,
            "insights_count",
        ),
        (
            "research-api",
            "GET",
            "/validation/integrity",
            "",
            200,
            "status",
        ),
    ] {
        let method = Method::from_bytes(method.as_bytes()).expect("method is known");
        let request = reqwest::Client::new()
            .request(method, service.url(socket, path))
            // What scripts say, whatever they send.
            .header("Content-Type", "application/json")
            .body(body);
        let answer = request.send().await.expect("service answers");
        assert_eq!(answer.status(), status, "{socket} {path}");
        let answer: Value = answer.json().await.expect("body is JSON");
        assert!(!answer[field].is_null(), "{socket} {path}: {answer}");
    }
    for socket in ["api", "stream", "also", "consciousness", "research-api"] {
        assert!(
            service
                .samples(socket)
                .await
                .contains_key("consciousness_loop_hz")
        );
    }
    let done = service
        .get("research-api", "/datasets/processing/dataset-1")
        .await;
    let done: Value = done.json().await.expect("body is JSON");
    assert_eq!(done["status"], "completed");
}

#[tokio::test]
async fn metrics_are_found_by_the_patterns_of_the_scripts() {
    let service = Service::start(&[]);
    let answer = service.get("api", "/metrics").await;
    let kind = answer.headers()["content-type"]
        .to_str()
        .expect("it is text");
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    let text = answer.text().await.expect("body is text");
    for name in ["consciousness_loop_hz", "backend_loop_hz"] {
        assert!(
            number_after(&text, name).is_some_and(|hz| hz > 0.0),
            "{text}"
        );
    }
    assert!(number_after(&text, "backend_loop_ticks_total").is_some_and(|ticks| ticks > 0.0));
    assert!(text.contains("error_rate"));
    // A name and, whatever is between, the first brace that closes; then the number.
    let (_, rest) = text.split_once("loop_frequency").expect("name is there");
    let (_, rest) = rest.split_once('}').expect("it has labels");
    let value = rest.lines().next().unwrap_or_default().trim();
    assert!(value.parse::<f64>().is_ok_and(|hz| hz > 0.0), "{value:?}");
}

#[tokio::test]
async fn the_health_of_the_loop_is_told() {
    let service = Service::start(&[FAST]);
    let (status, health) = service.health_when(|hz| hz >= 95.0).await;
    assert_eq!(status, 200);
    assert_eq!(health["status"], "healthy");
    assert!(
        health["uptime"]
            .as_f64()
            .is_some_and(|uptime| uptime >= 1.0)
    );
    let timestamp = health["timestamp"].as_str().expect("it is text");
    assert!(
        timestamp.contains('T') && timestamp.ends_with('Z'),
        "{timestamp}"
    );

    let slow = Service::start(&["--hz=50"]);
    let (status, health) = slow.health_when(|hz| hz > 0.0 && hz < 95.0).await;
    assert_eq!(status, 503);
    assert_eq!(health["status"], "degraded");
    // The service is up all the same.
    assert_eq!(slow.get("api", "/health").await.status(), 200);
}

#[tokio::test]
async fn users_have_profiles_and_passwords() {
    let service = Service::start(&[]);
    let form = "email=loadtest0%40example.com&password=right&name=Load+Test";
    let (status, _) = service.post_form("api", "/api/auth/register", form).await;
    assert_eq!(status, 201);
    let (status, _) = service.post_form("api", "/api/auth/register", form).await;
    assert_eq!(status, 409);
    let (status, answer) = service.post_form("api", "/api/auth/login", form).await;
    assert_eq!(status, 200);
    let token = answer["token"].as_str().expect("token is text");
    let profile = reqwest::Client::new().get(service.url("api", "/api/user/profile"));
    let answer = profile.bearer_auth(token).send().await.expect("it answers");
    assert_eq!(answer.status(), 200);
    let profile: Value = answer.json().await.expect("body is JSON");
    assert_eq!(
        profile,
        json!({ "email": "loadtest0@example.com", "name": "Load Test" })
    );

    for (path, form, status, error) in [
        (
            "/api/auth/login",
            "email=loadtest0%40example.com&password=wrong",
            401,
            "password",
        ),
        (
            "/api/auth/login",
            "email=a%40b.c",
            400,
            "expected password in a form or a JSON object; got fields email",
        ),
        (
            "/api/auth/login",
            "",
            400,
            "expected email or username in a form or a JSON object; got no fields",
        ),
        (
            "/api/auth/login",
            "{",
            400,
            "expected a form or a JSON object",
        ),
        (
            "/api/chat/message",
            "text=x",
            400,
            "expected message or content",
        ),
    ] {
        let (got, answer) = service.post_form("api", path, form).await;
        assert_eq!(got, status, "{form}");
        let text = answer["error"].as_str().expect("error is text");
        assert!(text.contains(error), "{text}");
    }
    assert_eq!(service.get("api", "/api/user/profile").await.status(), 401);
}

#[tokio::test]
async fn bodies_are_read_whatever_they_are_called() {
    let service = Service::start(&[]);
    let client = reqwest::Client::new();
    let url = service.url("api", "/api/auth/login");
    let fields = [("email", "ann@example.com"), ("password", "p")];
    let object = json!({ "email": "ann@example.com", "password": "p" });
    let parts = Form::new()
        .text("email", "ann@example.com")
        .text("password", "p");
    for request in [
        client.post(&url).form(&fields),
        client.post(&url).json(&object),
        client.post(&url).multipart(parts),
        client.post(&url).body(object.to_string()),
        client
            .post(&url)
            .header("Content-Type", "application/json")
            .body("email=ann%40example.com&password=p"),
    ] {
        let answer = request.send().await.expect("service answers");
        assert_eq!(answer.status(), 200);
        let answer: Value = answer.json().await.expect("body is JSON");
        assert_eq!(answer["user"]["email"], "ann@example.com");
    }
}

#[tokio::test]
async fn messages_without_a_stream_are_answered_and_remembered() {
    let service = Service::with(&["--first-chunk-ms=200"]);
    let token = service.log_in("ann@example.com").await;
    let history = async |token: &str| -> Value {
        let request = reqwest::Client::new().get(service.url("api", "/api/chat/history"));
        let answer = request.bearer_auth(token).send().await;
        let answer = answer.expect("service answers");
        answer.json().await.expect("body is JSON")
    };
    let asked = Instant::now();
    let message = reqwest::Client::new()
        .post(service.url("api", "/api/chat/message"))
        .bearer_auth(&token)
        .header("Content-Type", "application/json")
        .body("message=what+is+new%3F&stream=false");
    let answer = message.send().await.expect("service answers");
    assert_eq!(answer.status(), 200);
    assert!(asked.elapsed() >= Duration::from_millis(200));
    let answer: Value = answer.json().await.expect("body is JSON");
    let messages = history(&token).await;
    assert_eq!(
        messages["messages"][0],
        json!({ "role": "user", "content": "what is new?" })
    );
    assert_eq!(messages["messages"][1]["content"], answer["response"]);
    assert_eq!(history("other").await, json!({ "messages": [] }));
}

#[tokio::test]
async fn files_are_taken_in_parts() {
    let service = Service::start(&[]);
    let send = async |path: &str, form: Form| -> (StatusCode, Value) {
        let request = reqwest::Client::new().post(service.url("api", path));
        let answer = request.multipart(form).send().await;
        let answer = answer.expect("service answers");
        (answer.status(), answer.json().await.expect("body is JSON"))
    };
    let file = |size: usize| Part::text("x".repeat(size)).file_name("notes.txt");
    for (path, status) in [("/api/upload", 200), ("/api/data/upload", 201)] {
        let form = Form::new().text("title", "notes").part("file", file(90));
        let (got, answer) = send(path, form).await;
        assert_eq!(got, status, "{path}");
        assert_eq!(
            (&answer["name"], &answer["size"]),
            (&json!("notes.txt"), &json!(90))
        );
        let id = answer["fileId"].as_str().expect("id is text");
        let state = service.tells(&format!("/api/files/{id}/status")).await;
        assert_eq!(state["status"], "processed");

        let (got, answer) = send(path, Form::new().part("other", file(90))).await;
        assert_eq!(got, 422);
        assert_eq!(
            answer["error"],
            "expected a part named file; got [\"other\"]"
        );
        let (got, _) = send(path, Form::new().part("file", file(2_000_000))).await;
        assert_eq!(got, 413);
        let (got, _) = service.post_form("api", path, "file=x").await;
        assert_eq!(got, 422);
    }
    assert_eq!(
        service
            .get("api", "/api/files/file-99/status")
            .await
            .status(),
        404
    );
}

#[tokio::test]
async fn answers_are_counted_by_route_and_code() {
    let service = Service::start(&[]);
    service.log_in("ann@example.com").await;
    service.log_in("ann@example.com").await;
    service.get("api", "/api/files/file-7/status").await;
    let samples = service.samples("api").await;
    for (sample, value) in [
        (
            "http_requests_total{endpoint=\"/api/auth/login\",code=\"200\"}",
            2.0,
        ),
        (
            "http_requests_total{endpoint=\"/api/files/{id}/status\",code=\"404\"}",
            1.0,
        ),
        (
            "http_request_duration_seconds_count{endpoint=\"/api/auth/login\"}",
            2.0,
        ),
        (
            "http_request_duration_seconds_bucket{le=\"+Inf\",endpoint=\"/api/auth/login\"}",
            2.0,
        ),
    ] {
        assert_eq!(samples.get(sample), Some(&value), "{sample}: {samples:?}");
    }
    let latencies = service.tells("/latencies").await;
    assert_eq!(latencies["POST /api/auth/login"]["count"], 2);
}

#[tokio::test]
async fn data_sets_and_researchers_are_taken_whatever_the_body_is() {
    let service = Service::start(&EVERYWHERE);
    let bodies: [&[u8]; 5] = [b"", b"{\"broken", b"[1, 2]", b"\xff\x00", b"type=t"];
    for (socket, path, field) in [
        ("research-api", "/datasets/upload", "processing_id"),
        ("api", "/api/auth/research-login", "token"),
    ] {
        for body in bodies {
            for kind in ["application/json", "multipart/form-data"] {
                let request = reqwest::Client::new()
                    .post(service.url(socket, path))
                    .header("Content-Type", kind)
                    .body(body.to_vec());
                let answer = request.send().await.expect("service answers");
                assert!(answer.status().is_success(), "{path}: {body:?}");
                let answer: Value = answer.json().await.expect("body is JSON");
                assert!(answer[field].is_string(), "{path}: {body:?}: {answer}");
            }
        }
    }
}

#[tokio::test]
async fn names_without_end_are_refused() {
    let service = Service::start(&[]);
    for path in ["login", "register", "research-login"] {
        let body = format!("email={}&password=p", "x".repeat(2000));
        let url = service.url("api", &format!("/api/auth/{path}"));
        let request = reqwest::Client::new().post(url).body(body);
        let answer = request.send().await.expect("service answers");
        assert_eq!(answer.status(), 413, "{path}");
    }
}
