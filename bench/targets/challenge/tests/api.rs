//! The API, as load scripts and users know it.

mod common;

use common::Target;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Connection as _;
use target_kit::test_postgres::Database;

const LIST: &str = "/v1/challenges";
const CLAIM: &str = "/v1/challenges/challenge-002/goals/challenge-002-goal-01/claim";

fn goals(list: &Value) -> Vec<&Value> {
    let challenges = list["challenges"].as_array().expect("it is a list");
    let goals = challenges
        .iter()
        .map(|challenge| challenge["goals"].as_array());
    goals
        .flat_map(|goals| goals.expect("it is a list"))
        .collect()
}

/// Gives a user a completed goal.
async fn complete(database: &Database, user: &str, goal: &str) {
    let challenge = goal.split_once("-goal").expect("goal has a challenge").0;
    database
        .run(&format!(
            "INSERT INTO user_goal_progress (user_id, goal_id, challenge_id, namespace, progress, status, completed_at) \
             VALUES ('{user}', '{goal}', '{challenge}', 'test', 999, 'completed', '2026-01-02 03:04:05')"
        ))
        .await;
}

#[tokio::test]
async fn the_list_has_every_goal_with_what_the_user_reached() {
    let database = Database::start().await;
    let service = Target::service(&database, &[]);
    let health = service.says(Method::GET, "/healthz", "a", None).await;
    assert_eq!(health, (200, json!({ "status": "healthy" })));

    let answer = service.ask(Method::GET, LIST, "user-000001", None).await;
    assert_eq!(answer.headers()["content-type"], "application/json");
    let text = answer.text().await.expect("body is text");
    // What a list weighs is part of the load.
    assert!(
        (165_000..172_000).contains(&text.len()),
        "{} bytes",
        text.len()
    );
    let list: Value = serde_json::from_str(&text).expect("body is JSON");
    assert_eq!(list["challenges"].as_array().map(Vec::len), Some(10));
    assert_eq!(goals(&list).len(), 500);
    assert_eq!(
        goals(&list)[50],
        &json!({
            "goalId": "challenge-002-goal-01",
            "name": "Goal 1 of challenge 2",
            "description": "Reach 2 games played",
            "requirement": { "statCode": "games_played", "operator": ">=", "targetValue": 2 },
            "reward": { "type": "WALLET", "rewardId": "GEMS", "quantity": 10 },
            "prerequisites": [], "locked": false,
            "progress": 0, "status": "not_started", "completedAt": "", "claimedAt": "",
        })
    );

    complete(&database, "user-000001", "challenge-002-goal-01").await;
    for (user, expected) in [("user-000001", "completed"), ("user-000002", "not_started")] {
        let (_, list) = service.says(Method::GET, LIST, user, None).await;
        assert_eq!(goals(&list)[50]["status"], expected, "{user}");
    }
    // Only who has rows has active goals.
    let active = format!("{LIST}?active_only=true");
    for (user, expected) in [("user-000001", 1), ("user-000002", 0)] {
        let (_, list) = service.says(Method::GET, &active, user, None).await;
        assert_eq!(goals(&list).len(), expected, "{user}");
    }
    // Who does not say who it is is one and the same user.
    let anonymous = reqwest::get(service.url("/challenge/v1/challenges")).await;
    assert_eq!(anonymous.expect("it answers").status(), 200);

    let (status, error) = service
        .says(Method::GET, "/v1/challenges/challenge-001", "a", None)
        .await;
    assert_eq!((status, &error["code"]), (404, &json!(5)));
}

#[tokio::test]
async fn a_claim_is_answered_once_with_a_reward() {
    let database = Database::start().await;
    let service = Target::service(&database, &[]);
    let claim = async |path: &str, body| {
        let (status, answer) = service.says(Method::POST, path, "user-000001", body).await;
        (status, answer["code"].as_u64().unwrap_or(0), answer)
    };
    let code = |answer: (u16, u64, Value)| (answer.0, answer.1);
    assert_eq!(code(claim(CLAIM, Some("{}")).await), (400, 9));
    complete(&database, "user-000001", "challenge-002-goal-01").await;
    // Without a body it is not even looked at.
    assert_eq!(code(claim(CLAIM, None).await), (400, 3));
    let unknown = "/v1/challenges/undefined/goals/undefined/claim";
    assert_eq!(code(claim(unknown, Some("{}")).await), (404, 5));
    let elsewhere = "/v1/challenges/challenge-001/goals/challenge-002-goal-01/claim";
    assert_eq!(code(claim(elsewhere, Some("{}")).await), (404, 5));

    // Many at once, and one gets it: they come to the row while somebody else has it.
    let mut holder = database.connect().await;
    let mut held = holder.begin().await.expect("it begins");
    let row = sqlx::query("SELECT 1 FROM user_goal_progress FOR UPDATE");
    row.execute(&mut *held).await.expect("it is locked");
    let many: Vec<_> = (0..8)
        .map(|_| {
            let request = reqwest::Client::new().post(service.url(&format!("/challenge{CLAIM}")));
            let request = request.header("X-Mock-User-Id", "user-000001").body("{}");
            tokio::spawn(request.send())
        })
        .collect();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'challenge-service'";
    database.until(waiting, 8).await;
    held.commit().await.expect("it ends");
    let mut claimed = Vec::new();
    for answer in many {
        let answer = answer.await.expect("it does not panic");
        let answer = answer.expect("service answers");
        if answer.status() == 200 {
            claimed.push(answer.json::<Value>().await.expect("body is JSON"));
        } else {
            assert_eq!(answer.status(), 409);
        }
    }
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0]["goalId"], "challenge-002-goal-01");
    assert_eq!(claimed[0]["status"], "claimed");
    assert_eq!(
        claimed[0]["reward"],
        json!({ "type": "WALLET", "rewardId": "GEMS", "quantity": 10 })
    );
    assert!(
        claimed[0]["claimedAt"]
            .as_str()
            .is_some_and(|at| at.ends_with('Z'))
    );
    assert_eq!(code(claim(CLAIM, Some("{}")).await), (409, 6));
    let granted = service.log().matches("reward granted").count();
    assert_eq!(granted, 1);

    // What is not active cannot be claimed.
    complete(&database, "user-000001", "challenge-002-goal-02").await;
    database
        .run("UPDATE user_goal_progress SET is_active = false WHERE status = 'completed'")
        .await;
    let inactive = CLAIM.replace("goal-01", "goal-02");
    assert_eq!(code(claim(&inactive, Some("{}")).await), (400, 9));
}

