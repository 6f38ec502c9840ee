//! Hashes that tell whether two runs used the same files.

use std::fmt::Write as _;
use std::io::BufRead as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// Folders below a harness that it does not import from.
const NOT_IMPORTED: &[&str] = &["node_modules", "test", "examples"];

/// SHA-256 as lower-case hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The hash of a file.
///
/// # Errors
/// It cannot be read.
pub(crate) fn file(path: &Path) -> anyhow::Result<String> {
    let reading = || format!("reading {}", path.display());
    let file = std::fs::File::open(path).with_context(reading)?;
    let mut file = std::io::BufReader::with_capacity(1 << 16, file);
    let mut whole = Sha256::new();
    loop {
        let part = file.fill_buf().with_context(reading)?;
        if part.is_empty() {
            return Ok(hex(&whole.finalize()));
        }
        whole.update(part);
        let read = part.len();
        file.consume(read);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A script with everything it can import from its own folder.
#[derive(Debug, Serialize)]
pub(crate) struct Harness {
    path: String,
    /// Over the names and contents of all `.js` files.
    pub(crate) sha256: String,
    files: usize,
}

/// Hashes a script and the `.js` files beside and below it.
///
/// # Errors
/// A file cannot be read.
pub(crate) fn harness(script: &Path) -> anyhow::Result<Harness> {
    let folder = script.parent().unwrap_or(Path::new("."));
    let mut files = Vec::new();
    collect(folder, &mut files).with_context(|| format!("reading {}", folder.display()))?;
    files.sort();
    let mut whole = Sha256::new();
    for path in &files {
        let content = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let name = path.strip_prefix(folder).unwrap_or(path);
        whole.update(format!("{} {}\n", name.display(), sha256(&content)));
    }
    Ok(Harness {
        path: script.display().to_string(),
        sha256: hex(&whole.finalize()),
        files: files.len(),
    })
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if !NOT_IMPORTED.iter().any(|name| entry.file_name() == *name) {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "js") {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_imported_counts_and_tests_do_not() {
        let folder = tempfile::tempdir().expect("folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            std::fs::write(path, text).expect("written");
        };
        write("main.js", "1");
        write("lib/a.js", "2");
        let now = || {
            harness(&folder.path().join("main.js"))
                .expect("hash")
                .sha256
        };
        let first = now();
        write("test/t.js", "3");
        write("lib/notes.md", "4");
        assert_eq!(now(), first);
        write("lib/a.js", "5");
        assert_ne!(now(), first);
        assert_eq!(
            sha256(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
