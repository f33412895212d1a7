//! Walking the entries of a table.

use super::block::{Block, Cursor, split_key};
use super::error::{Error, ErrorKind, ReadError};
use super::footer::Handle;
use super::key::{self, Kind};
use super::limits::BLOCK_LEN_MAX;
use super::reader::Reader;
use super::source::ReadAt;
use super::value_block::{Prefixed, ValueHandle, prefixed};
use std::cmp::Ordering;

/// One entry, borrowed from the iterator until its next call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Roachkey, separator, version and length byte.
    pub user_key: &'a [u8],
    /// SET in backups.
    pub kind: Kind,
    /// 0 in backups.
    pub sequence: u64,
    /// Empty for a deleted row.
    pub value: &'a [u8],
    /// Where the entry's block starts in the file.
    pub block_offset: u64,
}

impl<'a> Entry<'a> {
    /// Roachkey and version (8, 12 or 13 bytes; empty for keys without one).
    #[inline]
    pub fn mvcc(&self) -> Result<(&'a [u8], &'a [u8]), Error> {
        key::split(self.user_key).ok_or_else(|| {
            let detail = format!("{} has no valid version suffix", hex(self.user_key));
            Error::new(ErrorKind::Corrupt, self.block_offset, "user key", detail)
        })
    }
}

/// The first bytes of a key, for messages.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut out: String = bytes.iter().take(64).map(|b| format!("{b:02x}")).collect();
    if bytes.len() > 64 {
        out.push_str("...");
    }
    out
}

/// What was seen, for comparison with the properties.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Number of entries.
    pub entries: u64,
    /// Number of data blocks.
    pub blocks: u64,
    /// Bytes of internal keys.
    pub key_bytes: u64,
    /// Bytes of values.
    pub value_bytes: u64,
    /// Smallest version seen, if any had one.
    pub version_min: Option<Vec<u8>>,
    /// Largest version seen.
    pub version_max: Option<Vec<u8>>,
}

/// A forward iterator that holds one block in memory.
///
/// It lends its entries, so it is not a `std::iter::Iterator`: call [`Iter::next`] until it returns `None`.
/// After a damage the next call goes on behind the damaged block; after a failure of the source the iterator
/// should be dropped.
#[derive(Debug)]
pub struct Iter<'r, R> {
    reader: &'r Reader<R>,
    index: Cursor,
    index_done: bool,
    partition: Block,
    partition_cursor: Cursor,
    block: Block,
    cursor: Cursor,
    /// The cursor stands on an entry that was not returned yet.
    pending: bool,
    scratch: Vec<u8>,
    /// First user key not to be returned.
    end: Option<Vec<u8>>,
    /// The current block may hold keys at or beyond `end`.
    end_is_near: bool,
    finished: bool,
    value_block: Vec<u8>,
    value_block_number: Option<u64>,
    checks: Option<Box<Checks>>,
}

/// Order and counters, kept only on demand.
#[derive(Debug, Default)]
struct Checks {
    stats: Stats,
    /// The internal key before, split.
    last: Vec<u8>,
    last_trailer: u64,
    /// Index key of the current block.
    separator: Vec<u8>,
    separator_trailer: u64,
    /// Index key of the block before.
    floor: Vec<u8>,
    floor_trailer: u64,
    started: bool,
    first_of_block: bool,
}

impl<'r, R: ReadAt> Iter<'r, R> {
    pub(super) fn new(reader: &'r Reader<R>) -> Self {
        Iter {
            reader,
            index: Cursor::default(),
            index_done: false,
            partition: Block::default(),
            partition_cursor: Cursor::default(),
            block: Block::default(),
            cursor: Cursor::default(),
            pending: false,
            scratch: Vec::new(),
            end: None,
            end_is_near: false,
            finished: false,
            value_block: Vec::new(),
            value_block_number: None,
            checks: None,
        }
    }

