//! Shared by the three test binaries; each uses a part of it.
#![allow(dead_code, reason = "every test binary includes all of support and uses some of it")]

pub mod alloc;
pub mod alone;
pub mod cli;
pub mod database;
pub mod fixtures;
pub mod model;
pub mod mounted;
pub mod postgres;
pub mod require;
pub mod sys;
pub mod tables;
pub mod wire;
