//! Attributes: stat, setattr, extended attributes, statfs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::{FsError, Result};
use super::node::{DirNode, FileNode, LinkNode, Meta};
use super::tree::{Body, ROOT};
use super::{UserfileFs, control};
use crate::chunk::{Attrs, PathKind, PathRow};
use crate::util::clock::Micros;

/// Kind of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Regular file.
    File,
    /// Directory.
    Dir,
    /// Symbolic link.
    Link,
}

/// What stat(2) shows.
#[derive(Debug, Clone)]
pub struct Stat {
    /// Inode number.
    pub ino: u64,
    /// Kind.
    pub kind: Kind,
    /// Bytes.
    pub size: u64,
    /// Permission bits (07777).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of contents.
    pub mtime: Micros,
    /// Last change of anything.
    pub ctime: Micros,
    /// Last access.
    pub atime: Micros,
    /// Links: 1, and 0 once the last name is gone.
    pub nlink: u32,
}

/// A time to set.
#[derive(Debug, Clone, Copy)]
pub enum TimeSet {
    /// The current time.
    Now,
    /// This time.
    At(Micros),
}

/// What setattr(2)-like calls change; None stays.
#[derive(Debug, Clone, Default)]
pub struct SetAttr {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Bytes.
    pub size: Option<u64>,
    /// Last access.
    pub atime: Option<TimeSet>,
    /// Last change of contents.
    pub mtime: Option<TimeSet>,
    /// Open handle the call came through.
    pub handle: Option<u64>,
}

/// What statfs(2) shows.
#[derive(Debug, Clone, Copy)]
pub struct StatFs {
    /// Files.
    pub files: u64,
    /// Bytes in files.
    pub used_bytes: u64,
    /// Bytes free (an option: the servers do not tell).
    pub free_bytes: u64,
}

/// The last answer to "how much is stored".
pub(super) struct CachedUsage {
    files: u64,
    bytes: u64,
    at: Instant,
    cost: Duration,
}

/// The first instant that a column of type TIMESTAMP holds, in the year 4714 before Christ.
const OLDEST: Micros = Micros(-210_866_803_200_000_000);
/// Largest extended attribute value, in bytes (as Linux).
const XATTR_BYTES_MAX: usize = 64 << 10;
/// Extended attributes of one file, names and values together, in bytes.
const XATTRS_BYTES_MAX: usize = 256 << 10;
/// How long new usage figures are waited for when there are old ones.
const USAGE_WAIT: Duration = Duration::from_secs(1);
/// How long usage figures are shown before they are asked again.
const USAGE_FRESH: Duration = Duration::from_secs(2);

impl UserfileFs {
    /// stat of a node.
    pub(super) fn stat_body(&self, ino: u64, body: &Body) -> Stat {
        match body {
            Body::File(file) => self.stat_file(file),
            Body::Dir(dir) => self.stat_dir(dir),
            Body::Link(link) => {
                let st = link.st.lock();
                Stat {
                    ino,
                    kind: Kind::Link,
                    size: st.meta.target.len() as u64,
                    mode: 0o777,
                    uid: st.meta.attrs.uid.unwrap_or(self.cfg.uid),
                    gid: st.meta.attrs.gid.unwrap_or(self.cfg.gid),
                    mtime: st.meta.mtime,
                    ctime: st.ctime,
                    atime: st.atime.unwrap_or(st.meta.mtime),
                    nlink: 1,
                }
            }
            Body::Control(control) => self.stat_control(*control),
        }
    }

    pub(super) fn stat_file(&self, file: &FileNode) -> Stat {
        let st = file.st.lock();
        Stat {
            ino: file.ino,
            kind: Kind::File,
            size: st.size,
            mode: st.attrs.mode.unwrap_or(self.cfg.file_mode),
            uid: st.attrs.uid.unwrap_or(self.cfg.uid),
            gid: st.attrs.gid.unwrap_or(self.cfg.gid),
            mtime: st.mtime,
            ctime: st.ctime.max(st.mtime),
            atime: st.atime.unwrap_or(st.mtime),
            nlink: u32::from(!st.unlinked),
        }
    }

    pub(super) fn stat_dir(&self, dir: &DirNode) -> Stat {
        let st = dir.st.lock();
        Stat {
            ino: dir.ino,
            kind: Kind::Dir,
            size: 4096,
            mode: st.attrs.mode.unwrap_or(self.cfg.dir_mode),
            uid: st.attrs.uid.unwrap_or(self.cfg.uid),
            gid: st.attrs.gid.unwrap_or(self.cfg.gid),
            mtime: st.mtime,
            ctime: st.ctime,
            atime: st.atime.unwrap_or(st.mtime),
            nlink: u32::from(!st.unlinked),
        }
    }

