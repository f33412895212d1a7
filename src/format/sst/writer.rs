//! Writing a table, block by block.

use super::block_writer::BlockWriter;
use super::checksum::ChecksumKind;
use super::compress;
use super::footer::{Footer, Handle, TableFormat};
use super::iter::{Stats, hex};
use super::key::{self, SEPARATOR_TRAILER, SET_TRAILER};
use super::limits::BLOCK_LEN_MAX;
use super::properties::{PropertyTemplate, PropertyValue, name};
use super::varint;
use std::cmp::Ordering;

/// How blocks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    None,
    /// Snappy where it saves at least an eighth.
    Snappy,
}

/// Which keys the index holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Separators {
    /// Shortened, as Pebble does.
    Short,
    /// The last key of each block, whole: as RocksDB did for files of old versions.
    Full,
}

/// Where the index is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexPlace {
    /// After the data.
    BeforeProperties,
    /// Between metaindex and footer: as RocksDB did for files of v1 and v2.
    BeforeFooter,
}

/// Settings of a writer. The default is what v21.1 writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterOptions {
    /// LevelDB, RocksDB v2 or Pebble v1 and v2; later formats need value prefixes and are refused.
    pub format: TableFormat,
    /// Checksum after each block; LevelDB footers can only say CRC-32C.
    pub checksum: ChecksumKind,
    /// Of data blocks.
    pub compression: Compression,
    /// Of index blocks.
    pub index_compression: Compression,
    /// A data block is finished when it has about this many bytes.
    pub block_len: usize,
    /// The index gets a second level when it has about this many bytes.
    pub index_block_len: usize,
    /// A restart every so many entries of a data block.
    pub restart_interval: usize,
    /// The same for the properties block (one restart if larger than their number).
    pub properties_restart_interval: usize,
    /// Index keys.
    pub separators: Separators,
    /// Place of the index.
    pub index_place: IndexPlace,
    /// Whether keys without version are accepted; a data file must never hold one, metadata files do.
    pub versionless: bool,
    /// The properties.
    pub properties: PropertyTemplate,
}

impl Default for WriterOptions {
    fn default() -> Self {
        WriterOptions {
            format: TableFormat::RocksDbV2,
            checksum: ChecksumKind::Crc32c,
            compression: Compression::Snappy,
            index_compression: Compression::Snappy,
            block_len: 128 << 10,
            index_block_len: 256 << 10,
            restart_interval: 16,
            properties_restart_interval: usize::MAX,
            separators: Separators::Short,
            index_place: IndexPlace::BeforeProperties,
            versionless: false,
            properties: PropertyTemplate::v21_1("Snappy"),
        }
    }
}

/// Why an entry was not written. The writer is unchanged and can go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The key has no separator or a wrong length byte.
    #[error("key {0} is not a user key")]
    MalformedKey(String),
    /// RESTORE would take it for metadata and damage the cluster.
    #[error("key {0} has no version")]
    NoVersion(String),
    /// Keys must strictly increase.
    #[error("key {0} is not after its predecessor {1}")]
    Order(String, String),
    /// Longer than any block may be.
    #[error("an entry of {0} bytes is too large")]
    TooLarge(usize),
    /// A combination of settings that no reader could open.
    #[error("a table of format {0:?} with checksum {1:?} cannot be written")]
    Format(TableFormat, ChecksumKind),
}

/// What a finished table holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Length of the file in bytes.
    pub len: u64,
    /// Entries, blocks, bytes and versions.
    pub stats: Stats,
    /// First roachkey, if there is any entry.
    pub first_roachkey: Option<Vec<u8>>,
    /// Last roachkey.
    pub last_roachkey: Option<Vec<u8>>,
}

