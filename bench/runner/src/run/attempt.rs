//! One attempt at a run: from its precondition to its verdict.

use serde_json::{Value as Json, json};

use crate::events::{Event, Stream};
use crate::evidence::Folder;
use crate::plan::PlannedRun;
use crate::run::asked::Question;
use crate::run::build::{self, Identity, Started};
use crate::run::clean;
use crate::run::conclude::{Ran, conclude};
use crate::run::declared;
use crate::run::drain;
use crate::run::fixtures::{install::Installed, look};
use crate::run::inbox::Inbox;
use crate::run::inspect;
use crate::run::k6::{Call, Watch};
use crate::run::logs::{self, Kept, Slices};
use crate::run::meta::{Meta, ServerFacts, Shared};
use crate::run::monitor::{self, Monitors, Processes, named};
use crate::run::post;
use crate::run::processors::{self, Split};
use crate::run::profiles::Profiles;
use crate::run::series;
use crate::run::settle::settle;
use crate::run::sql::reset::Reset;
use crate::run::target;
use crate::run::targets::Targets;
use crate::run::trend_stats;
use crate::run::watched::Watched as Live;
use crate::suite::private::POSTGRES;
use crate::suite::schema::TargetKind;
use crate::suite::vars::RunValues;
use crate::values::exit::{self, Stop};
use crate::values::mask::{masked, masked_address};
use crate::verdict::facts::{Cause, Machine};
use crate::verdict::gates::Verdict;
use crate::verdict::judge::Judgement;

/// How an attempt ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    /// What it contributes to the exit code.
    pub(crate) code: i32,
    /// What kept k6 from starting.
    pub(crate) error: Option<anyhow::Error>,
}

/// An attempt that is being made.
pub(crate) struct Attempt<'a, 'p> {
    pub(crate) shared: &'a Shared<'a>,
    pub(crate) run: &'a mut PlannedRun<'p>,
    pub(crate) number: u32,
    pub(crate) folder: &'a Folder,
    pub(crate) servers: &'a ServerFacts,
    /// Run ids of the runs before this one.
    pub(crate) earlier: &'a [String],
    pub(crate) inbox: &'a mut Inbox,
    pub(crate) stream: &'a Stream,
}

impl Attempt<'_, '_> {
    /// Makes the attempt; what goes wrong before k6 starts is recorded as well.
    ///
    /// # Errors
    /// The evidence cannot be written.
    pub(crate) fn make(&mut self, run_id: &str) -> anyhow::Result<Outcome> {
        let mut meta = Meta::new(self.shared, self.run, self.number, run_id, self.servers)?;
        meta.write(self.folder)?;
        let error = match self.work(run_id, &mut meta) {
            Ok(Judgement { verdict, code, .. }) => {
                return Ok(Outcome {
                    verdict,
                    code,
                    error: None,
                });
            }
            Err(error) => error,
        };
        let interrupted = matches!(error.downcast_ref::<Stop>(), Some(Stop::Interrupted));
        let verdict = if interrupted {
            Verdict::Interrupted
        } else {
            Verdict::NotRun
        };
        let code = exit::code_of(&error);
        self.folder.release();
        let reason = masked(&format!("{error:#}"));
        if !self.folder.has("verdict.json") {
            let record = json!({ "schemaVersion": 1, "verdict": verdict, "reasons": [&reason], "k6ExitCode": null, "exitCode": code, "gates": [] });
            self.folder.write_json("verdict.json", &record)?;
        }
        meta.ended(&verdict.to_string(), code, self.folder);
        meta.write(self.folder)?;
        self.folder.seal()?;
        self.stream.tell(Event::NotJudged {
            verdict: verdict.to_string(),
            title: self.run.title(),
        });
        Ok(Outcome {
            verdict,
            code,
            error: (!interrupted).then_some(error),
        })
    }

