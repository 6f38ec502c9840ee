//! Checks of a suite file that go beyond its shape: references and placeholders.

use toml::Spanned;

use super::problem::{Problem, known, placeholders, placeholders_in, problem, unique, variable};
use super::scenario::looks_at;
use super::schema::{File, MACHINE_VALUES, Method};
use super::section::Section;
use super::{
    check_alerts, check_asked, check_chaos, check_clean, check_derive, check_fixtures, check_gates,
    check_monitors, check_names, check_plan, check_post, check_profiles, check_quick,
    check_resources, check_server, check_targets, private, schema1,
};
use crate::values::value::{Kind, parse, plain};

/// Version of the schema that this runner reads.
const SCHEMA: u32 = 2;

/// Fields of `meta.json` that the runner writes for every suite, some of which `judge` reads again.
const OWN_FIELDS: &[&str] = &[
    "attempt",
    "block",
    "blockAttempt",
    "branch",
    "build",
    "computed",
    "cycle",
    "discarded",
    "endTime",
    "environment",
    "estimateMs",
    "exitCode",
    "fixtures",
    "gitBranch",
    "gitDirty",
    "harness",
    "host",
    "k6",
    "k6Run",
    "k6Version",
    "label",
    "load",
    "loadAverageEnd",
    "machine",
    "manifest",
    "observed",
    "plan",
    "planSha256",
    "point",
    "postgres",
    "postgresServer",
    "preflight",
    "processors",
    "quick",
    "redis",
    "redisServer",
    "runId",
    "runnerVersion",
    "scenario",
    "schemaVersion",
    "services",
    "sha",
    "startTime",
    "suite",
    "suiteFile",
    "target",
    "targetLimits",
    "targetProgram",
    "variant",
    "verdict",
    "warmupMs",
    "windowMs",
];

/// Checks the whole file; the first problem wins.
pub(super) fn check(file: &File) -> Result<(), Problem> {
    check_schema(&file.suite.schema)?;
    let scenarios: Vec<&str> = file
        .scenario
        .iter()
        .map(|scenario| scenario.id.get_ref().as_str())
        .collect();
    unique(
        file.scenario.iter().map(|scenario| &scenario.id),
        "scenario",
    )?;
    unique(file.gate.iter().map(|gate| &gate.id), "gate")?;
    unique(file.derive.iter().map(|derive| &derive.id), "derive")?;
    unique(file.compare.iter().map(|compare| &compare.id), "compare")?;
    for name in &file.suite.order {
        known(name, &scenarios, "scenario")?;
    }
    check_env(file)?;
    check_names::names(file)?;
    for text in file
        .suite
        .needs
        .iter()
        .chain(&file.suite.users)
        .chain(&file.suite.describe)
    {
        placeholders(file, text, &[])?;
    }
    placeholders(file, &file.evidence.root, &[])?;
    placeholders(file, &file.evidence.folder, &["timestamp"])?;
    if !file.evidence.folder.get_ref().starts_with("{timestamp}/") {
        return Err(problem(
            &file.evidence.folder,
            "`folder` must begin with {timestamp}/: each call of the runner gets a folder of its own",
        ));
    }
    private::servers(file)?;
    if let Some(share) = &file.suite.regression
        && !(0.0..10.0).contains(share.get_ref())
    {
        let text = format!(
            "`regression` is {}; allowed: a share from 0 on, as 0.1 for 10 %",
            share.get_ref()
        );
        return Err(problem(share, text));
    }
    check_targets::targets(file)?;
    check_clean::tables(file)?;
    check_fixtures::fixtures(file)?;
    check_asked::drains(file, &scenarios)?;
    check_post::posts(file, &scenarios)?;
    check_meta(file)?;
    check_plan::scenarios(file)?;
    check_quick::quick(file)?;
    check_profiles::profiles(file, &scenarios)?;
    check_monitors::monitors(file, &scenarios)?;
    check_monitors::series(file)?;
    check_alerts::alerts(file)?;
    check_server::servers(file, &scenarios)?;
    check_chaos::chaos(file, &scenarios)?;
    for derive in &file.derive {
        check_derive::derive(file, derive)?;
        for from in &derive.from {
            check_source(file, from)?;
        }
    }
    file.gate
        .iter()
        .try_for_each(|gate| check_gates::gate(file, gate, &scenarios))?;
    check_resources::resources(file, &scenarios)?;
    file.gate
        .iter()
        .try_for_each(|gate| check_chaos::during(file, gate))?;
    check_comparisons(file, &scenarios)
}

fn check_schema(schema: &Spanned<u32>) -> Result<(), Problem> {
    let earlier = "a suite now says itself what was built into the runner: [preset.NAME], [computed], [[require]], [each], \
        [[record]], [[meta]], `users`, `estimate`, `role`, `becomes` and `defaults` (docs/reference/runner.md, \"Schema 2\"). \
        Stored evidence is judged as before";
    match *schema.get_ref() {
        SCHEMA => Ok(()),
        schema1::SCHEMA => Err(problem(
            schema,
            format!("schema 1 is of an earlier runner; allowed: {SCHEMA}; {earlier}"),
        )),
        other => Err(problem(
            schema,
            format!("schema {other} is not known; allowed: {SCHEMA}"),
        )),
    }
}

