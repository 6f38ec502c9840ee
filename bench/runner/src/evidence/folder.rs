//! Evidence folders: every file appears complete or not at all, and nothing is ever overwritten.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, bail};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::values::exit;
use crate::values::writer::{self, Faults, Writer};

/// Space that a run sets aside, so that a disk that fills up meanwhile still holds its verdict.
const RESERVE: u64 = 1 << 20;

/// The folder of one call of the runner, below the evidence root.
#[derive(Debug)]
pub(crate) struct Invocation {
    path: PathBuf,
    faults: Faults,
}

impl Invocation {
    /// Makes `<root>/<timestamp>`; if it exists (a call in the same second), `<timestamp>-2` and so on.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub(crate) fn create(root: &Path, timestamp: &str) -> anyhow::Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("making {}", root.display()))?;
        for number in 1.. {
            let name = if number == 1 {
                timestamp.to_owned()
            } else {
                format!("{timestamp}-{number}")
            };
            let path = root.join(name);
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self::open(&path)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("making {}", path.display()));
                }
            }
        }
        bail!("no free folder name below {}", root.display())
    }

    /// The folder of an earlier call.
    pub(crate) fn open(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            faults: Faults::default(),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The folders of the attempts at a run so far, with their numbers, in order; the last one counts. One that is gone hides
    /// no later one.
    pub(crate) fn attempts(&self, relative: &str) -> Vec<(u32, Folder)> {
        let first = self.path.join(relative);
        let (Some(parent), Some(name)) = (first.parent(), first.file_name()) else {
            return Vec::new();
        };
        let again = format!("{}-attempt-", name.to_string_lossy());
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        let mut numbers: Vec<u32> = entries
            .filter_map(|entry| {
                let other = entry.file_name().to_string_lossy().into_owned();
                other.strip_prefix(&again)?.parse().ok()
            })
            .chain([1])
            .filter(|number| self.path.join(attempt(relative, *number)).is_dir())
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        let folder = |number| {
            let path = self.path.join(attempt(relative, number));
            (number, self.folder(path))
        };
        numbers.into_iter().map(folder).collect()
    }

    /// The folder as evidence for what belongs to all runs.
    pub(crate) fn shared(&self) -> Folder {
        self.folder(self.path.clone())
    }

    fn folder(&self, path: PathBuf) -> Folder {
        Folder {
            path,
            faults: self.faults.clone(),
            reserve: Mutex::new(None),
        }
    }

    /// Makes the folder of an attempt at a run, counted from 1, and sets space aside for its verdict.
    ///
    /// # Errors
    /// It exists already or cannot be made, or the disk is full.
    pub(crate) fn run_folder(&self, relative: &str, number: u32) -> anyhow::Result<Folder> {
        let path = self.path.join(attempt(relative, number));
        let parent = path.parent().unwrap_or(&self.path);
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        let folder = self.folder(path);
        folder.set_aside()?;
        Ok(folder)
    }
}

/// The folder of one run.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    faults: Faults,
    /// A file without a name; its space is free once it is dropped.
    reserve: Mutex<Option<File>>,
}

impl Folder {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// An existing folder.
    pub(crate) fn open(path: &Path) -> Self {
        Invocation::open(path).shared()
    }

    fn set_aside(&self) -> anyhow::Result<()> {
        let making = || format!("writing in {}", self.path.display());
        let file = tempfile::tempfile_in(&self.path).with_context(making)?;
        // Where space cannot be set aside, a full disk may cost the verdict: then there is none.
        if fallocate(&file, FallocateFlags::empty(), 0, RESERVE) == Err(Errno::NOSPC) {
            return Err(exit::set_up(format!(
                "{}: the disk is full; free some space, or give another place for the evidence",
                self.path.display()
            )));
        }
        *self.reserve.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        Ok(())
    }

    /// Gives the space back that was set aside: what follows is written at the end of the run.
    pub(crate) fn release(&self) {
        self.reserve
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }

