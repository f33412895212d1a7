//! LEB: little-endian base-128 numbers, low seven bits first.

/// Longest encoding of a 64-bit number.
pub const LEB64_LEN_MAX: usize = 10;

/// Decodes one number at `at`; returns it with the position after it, `None` if the bytes end first or
/// the number needs more than 64 bits.
#[inline]
pub fn get(buf: &[u8], at: usize) -> Option<(u64, usize)> {
    let first = *buf.get(at)?;
    if first < 0x80 {
        return Some((u64::from(first), at + 1));
    }
    get_long(buf, at)
}

fn get_long(buf: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (i, &byte) in buf.get(at..)?.iter().take(LEB64_LEN_MAX).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if i == LEB64_LEN_MAX - 1 && byte > 1 {
            return None;
        }
        value |= bits << (7 * i);
        if byte < 0x80 {
            return Some((value, at + i + 1));
        }
    }
    None
}

/// As [`get`], for lengths that must fit in memory positions.
#[inline]
pub fn get_len(buf: &[u8], at: usize) -> Option<(usize, usize)> {
    let (value, next) = get(buf, at)?;
    Some((usize::try_from(value).ok()?, next))
}

/// Appends the shortest encoding of `value`.
#[inline]
pub fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Length of the shortest encoding of `value`, in bytes.
pub fn len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros()).div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_length() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1u64 << shift) - 1, u64::MAX >> shift] {
                let mut out = Vec::new();
                put(&mut out, value);
                assert_eq!(out.len(), len(value), "{value}");
                assert_eq!(get(&out, 0), Some((value, out.len())));
                for cut in 0..out.len() {
                    assert_eq!(get(&out[..cut], 0), None);
                }
            }
        }
    }

    #[test]
    fn too_long_is_refused() {
        assert_eq!(get(&[0xff; 10], 0), None);
        assert_eq!(get(&[0x80; 11], 0), None);
        let max = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(get(&max, 0), Some((u64::MAX, 10)));
    }

    /// The page's example: the column family id of every file, 2147483647.
    #[test]
    fn column_family_id() {
        assert_eq!(get(&[0xff, 0xff, 0xff, 0xff, 0x07], 0), Some((2_147_483_647, 5)));
    }
}
