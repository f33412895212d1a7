//! Names: create, mkdir, symlink, unlink, rmdir, rename.
//!
//! The kernel serialises changes of one directory, and renames across directories. What runs beside
//! them are stores; those exclude a file's own changes by its `io` lock, and moves of whole subtrees
//! by `moves`.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::error::{FsError, Result};
use super::node::{DirMeta, DirNode, FileNode, LinkMeta, LinkNode, Listing, Meta};
use super::open::Opened;
use super::stats::add;
use super::tree::{Body, ROOT, Tree};
use super::{Stat, UserfileFs, control, names};
use crate::chunk::{self, Attrs, Old, PathKind, PathRow, Rename, Replace};

/// Who asks, for the owner of what is made.
#[derive(Debug, Clone, Copy)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

const RENAME_NOREPLACE: u32 = 1;
const RENAME_EXCHANGE: u32 = 2;
const LINK_TARGET_BYTES_MAX: usize = 4095;
const S_ISGID: u32 = 0o2000;

/// A replaced file that was sought within this time keeps its row: who is about to open it gets it.
const SOUGHT_LATELY: Duration = Duration::from_secs(10);
/// How long such a row is kept.
const LOOKED_UP_BEFORE: Duration = Duration::from_secs(1);

/// Whatever another client has put there since the name was looked up.
const GIVES_WAY: Replace = Replace::Displace(Old::Delete { size_hint: u64::MAX });

/// How a file loses its name.
#[derive(Clone, Copy, PartialEq)]
enum How {
    /// Nothing has the name afterwards: who looks again finds none.
    Removed,
    /// Another file has it: whoever opens the name finds one of the two.
    Replaced,
}

/// A file whose name is being taken away. Nobody opens it meanwhile unless its row is kept, and what the tables say of
/// the name, which is about what comes after it already, counts for nothing.
struct Leaving<'a> {
    file: &'a FileNode,
    how: How,
    /// What becomes of its row.
    old: Old,
    /// It has a row.
    stored: bool,
}

impl<'a> Leaving<'a> {
    /// To be called with the file's `io` lock held, which is what an opener waits for.
    fn now(file: &'a FileNode, how: How) -> Self {
        let mut st = file.st.lock();
        let sought = st.sought.is_some_and(|at| at.elapsed() < SOUGHT_LATELY);
        let keep = st.opens > 0 || (how == How::Replaced && sought);
        st.leaving = !keep;
        st.moving = true;
        let old = match st.base {
            Some(base) if keep => Old::Keep(base.id),
            base => Old::Delete { size_hint: base.map_or(0, |b| b.size) },
        };
        Leaving { file, how, old, stored: st.base.is_some() }
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let mut st = self.file.st.lock();
        st.leaving = false;
        st.moving = false;
    }
}

/// Marks a file whose name this mount changes, until it has the new one.
struct Moving<'a>(&'a FileNode);

impl<'a> Moving<'a> {
    fn new(file: &'a FileNode) -> Self {
        file.st.lock().moving = true;
        Moving(file)
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        self.0.st.lock().moving = false;
    }
}

impl UserfileFs {
    fn parent_for_new(&self, parent: u64, name: &str) -> Result<Arc<DirNode>> {
        self.check_writable()?;
        let dir = self.dir(parent)?;
        if parent == ROOT && name == names::CONTROL_NAME {
            return Err(FsError::NotPermitted);
        }
        if dir.st.lock().unlinked {
            return Err(FsError::NotFound);
        }
        self.child_path(parent, name)?;
        Ok(dir)
    }

    /// Mode and owner of something new, with the set-group-id rule of directories.
    fn new_attrs(&self, dir: &DirNode, mode: u32, owner: Owner, is_dir: bool) -> Attrs {
        let st = dir.st.lock();
        let inherits = st.attrs.mode.is_some_and(|m| m & S_ISGID != 0);
        let gid = if inherits { st.attrs.gid.unwrap_or(self.cfg.gid) } else { owner.gid };
        let mode = mode & 0o7777 | if inherits && is_dir { S_ISGID } else { 0 };
        Attrs { mode: Some(mode), uid: Some(owner.uid), gid: Some(gid), ..Attrs::default() }
    }