    fn work(&mut self, run_id: &str, meta: &mut Meta) -> anyhow::Result<Judgement> {
        let suite = self.shared.suite;
        let external = self.run.target.kind == TargetKind::External;
        let known = RunValues::new();
        self.run.check_hosts(suite, &known)?;
        let mut held = if external { self.settle()? } else { Vec::new() };
        self.drain(&mut held)?;
        let mut cleaning = Cleaning {
            plan: None,
            log: held,
            begun: false,
        };
        let worked = self.cleaned(run_id, known, &mut cleaning, meta);
        // Nothing is left of it where there was no run to end it.
        self.clean_after(&mut cleaning);
        worked
    }

    fn cleaned(
        &mut self,
        run_id: &str,
        mut known: RunValues,
        cleaning: &mut Cleaning,
        meta: &mut Meta,
    ) -> anyhow::Result<Judgement> {
        let (suite, folder) = (self.shared.suite, self.folder);
        let external = self.run.target.kind == TargetKind::External;
        meta.fixtures(&look(suite, &self.run.vars)?);
        // Before the target starts: it would find a queue of another type, or promote users of an earlier run.
        self.clean(cleaning)?;
        let mut program = None;
        if !external {
            // A program of somebody else's need not know `--version`, and might serve instead.
            let (started, version) = match &self.run.under_test.program {
                Some(given) => (given.clone(), None),
                None => {
                    let own = target::program(suite, self.run.target)?;
                    let version = target::version(self.run.target, &own);
                    (own, version)
                }
            };
            let started = Started::look(started, self.run)?;
            meta.target_program(&started, version.as_deref());
            meta.build(&self.run.under_test, &Identity::of_program(&started));
            program = Some(started);
        }
        meta.services(&build::services(suite, self.run)?);
        // Before targets, which read them, and so dropped after these.
        let installed = Installed::all(suite, &self.run.vars)?;
        let mut vars = self.run.vars.clone();
        let split = Split::of(self.run);
        let apart = split.as_ref().and_then(|split| split.as_ref().ok());
        let bound = apart.map(Split::services).transpose()?;
        let mut targets = Targets::start(
            suite,
            self.run,
            program.as_ref().map(|started| started.path.as_path()),
            &mut vars,
            folder,
            self.inbox,
        )?;
        drop(bound);
        meta.processors(apart.map(Split::record));
        self.run.vars = vars;
        if let Some(address) = self.run.vars.text("BASE_URL") {
            known.insert("address", address);
        }
        self.run.check_hosts(suite, &known)?;
        for target in targets.iter() {
            let given = self.run.vars.shown("BASE_URL");
            let given = given.filter(|_| target.id() == self.run.target.id);
            self.stream.tell(Event::TargetReady {
                target: target.id().to_owned(),
                address: given.unwrap_or_else(|| masked_address(target.address())),
            });
        }
        let mut labels = targets.labels();
        if let Some(Err(why)) = &split {
            labels.push(processors::label(why));
        }
        meta.limits(targets.limits(), labels.clone());
        for text in labels {
            let text = format!("warning  {text}");
            self.stream.tell(Event::Finding { text });
        }
        let identity = match &program {
            Some(started) => {
                Identity::of_program(started).and_version(build::answered(suite, self.run)?)
            }
            None => build::of_external(suite, self.run)?,
        };
        meta.build(&self.run.under_test, &identity);
        meta.target_ready(suite, &self.run.vars)?;
        meta.write(folder)?;
        let foreign = named::of_target(self.run.target, &self.run.vars)?;
        let whose = match (external, foreign.is_empty()) {
            (false, _) => monitor::Target::Started,
            (true, false) => monitor::Target::Named,
            (true, true) => monitor::Target::Unknown,
        };
        let processes = Processes::new(whose, self.stream);
        foreign
            .iter()
            .for_each(|found| processes.add_foreign(found));
        let others = [
            ("target", targets.process()),
            ("redis", self.servers.redis.process),
        ];
        let others = others
            .into_iter()
            .filter_map(|(name, id)| Some((name, id?)));
        for (name, id) in others.chain(targets.services()) {
            processes.add(name, id);
        }
        let postgres = self.servers.postgres.as_ref();
        if let Some(id) = postgres.and_then(|facts| facts.process) {
            processes.add_family(POSTGRES.need, id);
        }
        let ended = self.with_targets(&mut targets, &processes, run_id, cleaning, meta);
        self.clean_after(cleaning);
        // They end before their logs are judged complete, and also when something went wrong.
        targets.stop(folder);
        let put_back = installed.put_back();
        let (ran, mut kept) = ended?;
        if let Err(error) = put_back {
            self.beware(meta, masked(&format!("{error:#}")));
        }
        kept.extend(logs::of_started(&self.run.targets()));
        for text in post::logs(suite, self.run, folder, &kept) {
            self.beware(meta, text);
        }
        let (evidence, judgement) = conclude(suite, self.run, &ran, folder, meta)?;
        let told = judgement.told(
            &self.run.title(),
            &evidence.derived,
            &ran.machine.note,
            folder.path(),
        );
        self.stream.tell(Event::Judged(Box::new(told)));
        Ok(judgement)
    }

