//! What the runs of a suite are made with, without a run: its services and its target, from their start to their end.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use barrier_procs::Identity;
use barrier_stats::host;
use jiff::Timestamp;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::record::ELSEWHERE;
use super::servers::Servers;
use super::{find, lock};
use crate::events::{Event, Stream};
use crate::evidence::{Folder, Invocation, resolved};
use crate::plan::{Plan, PlannedRun};
use crate::run::fixtures::{install::Installed, look};
use crate::run::inbox::{Inbox, Message, Needs};
use crate::run::logs;
use crate::run::scratch::Scratch;
use crate::run::targets::Targets;
use crate::suite::Suite;
use crate::suite::vars::{RunValues, Vars};
use crate::values::exit;
use crate::values::mask::{masked, masked_address};
use crate::values::text::shown;

/// What was started, in the folder of the logs.
const SERVICES: &str = "services.json";
/// What such a folder is called, before its instant.
const FOLDER: &str = "services-";
/// How long whoever started them may take to end them.
const END_LIMIT: Duration = Duration::from_secs(120);
/// How long one may take to end that nobody looks after any more.
const GRACE: Duration = Duration::from_secs(5);
/// Between two looks at nothing but messages.
const LONG: Duration = Duration::from_secs(3600);

/// What was started. It is written once.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Services {
    schema_version: u32,
    suite: String,
    began: Timestamp,
    /// Who looks after them.
    runner: Identity,
    services: Vec<Service>,
}

impl Services {
    /// Whether who looks after them lives, or one of them.
    fn live(&self) -> bool {
        let services = self.services.iter();
        let processes = services.filter_map(|service| service.process.as_ref());
        processes.chain([&self.runner]).any(Identity::lives)
    }

