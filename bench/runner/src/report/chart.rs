//! Charts as SVG that takes its colours from the page, so that one drawing serves light and dark.

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::hover::{self, Spot};
use super::series::Points;
use crate::compare::cells::{Cell, Variant};
use crate::values::text::figure;

/// Small enough to be read on a phone at full width; wider screens show several side by side.
const SIZE: (u32, u32) = (420, 270);
/// Height of one row of the chart of ratios.
const ROW: u32 = 46;
/// Colours of variants that the page defines.
const COLOURS: usize = 6;

// Placeholders, replaced by what the page says.
const INK: RGBColor = RGBColor(1, 0, 0);
const GRID: RGBColor = RGBColor(1, 0, 1);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// One run's line.
#[derive(Debug)]
pub(crate) struct Line {
    /// Index of the variant.
    pub(crate) variant: usize,
    pub(crate) points: Points,
}

/// The name under which the page knows a variant's colour.
pub(crate) fn colour_name(variant: usize) -> String {
    format!("v{}", variant % COLOURS)
}

fn colour(variant: usize) -> RGBColor {
    RGBColor(
        1,
        0,
        16 + u8::try_from(variant % COLOURS).unwrap_or_default(),
    )
}

fn font() -> TextStyle<'static> {
    TextStyle::from(("sans-serif", 15).into_font()).color(&INK)
}

fn draw(
    size: (u32, u32),
    label: &str,
    paint: impl FnOnce(&Area<'_>) -> Result<Vec<Spot>, Box<dyn std::error::Error>>,
) -> anyhow::Result<String> {
    let mut svg = String::new();
    let spots = {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        paint(&root)
            .and_then(|spots| Ok(root.present().map(|()| spots)?))
            .map_err(|error| anyhow!("drawing {label}: {error}"))?
    };
    Ok(hover::overlaid(&themed(&svg, label), &spots))
}

/// Puts the page's colours in the place of the placeholders and gives the drawing a name.
fn themed(svg: &str, label: &str) -> String {
    let hex = |RGBColor(r, g, b): RGBColor| format!("\"#{r:02X}{g:02X}{b:02X}\"");
    let mut svg = svg
        .replace(&hex(INK), "\"var(--ink)\"")
        .replace(&hex(GRID), "\"var(--grid)\"");
    for variant in 0..COLOURS {
        let name = format!("\"var(--{})\"", colour_name(variant));
        svg = svg.replace(&hex(colour(variant)), &name);
    }
    let label = hover::escaped(label);
    svg.replacen(
        "<svg ",
        &format!("<svg role=\"img\" aria-label=\"{label}\" "),
        1,
    )
}

/// Bounds with some air; `zero` keeps the axis honest for amounts.
fn bounds(values: impl Iterator<Item = f64> + Clone, zero: bool) -> (f64, f64) {
    let low = values.clone().fold(f64::INFINITY, f64::min);
    let high = values.fold(f64::NEG_INFINITY, f64::max);
    if !(low.is_finite() && high.is_finite()) {
        return (0.0, 1.0);
    }
    let air = if high > low {
        (high - low) * 0.08
    } else {
        (high.abs() * 0.05).max(0.5)
    };
    (if zero { 0.0 } else { low - air }, high + air)
}

/// Every cycle's value of each variant, with the interval of the variant's mean beside them.
pub(crate) fn values(cell: &Cell, label: &str) -> anyhow::Result<String> {
    let all = cell.variants.iter().flat_map(|variant| {
        let mean = variant.spread.as_ref().and_then(|spread| spread.mean);
        let ends = mean.map_or([None, None], |mean| [Some(mean.low), Some(mean.high)]);
        variant
            .values
            .iter()
            .map(|value| value.value)
            .chain(ends.into_iter().flatten())
    });
    let (low, high) = bounds(all, false);
    let last = index(cell.variants.len()) - 0.5;
    draw(SIZE, label, |root| {
        let mut chart = ChartBuilder::on(root)
            .margin(8)
            .x_label_area_size(26)
            .y_label_area_size(60)
            .build_cartesian_2d(-0.5..last, low..high)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GRID)
            .label_style(font())
            .x_labels(0)
            .y_labels(5)
            .y_label_formatter(&|value| figure(*value))
            .draw()?;
        let mut spots = Vec::new();
        for (i, variant) in cell.variants.iter().enumerate() {
            let centre = index(i);
            spots.extend(points(&mut chart, variant, i)?);
            if let Some(mean) = variant.spread.as_ref().and_then(|spread| spread.mean) {
                chart.draw_series([ErrorBar::new_vertical(
                    centre + 0.38,
                    mean.low,
                    mean.value,
                    mean.high,
                    colour(i).stroke_width(2).filled(),
                    10,
                )])?;
                let text = format!(
                    "{}: geometric mean {} [{}, {}]",
                    variant.name,
                    figure(mean.value),
                    figure(mean.low),
                    figure(mean.high)
                );
                let at = chart.backend_coord(&(centre + 0.38, mean.value));
                spots.push(Spot::around(at, text));
            }
            let (x, _) = chart.backend_coord(&(centre, low));
            let style = font().pos(Pos::new(HPos::Center, VPos::Top));
            root.draw_text(&variant.name, &style, (x, bottom(SIZE.1) - 26))?;
        }
        Ok(spots)
    })
}