/// A streaming writer: bytes appear in the `out` of each call, in file order, and the same entries with the
/// same options always give the same bytes.
///
/// Memory: one data block, its compressed form, and the index (about 40 bytes a block).
#[derive(Debug)]
pub struct Writer {
    options: WriterOptions,
    data: BlockWriter,
    index: BlockWriter,
    /// Finished index partitions, once there are two levels.
    partitions: Vec<Partition>,
    /// Data block that waits for its index entry until the next key is known.
    waiting: Option<Handle>,
    /// Bytes given out so far.
    written: u64,
    stats: Stats,
    first_roachkey: Option<Vec<u8>>,
    last_key: Vec<u8>,
    encoder: snap::raw::Encoder,
    compressed: Vec<u8>,
    separator: Vec<u8>,
}

#[derive(Debug)]
struct Partition {
    last_key: Vec<u8>,
    payload: Vec<u8>,
}

const HANDLE_LEN_MAX: usize = 2 * varint::LEB64_LEN_MAX;
const SET: [u8; 8] = SET_TRAILER.to_le_bytes();
const SEPARATOR: [u8; 8] = SEPARATOR_TRAILER.to_le_bytes();

impl Writer {
    /// A writer of an empty table.
    pub fn new(options: WriterOptions) -> Result<Self, WriteError> {
        let crc_only = options.format == TableFormat::LevelDb;
        if options.format > TableFormat::PebbleV2 || (crc_only && options.checksum != ChecksumKind::Crc32c) {
            return Err(WriteError::Format(options.format, options.checksum));
        }
        Ok(Writer {
            data: BlockWriter::new(options.restart_interval),
            index: BlockWriter::new(1),
            options,
            partitions: Vec::new(),
            waiting: None,
            written: 0,
            stats: Stats::default(),
            first_roachkey: None,
            last_key: Vec::new(),
            encoder: snap::raw::Encoder::new(),
            compressed: Vec::new(),
            separator: Vec::new(),
        })
    }

    /// Appends an entry (kind SET); an empty `value` is a deleted row. Keys must strictly increase.
    pub fn add(&mut self, user_key: &[u8], value: &[u8], out: &mut Vec<u8>) -> Result<(), WriteError> {
        let version = self.check(user_key, value)?;
        if self.data.should_flush(user_key.len() + SET.len(), value.len(), self.options.block_len) {
            self.finish_data_block(out);
        }
        if let Some(handle) = self.waiting.take() {
            self.add_index_entry(handle, Some(user_key));
        }
        self.data.add(user_key, &SET, value);
        self.stats.entries += 1;
        self.stats.key_bytes += (user_key.len() + SET.len()) as u64;
        self.stats.value_bytes += value.len() as u64;
        self.stats.version(version);
        self.last_key.clear();
        self.last_key.extend_from_slice(user_key);
        Ok(())
    }

