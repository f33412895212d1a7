//! Translates FUSE requests for [`UserfileFs`]: unpack, call, reply, log. No semantics in here.
//!
//! The thread that takes requests never blocks: what memory can answer is answered at once, the rest
//! moves into a task with its reply.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileAttr, FileHandle, FileType, Filesystem,
    FopenFlags, Generation, INodeNo, InitFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLseek,
    ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use crate::fs::{self, DirEntry, FsError, Kind, Owner, SetAttr, Stat, TimeSet, UserfileFs};
use crate::util::clock::Micros;

/// Largest write request asked of the kernel, in bytes.
const MAX_WRITE_BYTES: u32 = 1 << 20;
/// Requests that the kernel may have under way in the background.
const MAX_BACKGROUND: u16 = 64;
/// What stat reports as the best block size, in bytes; cp and stdio size their buffers by it.
const BLOCK_BYTES: u32 = 256 << 10;
/// Block size of statfs, in bytes.
const STATFS_BLOCK_BYTES: u64 = 4096;
/// Attribute time of an open file that has no name any more.
const NO_TIME: Duration = Duration::ZERO;

/// The translator.
pub struct Adapter {
    fs: Arc<UserfileFs>,
    runtime: tokio::runtime::Handle,
    sync: bool,
}

impl Adapter {
    /// Answers requests from `fs`, with tasks on `runtime`.
    pub fn new(fs: Arc<UserfileFs>, runtime: tokio::runtime::Handle) -> Self {
        Adapter { fs, runtime, sync: false }
    }

    /// Every write is stored before it is answered (`-o sync`), as with O_SYNC.
    pub fn with_sync(mut self, sync: bool) -> Self {
        self.sync = sync;
        self
    }

    fn attr_ttl(&self) -> Duration {
        self.fs.config().attr_timeout
    }
    fn entry_ttl(&self) -> Duration {
        self.fs.config().entry_timeout
    }
}

fn errno(operation: &str, error: &FsError) -> Errno {
    if error.is_expected() {
        log::debug!("{operation}: {error}");
    } else {
        log::error!("{operation}: {error}");
    }
    Errno::from_i32(error.errno())
}

/// The same, with what it was done to in the log.
fn errno_of(fs: &UserfileFs, ino: INodeNo, operation: &str, error: &FsError) -> Errno {
    match error.is_expected() {
        true => errno(operation, error),
        false => errno(&format!("{operation} {}", fs.shown(ino.0)), error),
    }
}

fn time(at: Micros) -> SystemTime {
    match u64::try_from(at.0) {
        Ok(micros) => UNIX_EPOCH + Duration::from_micros(micros),
        Err(_) => UNIX_EPOCH - Duration::from_micros(at.0.unsigned_abs()),
    }
}

fn micros(at: SystemTime) -> Micros {
    match at.duration_since(UNIX_EPOCH) {
        Ok(since) => Micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX)),
        // The protocol crate makes (-2 s, 0.25 s) of the kernel to 2.25 s before the epoch; 1.75 s are meant.
        Err(before) => {
            let before = before.duration();
            let seconds = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            Micros::from_timespec(-seconds, i64::from(before.subsec_nanos()))
        }
    }
}

fn set_time(at: TimeOrNow) -> TimeSet {
    match at {
        TimeOrNow::Now => TimeSet::Now,
        TimeOrNow::SpecificTime(at) => TimeSet::At(micros(at)),
    }
}

fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Dir => FileType::Directory,
        Kind::Link => FileType::Symlink,
    }
}

