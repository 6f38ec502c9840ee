//! One module for each subject. None of them uses another, but for the last phase's capstone, which goes through several, and the
//! properties, which are those of the tables.

mod actors;
mod audit;
mod cache;
mod capstone;
mod counter;
mod export;
mod model;
mod pipeline;
mod properties;
mod registry;
mod sbom;
mod sql;
mod table;
mod web;

pub(crate) use actors::{Put, pairs};
pub(crate) use audit::Audit;
pub(crate) use cache::Cache;
pub(crate) use capstone::Orders;
pub(crate) use counter::Counter;
pub(crate) use export::{Export, evaluate};
pub(crate) use model::Models;
pub(crate) use registry::Registry;
pub(crate) use sql::Sql;
pub(crate) use web::Web;

use std::sync::Arc;

use axum::Router;

use crate::app::App;

/// The routes of all subjects.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .merge(table::routes())
        .merge(properties::routes())
        .merge(actors::routes())
        .merge(counter::routes())
        .merge(registry::routes())
        .merge(sql::routes())
        .merge(web::routes())
        .merge(pipeline::routes())
        .merge(cache::routes())
        .merge(export::routes())
        .merge(capstone::routes())
        .merge(audit::routes())
        .merge(sbom::routes())
        .merge(model::routes())
}
