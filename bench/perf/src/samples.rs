//! All that was measured, as it was measured.

use std::collections::BTreeMap;

use serde::Serialize;

/// The values of one figure by cycle.
pub(crate) type Figure = BTreeMap<u32, Vec<f64>>;

/// Values by run (`case/variant`), figure and cycle.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Samples(BTreeMap<String, BTreeMap<String, Figure>>);

impl Samples {
    /// Adds what one run in a cycle gave.
    pub(crate) fn add<'a>(
        &mut self,
        run: &str,
        cycle: u32,
        figures: impl IntoIterator<Item = (&'a str, Vec<f64>)>,
    ) {
        let of_run = self.0.entry(run.to_owned()).or_default();
        for (name, values) in figures {
            of_run
                .entry(name.to_owned())
                .or_default()
                .insert(cycle, values);
        }
    }

    /// Whether a run has given any figure.
    pub(crate) fn has(&self, run: &str) -> bool {
        self.0.contains_key(run)
    }

    /// The values of a figure of a run.
    pub(crate) fn of(&self, run: &str, figure: &str) -> Option<&Figure> {
        self.0.get(run)?.get(figure)
    }
}
