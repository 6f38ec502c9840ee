//! The target of a run.

use std::collections::BTreeSet;

use crate::suite::Suite;
use crate::suite::scenario::ScenarioTable;
use crate::suite::schema::{TargetKind, TargetTable};
use crate::suite::vars::Vars;
use crate::values::exit;
use crate::values::template::variables;

/// The target of a variant, or the one that the scenario names: an external one whose address the user gave, else the one that the runner starts.
///
/// # Errors
/// There is none for the variant.
pub(crate) fn choose<'a>(
    suite: &'a Suite,
    scenario: &ScenarioTable,
    variant: Option<&str>,
    vars: &Vars,
) -> anyhow::Result<&'a TargetTable> {
    let all = || suite.file.target.iter();
    if scenario.is_alone()
        && let Some(none) = all().find(|target| target.kind == TargetKind::None)
    {
        return Ok(none);
    }
    let named = scenario.target.as_ref().map(|name| name.get_ref());
    let targets = || {
        all().filter(|target| {
            let under_test = !target.is_service() && target.kind != TargetKind::None;
            under_test && named.is_none_or(|name| *name == target.id)
        })
    };
    let of_variant = |target: &&TargetTable| {
        target
            .variant
            .as_ref()
            .is_none_or(|own| Some(own.get_ref().as_str()) == variant)
    };
    let external = targets().find(|target| {
        target.kind == TargetKind::External && of_variant(target) && addressed(target, vars)
    });
    external
        .or_else(|| targets().find(|target| target.is_started() && of_variant(target)))
        .ok_or_else(|| {
            let names: Vec<&str> = targets().flat_map(address_variables).collect();
            exit::set_up(format!(
                "no target for variant {}: the runner starts none, and no address is given ({})",
                variant.unwrap_or("(none)"),
                names.join(", ")
            ))
        })
}

/// The variables that the address of a target is made of.
pub(super) fn address_variables(target: &TargetTable) -> Vec<&str> {
    let address = target.ready.url.as_ref().or(target.ready.tcp.as_ref());
    address.map_or_else(Vec::new, |address| variables(address.get_ref()))
}

/// What is to be said where runs test what the suite brings along, and would test somebody's own target if its address were given: who
/// forgot to give it would take the verdict for that of the own one. `runs`: the target of each, and the variant.
pub(crate) fn own_of_suite<'a>(
    suite: &Suite,
    runs: impl Iterator<Item = (&'a TargetTable, Option<&'a str>)>,
) -> Option<String> {
    let (mut unnamed, mut tested) = (BTreeSet::new(), BTreeSet::new());
    for (target, variant) in runs.filter(|(target, _)| target.kind == TargetKind::Builtin) {
        let others = suite.file.target.iter().filter(|other| {
            let own = other.variant.as_ref().map(|own| own.get_ref().as_str());
            other.kind == TargetKind::External
                && !other.is_service()
                && (own.is_none() || own == variant)
        });
        let mut names = others.flat_map(address_variables).peekable();
        if names.peek().is_some() {
            unnamed.extend(names);
            tested.insert(target.id.as_str());
        }
    }
    let all = |names: BTreeSet<&str>| Vec::from_iter(names).join(", ");
    (!tested.is_empty()).then(|| {
        format!(
            "target   without {} the suite's own target is tested: {}",
            all(unnamed),
            all(tested)
        )
    })
}

fn addressed(target: &TargetTable, vars: &Vars) -> bool {
    address_variables(target)
        .iter()
        .all(|name| vars.get(name).is_some())
}

/// The variable that holds the address of the target.
pub(crate) const ADDRESS: &str = "BASE_URL";

/// The services of a run with this target under test, in the order of the file.
pub(super) fn services<'a>(suite: &'a Suite, under_test: &TargetTable) -> Vec<&'a TargetTable> {
    let needed = |target: &&TargetTable| {
        let of = target.with.as_ref();
        target.is_service() && of.is_none_or(|of| *of.get_ref() == under_test.id)
    };
    suite.file.target.iter().filter(needed).collect()
}

/// Refuses an address for a target that the runner starts: what was started would be known by its hash, and the load would
/// go to something else.
///
/// # Errors
/// The text names the address and the target.
pub(super) fn own_addresses(target: &TargetTable, vars: &Vars) -> anyhow::Result<()> {
    if !target.is_started() {
        return Ok(());
    }
    let of_all = (!target.is_service()).then_some(ADDRESS);
    let own = target.addresses.keys().map(|name| name.get_ref().as_str());
    for name in of_all.into_iter().chain(own) {
        if let Some(address) = vars.shown(name) {
            return Err(exit::set_up(format!(
                "{name}={address} is given, and the runner starts the target {} itself; unset {name}, or declare a target of kind `external`",
                target.id
            )));
        }
    }
    Ok(())
}
