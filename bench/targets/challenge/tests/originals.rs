//! What existing load scripts for such a system do on the wire: addresses, headers, bodies and messages as they send them, and what
//! they take for success.

mod common;

use common::Target;
use common::events::{Events, login, statistic};
use reqwest::Method;
use serde_json::{Value, json};
use target_kit::test_postgres::Database;
use tonic::Code;

const CHALLENGES: &str = "/v1/challenges";

struct System {
    service: Target,
    handler: Target,
    database: Database,
}

impl System {
    async fn start() -> Self {
        let database = Database::start().await;
        Self {
            service: Target::service(&database, &[]),
            handler: Target::handler(&database, &[]),
            database,
        }
    }

    async fn list(&self, user: &str) -> Value {
        let (status, list) = self.service.says(Method::GET, CHALLENGES, user, None).await;
        assert_eq!(status, 200);
        list
    }

    async fn settled(&self) {
        self.handler
            .until_counter("updatesPending", |pending| pending == 0)
            .await;
    }
}

/// The event of an iteration, as they draw it: every fifth a login, the others a value below 1000 of one of five statistics.
async fn event(events: &Events, iteration: u32) -> Code {
    let user = format!("user-{:06}", 1 + iteration % 10_000);
    if iteration.is_multiple_of(5) {
        return events.login_message(login(&user)).await;
    }
    let codes = [
        "enemy_kills",
        "login_count",
        "games_played",
        "headshots",
        "wins",
    ];
    let code = codes[iteration as usize / 5 % codes.len()];
    let value = f64::from(iteration * 37 % 1000);
    events.message(statistic(&user, code, value)).await
}

/// They claim by names that the list does not have, and without a body: the answer is 404, whatever is completed.
#[tokio::test]
async fn api_load_lists_and_claims_in_vain() {
    let system = System::start().await;
    let events = Events::of(&system.handler).await;
    for user in ["user-000001", "user-000002"] {
        assert_eq!(
            events.message(statistic(user, "wins", 999.0)).await,
            Code::Ok
        );
    }
    system.settled().await;
    for user in ["user-000001", "user-000002", "user-000003"] {
        let list = system.list(user).await;
        let challenge = &list["challenges"][3];
        let goals = challenge["goals"].as_array().expect("it is a list");
        let completed = goals
            .iter()
            .filter(|goal| goal["status"] == "completed")
            .count();
        assert_eq!(completed, if user == "user-000003" { 0 } else { 50 });
        let name = |value: &Value| value["id"].as_str().unwrap_or("undefined").to_owned();
        let path = format!(
            "{CHALLENGES}/{}/goals/{}/claim",
            name(challenge),
            name(&goals[0])
        );
        let answer = system.service.ask(Method::POST, &path, user, None).await;
        assert_eq!(answer.status(), 404);
        // By its right names, and still without a body.
        let path = format!("{CHALLENGES}/challenge-004/goals/challenge-004-goal-01/claim");
        let answer = system.service.ask(Method::POST, &path, user, None).await;
        assert_eq!(answer.status(), 400);
    }
}

/// They count statuses, which here are true.
#[tokio::test]
async fn event_load_is_stored_as_it_is_acknowledged() {
    let system = System::start().await;
    let events = Events::of(&system.handler).await;
    for iteration in 0..250 {
        assert_eq!(event(&events, iteration).await, Code::Ok);
    }
    system.settled().await;
    let counts = system.handler.tells("/counters").await;
    let count = |name: &str| {
        counts[name]
            .as_i64()
            .unwrap_or_else(|| panic!("{name} is counted"))
    };
    // 50 logins, and of the 200 others the 40 of login_count concern no goal: 84 goals an event.
    assert_eq!(count("updatesBuffered"), 21_000);
    assert_eq!(
        count("flushRowsChanged") + count("updatesOverwritten"),
        21_000
    );
    let rows = "SELECT count(*) FROM user_goal_progress";
    assert_eq!(
        system.database.number(rows).await,
        21_000 - count("updatesOverwritten")
    );
}

#[tokio::test]
async fn combined_load_lists_while_events_come() {
    let system = System::start().await;
    let events = Events::of(&system.handler).await;
    let api = async {
        for number in 0..20 {
            let list = system.list(&format!("user-{:06}", 1 + number)).await;
            assert_eq!(list["challenges"].as_array().map(Vec::len), Some(10));
        }
    };
    let load = async {
        for iteration in 0..100 {
            assert_eq!(event(&events, iteration).await, Code::Ok);
        }
    };
    tokio::join!(api, load);
    system.settled().await;
    // What the list says is what the database holds.
    let list = system.list("user-000001").await;
    let begun = list["challenges"].as_array().into_iter().flatten();
    let begun = begun.flat_map(|challenge| challenge["goals"].as_array().into_iter().flatten());
    assert_eq!(begun.filter(|goal| goal["progress"] == 1).count(), 100);
}

