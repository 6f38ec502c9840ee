//! Events, and whether what was acknowledged is stored.

mod common;

use challenge::events::account::UserLoggedIn;
use challenge::events::statistic::StatItemUpdated;
use common::Target;
use common::events::{Events, login, statistic};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;
use target_kit::test_postgres::Database;
use tonic::Code;

const ROWS: &str = "SELECT count(*) FROM user_goal_progress";
/// What the database itself has counted; it does so when a connection has nothing to do.
const WRITTEN: &str =
    "SELECT n_tup_ins + n_tup_upd FROM pg_stat_user_tables WHERE relname = 'user_goal_progress'";

#[tokio::test]
async fn one_event_changes_the_hundred_goals_of_its_statistic() {
    let database = Database::start().await;
    let handler = Target::handler(&database, &[]);
    let events = Events::of(&handler).await;
    let rows = async |user: &str, expected| {
        let of_user = format!("{ROWS} WHERE user_id = '{user}'");
        database.until(&of_user, expected).await;
    };
    assert_eq!(events.statistic("a", "enemy_kills", 30.9).await, Code::Ok);
    rows("a", 100).await;
    // The statistic of the challenges 1 and 6 with targets of 10, 20, 30, …
    let completed = format!(
        "{ROWS} WHERE user_id = 'a' AND status = 'completed' AND completed_at IS NOT NULL AND progress = 30"
    );
    assert_eq!(database.number(&completed).await, 6);
    let challenges = "SELECT count(DISTINCT challenge_id) FROM user_goal_progress";
    assert_eq!(database.number(challenges).await, 2);

    assert_eq!(events.login("b").await, Code::Ok);
    rows("b", 100).await;
    // That one is counted by logins, not by its statistic.
    assert_eq!(events.statistic("c", "login_count", 5.0).await, Code::Ok);
    assert_eq!(events.statistic("c", "unheard_of", 5.0).await, Code::Ok);
    // Twice the same event is two events.
    assert_eq!(events.login("b").await, Code::Ok);
    handler
        .until_counter("updatesPending", |pending| pending == 0)
        .await;
    assert_eq!(database.number(ROWS).await, 200);

    // What was completed stays so.
    assert_eq!(events.statistic("a", "enemy_kills", -3.0).await, Code::Ok);
    let fallen = format!("{ROWS} WHERE user_id = 'a' AND progress = 0");
    database.until(&fallen, 100).await;
    let completed = format!("{ROWS} WHERE user_id = 'a' AND status = 'completed'");
    assert_eq!(database.number(&completed).await, 6);

    let malformed = [
        statistic("", "wins", 1.0),
        statistic(&"x".repeat(101), "wins", 1.0),
        statistic("a", "", 1.0),
        StatItemUpdated {
            payload: None,
            ..statistic("a", "wins", 1.0)
        },
    ];
    for event in malformed {
        assert_eq!(events.message(event).await, Code::InvalidArgument);
    }
    assert_eq!(events.login("").await, Code::InvalidArgument);
    let foreign = UserLoggedIn {
        namespace: "elsewhere".to_owned(),
        ..login("d")
    };
    assert_eq!(events.login_message(foreign).await, Code::Ok);
    let counts = handler.tells("/counters").await;
    assert_eq!(
        (&counts["eventsMalformed"], &counts["eventsIgnored"]),
        (&json!(5), &json!(1))
    );
    assert_eq!(
        database
            .number("SELECT count(*) FROM user_goal_progress WHERE user_id = 'd'")
            .await,
        0
    );
}

#[tokio::test]
async fn what_was_acknowledged_is_stored() {
    let database = Database::start().await;
    let handler = Target::handler(&database, &[]);
    let events = Events::of(&handler).await;
    let mut sent = tokio::task::JoinSet::new();
    for number in 0..200 {
        let events = events.clone();
        sent.spawn(async move {
            let user = format!("user-{:06}", number % 40);
            match number % 5 {
                0 => events.login(&user).await,
                1 => events.statistic(&user, "wins", f64::from(number)).await,
                2 => {
                    events
                        .statistic(&user, "headshots", f64::from(number))
                        .await
                }
                3 => {
                    events
                        .statistic(&user, "login_count", f64::from(number))
                        .await
                }
                _ => {
                    events
                        .statistic(&user, "games_played", f64::from(number))
                        .await
                }
            }
        });
    }
    let codes = sent.join_all().await;
    assert!(codes.iter().all(|code| *code == Code::Ok), "{codes:?}");
    handler
        .until_counter("updatesPending", |pending| pending == 0)
        .await;

    let counts = handler.tells("/counters").await;
    let count = |name: &str| {
        counts[name]
            .as_i64()
            .unwrap_or_else(|| panic!("{name} is counted"))
    };
    assert_eq!(
        (count("eventsReceived"), count("eventsBuffered")),
        (200, 200)
    );
    // 160 events of 100 goals; the others concern none.
    assert_eq!(count("updatesBuffered"), 16_000);
    assert_eq!(
        count("updatesBuffered"),
        count("updatesOverwritten") + count("flushRows")
    );
    assert_eq!(count("flushRows"), count("flushRowsChanged"));
    assert_eq!(
        (
            count("eventsRefused"),
            count("updatesDropped"),
            count("flushFailures")
        ),
        (0, 0, 0)
    );
    database.until(WRITTEN, count("flushRowsChanged")).await;
    // Each of the 40 users has every statistic but one: 40 = 8 × 5, so that a user has one and the same remainder.
    assert_eq!(database.number(ROWS).await, 32 * 100);
    let told = handler
        .log()
        .lines()
        .filter(|line| line.contains("buffer flush ") || line.contains("buffer flush\u{1b}"))
        .count();
    assert_eq!(i64::try_from(told).expect("it fits"), count("flushes"));
}

