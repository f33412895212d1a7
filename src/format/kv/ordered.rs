//! Encodings whose bytes sort as their values do, ascending or descending.
//!
//! | name | definition |
//! |---|---|
//! | KU | 0..=109: one byte `88`+v; else `f5`+n and the n bytes of v, big-endian |
//! | KV | v >= 0 as KU; else `88`-n and the low n bytes of v |
//! | KUd | 0: `88`; else `88`-n and the n bytes of the complement |
//! | KVd | KV of the complement |
//!
//! Bytes ascending: `12`, the bytes with `00` written `00ff`, `0001`. Descending: `13` and the complement
//! of the rest.

use super::error::{Error, Result};
use super::layout::Direction;
use super::varint::Reader;
use std::borrow::Cow;

/// NULL ascending; descending it is `ff`.
pub const NULL_ASC: u8 = 0x00;
/// NULL descending.
pub const NULL_DESC: u8 = 0xff;
/// Marks an interleaved child's key after the parent's columns.
pub const INTERLEAVED: u8 = 0xfe;

pub(crate) const BYTES_ASC: u8 = 0x12;
pub(crate) const BYTES_DESC: u8 = 0x13;

const ZERO: u8 = 0x88;
const SMALL_MAX: u64 = 109;
const LARGE: u8 = 0xf5;

#[inline]
fn be_len(v: u64) -> u8 {
    // At most 8.
    #[allow(clippy::cast_possible_truncation)]
    let n = (71 - (v | 1).leading_zeros()) as u8 / 8;
    n
}

#[inline]
fn put_low_bytes(out: &mut Vec<u8>, v: u64, n: u8) {
    let bytes = v.to_be_bytes();
    let from = 8usize.saturating_sub(usize::from(n));
    out.extend_from_slice(bytes.get(from..).unwrap_or(&bytes));
}

#[inline]
fn get_bytes(r: &mut Reader<'_>, n: u8, what: &'static str) -> Result<u64> {
    let mut v = 0u64;
    for &b in r.take(usize::from(n), what)? {
        v = v << 8 | u64::from(b);
    }
    Ok(v)
}

/// Appends KU(v).
#[inline]
pub fn put_ku(out: &mut Vec<u8>, v: u64) {
    if v <= SMALL_MAX {
        let [byte, ..] = v.to_le_bytes();
        out.push(ZERO + byte);
    } else {
        let n = be_len(v);
        out.push(LARGE + n);
        put_low_bytes(out, v, n);
    }
}

/// Appends KV(v).
#[inline]
pub fn put_kv(out: &mut Vec<u8>, v: i64) {
    if v >= 0 {
        return put_ku(out, v.cast_unsigned());
    }
    // n is the smallest with v >= -(2^(8n) - 1).
    let n = be_len(v.unsigned_abs());
    out.push(ZERO - n);
    put_low_bytes(out, v.cast_unsigned(), n);
}

/// Appends KUd(v).
#[inline]
pub fn put_kud(out: &mut Vec<u8>, v: u64) {
    if v == 0 {
        return out.push(ZERO);
    }
    let n = be_len(v);
    out.push(ZERO - n);
    put_low_bytes(out, !v, n);
}

/// Appends KVd(v).
#[inline]
pub fn put_kvd(out: &mut Vec<u8>, v: i64) {
    put_kv(out, !v);
}

/// Appends a signed integer in a direction.
#[inline]
pub fn put_int(out: &mut Vec<u8>, v: i64, direction: Direction) {
    match direction {
        Direction::Asc => put_kv(out, v),
        Direction::Desc => put_kvd(out, v),
    }
}

/// Appends an unsigned integer in a direction.
#[inline]
pub fn put_uint(out: &mut Vec<u8>, v: u64, direction: Direction) {
    match direction {
        Direction::Asc => put_ku(out, v),
        Direction::Desc => put_kud(out, v),
    }
}

/// Reads KU.
#[inline]
pub fn get_ku(r: &mut Reader<'_>, what: &'static str) -> Result<u64> {
    let b = r.u8(what)?;
    match b {
        0x88..=0xf5 => Ok(u64::from(b - ZERO)),
        0xf6..=0xfd => get_bytes(r, b - LARGE, what),
        _ => Err(Error::Invalid { what }),
    }
}

/// Reads KV.
#[inline]
pub fn get_kv(r: &mut Reader<'_>, what: &'static str) -> Result<i64> {
    let b = r.u8(what)?;
    match b {
        0x88..=0xf5 => Ok(i64::from(b - ZERO)),
        0xf6..=0xfd => i64::try_from(get_bytes(r, b - LARGE, what)?).map_err(|_| Error::Invalid { what }),
        0x80..=0x87 => {
            let n = ZERO - b;
            let low = get_bytes(r, n, what)?;
            let high = u64::MAX.checked_shl(8 * u32::from(n)).unwrap_or(0);
            let v = (high | low).cast_signed();
            if v < 0 { Ok(v) } else { Err(Error::Invalid { what }) }
        }
        _ => Err(Error::Invalid { what }),
    }
}

