//! The points of a scenario: one, the listed ones, or every combination of the levels of its axes.

use crate::suite::scenario::{PRIORITY, PlanKind, Priority, ScenarioTable};
use crate::suite::vars::Point;
use crate::values::exit;
use crate::values::value::plain;

/// The points in the order of the plan, narrowed to the asked levels. Several levels of one variable are alternatives.
///
/// # Errors
/// No point has such a level.
pub(super) fn of(
    scenario: &ScenarioTable,
    levels: &[(String, String)],
) -> anyhow::Result<Vec<Point>> {
    let all = match scenario.plan {
        PlanKind::Single => vec![Point::new()],
        PlanKind::Points => listed(scenario),
        PlanKind::Ladder if scenario.axis.is_empty() => listed(scenario),
        PlanKind::Product | PlanKind::Ladder => product(scenario),
    };
    let kept: Vec<Point> = all
        .iter()
        .filter(|point| {
            point.iter().all(|(name, value)| {
                let mut asked = levels.iter().filter(|(of, _)| of == name).peekable();
                asked.peek().is_none() || asked.any(|(_, level)| level == value)
            })
        })
        .cloned()
        .collect();
    if kept.is_empty() {
        return Err(exit::set_up(format!(
            "--level: scenario {} has no such point; it has {}",
            scenario.id.get_ref(),
            all.iter().map(shown).collect::<Vec<_>>().join("; ")
        )));
    }
    Ok(kept)
}

/// Whether a point of the scenario sets the variable.
pub(super) fn varies(scenario: &ScenarioTable, name: &str) -> bool {
    scenario.axis.iter().any(|axis| axis.env.get_ref() == name)
        || scenario.points.iter().any(|point| point.contains_key(name))
}

/// A point as text.
pub(crate) fn shown(point: &Point) -> String {
    point
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join(" ")
}

fn listed(scenario: &ScenarioTable) -> Vec<Point> {
    let mut points: Vec<(Priority, Point)> = scenario
        .points
        .iter()
        .map(|table| {
            let priority = table
                .get(PRIORITY)
                .and_then(|value| value.clone().try_into().ok())
                .unwrap_or(Priority::Low);
            // In the order of the file, which the parsed table does not keep.
            let mut keys: Vec<_> = table
                .iter()
                .filter(|(name, _)| name.get_ref() != PRIORITY)
                .collect();
            keys.sort_by_key(|(name, _)| name.span().start);
            let point = keys
                .into_iter()
                .map(|(name, value)| (name.get_ref().clone(), plain(value)))
                .collect();
            (priority, point)
        })
        .collect();
    points.sort_by_key(|(priority, _)| *priority);
    points.into_iter().map(|(_, point)| point).collect()
}

fn product(scenario: &ScenarioTable) -> Vec<Point> {
    scenario
        .axis
        .iter()
        .fold(vec![Point::new()], |points, axis| {
            points
                .iter()
                .flat_map(|point| {
                    axis.levels.iter().map(move |level| {
                        let mut longer = point.clone();
                        longer.push((axis.env.get_ref().clone(), plain(level)));
                        longer
                    })
                })
                .collect()
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::tests::suite;

    const ENV: &str = "[env.RPS]\ntype = \"int\"\n[env.EPS]\ntype = \"int\"\n\
        [[scenario]]\nid = \"smoke\"\nscript = \"s.js\"\nlimit = \"30s\"\n";

    fn points(plan: &str, levels: &[(&str, &str)]) -> anyhow::Result<Vec<String>> {
        let suite = suite(&format!("{ENV}{plan}")).expect("suite");
        let levels: Vec<_> = levels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Ok(of(&suite.file.scenario[0], &levels)?
            .iter()
            .map(shown)
            .collect())
    }

    const PRODUCT: &str = "plan = \"product\"\naxis = [{ env = \"RPS\", levels = [1, 2] }, { env = \"EPS\", levels = [10, 20] }]\n";

    #[test]
    fn the_first_axis_changes_slowest() {
        assert_eq!(
            points(PRODUCT, &[]).expect("points"),
            [
                "RPS=1 EPS=10",
                "RPS=1 EPS=20",
                "RPS=2 EPS=10",
                "RPS=2 EPS=20"
            ]
        );
    }

    #[test]
    fn levels_narrow_the_points() {
        let some = |levels: &[(&str, &str)]| points(PRODUCT, levels).expect("points");
        assert_eq!(
            some(&[("EPS", "20"), ("RPS", "1"), ("RPS", "2")]),
            ["RPS=1 EPS=20", "RPS=2 EPS=20"]
        );
        let text = points(PRODUCT, &[("RPS", "3")])
            .expect_err("refused")
            .to_string();
        assert!(text.contains("RPS=1 EPS=10; RPS=1 EPS=20"), "{text}");
    }

    #[test]
    fn listed_points_run_by_priority() {
        let list = "plan = \"points\"\npoints = [{ RPS = 1, EPS = 5, priority = \"Low\" }, \
            { RPS = 2, EPS = 5, priority = \"High\" }, { RPS = 3, EPS = 5 }, { RPS = 4, EPS = 5, priority = \"High\" }]\n";
        let expected = ["RPS=2 EPS=5", "RPS=4 EPS=5", "RPS=1 EPS=5", "RPS=3 EPS=5"];
        assert_eq!(points(list, &[]).expect("points"), expected);
    }

    #[test]
    fn a_plan_takes_the_keys_of_its_kind_alone() {
        for (plan, line, expected) in [
            ("plan = \"product\"\n", 14, "needs `axis`"),
            (
                "axis = [{ env = \"RPS\", levels = [1] }]\n",
                14,
                "`axis` needs",
            ),
            ("plan = \"points\"\n", 14, "needs `points`"),
            ("plan = \"stairs\"\n", 17, "product"),
            (
                "plan = \"product\"\naxis = [{ env = \"RSP\", levels = [1] }]\n",
                18,
                "did you mean `RPS`?",
            ),
            (
                "plan = \"product\"\naxis = [{ env = \"RPS\", levels = [\"x\"] }]\n",
                18,
                "whole number",
            ),
            (
                "plan = \"points\"\npoints = [{ RPS = 1, priority = \"Soon\" }]\n",
                18,
                "\"High\"",
            ),
            (
                "plan = \"points\"\npoints = [{ RPS = 1 }]\nset = { RPS = 2 }\n",
                18,
                "fixed value",
            ),
        ] {
            let text = suite(&format!("{ENV}{plan}"))
                .expect_err("refused")
                .to_string();
            assert!(
                text.starts_with(&format!("suites/t.toml:{line}:")) && text.contains(expected),
                "{plan}: {text}"
            );
        }
    }
}
