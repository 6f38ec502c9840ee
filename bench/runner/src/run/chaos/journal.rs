//! What takes faults back, written down before they are injected: where nothing is left of the runner, somebody else can do it.
//!
//! Each fault has a file of its own in a folder of the user's. It is removed once the fault has been taken back.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use barrier_procs::Identity;
use serde::{Deserialize, Serialize};

use crate::values::exit;
use crate::values::mask::{masked, masked_address};
use crate::values::writer::{sync_folder, whole};

/// Below the folder in which programs keep their state.
const PLACE: &str = "k6-barrier/undo";
/// Nobody else may say what is run to take a fault back.
const OWN: u32 = 0o700;
/// Rights of a folder that let others put something into it.
const OF_OTHERS: u32 = 0o022;

/// A fault that may be there.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    schema_version: u32,
    /// When it was written, epoch ms.
    pub(crate) written_ms: i64,
    /// Who injects it.
    pub(crate) runner: Identity,
    /// The suite whose run it is.
    #[serde(default)]
    pub(crate) suite: Option<String>,
    /// Evidence of its run.
    pub(crate) folder: String,
    pub(crate) fault: String,
    pub(crate) undo: Undo,
    /// Processes that it is gone with: all of them.
    pub(crate) gone_with: Vec<Identity>,
}

/// What takes a fault back.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub(crate) enum Undo {
    /// It ends with the runner, which holds all of it.
    WithRunner,
    Put {
        url: String,
        body: String,
    },
    Command {
        program: PathBuf,
        arguments: Vec<String>,
        folder: PathBuf,
        environment: BTreeMap<String, String>,
        /// What no file may hold; whoever undoes it without this process has to give it.
        #[serde(skip)]
        secrets: BTreeMap<String, String>,
        /// Names of variables that were left out, and without which it cannot be undone.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        needs: Vec<String>,
        /// Names of further ones that it gets if they are there.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        takes: Vec<String>,
        /// Where those lead of both that are addresses, without what is secret in them; `None` where nobody can tell.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        places: BTreeMap<String, Option<String>>,
        limit_ms: u64,
    },
}

impl Entry {
    /// A fault that is about to be injected by this process.
    ///
    /// # Errors
    /// The system tells nothing about this process.
    pub(super) fn new(
        suite: &str,
        folder: &Path,
        fault: &str,
        undo: Undo,
        gone_with: Vec<Identity>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            schema_version: 1,
            written_ms: jiff::Timestamp::now().as_millisecond(),
            runner: Identity::own()?,
            suite: Some(suite.to_owned()),
            folder: folder.display().to_string(),
            fault: fault.to_owned(),
            undo: without_passwords(undo),
            gone_with,
        })
    }

    /// Whether nothing of it can be left: it was in processes that have all ended.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.undo, Undo::WithRunner)
            || !self.gone_with.is_empty() && !self.gone_with.iter().any(Identity::lives)
    }

    /// Whether somebody else still sees to it.
    pub(crate) fn is_seen_to(&self) -> bool {
        self.runner.lives() && self.runner.process() != std::process::id()
    }
}

/// Addresses may hold passwords, which stay out of the file like all secrets; their names are kept, and where they lead.
fn without_passwords(mut undo: Undo) -> Undo {
    if let Undo::Command {
        program,
        arguments,
        folder,
        environment,
        secrets,
        needs,
        takes,
        places,
        ..
    } = &mut undo
    {
        let mut left_out = std::mem::take(secrets);
        left_out.extend(environment.extract_if(.., |_, value| {
            masked_address(value) != *value || masked(value) != *value
        }));
        let script = is_script(program, arguments, folder);
        for (name, value) in left_out {
            if let Some(place) = place(&value) {
                places.insert(name.clone(), place);
            }
            let named = arguments.iter().any(|word| names(word, &name));
            let list = if named || script {
                &mut *needs
            } else {
                &mut *takes
            };
            list.push(name);
        }
    }
    undo
}

