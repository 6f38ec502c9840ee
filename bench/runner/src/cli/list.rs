//! The verb `list`, and the suites that a call means.

use std::path::{Path, PathBuf};

use crate::suite::{self, Suite};
use crate::terminal::say;
use crate::values::exit;
use crate::values::text::from_here;
use crate::values::value::plain;

/// These suites, or all of the checkout.
///
/// # Errors
/// One cannot be read or does not hold together, or there is no folder of suites.
pub(super) fn load_all(files: &[PathBuf]) -> anyhow::Result<Vec<Suite>> {
    let found = if files.is_empty() {
        suite::in_folder(Path::new(suite::FOLDER)).map_err(|_| {
            exit::set_up(format!(
                "no folder {}; call from the root of a checkout, or name the files",
                from_here(Path::new(suite::FOLDER)).display()
            ))
        })?
    } else {
        files.to_vec()
    };
    found
        .iter()
        .map(|path| Suite::load(&path.display().to_string()))
        .collect()
}

/// Says what a suite holds.
pub(super) fn list(suite: &Suite) {
    let head = &suite.file.suite;
    let order: Vec<&str> = head
        .order
        .iter()
        .map(|name| name.get_ref().as_str())
        .collect();
    say(&format!(
        "{}  {} ({})",
        head.id,
        head.title,
        suite.path.display()
    ));
    for scenario in &suite.file.scenario {
        let variants: Vec<&str> = scenario
            .variants
            .iter()
            .map(|variant| variant.get_ref().as_str())
            .collect();
        let set: Vec<String> = scenario
            .set
            .iter()
            .map(|(name, value)| format!("{}={}", name.get_ref(), plain(value)))
            .collect();
        let id = scenario.id.get_ref().as_str();
        let axes: Vec<String> = scenario
            .axis
            .iter()
            .map(|axis| {
                let levels: Vec<String> = axis.levels.iter().map(plain).collect();
                format!("{}={}", axis.env.get_ref(), levels.join("|"))
            })
            .collect();
        let stub = scenario.stub.as_ref().map_or("", |_| "  (not implemented)");
        let by_default = if order.contains(&id) {
            "  (runs by default)"
        } else {
            ""
        };
        say(&format!(
            "  {id:<10} variants {:<12} {}{by_default}{stub}",
            variants.join(", "),
            [axes, set].concat().join(" ")
        ));
    }
}
