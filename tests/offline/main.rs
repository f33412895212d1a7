//! See the module list below.
#[path = "../support/mod.rs"]
mod support;

mod check;
mod crypt;
mod export;
mod fuzz_crypt;
mod fuzz_sst;
mod go_verifier;
mod help;
mod indexes;
mod kept;
mod kms;
mod kv;
mod later;
mod manifest;
mod rewritten;
mod samples;
mod schemas;
mod setup;
mod show;
mod sst_data;
mod sst_fixtures;
mod sst_goldens;
mod sst_hostile;
mod sst_properties;
mod tenant;
mod tidy;