    /// Verifies an entry before anything changes; returns its version.
    fn check<'k>(&mut self, user_key: &'k [u8], value: &[u8]) -> Result<&'k [u8], WriteError> {
        let Some((roachkey, version)) = key::split(user_key) else {
            return Err(WriteError::MalformedKey(hex(user_key)));
        };
        if version.is_empty() && !self.options.versionless {
            return Err(WriteError::NoVersion(hex(user_key)));
        }
        let len = user_key.len().saturating_add(value.len());
        if len > BLOCK_LEN_MAX / 2 {
            return Err(WriteError::TooLarge(len));
        }
        if self.stats.entries == 0 {
            self.first_roachkey = Some(roachkey.to_vec());
        } else if key::compare(&self.last_key, user_key) != Ordering::Less {
            return Err(WriteError::Order(hex(user_key), hex(&self.last_key)));
        }
        Ok(version)
    }

    /// Key and value bytes added so far, without trailers: what the target size of a file counts.
    pub fn raw_len(&self) -> u64 {
        self.stats.key_bytes - 8 * self.stats.entries + self.stats.value_bytes
    }

    /// Number of entries added so far.
    pub fn entries(&self) -> u64 {
        self.stats.entries
    }

    /// The user key added last; empty before the first.
    pub fn last_key(&self) -> &[u8] {
        &self.last_key
    }

    fn finish_data_block(&mut self, out: &mut Vec<u8>) {
        let payload = self.data.finish();
        let compress = (self.options.compression == Compression::Snappy).then_some(&mut self.encoder);
        let sink = Sink { out, written: &mut self.written, checksum: self.options.checksum };
        self.waiting = Some(put_block(sink, payload, compress, &mut self.compressed));
        self.data.reset();
        self.stats.blocks += 1;
    }

    /// Adds the index entry of the block that ends with `last_key` and is followed by `next`.
    fn add_index_entry(&mut self, handle: Handle, next: Option<&[u8]>) {
        self.separator.clear();
        let short = match (next, self.options.separators) {
            (Some(next), Separators::Short) => {
                key::shorten_between(&mut self.separator, &self.last_key, next)
            }
            (_, Separators::Full) => false,
            (None, Separators::Short) => key::shorten_after(&mut self.separator, &self.last_key),
        };
        if !short {
            self.separator.extend_from_slice(&self.last_key);
        }
        let trailer = if short { SEPARATOR } else { SET };
        let mut value = Vec::with_capacity(HANDLE_LEN_MAX);
        handle.encode(&mut value);
        let len = self.separator.len() + trailer.len();
        // A handle counts as long as it can be, and a LevelDB file has one level: as Pebble does both.
        let two_levels = self.options.format != TableFormat::LevelDb;
        if two_levels && self.index.should_flush(len, HANDLE_LEN_MAX, self.options.index_block_len) {
            self.finish_partition();
        }
        self.index.add(&self.separator, &trailer, &value);
    }

    fn finish_partition(&mut self) {
        let last_key = self.index.last_key().to_vec();
        let payload = self.index.finish().to_vec();
        self.partitions.push(Partition { last_key, payload });
        self.index.reset();
    }

    /// Writes what is left, index, properties, metaindex and footer.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Finished {
        if self.data.entries() > 0 || self.stats.entries == 0 {
            self.finish_data_block(out);
        }
        if let Some(handle) = self.waiting.take() {
            self.add_index_entry(handle, None);
        }
        let data_len = self.written;
        // The properties tell the length of a second level, so such an index cannot come last.
        let late = self.options.index_place == IndexPlace::BeforeFooter && self.partitions.is_empty();
        let (index, lengths) = match late {
            true => (None, IndexLen::one_level(&self.index)),
            false => {
                let (handle, lengths) = self.put_index(out);
                (Some(handle), lengths)
            }
        };
        let properties = self.put_properties(out, data_len, &lengths);
        let mut metaindex = BlockWriter::new(1);
        let mut value = Vec::new();
        properties.encode(&mut value);
        metaindex.add(b"rocksdb.properties", &[], &value);
        let metaindex = self.put_plain(metaindex, out);
        let index = index.unwrap_or_else(|| self.put_index(out).0);
        let footer = Footer {
            format: self.options.format,
            checksum: self.options.checksum,
            metaindex,
            index,
            padding_is_zero: true,
        };
        let before = out.len();
        footer.encode(out);
        let len = self.written + (out.len() - before) as u64;
        let last_roachkey =
            self.first_roachkey.as_ref().and_then(|_| key::split(&self.last_key)).map(|(k, _)| k.to_vec());
        Finished { len, stats: self.stats, first_roachkey: self.first_roachkey, last_roachkey }
    }

    fn put_index(&mut self, out: &mut Vec<u8>) -> (Handle, IndexLen) {
        if self.partitions.is_empty() {
            let len = IndexLen::one_level(&self.index);
            return (self.put_index_block(None, out), len);
        }
        self.finish_partition();
        let partitions = std::mem::take(&mut self.partitions);
        let mut len = IndexLen { total: 0, partitions: partitions.len() as u64, top: 0 };
        for partition in partitions {
            len.total += partition.payload.len() as u64;
            let handle = self.put_index_block(Some(&partition.payload), out);
            let mut value = Vec::new();
            handle.encode(&mut value);
            self.index.add(&partition.last_key, &[], &value);
        }
        len.top = self.index.size() as u64;
        len.total += len.top + 5;
        (self.put_index_block(None, out), len)
    }

    /// Writes a partition, or (without one) the index block as it stands.
    fn put_index_block(&mut self, partition: Option<&[u8]>, out: &mut Vec<u8>) -> Handle {
        let sink = Sink { out, written: &mut self.written, checksum: self.options.checksum };
        let compress = (self.options.index_compression == Compression::Snappy).then_some(&mut self.encoder);
        let payload = match partition {
            Some(payload) => payload,
            None => self.index.finish(),
        };
        let handle = put_block(sink, payload, compress, &mut self.compressed);
        if partition.is_none() {
            self.index.reset();
        }
        handle
    }

    fn put_plain(&mut self, mut block: BlockWriter, out: &mut Vec<u8>) -> Handle {
        let sink = Sink { out, written: &mut self.written, checksum: self.options.checksum };
        put_block(sink, block.finish(), None, &mut self.compressed)
    }

    fn put_properties(&mut self, out: &mut Vec<u8>, data_len: u64, index: &IndexLen) -> Handle {
        let mut block = BlockWriter::new(self.options.properties_restart_interval);
        let template = std::mem::take(&mut self.options.properties);
        for (name, value) in &template.entries {
            let computed;
            let value = match value {
                PropertyValue::Const(bytes) => bytes,
                PropertyValue::Computed => match self.computed(name, data_len, index) {
                    Some(bytes) => {
                        computed = bytes;
                        &computed
                    }
                    None => continue,
                },
            };
            block.add(name, &[], value);
        }
        self.put_plain(block, out)
    }

    /// The value of a computed property, `None` if it does not apply to this table.
    fn computed(&self, name: &[u8], data_len: u64, index: &IndexLen) -> Option<Vec<u8>> {
        let number = |value: u64| {
            let mut out = Vec::new();
            varint::put(&mut out, value);
            Some(out)
        };
        let two_level = index.partitions > 0;
        match std::str::from_utf8(name).ok()? {
            name::TS_MIN => self.stats.version_min.clone(),
            name::TS_MAX => self.stats.version_max.clone(),
            name::INDEX_TYPE => Some(if two_level { vec![2, 0, 0, 0] } else { vec![0; 4] }),
            name::DATA_SIZE => number(data_len),
            name::INDEX_SIZE => number(index.total),
            name::INDEX_PARTITIONS if two_level => number(index.partitions),
            name::TOP_INDEX_SIZE if two_level => number(index.top),
            name::NUM_DATA_BLOCKS => number(self.stats.blocks),
            name::NUM_ENTRIES => number(self.stats.entries),
            name::RAW_KEY_SIZE => number(self.stats.key_bytes),
            name::RAW_VALUE_SIZE => number(self.stats.value_bytes),
            _ => None,
        }
    }
}

