//! What is done with backups: showing, exporting and checking them.
//!
//! Synchronous: a command runs on as many threads as there are cores, and reads through a
//! [`crate::destination::Source`].

pub mod asof;
pub mod check;
mod error;
mod eval;
pub mod export;
pub mod open;
pub mod pretty;
pub mod range;
pub mod scan;
pub mod show;
pub mod store;
pub mod table;
pub mod tabular;
pub mod write;

pub use error::Error;
pub use open::{Backup, Layer, OpenOptions};
