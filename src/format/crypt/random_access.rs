//! Any part of a format 2 file, decrypted when asked for.

use super::file::{Header, Version, chunk_offset, open, plaintext_len};
use super::{CHUNK_LEN, Error, HEADER_LEN, Key, SEALED_LEN};
use crate::format::sst::ReadAt;
use std::sync::{Mutex, PoisonError};

/// Either the source could not be read, or its bytes do not decrypt.
#[derive(Debug, thiserror::Error)]
pub enum DecryptAtError<E> {
    /// The stored file could not be read.
    #[error("{0}")]
    Source(E),
    /// The stored file is damaged or the key is wrong.
    #[error("{0}")]
    Crypt(#[from] Error),
}

/// The plaintext of a stored format 2 file as a [`ReadAt`]: offsets and lengths are those of the plaintext.
///
/// Holds one chunk of 64 KiB between calls, so that reading forward decrypts nothing twice.
#[derive(Debug)]
pub struct DecryptAt<R> {
    source: R,
    key: Key,
    header: Header,
    stored_len: u64,
    len: u64,
    last: Mutex<Last>,
}

/// The chunk decrypted last.
#[derive(Debug, Default)]
struct Last {
    number: Option<u64>,
    plaintext: Vec<u8>,
    sealed: Vec<u8>,
}

impl<R: ReadAt> DecryptAt<R> {
    /// Reads the header of a stored file of `stored_len` bytes. A v1 file is refused: it must be decrypted
    /// as a whole with [`super::decrypt`].
    pub fn new(source: R, stored_len: u64, key: Key) -> Result<Self, DecryptAtError<R::Error>> {
        let mut scratch = Vec::new();
        let want = usize::try_from(stored_len).unwrap_or(HEADER_LEN).min(HEADER_LEN);
        let stored = source.read_at(0, want, &mut scratch).map_err(DecryptAtError::Source)?;
        let header = Header::decode(stored)?;
        if header.version != Version::V2 {
            return Err(Error::UnknownVersion(1).into());
        }
        let len = plaintext_len(stored_len)?;
        Ok(DecryptAt { source, key, header, stored_len, len, last: Mutex::default() })
    }

    /// Length of the plaintext in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the plaintext is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts chunk `number` into `last`.
    fn fetch(&self, number: u64, last: &mut Last) -> Result<(), DecryptAtError<R::Error>> {
        if last.number.take() == Some(number) {
            last.number = Some(number);
            return Ok(());
        }
        let offset = chunk_offset(number);
        let len = self.stored_len.saturating_sub(offset).min(SEALED_LEN as u64);
        let len = usize::try_from(len).unwrap_or(SEALED_LEN);
        let stored = self.source.read_at(offset, len, &mut last.sealed).map_err(DecryptAtError::Source)?;
        if stored.len() != len {
            let detail = "the source returned fewer bytes than the file has";
            return Err(Error::Truncated { offset, detail: detail.into() }.into());
        }
        last.plaintext.clear();
        last.plaintext.extend_from_slice(stored);
        let plain_len = open(&self.key, &self.header.nonce(number), &mut last.plaintext, offset)?;
        last.plaintext.truncate(plain_len);
        last.number = Some(number);
        Ok(())
    }
}

impl<R: ReadAt> ReadAt for DecryptAt<R> {
    type Error = DecryptAtError<R::Error>;

    fn read_at<'a>(
        &'a self,
        offset: u64,
        len: usize,
        scratch: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], Self::Error> {
        scratch.clear();
        let end = offset.saturating_add(len as u64).min(self.len);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let mut at = offset;
        while at < end {
            self.fetch(at / CHUNK_LEN as u64, &mut last)?;
            let within = usize::try_from(at % CHUNK_LEN as u64).unwrap_or(usize::MAX);
            let left = usize::try_from(end - at).unwrap_or(usize::MAX);
            let part = last.plaintext.get(within..).unwrap_or(&[]);
            let part = part.get(..left).unwrap_or(part);
            if part.is_empty() {
                return Err(Error::Beyond { offset: at, len: self.len }.into());
            }
            scratch.extend_from_slice(part);
            at += part.len() as u64;
        }
        Ok(scratch)
    }
}