    /// What a name is at this moment: a node, made if the tables know the name.
    async fn existing(&self, parent: u64, name: &str) -> Result<Option<(u64, Body)>> {
        let known = {
            let tree = self.tree.lock();
            tree.child(parent, name).and_then(|ino| Some((ino, tree.get(ino)?.body.clone())))
        };
        if known.is_some() {
            return Ok(known);
        }
        let answer = self.resolve(parent, name).await?;
        Ok(self.settle(&mut self.tree.lock(), parent, name, answer.meta.as_ref(), answer.asked))
    }

    /// Creates (or, without O_EXCL, opens) a file. The new file is stored when it is flushed.
    pub async fn create(
        self: &Arc<Self>,
        parent: u64,
        name: &str,
        mode: u32,
        owner: Owner,
        flags: i32,
    ) -> Result<(Stat, Opened)> {
        if let Some(answer) = self.try_create(parent, name, mode, owner, flags) {
            return answer;
        }
        let Some(stat) = self.lookup(parent, name).await? else {
            return self.create_new(parent, name, mode, owner, flags);
        };
        if flags & libc::O_EXCL != 0 {
            self.forget(stat.ino, 1);
            return Err(FsError::Exists);
        }
        match self.open(stat.ino, flags).await {
            Ok(opened) => Ok((stat, opened)),
            Err(e) => {
                self.forget(stat.ino, 1);
                Err(e)
            }
        }
    }

    /// As [`Self::create`] for a name that is not known to exist. (The kernel has just looked it
    /// up; should another client have taken it since, the store finds out.)
    pub fn try_create(
        self: &Arc<Self>,
        parent: u64,
        name: &str,
        mode: u32,
        owner: Owner,
        flags: i32,
    ) -> Option<Result<(Stat, Opened)>> {
        let known = self.is_known(parent, name);
        (!known).then(|| self.create_new(parent, name, mode, owner, flags))
    }

    /// Whether the name exists as far as memory knows. The kernel has looked it up just before.
    fn is_known(&self, parent: u64, name: &str) -> bool {
        let listed = self.dir(parent).is_ok_and(|dir| {
            let st = dir.st.lock();
            st.listing.as_ref().is_some_and(|l| l.entries.contains_key(name))
        });
        listed || self.tree.lock().child(parent, name).is_some()
    }

    fn create_new(
        self: &Arc<Self>,
        parent: u64,
        name: &str,
        mode: u32,
        owner: Owner,
        flags: i32,
    ) -> Result<(Stat, Opened)> {
        let dir = self.parent_for_new(parent, name)?;
        let attrs = self.new_attrs(&dir, mode, owner, false);
        let file = self.add_file(parent, name, attrs);
        self.tree.lock().reference(file.ino);
        self.touch_dir(parent);
        self.open_created(&file, flags)
    }

    fn add_file(self: &Arc<Self>, parent: u64, name: &str, attrs: Attrs) -> Arc<FileNode> {
        let (now, chunk_len) = (self.now(), self.table.chunk_len());
        let mut made = None;
        self.tree.lock().add(parent, name, |ino| {
            let file = Arc::new(FileNode::created(ino, now, attrs, chunk_len));
            made = Some(file.clone());
            Body::File(file)
        });
        let Some(file) = made else { unreachable!("the tree made the node") };
        self.look_after(&file);
        file
    }

    /// mknod(2) of a regular file: created and stored.
    pub async fn mknod(self: &Arc<Self>, parent: u64, name: &str, mode: u32, owner: Owner) -> Result<Stat> {
        let dir = self.parent_for_new(parent, name)?;
        if self.is_known(parent, name) && self.existing(parent, name).await?.is_some() {
            return Err(FsError::Exists);
        }
        let attrs = self.new_attrs(&dir, mode, owner, false);
        let file = self.add_file(parent, name, attrs);
        self.tree.lock().reference(file.ino);
        self.touch_dir(parent);
        self.store(&file).await?;
        Ok(self.stat_file(&file))
    }

