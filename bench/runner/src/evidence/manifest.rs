//! The manifest of a run's folder: what each of its files was when the run was judged.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context as _;

use super::folder::Folder;
use crate::values::hash;

/// Its name; `sha256sum -c SHA256SUMS` reads it.
pub(crate) const MANIFEST: &str = "SHA256SUMS";

/// Where a folder is not what its manifest says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Broken {
    /// Of files that a verdict derives from.
    pub(crate) sources: Vec<String>,
    /// Of texts for people: logs, and what is printed.
    pub(crate) texts: Vec<String>,
}

impl Folder {
    /// Writes the manifest; nothing is written to the folder after it.
    ///
    /// # Errors
    /// A file cannot be read, or the manifest not be written.
    pub(crate) fn seal(&self) -> anyhow::Result<()> {
        let lines: String = self
            .sums()?
            .iter()
            .map(|(name, sum)| format!("{sum}  {name}\n"))
            .collect();
        self.write(MANIFEST, lines.as_bytes())
    }

    /// Compares the files with the manifest; `None` if there is none.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn broken(&self) -> anyhow::Result<Option<Broken>> {
        if !self.has(MANIFEST) {
            return Ok(None);
        }
        let path = self.path().join(MANIFEST);
        let text =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let sealed: BTreeMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.split_once("  "))
            .map(|(sum, name)| (name, sum))
            .collect();
        let found = self.sums()?;
        let mut broken = Broken::default();
        for (name, sum) in &sealed {
            match found.get(*name) {
                Some(own) if own == sum => {}
                Some(_) => broken.add(name, "was changed after the run"),
                None => broken.add(name, "is missing"),
            }
        }
        for name in found
            .keys()
            .filter(|name| !sealed.contains_key(name.as_str()))
        {
            broken.add(name, "was added after the run");
        }
        Ok(Some(broken))
    }

    /// Whether the runner was ended before it could judge: there is neither a verdict nor a seal.
    pub(crate) fn was_killed(&self) -> bool {
        !self.has("verdict.json") && !self.has(MANIFEST)
    }

    /// Why nothing may be concluded from the files of a folder that was to be sealed; empty if they are as they were, of a
    /// runner that sealed nothing, or of one that was ended before it could judge.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn unsound(&self) -> anyhow::Result<Vec<String>> {
        if self.was_killed() {
            return Ok(Vec::new());
        }
        Ok(self.doubts(self.broken()?.as_ref()))
    }

    /// The same of files that were looked at already.
    pub(crate) fn doubts(&self, broken: Option<&Broken>) -> Vec<String> {
        let meta = || self.json("meta.json");
        match broken {
            Some(broken) => broken.sources.clone(),
            None if meta().is_some_and(|meta| meta.get("manifest").is_some()) => {
                vec![format!("{MANIFEST} is missing")]
            }
            None => Vec::new(),
        }
    }

    /// The sums of all files but the manifest itself.
    fn sums(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let reading = || format!("reading {}", self.path().display());
        let mut sums = BTreeMap::new();
        for entry in fs::read_dir(self.path()).with_context(reading)? {
            let entry = entry.with_context(reading)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name != MANIFEST && entry.file_type().with_context(reading)?.is_file() {
                sums.insert(name, hash::file(&entry.path())?);
            }
        }
        Ok(sums)
    }
}

impl Broken {
    fn add(&mut self, name: &str, what: &str) {
        let derived_from = [".json", ".jsonl", ".hlog"];
        let derived_from = derived_from.iter().any(|end| name.ends_with(end));
        let list = if derived_from {
            &mut self.sources
        } else {
            &mut self.texts
        };
        list.push(format!("{name} {what}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_added_or_removed_is_told() {
        let root = tempfile::tempdir().expect("folder");
        let folder = Folder::open(root.path());
        assert_eq!(folder.broken().expect("read"), None, "older evidence");
        for name in [
            "summary.json",
            "monitor-queues.jsonl",
            "stdout.txt",
            "meta.txt",
        ] {
            folder.write(name, b"{}\n").expect("written");
        }
        folder.seal().expect("sealed");
        assert_eq!(folder.broken().expect("read"), Some(Broken::default()));
        let path = |name: &str| root.path().join(name);
        fs::write(path("summary.json"), "{ }\n").expect("changed");
        fs::write(path("derived.json"), "{}\n").expect("added");
        fs::remove_file(path("stdout.txt")).expect("removed");
        let broken = folder.broken().expect("read").expect("sealed");
        assert_eq!(
            broken.sources,
            [
                "summary.json was changed after the run",
                "derived.json was added after the run"
            ]
        );
        assert_eq!(broken.texts, ["stdout.txt is missing"]);
    }

    #[test]
    fn what_was_to_be_sealed_and_is_not_says_nothing() {
        let root = tempfile::tempdir().expect("folder");
        let folder = Folder::open(root.path());
        folder.write("summary.json", b"{}\n").expect("written");
        folder.write("meta.json", b"{}\n").expect("written");
        assert!(folder.unsound().expect("read").is_empty(), "older evidence");
        let path = |name: &str| root.path().join(name);
        fs::write(path("meta.json"), "{ \"manifest\": \"SHA256SUMS\" }\n").expect("changed");
        let killed = folder.unsound().expect("read");
        assert!(killed.is_empty(), "before it could judge: {killed:?}");
        folder.write("verdict.json", b"{}\n").expect("written");
        assert_eq!(folder.unsound().expect("read"), ["SHA256SUMS is missing"]);
        folder.seal().expect("sealed");
        assert!(folder.unsound().expect("read").is_empty());
        fs::write(path("summary.json"), "{ }\n").expect("changed");
        assert_eq!(
            folder.unsound().expect("read"),
            ["summary.json was changed after the run"]
        );
    }
}
