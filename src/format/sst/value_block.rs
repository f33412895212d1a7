//! Values outside the data blocks: Pebble v3 and v4.
//!
//! ```text
//! value of a SET = 00.. prefix byte | value
//!                = 10.. prefix byte | LEB(value length) | LEB(value block number) | LEB(offset in the block)
//! value index    = per value block: number | offset | length, little endian, of the widths that follow the
//!                  handle of `pebble.value_index` in the metaindex
//! ```
//! Only values of older versions of a key are put there. Checked against tables of Pebble v1.1.

use super::error::{Error, ErrorKind};
use super::footer::Handle;
use super::varint;

/// Where the value blocks are.
#[derive(Debug, Clone)]
pub(crate) struct ValueIndex {
    widths: [usize; 3],
    bytes: Vec<u8>,
    file_offset: u64,
}

/// Where one value is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ValueHandle {
    pub(super) len: usize,
    pub(super) block: u64,
    pub(super) at: usize,
}

impl ValueIndex {
    pub(super) fn decode(file_offset: u64, widths: &[u8], bytes: Vec<u8>) -> Result<Self, Error> {
        let field = "value index widths";
        let widths = match *widths {
            [a, b, c] if a <= 8 && b <= 8 && c <= 8 && a > 0 => [a, b, c].map(usize::from),
            _ => {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    file_offset,
                    field,
                    "not three widths of up to 8",
                ));
            }
        };
        Ok(ValueIndex { widths, bytes, file_offset })
    }

    /// The handle of a value block.
    pub(super) fn block(&self, number: u64) -> Result<Handle, Error> {
        let width: usize = self.widths.iter().sum();
        let entry = usize::try_from(number)
            .ok()
            .and_then(|n| n.checked_mul(width))
            .and_then(|at| self.bytes.get(at..))
            .and_then(|rest| rest.get(..width));
        let found = entry.and_then(|entry| {
            let (stored, rest) = entry.split_at_checked(self.widths[0])?;
            let (offset, len) = rest.split_at_checked(self.widths[1])?;
            Some((little_endian(stored), Handle { offset: little_endian(offset), len: little_endian(len) }))
        });
        match found {
            Some((stored, handle)) if stored == number => Ok(handle),
            _ => {
                let detail = format!("{number} is not in the value index");
                Err(Error::new(ErrorKind::Corrupt, self.file_offset, "value block number", detail))
            }
        }
    }

    /// The handles of all value blocks.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Handle> {
        let width: usize = self.widths.iter().sum();
        (0..(self.bytes.len() / width) as u64).filter_map(|number| self.block(number).ok())
    }
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// A value as it stands in a data block of a table with prefix bytes.
pub(crate) enum Prefixed<'a> {
    Here(&'a [u8]),
    There(ValueHandle),
}

/// Looks at the prefix byte; `None` if the bytes are no value.
pub(super) fn prefixed(value: &[u8]) -> Option<Prefixed<'_>> {
    let (&prefix, rest) = value.split_first()?;
    match prefix & 0xc0 {
        0x00 => Some(Prefixed::Here(rest)),
        0x80 => {
            let (len, at) = varint::get_len(rest, 0)?;
            let (block, at) = varint::get(rest, at)?;
            let (offset, end) = varint::get_len(rest, at)?;
            (end == rest.len()).then_some(Prefixed::There(ValueHandle { len, block, at: offset }))
        }
        _ => None,
    }
}
