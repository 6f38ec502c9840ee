//! Checks of targets: whether each can be started or reached, and tells where it listens.

use toml::Spanned;

use super::check_plan;
use super::command::NO_TARGET;
use super::problem::{Problem, RUN_VALUES, known, placeholders, problem, variable};
use super::process::Named;
use super::schema::{File, TargetKind, TargetTable};
use super::target::{ADDRESS, HOST_PORT};
use crate::values::value::Kind;

/// What a process monitor calls something else.
const TAKEN: [&str; 5] = ["k6", "postgres", "redis", "runner", "target"];

pub(super) fn targets(file: &File) -> Result<(), Problem> {
    let mut seen: Vec<&str> = Vec::new();
    for target in &file.target {
        if seen.contains(&target.id.as_str()) {
            return refuse(target, "is there a second time");
        }
        if target.id == NO_TARGET {
            let what = "has the name by which a scenario says that it has no target";
            return refuse(target, what);
        }
        seen.push(&target.id);
        one(file, target)?;
    }
    Ok(())
}

/// A fault of a target as a whole, told where it begins to say what it starts.
fn refuse(target: &TargetTable, what: &str) -> Result<(), Problem> {
    let file = target.compose.as_ref().map(|compose| &compose.file);
    let place = target.start.first().or(file).map_or(0..0, Spanned::span);
    Err(Problem {
        span: place,
        text: format!("target {} {what}", target.id),
    })
}

fn one(file: &File, target: &TargetTable) -> Result<(), Problem> {
    compose(target)?;
    for (name, value) in &target.defaults {
        check_plan::level(file, name, value)?;
        if file.env[name.get_ref().as_str()].default.is_some() {
            let text = format!("{} has a default in its own table already", name.get_ref());
            return Err(problem(name, text));
        }
    }
    let files = target.port_files();
    let ports = ports(file, target)?;
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let told = [[ADDRESS, HOST_PORT].as_slice(), &ports].concat();
    let known = [files.as_slice(), &told].concat();
    for argument in &target.start {
        placeholders(file, argument, &known)?;
    }
    if let Some(faults) = &target.faults {
        placeholders(file, faults, &[])?;
    }
    if let Some(version) = &target.version {
        placeholders(
            file,
            &version.url,
            if target.is_started() { &told } else { &[] },
        )?;
    }
    addresses(file, target, &told)?;
    processes(file, target)?;
    for log in &target.logs {
        placeholders(file, log, &[])?;
        if target.is_started() {
            return Err(problem(
                log,
                "the output of a target that the runner starts is kept anyway; only an external one has `logs`",
            ));
        }
    }
    match (&target.ready.url, &target.ready.tcp) {
        (Some(address), None) | (None, Some(address)) => placeholders(file, address, &known)?,
        (Some(address), Some(_)) => {
            return Err(problem(
                address,
                "`ready` has either `url` or `tcp`, not both",
            ));
        }
        (None, None) => {
            let place = target.start.first().map_or(0..0, Spanned::span);
            return Err(Problem {
                span: place,
                text: format!("target {}: `ready` needs `url` or `tcp`", target.id),
            });
        }
    }
    gone(target)?;
    let by_compose = target.kind == TargetKind::Compose;
    match (target.is_started() && !by_compose, target.start.is_empty()) {
        (true, true) => return refuse(target, "needs `start`"),
        (false, false) if !by_compose => {
            return refuse(target, "is external and has no `start`");
        }
        _ => {}
    }
    limits(target)?;
    with(file, target)?;
    service(target)
}

/// How long nobody may be there, which is asked of a target that the runner does not start.
fn gone(target: &TargetTable) -> Result<(), Problem> {
    let ready = &target.ready;
    let place = ready.url.as_ref().or(ready.tcp.as_ref());
    let (Some(gone), Some(place)) = (ready.gone, place) else {
        return Ok(());
    };
    if target.is_started() {
        let text = "only an external target has `gone`, not one that the runner starts";
        return Err(problem(place, text));
    }
    if gone <= ready.every {
        let text = format!(
            "`gone` is {} ms, and it is asked every {} ms: one look in vain would end a run; allowed: more than `every`",
            gone.as_millis(),
            ready.every.as_millis()
        );
        return Err(problem(place, text));
    }
    Ok(())
}

/// A service may belong to one target under test.
fn with(file: &File, target: &TargetTable) -> Result<(), Problem> {
    let Some(with) = &target.with else {
        return Ok(());
    };
    if !target.is_service() {
        let text = "`with` belongs to a service; this is a target under test";
        return Err(problem(with, text));
    }
    let under_test = file.target.iter().filter(|other| !other.is_service());
    let under_test: Vec<&str> = under_test.map(|other| other.id.as_str()).collect();
    known(with, &under_test, "target under test")
}

/// That a service of a compose file has what starts it, and nothing that only a program has.
fn compose(target: &TargetTable) -> Result<(), Problem> {
    let by_compose = target.kind == TargetKind::Compose;
    match &target.compose {
        None if by_compose => {
            return refuse(
                target,
                "needs `compose`: its file, its service and its port, as in { file = \"compose.yaml\", service = \"chat\", port = 4000 }",
            );
        }
        Some(table) if !by_compose => {
            let text = "only a target of kind `compose` has `compose`";
            return Err(problem(&table.file, text));
        }
        _ => {}
    }
    if !by_compose {
        return Ok(());
    }
    let limits = target.limits.as_ref();
    let limits = limits.and_then(|limits| limits.cpu.as_ref().or(limits.memory.as_ref()));
    let only = "belongs to a program; the compose file says this of a container";
    for (place, name) in [
        (target.start.first(), "start"),
        (target.faults.as_ref(), "faults"),
        (target.ports.first(), "ports"),
        (limits, "limits"),
    ] {
        if let Some(place) = place {
            return Err(problem(place, format!("`{name}` {only}")));
        }
    }
    Ok(())
}

