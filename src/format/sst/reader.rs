//! Opening a table and fetching its blocks.

use super::block::{Block, Cursor, split_key};
use super::compress;
use super::error::{Error, ErrorKind, ReadError};
use super::footer::{Footer, Handle, TableFormat};
use super::iter::Iter;
use super::limits::*;
use super::properties::Properties;
use super::range_key::{self, RangeKey};
use super::source::ReadAt;
use super::value_block::ValueIndex;

/// One named block of the metaindex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaBlock {
    /// For example `rocksdb.properties`.
    pub name: Vec<u8>,
    /// Where it is.
    pub handle: Handle,
}

/// An open table: footer, properties and index in memory; everything else is fetched when needed.
///
/// Shared references suffice for everything, so one reader can serve several iterators and threads.
#[derive(Debug)]
pub struct Reader<R> {
    pub(super) source: R,
    pub(super) len: u64,
    pub(super) footer: Footer,
    pub(super) properties: Properties,
    pub(super) metaindex: Vec<MetaBlock>,
    /// The index, or the top level of a two-level one.
    pub(super) index: Block,
    pub(super) two_level: bool,
    pub(super) value_index: Option<ValueIndex>,
}

const PROPERTIES: &[u8] = b"rocksdb.properties";
const RANGE_KEYS: &[u8] = b"pebble.range_key";
const VALUE_INDEX: &[u8] = b"pebble.value_index";
const RANGE_DELS: [&[u8]; 2] = [b"rocksdb.range_del", b"rocksdb.range_del2"];

impl<R: ReadAt> Reader<R> {
    /// Opens a table of `len` bytes: reads footer, metaindex, properties and index, and verifies them.
    ///
    /// Fails on anything that would make the data mean something else: an unknown format or comparator,
    /// range deletions, damaged checksums.
    pub fn open(source: R, len: u64) -> Result<Self, ReadError<R::Error>> {
        let mut scratch = Vec::new();
        let tail_len = usize::try_from(len).unwrap_or(usize::MAX).min(ROCKSDB_FOOTER_LEN);
        let tail_at = len - tail_len as u64;
        let tail = source.read_at(tail_at, tail_len, &mut scratch).map_err(ReadError::Source)?;
        if tail.len() != tail_len {
            return Err(short(tail_at, tail_len, tail.len()).into());
        }
        let footer = Footer::decode(tail, len)?;
        let mut reader = Reader {
            source,
            len,
            footer,
            properties: Properties::default(),
            metaindex: Vec::new(),
            index: Block::default(),
            two_level: false,
            value_index: None,
        };
        reader.load_meta(&mut scratch)?;
        Ok(reader)
    }

    fn load_meta(&mut self, scratch: &mut Vec<u8>) -> Result<(), ReadError<R::Error>> {
        let mut block = Block::default();
        self.read_block(self.footer.metaindex, META_LEN_MAX, "metaindex block", scratch, &mut block)?;
        let mut metaindex = Vec::new();
        let mut value_widths = None;
        for_each_meta(&block, |block, name, value| {
            let Some((handle, end)) = Handle::decode(value, 0) else {
                let detail = "not an offset and a length";
                return Err(Error::new(ErrorKind::Corrupt, block.file_offset, "metaindex handle", detail));
            };
            if name == VALUE_INDEX {
                value_widths = Some((handle, value.get(end..).unwrap_or(&[]).to_vec()));
            }
            metaindex.push(MetaBlock { name: name.to_vec(), handle });
            Ok(())
        })?;
        self.metaindex = metaindex;
        if let Some(handle) = self.meta(PROPERTIES) {
            self.read_block(handle, META_LEN_MAX, "properties block", scratch, &mut block)?;
            let mut properties = Properties::at(handle.offset);
            for_each_meta(&block, |_, name, value| {
                properties.insert(name, value);
                Ok(())
            })?;
            properties.check_supported()?;
            self.two_level = properties.two_level_index()?;
            self.properties = properties;
        }
        self.refuse_range_deletions(scratch, &mut block)?;
        if let Some((handle, widths)) = value_widths {
            if !self.footer.format.has_value_prefix() {
                let detail = "the table has value blocks, which this version does not know";
                return Err(Error::new(ErrorKind::Corrupt, self.len - 12, "footer version", detail).into());
            }
            let mut stored = Vec::new();
            self.read_raw(handle, BLOCK_LEN_MAX, "value index block", scratch, &mut stored)?;
            self.value_index = Some(ValueIndex::decode(handle.offset, &widths, stored)?);
        }
        let mut index = std::mem::take(&mut self.index);
        self.read_block(self.footer.index, BLOCK_LEN_MAX, "index block", scratch, &mut index)?;
        self.index = index;
        Ok(())
    }

