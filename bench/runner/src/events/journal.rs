//! What was told, read back from the file that [`Log`](super::Log) writes; of another process too, while it still writes.

use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::Timestamp;
use serde::Deserialize;

use super::stream::Event;

/// A place in such a file.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    /// `None` before there is a file.
    file: Option<BufReader<File>>,
    /// A line whose end is not written yet.
    begun: Vec<u8>,
}

#[derive(Deserialize)]
struct Line {
    at: Timestamp,
    #[serde(flatten)]
    event: Event,
}

impl Journal {
    /// The beginning of a file, which need not be there yet.
    pub(crate) fn of(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            file: None,
            begun: Vec::new(),
        }
    }

    /// What has been written since. Lines that this runner does not know are passed over: another version wrote them.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub(crate) fn next(&mut self) -> anyhow::Result<Vec<(Timestamp, Event)>> {
        let reading = || format!("reading {}", self.path.display());
        let file = match &mut self.file {
            Some(file) => file,
            None => match File::open(&self.path) {
                Ok(file) => self.file.insert(BufReader::new(file)),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(error).with_context(reading),
            },
        };
        let mut told = Vec::new();
        loop {
            file.read_until(b'\n', &mut self.begun)
                .with_context(reading)?;
            if self.begun.last() != Some(&b'\n') {
                return Ok(told);
            }
            if let Ok(Line { at, event }) = serde_json::from_slice(&self.begun) {
                told.push((at, event));
            }
            self.begun.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::events::{Listener as _, Log};
    use crate::values::writer::{Faults, Writer};

    #[test]
    fn what_is_written_is_read_once_and_whole() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("events.jsonl");
        let mut journal = Journal::of(&path);
        assert_eq!(journal.next().expect("no file yet"), []);
        let file = File::options().append(true).create(true).open(&path);
        let mut file = file.expect("file");
        let mut log = Log::to(Writer::new(
            file.try_clone().expect("file"),
            &path,
            Faults::default(),
        ));
        let events = [
            Event::RunBegan {
                number: 1,
                title: "smoke".to_owned(),
                estimate_ms: None,
                folder: "a/smoke".to_owned(),
            },
            Event::RunEnded,
        ];
        log.hear(Timestamp::UNIX_EPOCH, &events[0]);
        let told = |journal: &mut Journal| {
            let told = journal.next().expect("read").into_iter();
            told.map(|(_, event)| event).collect::<Vec<_>>()
        };
        assert_eq!(told(&mut journal), events[..1]);
        // Half a line, one of another version, and the rest.
        file.write_all(b"{\"at\":\"1970-01-01T00:00:00Z\",\"ev")
            .expect("written");
        assert_eq!(told(&mut journal), []);
        file.write_all(b"ent\":\"ofTomorrow\"}\n").expect("written");
        log.hear(Timestamp::UNIX_EPOCH, &events[1]);
        assert_eq!(told(&mut journal), events[1..]);
    }
}
