//! Every bound of the reader in one place.
//!
//! Memory of an open reader and one iterator, whatever the bytes say: the index (one block), one index
//! partition, one data block in stored and in decompressed form and one key, each at most
//! [`BLOCK_LEN_MAX`]; the properties, at most [`META_LEN_MAX`]. No length is believed before it was
//! compared with what is there: a stored block is never longer than the file, and a block is never
//! decompressed to more than [`SNAPPY_RATIO_MAX`] times its stored length (Snappy). So reading a
//! damaged file of n bytes never allocates more than about 24 n + 64 KiB (zstd: [`BLOCK_LEN_MAX`]).

/// Largest stored or decompressed block, in bytes. One value can make a block this large; CockroachDB's
/// own limit for a row is well below (64 MiB commands).
pub const BLOCK_LEN_MAX: usize = 96 << 20;

/// Largest metaindex or properties block, in bytes.
pub const META_LEN_MAX: usize = 4 << 20;

/// A Snappy element of 3 bytes yields at most 64.
pub const SNAPPY_RATIO_MAX: usize = 22;

/// Most entries of a metaindex or properties block.
pub const META_ENTRIES_MAX: usize = 64 << 10;

/// Length of the LevelDB footer, in bytes.
pub const LEVELDB_FOOTER_LEN: usize = 48;

/// Length of the RocksDB and Pebble footer, in bytes.
pub const ROCKSDB_FOOTER_LEN: usize = 53;

/// Bytes after each block payload: type and checksum.
pub const BLOCK_TRAILER_LEN: usize = 5;

/// Bytes after each user key in data and index blocks.
pub const KEY_TRAILER_LEN: usize = 8;