    /// Makes a directory; it is in the companion table when this returns.
    pub async fn mkdir(&self, parent: u64, name: &str, mode: u32, owner: Owner) -> Result<Stat> {
        let dir = self.parent_for_new(parent, name)?;
        if self.is_known(parent, name) && self.existing(parent, name).await?.is_some() {
            return Err(FsError::Exists);
        }
        let attrs = self.new_attrs(&dir, mode, owner, true);
        let now = self.now();
        let _quiet = self.moves.read().await;
        let path = self.child_path(parent, name)?;
        let stored = self.stored_attrs(&attrs, self.cfg.dir_mode);
        let row = PathRow { path: path.into_bytes(), kind: PathKind::Dir, attrs: stored, mtime: now };
        let written_down = match self.table.put_path(&row, true).await {
            Ok(()) => true,
            // Lives until something is put in, or until unmount.
            Err(chunk::Error::NoAttrs(_)) => false,
            Err(e) => return Err(e.into()),
        };
        let meta = DirMeta { row: Some((attrs, now)) };
        self.note(parent, name, Some(Meta::Dir(meta.clone())));
        let (_, body) = self.node_for(parent, name, &Meta::Dir(meta));
        let Body::Dir(made) = &body else { return Err(FsError::NotDir) };
        {
            let mut st = made.st.lock();
            st.written_down = written_down;
            if !written_down {
                st.stored = None;
            }
            st.pinned = !written_down;
            // Known to be empty: nothing has to be asked while it is filled.
            let listing = Listing::new(Default::default(), Instant::now());
            st.listing = Some(Listing { cost: Duration::from_millis(1), ..listing });
        }
        self.tree.lock().reference(made.ino);
        self.touch_dir(parent);
        Ok(self.stat_dir(made))
    }

    /// Makes a symbolic link; it is in the companion table when this returns.
    pub async fn symlink(&self, parent: u64, name: &str, target: &[u8], owner: Owner) -> Result<Stat> {
        let dir = self.parent_for_new(parent, name)?;
        if target.len() > LINK_TARGET_BYTES_MAX {
            return Err(FsError::NameTooLong);
        }
        if self.is_known(parent, name) && self.existing(parent, name).await?.is_some() {
            return Err(FsError::Exists);
        }
        let mut attrs = self.new_attrs(&dir, 0o777, owner, false);
        attrs.mode = None;
        let now = self.now();
        let _quiet = self.moves.read().await;
        let path = self.child_path(parent, name)?;
        let row = PathRow {
            path: path.into_bytes(),
            kind: PathKind::Symlink { target: target.to_vec() },
            attrs: self.stored_attrs(&attrs, 0o777),
            mtime: now,
        };
        match self.table.put_path(&row, true).await {
            Ok(()) => {}
            Err(chunk::Error::NoAttrs(_)) => return Err(FsError::NotPermitted),
            Err(e) => return Err(e.into()),
        }
        let meta = Meta::Link(LinkMeta { target: target.to_vec(), attrs, mtime: now });
        self.note(parent, name, Some(meta.clone()));
        let (ino, body) = self.node_for(parent, name, &meta);
        self.tree.lock().reference(ino);
        self.touch_dir(parent);
        Ok(self.stat_body(ino, &body))
    }

    /// The directory whose companion row must be added if it becomes empty.
    fn keep_dir(&self, parent: u64) -> Option<String> {
        if parent == ROOT || !self.table.attrs_available() {
            return None;
        }
        let dir = self.dir(parent).ok()?;
        if dir.st.lock().written_down {
            return None;
        }
        self.stored_path(parent).ok()
    }

