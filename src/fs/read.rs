//! Reading: from pending contents, from the chunk cache, from the server; and reading ahead.

use std::collections::HashMap;
use std::ops::{Deref, Range};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;

use super::cache::Data;
use super::error::{FsError, Result};
use super::lookup::Answer;
use super::node::{Base, FileNode, Meta, Shape};
use super::open::{Handle, Open};
use super::stats::add;
use super::{UserfileFs, node};
use crate::chunk::{FileId, layout};

/// Chunks asked for ahead of a sequential reader, at most.
const WINDOW_CHUNKS_MAX: u64 = 4;
/// Reads up to this far from where the last one ended still count as sequential, in bytes
/// (the kernel sends its own read-ahead out of order).
const SLACK_BYTES: u64 = 8 << 20;
/// Files up to this size are fetched several at once, in bytes.
const SMALL_BYTES: u64 = 128 << 10;
/// Small files fetched with one statement, at most.
const SMALL_FILES_MAX: usize = 64;
/// Bytes of small files fetched with one statement, at most.
const SMALL_BATCH_BYTES_MAX: u64 = 2 << 20;
/// A random read at most this long is fetched alone; more, or more often, fetches the chunk.
const RANGE_BYTES_MAX: usize = 128 << 10;
/// Random reads of one chunk after which the chunk is fetched whole.
const RANGES_BEFORE_CHUNK: u32 = 24;

/// Bytes that a read returns, shared with the cache where possible.
pub enum Slice {
    /// Part of a chunk.
    Chunk(Data, Range<usize>),
    /// Put together.
    Own(Vec<u8>),
}

impl Deref for Slice {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Slice::Chunk(data, range) => data.get(range.clone()).unwrap_or_default(),
            Slice::Own(data) => data,
        }
    }
}

/// Where a handle's reading goes on.
#[derive(Default)]
pub struct Sequence {
    next: u64,
    window: u64,
    reads: u32,
    ranges: HashMap<u64, u32>,
}

type Load = Shared<BoxFuture<'static, Result<Option<(u64, Data)>>>>;

/// Fetches under way, so that a chunk is fetched once.
#[derive(Default)]
pub struct Loading {
    map: Mutex<HashMap<(FileId, u64), Load>>,
}

enum Piece {
    Ready(Slice),
    Zeros(usize),
    Fetch { id: FileId, size: u64, len: usize, pending: bool },
}

impl UserfileFs {
    /// Reads up to `len` bytes at `offset`; fewer only at the end of the file.
    pub async fn read(self: &Arc<Self>, handle: u64, offset: u64, len: usize) -> Result<Slice> {
        if let Some(answer) = self.try_read(handle, offset, len) {
            return answer;
        }
        let handle = self.handles.get(handle)?;
        let file = handle.file()?.clone();
        let mut out: Option<Slice> = None;
        let mut pos = offset;
        loop {
            let end = offset.saturating_add(len as u64).min(file.st.lock().size);
            if pos >= end {
                return Ok(out.unwrap_or(Slice::Own(Vec::new())));
            }
            let slice = self.read_piece(&handle, &file, pos, (end - pos) as usize).await?;
            if slice.is_empty() {
                return Ok(out.unwrap_or(slice));
            }
            pos += slice.len() as u64;
            out = Some(match out {
                None if pos >= end => slice,
                None => {
                    let mut whole = Vec::with_capacity((end - offset) as usize);
                    whole.extend_from_slice(&slice);
                    Slice::Own(whole)
                }
                Some(Slice::Own(mut whole)) => {
                    whole.extend_from_slice(&slice);
                    Slice::Own(whole)
                }
                Some(first) => Slice::Own([&first[..], &slice[..]].concat()),
            });
        }
    }

