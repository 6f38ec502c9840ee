//! What processes and the whole machine consume over time, from `/proc`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use procfs::process::{FDTarget, Process};
use procfs::{CurrentSI as _, KernelStats};
use serde_json::{Map, Value as Json, json};

use super::family::with_descendants;
use super::named::{Found, Member, alive};
use super::sampler::{self, now_ms};
use crate::events::{Event, Stream};
use crate::suite::monitor::Pick;
use crate::verdict::facts::Machine;

/// Beyond this share of the machine, in percent, other programs are pointed out.
const BUSY_PERCENT: f64 = 10.0;
/// Beyond this share the machine itself is pointed out as the limit.
const SATURATED_PERCENT: f64 = 95.0;
/// Where the runner itself is counted.
const RUNNER: &str = "runner";
/// Where the generator is.
const GENERATOR: &str = "k6";
/// By which a monitor asks for whatever the target consists of.
const TARGET: &str = "target";

/// Whether other programs can be told from those of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The runner has started all that belongs to the run.
    Started,
    /// A person has, and has named the processes.
    Named,
    /// A person has, and nobody knows what belongs to it.
    Unknown,
}

/// The processes of a run by name; grows while the run is prepared.
#[derive(Clone)]
pub(crate) struct Processes {
    known: Arc<Mutex<BTreeMap<String, Group>>>,
    target: Target,
    /// Hears of those that go away.
    stream: Stream,
}

/// What goes by one name.
#[derive(Debug, Clone, Default)]
struct Group {
    ids: Vec<u32>,
    /// Of those that a person started: what they were at the beginning.
    foreign: Vec<Member>,
    /// What they have started belongs to it, too, as of a server that has a process for each connection.
    family: bool,
}

impl Group {
    /// Those that there are now.
    fn now(&self) -> Vec<u32> {
        if !self.family {
            return self.ids.clone();
        }
        let roots = self.ids.iter().filter_map(|id| i32::try_from(*id).ok());
        let found = with_descendants(&roots.collect::<Vec<_>>());
        let ids = found.iter().filter_map(|stat| u32::try_from(stat.pid).ok());
        ids.collect()
    }
}

impl Processes {
    /// The runner itself.
    pub(crate) fn new(target: Target, stream: &Stream) -> Self {
        let processes = Self {
            known: Arc::default(),
            target,
            stream: stream.clone(),
        };
        processes.add(RUNNER, std::process::id());
        processes
    }

    /// Another process of the run.
    pub(crate) fn add(&self, name: &str, id: u32) {
        self.insert(name, id, false);
    }

    /// The same with whatever it starts.
    pub(crate) fn add_family(&self, name: &str, id: u32) {
        self.insert(name, id, true);
    }

    fn insert(&self, name: &str, id: u32, family: bool) {
        let group = Group {
            ids: vec![id],
            foreign: Vec::new(),
            family,
        };
        self.known().insert(name.to_owned(), group);
    }

    /// Those of the target that a person started.
    pub(in crate::run) fn add_foreign(&self, found: &Found) {
        let group = Group {
            ids: found.members.iter().map(|member| member.id).collect(),
            foreign: found.members.clone(),
            family: false,
        };
        self.known().insert(found.name.clone(), group);
    }

    /// k6, once it runs.
    pub(super) fn generator(&self) -> Option<u32> {
        self.known().get(GENERATOR)?.ids.first().copied()
    }

