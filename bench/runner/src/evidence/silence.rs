//! When somebody wrote into a folder for the last time: all that can be told of a process of another container or machine.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::copy;

/// Whoever works in a folder writes to it more often than that: in a run every second, and a monitor keeps what it scrapes. It is far longer
/// than preparing a run or cooling down after it takes.
pub(crate) const SILENCE: Duration = Duration::from_mins(15);

/// When something below a folder was written for the last time, as far as its files say it.
pub(crate) fn last_written(folder: &Path) -> Option<SystemTime> {
    let files = copy::files(folder).ok()?.into_iter();
    let times = files.filter_map(|name| fs::metadata(folder.join(name)).ok()?.modified().ok());
    times.max()
}

/// Whether that is so long ago that nobody works there any more. A time that is to come says nothing.
pub(crate) fn is_silent(written: SystemTime) -> bool {
    written.elapsed().is_ok_and(|ago| ago > SILENCE)
}
