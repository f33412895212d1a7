//! What can go wrong in a filesystem operation, and the one place that decides its errno.

use std::sync::Arc;

use crate::chunk;

/// A failed filesystem operation. Clonable, because a handle remembers its failure.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FsError {
    /// No such name.
    #[error("no such file or directory")]
    NotFound,
    /// The name is taken.
    #[error("file exists")]
    Exists,
    /// The directory still holds something.
    #[error("directory not empty")]
    NotEmpty,
    /// A directory was needed.
    #[error("not a directory")]
    NotDir,
    /// A directory stands where a file was needed.
    #[error("is a directory")]
    IsDir,
    /// Not supported by this storage (hard links, devices) or reserved.
    #[error("operation not permitted")]
    NotPermitted,
    /// The mount, or the server, takes no writes.
    #[error("read-only file system")]
    ReadOnly,
    /// A component over 255 bytes or a path over the limit of the key.
    #[error("file name too long")]
    NameTooLong,
    /// A name that is not UTF-8 cannot be stored.
    #[error("the name is not UTF-8")]
    NotUtf8,
    /// A hole or a file beyond the limit.
    #[error("file too large")]
    TooBig,
    /// The handle is not open, or not for this.
    #[error("bad file handle")]
    BadHandle,
    /// An argument that makes no sense.
    #[error("invalid argument")]
    Invalid,
    /// Not offered for this object.
    #[error("not supported")]
    NotSupported,
    /// Answered with ENOSYS, so that the kernel never asks again.
    #[error("not implemented")]
    NotImplemented,
    /// No such extended attribute.
    #[error("no such attribute")]
    NoAttribute,
    /// The caller's buffer is too small.
    #[error("result too large for the buffer")]
    Range,
    /// An extended attribute over the limit.
    #[error("attribute too large")]
    AttributeTooBig,
    /// There is no room for what is to be reserved.
    #[error("no space left on the disk of the server")]
    NoSpace,
    /// The open file was removed or replaced by another client.
    #[error("the file was removed or replaced by another client")]
    Stale,
    /// The name that was looked up before an open has gone to another file since: the kernel looks again.
    #[error("the name has gone to another file")]
    LookAgain,
    /// The stored rows do not make up a whole file.
    #[error("{0}")]
    Damaged(String),
    /// The deadline of the operation passed.
    #[error("timed out")]
    TimedOut,
    /// The mount is being taken down.
    #[error("the mount is shutting down")]
    ShuttingDown,
    /// The chunk layer failed.
    #[error(transparent)]
    Table(Arc<chunk::Error>),
}

/// Result of a filesystem operation.
pub type Result<T> = std::result::Result<T, FsError>;

impl From<chunk::Error> for FsError {
    fn from(error: chunk::Error) -> Self {
        match error {
            chunk::Error::Exists(_) => FsError::Exists,
            chunk::Error::NotFound(_) => FsError::NotFound,
            chunk::Error::NotEmpty(_) => FsError::NotEmpty,
            chunk::Error::ReadOnly => FsError::ReadOnly,
            chunk::Error::NoRoom => FsError::NoSpace,
            other => FsError::Table(Arc::new(other)),
        }
    }
}

impl FsError {
    /// The errno that the kernel is told. No wildcard: a new variant has to be decided here.
    pub fn errno(&self) -> i32 {
        match self {
            FsError::NotFound => libc::ENOENT,
            FsError::Exists => libc::EEXIST,
            FsError::NotEmpty => libc::ENOTEMPTY,
            FsError::NotDir => libc::ENOTDIR,
            FsError::IsDir => libc::EISDIR,
            FsError::NotPermitted => libc::EPERM,
            FsError::ReadOnly => libc::EROFS,
            FsError::NameTooLong => libc::ENAMETOOLONG,
            FsError::NotUtf8 => libc::EILSEQ,
            FsError::TooBig => libc::EFBIG,
            FsError::BadHandle => libc::EBADF,
            FsError::Invalid => libc::EINVAL,
            FsError::NotSupported => libc::EOPNOTSUPP,
            FsError::NotImplemented => libc::ENOSYS,
            FsError::NoAttribute => libc::ENODATA,
            FsError::Range => libc::ERANGE,
            FsError::AttributeTooBig => libc::E2BIG,
            FsError::NoSpace => libc::ENOSPC,
            FsError::Stale | FsError::LookAgain => libc::ESTALE,
            FsError::Damaged(_) | FsError::TimedOut | FsError::ShuttingDown => libc::EIO,
            FsError::Table(error) => table_errno(error),
        }
    }

    /// Whether the same may succeed when the server is back.
    pub fn is_transient(&self) -> bool {
        match self {
            FsError::TimedOut => true,
            FsError::Table(error) => matches!(&**error, chunk::Error::Sql(e) if e.is_transient()),
            _ => false,
        }
    }

    /// Whether the failure is part of ordinary life (a lookup that misses) or worth a log line.
    pub fn is_expected(&self) -> bool {
        !matches!(
            self,
            FsError::Damaged(_)
                | FsError::Table(_)
                | FsError::TimedOut
                | FsError::Stale
                | FsError::ShuttingDown
        )
    }
}

fn table_errno(error: &chunk::Error) -> i32 {
    use crate::sql::ErrorClass;
    let chunk::Error::Sql(sql) = error else {
        return match error {
            chunk::Error::TooLarge(_) => libc::EFBIG,
            chunk::Error::Name(chunk::NameError::TooLong(_)) => libc::ENAMETOOLONG,
            chunk::Error::Name(_) => libc::EINVAL,
            _ => libc::EIO,
        };
    };
    match sql.class() {
        ErrorClass::Denied => libc::EACCES,
        ErrorClass::ReadOnly => libc::EROFS,
        ErrorClass::NoSpace => libc::ENOSPC,
        ErrorClass::TooLarge => libc::EFBIG,
        ErrorClass::BadName => libc::EILSEQ,
        ErrorClass::Exists => libc::EEXIST,
        _ => libc::EIO,
    }
}