    /// Also verifies that keys strictly increase and agree with the index, and keeps [`Iter::stats`].
    #[must_use]
    pub fn checked(mut self) -> Self {
        self.checks = Some(Box::default());
        self
    }

    /// What a checked iterator has seen so far.
    pub fn stats(&self) -> Stats {
        self.checks.as_ref().map(|c| c.stats.clone()).unwrap_or_default()
    }

    /// Entries at or beyond this roachkey are not returned. To be called before the first entry is fetched.
    pub fn set_end(&mut self, roachkey: &[u8]) {
        let mut end = Vec::with_capacity(roachkey.len() + 1);
        key::put_user_key(&mut end, roachkey, &[]);
        self.end = Some(end);
        self.end_is_near = true;
    }

    /// Goes before the first entry whose roachkey is at or after `roachkey`.
    pub fn seek_roachkey(&mut self, roachkey: &[u8]) -> Result<(), ReadError<R::Error>> {
        let mut target = Vec::with_capacity(roachkey.len() + 1);
        key::put_user_key(&mut target, roachkey, &[]);
        self.seek(&target)
    }

    /// Goes before the first entry whose user key is at or after `target`, forward or backward.
    pub fn seek(&mut self, target: &[u8]) -> Result<(), ReadError<R::Error>> {
        self.clear_position();
        let reader = self.reader;
        if !self.index.seek(&reader.index, target)? {
            self.index_done = true;
            return Ok(());
        }
        if reader.two_level {
            self.load_partition()?;
            if !self.partition_cursor.seek(&self.partition, target)? && !self.next_partition()? {
                return Ok(());
            }
        }
        self.load_block()?;
        if self.cursor.seek(&self.block, target)? {
            self.pending = true;
        }
        Ok(())
    }

    fn clear_position(&mut self) {
        self.index.rewind();
        self.index_done = false;
        self.partition.clear();
        self.partition_cursor.rewind();
        self.drop_block();
        self.finished = false;
        if let Some(checks) = &mut self.checks {
            checks.started = false;
        }
    }

    /// Makes the current block empty, so that the next call fetches another.
    fn drop_block(&mut self) {
        self.block.clear();
        self.cursor.rewind();
        self.pending = false;
    }