    /// The services and the target: all but the runner and k6.
    pub(super) fn services(&self) -> Vec<i32> {
        let known = self.known();
        let services = known
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), RUNNER | GENERATOR));
        let ids = services.flat_map(|(_, group)| &group.ids);
        ids.filter_map(|id| i32::try_from(*id).ok()).collect()
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Group>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list(&self) -> Vec<(String, Group)> {
        let known = self.known();
        known
            .iter()
            .map(|(name, group)| (name.clone(), group.clone()))
            .collect()
    }

    /// Takes out what a person started and is not there any more, and says so.
    fn forget_gone(&self) -> Vec<String> {
        let mut gone = Vec::new();
        for (name, group) in self.known().iter_mut() {
            group.foreign.retain(|member| {
                let stays = alive(member.id) == Some(*member);
                if !stays {
                    group.ids.retain(|id| *id != member.id);
                    let id = member.id;
                    // Unless that is its whole name already.
                    let text = match name.strip_prefix("pid:") {
                        Some(_) => name.clone(),
                        None => format!("{name} ({id})"),
                    };
                    gone.push(text);
                }
                stays
            });
        }
        for process in &gone {
            let text = format!(
                "warning  the process {process} of the target has gone while the run goes on\n         \
                 mend: see its log; without it the run says little about the target"
            );
            self.stream.tell(Event::Finding { text });
        }
        gone
    }
}

/// Processor time in clock ticks.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ticks {
    /// Of all processors, working or not.
    pub(super) all: u64,
    /// Of all processors, working.
    pub(super) busy: u64,
    /// Part of `busy`, for programs of a lower priority.
    pub(super) nice: u64,
}

pub(super) struct Sampler {
    processes: Processes,
    shown: Vec<String>,
    /// What it picks of them, for gates.
    picks: Vec<Pick>,
    /// How many processors the ticks of the machine are of.
    processors: f64,
    machine: Option<Ticks>,
    own: BTreeMap<u32, u64>,
    sum: Sum,
    /// The greatest share of others so far, in percent.
    most_others: Option<f64>,
    /// What has gone away.
    gone: Vec<String>,
}

/// Processor time since the sample before, if there was one, in ticks, and the other figures of a process.
type Seen = (Option<u64>, Map<String, Json>);

#[derive(Debug, Default)]
struct Sum {
    all: u64,
    busy: u64,
    ours: u64,
}

impl Sampler {
    pub(super) fn new(
        processes: Processes,
        shown: impl Iterator<Item = String>,
        picks: Vec<Pick>,
    ) -> Self {
        Self {
            processes,
            shown: shown.collect(),
            picks,
            processors: KernelStats::current()
                .map_or(1.0, |stats| float(stats.cpu_time.len() as u64)),
            machine: None,
            own: BTreeMap::new(),
            sum: Sum::default(),
            most_others: None,
            gone: Vec::new(),
        }
    }
}

impl sampler::Sampler for Sampler {
    fn sample(&mut self) -> Json {
        let now = machine_ticks();
        let span = now
            .zip(self.machine)
            .map(|(now, then)| {
                (
                    now.all.saturating_sub(then.all),
                    now.busy.saturating_sub(then.busy),
                )
            })
            .filter(|(all, _)| *all > 0);
        let mut ours = 0;
        let gone = self.processes.forget_gone();
        let mut shown = Map::new();
        // A process may go by two names, and is counted once.
        let mut looked: BTreeMap<u32, Option<Seen>> = BTreeMap::new();
        for (name, group) in self.processes.list() {
            let (mut figures, mut used) = (Map::new(), None);
            for id in group.now() {
                let known = looked.contains_key(&id);
                let seen = looked.entry(id).or_insert_with(|| {
                    let (ticks, figures) = look(id)?;
                    let then = self.own.insert(id, ticks);
                    Some((then.map(|then| ticks.saturating_sub(then)), figures))
                });
                let Some((more, own)) = seen else { continue };
                if let Some(more) = *more {
                    used = Some(used.unwrap_or(0) + more);
                    ours += if known { 0 } else { more };
                }
                add(&mut figures, own);
            }
            let asked = if group.foreign.is_empty() {
                &name
            } else {
                TARGET
            };
            if !figures.is_empty() && self.shown.iter().any(|shown| shown == asked) {
                let cpu = used
                    .zip(span)
                    .map(|(used, (all, _))| percent(used, all) * self.processors);
                figures.insert("cpu".to_owned(), rounded(cpu));
                shown.insert(name, Json::Object(figures));
            }
        }
        self.machine = now;
        let mut others = None;
        if let Some((all, busy)) = span {
            let foreign = percent(busy.saturating_sub(ours), all);
            others = Some(foreign);
            self.most_others = Some(self.most_others.unwrap_or(0.0).max(foreign));
            self.sum.all += all;
            self.sum.busy += busy;
            self.sum.ours += ours;
        }
        let mut line = json!({
            "t": now_ms(),
            "machineCpu": rounded(span.map(|(all, busy)| percent(busy, all))),
            "othersCpu": rounded(others),
            "processes": shown,
        });
        let picked = self.picks.iter().filter_map(|pick| {
            let (name, figure) = pick.what.rsplit_once('.')?;
            let value = line["processes"][name][figure].as_f64()?;
            Some((pick.name.clone(), json!(value)))
        });
        let picked: Map<String, Json> = picked.collect();
        if !self.picks.is_empty() {
            line["values"] = Json::Object(picked);
        }
        if !gone.is_empty() {
            line["gone"] = json!(gone);
            self.gone.extend(gone);
        }
        line
    }

