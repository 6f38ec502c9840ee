//! The stream as evidence: one JSON object a line, with its time.

use jiff::Timestamp;
use serde::Serialize;

use super::stream::{Event, Listener};
use crate::values::writer::Writer;

/// Writes every event but output to a file.
#[derive(Debug)]
pub(crate) struct Log(Writer);

#[derive(Serialize)]
struct Line<'a> {
    at: Timestamp,
    #[serde(flatten)]
    event: &'a Event,
}

impl Log {
    /// Appends to a file that is open for it.
    pub(crate) fn to(file: Writer) -> Self {
        Self(file)
    }
}

impl Listener for Log {
    fn hear(&mut self, at: Timestamp, event: &Event) {
        if matches!(event, Event::Output { .. }) {
            return;
        }
        // Every event is JSON.
        if let Ok(text) = serde_json::to_string(&Line { at, event }) {
            self.0.add(&format!("{text}\n"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::values::mask;
    use crate::values::writer::Faults;

    #[test]
    fn an_event_is_a_line_without_secrets() {
        mask::register("hunter2-events");
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("events.jsonl");
        let mut log = Log::to(Writer::new(
            File::create(&path).expect("file"),
            &path,
            Faults::default(),
        ));
        let event = Event::TargetReady {
            target: "room".to_owned(),
            address: "http://a:hunter2-events@b".to_owned(),
        };
        log.hear(Timestamp::UNIX_EPOCH, &event);
        let output = Event::Output {
            process: "k6".to_owned(),
            text: "line\n".to_owned(),
        };
        log.hear(Timestamp::UNIX_EPOCH, &output);
        assert_eq!(
            std::fs::read_to_string(path).expect("written"),
            "{\"at\":\"1970-01-01T00:00:00Z\",\"event\":\"targetReady\",\"target\":\"room\",\"address\":\"http://a:***@b\"}\n"
        );
    }
}
