//! How the periodic rounds speak of a Redis that does not answer.

use std::fmt::Display;

use redis::{RedisError, RedisResult};

/// Whether Redis itself is out of reach, so that trying the next command is no use either.
pub(crate) fn is_outage(error: &RedisError) -> bool {
    error.is_io_error() || error.is_timeout() || error.is_connection_dropped()
}

/// Collects the errors of one round: goes on after an error that concerns one event, stops at an outage.
#[derive(Debug, Default)]
pub(crate) struct RoundErrors(Option<RedisError>);

impl RoundErrors {
    /// Keeps the first error; an outage is returned at once.
    pub(crate) fn note<T>(&mut self, outcome: RedisResult<T>) -> RedisResult<Option<T>> {
        match outcome {
            Ok(value) => Ok(Some(value)),
            Err(error) if is_outage(&error) => Err(error),
            Err(error) => {
                self.0.get_or_insert(error);
                Ok(None)
            }
        }
    }

    pub(crate) fn finish(self) -> RedisResult<()> {
        self.0.map_or(Ok(()), Err)
    }
}

/// Logs that something fails when it begins and when it ends, not each time in between.
#[derive(Debug)]
pub(crate) struct OutageLog {
    what: &'static str,
    failing: bool,
}

impl OutageLog {
    pub(crate) fn new(what: &'static str) -> Self {
        Self {
            what,
            failing: false,
        }
    }

    pub(crate) fn note<E: Display>(&mut self, outcome: &Result<(), E>) {
        match outcome {
            Err(error) if !self.failing => {
                tracing::warn!(what = self.what, %error, "Redis work fails; trying again every round");
            }
            Ok(()) if self.failing => tracing::info!(what = self.what, "Redis work succeeds again"),
            _ => {}
        }
        self.failing = outcome.is_err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply_error() -> RedisError {
        RedisError::from((redis::ErrorKind::UnexpectedReturnType, "wrong type"))
    }

    #[test]
    fn round_goes_on_after_an_error_of_one_event_and_reports_it_at_the_end() {
        let mut errors = RoundErrors::default();
        assert!(matches!(errors.note::<u8>(Err(reply_error())), Ok(None)));
        assert!(matches!(errors.note(Ok(1)), Ok(Some(1))));
        assert!(errors.finish().is_err());
    }

    #[test]
    fn round_stops_at_an_outage() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert!(
            RoundErrors::default()
                .note::<u8>(Err(refused.into()))
                .is_err()
        );
    }
}
