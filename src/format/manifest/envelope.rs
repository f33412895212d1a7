//! What surrounds a control file: checksum file, gzip, and how encryption shows.
//!
//! ```text
//! proto ── gzip (20.2 and later) ── encryption (optional) ── stored file
//! checksum file = first four bytes of SHA-256 over the stored file
//! ```

use std::io::{Read, Write};

use flate2::{Compression, GzBuilder, read::MultiGzDecoder};
use sha2::{Digest, Sha256};

use super::Error;

/// Length of a checksum file, in bytes.
pub const CHECKSUM_LEN: usize = 4;
/// The largest control file that is unpacked, in bytes after decompression.
pub const UNPACKED_LEN_MAX: u64 = 1 << 30;
/// How much larger than its stored form, and than [`UNPACKED_LEN_FREE`], a control file may be: real ones
/// are up to some ten times as large, and a small file must not fill the memory.
const UNPACKED_RATIO_MAX: u64 = 100;
const UNPACKED_LEN_FREE: u64 = 4 << 20;
/// How an encrypted file begins.
pub const ENCRYPTED_PREFIX: &[u8] = b"encrypt";
const GZIP_PREFIX: &[u8] = &[0x1f, 0x8b, 0x08];

/// The content of the checksum file for `stored`.
pub fn checksum(stored: &[u8]) -> [u8; CHECKSUM_LEN] {
    let digest = Sha256::digest(stored);
    let mut sum = [0; CHECKSUM_LEN];
    for (to, from) in sum.iter_mut().zip(digest.iter()) {
        *to = *from;
    }
    sum
}

/// Compares `stored` with the content of its checksum file.
pub fn verify(stored: &[u8], expected: &[u8]) -> Result<(), Error> {
    let got = checksum(stored);
    if expected == got {
        return Ok(());
    }
    Err(Error::Checksum { expected: hex(expected), got: hex(&got) })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(32).map(|b| format!("{b:02x}")).collect()
}

/// Whether the bytes are an encrypted file.
pub fn is_encrypted(stored: &[u8]) -> bool {
    stored.starts_with(ENCRYPTED_PREFIX)
}

/// Unpacks a control file that is already decrypted; one that is not compressed is copied.
///
/// Refuses to produce more than `limit` bytes (see [`UNPACKED_LEN_MAX`]), or far more than real files do.
pub fn unpack(decrypted: &[u8], limit: u64) -> Result<Vec<u8>, Error> {
    if !decrypted.starts_with(GZIP_PREFIX) {
        return Ok(decrypted.to_vec());
    }
    let stored = u64::try_from(decrypted.len()).unwrap_or(u64::MAX);
    let limit = limit.min(stored.saturating_mul(UNPACKED_RATIO_MAX).saturating_add(UNPACKED_LEN_FREE));
    let mut out = Vec::new();
    MultiGzDecoder::new(decrypted)
        .take(limit.saturating_add(1))
        .read_to_end(&mut out)
        .map_err(|error| Error::Gzip(error.to_string()))?;
    if u64::try_from(out.len()).unwrap_or(u64::MAX) > limit {
        return Err(Error::TooLarge { limit });
    }
    Ok(out)
}

/// Compresses a control file. The same input gives the same bytes: no name, no time.
pub fn pack(proto: &[u8]) -> Vec<u8> {
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
    // Writing to a Vec does not fail.
    let _ = gzip.write_all(proto);
    gzip.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_and_unpacks() {
        let packed = pack(b"some bytes");
        assert_eq!(packed, pack(b"some bytes"));
        assert_eq!(unpack(&packed, 10).unwrap(), b"some bytes");
        assert_eq!(unpack(b"plain", 1).unwrap(), b"plain");
        assert!(verify(&packed, &checksum(&packed)).is_ok());
        assert!(matches!(verify(&packed, &[0; 4]), Err(Error::Checksum { .. })));
    }

    #[test]
    fn bombs_are_bounded() {
        let bomb = pack(&vec![0; 1 << 20]);
        assert!(bomb.len() < 4096);
        assert!(matches!(unpack(&bomb, 1000), Err(Error::TooLarge { limit: 1000 })));
        // A small file gives no large one, whatever the limit.
        let bomb = pack(&vec![0; 70 << 20]);
        assert!(bomb.len() < 100_000 && matches!(unpack(&bomb, u64::MAX), Err(Error::TooLarge { .. })));
    }

    #[test]
    fn truncated_gzip_is_an_error() {
        let packed = pack(&[7; 1000]);
        for len in 3..packed.len() {
            assert!(unpack(&packed[..len], 1000).is_err(), "{len}");
        }
    }
}
