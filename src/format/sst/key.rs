//! User keys, MVCC versions, the order of keys, and the eight bytes after each key.
//!
//! ```text
//! internal key = user key | LE8 (sequence number << 8 | kind)
//! user key     = roachkey | 00 | version | len(version) + 1       (a version of 8, 12 or 13 bytes)
//!              = roachkey | 00                                    (no version)
//! e48989 88 | 00 | 18e9d22f00d2a493 | 09                          table 92, index 1, id 1, family 0
//! ```
//! Checked against files of v1.1 to v21.1.

use super::limits::KEY_TRAILER_LEN;
use std::cmp::Ordering;

/// The trailer of every entry of a backup: sequence number 0, kind SET.
pub const SET_TRAILER: u64 = 1;

/// The trailer of shortened index keys: the largest sequence number, kind 17.
pub const SEPARATOR_TRAILER: u64 = u64::MAX << 8 | 17;

/// What an entry does to its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 0: removes the key from lower levels. Never in a backup.
    Delete,
    /// 1: the only kind in backups; a deleted row is a SET with an empty value.
    Set,
    /// 2: an operand for the merge operator. Never in a backup.
    Merge,
    /// 15: removes a span. Never in a backup.
    RangeDelete,
    /// 18: as SET, with a hint for compactions. Never in a backup.
    SetWithDelete,
    /// 19, range-key block only: removes every range key of the span.
    RangeKeyDelete,
    /// 20, range-key block only: removes the range key with that version.
    RangeKeyUnset,
    /// 21, range-key block only: an MVCC range tombstone when its value is empty.
    RangeKeySet,
    /// Anything else, by number.
    Other(u8),
}

impl Kind {
    /// From the low byte of a trailer.
    pub fn from_byte(byte: u8) -> Kind {
        match byte {
            0 => Kind::Delete,
            1 => Kind::Set,
            2 => Kind::Merge,
            15 => Kind::RangeDelete,
            18 => Kind::SetWithDelete,
            19 => Kind::RangeKeyDelete,
            20 => Kind::RangeKeyUnset,
            21 => Kind::RangeKeySet,
            other => Kind::Other(other),
        }
    }
}

/// Splits an internal key into user key and trailer; `None` if it is shorter than a trailer.
#[inline]
pub fn split_internal(key: &[u8]) -> Option<(&[u8], u64)> {
    let (user, trailer) = key.split_last_chunk::<KEY_TRAILER_LEN>()?;
    Some((user, u64::from_le_bytes(*trailer)))
}

/// Splits a user key into roachkey and version (empty if the key has none), `None` if it is malformed:
/// empty, without the separator, or with a length byte that reaches before the key.
#[inline]
pub fn split(user_key: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, head) = user_key.split_last()?;
    if len == 0 {
        return Some((head, &[]));
    }
    let version_at = head.len().checked_sub(usize::from(len) - 1)?;
    let (key, version) = head.split_at_checked(version_at)?;
    match key.split_last() {
        Some((0, roachkey)) => Some((roachkey, version)),
        _ => None,
    }
}

/// As [`split`], with the whole of a malformed key standing for the roachkey, so that the order is total.
#[inline]
fn split_lenient(user_key: &[u8]) -> (&[u8], &[u8]) {
    split(user_key).unwrap_or((user_key, &[]))
}

/// The order of user keys: roachkeys bytewise; for equal roachkeys no version first, then newer versions
/// (greater bytes) before older ones.
#[inline]
pub fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let ((ka, va), (kb, vb)) = (split_lenient(a), split_lenient(b));
    ka.cmp(kb).then_with(|| compare_versions(va, vb))
}

/// The order of versions of one roachkey: none first, then newest first.
#[inline]
pub fn compare_versions(a: &[u8], b: &[u8]) -> Ordering {
    match (a.is_empty(), b.is_empty()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => b.cmp(a),
    }
}

/// The order of internal keys: user keys, then greater trailers first.
#[inline]
pub fn compare_internal(a: (&[u8], u64), b: (&[u8], u64)) -> Ordering {
    compare(a.0, b.0).then_with(|| b.1.cmp(&a.1))
}

/// Appends the user key of `roachkey` at `version` (8, 12 or 13 bytes, or none).
///
/// # Panics
/// Never; a version of more than 254 bytes cannot be expressed and is cut to its first 254.
pub fn put_user_key(out: &mut Vec<u8>, roachkey: &[u8], version: &[u8]) {
    out.extend_from_slice(roachkey);
    out.push(0);
    if let Some(len) = u8::try_from(version.len()).ok().and_then(|n| n.checked_add(1))
        && len > 1
    {
        out.extend_from_slice(version);
        out.push(len);
    }
}

