//! The rules of the userfile commands (`upload`, `list`, `get`, `delete`) and the engine that copies.
//!
//! | file | what | pure |
//! |---|---|---|
//! | [`address`] | an argument becomes a table prefix and a stored name | yes |
//! | [`pattern`] | which stored names an argument of list, get or delete means | yes |
//! | [`place`] | where an upload or a download puts a file | yes |
//! | [`lines`] | the lines that the commands print, sizes and times as text | yes |
//! | [`order`] | parallel work whose results appear in order | yes |
//! | [`control`] | cancellation, progress counters, the memory budget | |
//! | [`matching`] | the rows that an argument means, page by page | |
//! | [`source`] | local files and standard input as chunks; walking a tree | |
//! | [`partial`] | a local file that has no name until it is complete | |
//! | [`upload`], [`get`], [`delete`] | one file, or one row, at a time over [`crate::chunk::FileTable`] | |
//!
//! Nothing here prints or knows the command line: [`crate::cli`] does that.

pub mod address;
pub mod control;
pub mod delete;
mod error;
pub mod get;
pub mod lines;
pub mod matching;
pub mod order;
pub mod partial;
pub mod pattern;
pub mod place;
pub mod source;
pub mod upload;

pub use control::{Budget, Cancel, CancelHandle, Meter};
pub use error::Error;
