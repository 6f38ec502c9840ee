//! The subjects of sixteen learning phases, each by its Rust counterpart, served at one origin.
//!
//! A subject is a module below `subjects`: what it does, the routes it serves, and nothing of the others. What it measures
//! inside goes to `measure`, which tells it at `GET /phase/NN/stats`. The cluster is a front, which is this program, and
//! nodes, which are processes of the same program started by the front.

mod answer;
mod app;
pub mod cli;
mod cluster;
mod faults;
mod measure;
mod subjects;

pub use app::run;
