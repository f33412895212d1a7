//! The end of a table file.
//!
//! ```text
//! LevelDB, 48 bytes: metaindex handle | index handle | zeros to 40 | 57fb808b247547db
//! others,  53 bytes: checksum type | metaindex handle | index handle | zeros to 41 | LE4 version | magic
//! handle           : LEB(offset) | LEB(payload length)
//! 01 d30721 b40118 00.. 02000000 f7cff485b741e288   crc32c, metaindex at 979 len 33, index at 180 len 24
//! ```

use super::checksum::ChecksumKind;
use super::error::{Error, ErrorKind};
use super::limits::{BLOCK_TRAILER_LEN, LEVELDB_FOOTER_LEN, ROCKSDB_FOOTER_LEN};
use super::varint;

const LEVELDB_MAGIC: [u8; 8] = [0x57, 0xfb, 0x80, 0x8b, 0x24, 0x75, 0x47, 0xdb];
const ROCKSDB_MAGIC: [u8; 8] = [0xf7, 0xcf, 0xf4, 0x85, 0xb7, 0x41, 0xe2, 0x88];
const PEBBLE_MAGIC: [u8; 8] = [0xf0, 0x9f, 0xaa, 0xb3, 0xf0, 0x9f, 0xaa, 0xb3];

/// The generations of tables that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TableFormat {
    /// CockroachDB 1.0 to 20.2.
    LevelDb,
    /// CockroachDB 21.1 to 22.1; read by every RESTORE since 20.2.
    RocksDbV2,
    /// CockroachDB 22.1: block properties.
    PebbleV1,
    /// CockroachDB 22.2 and 23.1: range keys.
    PebbleV2,
    /// Values may lie in value blocks, and every value of a SET has a prefix byte.
    PebbleV3,
    /// As v3; more kinds of point keys.
    PebbleV4,
}

impl TableFormat {
    /// Length of the footer, in bytes.
    pub fn footer_len(self) -> usize {
        match self {
            TableFormat::LevelDb => LEVELDB_FOOTER_LEN,
            _ => ROCKSDB_FOOTER_LEN,
        }
    }

    /// Whether bytes may follow the handle in an index entry.
    pub(super) fn has_block_properties(self) -> bool {
        self >= TableFormat::PebbleV1
    }

    /// Whether the value of a SET starts with a byte that says where the value is.
    pub(super) fn has_value_prefix(self) -> bool {
        self >= TableFormat::PebbleV3
    }
}

/// Where a block is: the offset of its payload and the payload's stored length, without the trailer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle {
    /// Byte offset in the file.
    pub offset: u64,
    /// Stored length of the payload in bytes.
    pub len: u64,
}

impl Handle {
    /// Decodes a handle at `at`; returns it with the position after it.
    pub(super) fn decode(bytes: &[u8], at: usize) -> Option<(Handle, usize)> {
        let (offset, at) = varint::get(bytes, at)?;
        let (len, at) = varint::get(bytes, at)?;
        Some((Handle { offset, len }, at))
    }

    /// Appends the handle.
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        varint::put(out, self.offset);
        varint::put(out, self.len);
    }

    /// End of the block with its trailer, `None` beyond 2^64.
    pub fn end(self) -> Option<u64> {
        self.offset.checked_add(self.len)?.checked_add(BLOCK_TRAILER_LEN as u64)
    }
}

/// A decoded footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footer {
    /// Generation of the table.
    pub format: TableFormat,
    /// Checksum after each block.
    pub checksum: ChecksumKind,
    /// The list of meta blocks.
    pub metaindex: Handle,
    /// The index, or its top level.
    pub index: Handle,
    /// Whether the unused bytes are zero; they are in every real file, and no reader cares.
    pub padding_is_zero: bool,
}