type Plane<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
>;

/// The points of a variant, from left to right in the order of the cycles; hollow where a value is far from the others.
fn points(
    chart: &mut Plane<'_, '_>,
    variant: &Variant,
    i: usize,
) -> Result<Vec<Spot>, Box<dyn std::error::Error>> {
    let mut spots = Vec::new();
    let step = 0.6 / index(variant.values.len().max(2) - 1);
    for (k, value) in variant.values.iter().enumerate() {
        let at = (index(i) - 0.35 + step * index(k), value.value);
        let style = if value.outlier {
            colour(i).stroke_width(2)
        } else {
            colour(i).filled()
        };
        match i % 3 {
            0 => chart.draw_series([Circle::new(at, 4, style)])?,
            1 => chart.draw_series([TriangleMarker::new(at, 5, style)])?,
            _ => chart.draw_series([Cross::new(at, 4, colour(i).stroke_width(2))])?,
        };
        let text = format!(
            "{}, cycle {}: {}",
            variant.name,
            value.cycle,
            figure(value.value)
        );
        spots.push(Spot::around(chart.backend_coord(&at), text));
    }
    Ok(spots)
}

/// All ratios below each other, in percent more or less than the base, with the line of no difference.
pub(crate) fn ratios(cells: &[Cell], label: &str) -> anyhow::Result<String> {
    let rows: Vec<(String, f64, f64, f64, usize)> = cells
        .iter()
        .flat_map(|cell| {
            cell.comparisons
                .iter()
                .enumerate()
                .filter_map(|(i, comparison)| {
                    let ratio = comparison.ratio.as_ref()?;
                    let percent = |ratio: f64| (ratio - 1.0) * 100.0;
                    let point = if cell.point.is_empty() {
                        &cell.scenario
                    } else {
                        &cell.point
                    };
                    Some((
                        format!("{}, {}, {point}", cell.metric, comparison.variant),
                        percent(ratio.interval.value),
                        percent(ratio.interval.low),
                        percent(ratio.interval.high),
                        i + 1,
                    ))
                })
        })
        .collect();
    if rows.is_empty() {
        return Ok(String::new());
    }
    let ends = rows.iter().flat_map(|row| [row.2, row.3, 0.0]);
    let (low, high) = bounds(ends, false);
    let height = u32::try_from(rows.len()).unwrap_or(1) * ROW + 50;
    draw((SIZE.0, height), label, |root| {
        let mut chart = ChartBuilder::on(root)
            .margin(8)
            .margin_right(20)
            .margin_left(20)
            .x_label_area_size(30)
            .build_cartesian_2d(low..high, 0.0..index(rows.len()))?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GRID)
            .label_style(font())
            .y_labels(0)
            .x_labels(5)
            .x_label_formatter(&|value| format!("{} %", signed(*value)))
            .draw()?;
        let mut spots = Vec::new();
        for (i, (name, value, from, to, variant)) in rows.iter().enumerate() {
            let y = index(rows.len() - i) - 0.78;
            let style = colour(*variant);
            let none = [(0.0, y - 0.22), (0.0, y + 0.22)];
            chart.draw_series([PathElement::new(none, INK.stroke_width(2))])?;
            chart.draw_series([ErrorBar::new_horizontal(
                y,
                *from,
                *value,
                *to,
                style.stroke_width(2).filled(),
                9,
            )])?;
            let (_, at) = chart.backend_coord(&(*value, y + 0.46));
            let style = font().pos(Pos::new(HPos::Left, VPos::Center));
            root.draw_text(name, &style, (8, at))?;
            let width = i32::try_from(SIZE.0).unwrap_or(i32::MAX);
            spots.push(Spot {
                x: 0,
                y: at - 12,
                width,
                height: i32::try_from(ROW).unwrap_or(i32::MAX),
                text: format!(
                    "{name}: {} % [{}, {}]",
                    signed(*value),
                    signed(*from),
                    signed(*to)
                ),
            });
        }
        Ok(spots)
    })
}

