//! Publishing: making the table hold what a file holds, in one switch.
//!
//! A file of one chunk is one round trip. A longer one has its chunks under a hidden row: those
//! uploaded while it was written, those that the server copies from the old contents, and the rest;
//! then one transaction moves the old row out of the way and gives the new one the name.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::UserfileFs;
use super::cache::Data;
use super::error::{FsError, Result};
use super::node::{Base, FileNode, Shape};
use super::overlay::Overlay;
use super::stats::add;
use super::write::shared;
use crate::chunk::{self, Attrs, FileId, Old, Publish, Replace, Staging, Take};
use crate::util::clock::Micros;

/// An append of up to so many new bytes keeps the contents' identity and writes only the tail.
const APPEND_BYTES_MAX: u64 = 12 << 20;
/// Chunks uploaded at once by one store.
const STORE_WIDTH: usize = 3;

/// What one store set out to publish.
struct Plan {
    path: String,
    base: Option<Base>,
    size: u64,
    mtime: Micros,
    attrs: Attrs,
    version: u64,
}

impl UserfileFs {
    /// flush(2): after it the file is in the database, whole, or the error says why not. A file
    /// that was never written is let pass once (shells and touch flush right after creating).
    pub async fn flush(self: &Arc<Self>, handle: u64) -> Result<()> {
        if let Some(answer) = self.try_flush(handle) {
            return answer;
        }
        let handle = self.handles.get(handle)?;
        let file = handle.file()?.clone();
        let result = self.store(&file).await;
        if let Err(e) = &result {
            *handle.failed.lock() = Some(e.clone());
        }
        result
    }

    /// As [`Self::flush`] where nothing has to be stored now.
    pub fn try_flush(self: &Arc<Self>, handle: u64) -> Option<Result<()>> {
        let handle = match self.handles.get(handle) {
            Ok(handle) => handle,
            Err(e) => return Some(Err(e)),
        };
        let Ok(file) = handle.file() else { return Some(Ok(())) };
        if !handle.writes {
            return Some(Ok(()));
        }
        if let Some(failed) = handle.failed.lock().clone() {
            return Some(Err(failed));
        }
        let mut st = file.st.lock();
        if let Some(failed) = st.failed.clone() {
            return Some(Err(failed));
        }
        // Attributes alone are looked after in the background.
        if !st.dirty || st.unlinked {
            return Some(Ok(()));
        }
        if st.base.is_none() && st.size == 0 && st.overlay.is_clean() && !st.flush_let_pass {
            st.flush_let_pass = true;
            return Some(Ok(()));
        }
        if self.cfg.async_close && self.may_queue(&st) {
            if !st.queued {
                st.queued = true;
                drop(st);
                return self.enqueue(file);
            }
            return Some(Ok(()));
        }
        None
    }

    /// fsync(2): as flush, but for every file, written or not, and whatever the mount's options.
    pub async fn fsync(self: &Arc<Self>, handle: u64) -> Result<()> {
        let handle = self.handles.get(handle)?;
        let Ok(file) = handle.file().cloned() else { return Ok(()) };
        if let Some(failed) = handle.failed.lock().clone() {
            return Err(failed);
        }
        let result = self.store(&file).await;
        if let (Err(e), true) = (&result, handle.writes) {
            *handle.failed.lock() = Some(e.clone());
        }
        result
    }

    /// Stores contents and attributes that differ from the table's.
    pub(super) async fn store(self: &Arc<Self>, file: &Arc<FileNode>) -> Result<()> {
        let _io = file.io.lock().await;
        self.store_locked(file).await
    }

    /// As [`Self::store`] for a caller that holds the file's `io` lock.
    pub(super) async fn store_locked(self: &Arc<Self>, file: &Arc<FileNode>) -> Result<()> {
        self.uploads_done(file).await;
        {
            let st = file.st.lock();
            if let Some(failed) = st.failed.clone() {
                return Err(failed);
            }
            if st.unlinked || !(st.dirty || st.attr_dirty) {
                return Ok(());
            }
        }
        let contents = file.st.lock().dirty;
        if contents { self.store_contents(file).await } else { self.store_attrs(file).await }
    }

    fn plan(&self, file: &FileNode) -> Result<Plan> {
        let path = self.stored_path(file.ino)?;
        let st = file.st.lock();
        Ok(Plan {
            path,
            base: st.base,
            size: st.size,
            mtime: st.mtime,
            attrs: self.stored_attrs(&st.attrs, self.cfg.file_mode),
            version: st.version,
        })
    }