    fn machine(&self) -> Option<Machine> {
        let Sum { all, busy, ours } = self.sum;
        let mut machine = if all == 0 {
            Machine::default()
        } else {
            judge(
                percent(busy, all),
                percent(busy.saturating_sub(ours), all),
                self.most_others,
                self.processes.target,
            )
        };
        if !self.gone.is_empty() {
            let went = format!("gone during the run: {}", self.gone.join(", "));
            let notes = [machine.note, went];
            machine.note = notes
                .into_iter()
                .filter(|note| !note.is_empty())
                .collect::<Vec<_>>()
                .join("; ");
        }
        Some(machine)
    }
}

/// Adds the figures of one more process to those of a group.
fn add(sum: &mut Map<String, Json>, figures: &Map<String, Json>) {
    for (name, value) in figures {
        let before = sum.get(name).and_then(Json::as_u64);
        let value = match (before, value.as_u64()) {
            (Some(before), Some(more)) => (before + more).into(),
            _ => value.clone(),
        };
        sum.insert(name.clone(), value);
    }
}

/// What to say about a machine that was so busy, all in percent of its processors.
fn judge(busy: f64, others: f64, most: Option<f64>, target: Target) -> Machine {
    let mut notes = Vec::new();
    // Of services that nobody has named, others cannot be told.
    let disturbed = target != Target::Unknown && others > BUSY_PERCENT;
    if disturbed {
        let whose = if target == Target::Named {
            " that are not named as processes of the target"
        } else {
            ""
        };
        notes.push(format!(
            "other programs{whose} took {others:.0} % of the machine during the run; compare its figures with care"
        ));
    }
    if busy > SATURATED_PERCENT {
        notes.push(format!(
            "the machine itself was the limit: its processors were {busy:.0} % busy"
        ));
    }
    let round = |value: f64| (value * 10.0).round() / 10.0;
    Machine {
        measured: true,
        cpu_percent_mean: Some(round(busy)),
        generator_cpu_percent_mean: None,
        others_cpu_percent_mean: Some(round(others)),
        others_cpu_percent_max: most.map(round),
        busy: disturbed,
        note: notes.join("; "),
    }
}

/// What all processors did so far.
fn machine_ticks() -> Option<Ticks> {
    let total = KernelStats::current().ok()?.total;
    let more = [total.iowait, total.irq, total.softirq, total.steal].map(Option::unwrap_or_default);
    let [waiting, irq, softirq, stolen] = more;
    let busy = total.user + total.nice + total.system + irq + softirq + stolen;
    let all = busy + total.idle + waiting;
    let nice = total.nice;
    Some(Ticks { all, busy, nice })
}