    /// The next entry, `None` at the end.
    // Not an Iterator: the entry borrows from the block that the next call may replace.
    #[allow(clippy::should_implement_trait)]
    #[inline]
    pub fn next(&mut self) -> Result<Option<Entry<'_>>, ReadError<R::Error>> {
        if !self.step()? {
            return Ok(None);
        }
        let (user_key, trailer) = split_key(&self.block, &self.cursor.key, 0)?;
        if self.end_is_near
            && let Some(end) = &self.end
            && key::compare(user_key, end) != Ordering::Less
        {
            self.finished = true;
            return Ok(None);
        }
        if let Some(checks) = &mut self.checks {
            checks.entry(&self.block, &self.cursor, (user_key, trailer))?;
        }
        let kind = Kind::from_byte(trailer.to_le_bytes()[0]);
        let mut value = self.cursor.value(&self.block);
        if self.reader.footer.format.has_value_prefix() && kind == Kind::Set {
            value = match prefixed(value) {
                Some(Prefixed::Here(value)) => value,
                Some(Prefixed::There(handle)) => fetch_value(
                    self.reader,
                    handle,
                    &mut self.value_block,
                    &mut self.value_block_number,
                    &mut self.scratch,
                )?,
                None => {
                    let detail = "neither in place nor a value handle";
                    return Err(self.block.corrupt(ErrorKind::Corrupt, 0, "value prefix", detail).into());
                }
            };
        }
        Ok(Some(Entry {
            user_key,
            kind,
            sequence: trailer >> 8,
            value,
            block_offset: self.block.file_offset,
        }))
    }

    /// Puts the cursor on the next entry.
    #[inline]
    fn step(&mut self) -> Result<bool, ReadError<R::Error>> {
        if std::mem::take(&mut self.pending) {
            return Ok(true);
        }
        loop {
            match self.cursor.advance(&self.block) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(e) => return Err(self.damaged_block(e)),
            }
            if self.finished || !self.next_block()? {
                self.finished = true;
                return Ok(false);
            }
        }
    }

    #[cold]
    fn damaged_block(&mut self, e: Error) -> ReadError<R::Error> {
        self.drop_block();
        e.into()
    }

    fn next_block(&mut self) -> Result<bool, ReadError<R::Error>> {
        self.drop_block();
        if !self.reader.two_level {
            if !self.next_index_entry()? {
                return Ok(false);
            }
            self.load_block()?;
            return Ok(true);
        }
        match self.partition_cursor.advance(&self.partition) {
            Ok(true) => {}
            Ok(false) => {
                if !self.next_partition()? {
                    return Ok(false);
                }
            }
            Err(e) => {
                self.partition.clear();
                self.partition_cursor.rewind();
                return Err(e.into());
            }
        }
        self.load_block()?;
        Ok(true)
    }

    fn next_index_entry(&mut self) -> Result<bool, ReadError<R::Error>> {
        if self.index_done {
            return Ok(false);
        }
        let moved = self.index.advance(&self.reader.index);
        self.index_done = !matches!(moved, Ok(true));
        Ok(moved?)
    }

    /// Goes to the first entry of the next index partition that has one.
    fn next_partition(&mut self) -> Result<bool, ReadError<R::Error>> {
        while self.next_index_entry()? {
            self.load_partition()?;
            if self.partition_cursor.advance(&self.partition)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn load_partition(&mut self) -> Result<(), ReadError<R::Error>> {
        self.partition.clear();
        self.partition_cursor.rewind();
        let handle = self.reader.handle(&self.reader.index, &self.index)?;
        let field = "index partition";
        self.reader.read_block(handle, BLOCK_LEN_MAX, field, &mut self.scratch, &mut self.partition)
    }

    /// Fetches the block of the current index entry.
    fn load_block(&mut self) -> Result<(), ReadError<R::Error>> {
        let (index, cursor) = match self.reader.two_level {
            true => (&self.partition, &self.partition_cursor),
            false => (&self.reader.index, &self.index),
        };
        let (separator, trailer) = split_key(index, &cursor.key, 0)?;
        self.end_is_near =
            self.end.as_ref().is_some_and(|end| key::compare(separator, end) != Ordering::Less);
        if let Some(checks) = &mut self.checks {
            checks.block(index, separator, trailer)?;
        }
        let handle = self.reader.handle(index, cursor)?;
        let read =
            self.reader.read_block(handle, BLOCK_LEN_MAX, "data block", &mut self.scratch, &mut self.block);
        if read.is_err() {
            self.drop_block();
        }
        read
    }
}

impl<R: ReadAt> Reader<R> {
    /// The handle in the current entry of an index.
    pub(super) fn handle(&self, index: &Block, cursor: &Cursor) -> Result<Handle, Error> {
        let value = cursor.value(index);
        match Handle::decode(value, 0) {
            Some((handle, end)) if end == value.len() || self.footer.format.has_block_properties() => {
                Ok(handle)
            }
            _ => {
                let detail = format!("{} is not an offset and a length", hex(value));
                Err(index.corrupt(ErrorKind::Corrupt, 0, "index entry", detail))
            }
        }
    }
}

/// Reads a value from its value block, of which one is kept.
fn fetch_value<'v, R: ReadAt>(
    reader: &Reader<R>,
    handle: ValueHandle,
    block: &'v mut Vec<u8>,
    number: &mut Option<u64>,
    scratch: &mut Vec<u8>,
) -> Result<&'v [u8], ReadError<R::Error>> {
    let Some(index) = &reader.value_index else {
        let detail = "a value lies in a value block, but the table has none";
        return Err(Error::new(ErrorKind::Corrupt, reader.len, "value index", detail).into());
    };
    let place = index.block(handle.block)?;
    if *number != Some(handle.block) {
        *number = None;
        reader.read_raw(place, BLOCK_LEN_MAX, "value block", scratch, block)?;
        *number = Some(handle.block);
    }
    match block.get(handle.at..).and_then(|rest| rest.get(..handle.len)) {
        Some(value) => Ok(value),
        None => {
            let detail = format!("{} bytes at {} of a block of {}", handle.len, handle.at, block.len());
            Err(Error::new(ErrorKind::Corrupt, place.offset, "value handle", detail).into())
        }
    }
}