    /// Whether that cannot be told from here.
    fn elsewhere(&self) -> bool {
        self.runner.is_elsewhere()
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Service {
    id: String,
    /// Where it listens; without secrets.
    address: String,
    /// `None` if a person started it.
    process: Option<Identity>,
}

/// Starts what the first run of a plan needs, and looks after it until a signal comes. Returns the exit code.
///
/// # Errors
/// Something does not start or does not answer, all of it was started by a person, or one ends by itself meanwhile.
pub(crate) fn up(
    suite: &Suite,
    plan: &Plan<'_>,
    detached: bool,
    stream: &Stream,
) -> anyhow::Result<i32> {
    // While they start they would disturb a run; later it is for the person to see what runs beside them.
    let lock = lock::take(&format!("{}, services", suite.file.suite.id))?;
    let run = plan.runs.first().context("a plan holds a run")?;
    if !run.targets().iter().any(|table| table.is_started()) {
        return Err(exit::set_up(format!(
            "target {} was started by a person, so there is nothing to start; leave out its address to use the reference target",
            run.target.id
        )));
    }
    host::raise_open_files();
    let mut inbox = Inbox::install()?;
    let _scratch = Scratch::open()?;
    let mut vars = run.vars.clone();
    let mut servers = Servers::start(suite, plan, &mut inbox, stream)?;
    servers.supply(&mut vars);
    run.check_hosts(suite, &RunValues::new())?;
    let root = suite.resolve(&vars.expand(suite.file.evidence.root.get_ref(), &RunValues::new())?);
    let timestamp = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
    let invocation = Invocation::create(&root, &format!("{FOLDER}{timestamp}"))?;
    let folder = invocation.shared();
    // They read it when they start. A run beside them puts back what lay there, and installs it once more for its own.
    look(suite, &vars)?;
    let installed = Installed::all(suite, &vars)?;
    let program = run.under_test.program.as_deref();
    let targets = Targets::start(suite, run, program, &mut vars, &folder, &mut inbox)?;
    let ended = with(
        suite,
        (run, &vars),
        &targets,
        &servers,
        &folder,
        detached,
        stream,
    )
    .and_then(|()| {
        drop(lock);
        until_end(&targets.watch(&inbox), &mut inbox)
    });
    let mut targets = targets;
    let health = targets.healthy();
    targets.stop(&folder);
    if let Err(error) = installed.put_back() {
        let text = masked(&format!("warning  {error:#}"));
        stream.tell(Event::Finding { text });
    }
    servers.end(&folder)?;
    if let Ended::ByItself = ended? {
        let why = health.err();
        let why = why.map_or_else(|| "one has ended".to_owned(), |unwell| unwell.text);
        return Err(exit::set_up(format!("{why}; all others were ended, too")));
    }
    Ok(exit::OK)
}

/// Keeps and tells what was started.
fn with(
    suite: &Suite,
    (run, vars): (&PlannedRun<'_>, &Vars),
    targets: &Targets,
    servers: &Servers,
    folder: &Folder,
    detached: bool,
    stream: &Stream,
) -> anyhow::Result<()> {
    for text in targets.labels() {
        let text = format!("warning  {text}");
        stream.tell(Event::Finding { text });
    }
    let mut services: Vec<Service> = servers
        .started()?
        .into_iter()
        .map(|server| Service {
            id: server.id.to_owned(),
            address: server.address,
            process: Some(server.process),
        })
        .collect();
    let tables = run.targets();
    for target in targets.iter() {
        let address = masked_address(target.address());
        stream.tell(Event::TargetReady {
            target: target.id().to_owned(),
            address: address.clone(),
        });
        let mut tables = tables.iter();
        if let Some(table) = tables.find(|table| table.id == target.id()) {
            for name in table.addresses.keys() {
                let shown = vars.shown(name.get_ref()).unwrap_or_default();
                let text = format!("         {}={shown}", name.get_ref());
                stream.tell(Event::Finding { text });
            }
            if target.process().is_some() {
                let log = folder.partial(&logs::own(table));
                let text = format!("         its log: {}", shown(&log));
                stream.tell(Event::Finding { text });
            }
        }
        services.push(Service {
            id: target.id().to_owned(),
            address,
            process: target.process().map(Identity::of).transpose()?,
        });
    }
    let path = resolved(folder.path())?;
    let own = Services {
        schema_version: 1,
        suite: suite.file.suite.id.clone(),
        began: Timestamp::now(),
        runner: Identity::own()?,
        services,
    };
    folder.write_json(SERVICES, &serde_json::to_value(&own)?)?;
    if !detached {
        let shown = shown(&path);
        let text = format!("up       end it by Ctrl-C, or: barrier-bench down {shown}");
        stream.tell(Event::Finding { text });
    }
    stream.tell(Event::SessionBegan {
        folder: path.display().to_string(),
        runner: own.runner,
        detached,
    });
    Ok(())
}

/// Why they end.
enum Ended {
    Asked,
    ByItself,
}

fn until_end(started: &Needs, inbox: &mut Inbox) -> anyhow::Result<Ended> {
    // One that came while they started counts.
    if inbox.check().is_err() {
        return Ok(Ended::Asked);
    }
    loop {
        match inbox.next(Instant::now() + LONG) {
            Some(Message::Interrupt) => return Ok(Ended::Asked),
            Some(Message::Exited(id)) if started.contains(id) => return Ok(Ended::ByItself),
            Some(Message::Exited(_) | Message::Gone(_)) | None => {}
        }
    }
}

/// What [`down`] did.
#[derive(Debug)]
pub(crate) struct Down {
    pub(crate) folder: PathBuf,
    /// What it ended, by its id in the suite and its process.
    pub(crate) ended: Vec<(String, u32)>,
}

/// Ends what [`up`] started, by the recorded processes: whoever looks after them does it, or, where that one was killed, this call.
///
/// # Errors
/// There is no such folder, or something does not end.
pub(crate) fn down(what: &str) -> anyhow::Result<Down> {
    let (folder, services) = find_services(what)?;
    if services.elsewhere() {
        return Err(exit::set_up(format!(
            "{}: not ended: what was started {ELSEWHERE}; call this where `up` was called",
            folder.display()
        )));
    }
    let living = |service: &Service| {
        let process = service.process.as_ref().filter(|process| process.lives())?;
        Some((service.id.clone(), process.process()))
    };
    let ended: Vec<(String, u32)> = services.services.iter().filter_map(living).collect();
    if services.runner.signal(Signal::TERM)? && !services.runner.ends_within(END_LIMIT) {
        anyhow::bail!(
            "process {}, which looks after them, does not end; see its log in {}",
            services.runner.process(),
            folder.display()
        );
    }
    for service in &services.services {
        let Some(process) = &service.process else {
            continue;
        };
        for signal in [Signal::TERM, Signal::KILL] {
            if process.lives() {
                process.signal(signal)?;
                let _ = process.ends_within(GRACE);
            }
        }
        if process.lives() {
            anyhow::bail!(
                "{}, process {}, does not end",
                service.id,
                process.process()
            );
        }
    }
    Ok(Down { folder, ended })
}

fn find_services(what: &str) -> anyhow::Result<(PathBuf, Services)> {
    let read = |folder: PathBuf| {
        let services = Folder::open(&folder).json(SERVICES)?;
        let services: Services = serde_json::from_value(services).ok()?;
        Some((folder, services))
    };
    let path = Path::new(what);
    if path.is_dir() {
        return read(resolved(path)?).ok_or_else(|| {
            exit::set_up(format!(
                "{what}: no {SERVICES} of this runner lies there; name the folder that `up` printed"
            ))
        });
    }
    let suite = Suite::load(what)?;
    let root = find::root(&suite)?;
    let entries = std::fs::read_dir(&root).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(FOLDER));
    let mut folders: Vec<PathBuf> = folders.map(|entry| entry.path()).collect();
    folders.sort();
    let own = folders.into_iter().rev().filter_map(read);
    let own = own.filter(|(_, services)| services.suite == suite.file.suite.id);
    let mut own: Vec<(PathBuf, Services)> = own.collect();
    // The newest of which something lives: it may have been started before one that has ended.
    let living = own.iter().position(|(_, services)| services.live());
    // What cannot be told is no answer while there is one that can.
    let living = living.or_else(|| own.iter().position(|(_, services)| !services.elsewhere()));
    if !own.is_empty() {
        return Ok(own.swap_remove(living.unwrap_or_default()));
    }
    Err(exit::set_up(format!(
        "suite {}: nothing of it is up, as far as {} tells; name the folder that `up` printed",
        suite.file.suite.id,
        root.display()
    )))
}
