//! One block in memory, and the cursor that walks its entries.
//!
//! ```text
//! entry   = LEB(shared) | LEB(unshared) | LEB(value length) | key suffix | value
//! block   = entries | LE4 restart offset ... | LE4 number of restarts
//! stored  = payload | type (0 raw, 1 snappy, 7 zstd) | LE4 checksum
//! ```
//! The key of an entry is the first `shared` bytes of the key before it and the suffix. `shared` is 0 at
//! every restart. Values are borrowed from the block and the key is built in one reused buffer, so walking a
//! block allocates nothing.

use super::error::{Error, ErrorKind};
use super::{key, varint};
use std::cmp::Ordering;
use std::ops::Range;

/// An uncompressed block: payload without trailer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Block {
    /// Storage; longer than the payload when it held a larger block before.
    pub(super) buf: Vec<u8>,
    /// Length of the payload in `buf`.
    pub(super) len: usize,
    /// Where the block starts in the file, for messages.
    pub(super) file_offset: u64,
    /// End of the entries = start of the restart array.
    entries_end: usize,
    restarts: usize,
}

impl Block {
    /// Makes the block empty; the storage stays.
    pub(super) fn clear(&mut self) {
        (self.len, self.entries_end, self.restarts) = (0, 0, 0);
    }

    /// The payload.
    pub(super) fn payload(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or(&[])
    }

    /// Looks at the restart array; to be called after the payload was filled in.
    pub(super) fn index_restarts(&mut self) -> Result<(), Error> {
        let payload = self.payload();
        let Some((rest, count)) = payload.split_last_chunk::<4>() else {
            return Err(self.corrupt(
                ErrorKind::Truncated,
                0,
                "restart count",
                "the block is shorter than 4 bytes",
            ));
        };
        let count = u32::from_le_bytes(*count) as usize;
        let entries_end = count.checked_mul(4).and_then(|bytes| rest.len().checked_sub(bytes));
        let Some(entries_end) = entries_end else {
            let at = rest.len();
            let detail = format!("{count} restarts do not fit into a block of {} bytes", payload.len());
            return Err(self.corrupt(ErrorKind::Corrupt, at, "restart count", detail));
        };
        (self.entries_end, self.restarts) = (entries_end, count);
        Ok(())
    }

    fn restart(&self, index: usize) -> Option<usize> {
        let at = self.entries_end + index * 4;
        let bytes = self.payload().get(at..)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*bytes) as usize)
    }

    #[cold]
    pub(super) fn corrupt(
        &self,
        kind: ErrorKind,
        at: usize,
        field: &'static str,
        detail: impl Into<std::borrow::Cow<'static, str>>,
    ) -> Error {
        Error::new(kind, self.file_offset, field, detail).within(at)
    }
}

/// A position in a block. The block is given to each call, so that a cursor and its block can live side by
/// side in one struct.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cursor {
    /// Position of the next entry.
    next: usize,
    /// Key of the current entry.
    pub(super) key: Vec<u8>,
    value: Range<usize>,
}

/// Header of an entry: shared, unshared and value length, and where the key suffix starts.
#[inline(always)]
fn header(entries: &[u8], at: usize) -> Option<(usize, usize, usize, usize)> {
    if let Some(&[shared, unshared, value]) = entries.get(at..).and_then(|rest| rest.first_chunk::<3>())
        && (shared | unshared | value) < 0x80
    {
        return Some((usize::from(shared), usize::from(unshared), usize::from(value), at + 3));
    }
    let (shared, at) = varint::get_len(entries, at)?;
    let (unshared, at) = varint::get_len(entries, at)?;
    let (value, at) = varint::get_len(entries, at)?;
    Some((shared, unshared, value, at))
}

impl Cursor {
    /// Goes before the first entry.
    pub(super) fn rewind(&mut self) {
        self.next = 0;
        self.key.clear();
        self.value = 0..0;
    }

