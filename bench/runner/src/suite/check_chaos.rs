//! Checks of faults that are injected, of proxies, and of gates that look at the time of faults.

use toml::Spanned;

use super::chaos::{ChaosTable, Kind, Words};
use super::check_load::duration;
use super::command::Work;
use super::faults::During;
use super::over_time::{self, Source};
use super::problem::{Problem, known, placeholders, placeholders_in, problem, unique, variable};
use super::scenario::looks_at;
use super::schema::{File, GateTable, TargetKind};
use super::stat::{LONGEST_GAP, SHARE_IN_BAND};
use super::waits::variables_behind;
use crate::values::value;

/// Checks every `[[chaos]]` and `[[proxy]]`.
pub(super) fn chaos(file: &File, scenarios: &[&str]) -> Result<(), Problem> {
    unique(file.proxy.iter().map(|proxy| &proxy.id), "proxy")?;
    for proxy in &file.proxy {
        placeholders(file, &proxy.to, &[])?;
        variable(file, &proxy.address, proxy.address.get_ref())?;
        let kind = file
            .env
            .get(proxy.address.get_ref().as_str())
            .map(|table| table.kind);
        if kind != Some(value::Kind::Url) {
            let text = format!(
                "{} gets an address, so it is of type url",
                proxy.address.get_ref()
            );
            return Err(problem(&proxy.address, text));
        }
    }
    unique(file.chaos.iter().map(|table| &table.id), "chaos")?;
    file.chaos
        .iter()
        .try_for_each(|table| one(file, table, scenarios))
}

fn one(file: &File, table: &ChaosTable, scenarios: &[&str]) -> Result<(), Problem> {
    let id = table.id.get_ref();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if id.is_empty() || !id.chars().all(plain) {
        let text = format!("chaos `{id}`: allowed are letters, digits, `-` and `_`");
        return Err(problem(&table.id, text));
    }
    for name in &table.scenarios {
        known(name, scenarios, "scenario")?;
    }
    for scenario in &file.scenario {
        let own = looks_at(&table.scenarios, scenario.id.get_ref());
        if own
            && table.kind == Kind::Process
            && scenario.is_alone()
            && scenario.work() != Work::Stub
        {
            let text = format!(
                "scenario {} has no target and no services, so no program of them can be ended; name others in `scenarios`",
                scenario.id.get_ref()
            );
            return Err(problem(&table.id, text));
        }
    }
    duration(file, &table.at, "at")?;
    duration(file, &table.hold, "hold")?;
    if let Some(settle) = &table.settle {
        duration(file, settle, "settle")?;
    }
    keys(table)?;
    match table.kind {
        Kind::Process => process(file, table)?,
        Kind::Proxy => {
            let proxies: Vec<&str> = file
                .proxy
                .iter()
                .map(|proxy| proxy.id.get_ref().as_str())
                .collect();
            if let Some(of) = &table.of {
                known(of, &proxies, "proxy")?;
            }
        }
        Kind::Faults | Kind::Command => words(file, table)?,
    }
    let Some(expect) = &table.expect else {
        return Ok(());
    };
    let inside = expect.get_ref();
    placeholders_in(file, expect, &inside.url, &["address"])?;
    if inside.first_good_within.is_none() && inside.steady_within.is_none() {
        return Err(problem(
            expect,
            "`expect` needs `first_good_within`, `steady_within` or both",
        ));
    }
    if inside.every.is_zero() || inside.timeout.is_zero() {
        return Err(problem(expect, "`every` and `timeout` must be more than 0"));
    }
    Ok(())
}

