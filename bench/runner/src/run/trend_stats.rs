//! Which statistics of trends k6 keeps: those that the harness asks for, those that the suite judges by, and the number of
//! samples, without which nobody could tell a trend of zeros from one without samples.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use barrier_procs::{Output, Supervised};
use serde_json::Value as Json;

use crate::events::{Event, Stream};
use crate::run::environment::clean_environment;
use crate::run::inbox::{Inbox, Message};
use crate::run::k6::Call;
use crate::run::{process, scratch};
use crate::suite::Suite;
use crate::values::exit::Stop;
use crate::verdict::derive::metric_of;

/// What k6 keeps when nobody asks.
const OF_K6: [&str; 6] = ["avg", "min", "med", "max", "p(90)", "p(95)"];
/// A harness that has not said what it wants by then is left as it is.
const LIMIT: Duration = Duration::from_secs(60);

/// Adds to the call what k6 shall keep. k6 takes such a list instead of the harness's own, so the harness is asked first.
/// What cannot be asked is left as it is, and told: gates may then find no statistic of theirs.
///
/// # Errors
/// k6 cannot be started, or a signal arrived.
pub(super) fn add(
    call: &mut Call,
    suite: &Suite,
    inbox: &mut Inbox,
    stream: &Stream,
) -> anyhow::Result<()> {
    let Some(options) = options(call, inbox)? else {
        stream.tell(Event::Finding {
            text: "`k6 inspect` could not read the harness, so k6 keeps only the statistics that the harness asks for"
                .to_owned(),
        });
        return Ok(());
    };
    let own = options["summaryTrendStats"].as_array();
    let own = own.map(|list| list.iter().filter_map(Json::as_str).collect());
    call.trend_stats(&all(own, suite).join(","));
    Ok(())
}

fn all<'a>(own: Option<Vec<&'a str>>, suite: &'a Suite) -> Vec<&'a str> {
    let file = &suite.file;
    let gates = file.gate.iter().map(|gate| gate.stat.get_ref().as_str());
    let compared = file
        .compare
        .iter()
        .map(|table| table.stat.get_ref().as_str());
    let sources = file.derive.iter().flat_map(|table| &table.from);
    let derived = sources.filter_map(|from| Some(metric_of(from.get_ref())?.1));
    let mut stats = own.unwrap_or_else(|| OF_K6.to_vec());
    for stat in gates.chain(compared).chain(derived).chain(["count"]) {
        let of_trend =
            matches!(stat, "avg" | "min" | "med" | "max" | "count") || stat.starts_with("p(");
        if of_trend && !stats.contains(&stat) {
            stats.push(stat);
        }
    }
    stats
}

/// The harness's options, as `k6 inspect` shows them.
fn options(call: &Call, inbox: &mut Inbox) -> anyhow::Result<Option<Json>> {
    let home = scratch::folder("inspect-").context("making a folder for k6")?;
    let printed = Arc::new(Mutex::new(Vec::new()));
    let mut process = start(call, home.path(), &printed)?;
    process::watch(&process, inbox);
    let deadline = Instant::now() + LIMIT;
    let ended = loop {
        match inbox.next(deadline) {
            Some(Message::Exited(id)) if id == process.id() => break true,
            Some(Message::Exited(_)) => {}
            Some(Message::Interrupt) => return Err(Stop::Interrupted.into()),
            None => break false,
        }
    };
    if !ended || !process.end()?.success() {
        return Ok(None);
    }
    let printed = printed.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(serde_json::from_slice(&printed).ok())
}

fn start(call: &Call, home: &Path, printed: &Arc<Mutex<Vec<u8>>>) -> anyhow::Result<Supervised> {
    let mut command = Command::new(call.program());
    clean_environment(&mut command, home);
    command.envs(call.environment()).current_dir(home);
    command
        .args(["inspect", "--log-output=none"])
        .args(call.arguments());
    let kept = Arc::clone(printed);
    let each = move |line: &[u8]| {
        kept.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(line);
    };
    let output = Output::Lines(Box::new(each));
    Ok(Supervised::start(
        "k6",
        &mut command,
        output,
        Duration::from_secs(2),
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::tests::suite;

    #[test]
    fn what_the_harness_asks_for_stays_and_what_is_judged_comes_along() {
        let suite = suite(
            "[[scenario]]\nid = \"smoke\"\nscript = \"s.js\"\nlimit = \"30s\"\n\
             [[gate]]\nid = \"g\"\nclass = \"slo\"\nmetric = \"m\"\nstat = \"p(99)\"\nop = \"<\"\nlimit = 1\n\
             [[derive]]\nid = \"d\"\nhow = \"copy\"\nfrom = [\"summary.metrics.m.values.p(99.9)\", \"summary.metrics.r.values.rate\"]\n",
        )
        .expect("suite");
        assert_eq!(
            all(Some(vec!["p(42)"]), &suite),
            ["p(42)", "p(99)", "p(99.9)", "count"]
        );
        let usual = all(None, &suite);
        assert!(
            usual.starts_with(&OF_K6) && usual.ends_with(&["count"]),
            "{usual:?}"
        );
    }
}