/// A user key at or after `a` and before every key after `b`, as short as can be: used between blocks.
///
/// `a` and `b` are user keys, `a` before `b`. Appends to `out` and returns true if something shorter than `a`
/// was found; otherwise leaves `out` as it was.
pub fn shorten_between(out: &mut Vec<u8>, a: &[u8], b: &[u8]) -> bool {
    let (Some((ka, _)), Some((kb, _))) = (split(a), split(b)) else { return false };
    let shared = ka.iter().zip(kb).take_while(|(x, y)| x == y).count();
    let (Some(&x), Some(&y)) = (ka.get(shared), kb.get(shared)) else { return false };
    if x >= y {
        return false;
    }
    // Raise the first different byte, if the result stays below `b`; else the next byte that can be raised.
    let raise_at = if shared + 1 < kb.len() || x + 1 < y {
        Some(shared)
    } else {
        ka.iter().enumerate().skip(shared + 1).find(|(_, byte)| **byte != 0xff).map(|(i, _)| i)
    };
    put_raised(out, ka, raise_at, a.len())
}

/// A user key at or after `a`, as short as can be: used after the last block. As [`shorten_between`].
pub fn shorten_after(out: &mut Vec<u8>, a: &[u8]) -> bool {
    let Some((ka, _)) = split(a) else { return false };
    put_raised(out, ka, ka.iter().position(|byte| *byte != 0xff), a.len())
}

fn put_raised(out: &mut Vec<u8>, roachkey: &[u8], raise_at: Option<usize>, longest: usize) -> bool {
    let Some(at) = raise_at else { return false };
    let (Some(head), Some(&byte)) = (roachkey.get(..at), roachkey.get(at)) else { return false };
    if at + 2 > longest {
        return false;
    }
    out.extend_from_slice(head);
    out.push(byte.wrapping_add(1));
    out.push(0);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(roachkey: &[u8], version: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_user_key(&mut out, roachkey, version);
        out
    }

    /// Format page, keys section 2: table 92, index 1, id = 1, family 0.
    #[test]
    fn example_of_the_page() {
        let bytes = [0xe4, 0x89, 0x89, 0x88, 0x00, 0x18, 0xe9, 0xd2, 0x2f, 0x00, 0xd2, 0xa4, 0x93, 0x09];
        let (roachkey, version) = split(&bytes).unwrap();
        assert_eq!(roachkey, [0xe4, 0x89, 0x89, 0x88]);
        assert_eq!(version, [0x18, 0xe9, 0xd2, 0x2f, 0x00, 0xd2, 0xa4, 0x93]);
        assert_eq!(key(roachkey, version), bytes);
    }

    #[test]
    fn versions_of_every_length() {
        for len in [8usize, 12, 13] {
            let version = vec![7; len];
            let key = key(b"k", &version);
            assert_eq!(usize::from(*key.last().unwrap()), len + 1);
            assert_eq!(split(&key), Some((&b"k"[..], &version[..])));
        }
    }

    #[test]
    fn order() {
        let v8 = 9u64.to_be_bytes();
        let mut v12 = v8.to_vec();
        v12.extend_from_slice(&1u32.to_be_bytes());
        let sorted = [
            vec![],
            key(b"a", b""),
            key(b"a", &v12),
            key(b"a", &v8),
            key(b"a", &8u64.to_be_bytes()),
            key(b"a\0", b""),
            key(b"a\0", &v8),
            key(b"ab", &v8),
            key(b"b", b""),
        ];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{i} {j}");
            }
        }
    }

    #[test]
    fn malformed_keys_do_not_split() {
        for bad in [&b""[..], b"\x01", b"\x09", b"ab\x03", b"abc\x02", b"a\xff"] {
            assert_eq!(split(bad), None, "{bad:?}");
        }
        assert_eq!(split(b"\0"), Some((&b""[..], &b""[..])));
        assert_eq!(split(b"a\0\x01"), Some((&b"a"[..], &b""[..])));
    }

    #[test]
    fn separators() {
        let v = 9u64.to_be_bytes();
        let between = |a: &[u8], b: &[u8]| {
            let mut out = Vec::new();
            shorten_between(&mut out, &key(a, &v), &key(b, &v)).then_some(out)
        };
        assert_eq!(between(b"abc", b"abz"), Some(b"abd\0".to_vec()));
        assert_eq!(between(b"abc", b"b"), Some(b"ac\0".to_vec()));
        assert_eq!(between(b"abc", b"bc"), Some(b"b\0".to_vec()));
        assert_eq!(between(b"a", b"b"), None);
        assert_eq!(between(b"abc", b"abcd"), None);
        assert_eq!(between(b"abc", b"abc"), None);
        let mut out = Vec::new();
        assert!(shorten_after(&mut out, &key(&[0xff, 0x12, 0x34], &v)));
        assert_eq!(out, [0xff, 0x13, 0x00]);
        assert!(!shorten_after(&mut out, &key(&[0xff, 0xff], &v)));
    }
}
