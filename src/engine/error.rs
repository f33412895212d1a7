//! What can go wrong with a backup as a whole.

use crate::destination;
use crate::format::manifest::chain::Error as Chain;
use crate::format::{crypt, descriptor, manifest};

/// Why a backup cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The place cannot be read.
    #[error(transparent)]
    Source(#[from] destination::Error),
    /// A control file is damaged or not understood.
    #[error("{file}: {cause}")]
    Manifest {
        /// Full name.
        file: String,
        /// What is wrong.
        cause: manifest::Error,
    },
    /// Decryption failed.
    #[error("{file}: {cause}")]
    Crypt {
        /// Full name.
        file: String,
        /// What is wrong.
        cause: crypt::Error,
    },
    /// A descriptor is damaged or not understood.
    #[error(transparent)]
    Descriptor(#[from] descriptor::Error),
    /// Layers do not make a state.
    #[error(transparent)]
    Chain(#[from] manifest::chain::Error),
    /// A data file is damaged.
    #[error("{file}: offset {offset}: {cause}")]
    Data {
        /// Full name.
        file: String,
        /// In the (decrypted) file, in bytes.
        offset: u64,
        /// What is wrong.
        cause: String,
    },
    /// There is no backup at the place.
    #[error("{place} holds no finished backup: there is no BACKUP_MANIFEST")]
    NoBackup {
        /// Full name.
        place: String,
    },
    /// The place is the root of a collection.
    #[error("{place} is the root of a backup collection")]
    CollectionRoot {
        /// Full name.
        place: String,
    },
    /// The collection has no pointer to its newest backup.
    #[error("path does not contain a completed latest backup")]
    NoLatest,
    /// The pointer is unusable.
    #[error("malformed LATEST file")]
    BadLatest,
    /// A part of a locality-aware backup is not in any of the given places.
    #[error("expected manifest {part} not found in backup locations")]
    PartMissing {
        /// Name of the part's file.
        part: String,
    },
    /// The secret is not that of the backup.
    #[error("{file}: wrong passphrase or key")]
    WrongKey {
        /// Full name of the manifest, which is as it was written.
        file: String,
    },
    /// A secret was given for a backup that is not encrypted.
    #[error("could not find or read encryption information")]
    NotEncrypted,
    /// The request makes no sense for this backup.
    #[error("{0}")]
    Request(String),
}

impl Error {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::CollectionRoot { .. } => {
                Some("list its backups with `show URI backups`, or choose one with --from LATEST")
            }
            Self::Manifest { cause: manifest::Error::Encrypted, .. } => {
                Some("give the passphrase with --passphrase-file or USERFILEFS_PASSPHRASE")
            }
            Self::Crypt { cause: crypt::Error::NeedsKms, .. } => Some(
                "print the wrapped key with `show URI wrapped-key --kms MASTER-KEY-ID`, let the KMS decrypt it, and \
                 give the result with --data-key-file",
            ),
            Self::Crypt { cause: crypt::Error::NeedsPassphrase, .. } => {
                Some("give the passphrase with --passphrase-file or USERFILEFS_PASSPHRASE")
            }
            Self::Crypt { cause: crypt::Error::NotWrappedFor, .. } => {
                Some("give the master key's id exactly as it was in the kms option of BACKUP")
            }
            Self::Chain(Chain::NotCovered | Chain::NoHistory { .. } | Chain::HistoryTooShort { .. }) => {
                Some("`show URI` lists the times that the layers cover")
            }
            Self::PartMissing { .. } => Some("name the other places of a locality-aware backup with --store"),
            _ => None,
        }
    }
}
