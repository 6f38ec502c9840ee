//! The evidence of a session as one file, or a copy of its folder: checked first, so that what arrives elsewhere is what was judged.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::NamedTempFile;
use url::Url;

use super::record::{Record, State};
use crate::evidence::{Invocation, MANIFEST, copy};
use crate::plan::file::{Beside, PlanFile};
use crate::suite::given::Given;
use crate::values::exit;
use crate::values::mask;

/// What such a file is called at its end.
const PACKED: &str = ".tar.gz";

/// What was packed.
#[derive(Debug)]
pub(crate) struct Exported {
    pub(crate) files: usize,
    /// Folders of runs without a manifest: their runner was ended, or was one that wrote none.
    pub(crate) unsealed: Vec<String>,
    /// Secrets of the plan that could not be searched for, as nobody gave them.
    pub(crate) unsearched: Vec<String>,
}

/// Packs the folder of a plan into `out`: a file where its name ends in `.tar.gz`, else a folder. In both lies one folder, named as the
/// plan's. `given`: the values of the plan's secrets, to see that they are nowhere in it.
///
/// # Errors
/// It is still worked in, a manifest does not hold (exit code 3), a file holds a secret, or `out` is there already or cannot be
/// written.
pub(crate) fn export(plan: &Path, out: &Path, given: &Given) -> anyhow::Result<Exported> {
    let record = Record::read(plan)?;
    record.refuse_elsewhere("not exported")?;
    if record.state == State::Runs {
        return Err(exit::set_up(format!(
            "{}: a run still works there; wait for it, or end it with `barrier-bench stop`",
            plan.display()
        )));
    }
    if out.exists() {
        return Err(exit::set_up(format!(
            "--out {}: it is there already, and nothing is overwritten; name another one",
            out.display()
        )));
    }
    let unsealed = sound(plan)?;
    let names = copy::files(plan)?;
    let unsearched = without_secrets(plan, &names, given)?;
    let own = plan.file_name().context("a folder with a name")?;
    if out.to_string_lossy().ends_with(PACKED) {
        pack(plan, Path::new(own), &names, out)?;
    } else {
        fs::create_dir_all(out).with_context(|| format!("making {}", out.display()))?;
        copy::folder(plan, &out.join(own))?;
    }
    Ok(Exported {
        files: names.len(),
        unsealed,
        unsearched,
    })
}

/// Refuses evidence that is not as it was judged. Returns the runs that have no manifest.
fn sound(plan: &Path) -> anyhow::Result<Vec<String>> {
    let (invocation, beside) = (Invocation::open(plan), Beside::of(plan));
    let (mut doubts, mut unsealed) = (Vec::new(), Vec::new());
    for planned in PlanFile::read(plan)?.runs {
        for (_, folder) in invocation.attempts(&planned.folder) {
            let path = folder.path().strip_prefix(plan).unwrap_or(folder.path());
            let name = path.display().to_string();
            if !folder.has(MANIFEST) {
                unsealed.push(name.clone());
            }
            // Of an export the texts for people count as well.
            let texts = folder.broken()?.unwrap_or_default().texts;
            let found = beside.unsound(&folder, &name)?.into_iter().chain(texts);
            doubts.extend(found.map(|doubt| format!("{name}: {doubt}")));
        }
    }
    if doubts.is_empty() {
        return Ok(unsealed);
    }
    Err(exit::gate(format!(
        "{}: not as it was judged, so it is not exported: {}",
        plan.display(),
        doubts.join("; ")
    )))
}

/// Looks for the plan's secrets in every file. Returns those that nobody gave.
fn without_secrets(plan: &Path, names: &[PathBuf], given: &Given) -> anyhow::Result<Vec<String>> {
    let file = PlanFile::read(plan)?;
    // It says which words are none, whatever somebody chose as a password.
    file.copy(plan)?;
    let mut unsearched = Vec::new();
    for name in file.secrets {
        let Some(value) = given.first(&name) else {
            unsearched.push(name);
            continue;
        };
        let in_address = Url::parse(value).is_ok_and(|address| mask::register_url(&address));
        if !in_address {
            mask::register(value);
        }
    }
    for file in names {
        let path = plan.join(file);
        let text = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        if mask::is_told(&String::from_utf8_lossy(&text)) {
            return Err(exit::gate(format!(
                "{}: it holds the value of a secret, so nothing is exported; remove the file, or the value",
                path.display()
            )));
        }
    }
    Ok(unsearched)
}

/// Writes the file whole or not at all; the same evidence gives the same file.
fn pack(plan: &Path, own: &Path, names: &[PathBuf], out: &Path) -> anyhow::Result<()> {
    let writing = || format!("writing {}", out.display());
    let beside = out.parent().filter(|parent| !parent.as_os_str().is_empty());
    let beside = beside.unwrap_or(Path::new("."));
    let file = NamedTempFile::new_in(beside).with_context(writing)?;
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    archive.mode(tar::HeaderMode::Deterministic);
    for name in names {
        let path = plan.join(name);
        let mut source =
            File::open(&path).with_context(|| format!("reading {}", path.display()))?;
        archive
            .append_file(own.join(name), &mut source)
            .with_context(writing)?;
    }
    let packed = archive.into_inner().with_context(writing)?;
    let file = packed.finish().with_context(writing)?;
    file.as_file().sync_all().with_context(writing)?;
    file.persist_noclobber(out).with_context(writing)?;
    Ok(())
}
