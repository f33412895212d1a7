//! Tests against a real PostgreSQL, which they start themselves.
#[path = "../support/mod.rs"]
mod support;

mod chunk_bench;
mod chunk_dirs;
mod chunk_faults;
mod chunk_files;
mod chunk_fixture;
mod chunk_plans;
mod chunk_races;
mod embedded;
mod fs_races;
mod sql_faults;
mod sql_pool;
mod sql_slow;
mod sql_tls;
mod userfile;
mod userfile_fixture;
mod userfile_transfer;
mod userfile_trees;
