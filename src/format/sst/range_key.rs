//! The range-key block: MVCC range tombstones of 22.2 and later.
//!
//! ```text
//! key   = start roachkey | 00 | LE8 (sequence number << 8 | kind)
//! SET   = LEB(len) end user key | per version: LEB(len) suffix | LEB(len) value     kind 21
//! UNSET = LEB(len) end user key | per version: LEB(len) suffix                      kind 20
//! DEL   = end user key                                                              kind 19
//! bd89f800 1500000000000000 = 04 bd89f900 09 18e9d22f00d2a49309 00                  written by Pebble v1.1.0
//! ```
//! A suffix is a version with its length byte. An empty value is a tombstone.

use super::block::Block;
use super::error::{Error, ErrorKind};
use super::{key, varint};

/// One span with the versions that apply to all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeKey {
    /// First roachkey of the span.
    pub start: Vec<u8>,
    /// First roachkey after the span.
    pub end: Vec<u8>,
    /// SET in backups.
    pub kind: key::Kind,
    /// The versions, in file order.
    pub versions: Vec<RangeKeyVersion>,
}

/// What happened to the span at one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeKeyVersion {
    /// 8, 12 or 13 bytes as in a user key, without the length byte.
    pub version: Vec<u8>,
    /// Empty for a tombstone.
    pub value: Vec<u8>,
}

pub(super) fn decode(block: &Block, user: &[u8], trailer: u64, value: &[u8]) -> Result<RangeKey, Error> {
    let corrupt =
        |field, at: usize, detail: &'static str| block.corrupt(ErrorKind::Corrupt, at, field, detail);
    let kind = key::Kind::from_byte(trailer.to_le_bytes()[0]);
    let (start, version) = key::split(user).ok_or_else(|| corrupt("range key start", 0, "not a user key"))?;
    if !version.is_empty() {
        return Err(corrupt("range key start", 0, "has a version"));
    }
    let has_value = match kind {
        key::Kind::RangeKeySet => true,
        key::Kind::RangeKeyUnset => false,
        key::Kind::RangeKeyDelete => {
            let end = roachkey(value).ok_or_else(|| corrupt("range key end", 0, "not a user key"))?;
            return Ok(RangeKey { start: start.to_vec(), end: end.to_vec(), kind, versions: Vec::new() });
        }
        other => {
            let detail = format!("{other:?} is not a kind of range key");
            return Err(block.corrupt(ErrorKind::Corrupt, 0, "range key kind", detail));
        }
    };
    let (end, mut rest) =
        chunk(value).ok_or_else(|| corrupt("range key end length", 0, "beyond the entry"))?;
    let end = roachkey(end).ok_or_else(|| corrupt("range key end", 0, "not a user key"))?;
    if end <= start {
        return Err(corrupt("range key end", 0, "not after its start"));
    }
    let mut versions = Vec::new();
    while !rest.is_empty() {
        let at = value.len() - rest.len();
        let (suffix, after) =
            chunk(rest).ok_or_else(|| corrupt("range key version length", at, "beyond the entry"))?;
        let version = match suffix.split_last() {
            Some((&len, version)) if usize::from(len) == suffix.len() => version,
            None => &[][..],
            Some(_) => return Err(corrupt("range key version", at, "wrong length byte")),
        };
        let (value, after) = match has_value {
            true => chunk(after).ok_or_else(|| corrupt("range key value length", at, "beyond the entry"))?,
            false => (&[][..], after),
        };
        versions.push(RangeKeyVersion { version: version.to_vec(), value: value.to_vec() });
        rest = after;
    }
    Ok(RangeKey { start: start.to_vec(), end: end.to_vec(), kind, versions })
}

fn roachkey(user: &[u8]) -> Option<&[u8]> {
    match key::split(user)? {
        (roachkey, []) => Some(roachkey),
        _ => None,
    }
}

/// A length and as many bytes; returns them and the rest.
fn chunk(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, at) = varint::get_len(bytes, 0)?;
    bytes.get(at..)?.split_at_checked(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes from Pebble v1.1.0, format page section 7.
    #[test]
    fn example_of_the_page() {
        let user = [0xbd, 0x89, 0xf8, 0x00];
        let value =
            [0x04, 0xbd, 0x89, 0xf9, 0x00, 0x09, 0x18, 0xe9, 0xd2, 0x2f, 0x00, 0xd2, 0xa4, 0x93, 0x09, 0x00];
        let key = decode(&Block::default(), &user, 0x15, &value).unwrap();
        assert_eq!(
            (key.start.as_slice(), key.end.as_slice()),
            (&[0xbd, 0x89, 0xf8][..], &[0xbd, 0x89, 0xf9][..])
        );
        assert_eq!(key.versions.len(), 1);
        assert_eq!(key.versions[0].version, [0x18, 0xe9, 0xd2, 0x2f, 0x00, 0xd2, 0xa4, 0x93]);
        assert!(key.versions[0].value.is_empty());
        for cut in 1..value.len() {
            assert!(decode(&Block::default(), &user, 0x15, &value[..cut]).is_err() || cut == 5, "{cut}");
        }
    }
}
