//! Changed contents of one file that are not published yet (pure).
//!
//! A file is a row of chunks. A chunk's bytes come from, in this order: its [`Buf`] where the buffer
//! holds them, the staged row that was uploaded earlier, the published file ("base") up to the
//! smallest size the file has been cut to since, and zeros.

use std::collections::BTreeMap;
use std::sync::Arc;

/// From this length on a buffer is given a whole chunk's capacity at once.
const GROW_TO_CHUNK_FROM: usize = 64 << 10;

/// A chunk in memory: bytes `lo..data.len()` are the newest, those below `lo` are not known here.
#[derive(Debug, Clone, Default)]
pub struct Buf {
    lo: usize,
    data: Arc<Vec<u8>>,
    /// Grows with every change, so that an upload can tell whether it stored the newest bytes.
    pub version: u64,
}

impl Buf {
    /// The bytes; meaningful from `lo()` on.
    pub fn data(&self) -> &Arc<Vec<u8>> {
        &self.data
    }
    /// First known byte.
    pub fn lo(&self) -> usize {
        self.lo
    }
    /// End of the known bytes.
    pub fn hi(&self) -> usize {
        self.data.len()
    }
}

/// A chunk row of the staging file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Staged {
    /// Bytes in the stored row.
    pub row_len: usize,
    /// Bytes of it that still count: less than `row_len` after the file was cut inside the chunk.
    pub valid_len: usize,
}

/// What a write found.
#[derive(Debug, PartialEq)]
pub enum Wrote {
    /// Applied; the buffer's memory grew by so many bytes.
    Done { grown: usize },
    /// The chunk's other bytes must be filled in first (see [`Overlay::fill`]).
    NeedsLoad,
}

/// The pending contents of one file.
#[derive(Debug)]
pub struct Overlay {
    chunk_len: usize,
    bufs: BTreeMap<u64, Buf>,
    staged: BTreeMap<u64, Staged>,
    base_valid: u64,
}

impl Overlay {
    /// Nothing pending over a base of `base_len` bytes.
    pub fn new(chunk_len: usize, base_len: u64) -> Self {
        Overlay { chunk_len, bufs: BTreeMap::new(), staged: BTreeMap::new(), base_valid: base_len }
    }

    /// Bytes of the base that still count.
    pub fn base_valid(&self) -> u64 {
        self.base_valid
    }
    /// Memory held by buffers, in bytes.
    pub fn memory(&self) -> usize {
        self.bufs.values().map(|b| b.data.capacity()).sum()
    }
    /// Whether neither buffers nor staged rows exist.
    pub fn is_clean(&self) -> bool {
        self.bufs.is_empty() && self.staged.is_empty()
    }
    /// The buffered chunks in order.
    pub fn bufs(&self) -> impl Iterator<Item = (u64, &Buf)> {
        self.bufs.iter().map(|(i, b)| (*i, b))
    }
    /// A chunk's buffer.
    pub fn buf(&self, index: u64) -> Option<&Buf> {
        self.bufs.get(&index)
    }
    /// A chunk's staged row.
    pub fn staged(&self, index: u64) -> Option<Staged> {
        self.staged.get(&index).copied()
    }
    /// The highest staged chunk.
    pub fn last_staged(&self) -> Option<u64> {
        self.staged.keys().next_back().copied()
    }

    /// How many bytes of the chunk exist below the buffer: in the staged row or the base.
    pub fn existing_len(&self, index: u64) -> usize {
        if let Some(staged) = self.staged.get(&index) {
            return staged.valid_len;
        }
        let start = index.saturating_mul(self.chunk_len as u64);
        self.base_valid.saturating_sub(start).min(self.chunk_len as u64) as usize
    }