fn signed(percent: f64) -> String {
    let text = figure((percent * 10.0).round() / 10.0);
    if percent > 0.0 {
        format!("+{text}")
    } else {
        text
    }
}

/// What the lines of a chart are of.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Axes<'a> {
    /// What runs from left to right.
    pub(crate) x: &'a str,
    /// The variants.
    pub(crate) names: &'a [&'a str],
    /// Mark the moment that everything counts from.
    pub(crate) gate: bool,
    /// Values at which a line goes from side to side.
    pub(crate) limits: &'a [f64],
    /// A part from left to right that is shaded.
    pub(crate) window: Option<(f64, f64)>,
    /// The axis of the values need not begin at 0.
    pub(crate) not_from_zero: bool,
}

/// One line per run; empty if there is nothing to draw.
pub(crate) fn lines(lines: &[Line], axes: Axes<'_>, label: &str) -> anyhow::Result<String> {
    let points = || lines.iter().flat_map(|line| line.points.iter().copied());
    // An axis without an end would be divided for ever.
    if points().next().is_none() || points().any(|point| !(point.0 + point.1).is_finite()) {
        return Ok(String::new());
    }
    let (left, right) = (
        points().map(|point| point.0).fold(f64::INFINITY, f64::min),
        points()
            .map(|point| point.0)
            .fold(f64::NEG_INFINITY, f64::max),
    );
    let (low, high) = bounds(
        points()
            .map(|point| point.1)
            .chain(axes.limits.iter().copied())
            .collect::<Vec<_>>()
            .into_iter(),
        !axes.not_from_zero,
    );
    let right = if right > left { right } else { left + 1.0 };
    draw(SIZE, label, |root| {
        let mut chart = ChartBuilder::on(root)
            .margin(8)
            .margin_right(16)
            .x_label_area_size(44)
            .y_label_area_size(60)
            .build_cartesian_2d(left..right, low..high)?;
        if let Some((from, to)) = axes.window {
            let (from, to) = (from.clamp(left, right), to.clamp(left, right));
            let shade = Rectangle::new([(from, low), (to, high)], GRID.mix(0.4).filled());
            chart.draw_series([shade])?;
        }
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GRID)
            .label_style(font())
            .axis_desc_style(font())
            .x_desc(axes.x)
            .x_labels(6)
            .y_labels(5)
            .x_label_formatter(&|value| figure(*value))
            .y_label_formatter(&|value| figure(*value))
            .draw()?;
        for line in lines {
            let style = colour(line.variant).mix(0.75).stroke_width(2);
            chart.draw_series(LineSeries::new(line.points.iter().copied(), style))?;
        }
        for &limit in axes.limits {
            let ends = [(left, limit), (right, limit)];
            chart.draw_series(DashedLineSeries::new(ends, 6, 4, INK.stroke_width(1)))?;
        }
        if axes.gate && left <= 0.0 && right > 0.0 {
            let gate = [(0.0, low), (0.0, high)];
            chart.draw_series([PathElement::new(gate, INK.stroke_width(2))])?;
            let (x, y) = chart.backend_coord(&(0.0, high));
            // Beside the line, on the side that has room.
            let (side, shift) = if x > bottom(SIZE.0) / 2 {
                (HPos::Right, -6)
            } else {
                (HPos::Left, 6)
            };
            let style = font().pos(Pos::new(side, VPos::Top));
            root.draw_text("the gate opens", &style, (x + shift, y))?;
        }
        Ok(strips(
            &chart,
            lines,
            axes.names,
            (left, right),
            (low, high),
        ))
    })
}

