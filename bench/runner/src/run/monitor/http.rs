//! The status of an address over time, and numbers of the JSON that it answers.

use serde_json::Value as Json;

use super::sampler::{self, Values};
use crate::run::page::Page;
use crate::suite::monitor::Pick;
use crate::values::place::at;

/// The status, among what is picked.
const STATUS: &str = "status";

pub(super) struct Sampler {
    page: Page,
    picks: Vec<Pick>,
}

impl Sampler {
    pub(super) fn new(page: Page, picks: Vec<Pick>) -> Self {
        Self { page, picks }
    }

    fn look(&self) -> Values {
        let mut values = Values::default();
        let (status, text) = match self.page.read() {
            Ok(answer) => answer,
            Err(why) => {
                values.miss(why);
                return values;
            }
        };
        // What an error or another address says is no state of this one.
        let good = (200..300).contains(&status);
        let answer: Option<Json> = serde_json::from_str(&text).ok().filter(|_| good);
        for Pick { name, what } in &self.picks {
            if what == STATUS {
                values.add(name, f64::from(status));
                continue;
            }
            let found = answer.as_ref().and_then(|answer| at(answer, what));
            match found.and_then(Json::as_f64) {
                Some(number) => values.add(name, number),
                None if !good => values.miss(format!(
                    "GET {}: status {status}, expected 200 to 299",
                    self.page.address()
                )),
                None => values.miss(format!(
                    "GET {}: status {status}, no number at {what}",
                    self.page.address()
                )),
            }
        }
        values
    }
}

impl sampler::Sampler for Sampler {
    fn sample(&mut self) -> Json {
        self.look().line()
    }

    /// Whoever is read is not read twice in an interval.
    fn last(&mut self) -> Option<Json> {
        None
    }
}