    /// As [`Self::read`] where memory holds the bytes.
    pub fn try_read(self: &Arc<Self>, handle: u64, offset: u64, len: usize) -> Option<Result<Slice>> {
        let handle = match self.handles.get(handle) {
            Ok(handle) => handle,
            Err(e) => return Some(Err(e)),
        };
        let file = match &handle.what {
            Open::File(file) => file,
            Open::Text(text) => {
                let from = (offset.min(text.len() as u64)) as usize;
                let to = from.saturating_add(len).min(text.len());
                return Some(Ok(Slice::Own(text[from..to].to_vec())));
            }
            Open::Dir(_) => return Some(Err(FsError::IsDir)),
        };
        let chunk_len = self.table.chunk_len() as u64;
        let base = {
            let mut st = file.st.lock();
            if offset >= st.size {
                return Some(Ok(Slice::Own(Vec::new())));
            }
            let base = st.base?;
            let as_stored =
                st.overlay.is_clean() && st.overlay.base_valid() == st.size && base.size == st.size;
            if !as_stored {
                return None;
            }
            match st.shape {
                Shape::Regular => {}
                // Fetched along with another file, which looked at all its rows.
                Shape::Unknown if base.size <= SMALL_BYTES.min(chunk_len) => {
                    self.cache.get(base.id, 0).filter(|data| data.len() as u64 == base.size)?;
                    st.shape = Shape::Regular;
                }
                Shape::Unknown | Shape::Irregular(_) => return None,
            }
            base
        };
        let start = offset / chunk_len * chunk_len;
        let from = (offset - start) as usize;
        let wanted = len.min((base.size - offset) as usize);
        let data = self.cache.get(base.id, start)?;
        if data.len() < from + wanted {
            return None;
        }
        self.read_ahead(&handle, base, offset, wanted);
        Some(Ok(Slice::Chunk(data, from..from + wanted)))
    }

    /// Some bytes at `pos`, at most `len` and never across a chunk's end.
    async fn read_piece(
        self: &Arc<Self>,
        handle: &Handle,
        file: &Arc<FileNode>,
        pos: u64,
        len: usize,
    ) -> Result<Slice> {
        // A store may publish between the look at the state and the fetch: then look again.
        for _ in 0..5 {
            let version = file.st.lock().base;
            match self.plan_piece(file, pos, len) {
                Piece::Ready(slice) => return Ok(slice),
                Piece::Zeros(n) => return Ok(Slice::Own(vec![0; n])),
                Piece::Fetch { id, size, len, pending } => {
                    let found = self.fetch_piece(handle, file, id, size, pos, len, pending).await;
                    match found {
                        Ok(Some(slice)) => return Ok(slice),
                        Ok(None) => continue,
                        Err(e) => {
                            // A store that has published, but has not heard of it yet, took the rows away.
                            if matches!(e, FsError::Stale | FsError::Damaged(_)) {
                                drop(file.io.lock().await);
                            }
                            if file.st.lock().base != version {
                                continue;
                            }
                            return Err(self.named(file, e));
                        }
                    }
                }
            }
        }
        Err(FsError::Stale)
    }

    /// Damage that only the chunk layer saw, told with the file's name.
    fn named(&self, file: &FileNode, error: FsError) -> FsError {
        match &error {
            FsError::Table(inner) => match &**inner {
                crate::chunk::Error::Corrupt { damage, .. } => {
                    let name = self.tree.lock().path(file.ino).unwrap_or_default();
                    FsError::Damaged(format!("{name} is damaged: {damage}"))
                }
                _ => error,
            },
            _ => error,
        }
    }

    fn plan_piece(&self, file: &FileNode, pos: u64, len: usize) -> Piece {
        let chunk_len = self.table.chunk_len() as u64;
        let (index, from) = (pos / chunk_len, (pos % chunk_len) as usize);
        let len = len.min(chunk_len as usize - from);
        let st = file.st.lock();
        let existing = st.overlay.existing_len(index);
        if let Some(buf) = st.overlay.buf(index) {
            if from >= buf.lo() && from < buf.hi() {
                let to = (from + len).min(buf.hi());
                return Piece::Ready(Slice::Own(buf.data()[from..to].to_vec()));
            }
            let limit = if from < buf.lo() { buf.lo() } else { chunk_len as usize };
            if from < existing {
                let len = len.min(limit - from).min(existing - from);
                return self.plan_fetch(&st, index, len);
            }
            return Piece::Zeros(len.min(limit - from));
        }
        if from < existing {
            self.plan_fetch(&st, index, len.min(existing - from))
        } else {
            Piece::Zeros(len)
        }
    }

    fn plan_fetch(&self, st: &node::FileState, index: u64, len: usize) -> Piece {
        match (st.overlay.staged(index), &st.staging, st.base) {
            (Some(_), Some(staging), _) => {
                Piece::Fetch { id: staging.id(), size: u64::MAX, len, pending: true }
            }
            (_, _, Some(base)) => Piece::Fetch { id: base.id, size: base.size, len, pending: false },
            _ => Piece::Zeros(len),
        }
    }