/// Processor time in ticks, and the other figures of a process; `None` if it has gone.
pub(super) fn look(id: u32) -> Option<(u64, Map<String, Json>)> {
    let process = Process::new(i32::try_from(id).ok()?).ok()?;
    let stat = process.stat().ok()?;
    let mut figures = Map::new();
    figures.insert("rss".to_owned(), (stat.rss * procfs::page_size()).into());
    // Memory that several processes share counts once for each of them in `rss`, so that of many it says little.
    if let Ok(pages) = process.statm() {
        let private = pages.resident.saturating_sub(pages.shared);
        figures.insert("private".to_owned(), (private * procfs::page_size()).into());
    }
    figures.insert("threads".to_owned(), stat.num_threads.into());
    // Another user's process hides its descriptors.
    if let Ok(descriptors) = process.fd() {
        let (mut all, mut sockets) = (0_u64, 0_u64);
        for descriptor in descriptors.flatten() {
            all += 1;
            sockets += u64::from(matches!(descriptor.target, FDTarget::Socket(_)));
        }
        figures.insert("fds".to_owned(), all.into());
        figures.insert("connections".to_owned(), sockets.into());
    }
    Some((stat.utime + stat.stime, figures))
}

pub(super) fn percent(part: u64, whole: u64) -> f64 {
    100.0 * float(part) / float(whole)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "ticks of a run are far below 2^53"
)]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

/// To a tenth; what is not known is `null`.
pub(super) fn rounded(value: Option<f64>) -> Json {
    value.map_or(Json::Null, |value| {
        Json::from((value * 10.0).round() / 10.0)
    })
}

#[cfg(test)]
mod tests {
    use super::super::sampler::Sampler as _;
    use super::*;

    #[test]
    fn a_working_process_is_told_from_others() {
        let processes = Processes::new(Target::Started, &Stream::default());
        // By two names, as where a person names a process that the runner knows.
        let id = std::process::id();
        processes.add("also", id);
        let shown = [RUNNER, "also"].map(str::to_owned);
        let mut sampler = Sampler::new(processes, shown.into_iter(), Vec::new());
        sampler.sample();
        let first = sampler.own[&id];
        // The tick is 10 ms; work until this process has used several of them.
        let (before, _) = look(std::process::id()).expect("own process");
        let mut work = 0_u64;
        while look(std::process::id()).expect("own process").0 < before + 5 {
            for number in 0..100_000_u64 {
                work = std::hint::black_box(work.wrapping_add(number));
            }
        }
        let line = sampler.sample();
        let own = &line["processes"][RUNNER];
        assert_eq!(own, &line["processes"]["also"], "{line}");
        assert_eq!(sampler.sum.ours, sampler.own[&id] - first, "counted once");
        assert!(own["cpu"].as_f64().is_some_and(|cpu| cpu > 0.0), "{line}");
        assert!(
            own["rss"].as_u64().is_some_and(|rss| rss > 1_000_000),
            "{line}"
        );
        assert!(own["fds"].as_u64().is_some_and(|fds| fds >= 3), "{line}");
        let machine = sampler.machine().expect("measured");
        assert!(
            machine.measured && machine.cpu_percent_mean > Some(0.0),
            "{machine:?}"
        );
        assert!(
            machine.others_cpu_percent_mean <= machine.cpu_percent_mean,
            "{machine:?}"
        );
    }