fn file_attr(stat: &Stat) -> FileAttr {
    FileAttr {
        ino: INodeNo(stat.ino),
        size: stat.size,
        blocks: stat.size.div_ceil(512),
        atime: time(stat.atime),
        mtime: time(stat.mtime),
        ctime: time(stat.ctime),
        crtime: time(stat.mtime),
        kind: file_type(stat.kind),
        perm: stat.mode as u16,
        nlink: stat.nlink,
        uid: stat.uid,
        gid: stat.gid,
        rdev: 0,
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

fn missing_attr() -> FileAttr {
    file_attr(&Stat {
        ino: 0,
        kind: Kind::File,
        size: 0,
        mode: 0,
        uid: 0,
        gid: 0,
        mtime: Micros(0),
        ctime: Micros(0),
        atime: Micros(0),
        nlink: 0,
    })
}

fn owner(req: &Request) -> Owner {
    Owner { uid: req.uid(), gid: req.gid() }
}

fn reply_lookup(
    reply: ReplyEntry,
    answer: fs::Result<Option<Stat>>,
    (attr_ttl, entry_ttl, absent_ttl): (Duration, Duration, Duration),
) {
    match answer {
        Ok(Some(stat)) => reply.entry_with_ttls(&attr_ttl, &entry_ttl, &file_attr(&stat), Generation(0)),
        // A negative entry: the kernel remembers for a moment that there is no such name.
        Ok(None) => reply.entry(&absent_ttl, &missing_attr(), Generation(0)),
        Err(e) => reply.error(errno("lookup", &e)),
    }
}

fn reply_entry(
    operation: &str,
    reply: ReplyEntry,
    answer: fs::Result<Stat>,
    ttl: Duration,
    entry_ttl: Duration,
) {
    match answer {
        Ok(stat) => reply.entry_with_ttls(&ttl, &entry_ttl, &file_attr(&stat), Generation(0)),
        Err(e) => reply.error(errno(operation, &e)),
    }
}

fn reply_attr(
    (fs, ino): (&UserfileFs, INodeNo),
    operation: &str,
    reply: ReplyAttr,
    answer: fs::Result<Stat>,
    ttl: Duration,
) {
    match answer {
        Ok(stat) => reply.attr(&if stat.nlink == 0 { NO_TIME } else { ttl }, &file_attr(&stat)),
        Err(e) => reply.error(errno_of(fs, ino, operation, &e)),
    }
}

fn reply_empty(operation: &str, reply: ReplyEmpty, answer: fs::Result<()>) {
    match answer {
        Ok(()) => reply.ok(),
        Err(e) => reply.error(errno(operation, &e)),
    }
}

/// An answer without contents to a request about one file.
fn reply_done((fs, ino): (&UserfileFs, INodeNo), operation: &str, reply: ReplyEmpty, answer: fs::Result<()>) {
    match answer {
        Ok(()) => reply.ok(),
        Err(e) => reply.error(errno_of(fs, ino, operation, &e)),
    }
}

fn reply_open((fs, ino): (&UserfileFs, INodeNo), reply: ReplyOpen, answer: fs::Result<fs::Opened>) {
    match answer {
        Ok(opened) => reply.opened(FileHandle(opened.handle), open_flags(opened)),
        Err(e) => reply.error(errno_of(fs, ino, "open", &e)),
    }
}

fn open_flags(opened: fs::Opened) -> FopenFlags {
    let mut flags = FopenFlags::empty();
    if opened.direct_io {
        flags |= FopenFlags::FOPEN_DIRECT_IO;
    }
    if opened.keep_cache {
        flags |= FopenFlags::FOPEN_KEEP_CACHE;
    }
    if opened.no_flush {
        flags |= FopenFlags::FOPEN_NOFLUSH;
    }
    flags
}

fn reply_create(reply: ReplyCreate, answer: fs::Result<(Stat, fs::Opened)>, ttl: Duration) {
    match answer {
        Ok((stat, opened)) => {
            let (handle, flags) = (FileHandle(opened.handle), open_flags(opened));
            reply.created(&ttl, &file_attr(&stat), Generation(0), handle, flags);
        }
        Err(e) => reply.error(errno("create", &e)),
    }
}

fn reply_xattr(reply: ReplyXattr, answer: fs::Result<Vec<u8>>, size: u32) {
    match answer {
        Ok(data) if size == 0 => reply.size(data.len() as u32),
        Ok(data) if data.len() > size as usize => reply.error(Errno::from_i32(FsError::Range.errno())),
        Ok(data) => reply.data(&data),
        Err(e) => reply.error(errno("xattr", &e)),
    }
}

fn add_plus(reply: &mut ReplyDirectoryPlus, ttl: &Duration, entry: &DirEntry<'_>, next: u64) -> bool {
    let attr = match &entry.stat {
        Some(stat) => file_attr(stat),
        None => FileAttr { kind: file_type(entry.kind), ..missing_attr() },
    };
    reply.add(INodeNo(entry.ino), next, entry.name, ttl, &attr, Generation(0))
}

fn reply_listing(reply: ReplyDirectoryPlus, answer: fs::Result<()>) {
    match answer {
        Ok(()) => reply.ok(),
        Err(e) => reply.error(errno("readdir", &e)),
    }
}

/// Decodes a name or answers the request with its error.
macro_rules! name {
    ($reply:ident, $name:expr) => {
        match fs::component($name) {
            Ok(name) => name.to_owned(),
            Err(e) => return $reply.error(errno("name", &e)),
        }
    };
}

impl Filesystem for Adapter {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        let wanted = [
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_ATOMIC_O_TRUNC,
            InitFlags::FUSE_AUTO_INVAL_DATA,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
        ];
        for flag in wanted {
            // An older kernel without it works too, only slower.
            let _ = config.add_capabilities(flag);
        }
        let _ = config.set_max_write(MAX_WRITE_BYTES);
        let _ = config.set_max_background(MAX_BACKGROUND);
        let _ = config.set_congestion_threshold(MAX_BACKGROUND / 4 * 3);
        let _ = config.set_time_granularity(Duration::from_micros(1));
        Ok(())
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = match fs::component(name) {
            Ok(name) => name,
            Err(FsError::NotUtf8) => return reply.error(Errno::ENOENT),
            Err(e) => return reply.error(errno("lookup", &e)),
        };
        let times = (self.attr_ttl(), self.entry_ttl(), self.fs.absent_timeout());
        if let Some(answer) = self.fs.try_lookup(parent.0, name) {
            return reply_lookup(reply, answer, times);
        }
        let (fs, name) = (self.fs.clone(), name.to_owned());
        self.runtime.spawn(async move {
            let answer = fs.lookup(parent.0, &name).await;
            reply_lookup(reply, answer, times);
        });
    }

    fn forget(&self, _req: &Request, ino: INodeNo, nlookup: u64) {
        self.fs.forget(ino.0, nlookup);
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        let ttl = self.attr_ttl();
        if let Some(answer) = self.fs.try_getattr(ino.0) {
            return reply_attr((&self.fs, ino), "getattr", reply, answer, ttl);
        }
        let fs = self.fs.clone();
        self.runtime.spawn(async move {
            let answer = fs.getattr(ino.0).await;
            reply_attr((&fs, ino), "getattr", reply, answer, ttl);
        });
    }

    fn setattr(
        &self,
        _req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let set = SetAttr {
            mode,
            uid,
            gid,
            size,
            atime: atime.map(set_time),
            mtime: mtime.map(set_time),
            handle: fh.map(|fh| fh.0),
        };
        let (fs, ttl) = (self.fs.clone(), self.attr_ttl());
        self.runtime.spawn(async move {
            let answer = fs.setattr(ino.0, set).await;
            reply_attr((&fs, ino), "setattr", reply, answer, ttl);
        });
    }

    fn readlink(&self, _req: &Request, ino: INodeNo, reply: ReplyData) {
        match self.fs.readlink(ino.0) {
            Ok(target) => reply.data(&target),
            Err(e) => reply.error(errno("readlink", &e)),
        }
    }

    fn mknod(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _rdev: u32,
        reply: ReplyEntry,
    ) {
        let kind = mode & libc::S_IFMT;
        if kind != libc::S_IFREG && kind != 0 {
            return reply.error(errno("mknod", &FsError::NotPermitted));
        }
        let name = name!(reply, name);
        let (fs, owner, ttl, entry_ttl) = (self.fs.clone(), owner(req), self.attr_ttl(), self.entry_ttl());
        self.runtime.spawn(async move {
            let answer = fs.mknod(parent.0, &name, mode & 0o7777, owner).await;
            reply_entry("mknod", reply, answer, ttl, entry_ttl);
        });
    }

    fn mkdir(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, reply: ReplyEntry) {
        let name = name!(reply, name);
        let (fs, owner, ttl, entry_ttl) = (self.fs.clone(), owner(req), self.attr_ttl(), self.entry_ttl());
        self.runtime.spawn(async move {
            let answer = fs.mkdir(parent.0, &name, mode & 0o7777, owner).await;
            reply_entry("mkdir", reply, answer, ttl, entry_ttl);
        });
    }

    fn unlink(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name!(reply, name);
        let fs = self.fs.clone();
        self.runtime.spawn(async move { reply_empty("unlink", reply, fs.unlink(parent.0, &name).await) });
    }

    fn rmdir(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name!(reply, name);
        let fs = self.fs.clone();
        self.runtime.spawn(async move { reply_empty("rmdir", reply, fs.rmdir(parent.0, &name).await) });
    }

    fn symlink(&self, req: &Request, parent: INodeNo, link_name: &OsStr, target: &Path, reply: ReplyEntry) {
        let name = name!(reply, link_name);
        let target = target.as_os_str().as_bytes().to_vec();
        let (fs, owner, ttl, entry_ttl) = (self.fs.clone(), owner(req), self.attr_ttl(), self.entry_ttl());
        self.runtime.spawn(async move {
            let answer = fs.symlink(parent.0, &name, &target, owner).await;
            reply_entry("symlink", reply, answer, ttl, entry_ttl);
        });
    }

    fn rename(
        &self,
        _req: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let name = name!(reply, name);
        let newname = name!(reply, newname);
        let fs = self.fs.clone();
        self.runtime.spawn(async move {
            let answer = fs.rename(parent.0, &name, newparent.0, &newname, flags.bits()).await;
            reply_empty("rename", reply, answer);
        });
    }

    fn link(&self, _req: &Request, _ino: INodeNo, _newparent: INodeNo, _newname: &OsStr, reply: ReplyEntry) {
        reply.error(errno("link", &FsError::NotPermitted));
    }

    fn open(&self, req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        // Whether it is root is the nearest thing to CAP_FSETID that a request tells.
        if flags.0 & libc::O_TRUNC != 0 && req.uid() != 0 {
            self.fs.drop_privileges(ino.0);
        }
        if let Some(answer) = self.fs.try_open(ino.0, flags.0) {
            return reply_open((&self.fs, ino), reply, answer);
        }
        let fs = self.fs.clone();
        self.runtime.spawn(async move {
            let answer = fs.open(ino.0, flags.0).await;
            reply_open((&fs, ino), reply, answer);
        });
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let name = name!(reply, name);
        let (owner, ttl) = (owner(req), self.attr_ttl());
        if let Some(answer) = self.fs.try_create(parent.0, &name, mode & 0o7777, owner, flags) {
            return reply_create(reply, answer, ttl);
        }
        let fs = self.fs.clone();
        self.runtime.spawn(async move {
            let answer = fs.create(parent.0, &name, mode & 0o7777, owner, flags).await;
            reply_create(reply, answer, ttl);
        });
    }

    fn read(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let before = self.fs.writes_before(fh.0, offset, size as usize);
        let answered = {
            let _inside = self.runtime.enter();
            if before.is_some() { None } else { self.fs.try_read(fh.0, offset, size as usize) }
        };
        match answered {
            Some(Ok(slice)) => return reply.data(&slice),
            Some(Err(e)) => return reply.error(errno_of(&self.fs, ino, "read", &e)),
            None => {}
        }
        let fs = self.fs.clone();
        self.runtime.spawn(async move {
            if let Some(before) = before {
                before.wait().await;
            }
            match fs.read(fh.0, offset, size as usize).await {
                Ok(slice) => reply.data(&slice),
                Err(e) => reply.error(errno_of(&fs, ino, "read", &e)),
            }
        });
    }

    fn write(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        // Sent with writes that go around the page cache; with the others the kernel sets the mode by itself.
        if write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID) {
            self.fs.drop_privileges(ino.0);
        }
        // The kernel sends no fsync after the writes of a handle that goes around its page cache.
        let sync = self.sync || flags.0 & libc::O_DSYNC != 0;
        let answered = {
            let _inside = self.runtime.enter();
            self.fs.try_write(fh.0, offset, data)
        };
        match answered {
            Some(Ok(n)) if !sync => return reply.written(n),
            Some(Err(e)) => return reply.error(errno_of(&self.fs, ino, "write", &e)),
            _ => {}
        }
        let (fs, data) =
            (self.fs.clone(), Bytes::copy_from_slice(if answered.is_some() { &[] } else { data }));
        let received = if answered.is_none() { fs.write_received(fh.0, offset, data.len()) } else { None };
        self.runtime.spawn(async move {
            let written = match answered {
                Some(written) => written,
                None => fs.write(fh.0, offset, data).await,
            };
            drop(received);
            let stored = match written {
                Ok(n) if sync => fs.fsync(fh.0).await.map(|()| n),
                other => other,
            };
            match stored {
                Ok(n) => reply.written(n),
                Err(e) => reply.error(errno_of(&fs, ino, "write", &e)),
            }
        });
    }

    fn flush(&self, _req: &Request, ino: INodeNo, fh: FileHandle, _lock_owner: LockOwner, reply: ReplyEmpty) {
        if let Some(answer) = self.fs.try_flush(fh.0) {
            return reply_done((&self.fs, ino), "flush", reply, answer);
        }
        let fs = self.fs.clone();
        self.runtime.spawn(async move {
            let answer = fs.flush(fh.0).await;
            reply_done((&fs, ino), "flush", reply, answer);
        });
    }

    fn release(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        let answered = {
            let _inside = self.runtime.enter();
            self.fs.try_release(fh.0)
        };
        if answered {
            return reply.ok();
        }
        let fs = self.fs.clone();
        self.runtime.spawn(async move {
            fs.release(fh.0).await;
            reply.ok();
        });
    }

    fn fsync(&self, _req: &Request, ino: INodeNo, fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let fs = self.fs.clone();
        self.runtime.spawn(async move {
            let answer = fs.fsync(fh.0).await;
            reply_done((&fs, ino), "fsync", reply, answer);
        });
    }

    fn opendir(&self, _req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match self.fs.opendir(ino.0) {
            Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::empty()),
            Err(e) => reply.error(errno("opendir", &e)),
        }
    }

    fn readdir(&self, _req: &Request, ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let fs = self.fs.clone();
        self.runtime.spawn(async move {
            let answer = fs
                .readdir(ino.0, fh.0, offset, false, |entry, next| {
                    reply.add(INodeNo(entry.ino), next, file_type(entry.kind), entry.name)
                })
                .await;
            match answer {
                Ok(()) => reply.ok(),
                Err(e) => reply.error(errno("readdir", &e)),
            }
        });
    }

    fn readdirplus(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let (fs, ttl) = (self.fs.clone(), self.attr_ttl().min(self.entry_ttl()));
        let known =
            fs.try_readdir(ino.0, fh.0, offset, true, |entry, next| add_plus(&mut reply, &ttl, entry, next));
        if let Some(answer) = known {
            return reply_listing(reply, answer);
        }
        self.runtime.spawn(async move {
            let add = |entry: &DirEntry<'_>, next| add_plus(&mut reply, &ttl, entry, next);
            let answer = fs.readdir(ino.0, fh.0, offset, true, add).await;
            reply_listing(reply, answer);
        });
    }

    fn releasedir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.fs.releasedir(fh.0);
        reply.ok();
    }

    fn fsyncdir(&self, _req: &Request, ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let fs = self.fs.clone();
        self.runtime.spawn(async move { reply_empty("fsyncdir", reply, fs.fsyncdir(ino.0).await) });
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        let fs = self.fs.clone();
        self.runtime.spawn(async move {
            match fs.statfs().await {
                Ok(st) => {
                    let free = st.free_bytes / STATFS_BLOCK_BYTES;
                    let used = st.used_bytes.div_ceil(STATFS_BLOCK_BYTES);
                    let block = STATFS_BLOCK_BYTES as u32;
                    let free_files = u64::from(u32::MAX);
                    let name_max = fs::NAME_BYTES_MAX as u32;
                    reply.statfs(
                        used + free,
                        free,
                        free,
                        st.files + free_files,
                        free_files,
                        block,
                        name_max,
                        block,
                    );
                }
                Err(e) => reply.error(errno("statfs", &e)),
            }
        });
    }

    fn setxattr(
        &self,
        _req: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let (create, replace) = (flags & libc::XATTR_CREATE != 0, flags & libc::XATTR_REPLACE != 0);
        let (fs, name, value) = (self.fs.clone(), name.to_owned(), value.to_owned());
        self.runtime.spawn(async move {
            let done = fs.setxattr(ino.0, name.as_bytes(), &value, create, replace).await;
            reply_empty("setxattr", reply, done);
        });
    }

    fn getxattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        reply_xattr(reply, self.fs.getxattr(ino.0, name.as_bytes()), size);
    }

    fn listxattr(&self, req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        reply_xattr(reply, self.fs.listxattr(ino.0, req.uid() == 0), size);
    }

    fn removexattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (fs, name) = (self.fs.clone(), name.to_owned());
        self.runtime.spawn(async move {
            let done = fs.removexattr(ino.0, name.as_bytes()).await;
            reply_empty("removexattr", reply, done);
        });
    }

    fn access(&self, _req: &Request, _ino: INodeNo, _mask: AccessFlags, reply: ReplyEmpty) {
        // The kernel checks (default_permissions) and stops asking after this.
        reply.error(Errno::ENOSYS);
    }

    fn fallocate(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let fs = self.fs.clone();
        self.runtime.spawn(async move {
            reply_empty("fallocate", reply, fs.fallocate(fh.0, offset, length, mode).await);
        });
    }

    fn lseek(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _offset: i64,
        _whence: i32,
        reply: ReplyLseek,
    ) {
        // There are no holes: the kernel's own answer is right.
        reply.error(Errno::ENOSYS);
    }

    fn copy_file_range(
        &self,
        _req: &Request,
        _ino_in: INodeNo,
        fh_in: FileHandle,
        offset_in: u64,
        ino_out: INodeNo,
        fh_out: FileHandle,
        offset_out: u64,
        len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let fs = self.fs.clone();
        self.runtime.spawn(async move {
            match fs.copy_range(fh_in.0, offset_in, fh_out.0, offset_out, len).await {
                Ok(n) => reply.written(n),
                Err(e) => reply.error(errno_of(&fs, ino_out, "copy_file_range", &e)),
            }
        });
    }
}
