//! What a PostgreSQL answers over time: numbers of the rows of one statement, or the rows themselves.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::sampler::{self, Values, now_ms};
use crate::run::sql::client::Database;
use crate::suite::monitor::Pick;
use crate::values::exposition::{Sample, Selector};
use crate::values::mask::masked;

/// A server that has not answered by then is told as one that does not.
const LIMIT: Duration = Duration::from_secs(5);
/// So many rows of a look are kept, where all are.
const MOST: usize = 100;

pub(super) struct Sampler {
    database: Database,
    statement: String,
    picks: Vec<(Pick, Selector)>,
}

impl Sampler {
    /// # Errors
    /// A pick is no name of a column.
    pub(super) fn new(
        database: Database,
        statement: String,
        picks: Vec<Pick>,
    ) -> Result<Self, String> {
        let picks = picks.into_iter().map(|pick| {
            let selector = Selector::parse(&pick.what)?;
            Ok((pick, selector))
        });
        Ok(Self {
            database,
            statement,
            picks: picks.collect::<Result<_, String>>()?,
        })
    }

    fn rows(&self) -> Result<Vec<Json>, String> {
        let mut pause = |time| {
            std::thread::sleep(time);
            Ok(())
        };
        let rows = self.database.rows(&self.statement, LIMIT, &mut pause);
        rows.map_err(|error| masked(&format!("{error:#}")))
    }

    fn picked(&self, rows: &[Json]) -> Values {
        let mut values = Values::default();
        let samples: Vec<Sample<'_>> = rows.iter().flat_map(samples).collect();
        for (pick, selector) in &self.picks {
            match selector.value(&samples) {
                Ok(Some(number)) => values.add(&pick.name, number),
                Ok(None) => {
                    let why = format!("no number {} in {} rows", pick.what, rows.len());
                    values.absent(&pick.name, why);
                }
                Err(why) => values.miss(format!("{}: {why}", pick.what)),
            }
        }
        values
    }
}

/// Each number of a row by the name of its column, with the row's texts as its labels.
fn samples(row: &Json) -> Vec<Sample<'_>> {
    let columns = || row.as_object().into_iter().flatten();
    let labels = columns().filter_map(|(name, value)| match value {
        Json::String(text) => Some((name.as_str(), text.clone())),
        Json::Bool(is) => Some((name.as_str(), is.to_string())),
        _ => None,
    });
    let labels: Vec<_> = labels.collect();
    let numbers = columns().filter_map(|(name, value)| {
        Some(Sample {
            name,
            labels: labels.clone(),
            value: value.as_f64()?,
        })
    });
    numbers.collect()
}

impl sampler::Sampler for Sampler {
    fn sample(&mut self) -> Json {
        let rows = match self.rows() {
            Ok(rows) => rows,
            Err(why) => {
                let mut values = Values::default();
                values.miss(why);
                return values.line();
            }
        };
        if !self.picks.is_empty() {
            return self.picked(&rows).line();
        }
        let mut line = json!({ "t": now_ms(), "rows": rows.get(..MOST).unwrap_or(&rows) });
        if rows.len() > MOST {
            line["error"] = format!("{} rows, the first {MOST} are kept", rows.len()).into();
        }
        line
    }

    /// Whoever is read is not read twice in an interval.
    fn last(&mut self) -> Option<Json> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_told_by_its_column_and_the_texts_of_its_row() {
        let rows = json!([{ "state": "active", "n": 3, "of": true }, { "state": "idle", "n": 12.5, "of": null }]);
        let rows = rows.as_array().expect("rows").clone();
        let samples: Vec<Sample<'_>> = rows.iter().flat_map(samples).collect();
        let value = |text: &str| Selector::parse(text).expect(text).value(&samples);
        assert_eq!(value("n{state=\"active\"}"), Ok(Some(3.0)));
        assert_eq!(value("n{of=\"true\"}"), Ok(Some(3.0)));
        assert_eq!(value("n{state=\"idle\"}"), Ok(Some(12.5)));
        assert_eq!(value("m"), Ok(None));
        assert!(value("n").is_err_and(|why| why.starts_with("2 samples")));
    }
}
