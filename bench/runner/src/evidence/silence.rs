//! When somebody wrote into a folder for the last time: all that can be told of a process of another container or machine.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Whoever works in a folder writes to it more often than that: in a run every second, and a monitor keeps what it scrapes. It is far longer
/// than preparing a run or cooling down after it takes.
pub(crate) const SILENCE: Duration = Duration::from_mins(15);

/// When something below a folder was written for the last time, as far as its files say it: what cannot be read, or goes meanwhile, is
/// passed over. `None` where nothing says it.
pub(crate) fn last_written(folder: &Path) -> Option<SystemTime> {
    let (mut last, mut left) = (None, vec![folder.to_owned()]);
    while let Some(folder) = left.pop() {
        let entries = fs::read_dir(&folder).into_iter().flatten();
        for entry in entries.filter_map(Result::ok) {
            let Ok(meta) = fs::symlink_metadata(entry.path()) else {
                continue;
            };
            if meta.is_dir() {
                left.push(entry.path());
            } else if meta.is_file() {
                last = last.max(meta.modified().ok());
            }
        }
    }
    last
}

/// Whether that is so long ago that nobody works there any more. A time that is to come says nothing.
pub(crate) fn is_silent(written: SystemTime) -> bool {
    written.elapsed().is_ok_and(|ago| ago > SILENCE)
}
