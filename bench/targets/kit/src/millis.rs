//! Durations as whole milliseconds, for switches whose names end in `-ms`: `#[serde(with = "target_kit::millis")]`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Writes a duration.
///
/// # Errors
///
/// If the serialiser refuses.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    whole(duration).serialize(serializer)
}

/// Reads a duration.
///
/// # Errors
///
/// If there is no whole number.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}

fn whole(duration: &Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The same for durations that may be absent: `#[serde(with = "target_kit::millis::option")]`.
pub mod option {
    use super::{Deserialize, Deserializer, Duration, Serialize, Serializer, whole};

    /// Writes a duration, or nothing.
    ///
    /// # Errors
    ///
    /// If the serialiser refuses.
    pub fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        duration.as_ref().map(whole).serialize(serializer)
    }

    /// Reads a duration, or nothing.
    ///
    /// # Errors
    ///
    /// If there is neither a whole number nor nothing.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Option::<u64>::deserialize(deserializer).map(|millis| millis.map(Duration::from_millis))
    }
}
