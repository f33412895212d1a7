//! SST files: the tables that hold a backup's data.
//!
//! ```text
//! data block ...            16 entries a restart, about 128 KiB, Snappy if that saves an eighth
//! index block               one entry a block; partitions and a top level beyond 256 KiB
//! properties block          raw
//! metaindex block           raw: names and places of the blocks that are not data
//! footer                    48 bytes (LevelDB) or 53 (RocksDB, Pebble)
//!
//! end of a file of v21.1    01 d30721 b40118 00.. 02000000 f7cff485b741e288
//!                           crc32c, metaindex at 979 of 33 bytes, index at 180 of 24 bytes
//! ```
//! Checked against files of v1.1.9, v2.1.8, v20.1.7 and v21.1-alpha, and in both directions against the
//! `pebble` Go module. [`limits`] states what a reader may allocate.
//!
//! ```
//! use userfilefs::format::sst::{Reader, Writer, WriterOptions, key};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (mut file, mut user_key) = (Vec::new(), Vec::new());
//! key::put_user_key(&mut user_key, b"\xbd\x89\x8a\x88", &7u64.to_be_bytes());
//! let mut writer = Writer::new(WriterOptions::default())?;
//! writer.add(&user_key, b"value", &mut file)?;
//! writer.finish(&mut file);
//!
//! let reader = Reader::open(&file, file.len() as u64)?;
//! let mut iter = reader.iter();
//! while let Some(entry) = iter.next()? {
//!     let (roachkey, version) = entry.mvcc()?;
//!     assert_eq!((roachkey, version), (&b"\xbd\x89\x8a\x88"[..], &7u64.to_be_bytes()[..]));
//! }
//! # Ok(())
//! # }
//! ```
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation
)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::cast_possible_truncation))]

mod block;
mod block_writer;
mod checksum;
mod compress;
mod error;
mod footer;
mod iter;
pub mod key;
pub mod limits;
mod properties;
mod range_key;
mod reader;
mod source;
mod split;
mod value_block;
mod varint;
mod verify;
mod writer;

pub use checksum::{ChecksumKind, mask};
pub use error::{Error, ErrorKind, ReadError};
pub use footer::{Footer, Handle, TableFormat};
pub use iter::{Entry, Iter, Stats};
pub use key::Kind;
pub use properties::{Properties, PropertyTemplate, PropertyValue, name as property};
pub use range_key::{RangeKey, RangeKeyVersion};
pub use reader::{MetaBlock, Reader};
pub use source::ReadAt;
pub use split::{RowBoundary, SplitWriter};
pub use writer::{Compression, Finished, IndexPlace, Separators, WriteError, Writer, WriterOptions};
