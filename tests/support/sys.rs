//! System calls that the standard library does not offer; errors are the bare errno.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// An errno, or what the call returned.
pub type Result<T> = std::result::Result<T, i32>;

fn text(path: impl AsRef<OsStr>) -> CString {
    CString::new(path.as_ref().as_bytes()).expect("no NUL in a path")
}

fn last() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn check<T: PartialOrd + Default>(value: T) -> Result<T> {
    if value < T::default() { Err(last()) } else { Ok(value) }
}

/// The errno of a failed call of the standard library; 0 where there is none.
///
/// # Panics
/// Where the call succeeded.
pub fn errno<T>(result: std::io::Result<T>) -> i32 {
    match result {
        Ok(_) => panic!("this call should have failed"),
        Err(e) => e.raw_os_error().unwrap_or(0),
    }
}

/// renameat2(2) with flags.
pub fn renameat2(from: &Path, to: &Path, flags: u32) -> Result<()> {
    let (from, to) = (text(from), text(to));
    // SAFETY: both are NUL-terminated strings that outlive the call.
    check(unsafe { libc::renameat2(libc::AT_FDCWD, from.as_ptr(), libc::AT_FDCWD, to.as_ptr(), flags) })
        .map(drop)
}

/// fallocate(2).
pub fn fallocate(file: &File, mode: i32, offset: i64, len: i64) -> Result<()> {
    // SAFETY: the descriptor is open.
    check(unsafe { libc::fallocate(file.as_raw_fd(), mode, offset, len) }).map(drop)
}

/// copy_file_range(2) between explicit positions.
pub fn copy_file_range(from: &File, mut at: i64, to: &File, mut to_at: i64, len: usize) -> Result<usize> {
    // SAFETY: both descriptors are open and both positions are live variables.
    let done = unsafe {
        libc::copy_file_range(from.as_raw_fd(), &raw mut at, to.as_raw_fd(), &raw mut to_at, len, 0)
    };
    check(done).map(isize::cast_unsigned)
}

/// lseek(2).
pub fn lseek(file: &File, offset: i64, whence: i32) -> Result<i64> {
    // SAFETY: the descriptor is open.
    check(unsafe { libc::lseek(file.as_raw_fd(), offset, whence) })
}

/// lsetxattr(2).
pub fn setxattr(path: &Path, name: &str, value: &[u8], flags: i32) -> Result<()> {
    let (path, name) = (text(path), text(name));
    // SAFETY: pointers and lengths belong to live values.
    let done =
        unsafe { libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), flags) };
    check(done).map(drop)
}

/// lgetxattr(2).
pub fn getxattr(path: &Path, name: &str) -> Result<Vec<u8>> {
    let (path, name) = (text(path), text(name));
    let mut value = vec![0_u8; 65536];
    // SAFETY: pointers and lengths belong to live values.
    let len =
        unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    value.truncate(check(len)?.cast_unsigned());
    Ok(value)
}

/// llistxattr(2): the names, sorted.
pub fn listxattr(path: &Path) -> Result<Vec<String>> {
    let path = text(path);
    let mut value = vec![0_u8; 65536];
    // SAFETY: pointers and lengths belong to live values.
    let len = unsafe { libc::llistxattr(path.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    value.truncate(check(len)?.cast_unsigned());
    let mut names: Vec<String> = value
        .split(|b| *b == 0)
        .filter(|n| !n.is_empty())
        .map(|n| String::from_utf8_lossy(n).into())
        .collect();
    names.sort();
    Ok(names)
}

/// lremovexattr(2).
pub fn removexattr(path: &Path, name: &str) -> Result<()> {
    let (path, name) = (text(path), text(name));
    // SAFETY: both are NUL-terminated strings that outlive the call.
    check(unsafe { libc::lremovexattr(path.as_ptr(), name.as_ptr()) }).map(drop)
}

/// statvfs(2).
pub fn statvfs(path: &Path) -> libc::statvfs {
    let path = text(path);
    // SAFETY: all-zero is a valid statvfs, and the kernel fills it.
    unsafe {
        let mut out: libc::statvfs = std::mem::zeroed();
        assert_eq!(libc::statvfs(path.as_ptr(), &raw mut out), 0, "statvfs: errno {}", last());
        out
    }
}

/// utimensat(2) without following symbolic links; seconds and nanoseconds of both times.
pub fn utimens(path: &Path, atime: (i64, i64), mtime: (i64, i64)) -> Result<()> {
    let path = text(path);
    let spec = |(tv_sec, tv_nsec)| libc::timespec { tv_sec, tv_nsec };
    let times = [spec(atime), spec(mtime)];
    // SAFETY: the path is NUL-terminated and there are two times.
    let done =
        unsafe { libc::utimensat(libc::AT_FDCWD, path.as_ptr(), times.as_ptr(), libc::AT_SYMLINK_NOFOLLOW) };
    check(done).map(drop)
}

/// mknod(2).
pub fn mknod(path: &Path, mode: u32) -> Result<()> {
    let path = text(path);
    // SAFETY: the path is NUL-terminated.
    check(unsafe { libc::mknod(path.as_ptr(), mode, 0) }).map(drop)
}

/// A shared mapping of the first `len` bytes of a file.
pub struct Mapping {
    at: *mut u8,
    len: usize,
}

impl Mapping {
    /// Maps a file; `writable` needs a file opened for both.
    pub fn new(file: &File, len: usize, writable: bool) -> Result<Mapping> {
        let protection = libc::PROT_READ | if writable { libc::PROT_WRITE } else { 0 };
        // SAFETY: a new mapping at an address of the kernel's choice.
        let at = unsafe {
            libc::mmap(std::ptr::null_mut(), len, protection, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        if at == libc::MAP_FAILED { Err(last()) } else { Ok(Mapping { at: at.cast(), len }) }
    }

    /// Bytes from `offset`.
    pub fn read(&self, offset: usize, len: usize) -> Vec<u8> {
        assert!(offset + len <= self.len);
        // SAFETY: within the mapping, which lives as long as self.
        (offset..offset + len).map(|i| unsafe { self.at.add(i).read_volatile() }).collect()
    }

    /// Changes bytes from `offset`.
    pub fn write(&self, offset: usize, data: &[u8]) {
        assert!(offset + data.len() <= self.len);
        for (i, byte) in data.iter().enumerate() {
            // SAFETY: within the mapping, which is writable or the test crashes.
            unsafe { self.at.add(offset + i).write_volatile(*byte) };
        }
    }

    /// msync(2) with MS_SYNC.
    pub fn sync(&self) -> Result<()> {
        // SAFETY: exactly the mapping.
        check(unsafe { libc::msync(self.at.cast(), self.len, libc::MS_SYNC) }).map(drop)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping, which nobody uses any more.
        unsafe { libc::munmap(self.at.cast(), self.len) };
    }
}
