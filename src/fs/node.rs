//! What the filesystem remembers of a file, a directory and a symbolic link.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::error::FsError;
use super::overlay::Overlay;
use crate::chunk::{Attrs, FileId, FileRow, PathKind, PathRow};
use crate::util::clock::Micros;

/// What the tables say of a name.
#[derive(Debug, Clone)]
pub enum Meta {
    /// A stored file.
    File(FileMeta),
    /// A directory, written down or implied by the names below it.
    Dir(DirMeta),
    /// A symbolic link.
    Link(LinkMeta),
}

/// A stored file.
#[derive(Debug, Clone, PartialEq)]
pub struct FileMeta {
    /// Identity of the contents.
    pub id: FileId,
    /// Bytes.
    pub size: u64,
    /// Last modification.
    pub mtime: Micros,
    /// Mode, owner, extended attributes where they are not the default.
    pub attrs: Attrs,
}

/// A directory.
#[derive(Debug, Clone, Default)]
pub struct DirMeta {
    /// The companion row, if the directory has one.
    pub row: Option<(Attrs, Micros)>,
}

/// A symbolic link.
#[derive(Debug, Clone)]
pub struct LinkMeta {
    /// Where it points, as given.
    pub target: Vec<u8>,
    /// Owner.
    pub attrs: Attrs,
    /// Last modification.
    pub mtime: Micros,
}

impl FileMeta {
    /// From a row; a negative size (a broken row) counts as empty here and as damage when read.
    pub fn of(row: &FileRow) -> Self {
        FileMeta {
            id: row.id,
            size: u64::try_from(row.size).unwrap_or(0),
            mtime: row.mtime.unwrap_or(Micros(0)),
            attrs: row.attrs.clone(),
        }
    }
}

impl Meta {
    /// From a companion row.
    pub fn of_path(row: &PathRow) -> Self {
        match &row.kind {
            PathKind::Dir => Meta::Dir(DirMeta { row: Some((row.attrs.clone(), row.mtime)) }),
            PathKind::Symlink { target } => {
                Meta::Link(LinkMeta { target: target.clone(), attrs: row.attrs.clone(), mtime: row.mtime })
            }
        }
    }
}

/// The published contents under a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Base {
    /// Identity of the contents.
    pub id: FileId,
    /// Bytes.
    pub size: u64,
}

/// A file.
pub struct FileNode {
    /// Inode number.
    pub ino: u64,
    /// State; never held across an await.
    pub st: Mutex<FileState>,
    /// Held by whoever changes or stores the contents; publishing and writing exclude each other.
    pub io: tokio::sync::Mutex<()>,
    /// Held while the hidden row is made, so that it is made once.
    pub stage: tokio::sync::Mutex<()>,
    /// Told when a write that had to wait is in memory.
    pub written: tokio::sync::Notify,
}

/// See [`FileNode`].
pub struct FileState {
    /// What the table holds; None: never stored.
    pub base: Option<Base>,
    /// Bytes, pending changes included.
    pub size: u64,
    /// Last change of contents.
    pub mtime: Micros,
    /// Last change of anything.
    pub ctime: Micros,
    /// Last access, where somebody set it.
    pub atime: Option<Micros>,
    /// Mode, owner, extended attributes.
    pub attrs: Attrs,
    /// Contents (or existence) differ from the base.
    pub dirty: bool,
    /// Attributes or times differ from the row.
    pub attr_dirty: bool,
    /// Pending contents.
    pub overlay: Overlay,
    /// Hidden row that takes the uploaded chunks.
    pub staging: Option<std::sync::Arc<crate::chunk::Staging>>,
    /// The highest chunk ever uploaded to it.
    pub staged_high: Option<u64>,
    /// Writes that were received and are not in the overlay yet.
    pub waiting: super::received::Waiting,
    /// Chunks being uploaded now: one upload a chunk, or an older one could land on top of a newer.
    pub uploading: std::collections::BTreeSet<u64>,
    /// Chunk uploads under way or about to be.
    pub uploads: usize,
    /// A background upload failed: every writer is told.
    pub failed: Option<FsError>,
    /// Open handles.
    pub opens: u32,
    /// Open handles that may write.
    pub writers: u32,
    /// When it was last opened under its name, or replaced another file there: somebody may be looking the name up.
    pub sought: Option<Instant>,
    /// Replaced just now: the row stays a moment for those who looked the name up before.
    pub lingers: bool,
    /// The row is being deleted: who wants to open the file waits for the outcome.
    pub leaving: bool,
    /// The name is gone; the contents live until the last close.
    pub unlinked: bool,
    /// The name went because the contents could not be stored: whoever opens it again has to look anew.
    pub gave_up: bool,
    /// The row was moved to its hidden name and has to be removed at the last close.
    pub hidden: bool,
    /// Nothing was written since creation and one flush was let pass.
    pub flush_let_pass: bool,
    /// When attributes (or the existence) last changed, for what is put off.
    pub changed: Instant,
    /// Attributes that nothing but this node keeps (no companion table).
    pub pinned: bool,
    /// The background looks after it (see `background`).
    pub watched: bool,
    /// Handed to the batch of `-o async`.
    pub queued: bool,
    /// When the tables were last asked.
    pub fetched: Instant,
    /// Its name is being changed or taken away by this mount: what the tables say of it counts for nothing.
    pub moving: bool,
    /// Grows with every local change; a refresh that started before one is dropped.
    pub version: u64,
    /// When other contents, of another client, took the place of those that the kernel may still have the size of.
    pub replaced: Option<Instant>,
    /// What the kernel's page cache was filled from.
    pub pages: Option<(FileId, u64, Micros)>,
    /// The rows are known to be whole chunks in step with the size.
    pub shape: Shape,
    /// A copied file of the original's kind: the first sequential write position, to spot streams.
    pub last_index: Option<u64>,
}

