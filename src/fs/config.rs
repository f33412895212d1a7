//! What a mount can be told.

use std::time::Duration;

/// Options of a filesystem. `Default` is what a mount without options has, owner aside.
#[derive(Debug, Clone)]
pub struct Config {
    /// Owner shown where none is recorded.
    pub uid: u32,
    /// Group shown where none is recorded.
    pub gid: u32,
    /// Permission bits of files where none are recorded.
    pub file_mode: u32,
    /// Permission bits of directories where none are recorded.
    pub dir_mode: u32,
    /// No changes at all.
    pub read_only: bool,
    /// How long attributes and listings are believed.
    pub attr_timeout: Duration,
    /// How long the kernel believes a name.
    pub entry_timeout: Duration,
    /// `close` returns before small files are stored; fsync and unmount are barriers.
    pub async_close: bool,
    /// Extended attributes of the `user.` (and, for root, `trusted.`) namespaces.
    pub user_xattr: bool,
    /// Stored path that is the mount's top: empty or `/a/b`.
    pub subdir: String,
    /// Memory for contents that are not stored yet, in bytes.
    pub dirty_bytes_max: usize,
    /// Memory for chunks that were read, in bytes.
    pub cache_bytes_max: usize,
    /// Largest hole that is filled with stored zeros, in bytes; beyond it EFBIG.
    pub hole_bytes_max: u64,
    /// Free space that statfs reports where the disk of the server is not known, in bytes.
    pub free_bytes: u64,
    /// How long a dead writer's leftovers are kept.
    pub lease: Duration,
    /// Show what chunks hold rather than what `file_size` says, to rescue damaged files.
    pub recover: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            uid: 0,
            gid: 0,
            file_mode: 0o644,
            dir_mode: 0o755,
            read_only: false,
            attr_timeout: Duration::from_secs(1),
            entry_timeout: Duration::from_secs(1),
            async_close: false,
            user_xattr: false,
            subdir: String::new(),
            dirty_bytes_max: 48 << 20,
            cache_bytes_max: 48 << 20,
            hole_bytes_max: 64 << 30,
            free_bytes: 1 << 50,
            lease: Duration::from_secs(600),
            recover: false,
        }
    }
}