    /// The value of the current entry.
    #[inline]
    pub(super) fn value<'b>(&self, block: &'b Block) -> &'b [u8] {
        block.buf.get(self.value.clone()).unwrap_or(&[])
    }

    /// Whether no entry follows the current one.
    #[inline]
    pub(super) fn is_last(&self, block: &Block) -> bool {
        self.next >= block.entries_end
    }

    /// Goes to the next entry; false after the last one.
    #[inline]
    pub(super) fn advance(&mut self, block: &Block) -> Result<bool, Error> {
        let Some(entries) = block.buf.get(..block.entries_end) else { return Ok(false) };
        if self.next >= entries.len() {
            return Ok(false);
        }
        let Some((shared, unshared, value_len, at)) = header(entries, self.next) else {
            return Err(block.corrupt(ErrorKind::Truncated, self.next, "entry header", "not three numbers"));
        };
        if shared > self.key.len() {
            return Err(self.shared_too_long(block, shared));
        }
        let split = entries.get(at..).and_then(|rest| rest.split_at_checked(unshared));
        let Some((suffix, rest)) = split else {
            return Err(overlong(block, at, "key suffix length", unshared));
        };
        if value_len > rest.len() {
            return Err(overlong(block, at, "value length", value_len));
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(suffix);
        let value_at = at + unshared;
        self.value = value_at..value_at + value_len;
        self.next = self.value.end;
        Ok(true)
    }

    #[cold]
    fn shared_too_long(&self, block: &Block, shared: usize) -> Error {
        let detail = format!("{shared} bytes of a key of {} bytes", self.key.len());
        block.corrupt(ErrorKind::Corrupt, self.next, "shared key length", detail)
    }

    /// Goes to the first entry whose user key is at or after `target`; false if there is none.
    pub(super) fn seek(&mut self, block: &Block, target: &[u8]) -> Result<bool, Error> {
        // The last restart whose key is before the target; what is sought lies after it.
        let (mut low, mut high) = (0, block.restarts);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.restart_is_before(block, middle, target)? {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        self.rewind();
        if let Some(index) = low.checked_sub(1) {
            self.next = self.restart_offset(block, index)?;
        }
        while self.advance(block)? {
            let (user, _) = split_key(block, &self.key, self.value.start)?;
            if key::compare(user, target) != Ordering::Less {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn restart_offset(&self, block: &Block, index: usize) -> Result<usize, Error> {
        match block.restart(index) {
            Some(at) if at < block.entries_end => Ok(at),
            // An empty block has one restart at 0 and no entry.
            Some(0) => Ok(0),
            other => {
                let at = block.entries_end + index * 4;
                let detail = format!("{other:?} is not the position of an entry");
                Err(block.corrupt(ErrorKind::Corrupt, at, "restart offset", detail))
            }
        }
    }

    fn restart_is_before(&self, block: &Block, index: usize, target: &[u8]) -> Result<bool, Error> {
        let at = self.restart_offset(block, index)?;
        let entries = block.buf.get(..block.entries_end).unwrap_or(&[]);
        if entries.is_empty() {
            return Ok(false);
        }
        let Some((shared, unshared, _, suffix_at)) = header(entries, at) else {
            return Err(block.corrupt(ErrorKind::Truncated, at, "entry header", "not three numbers"));
        };
        if shared != 0 {
            let detail = format!("{shared} at a restart");
            return Err(block.corrupt(ErrorKind::Corrupt, at, "shared key length", detail));
        }
        let Some(key) = entries.get(suffix_at..).and_then(|rest| rest.get(..unshared)) else {
            return Err(overlong(block, suffix_at, "key suffix length", unshared));
        };
        let (user, _) = split_key(block, key, suffix_at)?;
        Ok(key::compare(user, target) == Ordering::Less)
    }
}

/// Splits an internal key, or says where it is too short.
#[inline]
pub(super) fn split_key<'k>(block: &Block, internal: &'k [u8], at: usize) -> Result<(&'k [u8], u64), Error> {
    match key::split_internal(internal) {
        Some(parts) => Ok(parts),
        None => {
            let detail = format!("{} bytes are too few for its trailer", internal.len());
            Err(block.corrupt(ErrorKind::Corrupt, at, "internal key", detail))
        }
    }
}

#[cold]
fn overlong(block: &Block, at: usize, field: &'static str, len: usize) -> Error {
    let left = block.entries_end.saturating_sub(at);
    block.corrupt(ErrorKind::Truncated, at, field, format!("{len} bytes, but {left} are left"))
}
