//! See the module list below.
#[path = "../support/mod.rs"]
mod support;

mod sst_fixtures;
