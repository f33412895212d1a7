//! The two userfile tables and the companion table of attributes: the only place with their SQL.
//!
//! | part | what it is for |
//! |---|---|
//! | [`names`] | prefixes, URIs, stored names, the clean-path rule (pure) |
//! | [`layout`] | chunk arithmetic, damage, recovery by order (pure) |
//! | [`listing`] | the skip-scan's decisions (pure) |
//! | [`schema`] | definitions of the tables (pure text) |
//! | `table`, `open`, `companion` | opening and creating, retries, the companion table's presence |
//! | `look`, `read` | lookups, listings, chunks |
//! | `small`, `staging`, `displace` | writing: small files in one round trip, large ones staged and published |
//! | `redo` | what a crash of the server could take back is kept until the disk has it |
//! | `names_ops`, `tree`, `paths` | rename, remove, directories, links, exchange |
//! | `room` | what the disk of the server still takes, where it is known |
//! | `sweep` | background removal, heartbeat, leftovers of dead writers |
//!
//! # What holds
//!
//! * A name shows old or new contents, whole: contents go under a new [`FileId`] and appear by one transaction.
//! * Every method retries conflicts and lost connections within the pool's operation timeout. Where the answer
//!   to a commit was lost it looks at what is stored before doing it again.
//! * Dropping a future may leave its change done or not done, never half done.
//! * Names below `/.userfilefs/` are hidden rows: `/.userfilefs/<mount id>/<file id>` for files being written, or
//!   removed but still open, with `upload_time` as the time of the last heartbeat, and
//!   `/.userfilefs/trash/<file id>` for files on their way out.

mod companion;
mod displace;
mod error;
pub mod layout;
pub mod listing;
mod look;
pub mod names;
mod names_ops;
mod open;
mod paths;
mod probe;
mod read;
mod redo;
mod room;
mod rows;
pub mod schema;
mod small;
mod staging;
mod sweep;
mod table;
mod tree;
mod types;

pub use error::Error;
pub use layout::{CHUNK_LEN, ChunkSpan, Damage};
pub use names::{Location, NameError, TablePrefix, clean_path};
pub use staging::{Staging, Take};
pub use table::FileTable;
pub use types::*;
