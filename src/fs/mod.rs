//! POSIX meaning over flat names: the filesystem without FUSE.
//!
//! Every method takes inode numbers and handles as the kernel knows them, is async, and ends within
//! the pool's operation deadline. Methods named `try_*` answer at once from memory, or not at all.
//! A dropped future leaves the filesystem consistent: what was pending stays pending.
//!
//! | file | what it decides |
//! |---|---|
//! | `tree` | inode numbers, names, lookup counts (pure) |
//! | `overlay` | where each byte of a changed file comes from (pure) |
//! | `node` | what is remembered of a file, directory, link |
//! | `lookup` | when the tables are asked, and when a cached listing answers |
//! | `readdir` | listings and the snapshots of open directories |
//! | `attr` | stat, setattr, extended attributes, statfs |
//! | `dirs` | storing directories' attributes, several at once |
//! | `open`, `read`, `write`, `store` | handles, read-ahead, buffering, publishing |
//! | `copy` | copy_file_range on the server |
//! | `namespace` | create, mkdir, unlink, rmdir, rename, symlink |
//! | `control` | the virtual directory `.userfilefs` |
//! | `background` | deferred stores, heartbeat, sweep, drain |

mod attr;
mod background;
pub mod cache;
mod config;
mod control;
mod copy;
mod dirs;
mod error;
mod lookup;
mod names;
mod namespace;
mod node;
mod open;
mod overlay;
mod read;
mod readdir;
mod received;
mod stats;
mod store;
mod tree;
mod until;
mod write;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use parking_lot::Mutex;

pub use attr::{Kind, SetAttr, Stat, StatFs, TimeSet};
pub use background::DrainReport;
pub use config::Config;
pub use error::{FsError, Result};
pub use names::{CONTROL_NAME, NAME_BYTES_MAX, component};
pub use namespace::Owner;
pub use open::Opened;
pub use read::Slice;
pub use readdir::DirEntry;
pub use tree::ROOT;

use self::cache::ChunkCache;
use self::node::{DirMeta, DirNode, FileNode};
use self::open::Handles;
use self::stats::Stats;
use self::tree::{Body, Tree};
use crate::chunk::FileTable;
use crate::util::clock::{Micros, now_micros};

/// A map whose hashing costs little: a listing of 100,000 names passes through several.
pub(crate) type FastMap<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;

/// The filesystem over one pair of userfile tables.
pub struct UserfileFs {
    table: FileTable,
    cfg: Config,
    tree: Mutex<Tree>,
    handles: Handles,
    cache: ChunkCache,
    loading: read::Loading,
    budget: write::Budget,
    stats: Stats,
    odd: Mutex<lookup::OddNames>,
    /// What a background task has to store,
    /// by the address of the node, which the entry keeps alive: a removed one gives its number to its successor.
    pending: Mutex<HashMap<usize, background::Pending>>,
    queue: background::Queue,
    walk: Mutex<readdir::Walk>,
    /// Read by stores while they publish under a path; written by operations that move whole subtrees.
    moves: tokio::sync::RwLock<()>,
    /// How many subtrees have begun to move.
    moved: AtomicU64,
    usage: Mutex<Option<attr::CachedUsage>>,
    shutting_down: AtomicBool,
    last_time: AtomicU64,
    hidden_rows: AtomicUsize,
    mounted_at: Micros,
}

impl UserfileFs {
    /// The filesystem, with its background tasks on the current tokio runtime. They end when the
    /// returned value is dropped.
    pub fn new(table: FileTable, cfg: Config) -> Arc<Self> {
        let now = now_micros();
        let root = Arc::new(DirNode::new(tree::ROOT, &DirMeta::default(), now, std::time::Instant::now()));
        let fs = Arc::new(UserfileFs {
            cache: ChunkCache::new(cfg.cache_bytes_max),
            budget: write::Budget::new(cfg.dirty_bytes_max),
            tree: Mutex::new(Tree::new(root)),
            handles: Handles::default(),
            loading: read::Loading::default(),
            stats: Stats::default(),
            odd: Mutex::new(lookup::OddNames::default()),
            pending: Mutex::new(HashMap::new()),
            queue: background::Queue::default(),
            walk: Mutex::new(readdir::Walk::default()),
            moves: tokio::sync::RwLock::new(()),
            moved: AtomicU64::new(0),
            usage: Mutex::new(None),
            shutting_down: AtomicBool::new(false),
            last_time: AtomicU64::new(0),
            hidden_rows: AtomicUsize::new(0),
            mounted_at: now,
            table,
            cfg,
        });
        background::start(&fs);
        fs
    }