    /// None: the row is gone (published or removed meanwhile).
    #[allow(clippy::too_many_arguments, reason = "one call site; a struct would only rename the arguments")]
    async fn fetch_piece(
        self: &Arc<Self>,
        handle: &Handle,
        file: &Arc<FileNode>,
        id: FileId,
        size: u64,
        pos: u64,
        len: usize,
        pending: bool,
    ) -> Result<Option<Slice>> {
        let chunk_len = self.table.chunk_len() as u64;
        let start = pos / chunk_len * chunk_len;
        if pending {
            let Some(chunk) = self.table.chunk_at(id, pos).await? else { return Ok(None) };
            let from = (pos - chunk.offset) as usize;
            let to = (from + len).min(chunk.data.len());
            return Ok((from < to).then(|| Slice::Chunk(Data::Row(chunk.data), from..to)));
        }
        let base = Base { id, size };
        self.learn_shape(file, base).await?;
        let shape = file.st.lock().shape.clone();
        if let Shape::Irregular(spans) = &shape {
            let at = spans.partition_point(|(offset, _)| *offset <= pos).saturating_sub(1);
            let Some((offset, span_len)) = spans.get(at).copied() else { return Ok(None) };
            let Some(data) = self.chunk(id, offset, span_len).await? else { return Ok(None) };
            let from = (pos - offset) as usize;
            let to = (from + len).min(span_len as usize).min(data.len());
            return Ok((from < to).then(|| Slice::Chunk(data, from..to)));
        }
        let from = (pos - start) as usize;
        if let Some(range) = self.random_range(handle, base, pos, len) {
            let bytes: Option<Bytes> = self.table.range(id, start, pos, range).await?;
            add(&self.stats.bytes_read, range as u64);
            return match bytes {
                Some(bytes) if bytes.len() == range => {
                    Ok(Some(Slice::Chunk(Data::Own(bytes), 0..len.min(range))))
                }
                _ => self.explain_hole(file, base, pos).await,
            };
        }
        self.read_ahead(handle, base, pos, len);
        let expected = (size - start).min(chunk_len) as usize;
        match self.chunk(id, start, expected as u64).await? {
            Some(data) if data.len() == expected => {
                Ok(Some(Slice::Chunk(data, from..(from + len).min(expected))))
            }
            _ => self.explain_hole(file, base, pos).await,
        }
    }

    /// Whether a read should fetch only its range, and how much.
    fn random_range(&self, handle: &Handle, base: Base, pos: u64, len: usize) -> Option<usize> {
        let chunk_len = self.table.chunk_len() as u64;
        if base.size <= chunk_len || len > RANGE_BYTES_MAX || !self.table.ranges_are_cheap() {
            return None;
        }
        let mut seq = handle.seq.lock();
        let sequential = pos.abs_diff(seq.next) <= SLACK_BYTES && (seq.reads > 0 || pos < chunk_len);
        if sequential {
            return None;
        }
        if seq.ranges.len() > 4096 {
            seq.ranges.clear();
        }
        let count = seq.ranges.entry(pos / chunk_len).or_default();
        *count += 1;
        if *count > RANGES_BEFORE_CHUNK {
            return None;
        }
        Some(len)
    }

    /// Looks at the chunk rows of a file once, before its first bytes are handed out.
    pub(super) async fn learn_shape(self: &Arc<Self>, file: &Arc<FileNode>, base: Base) -> Result<()> {
        if !matches!(file.st.lock().shape, Shape::Unknown) {
            return Ok(());
        }
        let chunk_len = self.table.chunk_len() as u64;
        if base.size <= chunk_len {
            if self.cache.contains(base.id, 0) || self.fetch_small(file, base).await? {
                let mut st = file.st.lock();
                if st.base == Some(base) {
                    st.shape = Shape::Regular;
                }
                return Ok(());
            }
        } else if !self.table.rows_from(base.id, base.size).await? {
            let first = self.chunk(base.id, 0, chunk_len).await?;
            let whole = first.is_some_and(|d| d.len() as u64 == chunk_len);
            if whole {
                let mut st = file.st.lock();
                if st.base == Some(base) {
                    st.shape = Shape::Regular;
                }
                return Ok(());
            }
        }
        self.learn_layout(file, base).await
    }

