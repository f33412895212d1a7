//! Handles: opening, closing, and what a handle remembers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::error::{FsError, Result};
use super::node::{FileNode, Shape};
use super::read::Sequence;
use super::readdir::DirSnapshot;
use super::tree::Body;
use super::{Stat, UserfileFs};

/// How long an answer with a file's size may be on its way to the kernel.
const SIZE_ON_ITS_WAY: Duration = Duration::from_millis(200);

/// What open(2) gets.
#[derive(Debug, Clone, Copy)]
pub struct Opened {
    /// The handle.
    pub handle: u64,
    /// Bypass the page cache (handles that only write, and contents whose size the kernel may not know).
    pub direct_io: bool,
    /// The cached pages are still those of these contents.
    pub keep_cache: bool,
    /// Closing it stores nothing (handles that only read).
    pub no_flush: bool,
}

/// An open file or directory.
pub struct Handle {
    /// What is open.
    pub what: Open,
    /// The inode.
    pub ino: u64,
    /// May write.
    pub writes: bool,
    /// Every write is stored before it returns (O_SYNC, O_DSYNC).
    pub syncs: bool,
    /// A store failed: every later write, flush and fsync says so again.
    pub failed: Mutex<Option<FsError>>,
    /// Where reading goes on.
    pub seq: Mutex<Sequence>,
}

/// What a handle is open on.
pub enum Open {
    /// A file.
    File(Arc<FileNode>),
    /// A control file, as it was at open.
    Text(Arc<Vec<u8>>),
    /// A directory.
    Dir(Mutex<Option<Arc<DirSnapshot>>>),
}

/// All open handles.
#[derive(Default)]
pub struct Handles {
    open: Mutex<HashMap<u64, Arc<Handle>>>,
    last: AtomicU64,
}

impl Handles {
    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.lock().len()
    }
    fn add(&self, handle: Handle) -> u64 {
        let number = self.last.fetch_add(1, Relaxed) + 1;
        self.open.lock().insert(number, Arc::new(handle));
        number
    }
    /// An open handle.
    pub fn get(&self, number: u64) -> Result<Arc<Handle>> {
        self.open.lock().get(&number).cloned().ok_or(FsError::BadHandle)
    }
    fn take(&self, number: u64) -> Option<Arc<Handle>> {
        self.open.lock().remove(&number)
    }
}

impl Handle {
    fn new(what: Open, ino: u64, writes: bool) -> Self {
        Handle {
            what,
            ino,
            writes,
            syncs: false,
            failed: Mutex::new(None),
            seq: Mutex::new(Sequence::default()),
        }
    }

    /// The file of a handle.
    pub fn file(&self) -> Result<&Arc<FileNode>> {
        match &self.what {
            Open::File(file) => Ok(file),
            _ => Err(FsError::BadHandle),
        }
    }
}

/// Whether open(2)'s flags let the file change. O_TRUNC does so without any right to write afterwards, too.
fn writes(flags: i32) -> bool {
    flags & libc::O_ACCMODE != libc::O_RDONLY || flags & libc::O_TRUNC != 0
}

impl UserfileFs {
    /// Opens a file with open(2)'s flags.
    pub async fn open(self: &Arc<Self>, ino: u64, flags: i32) -> Result<Opened> {
        if let Body::Control(control) = self.body(ino)? {
            if writes(flags) {
                return Err(FsError::NotPermitted);
            }
            let text = self.control_text(control).ok_or(FsError::IsDir)?.into_bytes();
            let handle = self.handles.add(Handle::new(Open::Text(Arc::new(text)), ino, false));
            return Ok(Opened { handle, direct_io: true, keep_cache: false, no_flush: true });
        }
        let file = self.file(ino)?;
        if writes(flags) {
            self.check_writable()?;
        }
        let stale = {
            let mut st = file.st.lock();
            st.sought = Some(Instant::now());
            !st.is_local() && !st.unlinked && st.fetched.elapsed() >= self.cfg.attr_timeout
        };
        if file.st.lock().gave_up {
            return Err(FsError::LookAgain);
        }
        if stale {
            self.refresh(ino).await?;
            let st = file.st.lock();
            if st.unlinked && !st.hidden {
                return Err(FsError::LookAgain);
            }
        }
        let opened = loop {
            if let Some(opened) = self.open_node(&file, flags) {
                break opened?;
            }
            // Who takes the name away holds this lock until it is done.
            drop(file.io.lock().await);
        };
        let prepared = if flags & libc::O_TRUNC != 0 {
            self.truncate(&file, 0).await
        } else if !writes(flags) {
            self.check_empty(&file).await
        } else {
            Ok(())
        };
        if let Err(e) = prepared {
            self.close(opened.handle);
            return Err(e);
        }
        if !writes(flags) {
            self.note_read_open(ino);
        }
        Ok(opened)
    }

    /// As [`Self::open`] where no question has to be asked of the server.
    pub fn try_open(self: &Arc<Self>, ino: u64, flags: i32) -> Option<Result<Opened>> {
        let Ok(Body::File(file)) = self.body(ino) else { return None };
        if flags & libc::O_TRUNC != 0 {
            return None;
        }
        if writes(flags)
            && let Err(e) = self.check_writable()
        {
            return Some(Err(e));
        }
        {
            let mut st = file.st.lock();
            st.sought = Some(Instant::now());
            let current = st.is_local() || st.unlinked || st.fetched.elapsed() < self.cfg.attr_timeout;
            let doubtful_empty = st.size == 0 && !st.is_local() && matches!(st.shape, Shape::Unknown);
            if !current || doubtful_empty || st.gave_up {
                return None;
            }
        }
        let opened = self.open_node(&file, flags)?;
        if opened.is_ok() && !writes(flags) {
            self.note_read_open(ino);
        }
        Some(opened)
    }