/// Whether a command has a script of its own, which may read any variable: what is no program of the machine's.
fn is_script(program: &Path, arguments: &[String], folder: &Path) -> bool {
    let is_text = |path: &Path| {
        let mut first = [0; 4];
        let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut first));
        path.is_file() && (read.is_err() || first != *b"\x7fELF")
    };
    let apart = |c: char| c.is_whitespace() || "'\"`;&|()<>".contains(c);
    let mut words = arguments.iter().flat_map(|word| word.split(apart));
    is_text(program) || words.any(|word| !word.is_empty() && is_text(&folder.join(word)))
}

/// Whether a variable of this name stands in a word of a command.
fn names(word: &str, name: &str) -> bool {
    let mut parts = word.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    parts.any(|part| part == name)
}

/// Where a value leads: `None` of what is no address, and nothing in it where nobody can tell.
fn place(value: &str) -> Option<Option<String>> {
    if !value.contains([':', '@']) && !value.contains("host") {
        return None;
    }
    let Ok(mut address) = url::Url::parse(value) else {
        return Some(None);
    };
    // Drivers of databases take another host from there.
    let elsewhere = address.query().is_some_and(|query| query.contains("host"));
    if !address.has_host() || elsewhere {
        return Some(None);
    }
    if address.password().is_none() {
        // Of some services a token stands there.
        let _ = address.set_username("");
    }
    let _ = address.set_password(None);
    address.set_query(None);
    address.set_fragment(None);
    let text = address.to_string();
    Some((masked(&text) == text).then_some(text))
}

/// Who takes a fault back, and so says what a variable is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// Somebody who has asked for just that.
    Person,
    /// A run, whose variables are meant for something else.
    Run,
}

impl Undo {
    /// The same with what the file does not hold. An address has to lead to where it led when the fault was injected.
    ///
    /// # Errors
    /// What is not given, by name, and why what is there is not taken.
    pub(super) fn supplied(
        mut self,
        by: By,
        given: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<String>> {
        let Self::Command {
            secrets,
            needs,
            takes,
            places,
            ..
        } = &mut self
        else {
            return Ok(self);
        };
        let found = |name: &str| match (places.get(name), given(name)) {
            (Some(Some(at)), None) => Err(format!("{name} (it led to {at})")),
            (_, None) => Err(name.to_owned()),
            (Some(Some(at)), Some(value)) => match place(&value) {
                Some(Some(now)) if now == *at => Ok(value),
                _ => Err(format!("{name} (it led to {at}, and leads elsewhere now)")),
            },
            (Some(None), Some(_)) if by == By::Run => {
                Err(format!("{name} (nobody can tell where it leads)"))
            }
            (_, Some(value)) => Ok(value),
        };
        let mut missing = Vec::new();
        for name in needs.iter() {
            match found(name) {
                Ok(value) => drop(secrets.insert(name.clone(), value)),
                Err(why) => missing.push(why),
            }
        }
        if !missing.is_empty() {
            return Err(missing);
        }
        for name in takes.iter() {
            // Without its password it leads to the right place at least.
            let own = || places.get(name).cloned().flatten();
            if let Some(value) = found(name).ok().or_else(own) {
                secrets.insert(name.clone(), value);
            }
        }
        Ok(self)
    }
}

/// The folder of the journal.
#[derive(Debug)]
pub(crate) struct Journal(PathBuf);

/// An entry on the disk.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) path: PathBuf,
    pub(crate) entry: Entry,
}

impl Journal {
    /// That of the user, made where it is missing.
    ///
    /// # Errors
    /// There is no place for it, or others may write there.
    pub(crate) fn open() -> anyhow::Result<Self> {
        let place = Self::place().ok_or_else(|| {
            exit::set_up("no place for the journal of faults: neither HOME nor XDG_STATE_HOME names a folder; give one")
        })?;
        Self::at(&place)
    }

    /// The same if it is there.
    ///
    /// # Errors
    /// Others may write there.
    pub(crate) fn existing() -> anyhow::Result<Option<Self>> {
        let place = Self::place().filter(|place| place.exists());
        place.map(|place| Self::at(&place)).transpose()
    }

    fn place() -> Option<PathBuf> {
        let given = std::env::var_os("XDG_STATE_HOME").filter(|given| !given.is_empty());
        let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state"));
        let state = given.map(PathBuf::from).or_else(home);
        let state = state.filter(|place| place.is_absolute())?;
        Some(state.join(PLACE))
    }

