//! Writing into memory, cutting and growing, and uploading full chunks behind the writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;

use super::UserfileFs;
use super::error::{FsError, Result};
use super::node::FileNode;
use super::open::Handle;
use super::overlay::Wrote;
use super::stats::add;
use super::until::until;
use crate::chunk::Staging;
use crate::util::counter;

/// Chunk uploads under way over all files, at most.
const UPLOADS_MAX: usize = 4;
/// How long a writer waits for memory, at least, before it is told EIO.
const MEMORY_WAIT_MIN: Duration = Duration::from_secs(60);
/// How often a waiting writer tries to push other files' contents out.
const MEMORY_RETRY: Duration = Duration::from_millis(20);

/// Memory for contents that are not stored yet.
pub struct Budget {
    used: AtomicUsize,
    max: usize,
    freed: Notify,
    uploads: tokio::sync::Semaphore,
}

impl Budget {
    /// A budget of `max` bytes.
    pub fn new(max: usize) -> Self {
        Budget {
            used: AtomicUsize::new(0),
            max,
            freed: Notify::new(),
            uploads: tokio::sync::Semaphore::new(UPLOADS_MAX),
        }
    }
    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }
    fn has_room(&self, need: usize) -> bool {
        let used = self.used();
        used == 0 || used + need <= self.max
    }
    /// Counts memory as used.
    pub fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Relaxed);
    }
    /// Gives memory back.
    pub fn release(&self, bytes: usize) {
        if bytes > 0 {
            counter::lower(&self.used, bytes);
            self.freed.notify_waiters();
        }
    }
}

/// A buffer's bytes, handed to the driver without a copy.
struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The buffer's bytes as the chunk layer takes them.
pub(super) fn shared(data: &Arc<Vec<u8>>) -> Bytes {
    Bytes::from_owner(Shared(data.clone()))
}

/// How long a writer waits for memory: as long as others may try to store what takes it; None: for ever.
fn memory_wait(op_timeout: Option<Duration>) -> Option<Duration> {
    op_timeout.map(|t| t.max(MEMORY_WAIT_MIN))
}

impl UserfileFs {
    /// Writes all of `data` at `offset` into memory. Contents are stored by flush and fsync; full
    /// chunks of a long file are uploaded as the writer goes on.
    pub async fn write(self: &Arc<Self>, handle: u64, offset: u64, data: Bytes) -> Result<u32> {
        let handle = self.handles.get(handle)?;
        let file = self.check_write(&handle, offset, data.len())?;
        let _io = file.io.lock().await;
        self.check_hole(file, offset)?;
        // Before anything is taken: what was accepted must get onto the server's disk.
        self.need_disk(needs(file, offset, data.len())).await?;
        let chunk_len = self.table.chunk_len() as u64;
        let mut done = 0usize;
        while done < data.len() {
            let pos = offset + done as u64;
            let (index, at) = (pos / chunk_len, (pos % chunk_len) as usize);
            let piece = &data[done..data.len().min(done + chunk_len as usize - at)];
            self.make_room(file, piece.len()).await?;
            if self.put_piece(file, index, at, piece) == Wrote::NeedsLoad {
                self.load_below(file, index).await?;
                self.put_piece(file, index, at, piece);
            }
            self.upload_left_behind(file, index);
            done += piece.len();
        }
        self.wrote(file, offset + data.len() as u64);
        if handle.syncs
            && let Err(e) = self.store_locked(file).await
        {
            *handle.failed.lock() = Some(e.clone());
            return Err(e);
        }
        Ok(data.len() as u32)
    }

    /// As [`Self::write`] where nothing has to be waited for.
    pub fn try_write(self: &Arc<Self>, handle: u64, offset: u64, data: &[u8]) -> Option<Result<u32>> {
        let handle = match self.handles.get(handle) {
            Ok(handle) => handle,
            Err(e) => return Some(Err(e)),
        };
        let file = match self.check_write(&handle, offset, data.len()) {
            Ok(file) => file,
            Err(e) => return Some(Err(e)),
        };
        if handle.syncs {
            return None;
        }
        let _io = file.io.try_lock().ok()?;
        let chunk_len = self.table.chunk_len() as u64;
        // A piece may make a whole chunk's memory necessary.
        if !self.budget.has_room(data.len() + chunk_len as usize)
            || !self.table.has_disk(needs(file, offset, data.len()), self.budget.used() as u64)
        {
            return None;
        }
        if let Err(e) = self.check_hole(file, offset) {
            return Some(Err(e));
        }
        let mut done = 0usize;
        while done < data.len() {
            let pos = offset + done as u64;
            let (index, at) = (pos / chunk_len, (pos % chunk_len) as usize);
            let piece = &data[done..data.len().min(done + chunk_len as usize - at)];
            if self.put_piece(file, index, at, piece) == Wrote::NeedsLoad {
                // Written again from its start by the caller, with the same bytes.
                return None;
            }
            self.upload_left_behind(file, index);
            done += piece.len();
        }
        self.wrote(file, offset + data.len() as u64);
        Some(Ok(data.len() as u32))
    }