fn check_env(file: &File) -> Result<(), Problem> {
    for (name, table) in &file.env {
        let upper = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if !name.get_ref().chars().all(upper) {
            return Err(problem(
                name,
                format!("`{}`: a variable has an upper-case name", name.get_ref()),
            ));
        }
        if table.secret && !matches!(table.kind, Kind::String | Kind::Url) {
            let text = format!("{}: a secret is of type string or url", name.get_ref());
            return Err(problem(name, text));
        }
        if table.harness && (table.secret || !matches!(table.kind, Kind::String | Kind::Path)) {
            let text = format!(
                "{}: a file of the harness is named by a variable of type string or path that is no secret",
                name.get_ref()
            );
            return Err(problem(name, text));
        }
        let Some(default) = &table.default else {
            continue;
        };
        let text = plain(default.get_ref());
        if text.contains('{') {
            placeholders_in(file, default, &text, &[])?;
        } else if parse(name.get_ref(), table.kind, &text).is_err() {
            return Err(problem(
                default,
                format!("the default of {} is not of its type", name.get_ref()),
            ));
        }
    }
    Ok(())
}

fn check_meta(file: &File) -> Result<(), Problem> {
    let ids = file.record.iter().map(|record| &record.id);
    for id in ids.clone().chain(file.meta.iter().map(|meta| &meta.id)) {
        if OWN_FIELDS.contains(&id.get_ref().as_str()) {
            let text = format!(
                "`{}` is a field that the runner writes itself",
                id.get_ref()
            );
            return Err(problem(id, text));
        }
    }
    unique(
        ids.chain(file.meta.iter().map(|meta| &meta.id)),
        "field of the meta files",
    )?;
    for record in &file.record {
        let kind = *record.kind.get_ref();
        check_asked::asked(file, kind, &record.source, &record.statement, &["run_id"])?;
    }
    for meta in &file.meta {
        match (&meta.text, &meta.value) {
            (Some(text), None) => placeholders(file, text, &[])?,
            (None, Some(value)) => check_names::expression(file, value)?,
            _ => {
                let text = format!("{}: needs either `text` or `value`", meta.id.get_ref());
                return Err(problem(&meta.id, text));
            }
        }
    }
    Ok(())
}

fn check_source(file: &File, from: &Spanned<String>) -> Result<(), Problem> {
    match from.get_ref().split_once('.') {
        Some(("summary", path)) if !path.is_empty() => Ok(()),
        Some(("series" | "monitor" | "chaos", _)) => Ok(()),
        Some(("machine", name)) if MACHINE_VALUES.contains(&name) => Ok(()),
        Some(("machine", name)) => Err(problem(
            from,
            format!(
                "nothing measures machine.{name}; allowed: {}",
                MACHINE_VALUES.join(", ")
            ),
        )),
        Some(("env", name)) => variable(file, from, name),
        Some(("record", id)) => {
            let mut records = file.record.iter();
            if records.any(|record| record.id.get_ref() == id) {
                return Ok(());
            }
            let text = format!("`{}`: no [[record]] has this id", from.get_ref());
            Err(problem(from, text))
        }
        Some(("derived", id)) => {
            let own = from.span().start;
            let mut above = file.derive.iter();
            if above.any(|table| table.id.get_ref() == id && table.how.span().end < own) {
                return Ok(());
            }
            let text = format!("`{}`: no derived value above has this id", from.get_ref());
            Err(problem(from, text))
        }
        _ => Err(problem(
            from,
            format!(
                "`{}`: allowed: summary.PATH, machine.NAME, env.NAME, record.ID, derived.ID, series.METRIC.STAT, monitor.ID.NAME.STAT or chaos.ID.NAME",
                from.get_ref()
            ),
        )),
    }
}

fn check_comparisons(file: &File, scenarios: &[&str]) -> Result<(), Problem> {
    for compare in &file.compare {
        for name in &compare.scenarios {
            known(name, scenarios, "scenario")?;
        }
        for scenario in file
            .scenario
            .iter()
            .filter(|scenario| looks_at(&compare.scenarios, scenario.id.get_ref()))
        {
            let variants: Vec<&str> = scenario
                .variants
                .iter()
                .map(|variant| variant.get_ref().as_str())
                .collect();
            if !variants.is_empty() {
                known(&compare.base, &variants, "variant")?;
            }
        }
        check_gates::compared(file, &compare.metric, &compare.stat)?;
        if let Some(limit) = &compare.worse_than
            && compare.method == Method::PairedDifference
        {
            if !limit.get_ref().is_finite() || *limit.get_ref() < 0.0 {
                let text = format!(
                    "`worse_than` is {}; allowed: a number from 0 on, in the unit of {}",
                    limit.get_ref(),
                    compare.metric.get_ref()
                );
                return Err(problem(limit, text));
            }
        } else if let Some(limit) = &compare.worse_than
            && !(0.0..10.0).contains(limit.get_ref())
        {
            let text = format!(
                "`worse_than` is {}; allowed: a share from 0 on, as 0.05 for 5 %",
                limit.get_ref()
            );
            return Err(problem(limit, text));
        }
    }
    let sections = file.report.iter().flat_map(|report| &report.sections);
    for section in sections {
        Section::parse(section.get_ref()).map_err(|text| problem(section, text))?;
    }
    let records: Vec<&str> = file
        .record
        .iter()
        .map(|record| record.id.get_ref().as_str())
        .collect();
    let report = file.report.as_ref();
    if let Some(since) = report.and_then(|report| report.since.as_ref()) {
        known(since, &records, "record")?;
    }
    if let Some(answer) = report.and_then(|report| report.answer.as_ref()) {
        let derived: Vec<&str> = file
            .derive
            .iter()
            .map(|table| table.id.get_ref().as_str())
            .collect();
        let variables: Vec<&str> = file
            .env
            .iter()
            .filter(|(_, table)| !table.secret)
            .map(|(name, _)| name.get_ref().as_str())
            .collect();
        super::answer::check(answer.get_ref(), &derived, &variables)
            .map_err(|text| problem(answer, text))?;
    }
    Ok(())
}