    fn at(place: &Path) -> anyhow::Result<Self> {
        let mut builder = DirBuilder::new();
        builder
            .recursive(true)
            .mode(OWN)
            .create(place)
            .with_context(|| format!("making {}", place.display()))?;
        let seen = fs::symlink_metadata(place);
        let seen = seen.with_context(|| format!("looking at {}", place.display()))?;
        let own = seen.uid() == rustix::process::geteuid().as_raw();
        if !seen.is_dir() || !own || seen.mode() & OF_OTHERS != 0 {
            return Err(exit::set_up(format!(
                "{}: the journal of faults has to be a folder of your own that nobody else may write to",
                place.display()
            )));
        }
        Ok(Self(place.to_owned()))
    }

    /// Writes an entry. Once this returns, it is on the disk.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn write(&self, entry: Entry) -> anyhow::Result<Kept> {
        let name = format!(
            "{}-{}-{}.json",
            entry.written_ms,
            std::process::id(),
            entry.fault
        );
        let path = self.0.join(name);
        let text = format!("{:#}\n", serde_json::to_value(&entry)?);
        whole(&path, text.as_bytes(), false).with_context(|| {
            format!(
                "writing {}, which has to be there before a fault is",
                path.display()
            )
        })?;
        Ok(Kept { path, entry })
    }

    /// All entries, the newest first: faults are taken back in the opposite order.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub(crate) fn left(&self) -> anyhow::Result<Left> {
        let reading = || format!("reading {}", self.0.display());
        let (mut left, mut damaged) = (Vec::new(), Vec::new());
        for found in fs::read_dir(&self.0).with_context(reading)? {
            let path = found.with_context(reading)?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let entry = match fs::read_to_string(&path) {
                // Its own runner was faster.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => Err(error.to_string()),
                Ok(text) => serde_json::from_str(&text).map_err(|error| error.to_string()),
            };
            match entry {
                Ok(entry) => left.push(Kept { path, entry }),
                Err(why) => damaged.push(Damaged { path, why }),
            }
        }
        left.sort_by_key(|kept: &Kept| std::cmp::Reverse(kept.entry.written_ms));
        Ok(Left {
            entries: left,
            damaged,
        })
    }
}

/// What the journal holds.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) entries: Vec<Kept>,
    pub(crate) damaged: Vec<Damaged>,
}

/// A file that tells nothing of a fault, although there may be one.
#[derive(Debug)]
pub(crate) struct Damaged {
    pub(crate) path: PathBuf,
    pub(crate) why: String,
}

impl Damaged {
    /// Gives it a name that is no entry's, so that a person can still look at it. Returns where it is then.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub(crate) fn set_aside(&self) -> std::io::Result<PathBuf> {
        let aside = self.path.with_extension("damaged");
        fs::rename(&self.path, &aside)?;
        Ok(aside)
    }
}