    /// They hide keys below them; a backup never has any, and a reader that skipped them would show
    /// deleted rows.
    fn refuse_range_deletions(
        &self,
        scratch: &mut Vec<u8>,
        block: &mut Block,
    ) -> Result<(), ReadError<R::Error>> {
        for name in RANGE_DELS {
            let Some(handle) = self.meta(name) else { continue };
            self.read_block(handle, BLOCK_LEN_MAX, "range deletion block", scratch, block)?;
            if Cursor::default().advance(block)? {
                let detail = "range deletions are never part of a backup";
                let e = Error::new(ErrorKind::Unsupported, handle.offset, "range deletion block", detail);
                return Err(e.into());
            }
        }
        Ok(())
    }

    /// Handle of a named block.
    pub(super) fn meta(&self, name: &[u8]) -> Option<Handle> {
        self.metaindex.iter().find(|block| block.name == name).map(|block| block.handle)
    }

    /// Length of the file in bytes, as given to [`Reader::open`].
    pub fn file_len(&self) -> u64 {
        self.len
    }

    /// The source, as given to [`Reader::open`].
    pub fn source(&self) -> &R {
        &self.source
    }

    /// The decoded footer.
    pub fn footer(&self) -> &Footer {
        &self.footer
    }

    /// Generation of the table.
    pub fn format(&self) -> TableFormat {
        self.footer.format
    }

    /// The properties; empty if the file has none.
    pub fn properties(&self) -> &Properties {
        &self.properties
    }

    /// The named blocks in file order of the metaindex.
    pub fn metaindex(&self) -> &[MetaBlock] {
        &self.metaindex
    }

    /// Whether the index has two levels.
    pub fn has_two_level_index(&self) -> bool {
        self.two_level
    }