/// How the chunk rows of a published file lie.
#[derive(Debug, Clone, Default)]
pub enum Shape {
    /// Not looked at yet.
    #[default]
    Unknown,
    /// Every row starts at a multiple of the chunk length.
    Regular,
    /// Contiguous rows of other lengths: (offset, length) in order.
    Irregular(std::sync::Arc<Vec<(u64, u64)>>),
}

impl FileNode {
    /// A file that the tables hold, and held when they were `asked`.
    pub fn stored(ino: u64, meta: &FileMeta, chunk_len: usize, asked: Instant) -> Self {
        FileNode::with(
            ino,
            FileState {
                base: Some(Base { id: meta.id, size: meta.size }),
                size: meta.size,
                mtime: meta.mtime,
                ctime: meta.mtime,
                attrs: meta.attrs.clone(),
                dirty: false,
                overlay: Overlay::new(chunk_len, meta.size),
                fetched: asked,
                ..FileState::blank(chunk_len)
            },
        )
    }

    /// A file that is not stored yet.
    pub fn created(ino: u64, now: Micros, attrs: Attrs, chunk_len: usize) -> Self {
        FileNode::with(
            ino,
            FileState { mtime: now, ctime: now, attrs, dirty: true, ..FileState::blank(chunk_len) },
        )
    }

    fn with(ino: u64, st: FileState) -> Self {
        FileNode {
            ino,
            st: Mutex::new(st),
            io: tokio::sync::Mutex::new(()),
            stage: tokio::sync::Mutex::new(()),
            written: tokio::sync::Notify::new(),
        }
    }

    /// Whether the node must not be dropped.
    pub fn is_busy(&self) -> bool {
        let st = self.st.lock();
        st.opens > 0
            || st.uploads > 0
            || (!st.unlinked && (st.dirty || st.attr_dirty || st.pinned))
            || st.hidden
    }
}

impl FileState {
    fn blank(chunk_len: usize) -> Self {
        FileState {
            base: None,
            size: 0,
            mtime: Micros(0),
            ctime: Micros(0),
            atime: None,
            attrs: Attrs::default(),
            dirty: false,
            attr_dirty: false,
            overlay: Overlay::new(chunk_len, 0),
            staging: None,
            staged_high: None,
            waiting: super::received::Waiting::default(),
            uploading: std::collections::BTreeSet::new(),
            uploads: 0,
            failed: None,
            opens: 0,
            writers: 0,
            sought: None,
            lingers: false,
            leaving: false,
            unlinked: false,
            gave_up: false,
            hidden: false,
            flush_let_pass: false,
            changed: Instant::now(),
            pinned: false,
            watched: false,
            queued: false,
            fetched: Instant::now(),
            moving: false,
            version: 0,
            replaced: None,
            pages: None,
            shape: Shape::Unknown,
            last_index: None,
        }
    }

    /// Whether the contents are gone: the last name and the last handle are.
    pub fn is_gone(&self) -> bool {
        self.unlinked && self.opens == 0 && !self.hidden
    }

    /// Whether our state is newer than what the tables say.
    pub fn is_local(&self) -> bool {
        self.dirty || self.attr_dirty || self.base.is_none() || self.uploads > 0
    }

    /// The row as the listing should show it; None while the file is not stored.
    pub fn meta(&self) -> Option<FileMeta> {
        let base = self.base?;
        Some(FileMeta { id: base.id, size: self.size, mtime: self.mtime, attrs: self.attrs.clone() })
    }

    /// Takes over what the tables said when they were asked.
    pub fn refresh(&mut self, meta: &FileMeta, chunk_len: usize, asked: Instant) {
        let base = Base { id: meta.id, size: meta.size };
        if self.base != Some(base) {
            self.replaced = self.base.map(|_| Instant::now());
            self.shape = Shape::Unknown;
            self.overlay = Overlay::new(chunk_len, meta.size);
        }
        if self.mtime != meta.mtime || self.base != Some(base) {
            self.ctime = self.ctime.max(meta.mtime);
            self.atime = None;
        }
        self.base = Some(base);
        self.size = meta.size;
        self.mtime = meta.mtime;
        if !self.pinned {
            self.attrs = meta.attrs.clone();
        }
        self.fetched = asked;
    }
}

