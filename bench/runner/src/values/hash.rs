//! Hashes that tell whether two runs used the same files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::BufRead as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// Folders below a harness that count only where it loads from them.
const NOT_IMPORTED: &[&str] = &["node_modules", "test", "examples"];

/// What the names of scripts end in.
const SCRIPTS: &[&str] = &["js", "mjs", "cjs", "ts"];

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
    /// Over the names and contents of all scripts of its folder, and of what it loads beside them.
    pub(crate) sha256: String,
    files: usize,
    /// What it loads that is no script of its folder, each with its own hash.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    loaded: BTreeMap<String, String>,
}

/// Hashes a script and the scripts beside and below it, and what it and the files that variables name load, wherever that
/// lies: what they import, and the files that they open by a name which stands in them.
///
/// # Errors
/// A file cannot be read.
pub(crate) fn harness(script: &Path, named: &[PathBuf]) -> anyhow::Result<Harness> {
    let reading = |path: &Path| format!("reading {}", path.display());
    let folder = script.parent().filter(|folder| *folder != Path::new(""));
    let folder = folder.unwrap_or(Path::new("."));
    let folder = folder.canonicalize().with_context(|| reading(folder))?;
    let mut files = Vec::new();
    collect(&folder, &mut files).with_context(|| reading(&folder))?;
    files.sort();
    let mut whole = Sha256::new();
    for path in &files {
        let name = path.strip_prefix(&folder).unwrap_or(path);
        whole.update(format!("{} {}\n", name.display(), file(path)?));
    }
    let own = files.iter().filter_map(|path| path.canonicalize().ok());
    let mut loads = Loads {
        told: own.collect(),
        ..Loads::default()
    };
    for path in std::iter::once(script).chain(named.iter().map(PathBuf::as_path)) {
        let path = path.canonicalize().with_context(|| reading(path))?;
        // Where it lies is no part of what it is: the names are those from its own folder on.
        let above = path.parent().unwrap_or(&path).to_owned();
        let name = from(&above, &path);
        loads.follow(&path, name, &above)?;
    }
    let mut loaded = BTreeMap::new();
    for (name, hash) in loads.found {
        whole.update(format!("{name} {hash}\n"));
        loaded.insert(name, hash);
    }
    Ok(Harness {
        path: script.display().to_string(),
        sha256: hex(&whole.finalize()),
        files: files.len() + loaded.len(),
        loaded,
    })
}

/// Hashes the words of commands, and the files among them: those that lie below the folder of the suite.
///
/// # Errors
/// A file cannot be read.
pub(crate) fn commands(root: &Path, words: &[String]) -> anyhow::Result<Harness> {
    let mut whole = Sha256::new();
    let mut loaded = BTreeMap::new();
    for word in words {
        whole.update(format!("{word}\n"));
        let path = root.join(word);
        // A name that the path finds, such as `cargo`, is no file of the suite.
        if word.contains('/') && path.is_file() {
            let hash = file(&path)?;
            whole.update(format!("{hash}\n"));
            loaded.insert(word.clone(), hash);
        }
    }
    Ok(Harness {
        path: words.join(" "),
        sha256: hex(&whole.finalize()),
        files: loaded.len(),
        loaded,
    })
}

/// What scripts load.
#[derive(Default)]
struct Loads {
    /// Files that count already.
    told: BTreeSet<PathBuf>,
    /// Files that were looked into.
    seen: BTreeSet<PathBuf>,
    /// Names with hashes, in the order in which they were met.
    found: Vec<(String, String)>,
}