    fn with_targets(
        &mut self,
        targets: &mut Targets,
        processes: &Processes,
        run_id: &str,
        cleaning: &mut Cleaning,
        meta: &mut Meta,
    ) -> anyhow::Result<(Ran, Vec<Kept>)> {
        let folder = self.folder;
        cleaning.step(folder, clean::Plan::verify)?;
        let mut call = Call::new(
            &self.shared.k6.path,
            &self.run.script,
            &self.run.vars,
            run_id,
        );
        call.settings(self.run.scenario.k6_settings());
        call.load(&self.run.load.scenarios, &self.run.args);
        let said = inspect::ask(&call, self.inbox)?;
        declared::check(&self.run.load.scenarios, &said)?;
        trend_stats::add(&mut call, self.shared.suite, said.options(), self.stream);
        series::add(&mut call, self.shared.suite, self.run.scenario, folder)?;
        let live = Live::begin(
            self.shared.suite,
            self.run,
            run_id,
            said.options(),
            &mut call,
            self.stream,
        )?;
        if let Some(live) = &live {
            meta.watched(live.whom());
        }
        let logs = Slices::begin(self.shared.suite, &self.run.targets(), &self.run.vars);
        let split = Split::of(self.run).and_then(Result::ok);
        let own = split.as_ref().map(Split::of_generator);
        let monitors = Monitors::start(self.shared.suite, self.run, folder, processes, own)?;
        let mut watched = Watched {
            folder,
            processes,
            monitors: Some(monitors),
            machine: Machine::default(),
            live,
            profiles: Profiles::of(self.shared.suite, self.run, self.shared.quick)?,
            stream: self.stream,
        };
        let began = self.ask_records(run_id, true);
        let needs = targets.watch(self.inbox);
        self.inbox.check()?;
        let bound = split.as_ref().map(Split::generator).transpose()?;
        let mut finished = call.run(
            folder,
            self.run.bound,
            &needs,
            self.inbox,
            self.stream,
            &mut watched,
        )?;
        drop(bound);
        meta.k6_ended(&call.shown(), &finished);
        // What fails from here on is among the faults, and the verdict tells it.
        let _ = meta.write(folder);
        let Watched {
            machine, profiles, ..
        } = watched;
        for text in profiles.end(folder, finished.cause != Cause::Interrupt) {
            self.beware(meta, text);
        }
        let mut drained = None;
        // A target that is gone writes nothing any more.
        if !matches!(finished.cause, Cause::Interrupt | Cause::TargetEnded) {
            let inbox = &mut *self.inbox;
            let pause = &mut |time| Ok(inbox.pause(time)?);
            match drain::after(self.shared.suite, self.run, pause) {
                Ok(found) => drained = found,
                // Whoever ends the run now has not seen it whole.
                Err(_) => finished.cause = Cause::Interrupt,
            }
        }
        let kept = logs.end(folder);
        for (id, answer) in grown(self.ask_records(run_id, false), &began) {
            meta.recorded(&id, answer);
        }
        if finished.cause != Cause::Interrupt {
            let inbox = &mut *self.inbox;
            let pause = &mut |time| Ok(inbox.pause(time)?);
            match post::databases(self.shared.suite, self.run, folder, pause) {
                Ok(wrong) => wrong.into_iter().for_each(|text| self.beware(meta, text)),
                Err(_) => finished.cause = Cause::Interrupt,
            }
        }
        let _ = meta.write(folder);
        let ran = Ran {
            finished,
            machine,
            health: targets.healthy(),
            drained,
        };
        Ok((ran, kept))
    }