#[tokio::test]
async fn the_end_writes_what_is_buffered() {
    let database = Database::start().await;
    let mut handler = Target::handler(&database, &["--flush-interval-ms=60000"]);
    let events = Events::of(&handler).await;
    // The first flush is due at once, and may come before or after the first event.
    for user in ["a", "b", "c"] {
        assert_eq!(events.login(user).await, Code::Ok);
    }
    handler.signal(Signal::TERM);
    assert!(handler.ended_well());
    assert_eq!(database.number(ROWS).await, 300);
}

#[tokio::test]
async fn updates_alone_change_nothing_for_who_was_not_initialized() {
    let database = Database::start().await;
    let service = Target::service(&database, &[]);
    let handler = Target::handler(&database, &["--flush-mode=update"]);
    let events = Events::of(&handler).await;
    let (status, _) = service
        .says(
            Method::POST,
            "/v1/challenges/initialize",
            "known",
            Some("{}"),
        )
        .await;
    assert_eq!(status, 200);
    for user in ["known", "unknown"] {
        assert_eq!(events.statistic(user, "wins", 7.0).await, Code::Ok);
    }
    handler.until_counter("flushRows", |rows| rows == 200).await;
    assert_eq!(handler.counter("flushRowsChanged").await, 100);
    assert_eq!(
        database.number(&format!("{ROWS} WHERE progress = 7")).await,
        100
    );
    assert_eq!(
        database
            .number(&format!("{ROWS} WHERE user_id = 'unknown'"))
            .await,
        0
    );
}

#[tokio::test]
async fn what_is_claimed_or_inactive_is_not_touched() {
    let database = Database::start().await;
    let handler = Target::handler(&database, &[]);
    let events = Events::of(&handler).await;
    events.statistic("a", "wins", 60.0).await;
    database.until(ROWS, 100).await;
    database.run("UPDATE user_goal_progress SET status = 'claimed', claimed_at = now() WHERE goal_id = 'challenge-004-goal-01'").await;
    database.run("UPDATE user_goal_progress SET is_active = false WHERE goal_id = 'challenge-004-goal-02'").await;
    events.statistic("a", "wins", 70.0).await;
    handler.until_counter("flushRows", |rows| rows == 200).await;
    assert_eq!(handler.counter("flushRowsChanged").await, 198);
    assert_eq!(
        database
            .number(&format!("{ROWS} WHERE progress = 70"))
            .await,
        98
    );
}

#[tokio::test]
async fn a_database_that_stands_still_makes_events_wait_and_loses_none_that_was_acknowledged() {
    let database = Database::start().await;
    // Of a buffer of 100 an event fills all, and a second one waits.
    let handler = Target::handler(
        &database,
        &["--workers=1", "--buffer-size=100", "--wait-ms=300"],
    );
    let events = Events::of(&handler).await;
    assert_eq!(events.login("first").await, Code::Ok);
    handler
        .until_counter("updatesPending", |pending| pending == 0)
        .await;
    database.signal("STOP");
    let mut acknowledged = 1;
    let mut refused = 0;
    for number in 0..50 {
        match events.login(&format!("user-{number}")).await {
            Code::Ok => acknowledged += 1,
            Code::Unavailable | Code::ResourceExhausted => refused += 1,
            other => panic!("{other:?}"),
        }
        if refused == 2 {
            break;
        }
    }
    database.signal("CONT");
    assert_eq!(refused, 2, "the buffer fills");
    database.until(ROWS, acknowledged * 100).await;
    assert_eq!(handler.counter("updatesDropped").await, 200);
    assert_eq!(events.login("last").await, Code::Ok);
    database.until(ROWS, acknowledged * 100 + 100).await;
}
