//! Builds of the thing under test, as a person names them: `--build NAME`, `NAME=[TARGET:]PATH`, `NAME=ADDRESS`.

use std::path::PathBuf;

use rustix::fs::{Access, access};
use serde::{Deserialize, Serialize};

use crate::suite::Suite;
use crate::suite::given::Given;
use crate::suite::schema::{TargetKind, TargetTable};
use crate::values::exit;

/// Variables by which a person names what is under test.
pub(crate) const NAMES: &[&str] = &["LABEL", "BRANCH", "SHA"];

/// A build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Build {
    pub(crate) name: String,
    pub(crate) place: Place,
}

/// Where a build is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Place {
    /// Wherever the target is; only its name is told.
    Told,
    /// A program that takes the place of the one that a target starts.
    Program {
        target: Option<String>,
        path: PathBuf,
    },
    /// A target that a person started.
    Address(String),
}

/// The builds of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Builds {
    /// As `--build` names them; with several, the others are compared with the first.
    named: Vec<Build>,
    /// What `BRANCH`, `SHA` and `LABEL` say of a target that a person started.
    said: String,
    branch: String,
    pub(crate) sha: String,
}

/// The build of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct UnderTest {
    /// Empty if nobody named it.
    pub(crate) name: String,
    /// What the evidence path calls it; empty where the target's name has to do.
    pub(crate) branch: String,
    /// The build that it is compared with; empty if there is only one.
    pub(crate) base: String,
    /// In place of the program that the target starts.
    pub(crate) program: Option<PathBuf>,
    /// Of its sources, as a person said it.
    pub(crate) sha: String,
}

impl Build {
    /// The address of a service, as all who write it would.
    fn address(&self) -> Option<String> {
        let Place::Address(address) = &self.place else {
            return None;
        };
        let url = url::Url::parse(address).map(String::from);
        let text = url.unwrap_or_else(|_| address.clone());
        Some(text.trim_end_matches('/').to_owned())
    }
}

impl Builds {
    /// Reads the arguments and what the variables say.
    ///
    /// # Errors
    /// An argument is of no known form, a name is given twice, or a program is not there.
    pub(crate) fn new(
        suite: &Suite,
        arguments: &[String],
        given: &Given,
        label: &str,
    ) -> anyhow::Result<Self> {
        let mut named: Vec<Build> = Vec::new();
        for argument in arguments {
            let build = parse(suite, argument)?;
            if named.iter().any(|known| known.name == build.name) {
                return Err(exit::set_up(format!("--build {}: named twice", build.name)));
            }
            // One program may stand under two names, to see what is found between equal builds; one service has one state.
            let same = |known: &&Build| {
                known
                    .address()
                    .is_some_and(|own| build.address() == Some(own))
            };
            if let Some(known) = named.iter().find(same) {
                return Err(exit::set_up(format!(
                    "--build {}: the address of {}, so one service would be compared with itself; name another, or one build alone",
                    build.name, known.name
                )));
            }
            named.push(build);
        }
        let kind = |build: &Build| std::mem::discriminant(&build.place);
        if named.iter().any(|build| kind(build) != kind(&named[0])) {
            return Err(exit::set_up(
                "--build: some are programs and others are not; give all as NAME=PATH, or all as NAME=ADDRESS",
            ));
        }
        if named.len() > 1 && named[0].place == Place::Told {
            return Err(exit::set_up(
                "--build: several builds need to be told where they are, as NAME=PATH or NAME=ADDRESS",
            ));
        }
        let said = |name: &str| {
            let places = [&given.set, &given.environment, &given.file];
            let texts = places.into_iter().filter_map(|place| place.get(name));
            texts
                .map(|text| text.trim().to_owned())
                .find(|text| !text.is_empty())
                .unwrap_or_default()
        };
        let branches = [said("BRANCH"), said("LABEL"), said("SHA"), label.to_owned()];
        let mut parts = vec![said("BRANCH"), said("SHA"), said("LABEL"), label.to_owned()];
        parts.retain(|part| !part.is_empty());
        parts.dedup();
        Ok(Self {
            named,
            said: parts.join(" "),
            branch: branches
                .into_iter()
                .find(|name| !name.is_empty())
                .unwrap_or_default(),
            sha: said("SHA"),
        })
    }

    /// What runs in each cycle of each variant: the places of the named builds, or what there is.
    pub(super) fn each(&self) -> Vec<Option<&Build>> {
        if self.named.is_empty() {
            vec![None]
        } else {
            self.named.iter().map(Some).collect()
        }
    }

    /// Whether builds are compared.
    pub(super) fn several(&self) -> bool {
        self.named.len() > 1
    }