    /// An iterator over all entries, before the first.
    pub fn iter(&self) -> Iter<'_, R> {
        Iter::new(self)
    }

    /// An iterator over the entries whose roachkey lies in `start <= key < end`, before the first.
    pub fn iter_span(&self, start: &[u8], end: &[u8]) -> Result<Iter<'_, R>, ReadError<R::Error>> {
        let mut iter = Iter::new(self);
        iter.set_end(end);
        iter.seek_roachkey(start)?;
        Ok(iter)
    }

    /// MVCC range tombstones (22.2 and later, in incremental layers): every key of a span is deleted at some
    /// versions. They must be applied together with the entries. Sorted by start key; usually empty.
    pub fn range_keys(&self) -> Result<Vec<RangeKey>, ReadError<R::Error>> {
        let Some(handle) = self.meta(RANGE_KEYS) else { return Ok(Vec::new()) };
        let mut block = Block::default();
        self.read_block(handle, BLOCK_LEN_MAX, "range key block", &mut Vec::new(), &mut block)?;
        let (mut keys, mut cursor) = (Vec::new(), Cursor::default());
        while cursor.advance(&block)? {
            let (user, trailer) = split_key(&block, &cursor.key, 0)?;
            keys.push(range_key::decode(&block, user, trailer, cursor.value(&block))?);
        }
        Ok(keys)
    }

    /// Fetches a block with entries, verifies its checksum and uncompresses it.
    pub(super) fn read_block(
        &self,
        handle: Handle,
        limit: usize,
        field: &'static str,
        scratch: &mut Vec<u8>,
        into: &mut Block,
    ) -> Result<(), ReadError<R::Error>> {
        into.clear();
        into.file_offset = handle.offset;
        into.len = self.read_payload(handle, limit, field, scratch, &mut into.buf)?;
        Ok(into.index_restarts()?)
    }

    /// Fetches a block without entries.
    pub(super) fn read_raw(
        &self,
        handle: Handle,
        limit: usize,
        field: &'static str,
        scratch: &mut Vec<u8>,
        into: &mut Vec<u8>,
    ) -> Result<(), ReadError<R::Error>> {
        let len = self.read_payload(handle, limit, field, scratch, into)?;
        into.truncate(len);
        Ok(())
    }

    fn read_payload(
        &self,
        handle: Handle,
        limit: usize,
        field: &'static str,
        scratch: &mut Vec<u8>,
        into: &mut Vec<u8>,
    ) -> Result<usize, ReadError<R::Error>> {
        let stored_len = self.check_handle(handle, limit, field)?;
        let stored = self.source.read_at(handle.offset, stored_len, scratch).map_err(ReadError::Source)?;
        if stored.len() != stored_len {
            return Err(short(handle.offset, stored_len, stored.len()).into());
        }
        let Some((payload, [block_type, checksum @ ..])) = stored.split_last_chunk::<BLOCK_TRAILER_LEN>()
        else {
            return Err(short(handle.offset, stored_len, stored.len()).into());
        };
        let (want, got) = (u32::from_le_bytes(*checksum), self.footer.checksum.compute(payload, *block_type));
        if want != got {
            let detail = format!("checksum {want:08x} is stored, {got:08x} computed");
            return Err(Error::new(ErrorKind::Checksum, handle.offset, field, detail).into());
        }
        Ok(compress::decompress(*block_type, payload, into, limit, handle.offset)?)
    }

    /// Compares a handle with the file and the limit; returns the stored length with trailer.
    fn check_handle(&self, handle: Handle, limit: usize, field: &'static str) -> Result<usize, Error> {
        let data_end = self.len - self.footer.format.footer_len() as u64;
        if handle.end().is_none_or(|end| end > data_end) {
            let detail = format!("{} bytes do not fit before the footer at {data_end}", handle.len);
            return Err(Error::new(ErrorKind::Truncated, handle.offset, field, detail));
        }
        match usize::try_from(handle.len) {
            Ok(len) if len <= limit => Ok(len + BLOCK_TRAILER_LEN),
            _ => {
                let detail = format!("{} bytes are more than the limit of {limit}", handle.len);
                Err(Error::new(ErrorKind::TooLarge, handle.offset, field, detail))
            }
        }
    }
}

/// Walks a block whose keys are names without trailers, in order and without repetition.
fn for_each_meta(
    block: &Block,
    mut each: impl FnMut(&Block, &[u8], &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut cursor = Cursor::default();
    let mut last: Option<Vec<u8>> = None;
    let mut count = 0;
    while cursor.advance(block)? {
        count += 1;
        if count > META_ENTRIES_MAX {
            let detail = format!("more than {META_ENTRIES_MAX}");
            return Err(Error::new(ErrorKind::TooLarge, block.file_offset, "number of names", detail));
        }
        if last.as_ref().is_some_and(|last| *last >= cursor.key) {
            let detail = format!("{} is not after its predecessor", cursor.key.escape_ascii());
            return Err(Error::new(ErrorKind::Order, block.file_offset, "names", detail));
        }
        each(block, &cursor.key, cursor.value(block))?;
        last.get_or_insert_default().clone_from(&cursor.key);
    }
    Ok(())
}

fn short(offset: u64, want: usize, got: usize) -> Error {
    let detail = format!("the source returned {got} of {want} bytes: the file ends early");
    Error::new(ErrorKind::Truncated, offset, "file", detail)
}
