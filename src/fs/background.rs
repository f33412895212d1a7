//! What happens without anybody asking: stores that were put off, batches of `-o async`, the
//! heartbeat of hidden rows, the sweep of dead writers' leftovers, and the drain at the end.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::UserfileFs;
use super::error::{FsError, Result};
use super::node::{Base, DirNode, FileNode, FileState, Shape};
use super::overlay::Overlay;
use super::stats::add;
use super::write::shared;
use crate::chunk::{FileId, Publish, Replace};
use crate::util::counter;

/// How often put-off work is looked at.
const TICK: Duration = Duration::from_millis(100);
/// Attributes wait so long for a rename or another change to ride with.
const ATTR_DELAY: Duration = Duration::from_millis(200);
/// An empty new file waits so long for its first bytes.
const EMPTY_DELAY: Duration = Duration::from_secs(1);
/// A batch of small files, at most.
const BATCH_FILES: usize = 128;
/// Directories whose attributes are stored together, at most.
const BATCH_DIRS: usize = 128;
/// A batch of small files, at most, in bytes.
const BATCH_BYTES: usize = 8 << 20;
/// Files that wait for a batch, at most; then close waits too.
const QUEUE_FILES_MAX: usize = 512;
/// A file over this many bytes is stored by its own close, also with `-o async`.
const QUEUE_FILE_BYTES_MAX: u64 = 1 << 20;

/// Something that has to be stored without anybody asking.
pub enum Pending {
    /// A file.
    File(Arc<FileNode>),
    /// A directory, since when.
    Dir(Arc<DirNode>, Instant),
}

/// Files whose close did not wait.
#[derive(Default)]
pub struct Queue {
    files: Mutex<VecDeque<Arc<FileNode>>>,
    filled: Notify,
    emptied: Notify,
    failed: Mutex<Option<FsError>>,
}

/// How a drain ended.
#[derive(Debug, Default)]
pub struct DrainReport {
    /// Files whose contents could not be stored, with the reason.
    pub lost: Vec<String>,
}

/// Starts the background tasks of a filesystem; they end when it is dropped.
pub(super) fn start(fs: &Arc<UserfileFs>) {
    {
        let mut tree = fs.tree.lock();
        fs.control_nodes(&mut tree);
    }
    tokio::spawn(put_off(Arc::downgrade(fs)));
    if !fs.cfg.read_only {
        tokio::spawn(batches(Arc::downgrade(fs)));
        tokio::spawn(leases(Arc::downgrade(fs)));
        tokio::spawn(sweeps(Arc::downgrade(fs)));
    }
}

async fn put_off(fs: Weak<UserfileFs>) {
    loop {
        tokio::time::sleep(TICK).await;
        let Some(fs) = fs.upgrade() else { return };
        fs.do_put_off(false).await;
    }
}

async fn batches(fs: Weak<UserfileFs>) {
    loop {
        let waiting = {
            let Some(fs) = fs.upgrade() else { return };
            if fs.store_batch().await { None } else { Some(()) }
        };
        if waiting.is_some() {
            let Some(fs) = fs.upgrade() else { return };
            let _ = tokio::time::timeout(TICK, fs.queue.filled.notified()).await;
        }
    }
}

/// Renews the lease of this mount's hidden rows; soon again after a failure.
async fn leases(fs: Weak<UserfileFs>) {
    loop {
        let beat = {
            let Some(fs) = fs.upgrade() else { return };
            let renewed = match fs.hidden_rows.load(Relaxed) {
                0 => Ok(()),
                _ => fs.table.heartbeat().await,
            };
            if let Err(e) = &renewed {
                log::warn!("the lease of files being written could not be renewed: {e}");
            }
            fs.cfg.lease / if renewed.is_ok() { 5 } else { 50 }
        };
        tokio::time::sleep(beat.max(TICK)).await;
    }
}

/// Removes what dead writers left. In a task of its own: with much to remove it may take longer than a lease.
async fn sweeps(fs: Weak<UserfileFs>) {
    loop {
        let (table, lease) = {
            let Some(fs) = fs.upgrade() else { return };
            (fs.table.clone(), fs.cfg.lease)
        };
        if let Err(e) = table.sweep(lease).await {
            log::warn!("leftovers of interrupted writers could not be removed: {e}");
        }
        drop(table);
        tokio::time::sleep(lease.max(TICK)).await;
    }
}