    /// Removes a file or a symbolic link. An open file stays readable until its last close.
    pub async fn unlink(self: &Arc<Self>, parent: u64, name: &str) -> Result<()> {
        self.check_writable()?;
        if control::is_shadow_dir(parent) {
            let path = names::unflatten(name);
            self.table.remove(&path, Old::Delete { size_hint: u64::MAX }, None).await?;
            self.odd.lock().shadowed.remove(&path);
            self.tree.lock().detach_child(parent, name);
            return Ok(());
        }
        self.dir(parent)?;
        let Some((ino, body)) = self.existing(parent, name).await? else { return Err(FsError::NotFound) };
        match &body {
            Body::Dir(_) => return Err(FsError::IsDir),
            Body::Control(_) => return Err(FsError::NotPermitted),
            Body::Link(_) => {
                let _quiet = self.moves.read().await;
                let path = self.child_path(parent, name)?;
                self.table.remove_path(&path, self.keep_dir(parent).as_deref()).await?;
            }
            Body::File(file) => {
                let _io = file.io.lock().await;
                let _quiet = self.moves.read().await;
                let path = self.child_path(parent, name)?;
                let leaving = Leaving::now(file, How::Removed);
                if leaving.stored {
                    self.table.remove(&path, leaving.old, self.keep_dir(parent).as_deref()).await?;
                }
                self.orphan(&leaving);
            }
        }
        add(&self.stats.removed, 1);
        self.forget_name(parent, name);
        if let Body::File(file) = &body {
            self.drop_unused(file);
        }
        self.tree.lock().evict(ino);
        Ok(())
    }

    /// The file's name is gone; its hidden row, if it has one, goes with the last close.
    fn orphan(&self, leaving: &Leaving<'_>) {
        let now = self.now();
        let mut st = leaving.file.st.lock();
        st.unlinked = true;
        st.hidden = leaving.stored && matches!(leaving.old, Old::Keep(_));
        st.lingers = st.hidden && leaving.how == How::Replaced;
        st.attr_dirty = false;
        st.queued = false;
        st.ctime = now;
        st.version += 1;
        if st.hidden {
            self.hidden_rows.fetch_add(1, Relaxed);
        }
    }

    /// Removes an empty directory.
    pub async fn rmdir(&self, parent: u64, name: &str) -> Result<()> {
        self.check_writable()?;
        self.dir(parent)?;
        let Some((ino, body)) = self.existing(parent, name).await? else { return Err(FsError::NotFound) };
        let Body::Dir(dir) = &body else {
            return Err(if matches!(body, Body::Control(_)) {
                FsError::NotPermitted
            } else {
                FsError::NotDir
            });
        };
        if self.has_local_children(ino) {
            return Err(FsError::NotEmpty);
        }
        let _io = dir.io.lock().await;
        let _quiet = self.moves.read().await;
        let path = self.child_path(parent, name)?;
        match self.table.remove_path(&path, self.keep_dir(parent).as_deref()).await {
            Ok(_) => {}
            Err(chunk::Error::NoAttrs(_)) => {
                if self.table.lookup(&path).await?.has_children {
                    return Err(FsError::NotEmpty);
                }
            }
            Err(e) => return Err(e.into()),
        }
        dir.st.lock().unlinked = true;
        self.forget_name(parent, name);
        self.tree.lock().evict(ino);
        Ok(())
    }

    fn forget_name(&self, parent: u64, name: &str) {
        self.rehang(|tree| tree.detach_child(parent, name), [(parent, name, None)]);
        self.touch_dir(parent);
    }

    /// Changes names in the tree and in the cached listings at once: a look-up sees all of it or nothing.
    fn rehang<T, const N: usize>(
        &self,
        change: impl FnOnce(&mut Tree) -> T,
        notes: [(u64, &str, Option<Meta>); N],
    ) -> T {
        let mut tree = self.tree.lock();
        let out = change(&mut tree);
        for (parent, name, meta) in notes {
            if let Some(Body::Dir(dir)) = tree.get(parent).map(|n| &n.body) {
                dir.st.lock().note(name, meta);
            }
        }
        out
    }

    /// Whether the directory holds something that the tables do not know yet.
    fn has_local_children(&self, ino: u64) -> bool {
        let tree = self.tree.lock();
        tree.children(ino).any(|(_, child)| match tree.get(child).map(|n| &n.body) {
            Some(Body::File(file)) => {
                let st = file.st.lock();
                !st.unlinked && st.base.is_none()
            }
            Some(Body::Dir(dir)) => {
                let st = dir.st.lock();
                !st.unlinked && !st.written_down && !self.table.attrs_available()
            }
            _ => false,
        })
    }

