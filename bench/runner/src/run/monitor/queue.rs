//! Sizes of queues and counters in Redis over time.

use serde_json::{Map, Value as Json, json};

use super::sampler::{self, now_ms};
use crate::run::redis::access::Access;
use crate::run::redis::client::Server;
use crate::suite::each::items;
use crate::suite::monitor::MonitorTable;
use crate::suite::schema::File;
use crate::suite::scope::Watched;
use crate::suite::vars::Vars;
use crate::values::exit;

/// A key, or a field of a hash.
#[derive(Debug)]
pub(super) enum Place {
    Size(String),
    Field { hash: String, field: String },
}

/// What a monitor watches, once for each item where its text names a list.
///
/// # Errors
/// A variable is missing.
pub(super) fn watched(
    file: &File,
    table: &MonitorTable,
    vars: &Vars,
) -> anyhow::Result<Vec<Place>> {
    let mut places = Vec::new();
    for entry in &table.of {
        let text = entry.get_ref();
        for run in items(file, text, vars)? {
            places.push(match Watched::parse(text).map_err(exit::set_up)? {
                Watched::Size(key) => Place::Size(vars.expand(key, &run)?),
                Watched::Field { hash, field } => Place::Field {
                    hash: vars.expand(hash, &run)?,
                    field: vars.expand(field, &run)?,
                },
            });
        }
    }
    Ok(places)
}

pub(super) struct Sampler {
    access: Access,
    places: Vec<Place>,
    /// Made by the first sample, and again after a fault.
    server: Option<Server>,
}

impl Sampler {
    pub(super) fn new(access: Access, places: Vec<Place>) -> Self {
        Self {
            access,
            places,
            server: None,
        }
    }

    fn look(&mut self) -> anyhow::Result<(Map<String, Json>, Map<String, Json>)> {
        let server = match &mut self.server {
            Some(server) => server,
            empty => empty.insert(Server::connect(&self.access)?),
        };
        let (mut sizes, mut values) = (Map::new(), Map::new());
        for place in &self.places {
            match place {
                Place::Size(key) => {
                    sizes.insert(key.clone(), server.size(key)?.into());
                }
                Place::Field { hash, field } => {
                    values.insert(
                        format!("{hash}[{field}]"),
                        server.number(hash, field)?.into(),
                    );
                }
            }
        }
        Ok((sizes, values))
    }
}

impl sampler::Sampler for Sampler {
    fn sample(&mut self) -> Json {
        let t = now_ms();
        match self.look() {
            Ok((sizes, values)) => {
                let total: i64 = sizes.values().filter_map(Json::as_i64).sum();
                json!({ "t": t, "sizes": sizes, "total": total, "values": values })
            }
            Err(error) => {
                self.server = None;
                json!({ "t": t, "error": format!("{error:#}") })
            }
        }
    }
}