impl UserfileFs {
    /// Has the background store a file's put-off changes.
    pub(super) fn look_after(&self, file: &Arc<FileNode>) {
        file.st.lock().watched = true;
        let node = Arc::as_ptr(file).addr();
        self.pending.lock().entry(node).or_insert_with(|| Pending::File(file.clone()));
    }

    /// Has the background store a directory's attributes.
    pub(super) fn look_after_dir(&self, dir: &Arc<DirNode>) {
        let node = Arc::as_ptr(dir).addr();
        self.pending.lock().entry(node).or_insert_with(|| Pending::Dir(dir.clone(), Instant::now()));
    }

    /// Files that may have contents to store.
    pub(super) fn dirty_files(&self) -> Vec<Arc<FileNode>> {
        let pending = self.pending.lock();
        pending
            .values()
            .filter_map(|p| if let Pending::File(f) = p { Some(f.clone()) } else { None })
            .collect()
    }

    /// Stores what is due, or with `all` everything that can be stored. Returns the failures.
    pub(super) async fn do_put_off(self: &Arc<Self>, all: bool) -> Vec<(Arc<FileNode>, FsError)> {
        let (mut files, mut dirs) = (Vec::new(), Vec::new());
        self.pending.lock().retain(|_, pending| match pending {
            Pending::File(file) => {
                let mut st = file.st.lock();
                match when_due(&st) {
                    Due::Never => {
                        st.watched = false;
                        false
                    }
                    Due::Later => {
                        if all {
                            files.push(file.clone());
                        }
                        true
                    }
                    Due::Now => {
                        files.push(file.clone());
                        true
                    }
                }
            }
            Pending::Dir(dir, since) => {
                let st = dir.st.lock();
                let wanted = st.attr_dirty && !st.unlinked;
                if wanted && (all || since.elapsed() >= ATTR_DELAY) {
                    dirs.push(dir.clone());
                }
                wanted
            }
        });
        let mut failures = Vec::new();
        for file in files {
            let ino = file.ino;
            if let Err(e) = self.store(&file).await {
                self.put_off_failed(&file, &e).await;
                failures.push((file, e));
            }
            self.tree.lock().evict(ino);
        }
        for batch in dirs.chunks(BATCH_DIRS) {
            self.put_off_dirs(batch).await;
        }
        failures
    }

    async fn put_off_dirs(&self, dirs: &[Arc<DirNode>]) {
        match self.store_dirs(dirs).await {
            Ok(()) => {}
            Err(e) if e.is_transient() => {
                log::warn!("the attributes of {} directories are not stored yet: {e}", dirs.len());
            }
            Err(_) => {
                // One of them stands in the way of all: one by one.
                for dir in dirs {
                    if let Err(e) = self.store_dir(dir).await {
                        log::warn!("the attributes of a directory could not be stored: {e}");
                        dir.st.lock().attr_dirty = e.is_transient();
                    }
                }
            }
        }
    }

    /// Nobody waits for the answer of a put-off store: what can still be told, is. While the server is away it stays
    /// put off.
    async fn put_off_failed(self: &Arc<Self>, file: &Arc<FileNode>, error: &FsError) {
        if error.is_transient() {
            {
                let mut st = file.st.lock();
                st.changed = Instant::now();
                if st.writers == 0 {
                    // Nobody is left to be told; what could not be uploaded is still in memory.
                    st.failed = None;
                }
            }
            let path = self.tree.lock().path(file.ino).unwrap_or_default();
            return log::warn!("{path}: not stored yet: {error}");
        }
        let (dirty, writers) = {
            let st = file.st.lock();
            (st.dirty, st.writers)
        };
        match (dirty, writers) {
            (true, 0) => self.give_up(file, error, 0).await,
            (true, _) => drop(file.st.lock().failed.get_or_insert_with(|| error.clone())),
            (false, _) => {
                let path = self.tree.lock().path(file.ino).unwrap_or_default();
                log::warn!("{path}: its attributes could not be stored: {error}");
                file.st.lock().attr_dirty = false;
            }
        }
    }