/// Each kind has its own keys, and needs them.
fn keys(table: &ChaosTable) -> Result<(), Problem> {
    let needed: &[&str] = match table.kind {
        Kind::Process | Kind::Proxy => &["of"],
        Kind::Faults => &["url", "inject", "undo"],
        Kind::Command => &["inject", "undo"],
    };
    let further: &[&str] = match table.kind {
        Kind::Process => &["signal"],
        Kind::Proxy => &["how"],
        Kind::Faults => &[],
        Kind::Command => &["time_limit"],
    };
    let given = [
        ("of", table.of.is_some()),
        ("signal", table.signal.is_some()),
        ("how", table.how.is_some()),
        ("url", table.url.is_some()),
        ("inject", table.inject.is_some()),
        ("undo", table.undo.is_some()),
        ("time_limit", table.time_limit.is_some()),
    ];
    let kind = table.kind.name();
    for (key, there) in given {
        if there && !needed.contains(&key) && !further.contains(&key) {
            let text = format!(
                "chaos {}: `{key}` is of no chaos of kind {kind}",
                table.id.get_ref()
            );
            return Err(problem(&table.id, text));
        }
        if !there && needed.contains(&key) {
            let text = format!("chaos {}: kind {kind} needs `{key}`", table.id.get_ref());
            return Err(problem(&table.id, text));
        }
    }
    Ok(())
}

/// A program that the runner itself starts, so that it can start it again.
fn process(file: &File, table: &ChaosTable) -> Result<(), Problem> {
    let Some(of) = &table.of else { return Ok(()) };
    let own = |kind| matches!(kind, TargetKind::Builtin | TargetKind::Process);
    let started = file.target.iter().filter(|target| own(target.kind));
    let names: Vec<&str> = started.map(|target| target.id.as_str()).collect();
    known(
        of,
        &names,
        "target or service that the runner starts as a program",
    )
}

/// What is sent or run: texts that hold no secrets where they take something back, for those go to a journal.
fn words(file: &File, table: &ChaosTable) -> Result<(), Problem> {
    let program = table.kind == Kind::Command;
    for (key, words) in [("inject", &table.inject), ("undo", &table.undo)] {
        let Some(words) = words else { continue };
        match (words.get_ref(), program) {
            (Words::Text(text), false) => json(words, text)?,
            (Words::Program(list), true) if !list.is_empty() => {
                for word in list {
                    placeholders_in(file, words, word, &["address"])?;
                }
            }
            (_, true) => {
                let text = format!(
                    "`{key}` is a program with its arguments, as in [\"./break.sh\", \"all\"]"
                );
                return Err(problem(words, text));
            }
            (Words::Program(_), false) => {
                return Err(problem(
                    words,
                    format!("`{key}` is a JSON text, as in '{{\"delay-ms\": 50}}'"),
                ));
            }
        }
    }
    if let Some(url) = &table.url {
        placeholders(file, url, &["address"])?;
        secret(file, url, url.get_ref())?;
    }
    if let Some(undo) = &table.undo {
        undo.get_ref()
            .iter()
            .try_for_each(|word| secret(file, undo, word))?;
    }
    Ok(())
}

/// A JSON object: it is sent as it is, without placeholders, whose braces are its own.
fn json(place: &Spanned<Words>, text: &str) -> Result<(), Problem> {
    match serde_json::from_str(text) {
        Ok(serde_json::Value::Object(_)) => Ok(()),
        Ok(_) => Err(problem(
            place,
            "allowed is a JSON object, as in '{\"delay-ms\": 50}'",
        )),
        Err(error) => Err(problem(place, format!("not JSON: {error}"))),
    }
}

fn secret<T>(file: &File, place: &Spanned<T>, text: &str) -> Result<(), Problem> {
    let mut behind = variables_behind(file, text).into_iter();
    let is_secret = |name: &String| {
        file.env
            .get(name.as_str())
            .is_some_and(|table| table.secret)
    };
    match behind.find(is_secret) {
        Some(name) => {
            let text = format!(
                "what takes a fault back is kept in a journal, which holds no secrets; it takes {name}"
            );
            Err(problem(place, text))
        }
        None => Ok(()),
    }
}

