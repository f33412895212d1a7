//! What can go wrong with a file table.

use super::layout::Damage;
use super::names::NameError;
use super::types::FileId;
use crate::sql;

/// An error of a [`super::FileTable`]. Cheap to clone.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The server, or the way to it.
    #[error(transparent)]
    Sql(#[from] sql::Error),
    /// The name is taken.
    #[error("{0} exists already")]
    Exists(String),
    /// There is nothing at the name.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The directory has entries.
    #[error("{0} is not empty")]
    NotEmpty(String),
    /// The row is not what it was: another client replaced, changed or removed it.
    #[error("{0} was changed by another client")]
    Changed(String),
    /// What is stored is not a whole file.
    #[error("{what} is damaged: {damage}")]
    Corrupt {
        /// The file's name, where it is known, or its id.
        what: String,
        /// The file.
        id: FileId,
        /// What is wrong, and where.
        damage: Damage,
    },
    /// A name that cannot be used.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Attributes, directories and symbolic links cannot be stored: no companion table.
    #[error("attributes cannot be stored: {0}")]
    NoAttrs(String),
    /// This table was opened read-only.
    #[error("the file system is read-only")]
    ReadOnly,
    /// Longer than what can be stored.
    #[error("{0}")]
    TooLarge(String),
    /// The disk of the server is full.
    #[error("no space left on the disk of the server")]
    NoRoom,
    /// Neither of the two tables exists, and they were not to be made.
    #[error("there is no userfile storage {0}")]
    NoTables(String),
    /// Only one of the two tables exists. The text is CockroachDB's own.
    #[error("expected both File and Payload tables to exist, but one of them has been dropped")]
    HalfTables {
        /// The one that is missing.
        missing: String,
    },
    /// The tables exist but are not userfile tables.
    #[error("{0}")]
    Shape(String),
}

impl Error {
    /// What the user can do about it: one sentence, no full stop.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Sql(e) => e.hint().map(str::to_owned),
            Error::Name(e) => e.hint().map(str::to_owned),
            Error::NoTables(_) => {
                Some("the tables are made by the first upload or writable mount".to_owned())
            }
            Error::HalfTables { missing } => {
                Some(format!("drop the remaining table, or restore {missing}, and try again"))
            }
            Error::Corrupt { .. } => {
                Some("`userfilefs check` lists all damage; the recover option reads what is there".to_owned())
            }
            Error::NoRoom => Some(
                "remove stored files, or make room on that disk; the server's log needs the last of it"
                    .to_owned(),
            ),
            Error::NoAttrs(_) => Some("ask the owner of the schema for the CREATE privilege".to_owned()),
            _ => None,
        }
    }

    /// The class of the server's error, if it is one.
    pub fn class(&self) -> Option<sql::ErrorClass> {
        match self {
            Error::Sql(e) => Some(e.class()),
            _ => None,
        }
    }
}