impl Checks {
    /// A new block begins: the one before must end at or before its index key.
    fn block(&mut self, index: &Block, separator: &[u8], trailer: u64) -> Result<(), Error> {
        let result = self.separator_order(index, separator, trailer);
        std::mem::swap(&mut self.floor, &mut self.separator);
        self.floor_trailer = self.separator_trailer;
        self.separator.clear();
        self.separator.extend_from_slice(separator);
        self.separator_trailer = trailer;
        self.first_of_block = self.stats.blocks > 0 && self.started;
        self.stats.blocks += 1;
        result
    }

    fn separator_order(&self, index: &Block, separator: &[u8], trailer: u64) -> Result<(), Error> {
        let before = (self.separator.as_slice(), self.separator_trailer);
        if self.started && key::compare_internal(before, (separator, trailer)) != Ordering::Less {
            let detail = format!("{} is not after its predecessor", hex(separator));
            return Err(index.corrupt(ErrorKind::Order, 0, "index key", detail));
        }
        Ok(())
    }

    #[inline]
    fn entry(&mut self, block: &Block, cursor: &Cursor, (user, trailer): (&[u8], u64)) -> Result<(), Error> {
        let result = self.entry_order(block, (user, trailer), cursor.is_last(block));
        self.started = true;
        self.first_of_block = false;
        self.last.clear();
        self.last.extend_from_slice(user);
        self.last_trailer = trailer;
        self.stats.entries += 1;
        self.stats.key_bytes += user.len() as u64 + 8;
        self.stats.value_bytes += cursor.value(block).len() as u64;
        if let Some((_, version)) = key::split(user) {
            self.stats.version(version);
        }
        result
    }

    #[inline]
    fn entry_order(&self, block: &Block, now: (&[u8], u64), is_last: bool) -> Result<(), Error> {
        let user = now.0;
        let last = (self.last.as_slice(), self.last_trailer);
        if self.started && key::compare_internal(last, now) != Ordering::Less {
            let detail = format!("{} is not after its predecessor {}", hex(user), hex(&self.last));
            return Err(block.corrupt(ErrorKind::Order, 0, "key", detail));
        }
        let floor = (self.floor.as_slice(), self.floor_trailer);
        if self.first_of_block && key::compare_internal(floor, now) != Ordering::Less {
            let detail = format!("{} is not after the index key of the block before", hex(user));
            return Err(block.corrupt(ErrorKind::Order, 0, "key", detail));
        }
        let separator = (self.separator.as_slice(), self.separator_trailer);
        if is_last && key::compare_internal(now, separator) == Ordering::Greater {
            let detail = format!("{} is after the index key of its block", hex(user));
            return Err(block.corrupt(ErrorKind::Order, 0, "key", detail));
        }
        Ok(())
    }
}

impl Stats {
    #[inline]
    pub(super) fn version(&mut self, version: &[u8]) {
        if version.is_empty() || self.version_max.as_deref() == Some(version) {
            return;
        }
        widen(&mut self.version_min, version, Ordering::Less);
        widen(&mut self.version_max, version, Ordering::Greater);
    }
}

#[inline]
fn widen(bound: &mut Option<Vec<u8>>, version: &[u8], when: Ordering) {
    match bound {
        Some(bound) if version.cmp(bound.as_slice()) != when => {}
        Some(bound) => {
            bound.clear();
            bound.extend_from_slice(version);
        }
        None => *bound = Some(version.to_vec()),
    }
}
