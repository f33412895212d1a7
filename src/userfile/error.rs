//! What goes wrong in a userfile command, in the words of the original where it has some.

use super::address::ArgError;
use super::lines::os_error;
use crate::chunk;
use std::io;
use thiserror::Error;

/// An error of a userfile command. `Display` is one line; [`Error::hint`] says what to do about it.
#[derive(Debug, Error)]
pub enum Error {
    /// An argument cannot be used.
    #[error(transparent)]
    Arg(#[from] ArgError),
    /// The tables or the server.
    #[error(transparent)]
    Table(#[from] chunk::Error),
    /// A call of the operating system on a local file.
    #[error("{op} {path}: {}", os_error(.source))]
    Os {
        /// The call, as `open`.
        op: &'static str,
        /// The local file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// Upload: the name is taken.
    #[error("destination file already exists for {name}")]
    Exists {
        /// The stored name.
        name: String,
        /// Size there and size here, if they were compared and differ.
        sizes: Option<(u64, u64)>,
    },
    /// Get: the local file is there already.
    #[error("open {path}: file exists")]
    LocalExists {
        /// The local file.
        path: String,
        /// Size here and size there, if they were compared and differ.
        sizes: Option<(u64, u64)>,
    },
    /// Upload of a directory without `-r`, or of a link to one.
    #[error("source file {path} is a directory, not a file")]
    SourceIsDirectory {
        /// The local directory.
        path: String,
        /// It was reached through a symbolic link inside a tree.
        in_tree: bool,
    },
    /// Upload of a device, pipe or socket.
    #[error("source file {path} is a {kind}, not a regular file")]
    SourceNotRegular {
        /// The local file.
        path: String,
        /// What it is.
        kind: &'static str,
    },
    /// Get: a stored name that would leave the destination.
    #[error("file {0:?} cannot be stored below the destination: its name has empty, . or .. parts")]
    Unsafe(String),
    /// Get: a file and a directory of the same name, which no local directory can hold.
    #[error("{0} is both a file and a directory")]
    Clash(String),
    /// Get: a name, or a part of it, longer than the local file system takes.
    #[error("open {0}: file name too long")]
    TooLong(String),
    /// Get: the chunks of a file do not add up to it.
    #[error("file {name} is damaged at offset {offset}: {what}")]
    Damaged {
        /// The stored name.
        name: String,
        /// Where, in bytes from the start.
        offset: u64,
        /// In which way.
        what: String,
    },
    /// Get: the file was replaced again and again while it was read.
    #[error("file {0} kept changing while it was read")]
    Unstable(String),
    /// A part of this program panicked.
    #[error("a defect of this program: see the message above")]
    Defect,
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// For `map_err` on local files.
    pub fn os(op: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.display().to_string();
        move |source| Error::Os { op, path, source }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Arg(e) => e.hint().map(str::to_owned),
            Error::Table(e) => e.hint(),
            Error::Exists { sizes: None, .. } => {
                Some("--overwrite replaces it, --skip-existing leaves it".to_owned())
            }
            Error::LocalExists { sizes: None, .. } => {
                Some("--overwrite replaces it, --skip-existing leaves it".to_owned())
            }
            Error::Exists { sizes: Some((there, here)), .. } => {
                Some(format!("it has {there} bytes, the source has {here}; --overwrite replaces it"))
            }
            Error::LocalExists { sizes: Some((here, there)), .. } => {
                Some(format!("it has {here} bytes, the stored file has {there}; --overwrite replaces it"))
            }
            Error::SourceIsDirectory { in_tree: false, .. } => Some("-r uploads a directory".to_owned()),
            Error::SourceIsDirectory { in_tree: true, .. } => {
                Some("links to directories are not followed; --skip-links leaves all links out".to_owned())
            }
            Error::SourceNotRegular { .. } => {
                Some("to store a stream, pipe it into: userfilefs upload - NAME".to_owned())
            }
            Error::Unsafe(_) | Error::Clash(_) | Error::TooLong(_) => {
                Some("get it alone, with the name of a local file as destination".to_owned())
            }
            Error::Damaged { .. } => {
                Some("--recover fetches the chunks that are there, one behind the other".to_owned())
            }
            Error::Unstable(_) | Error::Os { .. } | Error::Defect | Error::Interrupted => None,
        }
    }

    /// The SQLSTATE, if the server said so.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Error::Table(chunk::Error::Sql(e)) => e.sqlstate(),
            _ => None,
        }
    }

    /// The server's DETAIL, if it gave one.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Error::Table(chunk::Error::Sql(e)) => e.detail(),
            _ => None,
        }
    }

    /// Whether another client's change of the file could be the reason.
    pub(super) fn may_be_a_change(&self) -> bool {
        match self {
            Error::Damaged { .. } => true,
            Error::Table(e) => {
                matches!(
                    e,
                    chunk::Error::Corrupt { .. } | chunk::Error::Changed(_) | chunk::Error::NotFound(_)
                )
            }
            _ => false,
        }
    }

    /// Whether it concerns nothing but the local name of one file, so that others can still be fetched.
    pub fn is_about_the_name(&self) -> bool {
        matches!(self, Error::Unsafe(_) | Error::Clash(_) | Error::TooLong(_))
    }

    /// Whether the user asked to stop.
    pub fn is_interrupt(&self) -> bool {
        matches!(self, Error::Interrupted)
    }
}