    async fn store_attrs(self: &Arc<Self>, file: &Arc<FileNode>) -> Result<()> {
        let _quiet = self.moves.read().await;
        let plan = self.plan(file)?;
        let Some(base) = plan.base else { return Ok(()) };
        match self.table.set_file_attrs(base.id, &plan.path, plan.mtime, &plan.attrs).await {
            // A listing that was made while they waited has the old ones. Noted before the node stops being local: who
            // looks at it first and at the listing then finds them in one of the two.
            Ok(()) => self.note_file(file),
            // Removed or replaced by another client: there is nothing left to describe.
            Err(chunk::Error::NotFound(_) | chunk::Error::Changed(_)) => {}
            Err(e) => return Err(e.into()),
        }
        let mut st = file.st.lock();
        st.fetched = std::time::Instant::now();
        if st.version == plan.version {
            st.attr_dirty = false;
        }
        Ok(())
    }

    async fn store_contents(self: &Arc<Self>, file: &Arc<FileNode>) -> Result<()> {
        let chunk_len = self.table.chunk_len() as u64;
        let (size, staged) = {
            let st = file.st.lock();
            (st.size, st.staging.is_some())
        };
        if size <= chunk_len && !staged {
            return self.store_small(file).await;
        }
        if self.store_append(file).await? {
            // Growing in place stores bytes, size and time only.
            let attrs = file.st.lock().attr_dirty;
            return if attrs { self.store_attrs(file).await } else { Ok(()) };
        }
        self.store_large(file).await
    }

    /// The whole contents of a file of one chunk, complete in memory.
    async fn only_chunk(self: &Arc<Self>, file: &Arc<FileNode>) -> Result<Bytes> {
        let size = file.st.lock().size as usize;
        if size == 0 {
            return Ok(Bytes::new());
        }
        let have = file.st.lock().overlay.buf(0).is_some();
        if !have || file.st.lock().overlay.is_partial(0) {
            self.load_below(file, 0).await?;
        }
        let (grown, data) = {
            let mut st = file.st.lock();
            let grown = st.overlay.pad(0, size);
            (grown, st.overlay.buf(0).map(|b| shared(b.data())))
        };
        self.budget.take(grown);
        Ok(data.unwrap_or_default())
    }

    async fn store_small(self: &Arc<Self>, file: &Arc<FileNode>) -> Result<()> {
        let data = self.only_chunk(file).await?;
        let _quiet = self.moves.read().await;
        let plan = self.plan(file)?;
        let id = self.table.new_id();
        let mut publish = self.publish(&plan, 0);
        let mut result = self.table.put_small(id, &publish, &data).await;
        if matches!(result, Err(chunk::Error::Exists(_))) {
            // Another client took the name since: the last store wins, as with any shared directory.
            publish.replace = Replace::Displace(Old::Delete { size_hint: u64::MAX });
            result = self.table.put_small(id, &publish, &data).await;
        }
        result?;
        add(&self.stats.chunks_written, u64::from(!data.is_empty()));
        add(&self.stats.bytes_written, data.len() as u64);
        self.published(file, &plan, id, data);
        Ok(())
    }

    /// `taken`: so many bytes of the old contents go over to the new ones.
    fn publish(&self, plan: &Plan, taken: u64) -> Publish {
        Publish {
            name: plan.path.clone(),
            size: plan.size,
            mtime: plan.mtime,
            attrs: plan.attrs.clone(),
            replace: match plan.base {
                Some(base) => Replace::Displace(Old::Delete { size_hint: base.size.saturating_sub(taken) }),
                None => Replace::Refuse,
            },
        }
    }

    /// Grows a published file in place, when only its end changed. False: not such a change.
    async fn store_append(self: &Arc<Self>, file: &Arc<FileNode>) -> Result<bool> {
        let chunk_len = self.table.chunk_len() as u64;
        let base = {
            let st = file.st.lock();
            let Some(base) = st.base else { return Ok(false) };
            let grows = st.size > base.size && st.size - base.size <= APPEND_BYTES_MAX;
            let tail = base.size / chunk_len;
            let only_tail = st.overlay.base_valid() == base.size
                && st.staging.is_none()
                && base.size > 0
                && st.overlay.bufs().all(|(i, b)| {
                    i > tail
                        || (i == tail && b.lo() as u64 >= base.size % chunk_len && base.size % chunk_len > 0)
                        || (i == tail && base.size % chunk_len == 0)
                });
            if !grows || !only_tail {
                return Ok(false);
            }
            base
        };
        match self.learn_shape(file, base).await {
            // Another client was first, and the last store wins.
            Err(FsError::Stale) => return Ok(false),
            learnt => learnt?,
        }
        if !matches!(file.st.lock().shape, Shape::Regular) {
            return Ok(false);
        }
        let first = base.size / chunk_len;
        let size = file.st.lock().size;
        let mut chunks = Vec::new();
        for index in first..size.div_ceil(chunk_len) {
            let len = (size - index * chunk_len).min(chunk_len) as usize;
            chunks.push((index * chunk_len, self.whole_chunk(file, index, len).await?));
        }
        let _quiet = self.moves.read().await;
        let plan = self.plan(file)?;
        match self.table.append(base.id, &plan.path, base.size, plan.size, &chunks, plan.mtime).await {
            Ok(()) => {}
            Err(chunk::Error::Changed(_) | chunk::Error::NotFound(_)) => return Ok(false),
            Err(e) => return Err(e.into()),
        }
        self.cache.drop_file(base.id);
        let attrs = file.st.lock().attr_dirty;
        self.published(file, &plan, base.id, Bytes::new());
        file.st.lock().attr_dirty |= attrs;
        Ok(true)
    }

