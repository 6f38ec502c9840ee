//! What servers answer to the suite's records.

use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::events::{Event, Stream};
use crate::run::asked::Question;
use crate::run::inbox::Inbox;
use crate::suite::Suite;
use crate::suite::vars::{RunValues, Vars};
use crate::values::mask::masked;

/// Of a run that was interrupted, so long all of them together may take to answer: whoever has asked it to end waits for that.
const AFTER_INTERRUPT: Duration = Duration::from_secs(5);

/// An answer to a record.
pub(super) struct Recorded {
    id: String,
    grows: bool,
    answer: Option<Json>,
}

/// What is kept of records: the answers, and of those that grow by how much they did. Of what was not known in the beginning
/// nobody knows by how much it grew.
pub(super) fn grown(ended: Vec<Recorded>, began: &[Recorded]) -> Vec<(String, Json)> {
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

/// What servers answer to the suite's records, by their ids; of those alone that grow, if asked for. One that does not answer
/// is told, and has no value.
pub(super) fn ask(
    suite: &Suite,
    vars: &Vars,
    run_id: &str,
    growing: bool,
    inbox: &mut Inbox,
    stream: &Stream,
) -> Vec<Recorded> {
    let run = RunValues::from([("run_id", run_id)]);
    let records = suite.file.record.iter();
    let mut found = Vec::new();
    let mut ends = None;
    for record in records.filter(|record| record.grows || !growing) {
        // These questions are short, and of an interrupted run they are asked as well.
        let mut pause = |time| wait(inbox, time, &mut ends);
        let asked = pause(Duration::ZERO)
            .and_then(|()| Question::from(record).ask(suite, vars, &run, &mut pause));
        let id = record.id.get_ref().clone();
        match asked {
            Ok(answer) => found.push(Recorded {
                id,
                grows: record.grows,
                answer,
            }),
            Err(error) => {
                let text = masked(&format!("warning  record {id}: {error:#}"));
                stream.tell(Event::Finding { text });
            }
        }
    }
    found
}

/// Passes the time. Once the run is interrupted that has an end, and whoever interrupts it again waits for nothing.
fn wait(inbox: &mut Inbox, time: Duration, ends: &mut Option<Instant>) -> anyhow::Result<()> {
    let until = Instant::now() + time;
    while inbox.next(until).is_some() {}
    let now = Instant::now();
    match inbox.interrupts() {
        0 => Ok(()),
        1 if now < *ends.get_or_insert(now + AFTER_INTERRUPT) => Ok(()),
        1 => anyhow::bail!(
            "no answer within {} s after the run was interrupted",
            AFTER_INTERRUPT.as_secs()
        ),
        _ => anyhow::bail!("the run was interrupted twice, so nobody waits for an answer"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::inbox::Message;

    #[test]
    fn whoever_interrupts_twice_waits_for_nothing() {
        let mut inbox = Inbox::without_signals();
        let mut ends = None;
        let pause = |inbox: &mut Inbox, ends: &mut Option<Instant>| {
            let waited = wait(inbox, Duration::ZERO, ends);
            waited.map_err(|error| error.to_string())
        };
        assert_eq!(pause(&mut inbox, &mut ends), Ok(()));
        assert_eq!(ends, None, "nobody is in a hurry");
        let interrupt = |inbox: &Inbox| inbox.sender().send(Message::Interrupt).expect("sent");
        interrupt(&inbox);
        assert_eq!(pause(&mut inbox, &mut ends), Ok(()), "there is time left");
        assert!(ends.is_some());
        let mut over = Some(Instant::now());
        let late = pause(&mut inbox, &mut over).expect_err("no time is left");
        assert!(late.starts_with("no answer within 5 s"), "{late}");
        interrupt(&inbox);
        let twice = pause(&mut inbox, &mut ends).expect_err("it is over");
        assert!(twice.contains("interrupted twice"), "{twice}");
    }
}
