//! Values on hover, without a script: a browser shows the title of the shape below the pointer.

use std::fmt::Write as _;

/// A part of a drawing that tells something.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spot {
    pub(super) x: i32,
    pub(super) y: i32,
    pub(super) width: i32,
    pub(super) height: i32,
    pub(super) text: String,
}

impl Spot {
    /// Around a mark.
    pub(super) fn around((x, y): (i32, i32), text: String) -> Self {
        const REACH: i32 = 7;
        Self {
            x: x - REACH,
            y: y - REACH,
            width: 2 * REACH,
            height: 2 * REACH,
            text,
        }
    }
}

/// Lays the spots over a finished drawing.
pub(super) fn overlaid(svg: &str, spots: &[Spot]) -> String {
    let mut shapes = String::new();
    for spot in spots {
        let text = escaped(&spot.text);
        // Writing to a text cannot fail.
        let _ = write!(
            shapes,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"><title>{text}</title></rect>",
            spot.x, spot.y, spot.width, spot.height
        );
    }
    let Some(end) = svg.rfind("</svg>") else {
        return svg.to_owned();
    };
    format!(
        "{}<g class=\"hover\">{shapes}</g>{}",
        &svg[..end],
        &svg[end..]
    )
}

/// A text inside of an element or an attribute.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('"', "&quot;")
        .replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spot_tells_its_text() {
        let spot = Spot::around((10, 20), "a < b".to_owned());
        assert_eq!(
            overlaid("<svg></svg>\n", &[spot]),
            "<svg><g class=\"hover\"><rect x=\"3\" y=\"13\" width=\"14\" height=\"14\"><title>a &lt; b</title></rect></g></svg>\n"
        );
    }
}
