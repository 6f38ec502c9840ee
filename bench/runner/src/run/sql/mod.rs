//! PostgreSQL: a private server, what is asked of one by its own `psql`, and the guarded reset of a database.

pub(crate) mod client;
pub(crate) mod reset;
pub(crate) mod server;
