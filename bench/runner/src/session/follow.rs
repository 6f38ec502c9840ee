//! A session seen from another process: its events, with k6's output between them, as its own terminal heard them.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::Timestamp;

use super::record::EVENTS;
use crate::events::{Event, Journal};

/// What k6 prints, once the run is complete; before that the name has an end of its own.
const OUTPUT: &str = "stdout.txt";

/// A place in what was heard.
#[derive(Debug)]
pub(crate) struct Follow {
    folder: PathBuf,
    journal: Journal,
    output: Option<Tail>,
}

impl Follow {
    /// The beginning of what happened in the folder of a plan.
    pub(crate) fn of(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            journal: Journal::of(&folder.join(EVENTS)),
            output: None,
        }
    }

    /// What has been heard since.
    ///
    /// # Errors
    /// A file is there and cannot be read.
    pub(crate) fn next(&mut self) -> anyhow::Result<Vec<(Timestamp, Event)>> {
        let mut heard = Vec::new();
        for (at, event) in self.journal.next()? {
            match &event {
                Event::RunBegan { folder, .. } if !folder.is_empty() => {
                    self.output = Some(Tail::of(&self.folder.join(folder)));
                }
                // The output is complete before that is told.
                Event::Judged(_) | Event::NotJudged { .. } | Event::RunEnded => {
                    self.listen(&mut heard)?;
                    self.output = None;
                }
                _ => {}
            }
            heard.push((at, event));
        }
        self.listen(&mut heard)?;
        Ok(heard)
    }

    fn listen(&mut self, heard: &mut Vec<(Timestamp, Event)>) -> anyhow::Result<()> {
        let Some(output) = &mut self.output else {
            return Ok(());
        };
        for text in output.next()? {
            let process = "k6".to_owned();
            heard.push((Timestamp::now(), Event::Output { process, text }));
        }
        Ok(())
    }
}

/// The output of a run that is being written.
#[derive(Debug)]
struct Tail {
    folder: PathBuf,
    file: Option<BufReader<File>>,
    /// The command, which k6 did not print, has been passed over.
    past_command: bool,
    /// A line whose end is not written yet.
    begun: Vec<u8>,
}

impl Tail {
    fn of(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            file: None,
            past_command: false,
            begun: Vec::new(),
        }
    }

    /// Lines that have been written since.
    fn next(&mut self) -> anyhow::Result<Vec<String>> {
        // It gets its name at the end, between two looks at most.
        let open = || {
            let partial = self.folder.join(format!("{OUTPUT}.partial"));
            File::open(partial).or_else(|_| File::open(self.folder.join(OUTPUT)))
        };
        let file = match &mut self.file {
            Some(file) => file,
            None => match open() {
                Ok(file) => self.file.insert(BufReader::new(file)),
                Err(_) => return Ok(Vec::new()),
            },
        };
        let mut lines = Vec::new();
        loop {
            file.read_until(b'\n', &mut self.begun)
                .with_context(|| format!("reading {OUTPUT} in {}", self.folder.display()))?;
            if self.begun.last() != Some(&b'\n') {
                return Ok(lines);
            }
            if std::mem::replace(&mut self.past_command, true) {
                lines.push(String::from_utf8_lossy(&self.begun).into_owned());
            }
            self.begun.clear();
        }
    }
}