/// Checks the part of the run that a gate is about.
pub(super) fn during(file: &File, gate: &GateTable) -> Result<(), Problem> {
    let Some(text) = &gate.during else {
        return Ok(());
    };
    let during = During::parse(text.get_ref()).map_err(|why| problem(text, why))?;
    let ids: Vec<&str> = file
        .chaos
        .iter()
        .map(|table| table.id.get_ref().as_str())
        .collect();
    if ids.is_empty() {
        return Err(problem(
            text,
            "`during` is about faults, and the suite has no [[chaos]]",
        ));
    }
    if let During::Of(id) = during {
        let named = Spanned::new(text.span(), id.to_owned());
        known(&named, &ids, "chaos")?;
        let table = file.chaos.iter().find(|table| table.id.get_ref() == id);
        let scenarios = table.map_or(&[][..], |table| &table.scenarios);
        let outside =
            |scenario: &str| looks_at(&gate.scenarios, scenario) && !looks_at(scenarios, scenario);
        let mut all = file
            .scenario
            .iter()
            .map(|scenario| scenario.id.get_ref().as_str());
        if let Some(scenario) = all.find(|scenario| outside(scenario)) {
            let text_of = format!(
                "the gate judges {scenario} too, which {id} does not disturb; name its scenarios"
            );
            return Err(problem(text, text_of));
        }
    }
    match over_time::source(file, gate) {
        None => {
            let why =
                "values over time are needed for that: k6's with a table [series], or a monitor's";
            Err(problem(text, why))
        }
        Some(Source::Monitor { .. }) if !matches!(during, During::Of(_)) => {
            Err(problem(text, "a monitor's value takes `chaos:ID` alone"))
        }
        Some(Source::Series(_)) if !matches!(during, During::Of(_)) => {
            let stat = gate.stat.get_ref().as_str();
            if [LONGEST_GAP, SHARE_IN_BAND].contains(&stat) {
                return Err(problem(
                    &gate.stat,
                    format!("`{stat}` is of one stretch of time: `during` takes `chaos:ID` alone"),
                ));
            }
            Ok(())
        }
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::suite::tests::suite;

    const HEAD: &str = "[[scenario]]\nid = \"smoke\"\nscript = \"s.js\"\nlimit = \"30s\"\n\
        [env.BASE_URL]\ntype = \"url\"\n[env.PASSWORD]\ntype = \"string\"\nsecret = true\n\
        [[target]]\nid = \"own\"\nkind = \"process\"\nstart = [\"sh\", \"{port_file}\"]\nready = { url = \"${BASE_URL}\", every = \"10ms\", limit = \"1s\" }\n\
        [[target]]\nid = \"there\"\nkind = \"external\"\nready = { url = \"${BASE_URL}\", every = \"10ms\", limit = \"1s\" }\n";

    #[test]
    fn what_cannot_be_injected_or_taken_back_is_refused() {
        let chaos = |rest: &str| {
            suite(&format!(
                "{HEAD}[[chaos]]\nid = \"c\"\nat = \"1s\"\nhold = \"1s\"\n{rest}"
            ))
        };
        for good in [
            "kind = \"process\"\nof = \"own\"\nsignal = \"TERM\"",
            "kind = \"faults\"\nurl = \"{address}/faults\"\ninject = '{\"a\": 1}'\nundo = '{\"a\": null}'",
            "kind = \"command\"\ninject = [\"cut\"]\nundo = [\"heal\", \"{address}\"]",
            "kind = \"proxy\"\nof = \"p\"\nhow = \"silence\"\n[[proxy]]\nid = \"p\"\nto = \"http://h\"\naddress = \"BASE_URL\"",
        ] {
            chaos(good).expect(good);
        }
        for (rest, expected) in [
            ("kind = \"process\"\nof = \"there\"", "allowed: own"),
            ("kind = \"process\"", "needs `of`"),
            (
                "kind = \"process\"\nof = \"own\"\nhow = \"cut\"",
                "`how` is of no chaos of kind process",
            ),
            ("kind = \"proxy\"\nof = \"p\"", "no proxy `p`"),
            (
                "kind = \"faults\"\nurl = \"http://h\"\ninject = '{'\nundo = '{}'",
                "not JSON",
            ),
            (
                "kind = \"faults\"\nurl = \"http://h\"\ninject = '{}'\nundo = '1'",
                "a JSON object",
            ),
            (
                "kind = \"command\"\ninject = [\"cut\"]\nundo = []",
                "a program with its arguments",
            ),
            (
                "kind = \"command\"\ninject = [\"cut\", \"${PASSWORD}\"]\nundo = [\"heal\", \"${PASSWORD}\"]",
                "holds no secrets; it takes PASSWORD",
            ),
            (
                "kind = \"command\"\ninject = [\"a\"]\nundo = [\"b\"]\nexpect = { url = \"http://h\" }",
                "needs `first_good_within`",
            ),
        ] {
            let text = chaos(rest).expect_err(rest).to_string();
            assert!(text.contains(expected), "{expected}: {text}");
        }
    }

    #[test]
    fn what_is_derived_of_a_fault_has_to_be_looked_at() {
        let derive = |expect: &str, how: &str, from: &str, band: &str| {
            suite(&format!(
                "{HEAD}[series]\n[[chaos]]\nid = \"c\"\nat = \"1s\"\nhold = \"1s\"\nkind = \"process\"\nof = \"own\"\n{expect}\
                 [[derive]]\nid = \"d\"\nhow = \"{how}\"\nfrom = [{from}]\n{band}"
            ))
        };
        let expect =
            "expect = { url = \"http://h\", first_after = \"undo\", first_good_within = \"1s\" }\n";
        derive(expect, "first_after", "\"chaos.c\"", "").expect("to the first good answer");
        derive(
            expect,
            "max",
            "\"chaos.c.firstGoodMs\", \"chaos.c.lastBadMs\"",
            "",
        )
        .expect("in ms");
        let second = "\"chaos.c\", \"series.m\"";
        derive("", "first_after", second, "band = [0, 1]\n").expect("to the first sample");
        for (expect, how, from, band, expected) in [
            ("", "first_after", "\"chaos.c\"", "", "c expects nothing"),
            (expect, "first_after", "\"chaos.d\"", "", "allowed: chaos.c"),
            (expect, "first_after", second, "", "band"),
            (
                expect,
                "first_after",
                "\"chaos.c\", \"series.m.avg\"",
                "band = [0, 1]\n",
                "without a statistic",
            ),
            (
                "",
                "copy",
                "\"chaos.c.firstGoodMs\"",
                "",
                "of a fault with `expect`",
            ),
            (expect, "copy", "\"chaos.c.when\"", "", "chaos.ID.lastBadMs"),
        ] {
            let text = derive(expect, how, from, band)
                .expect_err(expected)
                .to_string();
            assert!(text.contains(expected), "{expected}: {text}");
        }
    }

    #[test]
    fn a_part_of_the_time_needs_values_over_time() {
        let gate = |series: &str, during: &str, stat: &str| {
            suite(&format!(
                "{HEAD}{series}[[chaos]]\nid = \"c\"\nat = \"1s\"\nhold = \"1s\"\nkind = \"process\"\nof = \"own\"\n\
                 [[gate]]\nid = \"g\"\nclass = \"slo\"\nmetric = \"m\"\nstat = \"{stat}\"\nop = \"<\"\nlimit = 9\nduring = \"{during}\"\n{}",
                if stat == "share_in_band" {
                    "band = [0, 1]\n"
                } else {
                    ""
                }
            ))
        };
        for during in ["chaos:c", "chaos", "calm"] {
            gate("[series]\n", during, "count").expect(during);
        }
        gate("[series]\n", "chaos:c", "share_in_band").expect("one stretch");
        for (series, during, stat, expected) in [
            ("", "chaos:c", "count", "[series]"),
            ("[series]\n", "chaos:d", "count", "no chaos `d`"),
            (
                "[series]\n",
                "storm",
                "count",
                "allowed: chaos:ID, chaos, calm",
            ),
            ("[series]\n", "calm", "share_in_band", "one stretch"),
        ] {
            let text = gate(series, during, stat).expect_err(expected).to_string();
            assert!(text.contains(expected), "{expected}: {text}");
        }
    }
}
