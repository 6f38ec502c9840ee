//! What the runner knows of the waiting-room harness beside its time limits: its presets, and which events a run uses.

use crate::suite::vars::{RunValues, Value, Vars};
use crate::values::exit;

/// Name, users, and time added to the limit of the users' iterations, ms; mirrors the harness.
const PRESETS: [(&str, i64, i64); 3] = [
    ("baseline", 2000, 300_000),
    ("target", 10_000, 600_000),
    ("stress", 30_000, 60_000),
];

/// Values for variables that a preset stands for; none without a preset.
pub(crate) fn run_values(vars: &Vars) -> RunValues {
    let scenario = vars.text("SCENARIO");
    PRESETS
        .iter()
        .find(|(name, _, _)| scenario.as_deref() == Some(name))
        .map(|(_, users, hold)| {
            RunValues::from([
                ("preset_vus", users.to_string()),
                ("preset_hold_ms", hold.to_string()),
            ])
        })
        .unwrap_or_default()
}

/// What the load of a run is called in its folder: the preset, or the scenario's own name.
pub(crate) fn load_name(vars: &Vars, scenario: &str) -> String {
    vars.text("SCENARIO")
        .filter(|name| name != "custom")
        .unwrap_or_else(|| scenario.to_owned())
}

/// Narrows `EVENT_IDS` to `EVENT_COUNT` of them: one is the first, any other number is the last so many, so that runs
/// with one event and runs with several share none.
///
/// # Errors
/// There are not so many events.
pub(crate) fn choose_events(vars: &mut Vars) -> anyhow::Result<()> {
    if vars.get("EVENT_COUNT").is_none() {
        return Ok(());
    }
    let count = vars.int("EVENT_COUNT")?;
    let events = vars.list("EVENT_IDS")?;
    let chosen = match usize::try_from(count) {
        Ok(1) => &events[..1],
        Ok(n) if (2..=events.len()).contains(&n) => &events[events.len() - n..],
        _ => {
            return Err(exit::set_up(format!(
                "EVENT_COUNT={count} is not possible; allowed: 1 to {}, as many as EVENT_IDS names",
                events.len()
            )));
        }
    };
    let chosen = Value::List(chosen.to_vec());
    vars.replace("EVENT_IDS", chosen);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::vars::Origin;

    fn vars(count: i64) -> Vars {
        let mut vars = Vars::default();
        let events = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
        vars.supply("EVENT_IDS", Value::List(events), Origin::Default);
        vars.supply("EVENT_COUNT", Value::Int(count), Origin::Point);
        vars
    }

    #[test]
    fn one_event_is_the_first_and_four_are_the_others() {
        for (count, expected) in [(1, "a"), (4, "b,c,d,e"), (5, "a,b,c,d,e")] {
            let mut vars = vars(count);
            choose_events(&mut vars).expect("chosen");
            assert_eq!(vars.text("EVENT_IDS").as_deref(), Some(expected));
        }
        for count in [0, 6, -1] {
            let text = choose_events(&mut vars(count))
                .expect_err("refused")
                .to_string();
            assert!(text.starts_with(&format!("EVENT_COUNT={count}")), "{text}");
        }
    }

    #[test]
    fn a_preset_names_the_load() {
        let mut vars = Vars::default();
        assert_eq!(load_name(&vars, "smoke"), "smoke");
        vars.supply(
            "SCENARIO",
            Value::Text("target".to_owned()),
            Origin::Scenario,
        );
        assert_eq!(load_name(&vars, "matrix"), "target");
        assert_eq!(run_values(&vars)["preset_vus"], "10000");
    }
}
