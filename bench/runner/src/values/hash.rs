//! Hashes that tell whether two runs used the same files.

use std::collections::BTreeMap;
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

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A script with everything it can import from its own folder, and what else it loads.
#[derive(Debug, Serialize)]
pub(crate) struct Harness {
    path: String,
    /// Over the names and contents of all `.js` files, and of those that it loads from elsewhere.
    pub(crate) sha256: String,
    files: usize,
    /// Loaded from elsewhere, each with its own hash.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    loaded: BTreeMap<String, String>,
}

/// Hashes a script and the `.js` files beside and below it, and the files that variables name with what these load in turn.
///
/// # Errors
/// A file cannot be read.
pub(crate) fn harness(script: &Path, named: &[PathBuf]) -> anyhow::Result<Harness> {
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
    let own = files.iter().filter_map(|path| path.canonicalize().ok());
    let mut known: Vec<PathBuf> = own.collect();
    let mut loaded = BTreeMap::new();
    for path in named {
        let path = path
            .canonicalize()
            .with_context(|| format!("reading {}", path.display()))?;
        // Where it lies is no part of what it is: the names are those from its own folder on.
        let above = path.parent().unwrap_or(&path).to_owned();
        load(&path, &above, &mut known, &mut |name, hash| {
            whole.update(format!("{name} {hash}\n"));
            loaded.insert(name, hash);
        })?;
    }
    Ok(Harness {
        path: script.display().to_string(),
        sha256: hex(&whole.finalize()),
        files: files.len() + loaded.len(),
        loaded,
    })
}

/// Tells of a file and of what it names by a relative path, each once.
fn load(
    path: &Path,
    above: &Path,
    known: &mut Vec<PathBuf>,
    tell: &mut impl FnMut(String, String),
) -> anyhow::Result<()> {
    if known.iter().any(|other| other == path) {
        return Ok(());
    }
    known.push(path.to_owned());
    let content = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let name = path.strip_prefix(above).unwrap_or(path);
    tell(name.display().to_string(), sha256(&content));
    if path.extension().is_some_and(|extension| extension == "js") {
        let folder = path.parent().unwrap_or(above);
        for name in relative(&String::from_utf8_lossy(&content)) {
            // What is not there is a text of another kind.
            if let Ok(other) = folder.join(name).canonicalize()
                && other.is_file()
            {
                load(&other, above, known, tell)?;
            }
        }
    }
    Ok(())
}

/// Texts in quotes that begin as relative paths do: what a script imports, requires or opens.
fn relative(script: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for line in script.lines() {
        for quote in ['\'', '"', '`'] {
            let texts = line.split(quote).skip(1);
            found.extend(texts.filter(|text| text.starts_with("./") || text.starts_with("../")));
        }
    }
    found
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
            harness(&folder.path().join("main.js"), &[])
                .expect("hash")
                .sha256
        };
        let first = now();
        write("test/t.js", "3");
        write("lib/notes.md", "4");
        assert_eq!(now(), first);
        write("lib/a.js", "5");
        assert_ne!(now(), first);
        let elsewhere = tempfile::tempdir().expect("folder");
        let put = |name: &str, text: &str| {
            let path = elsewhere.path().join(name);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            std::fs::write(path, text).expect("written");
        };
        put(
            "own/room.js",
            "import { x } from '../calls.js'; open(\"./users.csv\"); // './gone.js'",
        );
        put("calls.js", "require('./own/room.js')");
        put("own/users.csv", "1");
        put("own/beside.js", "1");
        let with = || {
            let named = [
                elsewhere.path().join("own/room.js"),
                folder.path().join("lib/a.js"),
            ];
            harness(&folder.path().join("main.js"), &named).expect("hash")
        };
        let first = with();
        assert_ne!(first.sha256, now());
        assert_eq!((first.files, first.loaded.len()), (5, 3), "{first:?}");
        put("own/beside.js", "2");
        assert_eq!(with().sha256, first.sha256, "nobody loads it");
        for name in ["own/room.js", "calls.js", "own/users.csv"] {
            let before = with().sha256;
            put(name, "changed");
            assert_ne!(with().sha256, before, "{name}");
            put(name, "import '../calls.js'; open('./users.csv')");
        }
        assert_eq!(
            sha256(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
