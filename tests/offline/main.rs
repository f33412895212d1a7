//! See the module list below.
#[path = "../support/mod.rs"]
mod support;

mod manifest;
mod sst_fixtures;
