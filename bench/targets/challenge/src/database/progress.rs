//! What single users have reached.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::{PgConnection, PgPool};

/// A row of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) progress: i32,
    pub(crate) status: String,
    /// Instants in UTC, as `2026-11-22T10:00:00Z`; empty without one.
    pub(crate) completed_at: String,
    pub(crate) claimed_at: String,
    pub(crate) assigned_at: String,
    pub(crate) active: bool,
}

impl Progress {
    /// Whether it was reached.
    pub(crate) fn is_completed(&self) -> bool {
        matches!(self.status.as_str(), "completed" | "claimed")
    }
}

type Row = (String, i32, String, String, String, String, bool);

/// An instant of a column as text.
macro_rules! instant {
    ($column:literal) => {
        concat!(
            "coalesce(to_char(",
            $column,
            ", 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), '')"
        )
    };
}

const ROWS: &str = concat!(
    "SELECT goal_id, progress, status, ",
    instant!("completed_at"),
    ", ",
    instant!("claimed_at"),
    ", ",
    instant!("assigned_at"),
    ", is_active FROM user_goal_progress WHERE user_id = $1"
);

/// Holds a connection up in the database, in a statement that names the table.
pub(super) async fn hold_up(connection: &mut PgConnection, slow: Duration) -> sqlx::Result<()> {
    if slow.is_zero() {
        return Ok(());
    }
    let held = "SELECT pg_sleep($1)::text FROM (SELECT count(*) FROM user_goal_progress WHERE user_id = '') AS held";
    let statement = sqlx::query(held).bind(slow.as_secs_f64());
    statement.execute(connection).await.map(|_| ())
}

/// All rows of a user, by goal.
pub(crate) async fn of_user(
    pool: &PgPool,
    user: &str,
    slow: Duration,
) -> sqlx::Result<HashMap<String, Progress>> {
    let mut connection = pool.acquire().await?;
    hold_up(&mut connection, slow).await?;
    let rows: Vec<Row> = sqlx::query_as(ROWS)
        .bind(user)
        .fetch_all(&mut *connection)
        .await?;
    Ok(rows.into_iter().map(named).collect())
}

fn named(
    (goal, progress, status, completed_at, claimed_at, assigned_at, active): Row,
) -> (String, Progress) {
    let row = Progress {
        progress,
        status,
        completed_at,
        claimed_at,
        assigned_at,
        active,
    };
    (goal, row)
}

/// Whether the database answers.
pub(crate) async fn answers(pool: &PgPool) -> bool {
    sqlx::query("SELECT 1").execute(pool).await.is_ok()
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is claimed now, at this instant.
    Claimed(String),
    /// It was before.
    Before,
    /// It is not completed, or not active.
    Not(&'static str),
}

/// Claims a completed goal. The row is locked from the look at it to the end; `reward` is granted in between.
pub(crate) async fn claim(
    pool: &PgPool,
    user: &str,
    goal: &str,
    slow: Duration,
    reward: impl Future<Output = ()>,
) -> sqlx::Result<Claim> {
    let mut transaction = pool.begin().await?;
    hold_up(&mut transaction, slow).await?;
    let row: Option<(String, bool)> = sqlx::query_as(
        "SELECT status, is_active FROM user_goal_progress WHERE user_id = $1 AND goal_id = $2 FOR UPDATE",
    )
    .bind(user)
    .bind(goal)
    .fetch_optional(&mut *transaction)
    .await?;
    let (status, active) = row.unwrap_or_default();
    match status.as_str() {
        "claimed" => return Ok(Claim::Before),
        "completed" if active => {}
        "completed" => return Ok(Claim::Not("the goal is not active")),
        _ => return Ok(Claim::Not("the goal is not completed")),
    }
    reward.await;
    let claimed_at: String = sqlx::query_scalar(concat!(
        "UPDATE user_goal_progress SET status = 'claimed', claimed_at = now() AT TIME ZONE 'utc', ",
        "updated_at = now() AT TIME ZONE 'utc' WHERE user_id = $1 AND goal_id = $2 RETURNING ",
        instant!("claimed_at")
    ))
    .bind(user)
    .bind(goal)
    .fetch_one(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(Claim::Claimed(claimed_at))
}

/// Gives a user rows for goals (their ids and those of their challenges), unless they are there. Returns how many are new.
pub(crate) async fn assign(
    connection: &mut PgConnection,
    user: &str,
    namespace: &str,
    goals: &[(&str, &str)],
) -> sqlx::Result<u64> {
    let (goals, challenges): (Vec<&str>, Vec<&str>) = goals.iter().copied().unzip();
    let made = sqlx::query(
        "INSERT INTO user_goal_progress (user_id, goal_id, challenge_id, namespace, assigned_at) \
         SELECT $1, goal, challenge, $2, now() AT TIME ZONE 'utc' FROM unnest($3::text[], $4::text[]) AS given (goal, challenge) \
         ORDER BY goal ON CONFLICT (user_id, goal_id) DO NOTHING",
    )
    .bind(user)
    .bind(namespace)
    .bind(&goals)
    .bind(&challenges)
    .execute(connection)
    .await?;
    Ok(made.rows_affected())
}

/// Switches rows of a user on or off. Returns the goals whose rows changed.
pub(crate) async fn set_active(
    connection: &mut PgConnection,
    user: &str,
    goals: &[&str],
    active: bool,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "UPDATE user_goal_progress AS row SET is_active = $3, updated_at = now() AT TIME ZONE 'utc', \
         assigned_at = CASE WHEN $3 THEN now() AT TIME ZONE 'utc' ELSE assigned_at END \
         WHERE user_id = $1 AND goal_id = ANY($2::text[]) AND is_active <> $3 RETURNING goal_id",
    )
    .bind(user)
    .bind(goals)
    .bind(active)
    .fetch_all(connection)
    .await
}