    /// Reads every row's offset and length; contiguous rows that make up the size are fine.
    async fn learn_layout(self: &Arc<Self>, file: &Arc<FileNode>, base: Base) -> Result<()> {
        let rows = self.table.layout(base.id).await?;
        let whole = layout::check(&rows, i64::try_from(base.size).unwrap_or(i64::MAX));
        if whole.is_err() && self.was_replaced(file, base).await? {
            return Err(FsError::Stale);
        }
        let spans: Vec<(u64, u64)> = if self.cfg.recover {
            layout::recovered(&rows).iter().map(|r| (r.logical, u64::from(r.len))).collect()
        } else {
            if let Err(damage) = whole {
                let name = self.tree.lock().path(file.ino).unwrap_or_default();
                return Err(FsError::Damaged(format!(
                    "{name} is damaged: {damage} (an upload that never ended, or a writer that died; \
                     the mount option recover shows what is there)"
                )));
            }
            rows.iter().filter_map(|r| Some((u64::try_from(r.offset).ok()?, u64::from(r.len?)))).collect()
        };
        let mut st = file.st.lock();
        if st.base == Some(base) {
            st.shape = Shape::Irregular(Arc::new(spans));
        }
        Ok(())
    }

    /// A regular file lacks a row: replaced by another client, or damaged.
    async fn explain_hole(
        self: &Arc<Self>,
        file: &Arc<FileNode>,
        base: Base,
        pos: u64,
    ) -> Result<Option<Slice>> {
        if self.was_replaced(file, base).await? {
            return Err(FsError::Stale);
        }
        log::debug!("inode {}: no regular chunk at byte {pos}, looking at all rows", file.ino);
        // What is in memory may be from before another client made the file longer.
        self.cache.drop_file(base.id);
        self.learn_layout(file, base).await?;
        // Whole after all, in rows of other lengths: the caller reads by the layout now.
        Ok(None)
    }

    /// Whether other contents have the name now. Then the name leads to them from here on, without waiting for the
    /// attribute timeout: opening again finds them.
    pub(super) async fn was_replaced(&self, file: &Arc<FileNode>, base: Base) -> Result<bool> {
        if file.st.lock().unlinked {
            return Ok(true);
        }
        let Some((parent, name)) = self.place(file.ino) else { return Ok(true) };
        let Answer { meta, asked, .. } = self.ask(parent, &name).await?;
        if matches!(&meta, Some(Meta::File(m)) if m.id == base.id && m.size == base.size) {
            return Ok(false);
        }
        let mut tree = self.tree.lock();
        if tree.child(parent, &name) == Some(file.ino) {
            self.settle(&mut tree, parent, &name, meta.as_ref(), asked);
        }
        Ok(true)
    }

    /// An empty file of somebody else's may be an upload that is not finished.
    pub(super) async fn check_empty(self: &Arc<Self>, file: &Arc<FileNode>) -> Result<()> {
        let base = {
            let st = file.st.lock();
            match st.base {
                Some(base) if base.size == 0 && !st.is_local() && matches!(st.shape, Shape::Unknown) => base,
                _ => return Ok(()),
            }
        };
        if self.table.rows_from(base.id, 0).await? {
            self.learn_layout(file, base).await?;
        }
        let mut st = file.st.lock();
        if st.base == Some(base) {
            st.shape = Shape::Regular;
        }
        Ok(())
    }

    /// The row at exactly `offset`, from the cache or the server. It should be `len` bytes long; what the cache holds
    /// is of no use otherwise: another client has made the file longer, which keeps its identity.
    async fn chunk(self: &Arc<Self>, id: FileId, offset: u64, len: u64) -> Result<Option<Data>> {
        if let Some(data) = self.cache.get(id, offset).filter(|data| data.len() as u64 == len) {
            return Ok(Some(data));
        }
        let found = self.load(id, offset).await?;
        Ok(found.filter(|(at, _)| *at == offset).map(|(_, data)| data))
    }

    /// Fetches the row that covers `pos`, once however many ask.
    fn load(self: &Arc<Self>, id: FileId, pos: u64) -> Load {
        let mut map = self.loading.map.lock();
        if let Some(load) = map.get(&(id, pos)) {
            return load.clone();
        }
        let fs = self.clone();
        let task = tokio::spawn(async move {
            let result = fs.table.chunk_at(id, pos).await;
            let found = result.map_err(FsError::from).map(|chunk| {
                chunk.map(|chunk| {
                    add(&fs.stats.chunks_read, 1);
                    add(&fs.stats.bytes_read, chunk.data.len() as u64);
                    let data = Data::Row(chunk.data);
                    fs.cache.put(id, chunk.offset, data.clone());
                    (chunk.offset, data)
                })
            });
            fs.loading.map.lock().remove(&(id, pos));
            found
        });
        let load = async move { task.await.unwrap_or(Err(FsError::ShuttingDown)) }.boxed().shared();
        map.insert((id, pos), load.clone());
        load
    }

