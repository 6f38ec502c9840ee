//! `[[resource]]`: something that a run uses and that there is only so much of; and `[[report.document]]`, which tells of it.

use std::collections::BTreeMap;
use std::path::Path;

use minijinja::Environment;
use serde::Deserialize;
use toml::Spanned;

/// `[[resource]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResourceTable {
    pub(crate) id: Spanned<String>,
    /// What it is called.
    pub(crate) title: String,
    /// Scenarios that use it; all when empty.
    #[serde(default)]
    pub(crate) scenarios: Vec<Spanned<String>>,
    /// How much of it was used: a derived value.
    pub(crate) value: Option<Spanned<String>>,
    /// The same of several that use it: derived values, by who uses it.
    #[serde(default)]
    pub(crate) parts: BTreeMap<String, Spanned<String>>,
    /// How much of it there is: a number, a text that becomes one, or [`PROCESSORS`]. Without it nothing is saturated.
    pub(crate) limit: Option<Spanned<toml::Value>>,
    pub(crate) unit: Option<String>,
    /// From which share of that on it is saturated.
    pub(crate) at: Option<Spanned<f64>>,
    /// What it means that it is, and what helps.
    pub(crate) say: Option<String>,
}

/// The limit of processor time: 100 % of each processor that the services of the run have.
pub(crate) const PROCESSORS: &str = "processors";

/// Where the suite says nothing else, a resource is saturated from this share on.
const SATURATED: f64 = 0.9;

impl ResourceTable {
    /// From which share on it is saturated.
    pub(crate) fn saturated_at(&self) -> f64 {
        self.at.as_ref().map_or(SATURATED, |at| *at.get_ref())
    }

    /// The derived values that it takes.
    pub(super) fn values(&self) -> impl Iterator<Item = &Spanned<String>> {
        self.value.iter().chain(self.parts.values())
    }
}

/// `[[report.document]]`: a text for people, filled from the evidence of a plan.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DocumentTable {
    /// Its name, beside the plan.
    pub(crate) file: Spanned<String>,
    /// The file with its template.
    pub(crate) template: Spanned<String>,
}

impl DocumentTable {
    /// What its template is called beside a plan, so that evidence can be reported of anywhere.
    pub(crate) fn kept(&self) -> String {
        format!("{}.template", self.file.get_ref())
    }

    /// Whether its template is there and can be read.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub(super) fn look(&self, path: &Path) -> Result<(), String> {
        let wrong = |why: &dyn std::fmt::Display| format!("`template`: {}: {why}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
        let mut environment = Environment::new();
        let added = environment.add_template("document", &text);
        added.map_err(|error| wrong(&error))
    }
}