    /// The files that could not be written as they should have been, each with the reason.
    pub(crate) fn faults(&self) -> Vec<String> {
        self.faults.of(&self.path)
    }

    /// A JSON file; `None` if it is not there or not JSON.
    pub(crate) fn json(&self, name: &str) -> Option<serde_json::Value> {
        serde_json::from_slice(&fs::read(self.path.join(name)).ok()?).ok()
    }

    /// A text file; `None` if it is not there.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path.join(name)).ok()
    }

    /// Whether a file is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.path.join(name).is_file()
    }

    /// Writes a new file, masked. A failure is among the faults, too.
    ///
    /// # Errors
    /// The file exists or cannot be written.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> anyhow::Result<()> {
        self.put(name, content, writer::whole, false)
    }

    /// Writes a new file of bytes that are no text, and hold no secret. A failure is among the faults, too.
    ///
    /// # Errors
    /// The file exists or cannot be written.
    pub(crate) fn write_bytes(&self, name: &str, content: &[u8]) -> anyhow::Result<()> {
        self.put(name, content, writer::exact, false)
    }

    /// Writes a file that grows with the run (the meta files, the record of the cleaning), masked: the new content replaces
    /// the old one in one step. A failure is among the faults, too.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn update(&self, name: &str, content: &[u8]) -> anyhow::Result<()> {
        self.put(name, content, writer::whole, true)
    }

    fn put(
        &self,
        name: &str,
        content: &[u8],
        write: fn(&Path, &[u8], bool) -> std::io::Result<()>,
        replace: bool,
    ) -> anyhow::Result<()> {
        let path = self.path.join(name);
        let written = write(&path, content, replace);
        match &written {
            Ok(()) => self.faults.settle(&path),
            Err(error) => self.faults.note(&path, error),
        }
        written.with_context(|| format!("writing {}", path.display()))
    }

    /// Writes a new JSON file, indented.
    ///
    /// # Errors
    /// The file exists or cannot be written.
    pub(crate) fn write_json(&self, name: &str, value: &serde_json::Value) -> anyhow::Result<()> {
        self.write(name, format!("{value:#}\n").as_bytes())
    }

    /// Opens a file that grows with every call that works in this folder.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(crate) fn append(&self, name: &str) -> anyhow::Result<Writer> {
        let path = self.path.join(name);
        let file = File::options().append(true).create(true).open(&path);
        let file = file.with_context(|| format!("opening {}", path.display()))?;
        Ok(Writer::new(file, &path, self.faults.clone()))
    }

    /// Opens the file that a running process writes to; it gets its name by [`Self::finish`]. Until then, and for ever
    /// if the runner dies, it is called `<name>.partial`.
    ///
    /// # Errors
    /// The file exists or cannot be made.
    pub(crate) fn begin(&self, name: &str) -> anyhow::Result<Writer> {
        let path = self.partial(name);
        let file = File::create_new(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Writer::new(
            file,
            &self.path.join(name),
            self.faults.clone(),
        ))
    }

    /// Opens it once more, where what writes to it was started again.
    ///
    /// # Errors
    /// It was not begun, or cannot be opened.
    pub(crate) fn go_on(&self, name: &str) -> anyhow::Result<Writer> {
        let path = self.partial(name);
        let file = File::options().append(true).open(&path);
        let file = file.with_context(|| format!("opening {}", path.display()))?;
        Ok(Writer::new(
            file,
            &self.path.join(name),
            self.faults.clone(),
        ))
    }

    /// The path of a file between [`Self::begin`] and [`Self::finish`].
    pub(crate) fn partial(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.partial"))
    }

    /// Gives a file its name, unless it is taken. Where that fails the run goes on to its verdict, which the faults spoil.
    pub(crate) fn finish(&self, name: &str) {
        let (from, to) = (self.partial(name), self.path.join(name));
        // A link fails when the name is taken, a rename would overwrite.
        let named = fs::hard_link(&from, &to)
            .and_then(|()| fs::remove_file(&from))
            .and_then(|()| writer::sync_folder(&self.path));
        if let Err(error) = named {
            self.faults.note(&to, &error);
        }
    }
}

