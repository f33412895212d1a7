//! CockroachDB's backup files as pure bytes: no I/O, clock, randomness or logging in here.

pub mod base64;
pub mod crypt;
pub mod descriptor;
pub mod kv;
pub mod manifest;
pub mod sst;
