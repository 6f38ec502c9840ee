//! Profiles in the format of pprof, at the addresses at which Go programs have them.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Query;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use pprof::ProfilerGuardBuilder;
use pprof::protos::Message as _;
use serde::Deserialize;
use tokio::sync::oneshot;

/// Samples a second: a prime, so that they do not fall into step with what is done at even intervals.
const FREQUENCY: i32 = 97;
/// Longer profiles help nobody.
const LONGEST: NonZeroU32 = NonZeroU32::MIN.saturating_add(599);

/// The profiler belongs to the process, and there is one.
static BUSY: AtomicBool = AtomicBool::new(false);

/// `/debug/pprof/…`.
pub(crate) fn routes() -> Router {
    Router::new()
        .route("/debug/pprof/", get(index))
        .route("/debug/pprof/profile", get(cpu))
        .route("/debug/pprof/{kind}", get(missing))
}

async fn index() -> &'static str {
    "profile: where processor time goes, ?seconds=30\n"
}

async fn missing() -> (StatusCode, &'static str) {
    let told = "there is no such profile; there is profile (processor time, ?seconds=30)\n";
    (StatusCode::NOT_FOUND, told)
}

#[derive(Deserialize)]
struct Asked {
    seconds: Option<NonZeroU32>,
}

/// Samples the processor time of the whole process for a while.
async fn cpu(Query(asked): Query<Asked>) -> Response {
    let seconds = asked.seconds.map_or(30, NonZeroU32::get);
    if seconds > LONGEST.get() {
        let told = format!("seconds={seconds}: 1 to {LONGEST} are allowed\n");
        return (StatusCode::BAD_REQUEST, told).into_response();
    }
    if BUSY.swap(true, Ordering::AcqRel) {
        return (StatusCode::CONFLICT, "another profile is being taken\n").into_response();
    }
    let (done, profile) = oneshot::channel();
    // On a thread of its own: naming what was sampled takes long, and the end of the program does not wait for it.
    std::thread::spawn(move || {
        let profile = sample(Duration::from_secs(seconds.into()));
        BUSY.store(false, Ordering::Release);
        let _ = done.send(profile);
    });
    match profile.await {
        Ok(Ok(profile)) => {
            let headers = [
                (CONTENT_TYPE, "application/octet-stream"),
                (CONTENT_DISPOSITION, "attachment; filename=\"profile.pb\""),
            ];
            (headers, profile).into_response()
        }
        Ok(Err(error)) => failed(&error.to_string()),
        Err(_) => failed("the profiler ended unexpectedly"),
    }
}

fn failed(why: &str) -> Response {
    let told = format!("no profile: {why}\n");
    (StatusCode::INTERNAL_SERVER_ERROR, told).into_response()
}

fn sample(length: Duration) -> pprof::Result<Vec<u8>> {
    let guard = ProfilerGuardBuilder::default()
        .frequency(FREQUENCY)
        // A sample inside these could not be unwound safely.
        .blocklist(&["libc", "libgcc", "pthread", "vdso"])
        .build()?;
    std::thread::sleep(length);
    let profile = guard.report().build()?.pprof()?;
    Ok(profile.encode_to_vec())
}