/// What a program may take, and that it is one that the runner starts.
fn limits(target: &TargetTable) -> Result<(), Problem> {
    let Some(limits) = &target.limits else {
        return Ok(());
    };
    for (text, read) in [
        (&limits.cpu, limits.cpu_percent().map(drop)),
        (&limits.memory, limits.memory_bytes().map(drop)),
    ] {
        let Some(text) = text else { continue };
        read.map_err(|why| problem(text, why))?;
        if !target.is_started() {
            return Err(problem(
                text,
                "only a program that the runner starts has `limits`",
            ));
        }
    }
    Ok(())
}

/// The names of the further places where it listens.
fn ports<'f>(file: &File, target: &'f TargetTable) -> Result<Vec<&'f str>, Problem> {
    let mut names: Vec<&str> = Vec::new();
    for port in target.port_names() {
        let name = port.get_ref().as_str();
        let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let computed = file.computed();
        let mut computed = computed.iter().map(|(name, _)| name.get_ref().as_str());
        let other = RUN_VALUES.contains(&name)
            || [ADDRESS, HOST_PORT, "port_file"].contains(&name)
            || names.contains(&name)
            || file.each.contains_key(name)
            || computed.any(|own| own == name);
        if !target.is_started() {
            return Err(problem(
                port,
                "an external target tells nothing; only one that the runner starts has `ports`",
            ));
        }
        if name.is_empty() || !name.chars().all(lower) {
            return Err(problem(
                port,
                format!("`{name}`: a port has a lower-case name"),
            ));
        }
        if other {
            return Err(problem(
                port,
                format!("`{name}` has another meaning already"),
            ));
        }
        names.push(name);
    }
    Ok(names)
}

/// Variables get their values from what the target tells.
fn addresses(file: &File, target: &TargetTable, told: &[&str]) -> Result<(), Problem> {
    for (name, text) in &target.addresses {
        variable(file, name, name.get_ref())?;
        placeholders(file, text, told)?;
        let table = &file.env[name.get_ref().as_str()];
        let why = if !target.is_started() {
            "an external target tells nothing; only one that the runner starts has `addresses`"
        } else if !matches!(table.kind, Kind::Url | Kind::String) {
            "an address goes to a variable of type url or string"
        } else if table.default.is_some() {
            "it has a default in its own table, which would be taken for an address that a person gives; give it to the external target, in `defaults`"
        } else {
            continue;
        };
        return Err(problem(name, format!("{}: {why}", name.get_ref())));
    }
    Ok(())
}

/// What a person started is named, so that it can be watched.
fn processes(file: &File, target: &TargetTable) -> Result<(), Problem> {
    for text in &target.processes {
        placeholders(file, text, &[])?;
        if target.is_started() {
            return Err(problem(
                text,
                "a program that the runner starts is watched anyway; only an external target has `processes`",
            ));
        }
        if !text.get_ref().contains('{') {
            Named::parse(text.get_ref()).map_err(|why| problem(text, why))?;
        }
    }
    Ok(())
}

/// A service is always there, and nobody compares it with another one.
fn service(target: &TargetTable) -> Result<(), Problem> {
    if !target.is_service() {
        return Ok(());
    }
    let only = "belongs to a target under test; a service has none";
    if let Some(variant) = &target.variant {
        return Err(problem(variant, format!("`variant` {only}")));
    }
    if let Some(version) = &target.version {
        return Err(problem(&version.url, format!("`version` {only}")));
    }
    if let Some(process) = target.processes.first() {
        return Err(problem(process, format!("`processes` {only}")));
    }
    if TAKEN.contains(&target.id.as_str()) {
        return refuse(
            target,
            &format!(
                "is a service, and monitors call something else so; allowed: any other than {}",
                TAKEN.join(", ")
            ),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::suite::tests::suite;

    #[test]
    fn a_service_may_belong_to_one_target_under_test() {
        let refused = |role: &str, with: &str| {
            let ready = "ready = { tcp = \"127.0.0.1:1\", every = \"1s\", limit = \"1s\" }";
            let text = format!(
                "[[scenario]]\nid = \"smoke\"\nscript = \"s.js\"\nlimit = \"30s\"\n\
                 [[target]]\nid = \"shop\"\nkind = \"external\"\n{ready}\n\
                 [[target]]\nid = \"store\"\nkind = \"external\"\nrole = \"{role}\"\nwith = \"{with}\"\n{ready}\n"
            );
            suite(&text).err().map(|error| error.to_string())
        };
        assert_eq!(refused("service", "shop"), None);
        for (role, with, expected) in [
            ("service", "shp", "did you mean `shop`?"),
            ("service", "store", "target under test"),
            ("target", "shop", "`with` belongs to a service"),
        ] {
            let text = refused(role, with).unwrap_or_default();
            assert!(text.contains(expected), "{role}, {with}: {text}");
        }
    }
}
