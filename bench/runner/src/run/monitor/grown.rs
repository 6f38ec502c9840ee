//! Matches in what logs grew by, from one sample to the next.

use std::fs::{self, File};
use std::io::{Error, ErrorKind, Read as _, Result, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde_json::Value as Json;

use super::sampler::{self, Values};
use crate::suite::monitor::Pick;

/// So much is read of a log in one sample; the rest comes with the next ones, and all of it with the last.
const MOST: u64 = 16 << 20;
/// So much is read at once.
const CHUNK: u64 = 1 << 20;
/// So much of a line is kept until its end comes.
const LONGEST: usize = 1 << 20;

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

/// A log: the file that has its name, and the one that had it before, which somebody may still write to.
struct Log {
    path: PathBuf,
    /// Where the first file begins to count, if it was there but could not be opened.
    from: u64,
    files: Vec<Part>,
}

/// A file, read up to some place.
struct Part {
    file: File,
    /// Device and number: what is the same file under whatever name.
    id: (u64, u64),
    at: u64,
    /// The beginning of a line whose end is still to come.
    begun: Vec<u8>,
    /// The line is so long that the rest of it is passed over.
    passing: bool,
    /// Something was passed over since that was told.
    passed: bool,
}

impl Sampler {
    /// From the present end of the logs on; one that is not there yet is read from its beginning.
    ///
    /// # Errors
    /// A pick is no regular expression.
    pub(super) fn new(
        logs: Vec<PathBuf>,
        picks: Vec<Pick>,
    ) -> std::result::Result<Self, regex::Error> {
        let logs = logs.into_iter().map(Log::new);
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
            picks: picks.collect::<std::result::Result<_, regex::Error>>()?,
        })
    }

    /// `most`: so many bytes of each log.
    fn look(&mut self, most: u64) -> Values {
        let mut values = Values::default();
        if self.logs.is_empty() {
            values.miss("the target has no log: an external one names them in `logs`".to_owned());
        }
        for log in &mut self.logs {
            let mut each = |text: &str| self.picks.iter_mut().for_each(|pick| pick.count(text));
            if let Err(error) = log.read(most, &mut each) {
                values.miss(format!("{}: {error}", log.path.display()));
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

/// Who gets whole lines.
type Each<'a> = dyn FnMut(&str) + 'a;

impl Log {
    fn new(path: PathBuf) -> Self {
        let from = fs::metadata(&path).map_or(0, |file| file.len());
        let first = Part::open(&path, from);
        Self {
            path,
            from,
            files: first.into_iter().collect(),
        }
    }

    /// Hands on the whole lines that were written since, up to a number of bytes.
    fn read(&mut self, most: u64, each: &mut Each<'_>) -> Result<()> {
        let mut left = most;
        for part in &mut self.files {
            left = part.read(left, each)?;
        }
        if self.follow()? {
            // Nobody writes to what had the name before the last one.
            if self.files.len() > 2 {
                self.files.remove(0).read(u64::MAX, each)?;
            }
            if let Some(part) = self.files.last_mut() {
                part.read(left, each)?;
            }
        }
        let passed = self.files.iter_mut().map(Part::passed);
        // Each of them is asked.
        if passed.filter(|passed| *passed).count() > 0 {
            return Err(Error::other(format!(
                "a line of more than {LONGEST} bytes, of which only the beginning is looked at"
            )));
        }
        Ok(())
    }

    /// Opens the file that has the name now, if it is another one.
    fn follow(&mut self) -> Result<bool> {
        let found = match fs::metadata(&self.path) {
            // It is still to come, or has gone, and what is written to it is read all the same.
            Err(error)
                if error.kind() == ErrorKind::NotFound
                    && (self.from == 0 || !self.files.is_empty()) =>
            {
                return Ok(false);
            }
            found => found?,
        };
        let last = self.files.last().map(|part| part.id);
        if last == Some(id(&found)) {
            return Ok(false);
        }
        let from = if last.is_none() { self.from } else { 0 };
        self.files.push(Part::open(&self.path, from)?);
        Ok(true)
    }
}

fn id(file: &fs::Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

impl Part {
    fn open(path: &Path, from: u64) -> Result<Self> {
        // A pipe or a device would be waited for.
        if !fs::metadata(path)?.is_file() {
            return Err(Error::other("no regular file"));
        }
        let file = File::open(path)?;
        Ok(Self {
            id: id(&file.metadata()?),
            file,
            at: from,
            begun: Vec::new(),
            passing: false,
            passed: false,
        })
    }

    /// Hands on whole lines of at most so many bytes, and tells how many more it might have been.
    fn read(&mut self, most: u64, each: &mut Each<'_>) -> Result<u64> {
        // What is written meanwhile comes with the next sample: somebody may write faster than this reads.
        let length = self.file.metadata()?.len();
        // A shorter file begins anew.
        if length < self.at {
            self.at = 0;
            self.begun.clear();
            self.passing = false;
        }
        let mut left = most.min(length - self.at);
        let rest = most - left;
        self.file.seek(SeekFrom::Start(self.at))?;
        while left > 0 {
            let mut bytes = Vec::new();
            let mut wanted = (&mut self.file).take(left.min(CHUNK));
            let count = wanted.read_to_end(&mut bytes)? as u64;
            if count == 0 {
                break;
            }
            self.at += count;
            left -= count;
            self.lines(bytes, each);
        }
        Ok(rest)
    }

    fn lines(&mut self, mut bytes: Vec<u8>, each: &mut Each<'_>) {
        if self.passing {
            self.passed = true;
            let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else {
                return;
            };
            bytes.drain(..=end);
            self.passing = false;
        }
        if !self.begun.is_empty() {
            bytes.splice(..0, std::mem::take(&mut self.begun));
        }
        let whole = bytes.iter().rposition(|&byte| byte == b'\n');
        let begun = bytes.split_off(whole.map_or(0, |end| end + 1));
        each(&String::from_utf8_lossy(&bytes));
        if begun.len() > LONGEST {
            each(&String::from_utf8_lossy(&begun));
            (self.passing, self.passed) = (true, true);
        } else {
            self.begun = begun;
        }
    }

    /// Whether something was passed over, once.
    fn passed(&mut self) -> bool {
        std::mem::take(&mut self.passed)
    }
}

impl sampler::Sampler for Sampler {
    fn sample(&mut self) -> Json {
        self.look(MOST).line()
    }

    fn last(&mut self) -> Option<Json> {
        Some(self.look(u64::MAX).line())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::sampler::Sampler as _;
    use super::*;

    /// A sampler of lines that begin with `error`.
    fn errors_in(logs: Vec<PathBuf>) -> Sampler {
        let pick = Pick {
            name: "errors".to_owned(),
            what: "(?m)^error".to_owned(),
        };
        Sampler::new(logs, vec![pick]).expect("an expression")
    }

    fn errors(line: &Json) -> Option<f64> {
        line["values"]["errors"].as_f64()
    }

    fn append(path: &Path, text: &str) {
        let file = fs::OpenOptions::new().append(true).create(true).open(path);
        let mut file = file.expect("log");
        file.write_all(text.as_bytes()).expect("written");
    }

    #[test]
    fn each_line_is_counted_once_when_it_is_whole() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a.log");
        let other = folder.path().join("b.log");
        fs::write(&path, "error of before\n").expect("written");
        let mut sampler = errors_in(vec![path.clone(), other.clone()]);
        let mut errors = || errors(&sampler.sample());
        assert_eq!(errors(), Some(0.0), "nothing since");
        append(&path, "error 1\nok\nerror 2\nerr");
        assert_eq!(errors(), Some(2.0));
        append(&path, "or 3\n");
        fs::write(&other, "error of another\n").expect("written");
        assert_eq!(errors(), Some(2.0), "the whole line, and the new log");
        fs::write(&path, "error\n").expect("shorter");
        assert_eq!(errors(), Some(1.0), "it begins anew");
        fs::remove_file(&path).expect("removed");
        assert_eq!(errors(), Some(0.0), "nothing was written to it");
        fs::create_dir(&path).expect("something else");
        assert_eq!(errors(), None, "not known, and not 0");
    }

    #[test]
    fn a_log_that_makes_room_for_a_longer_one_loses_nothing() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a.log");
        fs::write(&path, "error of before\n").expect("written");
        let mut sampler = errors_in(vec![path.clone()]);
        for number in 1..=3 {
            let old = folder.path().join(format!("a.log.{number}"));
            append(&path, "error at its end\n");
            fs::rename(&path, &old).expect("renamed");
            append(
                &path,
                "error at the beginning\nmore than the other one had\n",
            );
            assert_eq!(errors(&sampler.sample()), Some(2.0), "{number}");
            // Who has it open writes on until it opens the new one.
            append(&old, "error that comes late\n");
            append(&path, "error\n");
            assert_eq!(errors(&sampler.sample()), Some(2.0), "{number}");
        }
    }

    #[test]
    fn the_last_sample_holds_all_that_was_left() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a.log");
        let mut sampler = errors_in(vec![path.clone()]);
        let line = format!("error{}\n", "x".repeat(1018));
        // Of 1 KiB each, three times what a sample takes.
        append(&path, &line.repeat(3 * 16384));
        assert_eq!(errors(&sampler.sample()), Some(16384.0));
        let last = sampler.last().expect("a sample");
        assert_eq!(errors(&last), Some(32768.0));
    }

    #[test]
    fn of_a_line_without_end_the_beginning_counts_and_the_rest_is_missed() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a.log");
        let mut sampler = errors_in(vec![path.clone()]);
        append(&path, "error 1\nerror 2");
        append(&path, &"x".repeat(3 * LONGEST));
        for _ in 0..2 {
            let missed = sampler.sample();
            assert_eq!(errors(&missed), None, "{missed}");
            let why = missed["error"].as_str().expect("why");
            assert!(why.contains("a line of more than 1048576 bytes"), "{why}");
            assert!(sampler.logs[0].files[0].begun.is_empty(), "not kept");
            append(&path, &"x".repeat(LONGEST));
        }
        append(&path, "\n");
        sampler.sample();
        append(&path, "error 3\n");
        assert_eq!(errors(&sampler.sample()), Some(3.0));
    }
}