/// Reads KUd.
#[inline]
pub fn get_kud(r: &mut Reader<'_>, what: &'static str) -> Result<u64> {
    let b = r.u8(what)?;
    match b {
        ZERO => Ok(0),
        0x80..=0x87 => {
            let n = ZERO - b;
            let low = get_bytes(r, n, what)?;
            Ok(!low & u64::MAX.checked_shr(64 - 8 * u32::from(n)).unwrap_or(0))
        }
        _ => Err(Error::Invalid { what }),
    }
}

/// Reads a signed integer in a direction.
#[inline]
pub fn get_int(r: &mut Reader<'_>, direction: Direction, what: &'static str) -> Result<i64> {
    match direction {
        Direction::Asc => get_kv(r, what),
        Direction::Desc => Ok(!get_kv(r, what)?),
    }
}

/// Reads an unsigned integer in a direction.
#[inline]
pub fn get_uint(r: &mut Reader<'_>, direction: Direction, what: &'static str) -> Result<u64> {
    match direction {
        Direction::Asc => get_ku(r, what),
        Direction::Desc => get_kud(r, what),
    }
}

/// Appends a float. -0 becomes 0: see composite datums.
pub fn put_float(out: &mut Vec<u8>, v: f64, direction: Direction) {
    if v.is_nan() {
        return out.push(if direction == Direction::Asc { 0x02 } else { 0x06 });
    }
    let v = if direction == Direction::Asc { v } else { -v };
    if v == 0.0 {
        out.push(0x04);
    } else if v < 0.0 {
        out.push(0x03);
        out.extend_from_slice(&(!v.to_bits()).to_be_bytes());
    } else {
        out.push(0x05);
        out.extend_from_slice(&v.to_bits().to_be_bytes());
    }
}

/// The NaN that CockroachDB stores.
pub const NAN: f64 = f64::from_bits(0x7ff8_0000_0000_0001);

/// Reads a float.
pub fn get_float(r: &mut Reader<'_>, direction: Direction, what: &'static str) -> Result<f64> {
    let v = match r.u8(what)? {
        0x02 if direction == Direction::Asc => return Ok(NAN),
        0x06 if direction == Direction::Desc => return Ok(NAN),
        0x04 => return Ok(0.0),
        0x03 => f64::from_bits(!u64::from_be_bytes(r.array(what)?)),
        0x05 => f64::from_bits(u64::from_be_bytes(r.array(what)?)),
        _ => return Err(Error::Invalid { what }),
    };
    Ok(if direction == Direction::Asc { v } else { -v })
}

/// Appends escaped bytes without marker: `00` as `00ff`, then the terminator `0001`.
pub fn put_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    put_escaped_open(out, bytes);
    out.extend_from_slice(&[0x00, 0x01]);
}

/// Appends escaped bytes without marker and without terminator.
pub fn put_escaped_open(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut parts = bytes.split(|&b| b == 0);
    out.extend_from_slice(parts.next().unwrap_or_default());
    for part in parts {
        out.extend_from_slice(&[0x00, 0xff]);
        out.extend_from_slice(part);
    }
}

/// Appends a byte string with its marker.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8], direction: Direction) {
    match direction {
        Direction::Asc => {
            out.push(BYTES_ASC);
            put_escaped(out, bytes);
        }
        Direction::Desc => {
            out.push(BYTES_DESC);
            let from = out.len();
            put_escaped(out, bytes);
            complement_from(out, from);
        }
    }
}

/// Complements everything in `out` from a position on.
pub(crate) fn complement_from(out: &mut [u8], from: usize) {
    for b in out.iter_mut().skip(from) {
        *b = !*b;
    }
}

/// Reads a byte string with its marker. Ascending strings without zero bytes are borrowed.
pub fn get_bytes_string<'a>(
    r: &mut Reader<'a>,
    direction: Direction,
    what: &'static str,
) -> Result<Cow<'a, [u8]>> {
    let (marker, mask) = match direction {
        Direction::Asc => (BYTES_ASC, 0x00u8),
        Direction::Desc => (BYTES_DESC, 0xffu8),
    };
    if r.u8(what)? != marker {
        return Err(Error::Invalid { what });
    }
    get_escaped(r, mask, what)
}

/// Reads escaped bytes up to and including the terminator; `mask` is xored onto every byte.
pub(crate) fn get_escaped<'a>(r: &mut Reader<'a>, mask: u8, what: &'static str) -> Result<Cow<'a, [u8]>> {
    let mut owned: Vec<u8> = Vec::new();
    let mut first = true;
    loop {
        let rest = r.rest();
        let at = rest.iter().position(|&b| b == mask).ok_or(Error::Truncated { what })?;
        let part = r.take(at, what)?;
        r.u8(what)?;
        match r.u8(what)? ^ mask {
            0x01 if first && mask == 0 => return Ok(Cow::Borrowed(part)),
            0x01 => {
                owned.extend(part.iter().map(|b| b ^ mask));
                return Ok(Cow::Owned(owned));
            }
            0xff => {
                owned.extend(part.iter().map(|b| b ^ mask));
                owned.push(0x00);
                first = false;
            }
            _ => return Err(Error::Invalid { what }),
        }
    }
}