    /// Renames, with renameat2(2)'s flags NOREPLACE and EXCHANGE.
    pub async fn rename(
        self: &Arc<Self>,
        parent: u64,
        name: &str,
        newparent: u64,
        newname: &str,
        flags: u32,
    ) -> Result<()> {
        self.check_writable()?;
        let reserved = |parent: u64, name: &str| parent == ROOT && name == names::CONTROL_NAME;
        if reserved(parent, name) || reserved(newparent, newname) {
            return Err(FsError::NotPermitted);
        }
        if flags & !(RENAME_NOREPLACE | RENAME_EXCHANGE) != 0 {
            return Err(FsError::Invalid);
        }
        self.dir(parent)?;
        if self.dir(newparent)?.st.lock().unlinked {
            return Err(FsError::NotFound);
        }
        let Some((ino, source)) = self.existing(parent, name).await? else { return Err(FsError::NotFound) };
        let target = self.existing(newparent, newname).await?;
        let refuse = flags & RENAME_NOREPLACE != 0;
        if refuse && target.is_some() {
            return Err(FsError::Exists);
        }
        if (parent, name) == (newparent, newname) {
            return Ok(());
        }
        if matches!(source, Body::Dir(_)) && self.tree.lock().is_below(newparent, ino) {
            return Err(FsError::Invalid);
        }
        let (from, to) = ((parent, name), (newparent, newname));
        if flags & RENAME_EXCHANGE != 0 {
            let Some((other, target)) = target else { return Err(FsError::NotFound) };
            if matches!(target, Body::Dir(_)) && self.tree.lock().is_below(parent, other) {
                return Err(FsError::Invalid);
            }
            return self.exchange(from, &source, to, &target).await;
        }
        match (&source, target.as_ref().map(|(_, body)| body)) {
            (Body::Dir(_), Some(Body::Dir(_)) | None) => {
                self.rename_dir(from, to, ino, target.map(|(ino, _)| ino), refuse).await?;
            }
            (Body::Dir(_), Some(_)) => return Err(FsError::NotDir),
            (_, Some(Body::Dir(_))) => return Err(FsError::IsDir),
            (Body::File(file), target) => {
                self.rename_file(from, to, file, target, refuse).await?;
            }
            (Body::Link(link), target) => self.rename_link(from, to, link, target, refuse).await?,
            (Body::Control(_), _) => return Err(FsError::NotPermitted),
        }
        add(&self.stats.renames, 1);
        self.touch_dir(parent);
        self.touch_dir(newparent);
        Ok(())
    }

