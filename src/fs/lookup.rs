//! When the tables are asked for a name, and when a cached listing answers.
//!
//! A fresh listing answers every look-up in its directory, found or not: but that a name is not there is believed
//! for a moment only, unless many such names are asked for in a row, as when a directory is filled. So what another
//! client has just stored is found by whoever asks for it. With a stale one, names are looked up singly until that
//! has cost as much as listing the directory again would: then it is listed. So a few look-ups in a huge directory
//! stay cheap, and a copy of a whole tree costs a query a page.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::FastMap;
use super::control;
use super::error::{FsError, Result};
use super::node::{DirMeta, DirNode, DirState, FileMeta, FileNode, LinkNode, LinkState, Listing, Meta};
use super::stats::add;
use super::tree::{Body, ROOT, Tree};
use super::{Stat, UserfileFs, names};
use crate::chunk::{DirPage, Lookup};

/// Entries asked for at once.
const PAGE_ENTRIES: usize = 4000;
/// A directory that was never listed is tried with one page of so many entries.
const PROBE_ENTRIES: usize = 1000;
/// What listing a directory of unknown size is taken to cost.
const UNKNOWN_COST: Duration = Duration::from_millis(300);
/// Cached entries over all directories; beyond it listings that are not in use are dropped.
const LISTED_ENTRIES_MAX: usize = 400_000;

/// The part of the timeout for which it is believed that a name is not there.
const ABSENT_PART: u32 = 10;
/// So many names in a row that were not there make it believed as long as everything else.
const ABSENT_RUN: u32 = 8;

/// How often a name is asked for anew because names were taken out of its directory meanwhile.
const ASKED_AGAIN_MAX: u32 = 3;

/// What the tables, or a listing of them, said of a name.
pub(super) struct Answer {
    /// What it is; None: there is no such name.
    pub meta: Option<Meta>,
    /// When the tables were asked: what this mount has learnt or stored since is newer.
    pub asked: Instant,
    /// Names that this mount took away before are taken into account.
    pub names: Instant,
}

impl Answer {
    /// From a listing. What this mount takes away is noted in it, so that its names are right `now`; attributes that
    /// were waiting to be stored when the tables were asked are not in it.
    pub fn of_listing(listing: &Listing, name: &str, now: Instant) -> Self {
        Answer { meta: listing.entries.get(name).cloned(), asked: listing.asked, names: now }
    }
}

/// Names that a mount cannot show, and files hidden by a directory of the same name.
#[derive(Default)]
pub struct OddNames {
    /// Full stored names (lossy where not UTF-8).
    pub unshowable: BTreeSet<String>,
    /// Full stored names.
    pub shadowed: BTreeSet<String>,
}

/// Most names remembered of each kind.
const ODD_NAMES_MAX: usize = 10_000;

impl UserfileFs {
    /// Looks a name up for the kernel, which then holds one more reference. None: no such name.
    pub async fn lookup(&self, parent: u64, name: &str) -> Result<Option<Stat>> {
        let mut tries = 1..=ASKED_AGAIN_MAX;
        loop {
            if let Some(answer) = self.try_lookup(parent, name) {
                return answer;
            }
            let answer = self.resolve(parent, name).await?;
            let last = tries.next().is_none();
            if let Some(stat) = self.adopt(parent, name, answer, last) {
                return Ok(stat);
            }
        }
    }

    /// As [`Self::lookup`] where memory knows the answer.
    pub fn try_lookup(&self, parent: u64, name: &str) -> Option<Result<Option<Stat>>> {
        if let Some(answer) = self.control_lookup(parent, name) {
            return Some(answer);
        }
        let dir = match self.body(parent) {
            Ok(Body::Dir(dir)) => dir,
            Ok(Body::Control(_)) => return None,
            Ok(_) => return Some(Err(FsError::NotDir)),
            Err(e) => return Some(Err(e)),
        };
        if let Some(stat) = self.local_child(parent, name) {
            return Some(Ok(Some(stat)));
        }
        let answer = {
            let mut st = dir.st.lock();
            self.listed(&mut st, name)?
        };
        self.adopt(parent, name, answer, false).map(Ok)
    }

