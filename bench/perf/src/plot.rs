//! One picture per case: every value of every run, and the median of each.

use std::path::Path;

use barrier_stats::median::median;
use plotters::prelude::*;

use crate::samples::Samples;

const SIZE: (u32, u32) = (900, 420);
/// From this ratio of the largest to the smallest value on, the scale is logarithmic.
const WIDE: f64 = 20.0;

/// Draws the figure of the runs into a file; nothing where there are no values.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn draw(
    path: &Path,
    case: &str,
    variants: &[&str],
    (figure, unit): (&str, &str),
    samples: &Samples,
) -> anyhow::Result<()> {
    let runs: Vec<(&str, Vec<f64>)> = variants
        .iter()
        .filter_map(|variant| {
            let values: Vec<f64> = samples
                .of(&format!("{case}/{variant}"), figure)?
                .values()
                .flatten()
                .copied()
                .collect();
            Some((*variant, values))
        })
        .collect();
    let all = || {
        runs.iter()
            .flat_map(|(_, values)| values.iter().copied())
            .filter(|v| *v > 0.0)
    };
    let (low, high) = all().fold((f64::MAX, 0.0), |(low, high): (f64, f64), v| {
        (low.min(v), high.max(v))
    });
    if low > high {
        return Ok(());
    }
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    let failed = |e: &dyn std::fmt::Display| anyhow::anyhow!("drawing {}: {e}", path.display());
    root.fill(&WHITE).map_err(|e| failed(&e))?;
    let columns = f64::from(u32::try_from(runs.len()).unwrap_or(u32::MAX));
    let mut builder = ChartBuilder::on(&root);
    builder
        .caption(
            format!(
                "{case}: {}, in {unit}",
                figure.trim_end_matches("_ms").replace('_', " ")
            ),
            ("sans-serif", 18),
        )
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(70);
    // The two kinds of scale are two types.
    macro_rules! chart {
        ($range:expr) => {{
            let mut chart = builder
                .build_cartesian_2d(0.0..columns, $range)
                .map_err(|e| failed(&e))?;
            let name = |at: &f64| {
                let column = runs
                    .iter()
                    .zip(0_u32..)
                    .find(|(_, column)| (f64::from(*column) + 0.5 - at).abs() < 0.01);
                column
                    .map(|((name, _), _)| (*name).to_owned())
                    .unwrap_or_default()
            };
            chart
                .configure_mesh()
                .disable_x_mesh()
                .x_labels(runs.len() * 2 + 1)
                .x_label_formatter(&name)
                .y_desc(unit)
                .draw()
                .map_err(|e| failed(&e))?;
            for ((_, values), column) in runs.iter().zip(0_u32..) {
                let left = f64::from(column);
                let step =
                    0.6 / f64::from(u32::try_from(values.len()).unwrap_or(u32::MAX)).max(1.0);
                let points = values.iter().zip(0_u32..).map(|(value, at)| {
                    Circle::new(
                        (left + 0.2 + (f64::from(at) + 0.5) * step, *value),
                        3,
                        BLUE.mix(0.5).filled(),
                    )
                });
                chart.draw_series(points).map_err(|e| failed(&e))?;
                let middle = median(values).unwrap_or_default();
                let line = PathElement::new(
                    vec![(left + 0.1, middle), (left + 0.9, middle)],
                    BLACK.stroke_width(2),
                );
                chart.draw_series([line]).map_err(|e| failed(&e))?;
            }
        }};
    }
    if high / low > WIDE {
        chart!((low / 2.0..high * 2.0).log_scale());
    } else {
        chart!(0.0..high * 1.1);
    }
    root.present().map_err(|e| failed(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_and_median_is_drawn_and_every_run_named() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("plot.svg");
        for slowest in [12.0, 1200.0] {
            let mut samples = Samples::default();
            samples.add("case/ours", 1, [("x_ms", vec![1.0, 2.0])]);
            samples.add("case/peer", 1, [("x_ms", vec![slowest])]);
            draw(
                &path,
                "case",
                &["ours", "absent", "peer"],
                ("x_ms", "ms"),
                &samples,
            )
            .expect("drawn");
            let svg = std::fs::read_to_string(&path).expect("a picture");
            assert_eq!(svg.matches("<circle").count(), 3);
            assert!(
                svg.contains("ours") && svg.contains("peer") && !svg.contains("absent"),
                "{svg}"
            );
        }
    }

    #[test]
    fn without_values_there_is_no_picture() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("plot.svg");
        draw(
            &path,
            "case",
            &["ours"],
            ("x_ms", "ms"),
            &Samples::default(),
        )
        .expect("nothing to do");
        assert!(!path.exists());
    }
}
