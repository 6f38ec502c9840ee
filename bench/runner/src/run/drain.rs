//! Waiting until a target has written what it took: before a database is reset, where what came later would be found by the next
//! run, and after the load, where a look would find too little.

use std::time::Instant;

use crate::plan::PlannedRun;
use crate::run::asked::Question;
use crate::run::sql::client::Pause;
use crate::suite::Suite;
use crate::suite::asked::{DrainTable, Until};
use crate::suite::scenario::looks_at;
use crate::suite::vars::{RunValues, Vars};
use crate::values::exit::{self, Stop};
use crate::values::mask::masked;
use crate::verdict::facts::Drained;

/// Waits before a database is reset, where a person has started one of the run's targets: what the runner starts holds nothing of
/// an earlier run. What was waited for is told.
///
/// # Errors
/// Something is left in the end, or cannot be asked: what is reset now would not stay so. Or `pause` fails.
pub(crate) fn before(
    suite: &Suite,
    run: &PlannedRun<'_>,
    pause: Pause<'_>,
    mut tell: impl FnMut(String),
) -> anyhow::Result<()> {
    if run.targets().iter().all(|table| table.is_started()) {
        return Ok(());
    }
    for table in of_run(suite, run) {
        let waited = wait(suite, table, &run.vars, pause)?;
        if !waited.holds {
            return Err(exit::set_up(format!(
                "drain {}: nothing is reset, as it would not stay so: {}",
                table.id.get_ref(),
                waited.text
            )));
        }
        tell(format!("drain {}: {}", table.id.get_ref(), waited.text));
    }
    Ok(())
}

/// Waits after the load.
///
/// # Errors
/// `pause` fails.
pub(super) fn after(
    suite: &Suite,
    run: &PlannedRun<'_>,
    pause: Pause<'_>,
) -> anyhow::Result<Drains> {
    let mut all = Drains::default();
    for table in of_run(suite, run) {
        let waited = match wait(suite, table, &run.vars, pause) {
            Err(error) if !matches!(error.downcast_ref(), Some(Stop::Interrupted)) => Drained {
                holds: false,
                known: false,
                text: masked(&format!("{error:#}")),
            },
            waited => waited?,
        };
        let Drained { holds, known, text } = waited;
        let text = format!("{}: {text}", table.id.get_ref());
        // Who does not tell what is left says nothing of an objective, and one that was missed stays so beside it.
        let place = if table.is_precondition() || !known {
            &mut all.preconditions
        } else {
            &mut all.objectives
        };
        *place = Some(match place.take() {
            None => Drained { holds, known, text },
            Some(before) => Drained {
                holds: before.holds && holds,
                known: before.known && known,
                text: format!("{}; {text}", before.text),
            },
        });
    }
    Ok(all)
}

/// What was waited for after a load; each `None` where there is none of its kind.
#[derive(Debug, Clone, Default)]
pub(super) struct Drains {
    /// What a target has to have done.
    pub(super) objectives: Option<Drained>,
    /// What has to be so before anybody can count.
    pub(super) preconditions: Option<Drained>,
}

fn of_run<'s>(suite: &'s Suite, run: &PlannedRun<'_>) -> impl Iterator<Item = &'s DrainTable> {
    let scenario = run.scenario.id.get_ref().clone();
    let drains = suite.file.drain.iter();
    drains.filter(move |table| looks_at(&table.scenarios, &scenario))
}

fn wait(
    suite: &Suite,
    table: &DrainTable,
    vars: &Vars,
    pause: Pause<'_>,
) -> anyhow::Result<Drained> {
    let until = table.until().map_err(exit::set_up)?;
    let began = Instant::now();
    let question = Question::from(table);
    // The value seen last, and since when it was seen.
    let mut seen: Option<(f64, Instant)> = None;
    loop {
        let found = match question.ask(suite, vars, &RunValues::new(), pause) {
            Ok(Some(value)) => value
                .as_f64()
                .ok_or_else(|| format!("`{value}` is no number")),
            Ok(None) => Err("there is no such value".to_owned()),
            // A signal, or what no waiting mends.
            Err(error) if error.is::<Stop>() => return Err(error),
            Err(error) => Err(masked(&format!("{error:#}"))),
        };
        let now = Instant::now();
        seen = match (&found, seen) {
            (Ok(value), Some((was, since))) if *value == was => Some((was, since)),
            (Ok(value), _) => Some((*value, now)),
            (Err(_), _) => None,
        };
        let time = now - began;
        let done = match (until, seen) {
            (Until::Is(wanted), Some((value, _))) => value == wanted,
            (Until::Still(long), Some((_, since))) => now - since >= long,
            (_, None) => false,
        };
        if let (true, Some((value, _))) = (done, seen) {
            return Ok(Drained {
                holds: true,
                known: true,
                text: format!("{value} after {:.1} s", time.as_secs_f64()),
            });
        }
        if time >= table.limit {
            let say = table.say.as_ref();
            let say = say
                .map(|say| vars.expand_shown(say.get_ref()))
                .transpose()?;
            let say = say.map_or_else(String::new, |say| format!(": {say}"));
            let (known, seen) = match found {
                Ok(value) => (true, format!("is {value}")),
                Err(why) => (false, format!("cannot be asked ({why})")),
            };
            return Ok(Drained {
                holds: false,
                known,
                text: format!(
                    "`{}` {seen} after {:.1} s, expected {} within {} s{say}",
                    table.statement.get_ref().trim(),
                    time.as_secs_f64(),
                    match until {
                        Until::Is(wanted) => wanted.to_string(),
                        Until::Still(long) => format!("no change for {} s", long.as_secs_f64()),
                    },
                    table.limit.as_secs_f64()
                ),
            });
        }
        pause(table.every)?;
    }
}
