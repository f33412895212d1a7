//! Keys and values of CockroachDB's storage: the ordered key encoding, the value encoding and rows.
//!
//! ```text
//! SST key    e4 89 89 88                00   18e9d22f00d2a493   09
//!            └ table, index, columns,   │    └ wall time, ns    └ version length + 1
//!              column family            └ separator
//! SST value  886978a0   0a     23 02  13 02
//!            └ CRC-32   └ tag  └ column 2 = INT 1, column 3 = INT 1
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`varint`], [`ordered`] | integers, floats and escaped bytes in both orders |
//! | [`mvcc`] | key ‖ version, timestamps |
//! | [`envelope`] | checksum and tag of a value |
//! | [`types`] | SQL column types |
//! | [`datum`] | one SQL value of any type |
//! | [`layout`], [`row`] | tables, indexes, families; rows from and to key-value pairs |
//!
//! Checked against what CockroachDB v1.1 to v21.1 wrote. Everything here is pure: bytes in, bytes out.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation
)]

pub mod array;
pub mod datum;
pub mod decimal;
pub mod decimal_code;
pub mod envelope;
pub mod error;
pub mod float;
pub mod geo;
pub mod index;
pub mod inet;
pub mod inverted;
pub mod json;
pub mod json_parse;
pub mod key;
pub mod layout;
pub mod mvcc;
pub mod ordered;
pub mod parse;
mod plan;
pub mod row;
pub mod row_encode;
pub mod sql_text;
pub mod text;
pub mod time;
pub mod types;
pub mod value;
pub mod varint;
