//! What the API says, and how it says that something is wrong.

use std::collections::HashMap;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use crate::catalogue::{Challenge, Goal, Index, Requirement, Reward};
use crate::database::Progress;

/// An answer other than success: a code of gRPC with its text, as a gateway to gRPC answers.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: u8,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, code: u8, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            status,
            code,
            message,
        }
    }

    /// The request says something that cannot be.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, 3, message)
    }

    /// There is no such thing.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, 5, message)
    }

    /// It was done before.
    pub(super) fn before(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, 6, message)
    }

    /// It is not time for it.
    pub(super) fn not_yet(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, 9, message)
    }

    /// The service cannot do it now.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, 14, message)
    }
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        tracing::error!(%error, "the database refused");
        // What it says exactly is for the log.
        Self::unavailable("the database did not answer as it should")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "code": self.code, "message": self.message, "details": [] });
        (self.status, Json(body)).into_response()
    }
}

/// The answer to a list.
#[derive(Serialize)]
pub(super) struct Listed<'a> {
    challenges: Vec<ListedChallenge<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListedChallenge<'a> {
    challenge_id: &'a str,
    name: &'a str,
    description: &'a str,
    goals: Vec<ListedGoal<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListedGoal<'a> {
    goal_id: &'a str,
    name: &'a str,
    description: &'a str,
    requirement: &'a Requirement,
    reward: &'a Reward,
    prerequisites: &'a [String],
    locked: bool,
    progress: i32,
    status: &'a str,
    completed_at: &'a str,
    claimed_at: &'a str,
}

/// What a user without a row has reached.
static NOTHING: Progress = Progress {
    progress: 0,
    status: String::new(),
    completed_at: String::new(),
    claimed_at: String::new(),
    assigned_at: String::new(),
    active: false,
};

/// Whether goals that come before this one are not completed.
pub(super) fn is_locked(goal: &Goal, rows: &HashMap<String, Progress>) -> bool {
    let completed = |id: &String| rows.get(id).is_some_and(Progress::is_completed);
    !goal.prerequisites.iter().all(completed)
}

/// All goals with what a user has reached; with `active_only` those of which the user has an active row.
pub(super) fn listed<'a>(
    index: &'a Index,
    rows: &'a HashMap<String, Progress>,
    active_only: bool,
) -> Listed<'a> {
    let goal = |goal: &'a Goal| {
        let row = rows.get(&goal.goal_id).unwrap_or(&NOTHING);
        let status = match row.status.as_str() {
            "" => "not_started",
            status => status,
        };
        (!active_only || row.active).then(|| ListedGoal {
            goal_id: &goal.goal_id,
            name: &goal.name,
            description: &goal.description,
            requirement: &goal.requirement,
            reward: &goal.reward,
            prerequisites: &goal.prerequisites,
            locked: is_locked(goal, rows),
            progress: row.progress,
            status,
            completed_at: &row.completed_at,
            claimed_at: &row.claimed_at,
        })
    };
    let challenge = |challenge: &'a Challenge| ListedChallenge {
        challenge_id: &challenge.challenge_id,
        name: &challenge.name,
        description: &challenge.description,
        goals: challenge.goals.iter().filter_map(goal).collect(),
    };
    Listed {
        challenges: index.catalogue.challenges.iter().map(challenge).collect(),
    }
}

/// A goal of a user, as it is told where goals are assigned or selected.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Assigned {
    challenge_id: String,
    goal_id: String,
    name: String,
    description: String,
    requirement: Requirement,
    reward: Reward,
    is_active: bool,
    status: String,
    progress: i32,
    target: i32,
    assigned_at: String,
    expires_at: String,
}

impl Assigned {
    /// The goal with what the user has reached; `None` without a row.
    pub(super) fn of(
        challenge: &Challenge,
        goal: &Goal,
        rows: &HashMap<String, Progress>,
    ) -> Option<Self> {
        let row = rows.get(&goal.goal_id)?;
        Some(Self {
            challenge_id: challenge.challenge_id.clone(),
            goal_id: goal.goal_id.clone(),
            name: goal.name.clone(),
            description: goal.description.clone(),
            requirement: goal.requirement.clone(),
            reward: goal.reward.clone(),
            is_active: row.active,
            status: row.status.clone(),
            progress: row.progress,
            target: goal.requirement.target_value,
            assigned_at: row.assigned_at.clone(),
            expires_at: String::new(),
        })
    }
}
