//! What subjects answer, and what they are asked with.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A batch is at most so large: more would last for minutes.
const MOST: u64 = 10_000_000;

/// An answer other than success, with what was wrong.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    error: String,
}

/// What a handler answers.
pub(crate) type Answer = Result<Json<Value>, Failure>;

/// A failure with this status.
pub(crate) fn failure(status: StatusCode, error: impl Into<String>) -> Failure {
    let error = error.into();
    Failure { status, error }
}

/// A request that cannot be carried out.
pub(crate) fn refused(error: impl Into<String>) -> Failure {
    failure(StatusCode::BAD_REQUEST, error)
}

/// Something that is needed is not there now.
pub(crate) fn unavailable(error: impl Into<String>) -> Failure {
    failure(StatusCode::SERVICE_UNAVAILABLE, error)
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = json!({ "ok": false, "error": self.error });
        (self.status, Json(body)).into_response()
    }
}

/// The JSON of a body; an empty one is the default.
pub(crate) fn asked<T: Default + DeserializeOwned>(body: &Bytes) -> Result<T, Failure> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body)
        .map_err(|error| refused(format!("the body is not as it should be: {error}")))
}

/// `{"n": …}`: how many operations the target performs itself.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Batch {
    n: Option<u64>,
}

/// The number of operations of a batch.
pub(crate) fn batch(body: &Bytes, usual: u64) -> Result<u64, Failure> {
    within("n", asked::<Batch>(body)?.n.unwrap_or(usual), MOST)
}

/// A number from 1 to `most`.
pub(crate) fn within(name: &str, value: u64, most: u64) -> Result<u64, Failure> {
    if (1..=most).contains(&value) {
        return Ok(value);
    }
    Err(refused(format!(
        "{name}: got {value}; 1 to {most} are allowed"
    )))
}

/// Microseconds, with what is below one.
pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Does what keeps a processor busy, apart from what is waited for.
pub(crate) async fn busy<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        failure(status, format!("the work broke off: {error}"))
    })
}

/// Processor time that this process has taken; zero where the system does not tell.
pub(crate) fn processor_time() -> Duration {
    let stat = procfs::process::Process::myself().and_then(|process| process.stat());
    let ticks = stat.map_or(0, |stat| stat.utime + stat.stime);
    Duration::from_secs_f64(ticks as f64 / procfs::ticks_per_second() as f64)
}

/// Resident memory of this process, in bytes; 0 where the system does not tell.
pub(crate) fn resident() -> u64 {
    let status = procfs::process::Process::myself().and_then(|process| process.status());
    status.ok().and_then(|status| status.vmrss).unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_a_number_or_the_usual_one() {
        let of = |body: &'static str| batch(&Bytes::from(body), 7);
        assert_eq!(of("").ok(), Some(7));
        assert_eq!(of("{\"n\": 3}").ok(), Some(3));
        for (body, expected) in [
            ("{\"n\": 0}", "n: got 0; 1 to 10000000 are allowed"),
            ("{\"m\": 1}", "unknown field `m`"),
            ("3", "the body is not as it should be"),
        ] {
            let error = of(body).expect_err("it is refused").error;
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn what_this_process_takes_is_known() {
        assert!(resident() > 100_000);
        // Looking takes time of the processor as well.
        assert!((0..1_000_000).any(|_| !processor_time().is_zero()));
    }
}
