//! Tests against a real PostgreSQL, which they start themselves.
#[path = "../support/mod.rs"]
mod support;

mod sql_pool;