    /// A server that has a process for each connection is one service; and what is picked of it stands where gates look.
    #[test]
    fn what_a_service_started_counts_as_the_service() {
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", "exec 3<&0; sh -c 'read -r _ <&3' & wait"])
            .stdin(std::process::Stdio::piped());
        let mut service = command.spawn().expect("a shell");
        let processes = Processes::new(Target::Started, &Stream::default());
        processes.add_family("store", service.id());
        let pick = |name: &str, what: &str| Pick {
            name: name.to_owned(),
            what: what.to_owned(),
        };
        let picks = vec![
            pick("storeThreads", "store.threads"),
            pick("other", "gone.cpu"),
        ];
        let mut sampler = Sampler::new(processes, ["store".to_owned()].into_iter(), picks);
        // The shell takes a moment to start its own.
        let line = loop {
            let line = sampler.sample();
            if line["processes"]["store"]["threads"] != 1 {
                break line;
            }
        };
        assert_eq!(line["processes"]["store"]["threads"], 2, "{line}");
        assert_eq!(line["values"], json!({ "storeThreads": 2.0 }), "{line}");
        drop(service.stdin.take());
        service
            .kill()
            .and_then(|()| service.wait().map(drop))
            .expect("ended");
    }

    #[test]
    fn what_spoils_a_comparison_is_said() {
        let quiet = judge(50.0, 3.0, Some(8.0), Target::Started);
        assert_eq!((quiet.busy, quiet.note.as_str()), (false, ""));
        let busy = judge(80.0, 31.4, Some(60.0), Target::Started);
        assert!(
            busy.busy && busy.note.contains("other programs took 31 %"),
            "{busy:?}"
        );
        let external = judge(80.0, 31.4, Some(60.0), Target::Unknown);
        assert!(
            !external.busy && external.note.is_empty(),
            "to be external is no anomaly: {external:?}"
        );
        let named = judge(80.0, 31.4, Some(60.0), Target::Named);
        assert!(
            named.busy
                && named
                    .note
                    .contains("not named as processes of the target took 31 %"),
            "{named:?}"
        );
        let full = judge(99.0, 0.0, None, Target::Started);
        assert!(!full.busy && full.note.contains("99 % busy"), "{full:?}");
    }

    #[test]
    fn what_a_person_started_is_shown_as_the_target_until_it_goes_away() {
        let heard = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let stream = Stream::to(Heard(std::sync::Arc::clone(&heard)));
        let processes = Processes::new(Target::Named, &stream);
        let mut children: Vec<std::process::Child> = (0..2)
            .map(|_| {
                let mut command = std::process::Command::new("sh");
                command
                    .args(["-c", "read -r _"])
                    .stdin(std::process::Stdio::piped());
                command.spawn().expect("a shell")
            })
            .collect();
        let members = children
            .iter()
            .map(|child| alive(child.id()).expect("alive"));
        processes.add_foreign(&Found {
            name: "broker".to_owned(),
            members: members.collect(),
            shown: String::new(),
        });
        let mut sampler = Sampler::new(processes, [TARGET.to_owned()].into_iter(), Vec::new());
        let line = sampler.sample();
        assert!(line["processes"]["broker"]["threads"] == 2, "both: {line}");
        let mut first = children.remove(0);
        let id = first.id();
        first
            .kill()
            .and_then(|()| first.wait().map(drop))
            .expect("ended");
        let line = sampler.sample();
        assert_eq!(line["gone"], json!([format!("broker ({id})")]), "{line}");
        assert!(
            line["processes"]["broker"]["threads"] == 1,
            "the other: {line}"
        );
        assert!(sampler.sample().get("gone").is_none(), "said once");
        let note = sampler.machine().expect("measured").note;
        assert!(
            note.contains(&format!("gone during the run: broker ({id})")),
            "{note}"
        );
        let told = heard.lock().expect("heard").join("\n");
        assert!(
            told.matches(&format!("the process broker ({id}) of the target has gone"))
                .count()
                == 1,
            "{told}"
        );
        let mut other = children.remove(0);
        other
            .kill()
            .and_then(|()| other.wait().map(drop))
            .expect("ended");
    }

    struct Heard(std::sync::Arc<std::sync::Mutex<Vec<String>>>);

    impl crate::events::Listener for Heard {
        fn hear(&mut self, _: jiff::Timestamp, event: &Event) {
            self.0.lock().expect("heard").push(format!("{event:?}"));
        }
    }
}