    /// Puts `piece` at byte `at` of chunk `index`; the piece does not cross the chunk's end.
    pub fn write(&mut self, index: u64, at: usize, piece: &[u8]) -> Wrote {
        debug_assert!(at + piece.len() <= self.chunk_len);
        let existing = self.existing_len(index);
        let end = at + piece.len();
        if let Some(buf) = self.bufs.get(&index) {
            let gap_above = at > buf.hi() && buf.hi() < existing;
            let gap_below = end < buf.lo;
            if gap_above || gap_below {
                return Wrote::NeedsLoad;
            }
        }
        let chunk_len = self.chunk_len;
        let buf = self.bufs.entry(index).or_insert_with(|| Buf { lo: at.min(existing), ..Buf::default() });
        buf.version += 1;
        let data = Arc::make_mut(&mut buf.data);
        let before = data.capacity();
        reserve(data, end.max(at), chunk_len);
        if data.len() < at {
            data.resize(at, 0);
        }
        if data.len() < end {
            let overlap = data.len() - at;
            data[at..].copy_from_slice(&piece[..overlap]);
            data.extend_from_slice(&piece[overlap..]);
        } else {
            data[at..end].copy_from_slice(piece);
        }
        buf.lo = buf.lo.min(at);
        Wrote::Done { grown: data.capacity().saturating_sub(before) }
    }

    /// Whether the buffer lacks bytes that exist below it.
    pub fn is_partial(&self, index: u64) -> bool {
        self.bufs.get(&index).is_some_and(|b| b.lo > 0 || b.hi() < self.existing_len(index))
    }

    /// Completes the chunk's buffer (made if absent) from `existing`, the bytes that exist below it.
    /// Returns how many bytes of memory were added.
    pub fn fill(&mut self, index: u64, existing: &[u8]) -> usize {
        let existing = &existing[..existing.len().min(self.existing_len(index))];
        let chunk_len = self.chunk_len;
        let buf = self.bufs.entry(index).or_default();
        let data = Arc::make_mut(&mut buf.data);
        let before = data.capacity();
        reserve(data, existing.len(), chunk_len);
        let below = buf.lo.min(existing.len());
        data[..below].copy_from_slice(&existing[..below]);
        if buf.lo > below {
            data[below..buf.lo].fill(0);
        }
        if data.len() < existing.len() {
            let from = data.len();
            data.extend_from_slice(&existing[from..]);
        }
        buf.lo = 0;
        data.capacity().saturating_sub(before)
    }

    /// Makes the buffer exactly `len` bytes: what lies beyond is cut, what lacks is zero. The
    /// buffer must be complete below. Returns how many bytes of memory were added.
    pub fn pad(&mut self, index: u64, len: usize) -> usize {
        let chunk_len = self.chunk_len;
        let buf = self.bufs.entry(index).or_default();
        if buf.data.len() == len {
            return 0;
        }
        let data = Arc::make_mut(&mut buf.data);
        let before = data.capacity();
        reserve(data, len, chunk_len);
        data.resize(len, 0);
        data.capacity().saturating_sub(before)
    }

    /// Cuts (never grows) the pending contents to `size` bytes. Returns the memory given back.
    pub fn truncate(&mut self, size: u64) -> usize {
        let before = self.memory();
        let cut = size / self.chunk_len as u64;
        let rest = (size % self.chunk_len as u64) as usize;
        self.base_valid = self.base_valid.min(size);
        self.bufs.split_off(&(cut + u64::from(rest > 0)));
        self.staged.split_off(&(cut + u64::from(rest > 0)));
        if rest > 0 {
            if let Some(staged) = self.staged.get_mut(&cut) {
                staged.valid_len = staged.valid_len.min(rest);
            }
            if let Some(buf) = self.bufs.get_mut(&cut)
                && buf.hi() > rest
            {
                if buf.lo >= rest {
                    self.bufs.remove(&cut);
                } else {
                    buf.version += 1;
                    Arc::make_mut(&mut buf.data).truncate(rest);
                }
            }
        }
        before.saturating_sub(self.memory())
    }

