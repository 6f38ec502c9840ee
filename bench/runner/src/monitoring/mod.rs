//! A suite watched live: a Prometheus with the suite's alerts, Grafana where there is one, and a page of our own.
//!
//! `monitor start` leaves one process behind, the monitor ([`serve`]); what it started ends with it. A run and the monitor
//! speak by the files of [`place`]: the run says what is to be scraped and what its limits are, and neither waits for the
//! other.

pub(crate) mod alerts;
mod api;
mod config;
mod container;
mod dashboard;
mod grafana;
pub(crate) mod life;
mod page;
pub(crate) mod place;
mod prometheus;
pub(crate) mod scrape;
pub(crate) mod serve;