impl Kept {
    /// The fault is there no more. A failure leaves the entry, and to take a fault back twice does no harm.
    pub(crate) fn settle(&self) {
        let removed = fs::remove_file(&self.path);
        if removed.is_ok()
            && let Some(folder) = self.path.parent()
        {
            let _ = sync_folder(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn entries_stay_until_they_are_settled_and_the_last_comes_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = Journal::at(&folder.path().join("undo")).expect("a journal");
        let write = |fault: &str, written_ms| {
            let put = Undo::Put {
                url: "http://h".to_owned(),
                body: "{}".to_owned(),
            };
            let entry = Entry::new("s", folder.path(), fault, put, Vec::new()).expect("an entry");
            journal
                .write(Entry {
                    written_ms,
                    ..entry
                })
                .expect("written")
        };
        let (first, _second) = (write("one", 1), write("two", 2));
        let names = || -> Vec<String> {
            let left = journal.left().expect("read").entries.into_iter();
            left.map(|kept| kept.entry.fault).collect()
        };
        assert_eq!(names(), ["two", "one"]);
        assert!(
            !first.entry.is_gone() && !first.entry.is_seen_to(),
            "it is of this process"
        );
        first.settle();
        assert_eq!(names(), ["two"]);
        fs::write(folder.path().join("undo/torn.json"), "{").expect("written");
        assert_eq!(names(), ["two"], "others can still be taken back");
        let damaged = || journal.left().expect("read").damaged;
        let [torn] = &damaged()[..] else {
            panic!("one is damaged: {:?}", damaged());
        };
        assert!(torn.set_aside().expect("renamed").is_file());
        assert!(damaged().is_empty());
    }

    #[test]
    fn passwords_stay_out() {
        let environment = [("A", "http://h:1/x"), ("B", "postgres://u:hunter2@h/d")];
        let undo = |arguments: &[&str]| Undo::Command {
            program: PathBuf::from("/bin/true"),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            folder: PathBuf::from("/"),
            environment: environment
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            secrets: BTreeMap::from([("KEY".to_owned(), "hunter2".to_owned())]),
            needs: Vec::new(),
            takes: Vec::new(),
            places: BTreeMap::new(),
            limit_ms: 1,
        };
        let kept = |arguments: &[&str]| {
            let undo = undo(arguments);
            let entry = Entry::new("s", Path::new("/"), "f", undo, Vec::new()).expect("an entry");
            let text = serde_json::to_string(&entry).expect("JSON");
            assert!(
                text.contains("http://h:1/x") && !text.contains("hunter2"),
                "{text}"
            );
            let read: Entry = serde_json::from_str(&text).expect("an entry");
            read.undo
        };
        let given = |b: &str| {
            let values = BTreeMap::from([("B", b.to_owned()), ("KEY", "k".to_owned())]);
            move |name: &str| values.get(name).cloned()
        };
        let secrets = |undo: Result<Undo, Vec<String>>| match undo {
            Ok(Undo::Command { secrets, .. }) => secrets,
            other => panic!("it has all: {other:?}"),
        };
        let both = kept(&["-c", "echo $B${KEY}"]);
        let here = "postgres://u:other@h/d";
        for by in [By::Person, By::Run] {
            let missing = both.clone().supplied(by, |_| None);
            let missing = missing.expect_err("both are missing");
            assert_eq!(missing, ["B (it led to postgres://u@h/d)", "KEY"]);
            let wrong = both
                .clone()
                .supplied(by, given("postgres://u:other@else/d"));
            let wrong = wrong.expect_err("it is another host");
            assert!(
                wrong.len() == 1 && wrong[0].contains("leads elsewhere"),
                "{wrong:?}"
            );
            let all = secrets(both.clone().supplied(by, given(here)));
            assert_eq!((all["B"].as_str(), all["KEY"].as_str()), (here, "k"));
        }
        // What it does not name it does not need, and yet it is not led elsewhere.
        let none = kept(&["B_ELSE"]);
        let without = secrets(none.clone().supplied(By::Run, |_| None));
        assert_eq!(without["B"], "postgres://u@h/d");
        assert!(!without.contains_key("KEY"));
        let all = secrets(none.supplied(By::Run, given("postgres://u:other@else/d")));
        assert_eq!(
            (all["B"].as_str(), all["KEY"].as_str()),
            ("postgres://u@h/d", "k")
        );
    }

    #[test]
    fn where_nobody_can_tell_only_a_person_says_what_is_meant() {
        assert_eq!(place("a-token="), None);
        for value in [
            "h:1",
            "host=h password=p",
            "postgres://u:p@h/d?host=else",
            "kafka://a:1,b:2",
        ] {
            assert_eq!(place(value), Some(None), "{value}");
        }
        assert_eq!(
            place("https://token@h:1/p?key=k"),
            Some(Some("https://h:1/p".to_owned()))
        );
    }

    #[test]
    fn a_script_may_read_any_variable() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("mend.sh"), "echo $KEY").expect("written");
        let script = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            is_script(Path::new("/bin/true"), &words, folder.path())
        };
        assert!(script(&["mend.sh"]) && script(&["-c", ". ./mend.sh; true"]));
        assert!(!script(&["-c", "rm broken"]));
    }

    #[test]
    fn what_others_may_write_to_is_no_journal() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("undo");
        Journal::at(&place).expect("a journal");
        fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).expect("rights");
        let refused = Journal::at(&place).expect_err("anybody may write there");
        assert!(refused.to_string().contains("nobody else"), "{refused}");
    }
}
