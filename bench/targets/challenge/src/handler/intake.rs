//! Events, as they come over gRPC.

use std::sync::Arc;
use std::time::Duration;

use tonic::{Request, Response, Status};

use super::app::App;
use super::buffer::Refusal;
use crate::catalogue::Place;
use crate::faults::later;
use events::account::UserLoggedIn;
use events::account::user_authentication_user_logged_in_service_server::UserAuthenticationUserLoggedInService;
use events::statistic::StatItemUpdated;
use events::statistic::statistic_stat_item_updated_service_server::StatisticStatItemUpdatedService;

/// What the handler takes, for those who ask it by reflection.
pub(super) const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/events.bin"));

/// The messages and services, made of the files in `proto`.
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
pub mod events {
    /// Logins.
    pub mod account {
        tonic::include_proto!("accelbyte.iam.account.v1");
    }
    /// Changes of statistics.
    pub mod statistic {
        tonic::include_proto!("accelbyte.social.statistic.v1");
    }
}

/// The column of the database is not longer.
const USER_LIMIT: usize = 100;
/// What a login sets the progress of its goals to.
const LOGIN: i32 = 1;

/// Both services, each of which hands its events on in the same way.
#[derive(Clone)]
pub(super) struct Intake(pub(super) Arc<App>);

#[tonic::async_trait]
impl UserAuthenticationUserLoggedInService for Intake {
    async fn on_message(&self, request: Request<UserLoggedIn>) -> Result<Response<()>, Status> {
        let event = request.into_inner();
        let began = std::time::Instant::now();
        let app = &self.0;
        let goals = app.config.index.of_logins();
        let taken = if is_user(&event.user_id) {
            app.take(&event.namespace, &event.user_id, goals, LOGIN)
                .await
        } else {
            Err(app.malformed("user_id must have 1 to 100 bytes"))
        };
        app.latencies.record("UserLoggedIn", began.elapsed());
        taken.map(Response::new)
    }
}

#[tonic::async_trait]
impl StatisticStatItemUpdatedService for Intake {
    async fn on_message(&self, request: Request<StatItemUpdated>) -> Result<Response<()>, Status> {
        let event = request.into_inner();
        let began = std::time::Instant::now();
        let app = &self.0;
        let taken = match &event.payload {
            _ if !is_user(&event.user_id) => Err(app.malformed("user_id must have 1 to 100 bytes")),
            None => Err(app.malformed("payload is missing")),
            Some(item) if item.stat_code.is_empty() => {
                Err(app.malformed("payload.stat_code is empty"))
            }
            Some(item) => {
                let goals = app.config.index.of_statistic(&item.stat_code);
                let progress = whole(item.latest_value);
                app.take(&event.namespace, &event.user_id, goals, progress)
                    .await
            }
        };
        app.latencies.record("StatItemUpdated", began.elapsed());
        taken.map(Response::new)
    }
}

/// Whether the database can hold a user of this name.
fn is_user(user: &str) -> bool {
    (1..=USER_LIMIT).contains(&user.len()) && !user.contains('\0')
}

/// The progress of a value: whole, and never below 0.
fn whole(value: f64) -> i32 {
    // A cast of a float ends at the bounds, and takes what is no number as 0.
    #[allow(clippy::cast_possible_truncation)]
    let whole = value as i32;
    whole.max(0)
}

impl App {
    fn malformed(&self, what: &str) -> Status {
        self.metrics.received.inc();
        self.metrics.malformed.inc();
        Status::invalid_argument(what)
    }

    /// Takes an event that is well-formed. It is acknowledged once its updates are buffered.
    async fn take(
        &self,
        namespace: &str,
        user: &str,
        goals: &[Place],
        progress: i32,
    ) -> Result<(), Status> {
        self.metrics.received.inc();
        let (latency, above, share, falsely) = self.faults.with(|faults| {
            (
                faults.latency,
                faults.latency_above,
                faults.error_share,
                faults.false_acknowledgement,
            )
        });
        let latency = later(latency, above, &self.pace);
        if latency > Duration::ZERO {
            tokio::time::sleep(latency).await;
        }
        if namespace != self.config.namespace {
            self.metrics.ignored.inc();
            return Ok(());
        }
        let taken = if self.hit.hits(share) {
            Err(Refusal::Full)
        } else {
            self.buffer.of(user).add(user, goals, progress).await
        };
        match taken {
            Ok(taken) => {
                self.metrics.taken(goals.len(), taken);
                Ok(())
            }
            Err(refusal) => {
                self.metrics.refused(goals.len(), falsely);
                let why = match refusal {
                    Refusal::Full => "the buffer is full",
                    Refusal::TimedOut => "no flush made room in the buffer in time",
                };
                tracing::warn!(
                    user,
                    updates = goals.len(),
                    falsely,
                    "buffer refused an event: {why}"
                );
                if falsely {
                    return Ok(());
                }
                Err(match refusal {
                    Refusal::Full => Status::resource_exhausted(why),
                    Refusal::TimedOut => Status::unavailable(why),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_whole_and_never_negative() {
        let wholes = [7.9, -3.0, 1e12, f64::NAN].map(whole);
        assert_eq!(wholes, [7, 0, i32::MAX, 0]);
    }
}
