//! What a target measured itself: read once, when k6 or the last command has ended, and before the target is.

use std::time::{Duration, Instant};

use serde_json::{Map, Value as Json, json};

use crate::evidence::Folder;
use crate::plan::PlannedRun;
use crate::suite::Suite;
use crate::suite::served::of_scenario;
use crate::suite::server::ServerTable;
use crate::suite::vars::RunValues;
use crate::values::http::agent;
use crate::values::mask::masked_address;
use crate::values::place::at;
use crate::verdict::server::{FILE, metric};

/// Statistics over a whole run may take a while to put together.
const LIMIT: Duration = Duration::from_secs(30);
/// No answer that holds statistics is longer.
const MOST: u64 = 16 << 20;

/// Reads the values of the scenario's servers into the evidence. What cannot be read is missing there, with the reason, and the
/// gates on it say so; a failure to write is among the faults of the folder.
pub(super) fn read(suite: &Suite, run: &PlannedRun<'_>, folder: &Folder) {
    let mut metrics = Map::new();
    let mut answers = Vec::new();
    let asked: Vec<&str> = suite
        .file
        .gate
        .iter()
        .map(|gate| gate.stat.get_ref().as_str())
        .collect();
    for table in of_scenario(&suite.file, run.scenario.id.get_ref()) {
        let began = Instant::now();
        let answer = ask(suite, run, table);
        let asked_ms = began.elapsed().as_secs_f64() * 1000.0;
        let (shown, answer) = match answer {
            Ok((address, answer)) => (address, answer),
            Err((address, why)) => {
                answers.push(json!({ "id": table.id.get_ref(), "source": address, "askedMs": asked_ms, "error": why }));
                continue;
            }
        };
        let mut missing = Vec::new();
        for (name, place) in &table.picked {
            let found =
                at(&answer, place.get_ref()).ok_or_else(|| "nothing stands there".to_owned());
            match found.and_then(|found| metric(found, asked.iter().copied())) {
                Ok(entry) => {
                    metrics.insert(name.get_ref().clone(), entry);
                }
                Err(why) => missing.push(format!(
                    "{} at `{}`: {why}",
                    name.get_ref(),
                    place.get_ref()
                )),
            }
        }
        answers.push(json!({
            "id": table.id.get_ref(), "source": shown, "askedMs": asked_ms, "missing": missing, "answer": answer,
        }));
    }
    if !answers.is_empty() {
        let record = json!({ "schemaVersion": 1, "metrics": metrics, "answers": answers });
        let _ = folder.write_json(FILE, &record);
    }
}

/// The address that was asked, with its answer, or why there is none.
fn ask(
    suite: &Suite,
    run: &PlannedRun<'_>,
    table: &ServerTable,
) -> Result<(String, Json), (String, String)> {
    let mut known = RunValues::new();
    if let Some(address) = run.vars.text("BASE_URL") {
        known.insert("address", address);
    }
    let source = table.source.get_ref();
    let address = run.vars.expand(source, &known);
    let address = address.map_err(|error| (source.clone(), format!("{error:#}")))?;
    let shown = masked_address(&address);
    let refused = |why: String| (shown.clone(), why);
    let what = format!("server {}", table.id.get_ref());
    suite
        .allow_now(&what, &address)
        .map_err(|error| refused(format!("{error:#}")))?;
    let told = |error: ureq::Error| refused(format!("GET {shown}: {error}"));
    let mut answer = agent(LIMIT).get(&address).call().map_err(told)?;
    let status = answer.status();
    if !status.is_success() {
        let status = status.as_u16();
        return Err(refused(format!(
            "GET {shown}: status {status}, expected 200 to 299"
        )));
    }
    let body = answer.body_mut().with_config().limit(MOST);
    let text = body.read_to_string().map_err(told)?;
    let answer = serde_json::from_str(&text);
    let answer = answer.map_err(|error| refused(format!("GET {shown}: not JSON: {error}")))?;
    Ok((shown, answer))
}