    /// stat of an inode, asked of the tables when what is known is older than the timeout.
    pub async fn getattr(&self, ino: u64) -> Result<Stat> {
        if let Some(answer) = self.try_getattr(ino) {
            return answer;
        }
        self.refresh(ino).await?;
        let body = self.body(ino)?;
        Ok(self.stat_body(ino, &body))
    }

    /// As [`Self::getattr`] where memory knows the answer.
    pub fn try_getattr(&self, ino: u64) -> Option<Result<Stat>> {
        let body = match self.body(ino) {
            Ok(body) => body,
            Err(e) => return Some(Err(e)),
        };
        let known = match &body {
            Body::File(file) => {
                let st = file.st.lock();
                st.is_local() || st.unlinked || st.fetched.elapsed() < self.cfg.attr_timeout
            }
            // A directory changes by names coming and going, and that is seen when it is listed.
            Body::Dir(dir) => {
                let st = dir.st.lock();
                st.attr_dirty || st.unlinked || ino == ROOT || st.fetched.elapsed() < self.cfg.attr_timeout
            }
            Body::Link(_) | Body::Control(_) => true,
        };
        known.then(|| Ok(self.stat_body(ino, &body)))
    }

    /// Asks the tables about a node's name again.
    pub(super) async fn refresh(&self, ino: u64) -> Result<()> {
        let (parent, name) = {
            let tree = self.tree.lock();
            match tree.get(ino).filter(|n| n.attached) {
                Some(node) => (node.parent, node.name.clone()),
                None => return Ok(()),
            }
        };
        let answer = self.resolve(parent, &name).await?;
        let mut tree = self.tree.lock();
        // Renamed meanwhile: the answer is about something else.
        if tree.child(parent, &name) == Some(ino) {
            self.settle(&mut tree, parent, &name, answer.meta.as_ref(), answer.asked);
        }
        Ok(())
    }

    /// Changes attributes. Contents are cut or grown at once; the rest is stored with the next
    /// store of the file, or within a fraction of a second.
    pub async fn setattr(self: &Arc<Self>, ino: u64, set: SetAttr) -> Result<Stat> {
        self.check_writable()?;
        let body = self.body(ino)?;
        match &body {
            Body::File(file) => {
                if let Some(size) = set.size {
                    self.truncate(file, size).await?;
                }
                self.set_file(file, &set);
                // Nobody will close it: this call is the promise.
                let alone = set.size.is_some() && set.handle.is_none() && file.st.lock().writers == 0;
                if alone {
                    self.store(file).await?;
                }
            }
            Body::Dir(dir) => {
                if set.size.is_some() {
                    return Err(FsError::IsDir);
                }
                self.set_dir(dir, &set);
            }
            Body::Link(link) => {
                {
                    let mut st = link.st.lock();
                    apply_owner(&mut st.meta.attrs, &set);
                    if let Some(time) = set.mtime {
                        st.meta.mtime = self.time(time);
                    }
                    if let Some(time) = set.atime {
                        st.atime = Some(self.time(time));
                    }
                    st.ctime = self.now();
                    st.fetched = Instant::now();
                }
                self.store_link(ino, link).await?;
            }
            Body::Control(_) => return Err(FsError::NotPermitted),
        }
        Ok(self.stat_body(ino, &body))
    }

    /// Stores what is known of a symbolic link.
    async fn store_link(&self, ino: u64, link: &LinkNode) -> Result<()> {
        let _quiet = self.moves.read().await;
        let meta = link.st.lock().meta.clone();
        if self.table.attrs_available() {
            let row = PathRow {
                path: self.stored_path(ino)?.into_bytes(),
                kind: PathKind::Symlink { target: meta.target.clone() },
                attrs: meta.attrs.clone(),
                mtime: meta.mtime,
            };
            self.table.put_path(&row, false).await?;
            link.st.lock().fetched = Instant::now();
        }
        if let Some((parent, name)) = self.place(ino) {
            self.note(parent, &name, Some(Meta::Link(meta)));
        }
        Ok(())
    }

    fn time(&self, time: TimeSet) -> Micros {
        match time {
            TimeSet::Now => self.now(),
            TimeSet::At(at) => at.max(OLDEST),
        }
    }

    /// What a write by somebody without privileges does to the mode: the set-user-ID bit goes, and the set-group-ID bit
    /// of a file that its group may execute.
    pub fn drop_privileges(&self, ino: u64) {
        let Ok(file) = self.file(ino) else { return };
        let mut st = file.st.lock();
        let mode = st.attrs.mode.unwrap_or(self.cfg.file_mode);
        let group = if mode & libc::S_IXGRP != 0 { libc::S_ISGID } else { 0 };
        let kept = mode & !(libc::S_ISUID | group);
        if kept != mode {
            st.attrs.mode = Some(kept);
            st.ctime = self.now();
            st.version += 1;
            st.attr_dirty |= !st.unlinked;
            st.pinned |= !self.table.attrs_available();
            st.changed = Instant::now();
            drop(st);
            self.note_file(&file);
            self.look_after(&file);
        }
    }