    /// Notes that the buffer, as of `version`, is now a staged row; drops the buffer unless it
    /// changed meanwhile. Returns the memory given back.
    pub fn uploaded(&mut self, index: u64, version: u64, len: usize) -> usize {
        let Some(buf) = self.bufs.get(&index) else { return 0 };
        if buf.version != version {
            // The row exists but holds older bytes: the buffer, which is complete, goes on top.
            self.staged.insert(index, Staged { row_len: len, valid_len: len.min(buf.hi()) });
            return 0;
        }
        self.staged.insert(index, Staged { row_len: len, valid_len: len });
        self.bufs.remove(&index).map_or(0, |b| b.data.capacity())
    }

    /// Notes a staged row of a full chunk that the server copied from elsewhere.
    pub fn copied(&mut self, index: u64) -> usize {
        let len = self.chunk_len;
        self.staged.insert(index, Staged { row_len: len, valid_len: len });
        self.bufs.remove(&index).map_or(0, |b| b.data.capacity())
    }
}

fn reserve(data: &mut Vec<u8>, need: usize, chunk_len: usize) {
    if need <= data.capacity() {
        return;
    }
    if need >= GROW_TO_CHUNK_FROM.min(chunk_len) {
        data.reserve_exact(chunk_len.max(need) - data.len());
    } else {
        data.reserve(need - data.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CL: usize = 8;

    /// The plain model: the file as one vector.
    fn check(base: Vec<u8>, ops: Vec<(bool, u64, Vec<u8>)>) {
        let mut model = base.clone();
        let mut size = base.len() as u64;
        let mut o = Overlay::new(CL, size);
        let mut staged: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let existing = |o: &Overlay, staged: &BTreeMap<u64, Vec<u8>>, i: u64| -> Vec<u8> {
            let n = o.existing_len(i);
            match staged.get(&i) {
                Some(row) if o.staged(i).is_some() => row[..n].to_vec(),
                _ => base.iter().skip(i as usize * CL).take(n).copied().collect(),
            }
        };
        for (cut, at, bytes) in ops {
            if cut {
                let to = at.min(size);
                o.truncate(to);
                size = to;
                model.truncate(to as usize);
                continue;
            }
            let end = at + bytes.len() as u64;
            if bytes.is_empty() {
                // An upload of some buffered chunk stands in for the empty write.
                let i = at / CL as u64;
                if o.buf(i).is_some() {
                    let e = existing(&o, &staged, i);
                    o.fill(i, &e);
                    let b = o.buf(i).unwrap().clone();
                    staged.insert(i, b.data().to_vec());
                    o.uploaded(i, b.version, b.hi());
                }
                continue;
            }
            let mut pos = at;
            while pos < end {
                let i = pos / CL as u64;
                let from = (pos % CL as u64) as usize;
                let n = (CL - from).min((end - pos) as usize);
                let piece = &bytes[(pos - at) as usize..][..n];
                if o.write(i, from, piece) == Wrote::NeedsLoad {
                    let e = existing(&o, &staged, i);
                    o.fill(i, &e);
                    assert!(matches!(o.write(i, from, piece), Wrote::Done { .. }));
                }
                pos += n as u64;
            }
            size = size.max(end);
            if model.len() < end as usize {
                model.resize(end as usize, 0);
            }
            model[at as usize..end as usize].copy_from_slice(&bytes);
        }
        let mut out = Vec::new();
        for i in 0..size.div_ceil(CL as u64) {
            let want = (size - i * CL as u64).min(CL as u64) as usize;
            let e = existing(&o, &staged, i);
            o.fill(i, &e);
            o.pad(i, want);
            out.extend_from_slice(o.buf(i).unwrap().data());
        }
        assert_eq!(out, model);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn agrees_with_a_plain_vector(
            base in proptest::collection::vec(any::<u8>(), 0..40),
            ops in proptest::collection::vec(
                (proptest::bool::weighted(0.25), 0u64..40, proptest::collection::vec(any::<u8>(), 0..20)), 0..12),
        ) {
            check(base, ops);
        }
    }
}
