//! A client of the waiting room, as a load generator would be one.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, COOKIE, SET_COOKIE};
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use super::CONDITION_LIMIT;

/// Somebody who is logged in.
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
    cookie: String,
}

pub async fn login(address: SocketAddr, email: &str, password: &str) -> Response {
    reqwest::Client::new()
        .post(format!("http://{address}/api/v1/auth/login"))
        .json(&json!({ "email": email, "password": password }))
        .send()
        .await
        .expect("login is answered")
}

/// A header of an answer, which must be there and text.
pub fn header(response: &reqwest::Response, name: reqwest::header::HeaderName) -> String {
    response.headers()[name]
        .to_str()
        .expect("header is text")
        .to_owned()
}

impl Client {
    pub async fn log_in(address: SocketAddr, email: &str) -> Self {
        let response = login(address, email, "password123").await;
        assert_eq!(response.status(), 200);
        let header = |name| header(&response, name);
        let cookie = header(SET_COOKIE)
            .split(';')
            .next()
            .expect("cookie has a value")
            .to_owned();
        Self {
            http: reqwest::Client::new(),
            base: format!("http://{address}/api/v1"),
            token: header(AUTHORIZATION),
            cookie,
        }
    }

    fn authorised(&self, request: RequestBuilder) -> RequestBuilder {
        request
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
            .header(COOKIE, &self.cookie)
    }

    async fn send(&self, request: RequestBuilder) -> Response {
        self.authorised(request)
            .send()
            .await
            .expect("request is answered")
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    pub async fn set_status(&self, event: &str, status: &str) -> Response {
        let url = format!("{}/events/{event}?status={status}", self.base);
        self.send(self.http.patch(url)).await
    }

    pub async fn event(&self, event: &str) -> Response {
        self.send(self.http.get(format!("{}/events/{event}", self.base)))
            .await
    }

    pub async fn waiting(&self, event: &str) -> Response {
        let url = format!("{}/broker/events/{event}/tickets/waiting", self.base);
        self.send(self.http.get(url)).await
    }

    /// Asks for the place, where the room is one of those that are asked again and again.
    pub async fn ask(&self, event: &str) -> Value {
        let response = self.waiting(event).await;
        assert_eq!(response.status(), 200);
        response.json().await.expect("answer is JSON")
    }

    /// Asks until the answer is this.
    pub async fn ask_until(&self, event: &str, accept: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let answer = self.ask(event).await;
            if accept(&answer) {
                return answer;
            }
            assert!(started.elapsed() < CONDITION_LIMIT, "{answer}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Joins and takes the greeting.
    pub async fn join(&self, event: &str) -> Stream {
        let response = self.waiting(event).await;
        assert_eq!(response.status(), 200);
        let mut stream = Stream {
            response,
            buffer: String::new(),
        };
        let greeting = stream.block().await;
        assert!(
            greeting.starts_with("data:") && greeting.contains("userId:acc-"),
            "{greeting}"
        );
        stream
    }

    /// Asks to leave, and hangs up where there is no answer for so long.
    pub async fn disconnect_within(&self, event: &str, patience: Duration) {
        let url = format!("{}/broker/events/{event}/tickets/disconnect", self.base);
        let request = self.authorised(self.http.post(url)).timeout(patience);
        assert!(request.send().await.is_err(), "it was answered in time");
    }

    pub async fn disconnect(&self, event: &str) {
        let url = format!("{}/broker/events/{event}/tickets/disconnect", self.base);
        let response = self.send(self.http.post(url)).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.text().await.expect("body arrives"), "");
    }
}

/// An open stream.
pub struct Stream {
    response: Response,
    buffer: String,
}

impl Stream {
    /// A stream that has sent nothing yet.
    pub fn silent(response: Response) -> Self {
        Self {
            response,
            buffer: String::new(),
        }
    }

    /// The next chunk as it was sent.
    pub async fn chunk(&mut self) -> String {
        let chunk = tokio::time::timeout(CONDITION_LIMIT, self.response.chunk()).await;
        let chunk = chunk
            .expect("a chunk arrives")
            .expect("stream is whole")
            .expect("stream goes on");
        String::from_utf8(chunk.into()).expect("chunk is text")
    }

    /// The bytes up to the next empty line, without it. `None` if the stream ended, `Err` if it broke.
    pub async fn next(&mut self) -> Result<Option<String>, reqwest::Error> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let block = block.to_owned();
                self.buffer = rest.to_owned();
                return Ok(Some(block));
            }
            let Some(bytes) = self.response.chunk().await? else {
                return Ok(None);
            };
            self.buffer
                .push_str(std::str::from_utf8(&bytes).expect("stream is text"));
        }
    }

    pub async fn block(&mut self) -> String {
        let next = tokio::time::timeout(CONDITION_LIMIT, self.next()).await;
        next.expect("a message arrives")
            .expect("stream is whole")
            .expect("stream goes on")
    }

    /// The next block that `accept` takes.
    pub async fn find(&mut self, accept: impl Fn(&str) -> bool) -> String {
        loop {
            let block = self.block().await;
            if accept(&block) {
                return block;
            }
        }
    }

    /// Whether two heartbeats follow each other within the next blocks: between those of a queued user are positions. No
    /// promotion must come.
    pub async fn hears_heartbeats_alone(&mut self) -> bool {
        let mut before = false;
        for _ in 0..12 {
            let block = self.block().await;
            assert!(!block.contains("IN_PROGRESS"), "{block}");
            let heartbeat = super::is_heartbeat(&block);
            if before && heartbeat {
                return true;
            }
            before = heartbeat;
        }
        false
    }

    /// The next position or promotion.
    pub async fn message(&mut self) -> Value {
        let block = self.find(|block| block.starts_with("data:")).await;
        serde_json::from_str(block.strip_prefix("data:").expect("block has data"))
            .expect("data is JSON")
    }

    /// Skips positions until the promotion.
    pub async fn promotion(&mut self) -> Value {
        loop {
            let message = self.message().await;
            if message["status"] == "IN_PROGRESS" {
                return message;
            }
        }
    }

    /// Skips positions until this place is reached.
    pub async fn until_order(&mut self, order: u64) {
        loop {
            let message = self.message().await;
            assert_eq!(message["status"], "IN_ENTRY", "{message}");
            if message["order"] == order {
                return;
            }
        }
    }

    /// Fails if a byte arrives within the time.
    pub async fn assert_silent_for(&mut self, time: Duration) {
        let next = tokio::time::timeout(time, self.next()).await;
        assert!(next.is_err(), "stream is not silent: {next:?}");
    }

    /// The end of the stream: true if it ended in order, false if it broke off.
    pub async fn ended_in_order(&mut self) -> bool {
        let end = async {
            loop {
                match self.next().await {
                    Ok(Some(_)) => {}
                    Ok(None) => return true,
                    Err(_) => return false,
                }
            }
        };
        tokio::time::timeout(CONDITION_LIMIT, end)
            .await
            .expect("stream ends")
    }
}
