//! The one way in which evidence gets onto the disk: masked, complete or not at all, and what fails is remembered.

use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::NamedTempFile;

use super::mask::{masked, masked_json, masked_json_line};

/// What could not be written. Clones are the same list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults(Arc<Mutex<Vec<(PathBuf, String)>>>);

impl Faults {
    /// Remembers why a file is not whole; the first reason counts.
    pub(crate) fn note(&self, path: &Path, why: &impl ToString) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !list.iter().any(|(known, _)| known == path) {
            // The name of a temporary file helps nobody.
            let why = why.to_string();
            let why = why.split(" at path ").next().unwrap_or_default();
            list.push((path.to_owned(), why.to_owned()));
        }
    }

    /// Forgets a file that is whole now.
    pub(crate) fn settle(&self, path: &Path) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(|(known, _)| known != path);
    }

    /// The files of a folder that are not whole, each with its reason.
    pub(crate) fn of(&self, folder: &Path) -> Vec<String> {
        let list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = list
            .iter()
            .filter(|(path, _)| path.parent() == Some(folder));
        own.map(|(path, why)| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            format!("{name} ({why})")
        })
        .collect()
    }
}

/// Writes a whole file, masked; without `replace` only if there is none of that name.
///
/// # Errors
/// The file exists, or the system refuses.
pub(crate) fn whole(path: &Path, content: &[u8], replace: bool) -> io::Result<()> {
    exact(path, &hidden(path, content), replace)
}

/// Writes a whole file as it is: what is no evidence, or was looked through.
///
/// # Errors
/// As [`whole`].
pub(crate) fn exact(path: &Path, content: &[u8], replace: bool) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".new-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    let placed = if replace {
        NamedTempFile::persist
    } else {
        NamedTempFile::persist_noclobber
    };
    placed(file, path)?;
    sync_folder(folder)
}

/// Puts a name on the disk: without it a file is lost with the machine's power, however well it was written.
///
/// # Errors
/// The system refuses.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn hidden(path: &Path, content: &[u8]) -> Vec<u8> {
    if has_extension(path, "json") {
        return masked_json(content);
    }
    let text = String::from_utf8_lossy(content);
    if has_extension(path, "jsonl") {
        let lines = text.split_inclusive('\n').map(masked_line);
        return lines.collect::<String>().into_bytes();
    }
    masked(&text).into_bytes()
}

/// A line of a `.jsonl` file, with its end if it has one.
fn masked_line(line: &str) -> String {
    match line.strip_suffix('\n') {
        Some(line) => masked_json_line(line) + "\n",
        None => masked_json_line(line),
    }
}

fn has_extension(path: &Path, name: &str) -> bool {
    path.extension().is_some_and(|extension| extension == name)
}

/// A file that grows line by line.
#[derive(Debug)]
pub(crate) struct Writer {
    file: File,
    /// What it will be called.
    path: PathBuf,
    json: bool,
    faults: Faults,
    failed: bool,
}

impl Writer {
    /// Writes to an open file that is called `path` when it is complete; `.jsonl` files hold a JSON text per line.
    pub(crate) fn new(file: File, path: &Path, faults: Faults) -> Self {
        Self {
            file,
            path: path.to_owned(),
            json: has_extension(path, "jsonl"),
            faults,
            failed: false,
        }
    }

    /// Adds a piece of text, a line with its end as a rule, and returns it as it may be shown. A full disk must not end
    /// what is being recorded: it is noted, and nothing more is written, so that no gap looks like silence.
    pub(crate) fn add(&mut self, text: &str) -> String {
        let text = match text.strip_suffix('\n').filter(|_| self.json) {
            Some(line) => masked_json_line(line) + "\n",
            None => masked(text),
        };
        if !self.failed
            && let Err(error) = self.file.write_all(text.as_bytes())
        {
            self.failed = true;
            self.faults.note(&self.path, &error);
        }
        text
    }
}

/// It is on the disk once nobody writes to it any more.
impl Drop for Writer {
    fn drop(&mut self) {
        if let Err(error) = self.file.sync_all() {
            self.faults.note(&self.path, &error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::mask::{MASK, register};

    #[test]
    fn what_cannot_be_written_is_noted_with_its_reason() {
        let full = File::options()
            .write(true)
            .open("/dev/full")
            .expect("it is there");
        let faults = Faults::default();
        let mut writer = Writer::new(full, Path::new("/run-7/stdout.txt"), faults.clone());
        assert_eq!(writer.add("one\n"), "one\n", "it is shown all the same");
        writer.add("two\n");
        drop(writer);
        let noted = faults.of(Path::new("/run-7"));
        assert!(
            noted.len() == 1 && noted[0].starts_with("stdout.txt (No space left on device"),
            "{noted:?}"
        );
        assert!(faults.of(Path::new("/run-8")).is_empty());
    }

    #[test]
    fn every_kind_of_file_is_masked() {
        register("hunter2-writer");
        let folder = tempfile::tempdir().expect("folder");
        let path = |name: &str| folder.path().join(name);
        let read = |name: &str| std::fs::read_to_string(path(name)).expect(name);
        whole(&path("a.txt"), b"at hunter2-writer", false).expect("written");
        whole(&path("a.json"), b"{\"a\":\"redis://:x@h\"}", false).expect("written");
        let lines = b"{\"n\":1,\"b\":\"hunter2-writer\"}\n{\"n\":2";
        whole(&path("b.jsonl"), lines, false).expect("written");
        let expected = format!("{{\"n\":1,\"b\":\"{MASK}\"}}\n{{\"n\":2");
        assert_eq!(read("b.jsonl"), expected);
        assert_eq!(read("a.txt"), format!("at {MASK}"));
        assert!(read("a.json").contains(&format!("redis://:{MASK}@h")));
        let file = File::create(path("a.jsonl")).expect("made");
        let mut writer = Writer::new(file, &path("a.jsonl"), Faults::default());
        writer.add("{\"t\":1,\"error\":\"hunter2-writer\"}\n");
        drop(writer);
        assert_eq!(
            read("a.jsonl"),
            format!("{{\"t\":1,\"error\":\"{MASK}\"}}\n")
        );
        assert!(whole(&path("a.txt"), b"other", false).is_err());
    }
}