impl Loads {
    /// A file and all that it loads in turn, each once.
    fn follow(&mut self, path: &Path, name: String, above: &Path) -> anyhow::Result<()> {
        if !self.seen.insert(path.to_owned()) {
            return Ok(());
        }
        if self.told.insert(path.to_owned()) {
            self.found.push((name, file(path)?));
        }
        if !is_script(path) {
            return Ok(());
        }
        let content = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let content = String::from_utf8_lossy(&content);
        let folder = path.parent().unwrap_or(above);
        let mut met = |text: &str, beside: &Path| {
            // What is not there is a text of another kind.
            match beside.join(text).canonicalize() {
                Ok(other) if other.is_file() => {
                    let name = if Path::new(text).is_absolute() {
                        text.to_owned()
                    } else {
                        from(above, &other)
                    };
                    self.follow(&other, name, above)
                }
                _ => Ok(()),
            }
        };
        for text in relative(&content) {
            met(text, folder)?;
        }
        for text in opened(&content) {
            let text = text.strip_prefix("file://").unwrap_or(text);
            met(text, folder)?;
            met(text, above)?;
        }
        Ok(())
    }
}

/// The path of a file as seen from a folder; both without links.
fn from(folder: &Path, file: &Path) -> String {
    let common = folder
        .ancestors()
        .find(|above| file.starts_with(above))
        .unwrap_or(Path::new(""));
    let up = folder
        .strip_prefix(common)
        .map_or(0, |rest| rest.components().count());
    let down = file.strip_prefix(common).unwrap_or(file);
    format!("{}{}", "../".repeat(up), down.display())
}

fn is_script(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| SCRIPTS.contains(&extension))
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

/// Names of files that a script opens, as far as they stand there.
fn opened(script: &str) -> Vec<&str> {
    let calls = script.split("open(").skip(1);
    let named = calls.filter_map(|call| {
        let call = call.trim_start();
        let quote = call.chars().next().filter(|c| "'\"`".contains(*c))?;
        let (name, _) = call[1..].split_once(quote)?;
        Some(name).filter(|name| !name.is_empty())
    });
    named.collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if !NOT_IMPORTED.iter().any(|name| entry.file_name() == *name) {
                collect(&path, files)?;
            }
        } else if is_script(&path) && path.is_file() {
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

    #[test]
    fn whatever_a_script_loads_counts_wherever_it_lies() {
        let root = tempfile::tempdir().expect("folder");
        let put = |name: &str, text: &str| {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            std::fs::write(path, text).expect("written");
        };
        let absolute = root.path().join("data/absolute.csv");
        put(
            "k6/main.ts",
            &format!(
                "import {{ a }} from '../lib/a.mjs';\nimport './test/used';\nconst u = open('users.json');\nopen(\n \"{}\");",
                absolute.display()
            ),
        );
        put("k6/beside.cjs", "1");
        put(
            "lib/a.mjs",
            "import './b.ts'; import '/etc/hostname'; open('seats.csv')",
        );
        put("lib/test/t.js", "nobody loads it");
        for name in [
            "lib/b.ts",
            "lib/seats.csv",
            "k6/users.json",
            "k6/test/used",
            "data/absolute.csv",
        ] {
            put(name, "1");
        }
        let now = || harness(&root.path().join("k6/main.ts"), &[]).expect("hash");
        let first = now();
        let names: Vec<&str> = first.loaded.keys().map(String::as_str).collect();
        let mut expected = vec![
            "../lib/a.mjs",
            "../lib/b.ts",
            "../lib/seats.csv",
            absolute.to_str().expect("a text"),
            "test/used",
            "users.json",
        ];
        expected.sort_unstable();
        assert_eq!((names, first.files), (expected, 8));
        for name in [
            "k6/main.ts",
            "k6/beside.cjs",
            "k6/users.json",
            "k6/test/used",
            "lib/a.mjs",
            "lib/b.ts",
            "lib/seats.csv",
            "data/absolute.csv",
        ] {
            let (before, path) = (now().sha256, root.path().join(name));
            let text = std::fs::read_to_string(&path).expect("a text");
            put(name, &format!("{text} // changed"));
            assert_ne!(now().sha256, before, "{name}");
        }
        let before = now().sha256;
        put("lib/test/t.js", "changed");
        assert_eq!(now().sha256, before);
    }
}