#[tokio::test]
async fn initialization_alone_is_new_once() {
    let system = System::start().await;
    for (round, new) in [(0, 500), (1, 0)] {
        for number in 1..=3 {
            let user = format!("user-{number:06}");
            let path = format!("{CHALLENGES}/initialize");
            let (status, answer) = system
                .service
                .says(Method::POST, &path, &user, Some("{}"))
                .await;
            assert_eq!(
                (status, &answer["newAssignments"]),
                (200, &json!(new)),
                "round {round}"
            );
            let goals = answer["assignedGoals"].as_array().expect("it is a list");
            assert_eq!(goals.len(), 500);
        }
    }
}

/// The mixed smoke: initialize, list and switch a goal on beside events, each with its answer, and none of them in another's way.
#[tokio::test]
async fn a_mixed_smoke_is_answered_beside_events() {
    let system = System::start().await;
    let events = Events::of(&system.handler).await;
    let api = async {
        for number in 1..=10 {
            let user = format!("user-{number:06}");
            let ask = async |method: Method, path: &str, body: Option<&str>| {
                let path = format!("{CHALLENGES}{path}");
                let (status, answer) = system.service.says(method, &path, &user, body).await;
                assert_eq!(status, 200, "{path}: {answer}");
                answer
            };
            let made = ask(Method::POST, "/initialize", Some("{}")).await;
            assert_eq!(made["assignedGoals"].as_array().map(Vec::len), Some(500));
            let list = ask(Method::GET, "", None).await;
            assert_eq!(list["challenges"].as_array().map(Vec::len), Some(10));
            let path = "/challenge-001/goals/challenge-001-goal-01/active";
            let set = ask(Method::PUT, path, Some(r#"{"is_active":true}"#)).await;
            assert_eq!(set["isActive"], true, "{set}");
        }
    };
    let load = async {
        for iteration in 0..200 {
            assert_eq!(event(&events, iteration).await, Code::Ok);
        }
    };
    tokio::join!(api, load);
    system.settled().await;
    let active = "SELECT count(*) FROM user_goal_progress WHERE is_active AND goal_id = 'challenge-001-goal-01'";
    assert!(system.database.number(active).await >= 10);
    assert_eq!(system.handler.counter("flushFailures").await, 0);
}

/// A session: initialize, browse, select in both ways, switch one off, look again, claim.
#[tokio::test]
async fn a_realistic_session_finds_every_address() {
    let system = System::start().await;
    let events = Events::of(&system.handler).await;
    let user = "user-000042";
    let ask = async |method: Method, path: &str, body: Value| {
        let (path, body) = (format!("{CHALLENGES}{path}"), body.to_string());
        let (status, answer) = system.service.says(method, &path, user, Some(&body)).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    };
    ask(Method::POST, "/initialize", json!({})).await;
    let selected = ask(
        Method::POST,
        "/challenge-001/goals/batch-select",
        json!({ "goal_ids": ["challenge-001-goal-01", "challenge-001-goal-02"], "replace_existing": true }),
    )
    .await;
    assert_eq!(selected["totalActiveGoals"], 2);
    let random = ask(
        Method::POST,
        "/challenge-001/goals/random-select",
        json!({ "count": 3, "replace_existing": true, "exclude_active": false }),
    )
    .await;
    assert_eq!(random["totalActiveGoals"], 3);
    let goal = random["selectedGoals"][0]["goalId"]
        .as_str()
        .expect("it is selected")
        .to_owned();
    ask(
        Method::PUT,
        &format!("/challenge-001/goals/{goal}/active"),
        json!({ "is_active": false }),
    )
    .await;
    ask(
        Method::PUT,
        &format!("/challenge-001/goals/{goal}/active"),
        json!({ "is_active": true }),
    )
    .await;
    assert_eq!(
        events.message(statistic(user, "enemy_kills", 999.0)).await,
        Code::Ok
    );
    system.settled().await;
    let claimed = ask(
        Method::POST,
        &format!("/challenge-001/goals/{goal}/claim"),
        json!({}),
    )
    .await;
    assert_eq!(
        (&claimed["goalId"], &claimed["status"]),
        (&json!(goal), &json!("claimed"))
    );
    let active = format!("{CHALLENGES}?active_only=true");
    let (_, list) = system.service.says(Method::GET, &active, user, None).await;
    assert_eq!(
        list["challenges"][0]["goals"].as_array().map(Vec::len),
        Some(3)
    );
}