    /// Whether a file's close may leave its store to a batch.
    pub(super) fn may_queue(&self, st: &FileState) -> bool {
        st.base.is_none()
            && st.staging.is_none()
            && st.uploads == 0
            && st.size <= QUEUE_FILE_BYTES_MAX.min(self.table.chunk_len() as u64)
    }

    /// Queues a file for a batch. None: the queue is full, the caller stores by itself.
    pub(super) fn enqueue(self: &Arc<Self>, file: &Arc<FileNode>) -> Option<Result<()>> {
        if let Some(failed) = self.queue.failed.lock().take() {
            file.st.lock().queued = false;
            return Some(Err(failed));
        }
        let mut files = self.queue.files.lock();
        if files.len() >= QUEUE_FILES_MAX {
            file.st.lock().queued = false;
            return None;
        }
        files.push_back(file.clone());
        let filled = files.len() >= BATCH_FILES / 4;
        drop(files);
        if filled {
            self.queue.filled.notify_one();
        }
        Some(Ok(()))
    }

    /// Stores one batch. False: nothing was waiting, or it has to wait on.
    async fn store_batch(self: &Arc<Self>) -> bool {
        let files: Vec<Arc<FileNode>> = {
            let mut queue = self.queue.files.lock();
            let count = queue.len().min(BATCH_FILES);
            queue.drain(..count).collect()
        };
        if files.is_empty() {
            return false;
        }
        let mut held = Vec::new();
        let mut items: Vec<(FileId, Publish, Bytes)> = Vec::new();
        let mut versions = Vec::new();
        let quiet = self.moves.read().await;
        let mut bytes = 0;
        for file in &files {
            let Ok(io) = file.io.try_lock() else {
                self.requeue(file);
                continue;
            };
            if bytes > BATCH_BYTES {
                self.requeue(file);
                continue;
            }
            let Some((item, version)) = self.batch_item(file) else {
                file.st.lock().queued = false;
                continue;
            };
            bytes += item.2.len();
            items.push(item);
            versions.push(version);
            held.push((file, io));
        }
        if held.is_empty() {
            return false;
        }
        let result = self.table.put_small_many(&items).await.map_err(FsError::from);
        drop(quiet);
        match result {
            Ok(()) => {
                for (((file, io), (id, publish, data)), version) in held.into_iter().zip(items).zip(versions)
                {
                    self.batch_stored(file, id, &publish, data.len(), version);
                    drop(io);
                    self.tree.lock().evict(file.ino);
                }
            }
            Err(e) if e.is_transient() => {
                log::warn!("{} closed files are not stored yet: {e}", held.len());
                held.iter().for_each(|(file, _)| self.requeue(file));
                return false;
            }
            Err(_) => {
                // One of them stands in the way of all: one by one.
                let files: Vec<Arc<FileNode>> = held.into_iter().map(|(file, _)| file.clone()).collect();
                for file in files {
                    file.st.lock().queued = false;
                    if let Err(e) = self.store(&file).await
                        && !e.is_transient()
                    {
                        *self.queue.failed.lock() = Some(e.clone());
                        self.give_up(&file, &e, u32::MAX).await;
                    }
                }
            }
        }
        self.queue.emptied.notify_waiters();
        true
    }

    fn requeue(&self, file: &Arc<FileNode>) {
        self.queue.files.lock().push_back(file.clone());
    }

    fn batch_item(&self, file: &Arc<FileNode>) -> Option<((FileId, Publish, Bytes), u64)> {
        let path = self.stored_path(file.ino).ok()?;
        let mut st = file.st.lock();
        if !st.queued || !st.dirty || st.unlinked || !self.may_queue(&st) {
            return None;
        }
        let size = st.size as usize;
        let data = if size == 0 {
            Bytes::new()
        } else {
            let grown = st.overlay.pad(0, size);
            self.budget.take(grown);
            st.overlay.buf(0).map(|b| shared(b.data()))?
        };
        let publish = Publish {
            name: path,
            size: st.size,
            mtime: st.mtime,
            attrs: self.stored_attrs(&st.attrs, self.cfg.file_mode),
            replace: Replace::Refuse,
        };
        Some(((self.table.new_id(), publish, data), st.version))
    }

