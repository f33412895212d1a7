//! The envelope of an SST value: nothing (a tombstone), or checksum, tag and data.
//!
//! ```text
//! 886978a0    0a          23 02 13 02
//! └ CRC-32 of └ tag TUPLE └ data
//!   key ‖ tag ‖ data, big-endian, 0 = not computed
//! ```
//! From 22.2 on `BE4 length ‖ 65 ‖ header` may stand before it; it is skipped.

use super::error::{Error, Result};

/// Tag numbers of values.
#[allow(missing_docs)]
pub mod tag {
    pub const INT: u8 = 1;
    pub const FLOAT: u8 = 2;
    pub const BYTES: u8 = 3;
    pub const TIME: u8 = 4;
    pub const DECIMAL: u8 = 5;
    pub const DURATION: u8 = 6;
    pub const TUPLE: u8 = 10;
    pub const BITARRAY: u8 = 11;
    pub const TIMETZ: u8 = 12;
    pub const GEO: u8 = 13;
    pub const BOX2D: u8 = 14;
    pub const TIMESERIES: u8 = 100;
    /// Marks the extended form in byte 4.
    pub const EXTENDED: u8 = 101;
}

/// A value without its envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// The key was deleted at this version.
    Tombstone,
    /// A value.
    Present {
        /// As stored; 0: not computed.
        checksum: u32,
        /// One of [`tag`].
        tag: u8,
        /// What follows the tag.
        data: &'a [u8],
    },
}

const WHAT: &str = "value";

/// Takes the envelope off; checks nothing but the shape.
#[inline]
pub fn open(value: &[u8]) -> Result<Value<'_>> {
    open_simple(strip_header(value)?)
}

#[inline]
fn open_simple(simple: &[u8]) -> Result<Value<'_>> {
    if simple.is_empty() {
        return Ok(Value::Tombstone);
    }
    let Some((sum, [tag, data @ ..])) = simple.split_first_chunk::<4>() else {
        return Err(Error::Truncated { what: WHAT });
    };
    Ok(Value::Present { checksum: u32::from_be_bytes(*sum), tag: *tag, data })
}

/// Takes the envelope off and verifies the checksum against `key` (logical, without version).
pub fn open_verified<'a>(key: &[u8], value: &'a [u8]) -> Result<Value<'a>> {
    let simple = strip_header(value)?;
    let opened = open_simple(simple)?;
    if let (Value::Present { checksum: checksum @ 1.., .. }, Some((_, body))) =
        (opened, simple.split_first_chunk::<4>())
    {
        let mut crc = crc32fast::Hasher::new();
        crc.update(key);
        crc.update(body);
        let computed = crc.finalize().max(1);
        if computed != checksum {
            return Err(Error::Checksum { stored: checksum, computed });
        }
    }
    Ok(opened)
}

/// The value without an extended header, where there is one.
pub fn strip_header(value: &[u8]) -> Result<&[u8]> {
    let Some((len, rest)) = value.split_first_chunk::<4>() else { return Ok(value) };
    let Some((&tag::EXTENDED, rest)) = rest.split_first() else { return Ok(value) };
    let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| Error::Truncated { what: WHAT })?;
    let (_, simple) = rest.split_at_checked(len).ok_or(Error::Truncated { what: "value header" })?;
    Ok(simple)
}

/// The checksum of a value. Never 0.
pub fn compute(key: &[u8], tag: u8, data: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(key);
    crc.update(&[tag]);
    crc.update(data);
    match crc.finalize() {
        0 => 1,
        sum => sum,
    }
}

/// Starts a value in `out` (cleared): room for the checksum, then the tag. Append the data, then [`seal`].
pub fn begin(out: &mut Vec<u8>, tag: u8) {
    out.clear();
    out.extend_from_slice(&[0, 0, 0, 0, tag]);
}

/// Writes the checksum into a value that [`begin`] started.
pub fn seal(key: &[u8], out: &mut [u8]) {
    if let Some((sum, body)) = out.split_first_chunk_mut::<4>() {
        let mut crc = crc32fast::Hasher::new();
        crc.update(key);
        crc.update(body);
        *sum = crc.finalize().max(1).to_be_bytes();
    }
}
