//! Copies of folders of evidence: the files as they are, nothing else, and nothing is overwritten.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The regular files below a folder, by their paths from there, in order. What is linked is not followed.
///
/// # Errors
/// A folder cannot be read.
pub(crate) fn files(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut found, mut left) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = left.pop() {
        let reading = || format!("reading {}", folder.display());
        for entry in fs::read_dir(&folder).with_context(reading)? {
            let entry = entry.with_context(reading)?;
            let kind = entry.file_type().with_context(reading)?;
            if kind.is_dir() {
                left.push(entry.path());
            } else if kind.is_file() {
                let path = entry.path();
                found.push(path.strip_prefix(root).unwrap_or(&path).to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Copies a folder to a place that does not exist yet.
///
/// # Errors
/// The place exists, or something cannot be read or written.
pub(crate) fn folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    let listed = files(from)?;
    fs::create_dir(to).with_context(|| format!("making {}", to.display()))?;
    for name in listed {
        let (source, target) = (from.join(&name), to.join(&name));
        let copying = || format!("copying {} to {}", source.display(), target.display());
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).with_context(copying)?;
        }
        fs::copy(&source, &target).with_context(copying)?;
    }
    Ok(())
}