    /// The child if this mount's state of it is newer than the tables'.
    pub(super) fn local_child(&self, parent: u64, name: &str) -> Option<Stat> {
        let (ino, body) = {
            let tree = self.tree.lock();
            let ino = tree.child(parent, name)?;
            (ino, tree.get(ino)?.body.clone())
        };
        if !self.is_newer(&body, None) {
            return None;
        }
        self.tree.lock().reference(ino);
        Some(self.stat_body(ino, &body))
    }

    /// Whether a node knows better than the tables: it has changes that are not stored, or what it holds was stored
    /// or learnt after they were `asked`.
    fn is_newer(&self, body: &Body, asked: Option<Instant>) -> bool {
        let later = |fetched: Instant| asked.is_some_and(|asked| fetched > asked);
        match body {
            Body::File(file) => {
                let st = file.st.lock();
                st.is_local() || st.moving || later(st.fetched)
            }
            Body::Dir(dir) => {
                let st = dir.st.lock();
                let only_here = st.attr_dirty || (!st.written_down && !self.table.attrs_available());
                only_here || later(st.fetched)
            }
            Body::Link(link) => !self.table.attrs_available() || later(link.st.lock().fetched),
            Body::Control(_) => true,
        }
    }

    /// How long the kernel may believe that a name is not there.
    pub fn absent_timeout(&self) -> Duration {
        self.cfg.entry_timeout / ABSENT_PART
    }

