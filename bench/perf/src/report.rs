//! The table in Markdown, everything in JSON.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use barrier_stats::median::Estimate;
use serde::Serialize;

use crate::machine::Machine;
use crate::rows::Line;
use crate::samples::Samples;

/// All that a run of this tool says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    pub(crate) schema_version: u32,
    pub(crate) started: String,
    pub(crate) command: String,
    pub(crate) machine: Machine,
    pub(crate) users: u32,
    pub(crate) cycles: u32,
    pub(crate) seconds: f64,
    pub(crate) rows: Vec<Line>,
    /// What one should know of the run.
    pub(crate) notes: Vec<String>,
    /// What could not be measured, and why.
    pub(crate) failures: Vec<String>,
    pub(crate) samples: Samples,
}

impl Report {
    /// Writes both forms; those of an earlier cycle are replaced.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let json = serde_json::to_string_pretty(self)? + "\n";
        for (name, text) in [("perf.json", json), ("perf.md", self.markdown())] {
            let path = folder.join(name);
            std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }

    /// The table with what one needs to know to read it.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        let m = &self.machine;
        let _ = writeln!(
            text,
            "Measured {} on {} with {} CPUs, {} GB, Linux {}; {}; Redis {}; `{}`; {} cycles in {:.0} s.\n",
            self.started,
            m.cpu,
            m.cpus,
            m.memory_gb,
            m.kernel,
            m.k6,
            m.redis,
            self.command,
            self.cycles,
            self.seconds
        );
        text.push_str(
            "| Case | Figure | Peer | Ratio or difference | Goal | |\n|---|---|---|---|---|---|\n",
        );
        for line in &self.rows {
            let peer = match (line.peer_name, line.peer) {
                (Some(name), Some(peer)) => format!("{}, {name}", shown(&peer, line.unit)),
                _ => String::new(),
            };
            let compared = line
                .compared
                .map(|c| shown(&c, line.compared_unit))
                .unwrap_or_default();
            let reached = match line.reached {
                Some(true) => "reached",
                Some(false) => "**not reached**",
                None => "",
            };
            let _ = writeln!(
                text,
                "| {} | {} | {peer} | {compared} | {} | {reached} |",
                line.title,
                line.figure
                    .map_or_else(|| "not measured".to_owned(), |f| shown(&f, line.unit)),
                line.goal.as_deref().unwrap_or_default(),
            );
        }
        let confidence = |line: &Line| {
            line.compared
                .or(line.figure)
                .map(|e| (e.confidence, e.values))
        };
        let (least, values) = self
            .rows
            .iter()
            .filter_map(confidence)
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .unwrap_or((0.0, 0));
        let _ = writeln!(
            text,
            "\nEach figure is the median over cycles, with the interval that holds the true median in brackets; the fewest \
             cycles of a row are {values}, which makes its interval one of {:.0} %. Ratios are taken within each cycle. \
             Rows without a goal are peers.",
            least * 100.0
        );
        for note in &self.notes {
            let _ = writeln!(text, "\n{note}");
        }
        for failure in &self.failures {
            let _ = writeln!(text, "\nNot measured: {failure}");
        }
        text
    }
}

/// `12.3 ms (11.9 to 14.0)`.
fn shown(estimate: &Estimate, unit: &str) -> String {
    let unit = if unit.is_empty() {
        String::new()
    } else {
        format!(" {unit}")
    };
    let median = number(estimate.median);
    if estimate.values < 2 || (estimate.low == estimate.high && estimate.low == estimate.median) {
        return format!("{median}{unit}");
    }
    format!(
        "{median}{unit} ({} to {})",
        number(estimate.low),
        number(estimate.high)
    )
}

/// Three digits that count; whole numbers as they are.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if value.fract() == 0.0 && size < 1000.0 {
        format!("{value:.0}")
    } else if size >= 1000.0 {
        let sign = if value < 0.0 { "-" } else { "" };
        // Rounded, positive and small enough: no digit is lost.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let whole = size.round().min(f64::from(u32::MAX)) as u32;
        format!("{sign}{}", crate::goals::thousands(whole))
    } else if size >= 100.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else if size >= 1.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(median: f64, low: f64, high: f64, values: usize) -> Estimate {
        Estimate {
            median,
            low,
            high,
            confidence: 0.75,
            values,
        }
    }

    #[test]
    fn numbers_have_three_digits_that_count() {
        assert_eq!(
            [0.0, 1.0, 0.12345, 1.2345, 12.345, 123.45, 12345.6, -2000.4].map(number),
            ["0", "1", "0.123", "1.23", "12.3", "123", "12,346", "-2,000"]
        );
    }

    #[test]
    fn the_table_says_what_was_reached_and_what_was_not_measured() {
        let line = |title: &str, figure, compared, reached| Line {
            title: title.into(),
            unit: "ms",
            figure,
            peer_name: Some("plain k6"),
            peer: Some(estimate(80.0, 79.0, 82.5, 3)),
            compared,
            compared_unit: "×",
            goal: Some("≤ 1.1 ×".into()),
            reached,
        };
        let report = Report {
            schema_version: 1,
            started: "2026-01-01".into(),
            command: "make perf".into(),
            machine: Machine::default(),
            users: 20,
            cycles: 3,
            seconds: 61.4,
            rows: vec![
                line(
                    "one",
                    Some(estimate(84.0, 80.0, 90.0, 3)),
                    Some(estimate(1.05, 1.01, 1.3, 3)),
                    Some(true),
                ),
                line(
                    "two",
                    Some(estimate(160.0, 150.0, 170.0, 3)),
                    Some(estimate(2.0, 1.9, 2.1, 3)),
                    Some(false),
                ),
                line("three", None, None, None),
            ],
            notes: vec!["The time was up.".into()],
            failures: vec!["case/three: it was too slow".into()],
            samples: Samples::default(),
        };
        let text = report.markdown();
        let expected = "| one | 84 ms (80 to 90) | 80 ms (79 to 82.5), plain k6 | 1.05 × (1.01 to 1.30) | ≤ 1.1 × | reached |";
        assert!(text.contains(expected), "{text}");
        assert!(
            text.contains("| two |") && text.contains("| **not reached** |"),
            "{text}"
        );
        assert!(text.contains("| three | not measured |"), "{text}");
        assert!(text.contains("\nThe time was up.\n"), "{text}");
        assert!(
            text.contains("Not measured: case/three: it was too slow"),
            "{text}"
        );
        assert!(
            text.contains("are 3, which makes its interval one of 75 %"),
            "{text}"
        );
    }
}
