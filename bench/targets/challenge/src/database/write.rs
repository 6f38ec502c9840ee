//! What a flush writes: many users at once.

use std::fmt::Write as _;
use std::time::Duration;

use sqlx::{Executor as _, PgPool};

use super::progress::hold_up;

/// Which rows a flush makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Rows that are missing are made
    Upsert,
    /// Only rows that are there are changed: events of a user who was not initialized change nothing
    Update,
}

/// One goal of one user, as it is to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Update<'a> {
    pub(crate) user: &'a str,
    pub(crate) goal: &'a str,
    pub(crate) challenge: &'a str,
    pub(crate) progress: i32,
    pub(crate) target: i32,
}

const TABLE: &str = "CREATE TEMP TABLE buffered_progress (user_id VARCHAR(100), goal_id VARCHAR(100), challenge_id VARCHAR(100), \
                     namespace VARCHAR(100), progress INT, status VARCHAR(20)) ON COMMIT DROP";

// What was completed stays so, whatever comes later; what was claimed is not touched.
const UPSERT: &str = "INSERT INTO user_goal_progress AS row (user_id, goal_id, challenge_id, namespace, progress, status, completed_at) \
     SELECT user_id, goal_id, challenge_id, namespace, progress, status, \
            CASE WHEN status = 'completed' THEN now() AT TIME ZONE 'utc' END \
     FROM buffered_progress ORDER BY user_id, goal_id \
     ON CONFLICT (user_id, goal_id) DO UPDATE SET progress = excluded.progress, \
            status = CASE WHEN row.status = 'completed' THEN row.status ELSE excluded.status END, \
            completed_at = coalesce(row.completed_at, excluded.completed_at), updated_at = now() AT TIME ZONE 'utc' \
     WHERE row.status <> 'claimed' AND row.is_active";

const UPDATE: &str = "UPDATE user_goal_progress AS row SET progress = new.progress, \
            status = CASE WHEN row.status = 'completed' THEN row.status ELSE new.status END, \
            completed_at = coalesce(row.completed_at, CASE WHEN new.status = 'completed' THEN now() AT TIME ZONE 'utc' END), \
            updated_at = now() AT TIME ZONE 'utc' \
     FROM buffered_progress AS new WHERE row.user_id = new.user_id AND row.goal_id = new.goal_id \
            AND row.status <> 'claimed' AND row.is_active";

/// Writes the updates of these lines in one transaction: all or none. Returns how many rows changed.
pub(crate) async fn write(
    pool: &PgPool,
    mode: Mode,
    lines: &str,
    slow: Duration,
) -> sqlx::Result<u64> {
    let mut transaction = pool.begin().await?;
    hold_up(&mut transaction, slow).await?;
    // Each has another temporary table, so that nothing is to be gained by preparing these.
    transaction.execute(TABLE).await?;
    let mut copy = transaction
        .copy_in_raw("COPY buffered_progress FROM STDIN")
        .await?;
    copy.send(lines.as_bytes()).await?;
    copy.finish().await?;
    let statement = match mode {
        Mode::Upsert => UPSERT,
        Mode::Update => UPDATE,
    };
    let written = transaction.execute(statement).await?;
    transaction.commit().await?;
    Ok(written.rows_affected())
}

/// The updates as `COPY` reads them, a line for each.
pub(crate) fn lines<'a>(namespace: &str, updates: impl Iterator<Item = Update<'a>>) -> String {
    let mut lines = String::new();
    for update in updates {
        for text in [update.user, update.goal, update.challenge, namespace] {
            escape(text, &mut lines);
            lines.push('\t');
        }
        let status = match update.progress {
            progress if progress >= update.target => "completed",
            0 => "not_started",
            _ => "in_progress",
        };
        let _ = writeln!(lines, "{}\t{status}", update.progress);
    }
    lines
}

fn escape(text: &str, into: &mut String) {
    for letter in text.chars() {
        match letter {
            '\\' => into.push_str("\\\\"),
            '\t' => into.push_str("\\t"),
            '\n' => into.push_str("\\n"),
            '\r' => into.push_str("\\r"),
            other => into.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_user_is_called_it_is_one_row() {
        let update = |user, progress| Update {
            user,
            goal: "g",
            challenge: "c",
            progress,
            target: 5,
        };
        let updates = [update("a\tb\\\n", 0), update("ü", 4), update("x", 5)];
        assert_eq!(
            lines("test", updates.into_iter()),
            "a\\tb\\\\\\n\tg\tc\ttest\t0\tnot_started\nü\tg\tc\ttest\t4\tin_progress\nx\tg\tc\ttest\t5\tcompleted\n"
        );
    }
}