/// A directory.
pub struct DirNode {
    /// Inode number.
    pub ino: u64,
    /// State; never held across an await.
    pub st: Mutex<DirState>,
    /// Held while the directory is listed, so that it is listed once.
    pub fetch: tokio::sync::Mutex<()>,
    /// Held while its row is stored or removed: a store behind a removal would bring the directory back.
    pub io: tokio::sync::Mutex<()>,
}

/// See [`DirNode`].
pub struct DirState {
    /// Mode, owner, extended attributes.
    pub attrs: Attrs,
    /// Last change of the entries.
    pub mtime: Micros,
    /// Last change of anything.
    pub ctime: Micros,
    /// Last access, where somebody set it.
    pub atime: Option<Micros>,
    /// The companion table has a row for it.
    pub written_down: bool,
    /// What that row says, as far as is known.
    pub stored: Option<(Attrs, Micros)>,
    /// Attributes differ from the row.
    pub attr_dirty: bool,
    /// Attributes, or its existence, that nothing but this node keeps (no companion table).
    pub pinned: bool,
    /// Removed.
    pub unlinked: bool,
    /// Open handles.
    pub opens: u32,
    /// The cached entries.
    pub listing: Option<Listing>,
    /// Listings under way.
    pub fetching: u32,
    /// Local changes while a listing is under way, to be put on top of it.
    pub log: Vec<(String, Option<Meta>)>,
    /// Time spent on single look-ups since the listing went stale.
    pub spent: Duration,
    /// Single look-ups since then.
    pub misses: u32,
    /// Names asked for in a row that were not there, and when the last one was.
    pub absent: (u32, Instant),
    /// When the tables were last asked about the directory itself.
    pub fetched: Instant,
    /// Grows with every local change of attributes and place.
    pub version: u64,
    /// Names opened for reading one after another: how many, and the last (for read-ahead).
    pub reads: (u32, String),
    /// When this mount last took a name out of it.
    pub removed: Option<Instant>,
}

/// The entries of a directory as the tables had them.
pub struct Listing {
    /// Names with what they are.
    pub entries: BTreeMap<String, Meta>,
    /// When the tables were asked.
    pub asked: Instant,
    /// When it was made.
    pub at: Instant,
    /// What it cost.
    pub cost: Duration,
    /// Out of date before its time.
    pub stale: bool,
}

impl Listing {
    /// One whose question was `asked` and is answered now.
    pub fn new(entries: BTreeMap<String, Meta>, asked: Instant) -> Self {
        Listing { entries, asked, at: Instant::now(), cost: asked.elapsed(), stale: false }
    }
}

impl DirNode {
    /// A directory as the tables had it when they were `asked`.
    pub fn new(ino: u64, meta: &DirMeta, fallback_time: Micros, asked: Instant) -> Self {
        let (attrs, mtime) = meta.row.clone().unwrap_or((Attrs::default(), fallback_time));
        DirNode {
            ino,
            st: Mutex::new(DirState {
                attrs,
                mtime,
                ctime: mtime,
                atime: None,
                written_down: meta.row.is_some(),
                stored: meta.row.clone(),
                attr_dirty: false,
                pinned: false,
                unlinked: false,
                opens: 0,
                listing: None,
                fetching: 0,
                log: Vec::new(),
                spent: Duration::ZERO,
                misses: 0,
                absent: (0, Instant::now()),
                fetched: asked,
                version: 0,
                reads: (0, String::new()),
                removed: None,
            }),
            fetch: tokio::sync::Mutex::new(()),
            io: tokio::sync::Mutex::new(()),
        }
    }

    /// Whether the node must not be dropped.
    pub fn is_busy(&self) -> bool {
        let st = self.st.lock();
        st.opens > 0 || st.fetching > 0 || ((st.attr_dirty || st.pinned) && !st.unlinked)
    }
}

impl DirState {
    /// Records that an entry was stored, changed or removed by this mount.
    pub fn note(&mut self, name: &str, meta: Option<Meta>) {
        if self.fetching > 0 {
            self.log.push((name.to_owned(), meta.clone()));
        }
        if meta.is_none() {
            self.removed = Some(Instant::now());
        }
        if let Some(listing) = &mut self.listing {
            match meta {
                Some(meta) => drop(listing.entries.insert(name.to_owned(), meta)),
                None => drop(listing.entries.remove(name)),
            }
        }
    }

    /// Takes over what the tables said when they were asked.
    pub fn refresh(&mut self, meta: &DirMeta, asked: Instant) {
        self.fetched = asked;
        if self.attr_dirty || self.pinned {
            return;
        }
        self.written_down = meta.row.is_some();
        self.stored = meta.row.clone();
        if let Some((attrs, mtime)) = &meta.row {
            self.attrs = attrs.clone();
            // Entries changed here since: the later time is the better one.
            self.mtime = self.mtime.max(*mtime);
        }
    }
}

/// A symbolic link.
pub struct LinkNode {
    /// What is known of it.
    pub st: Mutex<LinkState>,
}

/// See [`LinkNode`].
pub struct LinkState {
    /// The link.
    pub meta: LinkMeta,
    /// When the tables were last asked.
    pub fetched: Instant,
    /// Last change of anything.
    pub ctime: Micros,
    /// Last access, where somebody set it.
    pub atime: Option<Micros>,
}