#[tokio::test]
async fn goals_are_assigned_switched_and_selected() {
    let database = Database::start().await;
    let service = Target::service(&database, &[]);
    let user = "user-000007";
    let post = async |path: &str, body: Value| {
        let (method, body) = (Method::POST, body.to_string());
        service.says(method, path, user, Some(&body)).await
    };
    let (status, first) = post("/v1/challenges/initialize", json!({})).await;
    assert_eq!(
        (status, &first["newAssignments"], &first["totalActive"]),
        (200, &json!(500), &json!(500))
    );
    assert_eq!(first["assignedGoals"].as_array().map(Vec::len), Some(500));
    let (_, second) = post("/v1/challenges/initialize", json!({})).await;
    assert_eq!(
        (&second["newAssignments"], &second["totalActive"]),
        (&json!(0), &json!(500))
    );
    assert_eq!(
        database
            .number("SELECT count(*) FROM user_goal_progress")
            .await,
        500
    );

    let goal = "/v1/challenges/challenge-003/goals/challenge-003-goal-04/active";
    let off = json!({ "is_active": false }).to_string();
    let (status, answer) = service.says(Method::PUT, goal, user, Some(&off)).await;
    assert_eq!((status, &answer["isActive"]), (200, &json!(false)));
    let (_, list) = service
        .says(Method::GET, "/v1/challenges?active_only=true", user, None)
        .await;
    assert_eq!(goals(&list).len(), 499);

    let ids = json!(["challenge-003-goal-04", "challenge-003-goal-05"]);
    let (status, batch) = post(
        "/v1/challenges/challenge-003/goals/batch-select",
        json!({ "goal_ids": ids, "replace_existing": true }),
    )
    .await;
    assert_eq!(status, 200);
    assert_eq!(batch["selectedGoals"].as_array().map(Vec::len), Some(2));
    assert_eq!(batch["totalActiveGoals"], 2);
    assert_eq!(batch["replacedGoals"].as_array().map(Vec::len), Some(48));

    let (status, random) = post(
        "/v1/challenges/challenge-003/goals/random-select",
        json!({ "count": 5, "replace_existing": false, "exclude_active": true }),
    )
    .await;
    assert_eq!((status, &random["totalActiveGoals"]), (200, &json!(7)));
    assert_eq!(random["selectedGoals"].as_array().map(Vec::len), Some(5));

    for (path, body, expected) in [
        (
            "challenge-003/goals/batch-select",
            json!({ "goal_ids": [] }),
            (400, 3),
        ),
        (
            "challenge-003/goals/batch-select",
            json!({ "goal_ids": ["x"] }),
            (404, 5),
        ),
        (
            "undefined/goals/batch-select",
            json!({ "goal_ids": ["x"] }),
            (404, 5),
        ),
        (
            "challenge-003/goals/random-select",
            json!({ "count": 0 }),
            (400, 3),
        ),
        (
            "challenge-003/goals/random-select",
            json!({ "count": "x" }),
            (400, 3),
        ),
    ] {
        let (status, error) = post(&format!("/v1/challenges/{path}"), body).await;
        assert_eq!(
            (status, error["code"].as_u64().unwrap_or(0)),
            expected,
            "{path}"
        );
    }
}

#[tokio::test]
async fn health_is_that_of_the_database() {
    let database = Database::start().await;
    let service = Target::service(&database, &[]);
    database.signal("STOP");
    let (status, health) = service.says(Method::GET, "/healthz", "a", None).await;
    database.signal("CONT");
    assert_eq!((status, health), (503, json!({ "status": "unhealthy" })));
    let (status, _) = service.says(Method::GET, "/healthz", "a", None).await;
    assert_eq!(status, 200);
}
