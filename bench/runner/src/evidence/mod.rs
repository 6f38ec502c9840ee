//! Evidence folders: every file appears complete or not at all, and nothing is ever overwritten.

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// The folder of one call of the runner, below the evidence root.
#[derive(Debug)]
pub(crate) struct Invocation {
    path: PathBuf,
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
                Ok(()) => return Ok(Self { path }),
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
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The folders of the attempts at a run so far, in order; the last one counts.
    pub(crate) fn attempts(&self, relative: &str) -> Vec<Folder> {
        (1..)
            .map(|number| self.path.join(attempt(relative, number)))
            .take_while(|path| path.is_dir())
            .map(|path| Folder { path })
            .collect()
    }

    /// The folder as evidence for what belongs to all runs.
    pub(crate) fn shared(&self) -> Folder {
        Folder {
            path: self.path.clone(),
        }
    }

    /// Makes the folder of an attempt at a run, counted from 1.
    ///
    /// # Errors
    /// It exists already or cannot be made.
    pub(crate) fn run_folder(&self, relative: &str, number: u32) -> anyhow::Result<Folder> {
        let path = self.path.join(attempt(relative, number));
        let parent = path.parent().unwrap_or(&self.path);
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Folder { path })
    }
}

/// The folder of one run.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// An existing folder.
    pub(crate) fn open(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// A JSON file; `None` if it is not there or not JSON.
    pub(crate) fn json(&self, name: &str) -> Option<serde_json::Value> {
        serde_json::from_slice(&fs::read(self.path.join(name)).ok()?).ok()
    }

    /// Whether a file is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.path.join(name).is_file()
    }

    /// Writes a new file.
    ///
    /// # Errors
    /// The file exists or cannot be written.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> anyhow::Result<()> {
        let target = self.path.join(name);
        self.complete(content)?
            .persist_noclobber(&target)
            .with_context(|| format!("writing {}", target.display()))?;
        Ok(())
    }

    /// Writes a file that grows with the run (the meta files, the record of the cleaning): the new content replaces the old one in one step.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn update(&self, name: &str, content: &[u8]) -> anyhow::Result<()> {
        let target = self.path.join(name);
        self.complete(content)?
            .persist(&target)
            .with_context(|| format!("writing {}", target.display()))?;
        Ok(())
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
    pub(crate) fn append(&self, name: &str) -> anyhow::Result<File> {
        let path = self.path.join(name);
        File::options()
            .append(true)
            .create(true)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))
    }

    /// Opens the file that a running process writes to; it gets its name by [`Self::finish`]. Until then, and for ever
    /// if the runner dies, it is called `<name>.partial`.
    ///
    /// # Errors
    /// The file exists or cannot be made.
    pub(crate) fn begin(&self, name: &str) -> anyhow::Result<File> {
        let path = self.partial(name);
        File::create_new(&path).with_context(|| format!("making {}", path.display()))
    }

    /// The path of a file between [`Self::begin`] and [`Self::finish`].
    pub(crate) fn partial(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.partial"))
    }

    /// Gives a file its name.
    ///
    /// # Errors
    /// A file of that name exists, or the file system refuses.
    pub(crate) fn finish(&self, name: &str) -> anyhow::Result<()> {
        let (from, to) = (self.partial(name), self.path.join(name));
        // A link fails when the name is taken, a rename would overwrite.
        fs::hard_link(&from, &to).with_context(|| format!("writing {}", to.display()))?;
        fs::remove_file(&from).with_context(|| format!("removing {}", from.display()))
    }

    fn complete(&self, content: &[u8]) -> anyhow::Result<tempfile::NamedTempFile> {
        let mut file = tempfile::Builder::new()
            .prefix(".new-")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(&self.path)
            .with_context(|| format!("writing in {}", self.path.display()))?;
        file.write_all(content)
            .and_then(|()| file.as_file().sync_all())
            .with_context(|| format!("writing in {}", self.path.display()))?;
        Ok(file)
    }
}

fn attempt(relative: &str, number: u32) -> String {
    if number == 1 {
        relative.to_owned()
    } else {
        format!("{relative}-attempt-{number}")
    }
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
            .map(|folder| folder.path().to_owned())
            .collect();
        let base = invocation.path();
        assert_eq!(names, [base.join("a/b"), base.join("a/b-attempt-2")]);
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

        folder
            .begin("out.txt")
            .expect("begin")
            .write_all(b"o")
            .expect("write");
        assert!(!folder.has("out.txt"));
        folder.finish("out.txt").expect("finish");
        assert!(folder.has("out.txt"));
        folder.begin("out.txt").expect("begin");
        assert!(folder.finish("out.txt").is_err());
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