impl Footer {
    /// Decodes the footer from the last bytes of a file of `file_len` bytes (at least the last 53, or all).
    pub fn decode(tail: &[u8], file_len: u64) -> Result<Footer, Error> {
        let Some((_, magic)) = tail.split_last_chunk::<8>() else {
            let detail = format!("the file has {file_len} bytes, a table has at least {LEVELDB_FOOTER_LEN}");
            return Err(Error::new(ErrorKind::Truncated, 0, "footer", detail));
        };
        if *magic == LEVELDB_MAGIC {
            let (bytes, start) = last(tail, LEVELDB_FOOTER_LEN, file_len)?;
            let handles = bytes.get(..40).unwrap_or(&[]);
            return decode_handles(handles, start, TableFormat::LevelDb, ChecksumKind::Crc32c);
        }
        if *magic != ROCKSDB_MAGIC && *magic != PEBBLE_MAGIC {
            let detail = "none of LevelDB, RocksDB or Pebble; not a table, cut short, or encrypted";
            return Err(Error::new(ErrorKind::Corrupt, file_len.saturating_sub(8), "footer magic", detail));
        }
        let (bytes, start) = last(tail, ROCKSDB_FOOTER_LEN, file_len)?;
        let version = bytes.get(41..).and_then(|b| b.first_chunk::<4>()).copied().unwrap_or_default();
        let format = match (*magic == PEBBLE_MAGIC, u32::from_le_bytes(version)) {
            (false, 2) => TableFormat::RocksDbV2,
            (true, 1) => TableFormat::PebbleV1,
            (true, 2) => TableFormat::PebbleV2,
            (true, 3) => TableFormat::PebbleV3,
            (true, 4) => TableFormat::PebbleV4,
            (pebble, other) => {
                let name = if pebble { "Pebble" } else { "RocksDB" };
                let detail =
                    format!("{name} table format {other} is not known; RocksDB 2 and Pebble 1 to 4 are");
                return Err(Error::new(ErrorKind::Unsupported, start + 41, "footer version", detail));
            }
        };
        let kind = bytes.first().copied().unwrap_or_default();
        let checksum = ChecksumKind::from_footer(kind, start)?;
        let handles = bytes.get(1..41).unwrap_or(&[]);
        decode_handles(handles, start + 1, format, checksum)
    }

    /// Appends the footer.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        if self.format != TableFormat::LevelDb {
            out.push(self.checksum.to_footer());
        }
        self.metaindex.encode(out);
        self.index.encode(out);
        let magic = match self.format {
            TableFormat::LevelDb => {
                out.resize(start + 40, 0);
                LEVELDB_MAGIC
            }
            TableFormat::RocksDbV2 => {
                out.resize(start + 41, 0);
                out.extend_from_slice(&2u32.to_le_bytes());
                ROCKSDB_MAGIC
            }
            pebble => {
                out.resize(start + 41, 0);
                let version: u32 = match pebble {
                    TableFormat::PebbleV4 => 4,
                    TableFormat::PebbleV3 => 3,
                    TableFormat::PebbleV2 => 2,
                    _ => 1,
                };
                out.extend_from_slice(&version.to_le_bytes());
                PEBBLE_MAGIC
            }
        };
        out.extend_from_slice(&magic);
    }
}

fn last(tail: &[u8], len: usize, file_len: u64) -> Result<(&[u8], u64), Error> {
    match tail.len().checked_sub(len) {
        Some(at) => Ok((tail.get(at..).unwrap_or(&[]), file_len.saturating_sub(len as u64))),
        None => {
            let detail = format!("{len} bytes are needed, the file has {file_len}");
            Err(Error::new(ErrorKind::Truncated, 0, "footer", detail))
        }
    }
}

fn decode_handles(
    handles: &[u8],
    start: u64,
    format: TableFormat,
    checksum: ChecksumKind,
) -> Result<Footer, Error> {
    let bad = |at: usize, field| {
        Error::new(ErrorKind::Corrupt, start + at as u64, field, "not an offset and a length")
    };
    let (metaindex, at) = Handle::decode(handles, 0).ok_or_else(|| bad(0, "footer metaindex handle"))?;
    let (index, end) = Handle::decode(handles, at).ok_or_else(|| bad(at, "footer index handle"))?;
    let padding_is_zero = handles.get(end..).is_some_and(|rest| rest.iter().all(|b| *b == 0));
    Ok(Footer { format, checksum, metaindex, index, padding_is_zero })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The real footer of the format page.
    #[test]
    fn example_of_the_page() {
        let mut bytes = vec![0x01, 0xd3, 0x07, 0x21, 0xb4, 0x01, 0x18];
        bytes.resize(41, 0);
        bytes.extend_from_slice(&[2, 0, 0, 0]);
        bytes.extend_from_slice(&ROCKSDB_MAGIC);
        let footer = Footer::decode(&bytes, 2000).unwrap();
        assert_eq!(footer.metaindex, Handle { offset: 979, len: 33 });
        assert_eq!(footer.index, Handle { offset: 180, len: 24 });
        assert_eq!((footer.format, footer.checksum), (TableFormat::RocksDbV2, ChecksumKind::Crc32c));
        let mut again = Vec::new();
        footer.encode(&mut again);
        assert_eq!(again, bytes);
    }

    #[test]
    fn every_format_survives() {
        use TableFormat::*;
        for format in [LevelDb, RocksDbV2, PebbleV1, PebbleV2, PebbleV3, PebbleV4] {
            let footer = Footer {
                format,
                checksum: ChecksumKind::Crc32c,
                metaindex: Handle { offset: u64::MAX, len: u64::MAX },
                index: Handle { offset: 1 << 40, len: 7 },
                padding_is_zero: true,
            };
            let mut bytes = Vec::new();
            footer.encode(&mut bytes);
            assert_eq!(bytes.len(), format.footer_len());
            assert_eq!(Footer::decode(&bytes, 1 << 20), Ok(footer));
        }
    }
}