    async fn rename_file(
        self: &Arc<Self>,
        from: (u64, &str),
        to: (u64, &str),
        file: &Arc<FileNode>,
        target: Option<&Body>,
        refuse: bool,
    ) -> Result<()> {
        let target_file = match target {
            Some(Body::File(target)) => Some(target.clone()),
            _ => None,
        };
        let _io = file.io.lock().await;
        let _target_io = match &target_file {
            Some(target) => Some(target.io.lock().await),
            None => None,
        };
        let stored_target = target_file.as_ref().is_some_and(|t| t.st.lock().base.is_some());
        let unstored = file.st.lock().base.is_none();
        if unstored && (stored_target || matches!(target, Some(Body::Link(_)))) {
            self.store_locked(file).await?;
        }
        let _quiet = self.moves.read().await;
        let (path, newpath) = (self.child_path(from.0, from.1)?, self.child_path(to.0, to.1)?);
        let (base, update, version) = {
            let st = file.st.lock();
            let attrs = self.stored_attrs(&st.attrs, self.cfg.file_mode);
            let update = (st.attr_dirty && !st.dirty).then_some((st.mtime, attrs));
            (st.base, update, st.version)
        };
        let leaving = target_file.as_deref().map(|target| Leaving::now(target, How::Replaced));
        let _moving = Moving::new(file);
        if let Some(base) = base {
            let replace = leaving.as_ref().map_or(Replace::Refuse, |l| Replace::Displace(l.old));
            let updated = update.is_some();
            let mut rename = Rename {
                from: path,
                to: newpath.clone(),
                id: base.id,
                replace,
                update,
                keep_dir: self.keep_dir(from.0),
            };
            let mut result = self.table.rename(&rename).await;
            if matches!(result, Err(chunk::Error::Exists(_))) && !refuse {
                rename.replace = GIVES_WAY;
                result = self.table.rename(&rename).await;
            }
            match result {
                Ok(()) => {}
                Err(chunk::Error::Changed(_)) => return Err(FsError::NotFound),
                Err(e) => return Err(e.into()),
            }
            let mut st = file.st.lock();
            if updated && st.version == version {
                st.attr_dirty = false;
            }
        }
        if let Some(Body::Link(_)) = target {
            self.table.remove_path(&newpath, None).await?;
        }
        if let Some(leaving) = &leaving {
            self.orphan(leaving);
        }
        let meta = {
            let mut st = file.st.lock();
            st.sought = leaving.as_ref().map(|_| Instant::now()).or(st.sought);
            st.ctime = self.now();
            st.fetched = Instant::now();
            st.meta().map(Meta::File)
        };
        self.moved(from, to, meta);
        drop(leaving);
        if let Some(target) = &target_file {
            self.drop_replaced(target.clone());
        }
        Ok(())
    }

    /// Lets go of a replaced file, once those who looked its name up before have opened it.
    fn drop_replaced(self: &Arc<Self>, file: Arc<FileNode>) {
        let lingers = file.st.lock().lingers;
        let fs = Arc::downgrade(self);
        let drop_it = move || {
            let Some(fs) = fs.upgrade() else { return };
            file.st.lock().lingers = false;
            fs.drop_unused(&file);
            fs.tree.lock().evict(file.ino);
        };
        if !lingers {
            return drop_it();
        }
        tokio::spawn(async move {
            tokio::time::sleep(LOOKED_UP_BEFORE).await;
            drop_it();
        });
    }

    /// The tree and the listings follow a rename; `meta` is what the tables have under the new name.
    fn moved(&self, from: (u64, &str), to: (u64, &str), meta: Option<Meta>) {
        let notes = [(from.0, from.1, None), (to.0, to.1, meta)];
        if let Some(ino) = self.rehang(|tree| tree.rename(from, to), notes) {
            self.tree.lock().evict(ino);
        }
    }

    async fn rename_link(
        self: &Arc<Self>,
        from: (u64, &str),
        to: (u64, &str),
        link: &LinkNode,
        target: Option<&Body>,
        refuse: bool,
    ) -> Result<()> {
        let _target_io = match target {
            Some(Body::File(file)) => Some(file.io.lock().await),
            _ => None,
        };
        let _quiet = self.moves.read().await;
        let (path, newpath) = (self.child_path(from.0, from.1)?, self.child_path(to.0, to.1)?);
        let leaving = match target {
            Some(Body::File(file)) => Some(Leaving::now(file, How::Replaced)),
            _ => None,
        };
        let replace = match &leaving {
            _ if refuse => Replace::Refuse,
            Some(leaving) => Replace::Displace(leaving.old),
            None => GIVES_WAY,
        };
        self.table.rename_path(&path, &newpath, replace).await?;
        if let Some(leaving) = &leaving {
            self.orphan(leaving);
        }
        let meta = {
            let mut st = link.st.lock();
            st.ctime = self.now();
            st.fetched = Instant::now();
            st.meta.clone()
        };
        self.moved(from, to, Some(Meta::Link(meta)));
        drop(leaving);
        if let Some(Body::File(file)) = target {
            self.drop_replaced(file.clone());
        }
        Ok(())
    }

