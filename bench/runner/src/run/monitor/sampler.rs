//! What every monitor is.

use serde_json::{Map, Value as Json, json};

use crate::verdict::facts::Machine;

/// Something that can be looked at again and again.
pub(super) trait Sampler: Send + 'static {
    /// Looks once.
    fn sample(&mut self) -> Json;

    /// Looks once more where the run ends, if that is wanted.
    fn last(&mut self) -> Option<Json> {
        Some(self.sample())
    }

    /// What all samples together say about the machine.
    fn machine(&self) -> Option<Machine> {
        None
    }
}

/// What a look picked: what it could not is left out, and never 0.
#[derive(Debug, Default)]
pub(super) struct Values {
    values: Map<String, Json>,
    missed: Vec<String>,
    absent: Vec<String>,
}

impl Values {
    pub(super) fn add(&mut self, name: &str, number: f64) {
        self.values.insert(name.to_owned(), json!(number));
    }

    /// Remembers why there is less than there should be.
    pub(super) fn miss(&mut self, why: String) {
        self.missed.push(why);
    }

    /// Remembers that whoever was asked has answered, and has no such value (yet).
    pub(super) fn absent(&mut self, name: &str, why: String) {
        self.absent.push(name.to_owned());
        self.miss(why);
    }

    /// Whether nothing is missing.
    pub(super) fn is_whole(&self) -> bool {
        self.missed.is_empty()
    }

    /// The sample, as of now.
    pub(super) fn line(self) -> Json {
        let mut line = json!({ "t": now_ms(), "values": self.values });
        if !self.missed.is_empty() {
            line["error"] = json!(self.missed.join("; "));
        }
        if !self.absent.is_empty() {
            line["absent"] = json!(self.absent);
        }
        line
    }
}

/// Epoch milliseconds.
pub(super) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