    fn set_file(&self, file: &Arc<FileNode>, set: &SetAttr) {
        let now = self.now();
        {
            let mut st = file.st.lock();
            apply_owner(&mut st.attrs, set);
            if let Some(time) = set.mtime {
                st.mtime = self.time(time);
            }
            if let Some(time) = set.atime {
                st.atime = Some(self.time(time));
            }
            st.ctime = now;
            st.version += 1;
            if set.mode.is_some() || set.uid.is_some() || set.gid.is_some() || set.mtime.is_some() {
                if st.unlinked {
                    return;
                }
                st.attr_dirty = true;
                st.pinned |= !self.table.attrs_available();
                st.changed = Instant::now();
            }
        }
        self.note_file(file);
        self.look_after(file);
    }

    fn set_dir(&self, dir: &Arc<DirNode>, set: &SetAttr) {
        let now = self.now();
        {
            let mut st = dir.st.lock();
            apply_owner(&mut st.attrs, set);
            if let Some(time) = set.mtime {
                st.mtime = self.time(time);
            }
            if let Some(time) = set.atime {
                st.atime = Some(self.time(time));
            }
            st.ctime = now;
            st.version += 1;
            if st.unlinked || (set.mode.or(set.uid).or(set.gid).is_none() && set.mtime.is_none()) {
                return;
            }
            st.attr_dirty = true;
        }
        self.look_after_dir(dir);
    }

    /// The target of a symbolic link.
    pub fn readlink(&self, ino: u64) -> Result<Vec<u8>> {
        match self.body(ino)? {
            Body::Link(link) => Ok(link.st.lock().meta.target.clone()),
            _ => Err(FsError::Invalid),
        }
    }

    fn with_xattrs<T>(&self, ino: u64, f: impl FnOnce(&mut Attrs) -> Result<(T, bool)>) -> Result<T> {
        if !self.cfg.user_xattr {
            return Err(FsError::NotImplemented);
        }
        match self.body(ino)? {
            Body::File(file) => {
                let mut st = file.st.lock();
                let (out, changed) = f(&mut st.attrs)?;
                if changed {
                    st.ctime = self.now();
                    st.version += 1;
                    st.attr_dirty = !st.unlinked;
                    drop(st);
                    self.note_file(&file);
                    self.look_after(&file);
                }
                Ok(out)
            }
            Body::Dir(dir) => {
                let mut st = dir.st.lock();
                let (out, changed) = f(&mut st.attrs)?;
                if changed {
                    st.ctime = self.now();
                    st.version += 1;
                    st.attr_dirty = !st.unlinked;
                    drop(st);
                    self.look_after_dir(&dir);
                }
                Ok(out)
            }
            Body::Link(link) => {
                let mut st = link.st.lock();
                let (out, changed) = f(&mut st.meta.attrs)?;
                if changed {
                    st.ctime = self.now();
                    st.fetched = Instant::now();
                }
                Ok(out)
            }
            Body::Control(_) => Err(FsError::NotSupported),
        }
    }

    /// After a change of extended attributes: those of files and directories are stored with their other attributes,
    /// those of a link at once.
    async fn xattrs_changed(&self, ino: u64) -> Result<()> {
        match self.body(ino)? {
            Body::Link(link) => self.store_link(ino, &link).await,
            _ => Ok(()),
        }
    }

    /// Sets an extended attribute. `create`: it must be new; `replace`: it must exist.
    pub async fn setxattr(
        &self,
        ino: u64,
        name: &[u8],
        value: &[u8],
        create: bool,
        replace: bool,
    ) -> Result<()> {
        self.check_writable()?;
        self.with_xattrs(ino, |attrs| {
            check_xattr_name(name)?;
            let exists = attrs.xattrs.contains_key(name);
            if create && exists {
                return Err(FsError::Exists);
            }
            if replace && !exists {
                return Err(FsError::NoAttribute);
            }
            let others: usize = attrs
                .xattrs
                .iter()
                .filter(|(k, _)| k.as_slice() != name)
                .map(|(k, v)| k.len() + v.len())
                .sum();
            if value.len() > XATTR_BYTES_MAX || others + name.len() + value.len() > XATTRS_BYTES_MAX {
                return Err(FsError::AttributeTooBig);
            }
            attrs.xattrs.insert(name.to_vec(), value.to_vec());
            Ok(((), true))
        })?;
        self.xattrs_changed(ino).await
    }

