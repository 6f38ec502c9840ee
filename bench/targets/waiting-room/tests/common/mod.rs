//! A waiting room over a real, private Redis, and a client that speaks to it over real sockets.

// Each test file is a crate of its own and uses its own part of this module.
#![allow(dead_code, unreachable_pub)]

pub mod client;
pub mod redis_server;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use client::{Client, Stream};
use redis_server::RedisServer;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use waiting_room::{Config, QueueKind, StartError};

/// How long a condition may take to come true. Far above what is needed, as the machine may be busy.
pub const CONDITION_LIMIT: Duration = Duration::from_secs(30);

pub const EVENT: &str = "e1";
pub const OTHER_EVENT: &str = "e2";

/// Asks Redis for the slots of `e1`.
pub const SLOTS: [&str; 3] = ["HGET", "ENTRY_QUEUE_SLOTS", EVENT];

/// Longer than the distance of heartbeats, so that a stream which is silent for it is silent for good.
pub const SILENT: Duration = Duration::from_secs(5);

pub fn is_heartbeat(block: &str) -> bool {
    block == ":heartBeat"
}

/// Runs the test for both variants, side by side, as most of its time is spent waiting for rounds.
pub async fn for_both_kinds(test: impl AsyncFn(QueueKind)) {
    tokio::join!(test(QueueKind::Zset), test(QueueKind::Hash));
}

/// A running waiting room; its Redis ends with it.
pub struct Room {
    pub redis: RedisServer,
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<Result<(), StartError>>,
}

impl Room {
    /// Starts a room with the events `e1` and `e2` and three seats, after `adjust` had its way with these.
    pub async fn start(queue: QueueKind, adjust: impl FnOnce(&mut Config)) -> Self {
        Self::over(RedisServer::start(), queue, adjust).await
    }

    /// The same over a Redis that something may be in.
    pub async fn over(
        redis: RedisServer,
        queue: QueueKind,
        adjust: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = Config::new(redis.url().parse().expect("address is valid"));
        config.queue = queue;
        config.events = vec![EVENT.to_owned(), OTHER_EVENT.to_owned()];
        config.seats = 3;
        config.users = 100;
        adjust(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("socket is bound");
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(waiting_room::run(listener, config, async {
            // A dropped sender stops the room too.
            let _ = stopped.await;
        }));
        Self {
            redis,
            address,
            stop: Some(stop),
            server,
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Waits until the room says that it can work.
    pub async fn until_healthy(&self) {
        let started = Instant::now();
        loop {
            let health = reqwest::get(self.url("/health"))
                .await
                .expect("health is answered");
            if health.status() == 200 {
                return;
            }
            assert!(
                started.elapsed() < CONDITION_LIMIT,
                "room does not get well"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn user(&self, number: u32) -> Client {
        Client::log_in(self.address, &format!("user{number}@example.com")).await
    }

    pub async fn manager(&self) -> Client {
        Client::log_in(self.address, "admin@example.com").await
    }

    /// Logs the users in and lets them join one after another, so that their order is known.
    pub async fn join(
        &self,
        event: &str,
        users: std::ops::RangeInclusive<u32>,
    ) -> Vec<(Client, Stream)> {
        let mut joined = Vec::new();
        for number in users {
            let client = self.user(number).await;
            let stream = client.join(event).await;
            joined.push((client, stream));
        }
        joined
    }

    /// What the room tells at a path, without a login.
    pub async fn tells(&self, path: &str) -> serde_json::Value {
        let answer = reqwest::get(self.url(path)).await;
        let answer = answer.expect("room answers");
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.expect("body is JSON")
    }

    /// Changes faults while the room runs.
    pub async fn change_faults(&self, changes: serde_json::Value) -> reqwest::Response {
        let request = reqwest::Client::new().put(self.url("/faults"));
        let answer = request.json(&changes).send().await;
        answer.expect("change is answered")
    }

    /// The slots of `e1`, as Redis has them.
    pub fn slots(&self) -> String {
        self.redis.ask(&SLOTS)
    }

    pub async fn set_status(&self, event: &str, status: &str) {
        let response = self.manager().await.set_status(event, status).await;
        assert_eq!(response.status(), 200);
    }

    /// Stops the room in order, and hands its Redis out.
    pub async fn stop_all_but_redis(mut self) -> RedisServer {
        drop(self.stop.take());
        let ended = (&mut self.server).await.expect("server does not panic");
        ended.expect("room ends well");
        std::mem::replace(&mut self.redis, RedisServer::start())
    }

    /// Stops the room and waits for its end.
    pub async fn stop(mut self) -> Result<(), StartError> {
        drop(self.stop.take());
        (&mut self.server).await.expect("server does not panic")
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.server.abort();
    }
}
