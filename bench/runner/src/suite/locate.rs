//! Where suite files are, by path or by name, and where their own paths begin.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::values::exit;
use crate::values::text::{from_here, suggestion};

/// Where the project keeps its suites, from its own folder.
pub(crate) const FOLDER: &str = "bench/suites";

/// The suite files of a folder, sorted.
///
/// # Errors
/// The folder cannot be read.
pub(crate) fn in_folder(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Which one was meant, and the names that would have been one.
fn those_there_are(name: &str) -> String {
    let found = in_folder(Path::new(FOLDER)).unwrap_or_default();
    let names: Vec<&str> = found
        .iter()
        .filter_map(|path| path.file_stem()?.to_str())
        .collect();
    if names.is_empty() {
        return String::new();
    }
    let meant = match suggestion(name, &names) {
        none if none.is_empty() => ";".to_owned(),
        meant => meant,
    };
    format!("{meant} {FOLDER} has {}", names.join(", "))
}

/// The path of a suite: a path, or the name of a file in `bench/suites/`.
///
/// # Errors
/// There is no such file.
pub(super) fn locate(name: &str) -> anyhow::Result<PathBuf> {
    let path = PathBuf::from(name);
    if path.is_file() {
        return Ok(path);
    }
    let named = Path::new(FOLDER).join(format!("{name}.toml"));
    if named.is_file() {
        return Ok(named);
    }
    Err(exit::set_up(format!(
        "no suite `{name}`: neither {} nor {} exists{}",
        from_here(&path).display(),
        from_here(&named).display(),
        those_there_are(name)
    )))
}

/// The root of a suite's paths. Suite files lie in a project's folder `bench/suites` or `suites`; anywhere else their own folder is the root.
pub(super) fn root_of(path: &Path) -> anyhow::Result<PathBuf> {
    let path =
        std::path::absolute(path).with_context(|| format!("resolving {}", path.display()))?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let above = if folder.ends_with(FOLDER) {
        2
    } else {
        usize::from(folder.ends_with("suites"))
    };
    let root = folder.ancestors().nth(above).unwrap_or(folder);
    // Without `..` in it, for messages.
    Ok(std::fs::canonicalize(root).unwrap_or_else(|_| root.to_owned()))
}
