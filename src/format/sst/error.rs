//! What is wrong with a table, and where.

use std::borrow::Cow;

/// The broad class of a damage, for callers that treat some of them differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The file or block ends before the field does.
    Truncated,
    /// A stored checksum differs from the one computed.
    Checksum,
    /// A field has a value that no writer produces.
    Corrupt,
    /// Well formed as far as it was understood, but of a kind that this reader does not know.
    Unsupported,
    /// A length is beyond the bound that keeps allocations small.
    TooLarge,
    /// Keys are not in strictly increasing order.
    Order,
}

/// A damage: the class, the byte offset in the (decrypted) file, the field and a sentence.
///
/// For a field inside a block `offset` is where the block starts and `within` is the position in its
/// uncompressed payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Class of the damage.
    pub kind: ErrorKind,
    /// Byte offset in the file: of the field, or of the block that holds it.
    pub offset: u64,
    /// Byte position in the uncompressed block, if the field lies in a block.
    pub within: Option<u64>,
    /// Name of the field, for example `footer magic`.
    pub field: &'static str,
    /// What is wrong with it, without the words of `field`.
    pub detail: Cow<'static, str>,
}

impl Error {
    /// A damage at a byte of the file.
    pub fn new(
        kind: ErrorKind,
        offset: u64,
        field: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Error { kind, offset, within: None, field, detail: detail.into() }
    }

    /// The same damage, at a position inside the block that starts at `offset`.
    #[must_use]
    pub fn within(mut self, position: usize) -> Self {
        self.within = Some(position as u64);
        self
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "damaged table at offset {}", self.offset)?;
        if let Some(position) = self.within {
            write!(f, " (byte {position} of the block)")?;
        }
        write!(f, ", {}: {}", self.field, self.detail)
    }
}

impl std::error::Error for Error {}

/// Either the source could not be read, or what it returned is damaged.
#[derive(Debug, thiserror::Error)]
pub enum ReadError<E> {
    /// The caller's source failed; not a statement about the bytes.
    #[error("{0}")]
    Source(E),
    /// The bytes are damaged or not supported.
    #[error("{0}")]
    Table(#[from] Error),
}

impl<E> ReadError<E> {
    /// The damage, if that is what it is.
    pub fn table(&self) -> Option<&Error> {
        match self {
            ReadError::Source(_) => None,
            ReadError::Table(e) => Some(e),
        }
    }
}