    /// Tells what the verdict is to be read with.
    fn beware(&self, meta: &mut Meta, text: String) {
        let told = format!("warning  {text}");
        self.stream.tell(Event::Finding { text: told });
        meta.label(text);
    }

    /// What servers answer to the suite's records, by their ids; of those alone that grow, if asked for. One that does not answer
    /// is told, and has no value.
    fn ask_records(&mut self, run_id: &str, growing: bool) -> Vec<Recorded> {
        let suite = self.shared.suite;
        let run = RunValues::from([("run_id", run_id)]);
        let records = suite.file.record.iter();
        let mut found = Vec::new();
        for record in records.filter(|record| record.grows || !growing) {
            let inbox = &mut *self.inbox;
            // These questions are short, and of an interrupted run they are asked as well.
            let pause = &mut |time| {
                if inbox.pause(time).is_err() {
                    std::thread::sleep(time);
                }
                Ok(())
            };
            let asked = Question::from(record).ask(suite, &self.run.vars, &run, pause);
            let id = record.id.get_ref().clone();
            match asked {
                Ok(answer) => found.push(Recorded {
                    id,
                    grows: record.grows,
                    answer,
                }),
                Err(error) => {
                    let text = masked(&format!("warning  record {id}: {error:#}"));
                    self.stream.tell(Event::Finding { text });
                }
            }
        }
        found
    }

    /// Waits until what a person has started has written what it took from an earlier run.
    fn drain(&mut self, held: &mut Vec<String>) -> anyhow::Result<()> {
        let inbox = &mut *self.inbox;
        let tell = |text| held.push(format!("[cleanup] {text}"));
        let pause = &mut |time| Ok(inbox.pause(time)?);
        drain::before(self.shared.suite, self.run, pause, tell)
    }

    /// Waits for what an earlier run still holds, and says what it does not give back.
    fn settle(&mut self) -> anyhow::Result<Vec<String>> {
        let mut held = Vec::new();
        let inbox = &mut *self.inbox;
        settle(
            self.shared.suite,
            &self.run.vars,
            |pause| Ok(inbox.pause(pause)?),
            |text| {
                held.push(format!("[cleanup] {text}"));
                self.stream.tell(Event::Finding { text });
            },
        )?;
        Ok(held)
    }

    /// Takes back what was preset for the run, whatever became of it, also after a signal, and once. Where that fails, the run
    /// stands.
    fn clean_after(&self, cleaning: &mut Cleaning) {
        if !std::mem::take(&mut cleaning.begun) {
            return;
        }
        let mut take_back = || {
            let Some(plan) = clean::Plan::after(self.shared.suite, &self.run.vars)? else {
                return Ok(());
            };
            cleaning.plan = Some(plan);
            cleaning.log.push("[cleanup] the run is over".to_owned());
            cleaning.step(self.folder, |plan, log| plan.execute(false, log, || Ok(())))
        };
        if let Err(error) = take_back() {
            let text = format!(
                "what was preset for the run could not be taken back: {}",
                masked(&format!("{error:#}"))
            );
            self.stream.tell(Event::Finding { text });
        }
    }

