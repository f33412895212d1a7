//! Which names a mount takes (pure).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::error::{FsError, Result};

/// Longest component, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Longest stored name, in bytes: PostgreSQL refuses index keys over about 2,700.
pub const PATH_BYTES_MAX: usize = 2600;
/// The virtual directory at the top of every mount, and the prefix of hidden rows.
pub const CONTROL_NAME: &str = ".userfilefs";

/// A component as the kernel sends it, for looking up.
pub fn component(name: &OsStr) -> Result<&str> {
    let bytes = name.as_bytes();
    if bytes.len() > NAME_BYTES_MAX {
        return Err(FsError::NameTooLong);
    }
    std::str::from_utf8(bytes).map_err(|_| FsError::NotUtf8)
}

/// Refuses a path that the tables' key cannot hold.
pub fn check_path(path: &str) -> Result<()> {
    if path.len() > PATH_BYTES_MAX { Err(FsError::NameTooLong) } else { Ok(()) }
}

/// A stored path as one component of `.userfilefs/shadowed`: `/` and `%` are percent-encoded.
pub fn flatten(path: &str) -> String {
    path.trim_start_matches('/').replace('%', "%25").replace('/', "%2F")
}

/// The reverse of [`flatten`], with the leading slash.
pub fn unflatten(name: &str) -> String {
    format!("/{}", name.replace("%2F", "/").replace("%25", "%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flattened_names_come_back() {
        for path in ["/a", "/a/b", "/a%2Fb/c", "/%25/%"] {
            assert_eq!(unflatten(&flatten(path)), path);
            assert!(!flatten(path).contains('/'));
        }
    }

    #[test]
    fn components_are_bounded_and_utf8() {
        assert!(component(OsStr::new(&"x".repeat(255))).is_ok());
        assert_eq!(component(OsStr::new(&"x".repeat(256))).map_err(|e| e.errno()), Err(libc::ENAMETOOLONG));
        assert_eq!(component(OsStr::from_bytes(b"\xff")).map_err(|e| e.errno()), Err(libc::EILSEQ));
    }
}