    /// An extended attribute's value.
    pub fn getxattr(&self, ino: u64, name: &[u8]) -> Result<Vec<u8>> {
        self.with_xattrs(ino, |attrs| {
            check_xattr_name(name)?;
            Ok((attrs.xattrs.get(name).cloned().ok_or(FsError::NoAttribute)?, false))
        })
    }

    /// The names of the extended attributes, each followed by a zero byte. Only the superuser sees the superuser's.
    pub fn listxattr(&self, ino: u64, superuser: bool) -> Result<Vec<u8>> {
        self.with_xattrs(ino, |attrs| {
            let seen = attrs.xattrs.keys().filter(|k| superuser || !k.starts_with(TRUSTED));
            Ok((seen.flat_map(|k| k.iter().copied().chain([0])).collect(), false))
        })
    }

    /// Removes an extended attribute.
    pub async fn removexattr(&self, ino: u64, name: &[u8]) -> Result<()> {
        self.check_writable()?;
        self.with_xattrs(ino, |attrs| {
            check_xattr_name(name)?;
            attrs.xattrs.remove(name).map(|_| ((), true)).ok_or(FsError::NoAttribute)
        })?;
        self.xattrs_changed(ino).await
    }

    /// How much is stored.
    pub async fn statfs(&self) -> Result<StatFs> {
        let known = self.usage.lock().as_ref().map(|c| (c.files, c.bytes, c.at.elapsed(), c.cost));
        let (files, bytes) = match known {
            Some((files, bytes, age, cost)) if age < USAGE_FRESH.max(cost * 20) => (files, bytes),
            // A server that is slow or away does not keep df waiting.
            Some((files, bytes, ..)) => match tokio::time::timeout(USAGE_WAIT, self.ask_usage()).await {
                Ok(Ok(usage)) => usage,
                Ok(Err(_)) | Err(_) => (files, bytes),
            },
            None => self.ask_usage().await?,
        };
        Ok(StatFs { files, used_bytes: bytes, free_bytes: self.free_bytes() })
    }

    /// Room for more, as far as it is known, in bytes.
    pub(super) fn free_bytes(&self) -> u64 {
        self.table.disk_left().unwrap_or(self.cfg.free_bytes)
    }

    async fn ask_usage(&self) -> Result<(u64, u64)> {
        let start = Instant::now();
        let usage = self.table.usage().await?;
        let (files, bytes) = (usage.files, usage.bytes);
        *self.usage.lock() = Some(CachedUsage { files, bytes, at: Instant::now(), cost: start.elapsed() });
        Ok((files, bytes))
    }
}

/// What extended attributes begin with that are the superuser's.
const TRUSTED: &[u8] = b"trusted.";

/// Attributes of users and of the superuser are stored. Others are not, access control lists among them (whose absence
/// must be an error, or programs take them for supported).
fn check_xattr_name(name: &[u8]) -> Result<()> {
    match name.strip_prefix(b"user.").or(name.strip_prefix(TRUSTED)) {
        Some(b"") => Err(FsError::Invalid),
        Some(_) => Ok(()),
        None => Err(FsError::NotSupported),
    }
}

fn apply_owner(attrs: &mut Attrs, set: &SetAttr) {
    if let Some(mode) = set.mode {
        attrs.mode = Some(mode & 0o7777);
    }
    if let Some(uid) = set.uid {
        attrs.uid = Some(uid);
    }
    if let Some(gid) = set.gid {
        attrs.gid = Some(gid);
    }
}

impl UserfileFs {
    /// Attributes as they are stored: what equals the mount's default is left out.
    pub(super) fn stored_attrs(&self, attrs: &Attrs, default_mode: u32) -> Attrs {
        Attrs {
            mode: attrs.mode.filter(|m| *m != default_mode),
            uid: attrs.uid.filter(|u| *u != self.cfg.uid),
            gid: attrs.gid.filter(|g| *g != self.cfg.gid),
            xattrs: attrs.xattrs.clone(),
        }
    }

    /// stat of the control directory's parts.
    pub(super) fn stat_control(&self, control: control::Control) -> Stat {
        let size = self.control_text(control).map_or(0, |t| t.len() as u64);
        Stat {
            ino: control.ino(),
            kind: if control.is_dir() { Kind::Dir } else { Kind::File },
            size,
            mode: if control.is_dir() { 0o555 } else { 0o444 },
            uid: self.cfg.uid,
            gid: self.cfg.gid,
            mtime: self.mounted_at,
            ctime: self.mounted_at,
            atime: self.mounted_at,
            nlink: 1,
        }
    }
}