    /// A handle on a file that is there. None: its name is being taken away just now.
    fn open_node(&self, file: &Arc<FileNode>, flags: i32) -> Option<Result<Opened>> {
        let writes = writes(flags);
        let (keep_cache, replaced) = {
            let mut st = file.st.lock();
            if st.leaving {
                return None;
            }
            // The kernel may lead here a while after another client took the name: what is written would be lost.
            if st.is_gone() || (st.unlinked && !st.hidden && !st.is_local()) {
                return Some(Err(FsError::LookAgain));
            }
            st.opens += 1;
            st.writers += u32::from(writes);
            let now = st.base.filter(|_| !st.dirty).map(|b| (b.id, st.size, st.mtime));
            let keep = now.is_some() && now == st.pages;
            st.pages = now;
            (keep, st.replaced)
        };
        let mut handle = Handle::new(Open::File(file.clone()), file.ino, writes);
        handle.syncs = flags & (libc::O_SYNC | libc::O_DSYNC) != 0;
        let handle = self.handles.add(handle);
        // The kernel's cache would end where the old contents did, until it asks for the size again.
        let asks_again = self.cfg.attr_timeout * 2 + SIZE_ON_ITS_WAY;
        let direct_io =
            replaced.is_some_and(|at| at.elapsed() < asks_again) || flags & libc::O_ACCMODE == libc::O_WRONLY;
        Some(Ok(Opened { handle, direct_io, keep_cache: keep_cache && !direct_io, no_flush: !writes }))
    }

    /// Opens a file that was made in the same call.
    pub(super) fn open_created(&self, file: &Arc<FileNode>, flags: i32) -> Result<(Stat, Opened)> {
        let opened = self.open_node(file, flags).ok_or(FsError::LookAgain)??;
        Ok((self.stat_file(file), opened))
    }

    /// Opens a directory.
    pub fn opendir(&self, ino: u64) -> Result<u64> {
        match self.body(ino)? {
            Body::Dir(dir) => dir.st.lock().opens += 1,
            Body::Control(control) if control.is_dir() => {}
            _ => return Err(FsError::NotDir),
        }
        Ok(self.handles.add(Handle::new(Open::Dir(Mutex::new(None)), ino, false)))
    }

    /// Closes a directory.
    pub fn releasedir(&self, handle: u64) {
        let Some(handle) = self.handles.take(handle) else { return };
        if let Ok(Body::Dir(dir)) = self.body(handle.ino) {
            dir.st.lock().opens -= 1;
        }
        self.tree.lock().evict(handle.ino);
    }

    /// Closes a file. What close(2) promised was done by flush; what came after it (pages written
    /// back late, a file that stayed empty) is stored here, and a failure is logged.
    pub async fn release(self: &Arc<Self>, number: u64) {
        let Ok(handle) = self.handles.get(number) else { return };
        if let Ok(file) = handle.file()
            && stores_on_release(&handle, file)
        {
            let failed = handle.failed.lock().clone();
            let failed = match failed {
                Some(e) => Err(e),
                None => self.store(file).await,
            };
            if let Err(e) = failed {
                self.give_up(file, &e, 1).await;
            }
        }
        self.close(number);
    }

    /// As [`Self::release`] where nothing is left to store. False: not done.
    pub fn try_release(self: &Arc<Self>, number: u64) -> bool {
        let Ok(handle) = self.handles.get(number) else { return true };
        if handle.file().is_ok_and(|file| stores_on_release(&handle, file)) {
            return false;
        }
        self.close(number);
        true
    }

    fn close(self: &Arc<Self>, number: u64) {
        let Some(handle) = self.handles.take(number) else { return };
        let Ok(file) = handle.file() else { return };
        let last = {
            let mut st = file.st.lock();
            st.opens = st.opens.saturating_sub(1);
            st.writers = st.writers.saturating_sub(u32::from(handle.writes));
            if st.writers == 0 && !st.dirty {
                st.failed = None;
            }
            st.opens == 0
        };
        if last {
            self.drop_unused(file);
        }
        self.tree.lock().evict(file.ino);
    }

    /// Drops what a file without a name holds, unless a handle keeps it alive.
    pub(super) fn drop_unused(self: &Arc<Self>, file: &Arc<FileNode>) {
        let (base, hidden, freed, staging) = {
            let mut st = file.st.lock();
            if !st.unlinked || st.opens > 0 || st.lingers {
                return;
            }
            let freed = st.overlay.memory();
            let (len, size) = (self.table.chunk_len(), st.base.map_or(0, |b| b.size));
            st.overlay = super::overlay::Overlay::new(len, size);
            st.dirty = false;
            (st.base, std::mem::take(&mut st.hidden), freed, st.staging.take())
        };
        self.budget.release(freed);
        if let Some(base) = base {
            self.cache.drop_file(base.id);
        }
        let ids = base.filter(|_| hidden).map(|b| b.id).into_iter().chain(staging.map(|s| s.id()));
        for id in ids {
            self.remove_hidden_later(id);
        }
    }
}

/// Whether closing this handle is the last chance to store the file.
fn stores_on_release(handle: &Handle, file: &FileNode) -> bool {
    let st = file.st.lock();
    handle.writes && st.dirty && !st.unlinked && !st.queued && st.writers == 1
}