/// Lengths that the properties tell.
struct IndexLen {
    total: u64,
    partitions: u64,
    top: u64,
}

impl IndexLen {
    fn one_level(index: &BlockWriter) -> Self {
        IndexLen { total: index.size() as u64 + 5, partitions: 0, top: 0 }
    }
}

struct Sink<'a> {
    out: &'a mut Vec<u8>,
    written: &'a mut u64,
    checksum: ChecksumKind,
}

/// Appends a block with its trailer; returns where it is.
fn put_block(
    sink: Sink<'_>,
    payload: &[u8],
    encoder: Option<&mut snap::raw::Encoder>,
    compressed: &mut Vec<u8>,
) -> Handle {
    let smaller = encoder.is_some_and(|e| compress::compress_snappy(e, payload, compressed));
    let (block_type, stored) = match smaller {
        true => (compress::TYPE_SNAPPY, compressed.as_slice()),
        false => (compress::TYPE_RAW, payload),
    };
    let handle = Handle { offset: *sink.written, len: stored.len() as u64 };
    sink.out.extend_from_slice(stored);
    sink.out.push(block_type);
    sink.out.extend_from_slice(&sink.checksum.compute(stored, block_type).to_le_bytes());
    *sink.written += stored.len() as u64 + 5;
    handle
}
