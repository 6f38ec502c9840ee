//! What servers answer to the suite's records.

use serde_json::Value as Json;

use crate::events::{Event, Stream};
use crate::run::asked::Question;
use crate::run::inbox::Inbox;
use crate::suite::Suite;
use crate::suite::vars::{RunValues, Vars};
use crate::values::mask::masked;

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
    for record in records.filter(|record| record.grows || !growing) {
        // These questions are short, and of an interrupted run they are asked as well.
        let pause = &mut |time| {
            if inbox.pause(time).is_err() {
                std::thread::sleep(time);
            }
            Ok(())
        };
        let asked = Question::from(record).ask(suite, vars, &run, pause);
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
