//! Values that go in and out of a [`super::FileTable`].

use crate::sql::Row;
use crate::util::clock::Micros;
use crate::util::disk::Disk;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Identity of a file's contents: joins the files row, its chunks and its attributes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FileId(pub Uuid);

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Attributes that the two tables cannot hold. None and empty mean the mount's defaults.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Attrs {
    /// Permission bits (`07777`).
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Extended attributes by full name.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Attrs {
    /// True if there is nothing to store.
    pub fn is_default(&self) -> bool {
        *self == Attrs::default()
    }
}

/// A file as the tables have it.
#[derive(Clone, PartialEq, Debug)]
pub struct FileRow {
    /// Stored name, raw: CockroachDB can hold names that are not UTF-8.
    pub name: Vec<u8>,
    /// Identity of the contents.
    pub id: FileId,
    /// `file_size` as stored (0 while another client writes it; negative only in damaged tables). With
    /// [`super::TableOptions::recover`] it is the sum of the chunks.
    pub size: i64,
    /// `upload_time`; None where it is NULL.
    pub mtime: Option<Micros>,
    /// Who wrote it.
    pub username: String,
    /// From the companion table.
    pub attrs: Attrs,
}

/// What a companion row keyed by path is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PathKind {
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink {
        /// What it points at, as given.
        target: Vec<u8>,
    },
}

/// A companion row keyed by path: a directory or a symbolic link.
#[derive(Clone, PartialEq, Debug)]
pub struct PathRow {
    /// `/a/b`; the root is empty (`/` is taken as well).
    pub path: Vec<u8>,
    /// Which of the two.
    pub kind: PathKind,
    /// Its attributes.
    pub attrs: Attrs,
    /// Its time of change.
    pub mtime: Micros,
}

/// Answer of [`super::FileTable::lookup`].
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Lookup {
    /// The file with exactly this name.
    pub file: Option<FileRow>,
    /// The directory or symbolic link that has a companion row of this path.
    pub path: Option<PathRow>,
    /// Whether a file, directory or link lies below the path, so that it is a directory.
    pub has_children: bool,
}

/// Where a directory listing goes on. Opaque.
#[derive(Clone, PartialEq, Debug)]
pub struct DirCursor {
    /// Names are read from here on, bytewise.
    pub(super) from: String,
    /// `from` itself was seen already.
    pub(super) after: bool,
    /// Rows to ask for next.
    pub(super) page: usize,
}

/// A page of a directory.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct DirPage {
    /// Files in the directory, by name.
    pub files: Vec<FileRow>,
    /// Names (last components) of directories implied by files below them, each once in a whole listing.
    pub dirs: Vec<Vec<u8>>,
    /// Companion rows in this directory; all of them on the first page, none on later ones.
    pub paths: Vec<PathRow>,
    /// Full stored names that cannot be shown here: the component below this directory is empty, `.`, `..`,
    /// too long, not UTF-8 or has a NUL; in the root also names without a leading slash (of those, not
    /// necessarily all where there are hundreds).
    pub unshowable: Vec<Vec<u8>>,
    /// Where the next page begins; None: this was the last.
    pub next: Option<DirCursor>,
}

/// Totals over all files that are not hidden.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Number of files.
    pub files: u64,
    /// Sum of `file_size`.
    pub bytes: u64,
}

/// Bytes of a chunk. Large ones stay in the buffer they were received in; clones share it.
#[derive(Clone)]
pub struct ChunkData(Inner);

#[derive(Clone)]
enum Inner {
    Row(Arc<Row>, usize),
    Bytes(Bytes),
}

/// Smaller payloads are copied out of the receive buffer, which they would pin as a whole.
const KEEP_ROW_MIN: usize = 256 << 10;

impl ChunkData {
    /// The payload in column `column`; None: it is NULL or not bytes.
    pub(super) fn from_row(row: Row, column: usize) -> Option<ChunkData> {
        let data = row.try_get::<_, Option<&[u8]>>(column).ok()??;
        if data.len() >= KEEP_ROW_MIN {
            return Some(ChunkData(Inner::Row(Arc::new(row), column)));
        }
        Some(ChunkData(Inner::Bytes(Bytes::copy_from_slice(data))))
    }
}

impl From<Bytes> for ChunkData {
    fn from(b: Bytes) -> ChunkData {
        ChunkData(Inner::Bytes(b))
    }
}

impl Deref for ChunkData {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            // from_row has seen it succeed.
            Inner::Row(row, column) => row.try_get(*column).unwrap_or_default(),
            Inner::Bytes(b) => b,
        }
    }
}