/// The folder of an attempt at a run, counted from 1.
pub(crate) fn attempt(relative: &str, number: u32) -> String {
    if number == 1 {
        relative.to_owned()
    } else {
        format!("{relative}-attempt-{number}")
    }
}

/// Where a folder really is: one place has one name, whatever links and dots lead there.
///
/// # Errors
/// The way there cannot be read.
pub(crate) fn resolved(folder: &Path) -> anyhow::Result<PathBuf> {
    let there = match folder.canonicalize() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => std::path::absolute(folder),
        there => there,
    };
    there.with_context(|| format!("resolving {}", folder.display()))
}

/// A value as one component of a path.
pub(crate) fn component(text: &str) -> String {
    let safe: String = text
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect();
    if safe.is_empty() || safe.starts_with('.') {
        format!("_{safe}")
    } else {
        safe
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_in_the_same_second_get_folders_of_their_own() {
        let root = tempfile::tempdir().expect("folder");
        let names: Vec<_> = (0..3)
            .map(|_| {
                Invocation::create(root.path(), "20260101-000000")
                    .expect("create")
                    .path()
                    .to_owned()
            })
            .collect();
        let expected = ["20260101-000000", "20260101-000000-2", "20260101-000000-3"]
            .map(|name| root.path().join(name));
        assert_eq!(names, expected);
    }

    #[test]
    fn attempts_are_counted_and_kept() {
        let root = tempfile::tempdir().expect("folder");
        let invocation = Invocation::create(root.path(), "t").expect("create");
        assert!(invocation.attempts("a/b").is_empty());
        for number in 1..=2 {
            invocation.run_folder("a/b", number).expect("made");
        }
        let folders = invocation.attempts("a/b");
        let names: Vec<_> = folders
            .iter()
            .map(|(_, folder)| folder.path().to_owned())
            .collect();
        let base = invocation.path();
        assert_eq!(names, [base.join("a/b"), base.join("a/b-attempt-2")]);
        // One that is gone hides none.
        fs::remove_dir(base.join("a/b")).expect("removed");
        let numbers = invocation.attempts("a/b").into_iter();
        assert_eq!(numbers.map(|(number, _)| number).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn files_are_whole_and_never_overwritten() {
        let root = tempfile::tempdir().expect("folder");
        let invocation = Invocation::create(root.path(), "t").expect("create");
        let folder = invocation.run_folder("a/b", 1).expect("run folder");
        assert!(invocation.run_folder("a/b", 1).is_err());
        folder.write("x.json", b"1").expect("write");
        assert!(folder.write("x.json", b"2").is_err());
        assert_eq!(fs::read(folder.path().join("x.json")).expect("read"), b"1");
        folder.update("x.json", b"3").expect("update");
        assert_eq!(fs::read(folder.path().join("x.json")).expect("read"), b"3");

        folder.begin("out.txt").expect("begin").add("o");
        assert!(!folder.has("out.txt"));
        folder.finish("out.txt");
        assert!(folder.has("out.txt"));
        assert!(folder.faults().is_empty(), "{:?}", folder.faults());
        folder.begin("out.txt").expect("begin");
        folder.finish("out.txt");
        let faults = folder.faults();
        assert!(faults[0].starts_with("out.txt (File exists"), "{faults:?}");
        fs::remove_file(folder.partial("out.txt")).expect("remove");
        let count = fs::read_dir(folder.path()).expect("list").count();
        assert_eq!(count, 2, "no temporary file is left");
    }

    #[test]
    fn names_stay_inside_the_folder() {
        for (text, safe) in [
            (
                "benchmark/hash-waiting-queue",
                "benchmark-hash-waiting-queue",
            ),
            ("..", "_.."),
            ("", "_"),
            ("main", "main"),
        ] {
            assert_eq!(component(text), safe);
        }
    }
}
