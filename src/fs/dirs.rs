//! Directories' attributes on their way to the tables.

use std::sync::Arc;

use super::UserfileFs;
use super::error::Result;
use super::node::{DirMeta, DirNode, Meta};
use super::tree::ROOT;
use crate::chunk::{Attrs, PathKind, PathRow};
use crate::util::clock::Micros;

/// What is to be written down of a directory.
struct Change<'d> {
    dir: &'d DirNode,
    path: String,
    row: (Attrs, Micros),
    version: u64,
}

impl UserfileFs {
    /// Writes a directory's attributes down, if they changed.
    pub(super) async fn store_dir(&self, dir: &Arc<DirNode>) -> Result<()> {
        self.store_dirs(std::slice::from_ref(dir)).await
    }

    /// The same for several, in one transaction: all or none.
    pub(super) async fn store_dirs(&self, dirs: &[Arc<DirNode>]) -> Result<()> {
        // Locked in one order, whoever comes.
        let mut dirs: Vec<&Arc<DirNode>> = dirs.iter().collect();
        dirs.sort_by_key(|dir| dir.ino);
        dirs.dedup_by_key(|dir| dir.ino);
        let mut held = Vec::new();
        for dir in &dirs {
            held.push(dir.io.lock().await);
        }
        let _quiet = self.moves.read().await;
        let changes: Vec<Change<'_>> = dirs.iter().filter_map(|dir| self.change(dir)).collect();
        if changes.is_empty() {
            return Ok(());
        }
        let rows: Vec<PathRow> = changes
            .iter()
            .map(|change| PathRow {
                path: change.path.clone().into_bytes(),
                kind: PathKind::Dir,
                attrs: change.row.0.clone(),
                mtime: change.row.1,
            })
            .collect();
        self.table.put_paths(&rows).await?;
        changes.into_iter().for_each(|change| self.written_down(change));
        Ok(())
    }

    /// What is to be written down, if anything.
    fn change<'d>(&self, dir: &'d DirNode) -> Option<Change<'d>> {
        let path = self.stored_path(dir.ino);
        let mut st = dir.st.lock();
        if !st.attr_dirty || st.unlinked {
            return None;
        }
        if !self.table.attrs_available() {
            st.attr_dirty = false;
            st.pinned = true;
            return None;
        }
        let row = (st.attrs.clone(), st.mtime);
        // Set to what they were: rsync does that to each directory that it has filled.
        if st.stored.as_ref() == Some(&row) {
            st.attr_dirty = false;
            return None;
        }
        let path = path.ok()?;
        Some(Change {
            dir,
            path: if path.is_empty() { "/".to_owned() } else { path },
            row,
            version: st.version,
        })
    }

    fn written_down(&self, change: Change<'_>) {
        let Change { dir, row, version, .. } = change;
        // First the listing, then the node: see store_attrs.
        if let Some((parent, name)) = self.place(dir.ino).filter(|_| dir.ino != ROOT) {
            self.note(parent, &name, Some(Meta::Dir(DirMeta { row: Some(row.clone()) })));
        }
        let mut st = dir.st.lock();
        st.written_down = true;
        st.stored = Some(row);
        st.fetched = std::time::Instant::now();
        if st.version == version {
            st.attr_dirty = false;
        }
    }
}
