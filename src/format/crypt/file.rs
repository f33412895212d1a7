//! Headers, and whole files in memory.

use super::{CHUNK_LEN, Error, Key, SEALED_LEN, TAG_LEN};

/// Bytes before the body.
pub const HEADER_LEN: usize = 20;

/// Bytes of an initialisation vector.
pub const IV_LEN: usize = 12;

/// An initialisation vector; never to be used for two files with the same key.
pub type Iv = [u8; IV_LEN];

const MAGIC: &[u8; 7] = b"encrypt";

/// The two file formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One sealed message; needs the whole file in memory. Up to 21.1; the only one for 20.2.
    V1,
    /// Sealed chunks. 21.2 and later.
    V2,
}

/// The first 20 bytes of an encrypted file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Format of the body.
    pub version: Version,
    /// Nonce, or its base.
    pub iv: Iv,
}

impl Header {
    /// Decodes the first bytes of a file.
    pub fn decode(stored: &[u8]) -> Result<Header, Error> {
        let Some(rest) = stored.strip_prefix(MAGIC) else { return Err(Error::NotEncrypted) };
        let truncated = |offset| Error::Truncated { offset, detail: "the header is cut".into() };
        let (&version, rest) = rest.split_first().ok_or_else(|| truncated(7))?;
        let version = match version {
            1 => Version::V1,
            2 => Version::V2,
            other => return Err(Error::UnknownVersion(other)),
        };
        let iv = rest.first_chunk::<IV_LEN>().ok_or_else(|| truncated(8))?;
        Ok(Header { version, iv: *iv })
    }

    /// Appends the header.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(MAGIC);
        out.push(match self.version {
            Version::V1 => 1,
            Version::V2 => 2,
        });
        out.extend_from_slice(&self.iv);
    }

    /// The nonce of chunk `number`, from 0.
    pub(super) fn nonce(&self, number: u64) -> Iv {
        let [a, b, c, d, base @ ..] = self.iv;
        let mut nonce = [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0];
        let counter = u64::from_be_bytes(base).wrapping_add(number);
        for (to, from) in nonce.iter_mut().skip(4).zip(counter.to_be_bytes()) {
            *to = from;
        }
        nonce
    }
}

/// Whether a file begins as an encrypted one: the word and a known version.
pub fn is_encrypted(stored: &[u8]) -> bool {
    Header::decode(stored).is_ok()
}

/// Where the chunk starts in the stored file.
pub(super) fn chunk_offset(number: u64) -> u64 {
    (HEADER_LEN as u64).saturating_add(number.saturating_mul(SEALED_LEN as u64))
}

/// Length of the plaintext of a v2 file of `stored_len` bytes; a file that ends with a full chunk is cut.
pub(super) fn plaintext_len(stored_len: u64) -> Result<u64, Error> {
    let truncated = |detail: &'static str| Error::Truncated { offset: stored_len, detail: detail.into() };
    let body = stored_len.checked_sub(HEADER_LEN as u64).ok_or_else(|| truncated("the header is cut"))?;
    let (full, last) = (body / SEALED_LEN as u64, body % SEALED_LEN as u64);
    match last.checked_sub(TAG_LEN as u64) {
        Some(last) => Ok(full * CHUNK_LEN as u64 + last),
        None if last == 0 => Err(truncated("the last, shorter chunk is missing")),
        None => Err(truncated("the last chunk is cut")),
    }
}

/// Decrypts a whole file of either format in place: needs no more memory than the file itself.
pub fn decrypt(key: &Key, mut stored: Vec<u8>) -> Result<Vec<u8>, Error> {
    let header = Header::decode(&stored)?;
    let plain_len = match header.version {
        Version::V1 => {
            let body = stored.get_mut(HEADER_LEN..).unwrap_or(&mut []);
            open(key, &header.iv, body, HEADER_LEN as u64)?
        }
        Version::V2 => decrypt_chunks(key, &header, &mut stored)?,
    };
    stored.truncate(HEADER_LEN + plain_len);
    stored.drain(..HEADER_LEN);
    Ok(stored)
}

/// Opens the chunks and closes the gaps that the tags leave; returns the length of the plaintext.
fn decrypt_chunks(key: &Key, header: &Header, stored: &mut [u8]) -> Result<usize, Error> {
    plaintext_len(stored.len() as u64)?;
    let (mut from, mut to, mut number) = (HEADER_LEN, HEADER_LEN, 0);
    while from < stored.len() {
        let end = stored.len().min(from + SEALED_LEN);
        let chunk = stored.get_mut(from..end).unwrap_or(&mut []);
        let len = open(key, &header.nonce(number), chunk, from as u64)?;
        stored.copy_within(from..from + len, to);
        (from, to, number) = (end, to + len, number + 1);
    }
    Ok(to - HEADER_LEN)
}

/// Opens a message followed by its tag, in place; returns its length.
pub(super) fn open(key: &Key, nonce: &Iv, sealed: &mut [u8], offset: u64) -> Result<usize, Error> {
    let Some((data, tag)) = sealed.split_last_chunk_mut::<TAG_LEN>() else {
        return Err(Error::Truncated { offset, detail: "too short for an authentication tag".into() });
    };
    key.open(nonce, data, tag, offset)?;
    Ok(data.len())
}

/// Encrypts a whole file in format 1; needs about twice its length in memory.
pub fn encrypt_v1(key: &Key, iv: &Iv, plaintext: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_LEN + plaintext.len() + TAG_LEN);
    Header { version: Version::V1, iv: *iv }.encode(&mut out);
    out.extend_from_slice(plaintext);
    let tag = key.seal(iv, out.get_mut(HEADER_LEN..).unwrap_or(&mut []));
    out.extend_from_slice(&tag);
    out
}