    /// Notes a read and asks for the chunks that a sequential reader wants next.
    fn read_ahead(self: &Arc<Self>, handle: &Handle, base: Base, pos: u64, len: usize) {
        let chunk_len = self.table.chunk_len() as u64;
        let window = {
            let mut seq = handle.seq.lock();
            let sequential = pos.abs_diff(seq.next) <= SLACK_BYTES;
            let crossed = seq.next / chunk_len != (pos + len as u64) / chunk_len;
            seq.reads = seq.reads.saturating_add(1);
            if !sequential {
                seq.window = 0;
            } else if crossed || seq.reads == 1 {
                seq.window = (seq.window * 2).clamp(1, WINDOW_CHUNKS_MAX);
            }
            seq.next = seq.next.max(pos + len as u64);
            if !sequential {
                seq.next = pos + len as u64;
            }
            if !sequential || base.size <= chunk_len { 0 } else { seq.window }
        };
        let room = (self.cache.bytes_max() as u64 / chunk_len / 2).max(1);
        for ahead in 1..=window.min(room) {
            let offset = (pos / chunk_len + ahead) * chunk_len;
            if offset >= base.size || self.loading.map.lock().len() as u64 >= room {
                break;
            }
            if !self.cache.contains(base.id, offset) {
                drop(self.load(base.id, offset));
            }
        }
        let index = pos / chunk_len;
        if window > 0 && index > 1 {
            self.cache.demote(base.id, (index - 2) * chunk_len);
        }
    }

    /// Notes that a file was opened for reading, for fetching its neighbours along with it.
    pub(super) fn note_read_open(&self, ino: u64) {
        if let Some((parent, name)) = self.place(ino)
            && let Ok(dir) = self.dir(parent)
        {
            let mut st = dir.st.lock();
            st.reads = (st.reads.0.saturating_add(1), name);
        }
    }

    /// Fetches a file of one chunk, with its neighbours in the directory when a whole directory
    /// seems to be read. False: its rows are not one chunk of the right length.
    async fn fetch_small(self: &Arc<Self>, file: &Arc<FileNode>, base: Base) -> Result<bool> {
        if base.size > SMALL_BYTES {
            let data = self.load(base.id, 0).await?;
            let whole = data.is_some_and(|(at, d)| at == 0 && d.len() as u64 == base.size);
            return Ok(whole && !self.table.rows_from(base.id, base.size).await?);
        }
        let mut wanted = vec![base];
        wanted.extend(self.neighbours(file, base.size));
        let ids: Vec<FileId> = wanted.iter().map(|b| b.id).collect();
        let found = self.table.small(&ids).await?;
        add(&self.stats.read_ahead_files, ids.len() as u64 - 1);
        let mut whole = false;
        for (id, chunks) in found {
            let Some(expected) = wanted.iter().find(|b| b.id == id) else { continue };
            if let [chunk] = chunks.as_slice()
                && chunk.offset == 0
                && chunk.data.len() as u64 == expected.size
            {
                add(&self.stats.chunks_read, 1);
                add(&self.stats.bytes_read, expected.size);
                self.cache.put(id, 0, Data::Row(chunk.data.clone()));
                whole |= id == base.id;
            }
        }
        Ok(whole)
    }

    /// Small files that follow in the listing and are not in the cache.
    fn neighbours(&self, file: &Arc<FileNode>, size: u64) -> Vec<Base> {
        let Some((parent, name)) = self.place(file.ino) else { return Vec::new() };
        let Ok(dir) = self.dir(parent) else { return Vec::new() };
        let st = dir.st.lock();
        let Some(listing) = &st.listing else { return Vec::new() };
        let count = (st.reads.0 as usize).saturating_sub(1).min(SMALL_FILES_MAX);
        let mut room = SMALL_BATCH_BYTES_MAX.saturating_sub(size);
        let mut out = Vec::new();
        let after = listing
            .entries
            .range::<str, _>((std::ops::Bound::Excluded(name.as_str()), std::ops::Bound::Unbounded));
        for (_, meta) in after.take(SMALL_FILES_MAX * 4) {
            let Meta::File(meta) = meta else { continue };
            if out.len() >= count || meta.size > room {
                break;
            }
            if meta.size == 0 || meta.size > SMALL_BYTES || self.cache.contains(meta.id, 0) {
                continue;
            }
            room -= meta.size;
            out.push(Base { id: meta.id, size: meta.size });
        }
        out
    }
}