    /// The build of a run.
    ///
    /// # Errors
    /// A program for another target, or for one that nobody starts.
    pub(super) fn of_run(
        &self,
        build: Option<&Build>,
        target: &TargetTable,
    ) -> anyhow::Result<UnderTest> {
        let base = self.named.first().filter(|_| self.several());
        let external = target.kind == TargetKind::External;
        let mut under = UnderTest {
            base: base.map(|base| base.name.clone()).unwrap_or_default(),
            sha: self.sha.clone(),
            ..UnderTest::default()
        };
        let Some(build) = build else {
            if external {
                under.name.clone_from(&self.said);
                under.branch.clone_from(&self.branch);
            }
            return Ok(under);
        };
        under.name.clone_from(&build.name);
        under.branch.clone_from(&build.name);
        if let Place::Program { target: only, path } = &build.place {
            if external {
                return Err(exit::set_up(format!(
                    "--build {}: {} was started by a person, so the runner cannot put another program in its place; leave out its address, or give that of each build as --build NAME=ADDRESS",
                    build.name, target.id
                )));
            }
            if target.kind == TargetKind::Compose {
                return Err(exit::set_up(format!(
                    "--build {}: {} runs in a container, so the runner cannot put another program in its place; give the address of each build as --build NAME=ADDRESS",
                    build.name, target.id
                )));
            }
            if only.as_ref().is_some_and(|only| *only != target.id) {
                return Err(exit::set_up(format!(
                    "--build {}: it is for the target {}, but the plan also starts {}; name variants with --variant",
                    build.name,
                    only.as_deref().unwrap_or_default(),
                    target.id
                )));
            }
            under.program = Some(path.clone());
        }
        Ok(under)
    }

    /// Whether it is clear which program each build replaces.
    ///
    /// # Errors
    /// Targets of the plan start different programs and a build names none of them.
    pub(super) fn check<'a>(
        &self,
        targets: impl Iterator<Item = &'a TargetTable>,
    ) -> anyhow::Result<()> {
        let without = self
            .named
            .iter()
            .find(|build| matches!(&build.place, Place::Program { target: None, .. }));
        let Some(build) = without else {
            return Ok(());
        };
        let mut programs: Vec<(&str, &str)> = Vec::new();
        for target in targets.filter(|target| target.is_started()) {
            let program = target.start.first().map_or("", |word| word.get_ref());
            if !programs.iter().any(|known| known.1 == program) {
                programs.push((&target.id, program));
            }
        }
        if programs.len() > 1 {
            let names: Vec<String> = programs
                .iter()
                .map(|(id, program)| format!("{id} ({program})"))
                .collect();
            return Err(exit::set_up(format!(
                "--build {}: several targets have a program; say which one as --build {}=TARGET:PATH: {}",
                build.name,
                build.name,
                names.join(", ")
            )));
        }
        Ok(())
    }
}

fn parse(suite: &Suite, argument: &str) -> anyhow::Result<Build> {
    let refuse = |why: &str| {
        exit::set_up(format!(
            "--build {argument}: {why}; allowed: NAME, NAME=[TARGET:]PATH, NAME=http://HOST:PORT"
        ))
    };
    let (name, place) = match argument.split_once('=') {
        Some((name, place)) => (name.trim(), place.trim()),
        None => (argument.trim(), ""),
    };
    if name.is_empty() || (place.is_empty() && argument.contains('=')) {
        return Err(refuse("not of the form NAME=PLACE"));
    }
    let build = |place: Place| Build {
        name: name.to_owned(),
        place,
    };
    if place.is_empty() {
        return Ok(build(Place::Told));
    }
    if place.starts_with("http://") || place.starts_with("https://") {
        let address = url::Url::parse(place).map_err(|error| refuse(&error.to_string()))?;
        if address.password().is_some() || !address.username().is_empty() {
            return Err(exit::set_up(format!(
                "--build {name}: an address with credentials would be kept in the evidence; give them by variables of the suite"
            )));
        }
        return Ok(build(Place::Address(place.to_owned())));
    }
    let targets: Vec<&str> = suite
        .file
        .target
        .iter()
        .filter(|target| !target.is_service())
        .map(|target| target.id.as_str())
        .collect();
    let (target, path) = match place.split_once(':') {
        Some((target, path)) if targets.contains(&target) => (Some(target.to_owned()), path),
        Some((target, _)) if !target.contains('/') => {
            return Err(refuse(&format!(
                "no target `{target}` (there are: {})",
                targets.join(", ")
            )));
        }
        _ => (None, place),
    };
    let path = std::path::absolute(path).map_err(|error| refuse(&error.to_string()))?;
    if !path.is_file() {
        return Err(refuse(&format!("there is no file {}", path.display())));
    }
    if let Err(error) = access(&path, Access::EXEC_OK) {
        return Err(refuse(&format!(
            "{} cannot be started: {error}",
            path.display()
        )));
    }
    Ok(build(Place::Program { target, path }))
}