    /// A chunk's newest bytes, complete, exactly `len` long.
    async fn whole_chunk(self: &Arc<Self>, file: &Arc<FileNode>, index: u64, len: usize) -> Result<Bytes> {
        let have = file.st.lock().overlay.buf(index).is_some();
        let partial = file.st.lock().overlay.is_partial(index);
        if !have || partial {
            self.load_below(file, index).await?;
        }
        let (grown, data) = {
            let mut st = file.st.lock();
            let grown = st.overlay.pad(index, len);
            (grown, st.overlay.buf(index).map(|b| shared(b.data())))
        };
        self.budget.take(grown);
        data.ok_or_else(|| FsError::Damaged("a buffered chunk is gone".to_owned()))
    }

    async fn store_large(self: &Arc<Self>, file: &Arc<FileNode>) -> Result<()> {
        let chunk_len = self.table.chunk_len() as u64;
        let staging = self.staging(file).await?;
        let mut kept = Vec::new();
        let mut sends = Vec::new();
        let base = {
            let st = file.st.lock();
            for index in 0..st.size.div_ceil(chunk_len) {
                let len = (st.size - index * chunk_len).min(chunk_len) as usize;
                if st.overlay.buf(index).is_some() {
                    sends.push((index, len));
                } else if let Some(staged) = st.overlay.staged(index) {
                    if staged.row_len != len || staged.valid_len != len {
                        sends.push((index, len));
                    }
                } else if len as u64 == chunk_len && st.overlay.existing_len(index) == len {
                    kept.push(index);
                } else {
                    sends.push((index, len));
                }
            }
            st.base
        };
        self.send(file, sends).await?;
        if let Some(base) = base
            && !kept.is_empty()
        {
            let offsets: Vec<u64> = kept.iter().map(|i| i * chunk_len).collect();
            if self.table.can_take() {
                let take = Take { base: base.id, offsets: &offsets };
                match self.publish_large(file, &staging, Some(take)).await {
                    // They are not all there to be taken.
                    Err(FsError::Table(e)) if matches!(*e, chunk::Error::Changed(_)) => {}
                    done => return done,
                }
            }
            match staging.copy_from(base.id, &offsets).await {
                Ok(()) => {
                    let mut st = file.st.lock();
                    for index in kept {
                        st.overlay.copied(index);
                        st.staged_high = st.staged_high.max(Some(index));
                    }
                }
                // Rows of other lengths: through the client.
                Err(chunk::Error::Changed(_)) => {
                    self.send(file, kept.into_iter().map(|i| (i, chunk_len as usize)).collect()).await?;
                }
                Err(e) => return Err(e.into()),
            }
        }
        self.publish_large(file, &staging, None).await
    }

    /// Gives the staged chunks the file's name, with those that are taken over from the old contents.
    async fn publish_large(
        self: &Arc<Self>,
        file: &Arc<FileNode>,
        staging: &Staging,
        take: Option<Take<'_>>,
    ) -> Result<()> {
        let chunk_len = self.table.chunk_len() as u64;
        let (size, high) = {
            let st = file.st.lock();
            (st.size, st.staged_high)
        };
        if high.is_some_and(|h| h >= size.div_ceil(chunk_len)) {
            staging.trim(size.div_ceil(chunk_len) * chunk_len).await?;
            file.st.lock().staged_high = None;
        }
        let _quiet = self.moves.read().await;
        let plan = self.plan(file)?;
        let mut publish = self.publish(&plan, take.map_or(0, |t| t.offsets.len() as u64 * chunk_len));
        let mut result = staging.publish_taking(&publish, take).await;
        if matches!(result, Err(chunk::Error::Exists(_))) {
            publish.replace = Replace::Displace(Old::Delete { size_hint: u64::MAX });
            result = staging.publish_taking(&publish, take).await;
        }
        result?;
        self.published(file, &plan, staging.id(), Bytes::new());
        Ok(())
    }

