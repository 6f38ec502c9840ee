//! Matches in what logs grew by, from one sample to the next.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use regex::Regex;
use serde_json::Value as Json;

use super::sampler::{self, Values};
use crate::suite::monitor::Pick;

/// So much is read of a log in one sample; the rest comes with the next ones.
const MOST: u64 = 16 << 20;

pub(super) struct Sampler {
    logs: Vec<Log>,
    picks: Vec<Counted>,
}

/// An expression, and how many matches are still to be told.
struct Counted {
    name: String,
    regex: Regex,
    found: u32,
}

/// A log file, read up to some place.
struct Log {
    path: PathBuf,
    at: u64,
    /// The beginning of a line whose end is still to come.
    begun: Vec<u8>,
}

impl Sampler {
    /// From the present end of the logs on; one that is not there yet is read from its beginning.
    ///
    /// # Errors
    /// A pick is no regular expression.
    pub(super) fn new(logs: Vec<PathBuf>, picks: Vec<Pick>) -> Result<Self, regex::Error> {
        let logs = logs.into_iter().map(|path| Log {
            at: fs::metadata(&path).map_or(0, |file| file.len()),
            path,
            begun: Vec::new(),
        });
        let picks = picks.into_iter();
        let picks = picks.map(|pick| {
            Ok(Counted {
                name: pick.name,
                regex: Regex::new(&pick.what)?,
                found: 0,
            })
        });
        Ok(Self {
            logs: logs.collect(),
            picks: picks.collect::<Result<_, regex::Error>>()?,
        })
    }

    fn look(&mut self) -> Values {
        let mut values = Values::default();
        if self.logs.is_empty() {
            values.miss("the target has no log: an external one names them in `logs`".to_owned());
        }
        for log in &mut self.logs {
            match log.grown() {
                Ok(text) => self.picks.iter_mut().for_each(|pick| pick.count(&text)),
                Err(error) => values.miss(format!("{}: {error}", log.path.display())),
            }
        }
        // What cannot be read may hold any number of matches: what the other logs hold is told with it.
        if values.is_whole() {
            for pick in &mut self.picks {
                values.add(&pick.name, f64::from(std::mem::take(&mut pick.found)));
            }
        }
        values
    }
}

impl Counted {
    fn count(&mut self, text: &str) {
        let matches = self.regex.find_iter(text).count();
        let matches = u32::try_from(matches).unwrap_or(u32::MAX);
        self.found = self.found.saturating_add(matches);
    }
}

impl Log {
    /// The whole lines that were written since.
    fn grown(&mut self) -> std::io::Result<String> {
        let found = match fs::metadata(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.at == 0 => {
                return Ok(String::new());
            }
            found => found?,
        };
        // A pipe or a device would be waited for.
        if !found.is_file() {
            return Err(std::io::Error::other("no regular file"));
        }
        // A shorter file was replaced by a new one.
        if found.len() < self.at {
            self.at = 0;
            self.begun.clear();
        }
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.at))?;
        let mut bytes = std::mem::take(&mut self.begun);
        self.at += file.take(MOST).read_to_end(&mut bytes)? as u64;
        let whole = bytes.iter().rposition(|&byte| byte == b'\n');
        self.begun = bytes.split_off(whole.map_or(0, |end| end + 1));
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl sampler::Sampler for Sampler {
    fn sample(&mut self) -> Json {
        self.look().line()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn each_line_is_counted_once_when_it_is_whole() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a.log");
        let other = folder.path().join("b.log");
        fs::write(&path, "error of before\n").expect("written");
        let pick = Pick {
            name: "errors".to_owned(),
            what: "(?m)^error".to_owned(),
        };
        let logs = vec![path.clone(), other.clone()];
        let mut sampler = Sampler::new(logs, vec![pick]).expect("an expression");
        let mut errors = || sampler.look().line()["values"]["errors"].as_f64();
        let append = |text: &str| {
            let mut file = fs::OpenOptions::new()
                .append(true)
                .open(&path)
                .expect("log");
            file.write_all(text.as_bytes()).expect("written");
        };
        assert_eq!(errors(), Some(0.0), "nothing since");
        append("error 1\nok\nerror 2\nerr");
        assert_eq!(errors(), Some(2.0));
        append("or 3\n");
        fs::write(&other, "error of another\n").expect("written");
        assert_eq!(errors(), Some(2.0), "the whole line, and the new log");
        fs::write(&path, "error\n").expect("a new file");
        assert_eq!(errors(), Some(1.0));
        fs::remove_file(&path).expect("removed");
        assert_eq!(errors(), None, "not known, and not 0");
    }
}