impl AsRef<[u8]> for ChunkData {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for ChunkData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChunkData({} bytes)", self.len())
    }
}

/// A chunk with its position.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Position of the first byte in the file.
    pub offset: u64,
    /// The bytes.
    pub data: ChunkData,
}

impl Chunk {
    /// Position after the last byte.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.data.len() as u64)
    }

    /// The bytes from `pos` on; empty where `pos` is not inside the chunk.
    pub fn from_pos(&self, pos: u64) -> &[u8] {
        let skip = pos.checked_sub(self.offset).and_then(|s| usize::try_from(s).ok());
        skip.and_then(|s| self.data.get(s..)).unwrap_or_default()
    }
}

/// What to do about whatever stands at a name that is to be given to another file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replace {
    /// Nothing may stand there, else [`super::Error::Exists`].
    Refuse,
    /// It gives way in the same transaction: a file or a symbolic link, whichever it is by then. (Directories
    /// are left alone: callers see to them.)
    Displace(Old),
}

/// What becomes of contents that give way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Old {
    /// Removed: in the same transaction where small, else hidden and removed in the background.
    Delete {
        /// Its length in bytes, as far as known; only decides between the two ways.
        size_hint: u64,
    },
    /// This file is still open here: moved to this mount's hidden name for it, until
    /// [`super::FileTable::remove_hidden`]. Another that has taken the name since is removed, in the background.
    Keep(FileId),
}

/// A file to be made visible.
#[derive(Clone, PartialEq, Debug)]
pub struct Publish {
    /// The name, beginning with `/`.
    pub name: String,
    /// Length in bytes.
    pub size: u64,
    /// Stored as `upload_time`.
    pub mtime: Micros,
    /// Stored where the companion table exists or can be made, else ignored.
    pub attrs: Attrs,
    /// What about the name's present holder.
    pub replace: Replace,
}

/// A file to be given another name.
#[derive(Clone, PartialEq, Debug)]
pub struct Rename {
    /// Present name.
    pub from: String,
    /// New name.
    pub to: String,
    /// The file that must be at `from`.
    pub id: FileId,
    /// What about the present holder of `to`.
    pub replace: Replace,
    /// New time and attributes, in the same transaction.
    pub update: Option<(Micros, Attrs)>,
    /// A directory (the parent of `from`) that gets a companion row if it becomes empty by this.
    pub keep_dir: Option<String>,
}

/// Whether missing tables are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Create {
    /// Yes.
    Create,
    /// No: [`super::Error::NoTables`].
    Refuse,
}

/// Whether attributes are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AttrsMode {
    /// In the companion table, made on first need, where that is permitted.
    Auto,
    /// Never, even where the companion table exists.
    Off,
}

/// How a table is opened.
#[derive(Clone, Debug)]
pub struct TableOptions {
    /// What about missing tables.
    pub create: Create,
    /// Refuse every change with [`super::Error::ReadOnly`].
    pub read_only: bool,
    /// What about attributes.
    pub attrs: AttrsMode,
    /// Length of the chunks that are written, in bytes: [`super::CHUNK_LEN`] except in tests. Other clients read
    /// any length.
    pub chunk_len: usize,
    /// Read damaged files by the order of their chunks instead of refusing them.
    pub recover: bool,
    /// Names this process's hidden rows.
    pub mount_id: Uuid,
    /// While the companion table of attributes is absent, it is looked for this often, on use: another client may
    /// make it.
    pub recheck: Duration,
    /// Use only statements that CockroachDB takes, on PostgreSQL as well. For tests.
    pub portable: bool,
    /// The disk that the server fills, where it is known: see [`super::FileTable::need_disk`].
    pub disk: Option<Arc<dyn Disk>>,
}

impl Default for TableOptions {
    /// Creates what is missing, writes, stores attributes, real chunk length, a new mount id, a second to look again,
    /// a disk of any size.
    fn default() -> TableOptions {
        TableOptions {
            create: Create::Create,
            read_only: false,
            attrs: AttrsMode::Auto,
            chunk_len: super::CHUNK_LEN,
            recover: false,
            mount_id: Uuid::new_v4(),
            recheck: Duration::from_secs(1),
            portable: false,
            disk: None,
        }
    }
}

/// What [`super::FileTable::sweep`] removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Swept {
    /// Hidden files.
    pub files: u64,
    /// Attribute rows of files that no longer exist.
    pub attrs: u64,
}
