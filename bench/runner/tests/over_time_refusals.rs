//! What a suite may not ask of values over time: refused before anything starts, with file and line.

mod common;

use common::series::{Stage, gate};
use common::{finish, text};

const SCENARIO: &str = "[[scenario]]\nid = \"load\"\nscript = \"s.js\"\nlimit = \"60s\"\nwarmup = \"2s\"\nwindow = \"5s\"\n";

const SERIES: &str = "[series]\n";

#[test]
fn what_cannot_be_judged_over_time_is_refused_with_its_line() {
    let gate = |keys: &str| gate("g", &format!("op = \"<\"\nlimit = 1\n{keys}"));
    let monitor = "[[monitor]]\nid = \"loop\"\nkind = \"prom\"\nevery = \"1s\"\nsource = \"${BASE_URL}/metrics\"\n";
    let picks = format!("{monitor}match = [\"hz\", \"ticks_total\"]\n");
    let derived = "[[derive]]\nid = \"d\"\nhow = \"copy\"\nfrom = [\"summary.state.x\"]\n";
    for (tables, line, why) in [
        (format!("{SERIES}{}", gate("metric = \"ok\"\nstat = \"share_in_band\"")), "stat = \"share", "needs `band`"),
        (format!("{SERIES}{}", gate("metric = \"ok\"\nstat = \"rate\"\nband = [1, 2]")), "band =", "`band` is of `share_in_band` alone"),
        (format!("{SERIES}{}", gate("metric = \"ok\"\nstat = \"share_in_band\"\nband = [2, 1]")), "band =", "the lower value first"),
        (format!("{SERIES}{}", gate("metric = \"ok\"\nstat = \"share_in_band\"\nband = [1]")), "band =", "`band`: invalid length"),
        (format!("{SERIES}{}", gate("metric = \"checks\"\nstat = \"longest_gap\"")), "stat =", "a rate has no `longest_gap`"),
        (format!("{SERIES}{}", gate("metric = \"http_req_duration\"\nstat = \"longest_gap\"")), "stat =", "a trend has no `longest_gap`"),
        (format!("{SERIES}{}", gate("metric = \"m\"\nstat = \"longest_gap\"")), "stat =", "say `type = \"counter\"`"),
        (format!("{SERIES}{}", gate("metric = \"http_reqs\"\nstat = \"longest_gap\"")), "limit = 1", "told as 2 s at least"),
        (gate("metric = \"http_reqs\"\nstat = \"longest_gap\""), "stat =", "where the suite has a table [series]"),
        (gate("metric = \"m\"\nstat = \"share_in_band\"\nband = [1, 2]"), "stat =", "where the suite has a table [series]"),
        (gate("metric = \"m\"\nstat = \"count\"\ntag = \"kind:x\""), "tag =", "add a table [series]"),
        (format!("{SERIES}{}", gate("metric = \"m\"\nstat = \"count\"\ntag = \"kind\"")), "tag =", "allowed: name:value"),
        (format!("{SERIES}{}", gate("metric = \"m{a:b}\"\nstat = \"count\"\ntag = \"kind:x\"")), "tag =", "in braces already"),
        (format!("{SERIES}{}", gate("metric = \"m{a}\"\nstat = \"count\"")), "metric =", "is no tag"),
        (format!("{SERIES}tags = [\"a,b\"]\n"), "tags =", "is no name of a tag"),
        (format!("{SERIES}{derived}{}", gate("metric = \"d\"\nstat = \"value\"\ntag = \"kind:x\"")), "tag =", "a derived value has no tags"),
        (format!("{SERIES}{picks}{}", gate("metric = \"hz\"\nstat = \"avg\"\ntag = \"kind:x\"")), "tag =", "a monitor's value has no tags"),
        (format!("{picks}{}", gate("metric = \"hz\"\nstat = \"rate\"")), "stat =", "a monitor's value has no `rate`"),
        (format!("{picks}{}", gate("metric = \"ticks_total\"\nstat = \"avg\"")), "stat =", "a monitor's counter has no `avg`"),
        (format!("{picks}{}", gate("metric = \"hz\"\ntype = \"trend\"\nstat = \"avg\"")), "metric =", "of type counter or gauge"),
        (format!("{picks}{}", gate("metric = \"hz\"\nstat = \"avg\"\nabsent = 0")), "metric =", "takes no `absent`"),
        (format!("{picks}scenarios = [\"other\"]\n[[scenario]]\nid = \"other\"\nscript = \"s.js\"\nlimit = \"1s\"\n{}", gate("metric = \"hz\"\nstat = \"avg\"")), "metric =", "the monitor loop does not watch scenario load"),
        (monitor.to_owned(), "id = \"loop\"", "needs `match`"),
        (format!("{monitor}match = []\n"), "match =", "`match` names nothing"),
        (format!("{monitor}match = [1]\n"), "match =", "a list of texts"),
        (format!("{monitor}match = ['hz{{a=1}}']\n"), "match =", "no value in quotes"),
        (format!("{monitor}match = ['vus']\n"), "match =", "a metric of k6 has this name"),
        (format!("{derived}{monitor}match = ['d']\n"), "match =", "a derived value has this name"),
        (format!("{picks}{}match = ['hz']\n", monitor.replace("loop", "again")), "match = ['hz']", "a second value of a monitor"),
        (format!("{monitor}of = [\"target\"]\nmatch = ['hz']\n"), "of =", "picks what `match` says"),
        ("[[monitor]]\nid = \"l\"\nkind = \"log\"\nevery = \"1s\"\nmatch = { e = '(' }\n".to_owned(), "match =", "`(`: regex parse error"),
        ("[[monitor]]\nid = \"l\"\nkind = \"http\"\nevery = \"1s\"\nmatch = ['status']\n".to_owned(), "id = \"l\"", "needs `source`"),
        ("[[monitor]]\nid = \"l\"\nkind = \"http\"\nevery = \"1s\"\nsource = \"${BASE_URL}\"\nmatch = ['a..b']\n".to_owned(), "match =", "names in the JSON joined by dots"),
        ("[[monitor]]\nid = \"l\"\nkind = \"machine\"\nevery = \"1s\"\nmatch = ['load']\n".to_owned(), "match =", "allowed: busy_percent, steal_percent"),
        ("[[monitor]]\nid = \"l\"\nkind = \"machine\"\nevery = \"1s\"\nsource = \"${BASE_URL}\"\nmatch = ['busy_percent']\n".to_owned(), "source =", "has no `source`"),
        (format!("{SERIES}{}excuses = [\"g\"]\n", gate("metric = \"ok\"\nstat = \"rate\"")), "excuses =", "an objective excuses nothing"),
        (format!("{SERIES}{}excuses = [\"other\"]\n", gate("metric = \"ok\"\nstat = \"rate\"").replace("\"slo\"", "\"validity\"")), "excuses =", "gate of class slo"),
        ("[[monitor]]\nid = \"l\"\nkind = \"process\"\nevery = \"1s\"\nof = [\"k6\"]\nmatch = ['a']\n".to_owned(), "match =", "`a`: no figure of a process; allowed: NAME.FIGURE"),
    ] {
        let stage = Stage::new(&format!("{SCENARIO}{tables}"));
        let suite = text(&stage.path("suite.toml"));
        let place = suite.rfind(&format!("\n{line}")).unwrap_or_else(|| panic!("{line}: {suite}"));
        let number = suite[..=place].matches('\n').count() + 1;
        let (code, printed) = finish(&mut stage.call(&["validate", &stage.suite()]));
        assert_eq!(code, 2, "{tables}: {printed}");
        assert!(
            printed.contains(&format!("suite.toml:{number}: ")) && printed.contains(why),
            "line {number}, {why}: {tables}: {printed}"
        );
    }
    let tables = SCENARIO.replace("5s", "${LONG}");
    let stage = Stage::new(&format!("[env.LONG]\ntype = \"string\"\n{tables}"));
    let (code, printed) = finish(stage.call(&["run", &stage.suite()]).env("LONG", "a while"));
    let why = "scenario load: `window`: not a duration: `a while`";
    assert!(code == 2 && printed.contains(why), "{printed}");
    let short = "[env.MOST]\ntype = \"float\"\n[series]\n[[gate]]\nid = \"g\"\nclass = \"slo\"\nmetric = \"http_reqs\"\nstat = \"longest_gap\"\nop = \"<\"\nlimit = \"${MOST}\"\n";
    let stage = Stage::new(&format!("{SCENARIO}{short}"));
    let call = |most| {
        finish(
            stage
                .call(&["run", "--dry-run", &stage.suite()])
                .env("MOST", most),
        )
    };
    let (code, printed) = call("1.5");
    let why = "gate g: the limit is 1.5: http_reqs: k6's values are known second by second";
    assert!(code == 2 && printed.contains(why), "{printed}");
    assert!(!call("3").1.contains("second by second"), "{printed}");
    for key in ["warmup = \"soon\"", "window = \"long\""] {
        let tables = SCENARIO.replace("warmup = \"2s\"\nwindow = \"5s\"", key);
        let stage = Stage::new(&tables);
        let (code, printed) = finish(&mut stage.call(&["validate", &stage.suite()]));
        assert!(code == 2 && printed.contains("not a duration"), "{printed}");
    }
}

