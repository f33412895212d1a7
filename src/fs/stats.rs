//! Counters that `.userfilefs/stats` shows.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One counter each.
#[derive(Default)]
pub struct Stats {
    /// Names looked up by one statement.
    pub lookups: AtomicU64,
    /// Directory pages fetched.
    pub list_pages: AtomicU64,
    /// Chunks fetched.
    pub chunks_read: AtomicU64,
    /// Bytes fetched.
    pub bytes_read: AtomicU64,
    /// Small files fetched together with another.
    pub read_ahead_files: AtomicU64,
    /// Chunk rows uploaded.
    pub chunks_written: AtomicU64,
    /// Bytes uploaded.
    pub bytes_written: AtomicU64,
    /// Files published.
    pub published: AtomicU64,
    /// Changes of names.
    pub renames: AtomicU64,
    /// Files removed.
    pub removed: AtomicU64,
    /// Operations that ended in an unexpected error.
    pub errors: AtomicU64,
}

/// Adds to a counter.
pub fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}

impl Stats {
    /// `name value` lines.
    pub fn lines(&self) -> String {
        let rows: [(&str, &AtomicU64); 11] = [
            ("lookups", &self.lookups),
            ("list_pages", &self.list_pages),
            ("chunks_read", &self.chunks_read),
            ("bytes_read", &self.bytes_read),
            ("read_ahead_files", &self.read_ahead_files),
            ("chunks_written", &self.chunks_written),
            ("bytes_written", &self.bytes_written),
            ("published", &self.published),
            ("renames", &self.renames),
            ("removed", &self.removed),
            ("errors", &self.errors),
        ];
        rows.iter().map(|(name, value)| format!("{name} {}\n", value.load(Relaxed))).collect()
    }
}