    /// The options in force.
    pub fn config(&self) -> &Config {
        &self.cfg
    }

    /// The tables below.
    pub fn table(&self) -> &FileTable {
        &self.table
    }

    /// Now, never the same twice and never backwards within a mount.
    fn now(&self) -> Micros {
        use std::sync::atomic::Ordering::Relaxed;
        let now = now_micros().0.max(0) as u64;
        let last = self.last_time.fetch_max(now, Relaxed);
        Micros(last.max(now) as i64)
    }

    fn body(&self, ino: u64) -> Result<Body> {
        Ok(self.tree.lock().get(ino).ok_or(FsError::NotFound)?.body.clone())
    }

    fn dir(&self, ino: u64) -> Result<Arc<DirNode>> {
        match self.body(ino)? {
            Body::Dir(dir) => Ok(dir),
            Body::Control(_) => Err(FsError::NotPermitted),
            _ => Err(FsError::NotDir),
        }
    }

    fn file(&self, ino: u64) -> Result<Arc<FileNode>> {
        match self.body(ino)? {
            Body::File(file) => Ok(file),
            Body::Dir(_) => Err(FsError::IsDir),
            Body::Control(_) => Err(FsError::NotPermitted),
            Body::Link(_) => Err(FsError::Invalid),
        }
    }

    /// The stored name of a node: the mount's top within the tables, then its path.
    fn stored_path(&self, ino: u64) -> Result<String> {
        let tree = self.tree.lock();
        if let Some(name) = control::shadowed_path(&tree, ino) {
            return Ok(name);
        }
        let path = tree.path(ino).ok_or(FsError::NotFound)?;
        Ok(format!("{}{path}", self.cfg.subdir))
    }

    /// A node's path below the mount's top, for people; its number where it has no name any more.
    pub fn shown(&self, ino: u64) -> String {
        self.tree.lock().path(ino).unwrap_or_else(|| format!("inode {ino}"))
    }

    /// Parent and name of a node that has a name.
    fn place(&self, ino: u64) -> Option<(u64, String)> {
        let tree = self.tree.lock();
        tree.get(ino).filter(|n| n.attached).map(|n| (n.parent, n.name.clone()))
    }

    /// The stored name of a child.
    fn child_path(&self, parent: u64, name: &str) -> Result<String> {
        let path = format!("{}/{name}", self.stored_path(parent)?);
        names::check_path(&path)?;
        Ok(path)
    }

    fn check_writable(&self) -> Result<()> {
        use std::sync::atomic::Ordering::Relaxed;
        if self.cfg.read_only {
            return Err(FsError::ReadOnly);
        }
        if self.shutting_down.load(Relaxed) { Err(FsError::ShuttingDown) } else { Ok(()) }
    }

    /// Notes a stored, changed or removed entry in its directory's cached listing.
    fn note(&self, parent: u64, name: &str, meta: Option<node::Meta>) {
        if let Ok(dir) = self.dir(parent) {
            dir.st.lock().note(name, meta);
        }
    }

    /// As [`Self::note`] for a file that knows its place.
    fn note_file(&self, file: &FileNode) {
        let Some(meta) = file.st.lock().meta() else { return };
        if let Some((parent, name)) = self.place(file.ino) {
            self.note(parent, &name, Some(node::Meta::File(meta)));
        }
    }

    /// Notes a file that the tables hold from now on, before its node says so: who looks at nodes first
    /// and at the listing then finds it in one of the two.
    fn note_stored(&self, file: &FileNode, id: crate::chunk::FileId, size: u64, mtime: Micros) {
        let attrs = file.st.lock().attrs.clone();
        if let Some((parent, name)) = self.place(file.ino) {
            self.note(parent, &name, Some(node::Meta::File(node::FileMeta { id, size, mtime, attrs })));
        }
    }

    /// A directory's entries changed now.
    fn touch_dir(&self, ino: u64) {
        if let Ok(dir) = self.dir(ino) {
            let now = self.now();
            let mut st = dir.st.lock();
            st.mtime = st.mtime.max(now);
            st.ctime = st.ctime.max(now);
        }
    }
}
