//! Places that hold backups: a folder (which may be a mount point) or a userfile prefix.
//!
//! A [`Source`] is read only and synchronous: commands read from several threads. Names are relative to
//! its root, with `/` between parts and no leading slash.

mod local;
mod memory;
pub mod uri;
mod userfile;

use std::sync::Arc;

pub use local::Local;
pub use memory::Memory;
pub use userfile::Userfile;

/// The largest file that is read into memory at once, in bytes: control files and version 1 encryption.
pub const WHOLE_FILE_LEN_MAX: u64 = 1 << 30;

/// Why a place cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file or folder is not there.
    #[error("{place} does not exist")]
    NotFound {
        /// Full name.
        place: String,
    },
    /// Reading failed.
    #[error("cannot read {place}: {cause}")]
    Io {
        /// Full name.
        place: String,
        /// What the system or server said.
        cause: String,
    },
    /// More than [`WHOLE_FILE_LEN_MAX`].
    #[error("{place} has {len} bytes, more than fit into memory at once ({WHOLE_FILE_LEN_MAX})")]
    TooLarge {
        /// Full name.
        place: String,
        /// Bytes.
        len: u64,
    },
    /// The address names no place that can be read.
    #[error("{0}")]
    Address(String),
}

impl Error {
    /// Whether the thing is simply not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

/// A file in a listing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Relative to the root of the source.
    pub name: String,
    /// Bytes.
    pub len: u64,
}

/// An open file. Reads may come from several threads.
pub trait File: Send + Sync {
    /// Length in bytes when it was opened.
    fn size(&self) -> u64;

    /// Replaces the content of `buf` by up to `len` bytes from `offset`; less only at the end of the file.
    fn read_at(&self, offset: u64, len: usize, buf: &mut Vec<u8>) -> Result<(), Error>;
}

/// A place with files.
pub trait Source: Send + Sync {
    /// The address, without secrets.
    fn describe(&self) -> String;

    /// All files whose name begins with `prefix`, ordered by name. Nothing there is an empty list.
    fn list(&self, prefix: &str) -> Result<Vec<Listed>, Error>;

    /// Opens a file.
    fn open(&self, name: &str) -> Result<Arc<dyn File>, Error>;

    /// The whole content of a file.
    fn read(&self, name: &str) -> Result<Vec<u8>, Error> {
        let file = self.open(name)?;
        read_whole(&*file, &self.place(name))
    }

    /// Full name of a file, for messages.
    fn place(&self, name: &str) -> String {
        format!("{}/{name}", self.describe().trim_end_matches('/'))
    }
}

/// The whole content of an open file; `place` is for messages.
pub fn read_whole(file: &dyn File, place: &str) -> Result<Vec<u8>, Error> {
    let len = file.size();
    let small = usize::try_from(len).ok().filter(|_| len <= WHOLE_FILE_LEN_MAX);
    let Some(len) = small else { return Err(Error::TooLarge { place: place.to_owned(), len }) };
    let mut buf = Vec::new();
    file.read_at(0, len, &mut buf)?;
    Ok(buf)
}
