//! Encrypted backups: keys, the ENCRYPTION-INFO file, and both file formats.
//!
//! ```text
//! file    = "encrypt" | version | 12-byte IV | body                       20 bytes of header
//! v1 body = AES-256-GCM(whole file) | tag                                 nonce = IV
//! v2 body = per 65,536 bytes: AES-256-GCM(chunk) | tag; the last chunk is shorter, and may be empty
//!           nonce of chunk n = IV[0..4) | BE8(BE8(IV[4..12)) + n)
//!
//! 656e6372797074 02 6465666768696a6b6c6d6e6f e3e5eec3a0 655252ea4204681a886b1b457a0ef3ab     "hello"
//! ```
//! Checked by a v21.1-alpha server that restored both kinds. Read by every version: v1; by 21.1 and later: v2.
//!
//! Initialisation vectors and salts are parameters: the caller brings randomness, fresh for each file.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation
)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::unwrap_used))]

mod error;
mod file;
mod info;
mod key;
mod random_access;
mod stream;

pub use error::Error;
pub use file::{HEADER_LEN, Header, IV_LEN, Iv, Version, decrypt, encrypt_v1, is_encrypted};
pub use info::{EncryptionInfo, INFO_LEN_MAX, SALT_LEN};
pub use key::{Key, PBKDF2_ROUNDS};
pub use random_access::{DecryptAt, DecryptAtError};
pub use stream::{Decryptor, Encryptor};

/// Plaintext bytes of every chunk of a v2 file but the last.
pub const CHUNK_LEN: usize = 64 << 10;

/// Bytes that authenticate a chunk or a v1 file.
pub const TAG_LEN: usize = 16;

/// Stored bytes of a full chunk.
pub const SEALED_LEN: usize = CHUNK_LEN + TAG_LEN;