    async fn rename_dir(
        &self,
        from: (u64, &str),
        to: (u64, &str),
        ino: u64,
        target: Option<u64>,
        refuse: bool,
    ) -> Result<()> {
        if target.is_some_and(|t| self.has_local_children(t)) {
            return Err(FsError::NotEmpty);
        }
        let _alone = self.moves.write().await;
        self.moved.fetch_add(1, Relaxed);
        let (path, newpath) = (self.child_path(from.0, from.1)?, self.child_path(to.0, to.1)?);
        let replace = if refuse { Replace::Refuse } else { GIVES_WAY };
        match self.table.rename_path(&path, &newpath, replace).await {
            Ok(()) => {}
            // Nothing of it is stored yet.
            Err(chunk::Error::NotFound(_) | chunk::Error::NoAttrs(_))
                if self.tree.lock().get(ino).is_some() => {}
            Err(e) => return Err(e.into()),
        }
        if let Some(target) = target
            && let Ok(Body::Dir(dir)) = self.body(target)
        {
            dir.st.lock().unlinked = true;
        }
        let meta = self.dir(ino).ok().map(|dir| self.moved_dir(&dir));
        self.moved(from, to, meta);
        Ok(())
    }

    /// A directory has a new name; what the listing says of it from now on.
    fn moved_dir(&self, dir: &DirNode) -> Meta {
        let mut st = dir.st.lock();
        st.ctime = self.now();
        st.version += 1;
        st.fetched = Instant::now();
        Meta::Dir(DirMeta { row: st.written_down.then(|| (st.attrs.clone(), st.mtime)) })
    }

    async fn exchange(
        self: &Arc<Self>,
        a: (u64, &str),
        first: &Body,
        b: (u64, &str),
        second: &Body,
    ) -> Result<()> {
        let files: Vec<&Arc<FileNode>> = [first, second]
            .into_iter()
            .filter_map(|b| if let Body::File(f) = b { Some(f) } else { None })
            .collect();
        for file in &files {
            self.store(file).await?;
        }
        let mut held = Vec::new();
        for file in &files {
            held.push(file.io.lock().await);
        }
        let _alone = self.moves.write().await;
        self.moved.fetch_add(1, Relaxed);
        let (path, newpath) = (self.child_path(a.0, a.1)?, self.child_path(b.0, b.1)?);
        self.table.exchange(&path, &newpath).await?;
        let [first, second] = [first, second].map(|body| match body {
            Body::File(file) => {
                let mut st = file.st.lock();
                st.ctime = self.now();
                st.fetched = Instant::now();
                st.meta().map(Meta::File)
            }
            Body::Dir(dir) => Some(self.moved_dir(dir)),
            Body::Link(link) => {
                let mut st = link.st.lock();
                st.ctime = self.now();
                st.fetched = Instant::now();
                Some(Meta::Link(st.meta.clone()))
            }
            Body::Control(_) => None,
        });
        self.rehang(|tree| tree.exchange(a, b), [(b.0, b.1, first), (a.0, a.1, second)]);
        self.touch_dir(a.0);
        self.touch_dir(b.0);
        add(&self.stats.renames, 1);
        Ok(())
    }

    /// The kernel gives `count` references of a node back.
    pub fn forget(&self, ino: u64, count: u64) {
        let mut tree = self.tree.lock();
        if tree.forget(ino, count) {
            tree.evict(ino);
        }
    }

    /// fsync(2) of a directory: its attributes and everything that waits in it are stored.
    pub async fn fsyncdir(self: &Arc<Self>, ino: u64) -> Result<()> {
        let Body::Dir(dir) = self.body(ino)? else { return Ok(()) };
        self.store_dir(&dir).await?;
        let files: Vec<Arc<FileNode>> = {
            let tree = self.tree.lock();
            let children: Vec<u64> = tree.children(ino).map(|(_, c)| c).collect();
            let bodies = children.into_iter().filter_map(|c| tree.get(c).map(|n| n.body.clone()));
            bodies.filter_map(|b| if let Body::File(f) = b { Some(f) } else { None }).collect()
        };
        for file in files {
            let waits = {
                let st = file.st.lock();
                st.is_local() && (st.writers == 0 || st.flush_let_pass || st.queued)
            };
            if waits {
                self.store(&file).await?;
            }
        }
        Ok(())
    }
}