/// Strips of a chart over time, each with the values of the lines in it.
fn strips(
    chart: &Plane<'_, '_>,
    lines: &[Line],
    names: &[&str],
    (left, right): (f64, f64),
    (low, high): (f64, f64),
) -> Vec<Spot> {
    const STRIPS: usize = 40;
    let width = (right - left) / index(STRIPS);
    let mut spots = Vec::new();
    for strip in 0..STRIPS {
        let from = left + width * index(strip);
        let to = from + width;
        let inside = |x: f64| from <= x && (x < to || strip + 1 == STRIPS);
        let mut text = format!("{} to {}", figure(from), figure(to));
        let empty = text.len();
        for (i, name) in names.iter().enumerate() {
            let own = lines.iter().filter(|line| line.variant == i);
            let values = own
                .flat_map(|line| &line.points)
                .filter(|point| inside(point.0));
            let (least, most) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |ends, point| {
                (ends.0.min(point.1), ends.1.max(point.1))
            });
            if least < most {
                text.push_str(&format!("\n{name}: {} to {}", figure(least), figure(most)));
            } else if least.is_finite() {
                text.push_str(&format!("\n{name}: {}", figure(least)));
            }
        }
        if text.len() == empty {
            continue;
        }
        let (x, y) = chart.backend_coord(&(from, high));
        let (end, bottom) = chart.backend_coord(&(to, low));
        spots.push(Spot {
            x,
            y,
            width: end - x,
            height: bottom - y,
            text,
        });
    }
    spots
}

#[expect(
    clippy::cast_precision_loss,
    reason = "numbers of variants and cycles are far below 2^52"
)]
fn index(i: usize) -> f64 {
    i as f64
}

fn bottom(height: u32) -> i32 {
    i32::try_from(height).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawings_take_every_colour_from_the_page() {
        let line = |variant| Line {
            variant,
            points: vec![(0.0, 1.0), (1.0, 2000.0)],
        };
        let axes = Axes {
            x: "s",
            names: &["zset", "hash"],
            gate: true,
            ..Axes::default()
        };
        let svg = lines(&[line(0), line(1), line(7)], axes, "a < \"b\"").expect("svg");
        assert!(svg.contains("<title>0 to 0.02"), "{svg}");
        assert!(svg.contains("hash: 2,000</title>"), "{svg}");
        assert!(svg.contains("aria-label=\"a &lt; &quot;b&quot;\""), "{svg}");
        for part in ["var(--ink)", "var(--grid)", "var(--v0)", "var(--v1)"] {
            assert!(svg.contains(part), "{part}: {svg}");
        }
        assert!(!svg.contains("\"#"), "{svg}");
    }

    #[test]
    fn a_chart_needs_neither_spread_nor_time() {
        for points in [vec![], vec![(3.0, 5.0)], vec![(0.0, 0.0), (0.0, 0.0)]] {
            let axes = Axes {
                x: "s",
                names: &["zset"],
                ..Axes::default()
            };
            lines(&[Line { variant: 0, points }], axes, "x").expect("svg");
        }
    }
}
