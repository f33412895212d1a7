//! SST user keys: the logical key, a separator and the version.
//!
//! ```text
//! e4898988   00   18e9d22f00d2a493 [00000001] [01]   09 | 0d | 0e
//! └ key      │    └ wall ns, BE     └ logical  └ synthetic
//!            └ separator                              └ length of the version + 1
//! ```

use super::error::{Error, Result};
use std::cmp::Ordering;

/// An MVCC timestamp. Ordered by wall time, then logical tick; the synthetic flag does not take part.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timestamp {
    /// Nanoseconds since the Unix epoch.
    pub wall: u64,
    /// Tick within the nanosecond.
    pub logical: u32,
    /// A timestamp that no clock gave out.
    pub synthetic: bool,
}

impl Timestamp {
    /// The timestamp before all others.
    pub const ZERO: Timestamp = Timestamp { wall: 0, logical: 0, synthetic: false };
    /// The timestamp after all others.
    pub const MAX: Timestamp = Timestamp { wall: u64::MAX, logical: u32::MAX, synthetic: false };

    /// A timestamp of whole nanoseconds.
    pub fn from_wall(wall: u64) -> Timestamp {
        Timestamp { wall, logical: 0, synthetic: false }
    }
}

impl PartialEq for Timestamp {
    fn eq(&self, other: &Timestamp) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Timestamp {}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Timestamp) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timestamp {
    fn cmp(&self, other: &Timestamp) -> Ordering {
        (self.wall, self.logical).cmp(&(other.wall, other.logical))
    }
}

/// Splits an SST user key into the logical key and its version; `None` for a key without a version.
pub fn split(user_key: &[u8]) -> Result<(&[u8], Option<Timestamp>)> {
    const WHAT: &str = "key version";
    let (last, front) = user_key.split_last().ok_or(Error::Truncated { what: WHAT })?;
    if *last == 0 {
        return Ok((front, None));
    }
    let at = front.len().checked_sub(usize::from(*last)).ok_or(Error::Truncated { what: WHAT })?;
    let (key, tail) = front.split_at_checked(at).ok_or(Error::Truncated { what: WHAT })?;
    let (separator, version) = tail.split_first().ok_or(Error::Truncated { what: WHAT })?;
    if *separator != 0 {
        return Err(Error::Invalid { what: WHAT });
    }
    Ok((key, Some(decode_version(version)?)))
}

/// Reads a version of 8, 12 or 13 bytes.
pub fn decode_version(version: &[u8]) -> Result<Timestamp> {
    const WHAT: &str = "key version";
    let (wall, rest) = version.split_first_chunk::<8>().ok_or(Error::Truncated { what: WHAT })?;
    let wall = u64::from_be_bytes(*wall);
    match rest {
        [] => Ok(Timestamp { wall, logical: 0, synthetic: false }),
        [a, b, c, d] => {
            Ok(Timestamp { wall, logical: u32::from_be_bytes([*a, *b, *c, *d]), synthetic: false })
        }
        [a, b, c, d, 1] => {
            Ok(Timestamp { wall, logical: u32::from_be_bytes([*a, *b, *c, *d]), synthetic: true })
        }
        _ => Err(Error::Invalid { what: WHAT }),
    }
}

/// Appends separator, version and length to a logical key that is already in `out`.
pub fn put_version(out: &mut Vec<u8>, at: Timestamp) {
    out.push(0);
    out.extend_from_slice(&at.wall.to_be_bytes());
    match (at.synthetic, at.logical) {
        (true, logical) => {
            out.extend_from_slice(&logical.to_be_bytes());
            out.extend_from_slice(&[1, 14]);
        }
        (false, 0) => out.push(9),
        (false, logical) => {
            out.extend_from_slice(&logical.to_be_bytes());
            out.push(13);
        }
    }
}

/// The SST user key of a logical key at a version.
pub fn join(key: &[u8], at: Timestamp) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 14);
    out.extend_from_slice(key);
    put_version(&mut out, at);
    out
}

/// Orders SST user keys as CockroachDB's comparer does: by logical key, then without version first, then
/// newest version first. Keys that cannot be split compare as bytes.
pub fn compare(a: &[u8], b: &[u8]) -> Ordering {
    match (split(a), split(b)) {
        (Ok((ka, va)), Ok((kb, vb))) => ka.cmp(kb).then_with(|| match (va, vb) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(x), Some(y)) => y.cmp(&x),
        }),
        _ => a.cmp(b),
    }
}
