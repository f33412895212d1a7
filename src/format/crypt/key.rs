//! The key of a backup, and sealing with it.

use super::file::Iv;
use super::{Error, TAG_LEN};
use aes_gcm::aead::{AeadInOut, Nonce, Tag};
use aes_gcm::{Aes256Gcm, KeyInit};
use std::sync::Arc;

/// Iterations of PBKDF2-HMAC-SHA256 for a passphrase.
pub const PBKDF2_ROUNDS: u32 = 64_000;

/// A 32-byte key, ready for use and cheap to clone. Prints nothing of itself.
#[derive(Clone)]
pub struct Key {
    cipher: Arc<Aes256Gcm>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    /// From a passphrase and the salt of ENCRYPTION-INFO. Takes tens of milliseconds, by design.
    pub fn from_passphrase(passphrase: &[u8], salt: &[u8]) -> Key {
        Key::new(&passphrase_bytes(passphrase, salt))
    }

    /// From the data key that a KMS unwrapped.
    pub fn from_bytes(bytes: &[u8]) -> Result<Key, Error> {
        let bytes: &[u8; 32] = bytes.try_into().map_err(|_| Error::KeyLen(bytes.len()))?;
        Ok(Key::new(bytes))
    }

    fn new(bytes: &[u8; 32]) -> Key {
        Key { cipher: Arc::new(Aes256Gcm::new(bytes.into())) }
    }

    /// Encrypts in place; returns the tag.
    pub(super) fn seal(&self, nonce: &Iv, data: &mut [u8]) -> [u8; TAG_LEN] {
        let nonce: &Nonce<Aes256Gcm> = nonce.into();
        // Fails beyond 64 GiB only; chunks have 64 KiB and v1 files are bounded by memory.
        match self.cipher.encrypt_inout_detached(nonce, &[], data.into()) {
            Ok(tag) => tag.into(),
            Err(_) => [0; TAG_LEN],
        }
    }

    /// Decrypts `data` in place and verifies `tag`; on failure `data` must not be used.
    pub(super) fn open(
        &self,
        nonce: &Iv,
        data: &mut [u8],
        tag: &[u8; TAG_LEN],
        offset: u64,
    ) -> Result<(), Error> {
        let nonce: &Nonce<Aes256Gcm> = nonce.into();
        let tag: &Tag<Aes256Gcm> = tag.into();
        let opened = self.cipher.decrypt_inout_detached(nonce, &[], data.into(), tag);
        opened.map_err(|_| Error::Authentication { offset })
    }
}

fn passphrase_bytes(passphrase: &[u8], salt: &[u8]) -> [u8; 32] {
    pbkdf2::pbkdf2_hmac_array::<sha2::Sha256, 32>(passphrase, salt, PBKDF2_ROUNDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of the encryption page.
    #[test]
    fn example_of_the_page() {
        let salt: Vec<u8> = (0..16).collect();
        let want = [
            0x78, 0xcc, 0xea, 0x7e, 0x14, 0xef, 0x73, 0x13, 0x06, 0xa1, 0xae, 0x6b, 0x37, 0x70, 0xf4, 0xdb,
            0x30, 0xf6, 0x16, 0x11, 0xa3, 0x37, 0x67, 0x80, 0xbf, 0xca, 0xd8, 0x52, 0x1b, 0xe9, 0x7d, 0xce,
        ];
        assert_eq!(passphrase_bytes(b"pass word", &salt), want);
    }

    #[test]
    fn prints_nothing() {
        assert_eq!(format!("{:?}", Key::from_bytes(&[7; 32]).unwrap()), "Key(..)");
        assert_eq!(Key::from_bytes(&[7; 31]).unwrap_err(), Error::KeyLen(31));
    }
}
