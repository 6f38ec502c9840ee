//! Samples of a `/metrics` over time: one reader, however many values are picked.

use serde_json::Value as Json;

use super::sampler::{self, Values};
use crate::run::page::Page;
use crate::suite::monitor::Pick;
use crate::values::exposition::{Selector, samples};

pub(super) struct Sampler {
    page: Page,
    picks: Vec<(Pick, Selector)>,
}

impl Sampler {
    /// # Errors
    /// A pick is no name of a sample.
    pub(super) fn new(page: Page, picks: Vec<Pick>) -> Result<Self, String> {
        let picks = picks.into_iter().map(|pick| {
            let selector = Selector::parse(&pick.what)?;
            Ok((pick, selector))
        });
        Ok(Self {
            page,
            picks: picks.collect::<Result<_, String>>()?,
        })
    }

    fn look(&self) -> Values {
        let mut values = Values::default();
        let address = self.page.address();
        let text = match self.page.read() {
            Ok((200, text)) => text,
            Ok((status, _)) => {
                values.miss(format!("GET {address}: status {status}, expected 200"));
                return values;
            }
            Err(why) => {
                values.miss(why);
                return values;
            }
        };
        let wanted = |name: &str| {
            self.picks
                .iter()
                .any(|(_, selector)| selector.name() == name)
        };
        let samples = match samples(&text, wanted) {
            Ok(samples) => samples,
            Err(why) => {
                values.miss(format!("GET {address}: {why}"));
                return values;
            }
        };
        for (pick, selector) in &self.picks {
            match selector.value(&samples) {
                Ok(Some(number)) => values.add(&pick.name, number),
                Ok(None) => {
                    let why = format!("GET {address}: {}: no such sample", pick.what);
                    values.absent(&pick.name, why);
                }
                Err(why) => values.miss(format!("GET {address}: {}: {why}", pick.what)),
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