#[test]
fn what_cannot_be_derived_is_refused_with_its_line() {
    let picks = "[[monitor]]\nid = \"loop\"\nkind = \"prom\"\nevery = \"1s\"\nsource = \"${BASE_URL}/metrics\"\nmatch = [\"hz\"]\n";
    for (how, from, line, why) in [
        (
            "ratio",
            "['series.sent.rate']",
            "how =",
            "takes two values; `from` has 1",
        ),
        (
            "longest_gap",
            "['series.a', 'series.b']",
            "how =",
            "takes one value over time",
        ),
        ("share_in_band", "['series.a']", "how =", "needs `band`"),
        (
            "sum",
            "['series.a.count']\nband = [1, 2]",
            "band =",
            "`band` is of `share_in_band` alone",
        ),
        (
            "copy",
            "['series.a.median']",
            "from =",
            "has no `median`; allowed: count",
        ),
        (
            "copy",
            "['series.a']",
            "from =",
            "has no ``; allowed: count",
        ),
        (
            "longest_gap",
            "['series.http_req_duration']",
            "from =",
            "a trend has no `longest_gap`",
        ),
        (
            "longest_gap",
            "['series.sent.rate']",
            "from =",
            "`rate` is one statistic",
        ),
        (
            "longest_gap",
            "['summary.state.x']",
            "from =",
            "is of series.METRIC or monitor.ID.NAME",
        ),
        (
            "copy",
            "['monitor.loop.pace.avg']",
            "from =",
            "no monitor picks that",
        ),
        (
            "copy",
            "['monitor.loop.hz.rate']",
            "from =",
            "a monitor's value has no `rate`",
        ),
        (
            "copy",
            "['tables.a']",
            "from =",
            "series.METRIC.STAT, monitor.ID.NAME.STAT or chaos.ID.NAME",
        ),
    ] {
        let stage = Stage::new(&format!(
            "{SCENARIO}{SERIES}{picks}[[derive]]\nid = \"d\"\nhow = \"{how}\"\nfrom = {from}\n"
        ));
        let suite = text(&stage.path("suite.toml"));
        let place = suite.rfind(&format!("\n{line}")).expect(line);
        let number = suite[..=place].matches('\n').count() + 1;
        let (code, printed) = finish(&mut stage.call(&["validate", &stage.suite()]));
        assert!(
            code == 2
                && printed.contains(&format!("suite.toml:{number}: "))
                && printed.contains(why),
            "line {number}, {why}: {how} {from}: {printed}"
        );
    }
}
