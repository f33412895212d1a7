//! Block checksums: masked CRC-32C, and xxHash64 for tables whose footer says so.

use super::error::{Error, ErrorKind};

/// Which checksum follows each block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChecksumKind {
    /// Footer byte 1, and every LevelDB footer.
    Crc32c,
    /// Footer byte 3.
    XxHash64,
}

impl ChecksumKind {
    /// From the first byte of a 53-byte footer that starts at `offset` in the file.
    pub fn from_footer(byte: u8, offset: u64) -> Result<Self, Error> {
        match byte {
            1 => Ok(ChecksumKind::Crc32c),
            3 => Ok(ChecksumKind::XxHash64),
            other => Err(Error::new(
                ErrorKind::Unsupported,
                offset,
                "footer checksum type",
                format!("{other} is not known; 1 (crc32c) and 3 (xxhash64) are"),
            )),
        }
    }

    /// The byte for the footer.
    pub fn to_footer(self) -> u8 {
        match self {
            ChecksumKind::Crc32c => 1,
            ChecksumKind::XxHash64 => 3,
        }
    }

    /// The checksum of a block payload and its type byte.
    pub fn compute(self, payload: &[u8], block_type: u8) -> u32 {
        match self {
            ChecksumKind::Crc32c => mask(crc32c::crc32c_append(crc32c::crc32c(payload), &[block_type])),
            ChecksumKind::XxHash64 => low_half(xxhash64(payload, block_type)),
        }
    }
}

/// Rotates and offsets a CRC so that a CRC over data that contains CRCs stays useful.
pub fn mask(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

fn low_half(hash: u64) -> u32 {
    let [a, b, c, d, ..] = hash.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

const PRIME_1: u64 = 0x9e37_79b1_85eb_ca87;
const PRIME_2: u64 = 0xc2b2_ae3d_27d4_eb4f;
const PRIME_3: u64 = 0x1656_67b1_9e37_79f9;
const PRIME_4: u64 = 0x85eb_ca77_c2b2_ae63;
const PRIME_5: u64 = 0x27d4_eb2f_1656_67c5;

fn round(acc: u64, lane: u64) -> u64 {
    acc.wrapping_add(lane.wrapping_mul(PRIME_2)).rotate_left(31).wrapping_mul(PRIME_1)
}

fn merge(hash: u64, acc: u64) -> u64 {
    (hash ^ round(0, acc)).wrapping_mul(PRIME_1).wrapping_add(PRIME_4)
}

fn avalanche(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(PRIME_2);
    hash = (hash ^ (hash >> 29)).wrapping_mul(PRIME_3);
    hash ^ (hash >> 32)
}

/// xxHash64 with seed 0 over `payload` followed by the byte `last`.
fn xxhash64(payload: &[u8], last: u8) -> u64 {
    let (stripes, rest) = payload.as_chunks::<32>();
    let mut hash = if stripes.is_empty() && rest.len() < 31 {
        PRIME_5
    } else {
        return xxhash64_long(stripes, rest, last, payload.len() as u64 + 1);
    };
    hash = hash.wrapping_add(payload.len() as u64 + 1);
    finish(hash, rest, last)
}

/// The variant for inputs of 32 bytes and more; `rest` and `last` may complete one more stripe.
fn xxhash64_long(stripes: &[[u8; 32]], rest: &[u8], last: u8, total: u64) -> u64 {
    let mut acc = [PRIME_1.wrapping_add(PRIME_2), PRIME_2, 0, 0u64.wrapping_sub(PRIME_1)];
    let mut eat = |stripe: &[u8; 32]| {
        let (lanes, _) = stripe.as_chunks::<8>();
        for (a, lane) in acc.iter_mut().zip(lanes) {
            *a = round(*a, u64::from_le_bytes(*lane));
        }
    };
    for stripe in stripes {
        eat(stripe);
    }
    let completed = rest.len() == 31;
    if completed {
        let mut stripe = [last; 32];
        for (to, from) in stripe.iter_mut().zip(rest) {
            *to = *from;
        }
        eat(&stripe);
    }
    let [a, b, c, d] = acc;
    let mut hash = a
        .rotate_left(1)
        .wrapping_add(b.rotate_left(7))
        .wrapping_add(c.rotate_left(12))
        .wrapping_add(d.rotate_left(18));
    for lane in [a, b, c, d] {
        hash = merge(hash, lane);
    }
    hash = hash.wrapping_add(total);
    if completed { avalanche(hash) } else { finish(hash, rest, last) }
}

/// Mixes the tail: fewer than 31 bytes and the one that follows them.
fn finish(mut hash: u64, rest: &[u8], last: u8) -> u64 {
    let mut tail = [0u8; 32];
    for (to, from) in tail.iter_mut().zip(rest.iter().chain(std::iter::once(&last))) {
        *to = *from;
    }
    let tail = tail.get(..rest.len() + 1).unwrap_or(&[]);
    let (eights, tail) = tail.as_chunks::<8>();
    for lane in eights {
        hash ^= round(0, u64::from_le_bytes(*lane));
        hash = hash.rotate_left(27).wrapping_mul(PRIME_1).wrapping_add(PRIME_4);
    }
    let (fours, tail) = tail.as_chunks::<4>();
    for lane in fours {
        hash ^= u64::from(u32::from_le_bytes(*lane)).wrapping_mul(PRIME_1);
        hash = hash.rotate_left(23).wrapping_mul(PRIME_2).wrapping_add(PRIME_3);
    }
    for &byte in tail {
        hash ^= u64::from(byte).wrapping_mul(PRIME_5);
        hash = hash.rotate_left(11).wrapping_mul(PRIME_1);
    }
    avalanche(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of CRC-32C, and the mask of the format page applied to it by hand.
    #[test]
    fn crc32c_is_castagnoli_and_masked() {
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        // e3069283 turned right by 15 bits is 2507c60d; plus a282ead8 is c78ab0e5.
        assert_eq!(mask(0xe306_9283), 0xc78a_b0e5);
        assert_eq!(ChecksumKind::Crc32c.compute(b"12345678", b'9'), 0xc78a_b0e5);
    }

    /// Published values of xxHash64 with seed 0.
    #[test]
    fn xxhash64_known_values() {
        let hash = |s: &[u8]| {
            let (last, head) = s.split_last().unwrap();
            xxhash64(head, *last)
        };
        assert_eq!(hash(b"a"), 0xd24e_c4f1_a98c_6e5b);
        assert_eq!(hash(b"abc"), 0x44bc_2cf5_ad77_0999);
        assert_eq!(hash(b"Nobody inspects the spammish repetition"), 0xfbce_a83c_8a37_8bf1);
    }

    /// Splitting off the last byte must not matter, whichever stripe it completes.
    #[test]
    fn xxhash64_of_every_short_length_is_distinct() {
        let bytes: Vec<u8> = (0..200u8).collect();
        let all: std::collections::BTreeSet<u64> =
            (0..199).map(|n| xxhash64(&bytes[..n], bytes[n])).collect();
        assert_eq!(all.len(), 199);
    }
}