    /// The cached listing, while it may still answer.
    pub(super) fn fresh<'a>(&self, st: &'a DirState) -> Option<&'a Listing> {
        st.listing.as_ref().filter(|l| !l.stale && l.at.elapsed() < self.cfg.attr_timeout)
    }

    /// What a fresh listing says of a name. None: there is none, or it is not to be believed that the name is not
    /// there; then the listing counts as stale.
    fn listed(&self, st: &mut DirState, name: &str) -> Option<Answer> {
        let listing = self.fresh(st)?;
        let answer = Answer::of_listing(listing, name, Instant::now());
        if answer.meta.is_some() {
            return Some(answer);
        }
        let age = listing.at.elapsed();
        if age < self.cfg.attr_timeout / ABSENT_PART || self.is_filled(st) {
            self.note_absent(st);
            return Some(answer);
        }
        if let Some(listing) = &mut st.listing {
            listing.stale = true;
        }
        None
    }

    /// Whether names that are not there were asked for in a row lately.
    fn is_filled(&self, st: &DirState) -> bool {
        st.absent.0 >= ABSENT_RUN && st.absent.1.elapsed() < self.cfg.attr_timeout
    }

    fn note_absent(&self, st: &mut DirState) {
        let goes_on = st.absent.1.elapsed() < self.cfg.attr_timeout;
        st.absent = (if goes_on { st.absent.0.saturating_add(1) } else { 1 }, Instant::now());
    }

    /// What a name is now, asked of a listing or of the tables.
    pub(super) async fn resolve(&self, parent: u64, name: &str) -> Result<Answer> {
        if control::is_shadow_dir(parent) {
            return self.ask(parent, name).await;
        }
        let dir = self.dir(parent)?;
        enum Plan {
            Single,
            Probe,
            List,
        }
        let plan = {
            let mut st = dir.st.lock();
            if let Some(answer) = self.listed(&mut st, name) {
                return Ok(answer);
            }
            st.misses += 1;
            match &st.listing {
                Some(listing) if st.spent >= listing.cost => Plan::List,
                Some(_) => Plan::Single,
                None if st.misses == 2 => Plan::Probe,
                None if st.spent >= UNKNOWN_COST => Plan::List,
                None => Plan::Single,
            }
        };
        match plan {
            Plan::Single => {}
            Plan::Probe | Plan::List => {
                let whole = matches!(plan, Plan::List);
                if self.list(parent, &dir, whole).await? {
                    let st = dir.st.lock();
                    if let Some(listing) = &st.listing {
                        return Ok(Answer::of_listing(listing, name, Instant::now()));
                    }
                }
            }
        }
        let answer = self.ask(parent, name).await?;
        let mut st = dir.st.lock();
        st.spent += answer.asked.elapsed();
        if answer.meta.is_none() {
            self.note_absent(&mut st);
        } else if st.listing.as_ref().is_some_and(|l| l.stale && !l.entries.contains_key(name)) {
            // Another client stores here, and what it stores is asked for.
            st.absent.0 = 0;
        }
        Ok(answer)
    }

    /// What a name is now, asked of the tables.
    pub(super) async fn ask(&self, parent: u64, name: &str) -> Result<Answer> {
        let asked = Instant::now();
        let answer = |meta| Answer { meta, asked, names: asked };
        if control::is_shadow_dir(parent) {
            let found = self.table.lookup(&names::unflatten(name)).await?;
            return Ok(answer(found.file.map(|row| Meta::File(FileMeta::of(&row)))));
        }
        let (path, found) = self
            .by_path(|| async {
                let path = self.child_path(parent, name)?;
                let found = self.table.lookup(&path).await?;
                Ok((path, found))
            })
            .await?;
        add(&self.stats.lookups, 1);
        Ok(answer(self.meta_of(&path, found)))
    }

    /// Asks the tables for something by its path. Should directories move meanwhile, the answer may be about another
    /// place: then it is asked again while none moves.
    async fn by_path<T, F>(&self, ask: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let moved = self.moved.load(Relaxed);
        let still = self.moves.try_read().is_ok();
        let found = ask().await?;
        if still && self.moved.load(Relaxed) == moved {
            return Ok(found);
        }
        let _quiet = self.moves.read().await;
        ask().await
    }

    /// A directory wins over a file of the same name, a file over a symbolic link.
    fn meta_of(&self, path: &str, found: Lookup) -> Option<Meta> {
        let as_path = found.path.as_ref().map(Meta::of_path);
        let file = found.file.as_ref().map(|row| Meta::File(FileMeta::of(row)));
        if found.has_children {
            if file.is_some() {
                self.note_shadowed(path);
            }
            return Some(match as_path {
                Some(Meta::Dir(meta)) => Meta::Dir(meta),
                _ => Meta::Dir(DirMeta::default()),
            });
        }
        file.or(as_path)
    }

    /// Puts what was found into the tree, and takes a kernel reference. The outer None: names were taken out of the
    /// directory since, so it may be history; ask again, unless this was the `last` try.
    pub(super) fn adopt(&self, parent: u64, name: &str, answer: Answer, last: bool) -> Option<Option<Stat>> {
        let Answer { meta, asked, names } = answer;
        let mut tree = self.tree.lock();
        if meta.is_some() && !last && tree.child(parent, name).is_none() {
            let removed = match tree.get(parent).map(|n| &n.body) {
                Some(Body::Dir(dir)) => dir.st.lock().removed,
                _ => None,
            };
            if removed.is_some_and(|at| at > names) {
                return None;
            }
        }
        let Some((ino, body)) = self.settle(&mut tree, parent, name, meta.as_ref(), asked) else {
            return Some(None);
        };
        tree.reference(ino);
        drop(tree);
        Some(Some(self.stat_body(ino, &body)))
    }

    /// The node of a name as the tables have it at this moment, made or brought up to date.
    pub(super) fn node_for(&self, parent: u64, name: &str, meta: &Meta) -> (u64, Body) {
        let node = self.settle(&mut self.tree.lock(), parent, name, Some(meta), Instant::now());
        node.unwrap_or_else(|| unreachable!("what is there has a node"))
    }

    /// Brings the node of a name up to date with what the tables said when they were `asked`; what this mount has
    /// done since is newer.
    pub(super) fn settle(
        &self,
        tree: &mut Tree,
        parent: u64,
        name: &str,
        meta: Option<&Meta>,
        asked: Instant,
    ) -> Option<(u64, Body)> {
        let chunk_len = self.table.chunk_len();
        let now = self.mounted_at;
        if let Some(ino) = tree.child(parent, name)
            && let Some(node) = tree.get(ino)
        {
            if self.is_newer(&node.body, Some(asked)) {
                return Some((ino, node.body.clone()));
            }
            match (&node.body, meta) {
                (Body::File(file), Some(Meta::File(meta))) => {
                    let mut st = file.st.lock();
                    let replaced = st.base.is_some_and(|b| b.id != meta.id);
                    if !(replaced && st.opens > 0) {
                        if st.base.is_some_and(|b| b.id == meta.id && b.size != meta.size) {
                            self.cache.drop_file(meta.id);
                        }
                        st.refresh(meta, chunk_len, asked);
                        drop(st);
                        return Some((ino, node.body.clone()));
                    }
                    // Replaced by another client while open here: the open handles keep the old
                    // contents under a node without a name; the name gets a new node.
                    st.unlinked = true;
                }
                (Body::Dir(dir), Some(Meta::Dir(meta))) => {
                    dir.st.lock().refresh(meta, asked);
                    return Some((ino, node.body.clone()));
                }
                // With another target it is another link: the kernel asks for the target of a number once.
                (Body::Link(link), Some(Meta::Link(meta))) if link.st.lock().meta.target == meta.target => {
                    let mut st = link.st.lock();
                    st.ctime = st.ctime.max(meta.mtime);
                    st.meta = meta.clone();
                    st.fetched = asked;
                    drop(st);
                    return Some((ino, node.body.clone()));
                }
                // Gone by another client's hand: an open node lives on without its name.
                (Body::File(file), _) => file.st.lock().unlinked = true,
                _ => {}
            }
        }
        let Some(meta) = meta else {
            tree.detach_child(parent, name);
            return None;
        };
        let ino = tree.add(parent, name, |ino| match meta {
            Meta::File(meta) => Body::File(Arc::new(FileNode::stored(ino, meta, chunk_len, asked))),
            Meta::Dir(meta) => Body::Dir(Arc::new(DirNode::new(ino, meta, now, asked))),
            Meta::Link(meta) => Body::Link(Arc::new(LinkNode {
                st: parking_lot::Mutex::new(LinkState {
                    meta: meta.clone(),
                    fetched: asked,
                    ctime: meta.mtime,
                    atime: None,
                }),
            })),
        });
        tree.get(ino).map(|n| (ino, n.body.clone()))
    }

    /// Lists a directory into its cache. With `whole` unset only a first page is tried, and false
    /// says that the directory is larger.
    pub(super) async fn list(&self, ino: u64, dir: &Arc<DirNode>, whole: bool) -> Result<bool> {
        let _one = dir.fetch.lock().await;
        {
            let mut st = dir.st.lock();
            if self.fresh(&st).is_some() || st.unlinked {
                return Ok(st.listing.is_some());
            }
            st.fetching += 1;
        }
        let start = Instant::now();
        let ask = || async { self.list_pages(&self.stored_path(ino)?, whole).await };
        let result = self.by_path(ask).await;
        let mut st = dir.st.lock();
        st.fetching -= 1;
        let log = if st.fetching == 0 { std::mem::take(&mut st.log) } else { st.log.clone() };
        let Some(mut entries) = result? else { return Ok(false) };
        for (name, meta) in log {
            match meta {
                Some(meta) => drop(entries.insert(name, meta)),
                None => drop(entries.remove(&name)),
            }
        }
        let count = entries.len();
        st.listing = Some(Listing::new(entries, start));
        st.spent = Duration::ZERO;
        st.misses = 0;
        drop(st);
        if count > PROBE_ENTRIES {
            self.shed_listings(ino);
        }
        Ok(true)
    }

    async fn list_pages(
        &self,
        path: &str,
        whole: bool,
    ) -> Result<Option<std::collections::BTreeMap<String, Meta>>> {
        let mut files: Vec<(String, FileMeta)> = Vec::new();
        let mut dirs: FastMap<String, DirMeta> = FastMap::default();
        let mut implied: BTreeSet<String> = BTreeSet::new();
        let mut links = FastMap::default();
        let mut cursor = None;
        let limit = if whole { PAGE_ENTRIES } else { PROBE_ENTRIES };
        loop {
            let page: DirPage = self.table.list_dir(path, cursor, limit).await?;
            add(&self.stats.list_pages, 1);
            self.note_unshowable(&page.unshowable);
            for row in &page.files {
                match last_component(&row.name) {
                    Some(name) => files.push((name.to_owned(), FileMeta::of(row))),
                    None => self.note_unshowable(std::slice::from_ref(&row.name)),
                }
            }
            for name in &page.dirs {
                if let Some(name) = last_component(name) {
                    dirs.entry(name.to_owned()).or_default();
                    implied.insert(name.to_owned());
                }
            }
            for row in &page.paths {
                let Some(name) = last_component(&row.path) else { continue };
                match Meta::of_path(row) {
                    Meta::Dir(meta) => drop(dirs.insert(name.to_owned(), meta)),
                    Meta::Link(meta) => drop(links.insert(name.to_owned(), meta)),
                    Meta::File(_) => {}
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
            if !whole {
                return Ok(None);
            }
        }
        // In order already, so that the tree is built at once.
        let mut entries: std::collections::BTreeMap<String, Meta> = files
            .into_iter()
            .filter(|(name, _)| {
                let shadowed = implied.contains(name);
                if shadowed {
                    self.note_shadowed(&format!("{path}/{name}"));
                } else if !dirs.is_empty() {
                    dirs.remove(name);
                }
                !shadowed
            })
            .map(|(name, meta)| (name, Meta::File(meta)))
            .collect();
        for (name, link) in links {
            entries.entry(name).or_insert(Meta::Link(link));
        }
        entries.extend(dirs.into_iter().map(|(k, v)| (k, Meta::Dir(v))));
        if path == self.cfg.subdir {
            entries.remove(names::CONTROL_NAME);
        }
        Ok(Some(entries))
    }

    /// Drops the listings of directories that are not open, but for `keep`, when there are too
    /// many cached entries.
    fn shed_listings(&self, keep: u64) {
        let dirs: Vec<Arc<DirNode>> = {
            let tree = self.tree.lock();
            let dirs = tree.subtree(ROOT).into_iter().filter_map(|ino| match &tree.get(ino)?.body {
                Body::Dir(dir) => Some(dir.clone()),
                _ => None,
            });
            dirs.collect()
        };
        let size = |dir: &Arc<DirNode>| dir.st.lock().listing.as_ref().map_or(0, |l| l.entries.len());
        let mut total: usize = dirs.iter().map(size).sum();
        for dir in dirs.iter().filter(|d| d.ino != keep) {
            if total <= LISTED_ENTRIES_MAX {
                break;
            }
            let mut st = dir.st.lock();
            if st.opens == 0
                && let Some(listing) = st.listing.take()
            {
                total -= listing.entries.len();
            }
        }
    }

    fn note_unshowable(&self, names: &[Vec<u8>]) {
        if names.is_empty() {
            return;
        }
        let mut odd = self.odd.lock();
        for name in names {
            let name = String::from_utf8_lossy(name).into_owned();
            if odd.unshowable.len() < ODD_NAMES_MAX
                && odd.unshowable.insert(name)
                && odd.unshowable.len() == 1
            {
                log::warn!(
                    "some stored names cannot be shown in a directory (not clean, not UTF-8 or too \
                     long); see .userfilefs/unshowable and `userfilefs check`"
                );
            }
        }
    }

    fn note_shadowed(&self, path: &str) {
        let mut odd = self.odd.lock();
        if odd.shadowed.len() < ODD_NAMES_MAX && odd.shadowed.insert(path.to_owned()) {
            log::warn!(
                "the file {path} has the name of a directory; it is reachable as .userfilefs/shadowed/{}",
                names::flatten(path)
            );
        }
    }
}

/// The last component of a stored name, if a mount can show it.
fn last_component(name: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(name).ok()?;
    let last = name.rsplit('/').next()?;
    (!last.is_empty() && last.len() <= names::NAME_BYTES_MAX).then_some(last)
}
