//! Chunks in memory, bounded by bytes.
//!
//! The key is (file id, offset of the row): contents of a published id never change, so a replaced
//! file can never mix with its successor. (An append keeps the id and changes the last chunk; whoever
//! sees a size change drops that file's chunks.)

use std::collections::HashMap;
use std::num::NonZeroUsize;

use bytes::Bytes;
use lru::LruCache;
use parking_lot::Mutex;

use crate::chunk::{ChunkData, FileId};

/// Bytes of one chunk, shared.
#[derive(Clone)]
pub enum Data {
    /// As the server's answer holds them.
    Row(ChunkData),
    /// Made here.
    Own(Bytes),
}

impl std::ops::Deref for Data {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Data::Row(data) => data,
            Data::Own(data) => data,
        }
    }
}

impl Data {
    /// The memory that it takes, in bytes. A large answer of the server sits in a receive buffer that had doubled
    /// until it fitted.
    fn cost(&self) -> usize {
        let len = self.len();
        let buffer = if matches!(self, Data::Row(_)) && len >= LARGE_ROW_BYTES { len * 2 } else { len };
        buffer + ENTRY_OVERHEAD_BYTES
    }
}

type Key = (FileId, u64);

struct Inner {
    chunks: LruCache<Key, Data>,
    bytes: usize,
    /// Offsets held of each file, to drop a file at once.
    files: HashMap<FileId, Vec<u64>>,
}

/// The cache.
pub struct ChunkCache {
    inner: Mutex<Inner>,
    bytes_max: usize,
}

/// From this size on a row's buffer counts, not its contents alone, in bytes.
const LARGE_ROW_BYTES: usize = 1 << 20;
/// What an entry costs beside its bytes.
const ENTRY_OVERHEAD_BYTES: usize = 256;

impl ChunkCache {
    /// A cache of at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        let entries =
            NonZeroUsize::new((bytes_max / ENTRY_OVERHEAD_BYTES).max(16)).unwrap_or(NonZeroUsize::MIN);
        ChunkCache {
            inner: Mutex::new(Inner { chunks: LruCache::new(entries), bytes: 0, files: HashMap::new() }),
            bytes_max,
        }
    }

    /// The bound.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }
    /// Bytes held now.
    pub fn bytes(&self) -> usize {
        self.inner.lock().bytes
    }

    /// A chunk, made the most recently used.
    pub fn get(&self, id: FileId, offset: u64) -> Option<Data> {
        self.inner.lock().chunks.get(&(id, offset)).cloned()
    }
    /// Whether a chunk is there; does not touch its age.
    pub fn contains(&self, id: FileId, offset: u64) -> bool {
        self.inner.lock().chunks.contains(&(id, offset))
    }

    /// Adds a chunk and drops the oldest beyond the bound.
    pub fn put(&self, id: FileId, offset: u64, data: Data) {
        let mut inner = self.inner.lock();
        inner.bytes += data.cost();
        if let Some(((old_id, old_offset), old)) = inner.chunks.push((id, offset), data) {
            inner.bytes -= old.cost();
            if (old_id, old_offset) != (id, offset) {
                inner.unlist(old_id, old_offset);
                inner.files.entry(id).or_default().push(offset);
            }
        } else {
            inner.files.entry(id).or_default().push(offset);
        }
        while inner.bytes > self.bytes_max {
            let Some(((id, offset), old)) = inner.chunks.pop_lru() else { break };
            inner.bytes -= old.cost();
            inner.unlist(id, offset);
        }
    }

    /// Makes a chunk the first to go (it was read through to its end).
    pub fn demote(&self, id: FileId, offset: u64) {
        self.inner.lock().chunks.demote(&(id, offset));
    }

    /// Drops every chunk of a file.
    pub fn drop_file(&self, id: FileId) {
        let mut inner = self.inner.lock();
        for offset in inner.files.remove(&id).unwrap_or_default() {
            if let Some(old) = inner.chunks.pop(&(id, offset)) {
                inner.bytes -= old.cost();
            }
        }
    }
}

impl Inner {
    fn unlist(&mut self, id: FileId, offset: u64) {
        if let Some(offsets) = self.files.get_mut(&id) {
            offsets.retain(|o| *o != offset);
            if offsets.is_empty() {
                self.files.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_holds_and_a_file_goes_at_once() {
        let cache = ChunkCache::new(10_000);
        let (a, b) = (FileId(uuid::Uuid::from_u128(1)), FileId(uuid::Uuid::from_u128(2)));
        for i in 0..100 {
            cache.put(if i % 2 == 0 { a } else { b }, i, Data::Own(Bytes::from(vec![0; 500])));
            assert!(cache.bytes() <= 10_000);
        }
        assert!(cache.contains(b, 99) && !cache.contains(a, 0));
        cache.put(b, 99, Data::Own(Bytes::from(vec![1; 10])));
        assert_eq!(cache.get(b, 99).map(|d| d.len()), Some(10));
        cache.drop_file(b);
        cache.drop_file(a);
        assert_eq!(cache.bytes(), 0);
        assert!(cache.inner.lock().files.is_empty());
    }
}
