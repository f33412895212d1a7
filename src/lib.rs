//! userfilefs: CockroachDB's userfile storage as an ordinary directory, and a backup engine on the
//! same storage.
//!
//! # The map
//!
//! ```text
//! cli ─┬─ mount ── fs ──┐
//!      ├─ userfile ─────┴─ chunk ── sql ── CockroachDB | PostgreSQL | embedded PostgreSQL
//!      └─ format (SST, keys, values, descriptors, manifests, encryption: pure bytes)
//! ```
//!
//! | module | what it is for |
//! |---|---|
//! | [`util`] | clock, counters, the disk under a server, plurals, redaction; used by everything, uses nothing |
//! | [`sql`] | connection settings, TLS, pool, retries, SQLSTATE classes, the two dialects |
//! | [`embedded`] | the private PostgreSQL that runs when no server is named |
//! | [`chunk`] | the two userfile tables and the companion table of attributes: the only place with their SQL |
//! | [`fs`] | POSIX meaning over flat names: inodes, directories, buffers, caches; knows no FUSE |
//! | [`mount`] | the only place that knows FUSE: adapter, session, options, daemon |
//! | [`userfile`] | the rules of the userfile commands: arguments, patterns, the copy engine |
//! | [`destination`] | places that hold backups: folders, userfile prefixes |
//! | [`engine`] | what is done with backups: show, export, check |
//! | [`mod@format`] | CockroachDB's backup files as pure bytes |
//! | [`cli`] | arguments, output, exit codes |
//!
//! Imports point down and to the right only; `tests/offline/tidy.rs` checks it. Deliberately absent:
//! a trait under [`chunk::FileTable`] (tests use a real server), and SQL text above `chunk`.

// Data from outside must not end the program. An `unreachable!` names the rule of this program that makes it so.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod chunk;
pub mod cli;
pub mod destination;
pub mod embedded;
pub mod engine;
pub mod format;
pub mod fs;
pub mod mount;
pub mod sql;
pub mod userfile;
pub mod util;
