//! Listing directories: a snapshot per open directory, so that offsets stay true while the
//! directory changes.

use std::sync::Arc;
use std::time::Instant;

use super::attr::Kind;
use super::control::Control;
use super::error::{FsError, Result};
use super::lookup::Answer;
use super::node::{DirNode, Meta};
use super::open::Open;
use super::tree::{Body, ROOT};
use super::{Stat, UserfileFs};

/// The entries of an open directory as they were when reading began.
pub struct DirSnapshot {
    /// In order; `.` and `..` are the caller's.
    entries: Vec<SnapshotEntry>,
    /// When the tables were asked.
    asked: Instant,
    parent: u64,
    control: bool,
}

struct SnapshotEntry {
    name: String,
    kind: Kind,
    meta: Option<Meta>,
}

/// An entry handed to the kernel.
pub struct DirEntry<'a> {
    /// Inode number.
    pub ino: u64,
    /// Kind.
    pub kind: Kind,
    /// Name.
    pub name: &'a str,
    /// Attributes, for readdirplus; the kernel then holds a reference to the inode.
    pub stat: Option<Stat>,
}

impl UserfileFs {
    /// The entries from `offset` on, `.` and `..` being 0 and 1. `add` gets each entry with the
    /// offset that follows it, and says that the buffer is full by returning true (that entry is
    /// then not counted). With `plus` every entry but the dots carries attributes and a reference.
    pub async fn readdir(
        self: &Arc<Self>,
        ino: u64,
        handle: u64,
        offset: u64,
        plus: bool,
        add: impl FnMut(&DirEntry<'_>, u64) -> bool + Send,
    ) -> Result<()> {
        let open = self.handles.get(handle)?;
        let Open::Dir(slot) = &open.what else { return Err(FsError::NotDir) };
        let known = slot.lock().clone().filter(|_| offset > 0);
        let snapshot = match known {
            Some(snapshot) => snapshot,
            None => {
                let made = Arc::new(self.snapshot(ino).await?);
                *slot.lock() = Some(made.clone());
                made
            }
        };
        self.hand_out(ino, &snapshot, offset, plus, add);
        Ok(())
    }

    /// As [`Self::readdir`] where reading goes on in entries that are there.
    pub fn try_readdir(
        &self,
        ino: u64,
        handle: u64,
        offset: u64,
        plus: bool,
        add: impl FnMut(&DirEntry<'_>, u64) -> bool,
    ) -> Option<Result<()>> {
        if offset == 0 {
            return None;
        }
        let open = self.handles.get(handle).ok()?;
        let Open::Dir(slot) = &open.what else { return None };
        let snapshot = slot.lock().clone()?;
        self.hand_out(ino, &snapshot, offset, plus, add);
        Some(Ok(()))
    }

    fn hand_out(
        &self,
        ino: u64,
        snapshot: &DirSnapshot,
        offset: u64,
        plus: bool,
        mut add: impl FnMut(&DirEntry<'_>, u64) -> bool,
    ) {
        for (at, name, ino) in [(0u64, ".", ino), (1, "..", snapshot.parent)] {
            if offset <= at {
                let stat = self.body(ino).ok().map(|body| self.stat_body(ino, &body));
                let dot = DirEntry { ino, kind: Kind::Dir, name, stat };
                if add(&dot, at + 1) {
                    return;
                }
            }
        }
        let first = offset.saturating_sub(2) as usize;
        for (at, entry) in snapshot.entries.iter().enumerate().skip(first) {
            let Some(entry) = self.dir_entry(ino, snapshot, entry, plus) else { continue };
            let referenced = entry.stat.is_some() && !snapshot.control;
            if add(&entry, at as u64 + 3) {
                if referenced {
                    self.forget(entry.ino, 1);
                }
                return;
            }
        }
    }

    fn dir_entry<'a>(
        &self,
        ino: u64,
        snapshot: &DirSnapshot,
        entry: &'a SnapshotEntry,
        plus: bool,
    ) -> Option<DirEntry<'a>> {
        let name = entry.name.as_str();
        if plus && !snapshot.control {
            // Removed since the snapshot: left out. Changed since: as it is now.
            let stat = self.adopt_listed(ino, snapshot, entry)?;
            return Some(DirEntry { ino: stat.ino, kind: stat.kind, name, stat: Some(stat) });
        }
        if snapshot.control {
            let stat = self.control_lookup(ino, name)?.ok()??;
            return Some(DirEntry { ino: stat.ino, kind: stat.kind, name, stat: Some(stat) });
        }
        let number = self.tree.lock().listed_number(ino, name);
        Some(DirEntry { ino: number, kind: entry.kind, name, stat: None })
    }

    fn adopt_listed(&self, parent: u64, snapshot: &DirSnapshot, entry: &SnapshotEntry) -> Option<Stat> {
        let name = entry.name.as_str();
        // First the node, then the listing: a file that is stored just now is in the listing before it stops being
        // local (see note_stored). The other way round it could be missed in both, and be taken for removed.
        if let Some(stat) = self.local_child(parent, name) {
            return Some(stat);
        }
        loop {
            let now = Instant::now();
            let current = self.dir(parent).ok().and_then(|dir| {
                let st = dir.st.lock();
                st.listing.as_ref().map(|l| Answer::of_listing(l, name, now))
            });
            // Without a listing there is nothing newer to be had.
            let listed = current.is_some();
            let answer = current.unwrap_or_else(|| Answer {
                meta: entry.meta.clone(),
                asked: snapshot.asked,
                names: now,
            });
            answer.meta.as_ref()?;
            if let Some(found) = self.adopt(parent, name, answer, !listed) {
                return found;
            }
        }
    }

    async fn snapshot(self: &Arc<Self>, ino: u64) -> Result<DirSnapshot> {
        let asked = Instant::now();
        if let Body::Control(control) = self.body(ino)? {
            let mut entries = Vec::new();
            for name in self.control_entries(control) {
                let meta = match control {
                    Control::Shadowed => self.resolve(ino, &name).await?.meta,
                    _ => None,
                };
                entries.push(SnapshotEntry { name, kind: Kind::File, meta });
            }
            let control = control == Control::Dir;
            entries.retain(|e| control || e.meta.is_some());
            return Ok(DirSnapshot { entries, asked, parent: ROOT, control });
        }
        let dir = self.dir(ino)?;
        if dir.st.lock().unlinked {
            return Ok(DirSnapshot { entries: Vec::new(), asked, parent: ino, control: false });
        }
        self.list(ino, &dir, true).await?;
        self.list_ahead(ino);
        // Nodes first, the listing then: see note_stored.
        let (local, parent) = {
            let tree = self.tree.lock();
            let local: Vec<(String, Kind)> = tree
                .children(ino)
                .filter_map(|(name, child)| match &tree.get(child)?.body {
                    Body::File(file) => file.st.lock().base.is_none().then(|| (name.to_owned(), Kind::File)),
                    Body::Dir(dir) => {
                        let st = dir.st.lock();
                        (!st.written_down && !self.table.attrs_available())
                            .then(|| (name.to_owned(), Kind::Dir))
                    }
                    _ => None,
                })
                .collect();
            (local, tree.get(ino).map_or(ROOT, |n| n.parent))
        };
        let (mut entries, asked): (Vec<SnapshotEntry>, Instant) = {
            let st = dir.st.lock();
            let listed = st.listing.iter().flat_map(|l| l.entries.iter());
            let entries = listed
                .map(|(name, meta)| SnapshotEntry {
                    name: name.clone(),
                    kind: match meta {
                        Meta::File(_) => Kind::File,
                        Meta::Dir(_) => Kind::Dir,
                        Meta::Link(_) => Kind::Link,
                    },
                    meta: Some(meta.clone()),
                })
                .collect();
            (entries, st.listing.as_ref().map_or(asked, |l| l.asked))
        };
        for (name, kind) in local {
            if let Err(at) = entries.binary_search_by(|e| e.name.as_str().cmp(&name)) {
                entries.insert(at, SnapshotEntry { name, kind, meta: None });
            }
        }
        Ok(DirSnapshot { entries, asked, parent, control: false })
    }

    /// Lists the directories that a walk through the whole tree reads next, while the reader is
    /// still busy with this one. Only known to be a walk after some directories in a row.
    fn list_ahead(self: &Arc<Self>, ino: u64) {
        let next: Vec<Arc<DirNode>> = {
            let tree = self.tree.lock();
            let Some(node) = tree.get(ino) else { return };
            let mut walk = self.walk.lock();
            let goes_on = walk.last == node.parent || walk.parent == node.parent;
            walk.steps = if goes_on { walk.steps.saturating_add(1) } else { 0 };
            (walk.last, walk.parent) = (ino, node.parent);
            if walk.steps < WALK_STEPS_MIN {
                return;
            }
            let after = (std::ops::Bound::Excluded(node.name.as_str()), std::ops::Bound::Unbounded);
            let Some(Body::Dir(parent)) = tree.get(node.parent).map(|n| &n.body) else { return };
            let st = parent.st.lock();
            let Some(listing) = &st.listing else { return };
            let siblings = listing.entries.range::<str, _>(after).filter(|(_, m)| matches!(m, Meta::Dir(_)));
            siblings
                .take(WALK_AHEAD)
                .filter_map(|(name, _)| match &tree.get(tree.child(node.parent, name)?)?.body {
                    Body::Dir(dir) => Some(dir.clone()),
                    _ => None,
                })
                .collect()
        };
        for dir in next {
            let stale = self.fresh(&dir.st.lock()).is_none();
            if stale && dir.fetch.try_lock().is_ok() {
                let fs = self.clone();
                // A failure shows when the directory is read.
                tokio::spawn(async move { fs.list(dir.ino, &dir, true).await });
            }
        }
    }
}

/// Directories read one after another before it counts as a walk.
const WALK_STEPS_MIN: u32 = 2;
/// Directories listed ahead of a walk.
const WALK_AHEAD: usize = 3;

/// The directories read last.
#[derive(Default)]
pub struct Walk {
    last: u64,
    parent: u64,
    steps: u32,
}
