//! Which statistics of trends k6 keeps: those that the harness asks for, those that the suite judges by, and the number of
//! samples, without which nobody could tell a trend of zeros from one without samples.

use serde_json::Value as Json;

use crate::events::{Event, Stream};
use crate::run::k6::Call;
use crate::suite::Suite;
use crate::verdict::derive::metric_of;

/// What k6 keeps when nobody asks.
const OF_K6: [&str; 6] = ["avg", "min", "med", "max", "p(90)", "p(95)"];

/// Adds to the call what k6 shall keep. k6 takes such a list instead of the harness's own, so the harness's `options` count,
/// too. Where nobody knows them all is left as it is, and told: gates may then find no statistic of theirs.
pub(super) fn add(call: &mut Call, suite: &Suite, options: Option<&Json>, stream: &Stream) {
    let Some(options) = options else {
        stream.tell(Event::Finding {
            text: "`k6 inspect` could not read the harness, so k6 keeps only the statistics that the harness asks for"
                .to_owned(),
        });
        return;
    };
    let own = options["summaryTrendStats"].as_array();
    let own = own.map(|list| list.iter().filter_map(Json::as_str).collect());
    call.trend_stats(&all(own, suite).join(","));
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