    fn clean(&mut self, cleaning: &mut Cleaning) -> anyhow::Result<()> {
        // After a signal nothing is deleted any more, from the first key on.
        self.inbox.check()?;
        let inbox = &mut *self.inbox;
        for reset in Reset::all(self.shared.suite, &self.run.vars)? {
            self.stream.tell(Event::Cleaning {
                server: reset.shown_address().to_owned(),
                scope: reset.summary().to_vec(),
            });
            let done = reset.execute(false, &mut cleaning.log, &mut |time| Ok(inbox.pause(time)?));
            cleaning.record(self.folder, done)?;
        }
        let plan = clean::Plan::new(self.shared.suite, &self.run.vars, self.earlier)?;
        if let Some(plan) = &plan {
            self.stream.tell(Event::Cleaning {
                server: plan.shown_address().to_string(),
                scope: plan.summary().to_vec(),
            });
        }
        (cleaning.plan, cleaning.begun) = (plan, true);
        cleaning.step(self.folder, |plan, log| {
            plan.execute(false, log, || Ok(inbox.check()?))
        })
    }
}

/// An answer to a record.
struct Recorded {
    id: String,
    grows: bool,
    answer: Option<Json>,
}

/// What is kept of records: the answers, and of those that grow by how much they did. Of what was not known in the beginning
/// nobody knows by how much it grew.
fn grown(ended: Vec<Recorded>, began: &[Recorded]) -> Vec<(String, Json)> {
    let kept = ended.into_iter().filter_map(|now| {
        let answer = now.answer?;
        if !now.grows {
            return Some((now.id, answer));
        }
        let before = began.iter().find(|before| before.id == now.id)?;
        let before = before.answer.as_ref()?;
        let grown = match (answer.as_i64(), before.as_i64()) {
            (Some(now), Some(before)) => now.checked_sub(before)?.into(),
            _ => (answer.as_f64()? - before.as_f64()?).into(),
        };
        Some((now.id, grown))
    });
    kept.collect()
}

/// The monitors around k6.
struct Watched<'a> {
    folder: &'a Folder,
    processes: &'a Processes,
    monitors: Option<Monitors>,
    machine: Machine,
    /// Where somebody watches the run.
    live: Option<Live>,
    profiles: Profiles,
    stream: &'a Stream,
}

impl Watch for Watched<'_> {
    fn began(&mut self, id: u32) {
        self.processes.add("k6", id);
        self.profiles.begin();
        // Without it the run is as good.
        if let Some(Err(error)) = self.live.as_mut().map(Live::began) {
            let text = format!("warning  the run cannot be watched: {error:#}");
            self.stream.tell(Event::Finding { text });
        }
    }

    fn ended(&mut self) -> anyhow::Result<()> {
        if let Some(monitors) = self.monitors.take() {
            self.machine = monitors.stop(self.folder)?;
        }
        if let Some(live) = self.live.take() {
            live.ended(self.folder, self.stream);
        }
        Ok(())
    }
}

/// The cleaning of a run and its record.
struct Cleaning {
    plan: Option<clean::Plan>,
    log: Vec<String>,
    /// Something may have been preset that is to be taken back.
    begun: bool,
}

impl Cleaning {
    /// Does a part of the work and records it, also when it fails.
    fn step(
        &mut self,
        folder: &Folder,
        work: impl FnOnce(&clean::Plan, &mut Vec<String>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let Some(plan) = &self.plan else {
            if !self.log.is_empty() {
                return self.record(folder, Ok(()));
            }
            return folder.update(
                "cleanup.txt",
                b"[cleanup] the suite declares nothing to clean\n",
            );
        };
        let result = work(plan, &mut self.log);
        self.record(folder, result)
    }

    /// Records what was done so far.
    fn record(&mut self, folder: &Folder, result: anyhow::Result<()>) -> anyhow::Result<()> {
        if let Err(error) = &result {
            self.log.push(format!("[cleanup] failed: {error:#}"));
        }
        folder.update(
            "cleanup.txt",
            format!("{}\n", self.log.join("\n")).as_bytes(),
        )?;
        result
    }
}
