//! A cursor over bytes and the two unordered integer encodings.
//!
//! | name | definition | 300 |
//! |---|---|---|
//! | NS | base 128, most significant group first, bit 7 set on every byte but the last | `822c` |
//! | LEB | base 128, least significant group first (as protobuf) | `ac02` |
//! | ZZ | LEB of the zigzag form | `d804` |

use super::error::{Error, Result};

/// A cursor that consumes a byte slice from the left.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from the start.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// What is left.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether nothing is left.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next byte without consuming it.
    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The next byte.
    #[inline]
    pub fn u8(&mut self, what: &'static str) -> Result<u8> {
        let Some((first, rest)) = self.rest.split_first() else { return Err(Error::Truncated { what }) };
        self.rest = rest;
        Ok(*first)
    }

    /// The next `len` bytes.
    #[inline]
    pub fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8]> {
        let Some((head, rest)) = self.rest.split_at_checked(len) else {
            return Err(Error::Truncated { what });
        };
        self.rest = rest;
        Ok(head)
    }

    /// The next `len` bytes; `len` comes from the data.
    #[inline]
    pub fn take_u64(&mut self, len: u64, what: &'static str) -> Result<&'a [u8]> {
        let len = usize::try_from(len).map_err(|_| Error::Truncated { what })?;
        self.take(len, what)
    }

    /// The next `N` bytes as an array.
    #[inline]
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N]> {
        let Some((head, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(Error::Truncated { what });
        };
        self.rest = rest;
        Ok(*head)
    }

    /// Everything that is left.
    #[inline]
    pub fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Requires that nothing is left.
    #[inline]
    pub fn finish(&self, what: &'static str) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(Error::Trailing { what, count: self.rest.len() }) }
    }

    /// An NS integer.
    #[inline]
    pub fn ns(&mut self, what: &'static str) -> Result<u64> {
        let first = self.u8(what)?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        let mut value = u64::from(first & 0x7f);
        loop {
            let byte = self.u8(what)?;
            if value >> 57 != 0 {
                return Err(Error::Invalid { what });
            }
            value = value << 7 | u64::from(byte & 0x7f);
            if byte < 0x80 {
                return Ok(value);
            }
        }
    }

    /// A LEB integer.
    #[inline]
    pub fn leb(&mut self, what: &'static str) -> Result<u64> {
        if let Some((&byte @ ..0x80, rest)) = self.rest.split_first() {
            self.rest = rest;
            return Ok(u64::from(byte));
        }
        self.long_leb(what)
    }

    fn long_leb(&mut self, what: &'static str) -> Result<u64> {
        let mut value = 0u64;
        let mut shift = 0u32;
        loop {
            let byte = self.u8(what)?;
            let group = u64::from(byte & 0x7f);
            if shift > 63 || (shift == 63 && group > 1) {
                return Err(Error::Invalid { what });
            }
            value |= group << shift;
            if byte < 0x80 {
                return Ok(value);
            }
            shift += 7;
        }
    }

    /// A ZZ integer.
    #[inline]
    pub fn zigzag(&mut self, what: &'static str) -> Result<i64> {
        let v = self.leb(what)?;
        Ok((v >> 1).cast_signed() ^ -(v & 1).cast_signed())
    }
}

/// Appends an NS integer.
#[inline]
pub fn put_ns(out: &mut Vec<u8>, value: u64) {
    let groups = (64 - (value | 1).leading_zeros()).div_ceil(7);
    for i in (1..groups).rev() {
        out.push(low7(value >> (7 * i)) | 0x80);
    }
    out.push(low7(value));
}

/// Appends a LEB integer.
#[inline]
pub fn put_leb(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(low7(value) | 0x80);
        value >>= 7;
    }
    out.push(low7(value));
}

/// Appends a ZZ integer.
#[inline]
pub fn put_zigzag(out: &mut Vec<u8>, value: i64) {
    put_leb(out, (value << 1 ^ value >> 63).cast_unsigned());
}

#[inline]
fn low7(v: u64) -> u8 {
    let [byte, ..] = v.to_le_bytes();
    byte & 0x7f
}
