//! The database: its pool, its table, and what is asked of it.

mod pool;
mod progress;
mod write;

pub(crate) use pool::{Counts, Pool, Reach, make_table};
pub(crate) use progress::{Claim, Progress, answers, assign, claim, of_user, set_active};
pub use write::Mode;
pub(crate) use write::{Update, lines, write};

use sqlx::{Connection as _, Executor as _, PgConnection};

/// The table with what it is looked up by. Status and progress are held together by the database, so that no fault of a program
/// goes unnoticed.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS user_goal_progress (
    user_id VARCHAR(100) NOT NULL,
    goal_id VARCHAR(100) NOT NULL,
    challenge_id VARCHAR(100) NOT NULL,
    namespace VARCHAR(100) NOT NULL,
    progress INT NOT NULL DEFAULT 0 CHECK (progress >= 0),
    status VARCHAR(20) NOT NULL DEFAULT 'not_started'
        CHECK (status IN ('not_started', 'in_progress', 'completed', 'claimed')),
    completed_at TIMESTAMP,
    claimed_at TIMESTAMP,
    created_at TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    updated_at TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    is_active BOOLEAN NOT NULL DEFAULT true,
    assigned_at TIMESTAMP,
    expires_at TIMESTAMP,
    baseline_value INT,
    PRIMARY KEY (user_id, goal_id),
    CHECK (status <> 'claimed' OR (completed_at IS NOT NULL AND claimed_at IS NOT NULL))
);
CREATE INDEX IF NOT EXISTS idx_user_goal_progress_user_challenge ON user_goal_progress (user_id, challenge_id);
CREATE INDEX IF NOT EXISTS idx_user_goal_progress_user_active ON user_goal_progress (user_id, is_active) WHERE is_active;
";

/// Whoever makes the table holds this; service and handler may start at once.
const SCHEMA_LOCK: i64 = 0x6368_616c;

/// Makes the table, unless it is there.
async fn make_schema(connection: &mut PgConnection) -> sqlx::Result<()> {
    let mut transaction = connection.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(SCHEMA_LOCK)
        .execute(&mut *transaction)
        .await?;
    transaction.execute(SCHEMA).await?;
    transaction.commit().await
}