    /// Uploads chunks, several at once, each completed just before it goes.
    async fn send(self: &Arc<Self>, file: &Arc<FileNode>, chunks: Vec<(u64, usize)>) -> Result<()> {
        let mut chunks = chunks.into_iter();
        let mut going = FuturesUnordered::new();
        loop {
            while going.len() < STORE_WIDTH {
                let Some((index, len)) = chunks.next() else { break };
                let fs = self.clone();
                let file = file.clone();
                going.push(async move {
                    fs.whole_chunk(&file, index, len).await?;
                    fs.upload(&file, index).await
                });
            }
            match going.next().await {
                Some(result) => result?,
                None => return Ok(()),
            }
        }
    }

    /// The table holds the file as planned: pending contents are no longer needed.
    fn published(self: &Arc<Self>, file: &Arc<FileNode>, plan: &Plan, id: FileId, data: Bytes) {
        let chunk_len = self.table.chunk_len();
        add(&self.stats.published, 1);
        self.note_stored(file, id, plan.size, plan.mtime);
        let freed = {
            let mut st = file.st.lock();
            let freed = st.overlay.memory();
            st.base = Some(Base { id, size: plan.size });
            st.overlay = Overlay::new(chunk_len, plan.size);
            st.shape = Shape::Regular;
            st.staging = None;
            st.staged_high = None;
            st.last_index = None;
            st.dirty = false;
            st.queued = false;
            st.attr_dirty = st.version != plan.version;
            st.fetched = std::time::Instant::now();
            freed
        };
        self.budget.release(freed);
        if let Some(old) = plan.base.filter(|b| b.id != id) {
            self.cache.drop_file(old.id);
        }
        // What was just written is often read next (checksums, restores).
        if !data.is_empty() && data.len() <= chunk_len / 16 {
            self.cache.put(id, 0, Data::Own(Bytes::copy_from_slice(&data)));
        }
        self.note_file(file);
    }

    /// A store failed for good: the table keeps what it had, and so does the mount from now on.
    /// Another writer than the `own` ones of the caller stores it, or is told, by its own close.
    pub(super) async fn give_up(self: &Arc<Self>, file: &Arc<FileNode>, error: &FsError, own: u32) {
        let path = self.tree.lock().path(file.ino).unwrap_or_default();
        let _io = file.io.lock().await;
        self.uploads_done(file).await;
        let (staging, freed, base) = {
            let mut st = file.st.lock();
            if st.writers > own || !st.dirty {
                return;
            }
            let freed = st.overlay.memory();
            let base = st.base;
            st.overlay = Overlay::new(self.table.chunk_len(), base.map_or(0, |b| b.size));
            st.dirty = false;
            st.queued = false;
            st.failed = None;
            st.size = base.map_or(0, |b| b.size);
            st.version += 1;
            st.fetched = std::time::Instant::now() - self.cfg.attr_timeout;
            (st.staging.take(), freed, base)
        };
        self.budget.release(freed);
        match base {
            Some(_) => {
                log::error!("{path}: could not be stored ({error}); the stored contents stay as they were")
            }
            None => {
                log::error!("{path}: could not be stored ({error}); there is no such file");
                if let Some((parent, name)) = self.place(file.ino) {
                    self.tree.lock().detach_child(parent, &name);
                }
                let mut st = file.st.lock();
                st.unlinked = true;
                st.gave_up = true;
            }
        }
        if let Some(staging) = staging {
            self.remove_hidden_later(staging.id());
        }
    }

    /// Bytes of the published contents, `len` of them at `start`, however the rows lie.
    pub(super) async fn read_base(
        self: &Arc<Self>,
        file: &Arc<FileNode>,
        base: Base,
        start: u64,
        len: usize,
    ) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(len);
        if let Some(data) = self.cache.get(base.id, start)
            && data.len() >= len
        {
            return Ok(data[..len].to_vec());
        }
        while out.len() < len {
            let pos = start + out.len() as u64;
            let Some(chunk) = self.table.chunk_at(base.id, pos).await? else { break };
            let from = (pos - chunk.offset) as usize;
            let Some(rest) = chunk.data.get(from..).filter(|r| !r.is_empty()) else { break };
            out.extend_from_slice(&rest[..rest.len().min(len - out.len())]);
        }
        if out.len() == len {
            return Ok(out);
        }
        if self.was_replaced(file, base).await? {
            return Err(FsError::Stale);
        }
        let name = self.tree.lock().path(file.ino).unwrap_or_default();
        let at = start + out.len() as u64;
        Err(FsError::Damaged(format!("{name} is damaged at byte {at}: bytes are missing")))
    }
}