    fn batch_stored(&self, file: &Arc<FileNode>, id: FileId, publish: &Publish, len: usize, version: u64) {
        add(&self.stats.published, 1);
        add(&self.stats.chunks_written, u64::from(len > 0));
        add(&self.stats.bytes_written, len as u64);
        self.note_stored(file, id, publish.size, publish.mtime);
        let freed = {
            let mut st = file.st.lock();
            let freed = st.overlay.memory();
            st.base = Some(Base { id, size: publish.size });
            st.overlay = Overlay::new(self.table.chunk_len(), publish.size);
            st.shape = Shape::Regular;
            st.dirty = false;
            st.queued = false;
            st.attr_dirty = st.version != version;
            st.fetched = Instant::now();
            freed
        };
        self.budget.release(freed);
        self.note_file(file);
    }

    /// Removes a hidden row and its chunks, in the background.
    pub(super) fn remove_hidden_later(self: &Arc<Self>, id: FileId) {
        let fs = self.clone();
        tokio::spawn(async move {
            if let Err(e) = fs.table.remove_hidden(id).await {
                log::debug!("a hidden row is left to the sweep: {e}");
            }
            counter::lower(&fs.hidden_rows, 1);
        });
    }

    /// [`UserfileFs::store_all`] for the last time: takes no further changes.
    pub async fn drain(self: &Arc<Self>, timeout: Duration) -> DrainReport {
        self.shutting_down.store(true, Relaxed);
        self.store_all(timeout).await
    }

    /// Stores everything that can be stored. What is lost, because its store failed or it is still
    /// open with an unfinished store when `timeout` ends, is named. Goes on serving meanwhile and after.
    pub async fn store_all(self: &Arc<Self>, timeout: Duration) -> DrainReport {
        // In a task of its own: what is being stored when the time is up goes on to its end.
        let fs = self.clone();
        let deadline = Instant::now() + timeout;
        let work = tokio::spawn(async move { fs.store_until(deadline).await });
        let lost = match tokio::time::timeout(timeout, work).await {
            Ok(Ok(lost)) => lost,
            Ok(Err(e)) => vec![format!("storing failed: {e}")],
            Err(_) => self.writing().into_iter().map(|(path, _)| format!("{path}: timed out")).collect(),
        };
        DrainReport { lost }
    }

    async fn store_until(self: &Arc<Self>, deadline: Instant) -> Vec<String> {
        loop {
            while self.store_batch().await {}
            let failures = self.do_put_off(true).await;
            let busy = self.dirty_files().iter().any(|f| {
                let st = f.st.lock();
                (st.dirty || st.attr_dirty) && !st.unlinked
            });
            if !busy || !failures.is_empty() || Instant::now() >= deadline {
                let path = |file: &FileNode| self.tree.lock().path(file.ino).unwrap_or_default();
                return failures.iter().map(|(file, e)| format!("{}: {e}", path(file))).collect();
            }
        }
    }

    /// After the end: removes what this mount has hidden in the tables (files that were removed while open, large
    /// ones on their way out). The next mount does what is not done within `timeout`.
    pub async fn leave(&self, timeout: Duration) {
        if self.cfg.read_only {
            return;
        }
        match tokio::time::timeout(timeout, self.table.leave()).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => log::debug!("hidden rows are left to the next mount: {e}"),
            Err(_) => log::debug!("hidden rows are left to the next mount"),
        }
    }

    /// One line for a service manager.
    pub fn status_line(&self) -> String {
        format!(
            "{} open, {} KiB not stored yet, {} KiB cached",
            self.handles.len(),
            self.budget.used() / 1024,
            self.cache.bytes() / 1024
        )
    }
}

enum Due {
    Never,
    Later,
    Now,
}

fn when_due(st: &FileState) -> Due {
    if st.unlinked || !(st.dirty || st.attr_dirty) {
        return Due::Never;
    }
    if st.queued {
        return Due::Later;
    }
    if st.dirty {
        let still_empty = st.base.is_none() && st.size == 0 && st.overlay.is_clean();
        return match (still_empty, st.writers) {
            (true, _) if st.changed.elapsed() >= EMPTY_DELAY => Due::Now,
            (false, 0) if st.changed.elapsed() >= ATTR_DELAY => Due::Now,
            _ => Due::Later,
        };
    }
    if st.changed.elapsed() >= ATTR_DELAY { Due::Now } else { Due::Later }
}
