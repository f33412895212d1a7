//! See the module list below.
#[path = "../support/mod.rs"]
mod support;

mod crypt;
mod export;
mod kv;
mod manifest;
mod show;
mod sst_fixtures;
mod tidy;
