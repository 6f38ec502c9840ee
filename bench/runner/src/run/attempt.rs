//! One attempt at a run: from its precondition to its verdict.

use std::path::Path;
use std::time::Instant;

use serde_json::json;

use crate::events::{Event, Stream};
use crate::evidence::Folder;
use crate::plan::PlannedRun;
use crate::run::build::{self, Identity, Started};
use crate::run::chaos::timeline::{Parts, Timeline};
use crate::run::clean;
use crate::run::cleaning::Cleaning;
use crate::run::commands::{self, Around, Commands};
use crate::run::conclude::{Ran, conclude};
use crate::run::declared;
use crate::run::drain::{self, Drains};
use crate::run::driver::Watch;
use crate::run::fixtures::{install::Installed, look};
use crate::run::inbox::Inbox;
use crate::run::inspect;
use crate::run::k6::Call;
use crate::run::logs::{self, Kept, Slices};
use crate::run::meta::{Meta, ServerFacts, Shared};
use crate::run::monitor::{self, Monitors, Processes, named};
use crate::run::post;
use crate::run::processors::{self, Split};
use crate::run::profiles::Profiles;
use crate::run::recorded::{self, Recorded, grown};
use crate::run::series;
use crate::run::server;
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
        if let Some(why) = &self.run.scenario.stub {
            return self.not_implemented(why.get_ref(), meta);
        }
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
        self.unjudged(verdict, code, &format!("{error:#}"), meta)?;
        Ok(Outcome {
            verdict,
            code,
            error: (!interrupted).then_some(error),
        })
    }

    /// A run of a scenario that there is nothing of yet: it starts nothing, and does not pass.
    fn not_implemented(&self, why: &str, meta: Meta) -> anyhow::Result<Outcome> {
        let (verdict, code) = (Verdict::NotImplemented, exit::GATE);
        self.unjudged(verdict, code, why, meta)?;
        Ok(Outcome {
            verdict,
            code,
            error: None,
        })
    }

    /// Completes the evidence of a run that there is nothing to judge of.
    fn unjudged(
        &self,
        verdict: Verdict,
        code: i32,
        why: &str,
        mut meta: Meta,
    ) -> anyhow::Result<()> {
        self.folder.release();
        let reason = masked(why);
        let said = verdict.said(&self.shared.suite.file, self.run.scenario.id.get_ref());
        if !self.folder.has("verdict.json") {
            let mut record = json!({ "schemaVersion": 1, "verdict": verdict, "reasons": [&reason], "k6ExitCode": null, "exitCode": code, "gates": [] });
            if let Some(said) = &said {
                record["said"] = json!(said);
            }
            self.folder.write_json("verdict.json", &record)?;
        }
        meta.ended(&verdict.to_string(), code, self.folder);
        meta.write(self.folder)?;
        self.folder.seal()?;
        self.stream.tell(Event::NotJudged {
            verdict: verdict.to_string(),
            title: self.run.title(),
            said,
        });
        Ok(())
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
        let alone = self.run.target.kind == TargetKind::None;
        if !external && !alone {
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
            None if alone => Identity::of_commands(&self.run.harness(suite)?),
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
        let (call, live) = match &self.run.script {
            Some(script) => {
                let (call, live) = self.call(&script.clone(), run_id)?;
                (Some(call), live)
            }
            None => (None, None),
        };
        if let Some(live) = &live {
            meta.watched(live.whom());
        }
        let logs = Slices::begin(self.shared.suite, &self.run.targets(), &self.run.vars);
        let split = Split::of(self.run).and_then(Result::ok);
        let own = split.as_ref().map(Split::of_generator);
        let monitors = Monitors::start(self.shared.suite, self.run, folder, processes, own)?;
        let began = self.ask_records(run_id, true);
        let needs = targets.watch(self.inbox);
        targets.look_after(self.inbox, &needs)?;
        let timeline = Timeline::new(Parts {
            suite: self.shared.suite,
            run: self.run,
            quick: self.shared.quick,
            folder,
            stream: self.stream,
            targets: &mut *targets,
            needs: needs.clone(),
            processes,
        })?;
        let mut watched = Watched {
            folder,
            processes,
            monitors: Some(monitors),
            machine: Machine::default(),
            live,
            unwatched: None,
            profiles: Profiles::of(self.shared.suite, self.run, self.shared.quick)?,
            stream: self.stream,
            timeline,
        };
        self.inbox.check()?;
        let bound = split.as_ref().map(Split::generator).transpose()?;
        let mut finished = match &call {
            Some(call) => call.run(
                folder,
                self.run.bound,
                &needs,
                self.inbox,
                self.stream,
                &mut watched,
            )?,
            None => {
                let commands = Commands {
                    suite: self.shared.suite,
                    run: self.run,
                    quick: self.shared.quick,
                    folder,
                    stream: self.stream,
                };
                let mut around = Around {
                    needs: &needs,
                    inbox: &mut *self.inbox,
                    watch: &mut watched,
                };
                commands::run(&commands, &mut around)?
            }
        };
        drop(bound);
        let shown = call.map_or_else(|| "none, commands ran".to_owned(), |call| call.shown());
        meta.k6_ended(&shown, &finished);
        // What fails from here on is among the faults, and the verdict tells it.
        let _ = meta.write(folder);
        let (machine, profiles, unwatched) = watched.over();
        // It is told already, among the alerts.
        if let Some(text) = unwatched {
            meta.label(text);
        }
        server::read(self.shared.suite, self.run, folder);
        for text in profiles.end(folder, finished.cause != Cause::Interrupt) {
            self.beware(meta, text);
        }
        let mut drained = Drains::default();
        // A target that is gone writes nothing any more.
        if !matches!(
            finished.cause,
            Cause::Interrupt | Cause::TargetEnded | Cause::TargetGone
        ) {
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

    fn ask_records(&mut self, run_id: &str, growing: bool) -> Vec<Recorded> {
        let (suite, vars) = (self.shared.suite, &self.run.vars);
        recorded::ask(suite, vars, run_id, growing, self.inbox, self.stream)
    }

    /// Waits until what a person has started has written what it took from an earlier run.
    fn drain(&mut self, held: &mut Vec<String>) -> anyhow::Result<()> {
        let inbox = &mut *self.inbox;
        let tell = |text| held.push(format!("[cleanup] {text}"));
        let pause = &mut |time| Ok(inbox.pause(time)?);
        drain::before(self.shared.suite, self.run, pause, tell)
    }

    /// k6's command line, and who watches the run live.
    fn call(&mut self, script: &Path, run_id: &str) -> anyhow::Result<(Call, Option<Live>)> {
        let suite = self.shared.suite;
        let mut call = Call::new(&self.shared.k6.path, script, &self.run.vars, run_id);
        // A harness may refuse loads that are too small to mean something, unless nothing is to follow from them.
        if self.shared.quick {
            call.setting("QUICK", "1", None);
        }
        // It sees less than the gates do: two lines could contradict each other.
        if self.run.scenario.say.is_some() {
            call.setting("VERDICT_BY", "barrier-bench", None);
        }
        call.settings(self.run.scenario.k6_settings());
        call.load(&self.run.load.scenarios, &self.run.args);
        let said = inspect::ask(&call, self.inbox)?;
        declared::check(&self.run.load.scenarios, &said)?;
        trend_stats::add(&mut call, suite, said.options(), self.stream);
        series::add(&mut call, suite, self.run.scenario, self.folder)?;
        series::further(&mut call, suite, &self.run.vars)?;
        let live = Live::begin(
            suite,
            self.run,
            run_id,
            said.options(),
            &mut call,
            self.stream,
        )?;
        Ok((call, live))
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

/// The monitors around k6.
struct Watched<'a> {
    folder: &'a Folder,
    processes: &'a Processes,
    monitors: Option<Monitors>,
    machine: Machine,
    /// Where somebody watches the run.
    live: Option<Live>,
    /// What is not known of its alerts.
    unwatched: Option<String>,
    profiles: Profiles,
    stream: &'a Stream,
    /// The faults of the run.
    timeline: Timeline<'a>,
}

impl Watched<'_> {
    /// What is left once the driver has ended; faults that still stand are taken back.
    fn over(self) -> (Machine, Profiles, Option<String>) {
        (self.machine, self.profiles, self.unwatched)
    }
}

impl Watch for Watched<'_> {
    fn began(&mut self, id: Option<u32>) {
        if let Some(id) = id {
            self.processes.add("k6", id);
        }
        self.profiles.begin();
        // Without it the run is as good.
        if let Some(Err(error)) = self.live.as_mut().map(Live::began) {
            let text = format!("warning  the run cannot be watched: {error:#}");
            self.stream.tell(Event::Finding { text });
        }
        self.timeline.begin();
    }

    fn due(&self) -> Option<Instant> {
        self.timeline.due()
    }

    fn act(&mut self, inbox: &Inbox) {
        self.timeline.act(Some(inbox));
    }

    fn ending(&mut self, cause: Cause, inbox: &Inbox) {
        self.timeline.ending(cause, Some(inbox));
    }

    fn ended(&mut self) -> anyhow::Result<()> {
        self.timeline.end();
        if let Some(monitors) = self.monitors.take() {
            self.machine = monitors.stop(self.folder)?;
        }
        if let Some(live) = self.live.take() {
            self.unwatched = live.ended(self.folder, self.stream);
        }
        Ok(())
    }
}
