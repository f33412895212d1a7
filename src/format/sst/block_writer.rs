//! Building one block.

use super::varint;

/// Collects entries; keys arrive in order.
#[derive(Debug)]
pub(super) struct BlockWriter {
    buf: Vec<u8>,
    restarts: Vec<u32>,
    interval: usize,
    /// Entries since the last restart.
    since_restart: usize,
    entries: usize,
    last_key: Vec<u8>,
}

impl BlockWriter {
    /// `interval`: a restart every so many entries.
    pub(super) fn new(interval: usize) -> Self {
        let interval = interval.max(1);
        BlockWriter {
            buf: Vec::new(),
            restarts: Vec::new(),
            interval,
            since_restart: interval,
            entries: 0,
            last_key: Vec::new(),
        }
    }

    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    pub(super) fn last_key(&self) -> &[u8] {
        &self.last_key
    }

    /// Size of the finished block, were it finished now.
    pub(super) fn size(&self) -> usize {
        self.buf.len() + 4 * self.restarts.len().max(1) + 4
    }

    /// Whether an entry of these lengths would make the block too large: the block is full, or nearly full
    /// (from 90 % of `target`) and the entry does not fit, counted without prefix compression.
    pub(super) fn should_flush(&self, key_len: usize, value_len: usize, target: usize) -> bool {
        if self.entries == 0 {
            return false;
        }
        let size = self.size();
        if size >= target {
            return true;
        }
        if size <= (target * 90).div_ceil(100) {
            return false;
        }
        let restart = if self.since_restart == self.interval { 4 } else { 0 };
        let header = 4 + varint::len(key_len as u64) + varint::len(value_len as u64);
        size + restart + header + key_len + value_len > target
    }

    /// Appends an entry whose key is `key` followed by `trailer`.
    pub(super) fn add(&mut self, key: &[u8], trailer: &[u8], value: &[u8]) {
        let shared = if self.since_restart == self.interval {
            self.since_restart = 0;
            self.restarts.push(u32::try_from(self.buf.len()).unwrap_or(u32::MAX));
            0
        } else {
            shared_len(&self.last_key, key, trailer)
        };
        let len = key.len() + trailer.len();
        varint::put(&mut self.buf, shared as u64);
        varint::put(&mut self.buf, (len - shared) as u64);
        varint::put(&mut self.buf, value.len() as u64);
        self.last_key.truncate(shared);
        self.last_key.extend_from_slice(key.get(shared..).unwrap_or(&[]));
        let in_trailer = shared.saturating_sub(key.len());
        self.last_key.extend_from_slice(trailer.get(in_trailer..).unwrap_or(&[]));
        self.buf.extend_from_slice(self.last_key.get(shared..).unwrap_or(&[]));
        self.buf.extend_from_slice(value);
        self.since_restart += 1;
        self.entries += 1;
    }

    /// Appends the restarts and lends the finished payload; [`BlockWriter::reset`] must follow.
    pub(super) fn finish(&mut self) -> &[u8] {
        if self.restarts.is_empty() {
            self.restarts.push(0);
        }
        for restart in &self.restarts {
            self.buf.extend_from_slice(&restart.to_le_bytes());
        }
        let count = u32::try_from(self.restarts.len()).unwrap_or(u32::MAX);
        self.buf.extend_from_slice(&count.to_le_bytes());
        &self.buf
    }

    /// Empties the block and keeps its memory.
    pub(super) fn reset(&mut self) {
        self.buf.clear();
        self.restarts.clear();
        self.last_key.clear();
        self.since_restart = self.interval;
        self.entries = 0;
    }
}

/// How many bytes `last` shares with `key` followed by `trailer`.
fn shared_len(last: &[u8], key: &[u8], trailer: &[u8]) -> usize {
    let (chunks_a, chunks_b) = (last.as_chunks::<8>().0, key.as_chunks::<8>().0);
    let equal = 8 * chunks_a.iter().zip(chunks_b).take_while(|(a, b)| a == b).count();
    let rest = last.get(equal..).unwrap_or(&[]).iter();
    let new = key.get(equal..).unwrap_or(&[]).iter().chain(trailer);
    equal + rest.zip(new).take_while(|(a, b)| a == b).count()
}
