//! Which goals are a user's: initialize, set active, batch and random select.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{post, put};
use axum::{Json, Router};
use rand::seq::IteratorRandom as _;
use serde::Deserialize;
use serde_json::json;

use super::answers::{Assigned, Refusal};
use super::api::{Empty, body, user};
use super::app::App;
use crate::catalogue::{Challenge, Goal};
use crate::database::{self, Progress};

/// The addresses of this part.
pub(super) fn routes(at: &impl Fn(&str) -> String) -> Router<Arc<App>> {
    Router::new()
        .route(&at("/initialize"), post(initialize))
        .route(&at("/{challenge}/goals/{goal}/active"), put(set_active))
        .route(&at("/{challenge}/goals/batch-select"), post(batch_select))
        .route(&at("/{challenge}/goals/random-select"), post(random_select))
}

async fn initialize(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Refusal> {
    let user = user(&headers)?;
    let Empty {} = body(&bytes)?;
    let defaults: Vec<(&Challenge, &Goal)> = app
        .config
        .index
        .all()
        .filter(|(_, goal)| goal.default_assigned)
        .collect();
    let pool = app.pool.get();
    let mut rows = database::of_user(&pool, user, app.slow()).await?;
    let missing: Vec<(&str, &str)> = defaults
        .iter()
        .filter(|(_, goal)| !rows.contains_key(&goal.goal_id))
        .map(|(challenge, goal)| (goal.goal_id.as_str(), challenge.challenge_id.as_str()))
        .collect();
    let mut new = 0;
    // Most users are known, and cost one statement that reads.
    if !missing.is_empty() {
        let mut connection = pool.acquire().await?;
        let namespace = &app.config.namespace;
        new = database::assign(&mut connection, user, namespace, &missing).await?;
        drop(connection);
        rows = database::of_user(&pool, user, app.slow()).await?;
    }
    let assigned: Vec<Assigned> = defaults
        .iter()
        .filter_map(|(challenge, goal)| Assigned::of(challenge, goal, &rows))
        .collect();
    Ok(Json(json!({
        "assignedGoals": assigned,
        "newAssignments": new,
        "totalActive": rows.values().filter(|row| row.active).count(),
    }))
    .into_response())
}

#[derive(Deserialize)]
struct Active {
    #[serde(alias = "isActive")]
    is_active: bool,
}

async fn set_active(
    State(app): State<Arc<App>>,
    Path((challenge, goal)): Path<(String, String)>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Refusal> {
    let user = user(&headers)?;
    let Active { is_active } = body(&bytes)?;
    let found = app.config.index.goal_of(&challenge, &goal);
    found.ok_or_else(|| Refusal::not_found("goal not found"))?;
    let pool = app.pool.get();
    let mut transaction = pool.begin().await?;
    if is_active {
        let namespace = &app.config.namespace;
        let given = [(goal.as_str(), challenge.as_str())];
        database::assign(&mut transaction, user, namespace, &given).await?;
    }
    database::set_active(&mut transaction, user, &[&goal], is_active).await?;
    transaction.commit().await?;
    let rows = database::of_user(&pool, user, app.slow()).await?;
    let assigned_at = rows.get(&goal).map_or("", |row| &row.assigned_at);
    Ok(Json(json!({
        "challengeId": challenge,
        "goalId": goal,
        "isActive": is_active,
        "assignedAt": assigned_at,
        "message": if is_active { "Goal activated" } else { "Goal deactivated" },
    }))
    .into_response())
}

#[derive(Deserialize)]
struct Batch {
    #[serde(alias = "goalIds")]
    goal_ids: Vec<String>,
    #[serde(default, alias = "replaceExisting")]
    replace_existing: bool,
}

async fn batch_select(
    State(app): State<Arc<App>>,
    Path(challenge): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Refusal> {
    let user = user(&headers)?;
    let asked: Batch = body(&bytes)?;
    let challenge = known(&app, &challenge)?;
    if asked.goal_ids.is_empty() {
        return Err(Refusal::invalid("goal_ids is empty"));
    }
    let mut goals = Vec::new();
    for id in &asked.goal_ids {
        let found = app.config.index.goal_of(&challenge.challenge_id, id);
        let (_, goal) =
            found.ok_or_else(|| Refusal::not_found(format!("goal {id:?} not found")))?;
        goals.push(goal);
    }
    select(&app, user, challenge, &goals, asked.replace_existing).await
}

#[derive(Deserialize)]
struct Random {
    count: usize,
    #[serde(default, alias = "replaceExisting")]
    replace_existing: bool,
    #[serde(default, alias = "excludeActive")]
    exclude_active: bool,
}

async fn random_select(
    State(app): State<Arc<App>>,
    Path(challenge): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Refusal> {
    let user = user(&headers)?;
    let asked: Random = body(&bytes)?;
    let challenge = known(&app, &challenge)?;
    if asked.count == 0 {
        return Err(Refusal::invalid("count must be at least 1"));
    }
    let rows = database::of_user(&app.pool.get(), user, app.slow()).await?;
    let open = |goal: &&Goal| match rows.get(&goal.goal_id) {
        None => true,
        Some(row) => !(row.is_completed() || (asked.exclude_active && row.active)),
    };
    let open = challenge.goals.iter().filter(open);
    let goals: Vec<&Goal> = open.sample(&mut rand::rng(), asked.count);
    if goals.is_empty() {
        return Err(Refusal::not_yet("there is no goal left to select"));
    }
    select(&app, user, challenge, &goals, asked.replace_existing).await
}

fn known<'a>(app: &'a App, challenge: &str) -> Result<&'a Challenge, Refusal> {
    let found = app.config.index.challenge(challenge);
    found.ok_or_else(|| Refusal::not_found("challenge not found"))
}

/// Makes these goals active; with `replace` the others of the challenge are so no more.
async fn select(
    app: &App,
    user: &str,
    challenge: &Challenge,
    goals: &[&Goal],
    replace: bool,
) -> Result<Response, Refusal> {
    let selected: Vec<&str> = goals.iter().map(|goal| goal.goal_id.as_str()).collect();
    let given: Vec<(&str, &str)> = selected
        .iter()
        .map(|&goal| (goal, challenge.challenge_id.as_str()))
        .collect();
    let pool = app.pool.get();
    let mut transaction = pool.begin().await?;
    let mut replaced = Vec::new();
    if replace {
        let others = challenge.goals.iter().map(|goal| goal.goal_id.as_str());
        let others: Vec<&str> = others.filter(|goal| !selected.contains(goal)).collect();
        replaced = database::set_active(&mut transaction, user, &others, false).await?;
    }
    database::assign(&mut transaction, user, &app.config.namespace, &given).await?;
    database::set_active(&mut transaction, user, &selected, true).await?;
    transaction.commit().await?;
    let rows = database::of_user(&pool, user, app.slow()).await?;
    Ok(Json(json!({
        "selectedGoals": goals
            .iter()
            .filter_map(|goal| Assigned::of(challenge, goal, &rows))
            .collect::<Vec<_>>(),
        "challengeId": challenge.challenge_id,
        "totalActiveGoals": active_of(challenge, &rows),
        "replacedGoals": replaced,
    }))
    .into_response())
}

fn active_of(challenge: &Challenge, rows: &HashMap<String, Progress>) -> usize {
    let active = |goal: &&Goal| rows.get(&goal.goal_id).is_some_and(|row| row.active);
    challenge.goals.iter().filter(active).count()
}
