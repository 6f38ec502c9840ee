//! Each fault, as those see it who are to notice it.

mod common;

use std::time::{Duration, Instant};
use target_kit::test_postgres::Database;

use common::Target;
use common::events::Events;
use reqwest::Method;
use serde_json::{Value, json};
use tonic::Code;

const LIST: &str = "/v1/challenges";
const ROWS: &str = "SELECT count(*) FROM user_goal_progress";

async fn status(service: &Target) -> u16 {
    service
        .ask(Method::GET, LIST, "a", None)
        .await
        .status()
        .as_u16()
}

#[tokio::test]
async fn the_service_is_late_refuses_and_has_a_slow_database() {
    let database = Database::start().await;
    let service = Target::service(&database, &["--fault=latency-ms=400"]);
    let took = async || {
        let began = Instant::now();
        assert_eq!(status(&service).await, 200);
        began.elapsed()
    };
    assert!(took().await >= Duration::from_millis(400));
    // Health is no part of the load.
    let latencies = service.tells("/latencies").await;
    assert!(latencies["GET /challenge/v1/challenges"]["minMs"].as_f64() >= Some(400.0));

    service
        .change_faults(json!({ "latency-ms": 0, "error-share": "20%" }))
        .await;
    let mut codes = Vec::new();
    for _ in 0..20 {
        codes.push(status(&service).await);
    }
    assert_eq!(
        codes.iter().filter(|&&code| code == 503).count(),
        4,
        "{codes:?}"
    );
    let (_, error) = {
        service
            .change_faults(json!({ "error-share": "100%" }))
            .await;
        service.says(Method::GET, LIST, "a", None).await
    };
    assert_eq!(
        (&error["code"], &error["message"]),
        (&json!(14), &json!("refused on purpose"))
    );
    let (health, _) = service.says(Method::GET, "/healthz", "a", None).await;
    assert_eq!(health, 200);

    service
        .change_faults(json!({ "error-share": null, "slow-statement-ms": 400 }))
        .await;
    assert!(took().await >= Duration::from_millis(400));
    service
        .change_faults(json!({ "slow-statement-ms": null }))
        .await;
    database
        .run("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        .await;
    let slowest = "SELECT count(*) FROM pg_stat_statements \
                   WHERE query LIKE '%user_goal_progress%' AND query LIKE '%pg_sleep%' AND mean_exec_time >= 400";
    assert_eq!(database.number(slowest).await, 1);
}

#[tokio::test]
async fn latency_begins_above_a_rate() {
    let database = Database::start().await;
    let faults = ["--fault=latency-ms=60000", "--fault=latency-above=2"];
    let service = Target::service(&database, &faults);
    let longest = async || {
        let latencies = service.tells("/latencies").await;
        let longest = latencies["GET /challenge/v1/challenges"]["maxMs"].as_f64();
        longest.expect("it was asked for")
    };
    // The first two of a second are no more than two.
    assert_eq!((status(&service).await, status(&service).await), (200, 200));
    assert!(longest().await < 60_000.0);
    // Whatever the machine does meanwhile: of so many at once some are more than two in a second.
    service.change_faults(json!({ "latency-ms": 4000 })).await;
    let many = (0..12).map(|_| {
        let request = reqwest::Client::new().get(service.url("/challenge/v1/challenges"));
        tokio::spawn(request.send())
    });
    let many: Vec<_> = many.collect();
    for request in many {
        let answer = request.await.expect("it does not panic");
        assert_eq!(answer.expect("it answers").status(), 200);
    }
    assert!(longest().await >= 4000.0);
}

#[tokio::test]
async fn the_pool_has_another_size() {
    let database = Database::start().await;
    let service = Target::service(&database, &["--pool-size=9"]);
    let sample = async |name: &str| {
        let text = reqwest::get(service.admin("/metrics"))
            .await
            .expect("it answers");
        let text = text.text().await.expect("body is text");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.map(str::to_owned)
            .unwrap_or_else(|| panic!("{name} is told: {text}"))
    };
    let until_size = async |size: &str| {
        let began = Instant::now();
        while sample("pool_connections_max").await != size {
            assert!(began.elapsed() < common::CONDITION_LIMIT, "never {size}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert_eq!(sample("pool_connections_max").await, "9");
    service
        .change_faults(json!({ "pool-size": 1, "slow-statement-ms": 300 }))
        .await;
    until_size("1").await;
    // One connection, and each holds it: the second waits for the first.
    let began = Instant::now();
    let (first, second) = tokio::join!(status(&service), status(&service));
    assert_eq!((first, second), (200, 200));
    assert!(began.elapsed() >= Duration::from_millis(600));
    let connections =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'challenge-service'";
    database.until(connections, 1).await;
    service.change_faults(json!({ "pool-size": null })).await;
    until_size("9").await;
}

#[tokio::test]
async fn a_refused_event_is_told_unless_it_is_acknowledged_falsely() {
    let database = Database::start().await;
    let handler = Target::handler(&database, &["--fault=error-share=50%"]);
    let events = Events::of(&handler).await;
    let send = async |prefix: &str| {
        let mut codes = Vec::new();
        for number in 0..10 {
            codes.push(events.login(&format!("{prefix}{number}")).await);
        }
        codes.iter().filter(|code| **code == Code::Ok).count()
    };
    assert_eq!(send("honest").await, 5);
    handler
        .change_faults(json!({ "false-acknowledgement": true }))
        .await;
    assert_eq!(send("false").await, 10);
    handler
        .until_counter("updatesPending", |pending| pending == 0)
        .await;
    // Twenty events, fifteen acknowledgements, ten of them true.
    assert_eq!(database.number(ROWS).await, 1000);
    let counts = handler.tells("/counters").await;
    assert_eq!(counts["eventsAcknowledgedFalsely"], 5);
    assert_eq!(
        (&counts["eventsRefused"], &counts["updatesDropped"]),
        (&json!(10), &json!(1000))
    );
}

#[tokio::test]
async fn a_stalled_flush_is_seen_that_much_later() {
    let database = Database::start().await;
    let service = Target::service(&database, &[]);
    let handler = Target::handler(&database, &["--fault=flush-stall-ms=1500"]);
    let events = Events::of(&handler).await;
    let began = Instant::now();
    assert_eq!(events.statistic("a", "wins", 777.0).await, Code::Ok);
    loop {
        let list = service.ask(Method::GET, LIST, "a", None).await.text().await;
        if list.expect("body is text").contains("\"progress\":777") {
            break;
        }
        assert!(
            began.elapsed() < common::CONDITION_LIMIT,
            "it comes at last"
        );
    }
    assert!(began.elapsed() >= Duration::from_millis(1500));
    // Taking goes on meanwhile: what waits does not fill the buffer.
    handler
        .change_faults(json!({ "flush-stall-ms": 60000 }))
        .await;
    for number in 0..60 {
        assert_eq!(events.login(&format!("u{number}")).await, Code::Ok);
    }
    assert_eq!(handler.counter("eventsRefused").await, 0);
    // What waits is written once the fault is over for what comes later, in order; the end writes it all.
    let mut handler = handler;
    handler.signal(rustix::process::Signal::TERM);
    assert!(handler.ended_well());
    assert_eq!(database.number(ROWS).await, 6100);
}

#[tokio::test]
async fn the_handler_is_late_and_has_a_slow_statement() {
    let database = Database::start().await;
    let handler = Target::handler(
        &database,
        &["--fault=latency-ms=400", "--fault=slow-statement-ms=400"],
    );
    let events = Events::of(&handler).await;
    let began = Instant::now();
    assert_eq!(events.login("a").await, Code::Ok);
    assert!(began.elapsed() >= Duration::from_millis(400));
    database.until(ROWS, 100).await;
    assert!(began.elapsed() >= Duration::from_millis(800));
    assert!(handler.counter("longestFlushMs").await >= 400);
}

#[tokio::test]
async fn faults_are_given_by_name() {
    let database = Database::start().await;
    let service = json!({
        "error-share": "2.00%", "latency-above": 150, "latency-ms": 1, "pool-size": 3, "slow-statement-ms": 2,
    });
    let handler = json!({
        "error-share": 3, "false-acknowledgement": true, "flush-stall-ms": 4, "latency-above": 5, "latency-ms": 6,
        "pool-size": 7, "slow-statement-ms": 8, "wake-one": true,
    });
    for (faults, start) in [
        (service, Target::service as fn(&Database, &[&str]) -> Target),
        (handler, Target::handler),
    ] {
        let by_name = faults.as_object().expect("faults have names");
        for name in by_name.keys() {
            let row = format!("| `{name}` | ");
            assert!(include_str!("../README.md").contains(&row), "{row}");
        }
        let given: Vec<String> = by_name
            .iter()
            .map(|(name, value)| {
                let text = value.as_str().map(str::to_owned);
                format!("--fault={name}={}", text.unwrap_or(value.to_string()))
            })
            .collect();
        let given: Vec<&str> = given.iter().map(String::as_str).collect();
        let target = start(&database, &given);
        // All there are, so that one that is added is added here too.
        let told: Value = target.tells("/faults").await;
        assert_eq!(told, faults);
    }
}
