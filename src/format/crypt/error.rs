//! What is wrong with an encrypted file or its ENCRYPTION-INFO.

use std::borrow::Cow;

/// Failure to decrypt; nothing of the plaintext concerned is given out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file does not start as an encrypted one does.
    #[error("the file is not encrypted, but a key was given")]
    NotEncrypted,
    /// A later format.
    #[error("encryption format {0} is not known; 1 and 2 are")]
    UnknownVersion(u8),
    /// The file cannot be whole.
    #[error("damaged encrypted file at offset {offset}: {detail}")]
    Truncated {
        /// Byte offset in the stored file.
        offset: u64,
        /// What is missing.
        detail: Cow<'static, str>,
    },
    /// The tag does not match.
    #[error("bytes at offset {offset} do not authenticate: wrong passphrase or key, or damaged file")]
    Authentication {
        /// Byte offset of the chunk in the stored file.
        offset: u64,
    },
    /// Not the format of ENCRYPTION-INFO.
    #[error("damaged ENCRYPTION-INFO at offset {offset}, {field}: {detail}")]
    Info {
        /// Byte offset in the file.
        offset: usize,
        /// Name of the field.
        field: &'static str,
        /// What is wrong with it.
        detail: Cow<'static, str>,
    },
    /// The backup was encrypted with KMS keys.
    #[error("the backup is encrypted with KMS keys, not with a passphrase")]
    NeedsKms,
    /// The backup was encrypted with a passphrase.
    #[error("the backup is encrypted with a passphrase, not with KMS keys")]
    NeedsPassphrase,
    /// None of the wrapped keys is for this master key.
    #[error("the backup's key is not wrapped for this KMS master key")]
    NotWrappedFor,
    /// An unwrapped key of another length.
    #[error("a key of {0} bytes; AES-256 needs 32")]
    KeyLen(usize),
    /// A part of the plaintext that does not exist was asked for.
    #[error("bytes at {offset} are beyond the end of the plaintext at {len}")]
    Beyond {
        /// What was asked for.
        offset: u64,
        /// Length of the plaintext in bytes.
        len: u64,
    },
}
