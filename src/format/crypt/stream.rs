//! Format 2 as a stream: one chunk in memory.

use super::file::{Header, IV_LEN, Iv, Version, chunk_offset, open};
use super::{CHUNK_LEN, Error, HEADER_LEN, Key, SEALED_LEN, TAG_LEN};

/// Encrypts a file of any length in format 2.
#[derive(Debug)]
pub struct Encryptor {
    key: Key,
    header: Header,
    started: bool,
    /// Plaintext that does not fill a chunk yet.
    chunk: Vec<u8>,
    number: u64,
}

impl Encryptor {
    /// Starts a file; `iv` must be random and new.
    pub fn new(key: Key, iv: [u8; IV_LEN]) -> Self {
        let header = Header { version: Version::V2, iv };
        Encryptor { key, header, started: false, chunk: Vec::with_capacity(SEALED_LEN), number: 0 }
    }

    /// Takes plaintext and appends the stored bytes that are complete.
    pub fn push(&mut self, mut plaintext: &[u8], out: &mut Vec<u8>) {
        self.start(out);
        while !plaintext.is_empty() {
            let room = CHUNK_LEN - self.chunk.len();
            let (now, later) = plaintext.split_at(plaintext.len().min(room));
            self.chunk.extend_from_slice(now);
            plaintext = later;
            // A chunk is full even if nothing follows: then an empty one marks the end.
            if self.chunk.len() == CHUNK_LEN {
                self.seal(out);
            }
        }
    }

    /// Appends the last, shorter chunk.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        self.start(out);
        self.seal(out);
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.started, true) {
            self.header.encode(out);
        }
    }

    fn seal(&mut self, out: &mut Vec<u8>) {
        let tag = self.key.seal(&self.header.nonce(self.number), &mut self.chunk);
        out.extend_from_slice(&self.chunk);
        out.extend_from_slice(&tag);
        self.chunk.clear();
        self.number = self.number.wrapping_add(1);
    }
}

/// Decrypts a file of format 2 as it arrives.
#[derive(Debug)]
pub struct Decryptor {
    key: Key,
    header: Option<Header>,
    /// Stored bytes that do not fill the header or a sealed chunk yet.
    pending: Vec<u8>,
    number: u64,
}

impl Decryptor {
    /// Expects the header first.
    pub fn new(key: Key) -> Self {
        Decryptor { key, header: None, pending: Vec::new(), number: 0 }
    }

    /// Takes stored bytes and appends the plaintext of the chunks that are complete and authentic.
    ///
    /// That they are the whole file is known only after [`Decryptor::finish`]. After an error the
    /// decryptor must not be used again.
    pub fn push(&mut self, mut stored: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        while !stored.is_empty() {
            let want = if self.header.is_some() { SEALED_LEN } else { HEADER_LEN };
            let room = want - self.pending.len();
            let (now, later) = stored.split_at(stored.len().min(room));
            self.pending.extend_from_slice(now);
            stored = later;
            if self.pending.len() < want {
                continue;
            }
            match self.header {
                Some(header) => self.open(&header, out)?,
                None => self.take_header()?,
            }
        }
        Ok(())
    }

    fn take_header(&mut self) -> Result<(), Error> {
        let header = Header::decode(&self.pending)?;
        if header.version != Version::V2 {
            return Err(Error::UnknownVersion(1));
        }
        self.header = Some(header);
        self.pending.clear();
        Ok(())
    }

    fn open(&mut self, header: &Header, out: &mut Vec<u8>) -> Result<(), Error> {
        let offset = chunk_offset(self.number);
        let len = open(&self.key, &header.nonce(self.number), &mut self.pending, offset)?;
        out.extend_from_slice(self.pending.get(..len).unwrap_or(&[]));
        self.pending.clear();
        self.number = self.number.wrapping_add(1);
        Ok(())
    }

    /// Decrypts the last chunk; an error if the file was cut.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let offset = chunk_offset(self.number);
        let Some(header) = self.header else {
            Header::decode(&self.pending)?;
            return Err(Error::Truncated { offset: 0, detail: "the header is cut".into() });
        };
        if self.pending.len() < TAG_LEN {
            let detail = "the last, shorter chunk is missing";
            return Err(Error::Truncated { offset, detail: detail.into() });
        }
        self.open(&header, out)
    }
}

impl Key {
    /// Encrypts a whole file in format 2; [`Encryptor`] does the same as a stream.
    pub fn encrypt_v2(&self, iv: &Iv, plaintext: &[u8]) -> Vec<u8> {
        let chunks = plaintext.len() / CHUNK_LEN + 1;
        let mut out = Vec::with_capacity(HEADER_LEN + plaintext.len() + chunks * TAG_LEN);
        let mut encryptor = Encryptor::new(self.clone(), *iv);
        encryptor.push(plaintext, &mut out);
        encryptor.finish(&mut out);
        out
    }
}