    fn check_write<'a>(&self, handle: &'a Handle, offset: u64, len: usize) -> Result<&'a Arc<FileNode>> {
        let file = handle.file()?;
        if !handle.writes {
            return Err(FsError::BadHandle);
        }
        if let Some(failed) = handle.failed.lock().clone() {
            return Err(failed);
        }
        if let Some(failed) = file.st.lock().failed.clone() {
            return Err(failed);
        }
        self.check_writable()?;
        match offset.checked_add(len as u64) {
            Some(end) if end <= i64::MAX as u64 => Ok(file),
            _ => Err(FsError::TooBig),
        }
    }

    /// Waits until the disk of the server takes so many bytes more.
    pub(super) async fn need_disk(&self, bytes: u64) -> Result<()> {
        Ok(self.table.need_disk(bytes, self.budget.used() as u64).await?)
    }

    /// Growth by a hole is stored as zeros, so it is bounded.
    fn check_hole(&self, file: &FileNode, offset: u64) -> Result<()> {
        let size = file.st.lock().size;
        if offset.saturating_sub(size) > self.cfg.hole_bytes_max { Err(FsError::TooBig) } else { Ok(()) }
    }

    fn put_piece(&self, file: &FileNode, index: u64, at: usize, piece: &[u8]) -> Wrote {
        let mut st = file.st.lock();
        let wrote = st.overlay.write(index, at, piece);
        if let Wrote::Done { grown } = wrote {
            self.budget.take(grown);
            st.dirty = true;
            st.version += 1;
            let end = index * self.table.chunk_len() as u64 + (at + piece.len()) as u64;
            st.size = st.size.max(end);
        }
        wrote
    }

    fn wrote(self: &Arc<Self>, file: &Arc<FileNode>, end: u64) {
        let now = self.now();
        let mut st = file.st.lock();
        st.size = st.size.max(end);
        st.mtime = now;
        st.ctime = now;
        st.dirty = true;
        st.version += 1;
        let watched = st.watched;
        drop(st);
        if !watched {
            self.look_after(file);
        }
    }

    /// Completes a chunk's buffer from what lies below it.
    pub(super) async fn load_below(self: &Arc<Self>, file: &Arc<FileNode>, index: u64) -> Result<()> {
        let existing = self.below(file, index).await?;
        let grown = file.st.lock().overlay.fill(index, &existing);
        self.budget.take(grown);
        Ok(())
    }

    /// The bytes of a chunk that lie below its buffer.
    async fn below(self: &Arc<Self>, file: &Arc<FileNode>, index: u64) -> Result<Vec<u8>> {
        let chunk_len = self.table.chunk_len() as u64;
        let (len, staged, base) = {
            let st = file.st.lock();
            let staged = st.overlay.staged(index).and(st.staging.as_ref().map(|s| s.id()));
            (st.overlay.existing_len(index), staged, st.base)
        };
        let start = index * chunk_len;
        if len == 0 {
            return Ok(Vec::new());
        }
        if let Some(id) = staged {
            let chunk = self.table.chunk_at(id, start).await?;
            return match chunk {
                Some(chunk) if chunk.offset == start && chunk.data.len() >= len => {
                    Ok(chunk.data[..len].to_vec())
                }
                _ => Err(FsError::Damaged("an uploaded chunk is gone".to_owned())),
            };
        }
        let Some(base) = base else { return Ok(Vec::new()) };
        self.read_base(file, base, start, len).await
    }

    fn upload_left_behind(self: &Arc<Self>, file: &Arc<FileNode>, index: u64) {
        let left = {
            let mut st = file.st.lock();
            let left = st.last_index.replace(index).filter(|left| *left != index);
            let full = |i: &u64| {
                let chunk_len = self.table.chunk_len();
                st.overlay.buf(*i).is_some_and(|b| b.lo() == 0 && b.hi() == chunk_len)
            };
            left.filter(full)
        };
        if let Some(left) = left {
            self.start_upload(file, left);
        }
    }

    /// Uploads a complete buffered chunk to the file's hidden row, in the background.
    fn start_upload(self: &Arc<Self>, file: &Arc<FileNode>, index: u64) {
        file.st.lock().uploads += 1;
        let (fs, file) = (self.clone(), file.clone());
        tokio::spawn(async move {
            let result = fs.upload(&file, index).await;
            let mut st = file.st.lock();
            st.uploads -= 1;
            if let Err(e) = result {
                st.failed.get_or_insert(e);
            }
            drop(st);
            fs.budget.freed.notify_waiters();
        });
    }

    /// Uploads a complete buffered chunk and drops the buffer unless it changed meanwhile.
    pub(super) async fn upload(self: &Arc<Self>, file: &Arc<FileNode>, index: u64) -> Result<()> {
        until(&self.budget.freed, || file.st.lock().uploading.insert(index)).await;
        let result = self.upload_alone(file, index).await;
        file.st.lock().uploading.remove(&index);
        self.budget.freed.notify_waiters();
        result
    }

    async fn upload_alone(self: &Arc<Self>, file: &Arc<FileNode>, index: u64) -> Result<()> {
        let Ok(_turn) = self.budget.uploads.acquire().await else { return Err(FsError::ShuttingDown) };
        let staging = self.staging(file).await?;
        let taken = {
            let st = file.st.lock();
            // Pushed out and begun anew since this upload was asked for: a partial buffer's row would
            // lack what lies below it.
            let whole = st.overlay.buf(index).filter(|_| !st.overlay.is_partial(index));
            whole.map(|b| (b.data().clone(), b.version))
        };
        let Some((data, version)) = taken else { return Ok(()) };
        let len = data.len();
        let offset = index * self.table.chunk_len() as u64;
        staging.put(offset, shared(&data)).await?;
        drop(data);
        add(&self.stats.chunks_written, 1);
        add(&self.stats.bytes_written, len as u64);
        let freed = {
            let mut st = file.st.lock();
            st.staged_high = st.staged_high.max(Some(index));
            st.overlay.uploaded(index, version, len)
        };
        self.budget.release(freed);
        Ok(())
    }

    /// The file's hidden row, made on first use.
    pub(super) async fn staging(self: &Arc<Self>, file: &Arc<FileNode>) -> Result<Arc<Staging>> {
        let _one = file.stage.lock().await;
        if let Some(staging) = file.st.lock().staging.clone() {
            return Ok(staging);
        }
        let staging = Arc::new(self.table.stage().await?);
        self.hidden_rows.fetch_add(1, Relaxed);
        file.st.lock().staging = Some(staging.clone());
        Ok(staging)
    }

    /// Waits until no chunk of the file is being uploaded.
    pub(super) async fn uploads_done(&self, file: &FileNode) {
        until(&self.budget.freed, || file.st.lock().uploads == 0).await;
    }

    /// Waits for memory. First the writer's own chunks are pushed out, then other files'.
    async fn make_room(self: &Arc<Self>, file: &Arc<FileNode>, need: usize) -> Result<()> {
        let start = Instant::now();
        let limit = memory_wait(self.table.pool().options().op_timeout);
        let need = need.max(self.table.chunk_len().min(1 << 20));
        while !self.budget.has_room(need) {
            if let Some(failed) = file.st.lock().failed.clone() {
                return Err(failed);
            }
            if limit.is_some_and(|limit| start.elapsed() > limit) {
                return Err(FsError::TimedOut);
            }
            let freed = self.budget.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if file.st.lock().uploads == 0 && !self.push_out(file, 1).await? {
                self.push_out_others(file.ino).await;
            }
            if self.budget.has_room(need) {
                break;
            }
            tokio::select! {
                () = freed => {}
                () = tokio::time::sleep(MEMORY_RETRY) => {}
            }
        }
        Ok(())
    }

    /// Uploads the largest buffered chunk of a file whose `io` lock the caller holds. False: there was none of at
    /// least `worth` bytes.
    async fn push_out(self: &Arc<Self>, file: &Arc<FileNode>, worth: usize) -> Result<bool> {
        let index = {
            let st = file.st.lock();
            let largest = st.overlay.bufs().max_by_key(|(_, b)| b.data().capacity());
            largest.filter(|(_, b)| b.data().capacity() >= worth).map(|(i, _)| i)
        };
        let Some(index) = index else { return Ok(false) };
        self.complete(file, index).await?;
        self.upload(file, index).await?;
        Ok(true)
    }

    /// Fills a buffer from below where it is partial.
    pub(super) async fn complete(self: &Arc<Self>, file: &Arc<FileNode>, index: u64) -> Result<()> {
        let partial = file.st.lock().overlay.is_partial(index);
        if partial { self.load_below(file, index).await } else { Ok(()) }
    }

    async fn push_out_others(self: &Arc<Self>, but: u64) {
        let mut files: Vec<(usize, Arc<FileNode>)> = self
            .dirty_files()
            .into_iter()
            .filter(|f| f.ino != but)
            .map(|f| {
                let memory = f.st.lock().overlay.memory();
                (memory, f)
            })
            .collect();
        files.sort_by_key(|(memory, _)| std::cmp::Reverse(*memory));
        // Where no file holds much, many that hold little fill the memory.
        for worth in [self.table.chunk_len() / 8, 1] {
            for (_, file) in files.iter().take(4) {
                let Ok(_io) = file.io.try_lock() else { continue };
                match self.push_out(file, worth).await {
                    Ok(true) => return,
                    Ok(false) => {}
                    Err(e) => drop(file.st.lock().failed.get_or_insert(e)),
                }
            }
        }
    }

    /// Cuts or grows a file in memory; the next store makes it so in the table.
    pub async fn truncate(self: &Arc<Self>, file: &Arc<FileNode>, size: u64) -> Result<()> {
        self.check_writable()?;
        if size > i64::MAX as u64 {
            return Err(FsError::TooBig);
        }
        let _io = file.io.lock().await;
        self.check_hole(file, size)?;
        self.need_disk(needs(file, size, 0)).await?;
        self.uploads_done(file).await;
        let now = self.now();
        let (freed, staging) = {
            let mut st = file.st.lock();
            let freed = if size < st.size { st.overlay.truncate(size) } else { 0 };
            if size != st.size {
                st.dirty = true;
            } else if !st.dirty && !st.unlinked && st.base.is_some() {
                st.attr_dirty = true;
            }
            st.mtime = now;
            st.size = size;
            st.ctime = now;
            st.version += 1;
            st.last_index = None;
            let staging = if size == 0 { st.staging.take() } else { None };
            if size == 0 {
                // Whatever could not be stored before is no longer part of the file.
                st.staged_high = None;
                st.failed = None;
            }
            (freed, staging)
        };
        if let Some(staging) = staging {
            self.remove_hidden_later(staging.id());
        }
        self.budget.release(freed);
        self.look_after(file);
        Ok(())
    }

    /// Makes room (mode 0: the file grows by zeros; punch or zero range: bytes become zero). More than the disk of the
    /// server has, where that is known, is refused; nothing is set aside.
    pub async fn fallocate(self: &Arc<Self>, handle: u64, offset: u64, len: u64, mode: i32) -> Result<()> {
        let open = self.handles.get(handle)?;
        let file = self.check_write(&open, offset, 0)?.clone();
        let end = offset.checked_add(len).filter(|e| *e <= i64::MAX as u64).ok_or(FsError::TooBig)?;
        let keep = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
        let zero = mode & (libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE) != 0;
        let known = libc::FALLOC_FL_KEEP_SIZE | libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE;
        if mode & !known != 0 {
            return Err(FsError::NotSupported);
        }
        let size = file.st.lock().size;
        if mode & libc::FALLOC_FL_PUNCH_HOLE == 0 && end.saturating_sub(size) > self.free_bytes() {
            return Err(FsError::NoSpace);
        }
        if zero {
            let chunk = vec![0u8; self.table.chunk_len().min(1 << 20)];
            let mut pos = offset;
            while pos < end.min(size) {
                let n = ((end.min(size) - pos) as usize).min(chunk.len());
                self.write(handle, pos, Bytes::copy_from_slice(&chunk[..n])).await?;
                pos += n as u64;
            }
        }
        if !keep && end > size {
            self.truncate(&file, end).await?;
        }
        Ok(())
    }
}

/// Bytes that a write, or a change of the size, adds to what is stored; a hole before it is stored, too.
fn needs(file: &FileNode, offset: u64, len: usize) -> u64 {
    let len = len as u64;
    (offset + len).saturating_sub(file.st.lock().size).max(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writers_wait_for_memory_as_long_as_stores_are_tried() {
        let seconds = |s| Some(Duration::from_secs(s));
        assert_eq!(memory_wait(seconds(5)), Some(MEMORY_WAIT_MIN));
        assert_eq!(memory_wait(seconds(600)), seconds(600));
        assert_eq!(memory_wait(None), None);
    }
}
