//! The virtual directory `.userfilefs`: in no listing, reachable by name, read-only.
//!
//! | name | what it shows |
//! |---|---|
//! | `stats` | process id, server, counters, memory |
//! | `writing` | files with contents that are not stored yet |
//! | `unshowable` | stored names that no directory can show |
//! | `shadowed/` | files whose name is also a directory's, `/` written as `%2F` |

use super::error::Result;
use super::tree::{Body, ROOT, Tree};
use super::{Stat, UserfileFs, names};

/// A part of the control directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// The directory itself.
    Dir,
    /// Counters.
    Stats,
    /// Files being written.
    Writing,
    /// Names that cannot be shown.
    Unshowable,
    /// Directory of shadowed files.
    Shadowed,
}

const PARTS: [(&str, Control); 4] = [
    ("stats", Control::Stats),
    ("writing", Control::Writing),
    ("unshowable", Control::Unshowable),
    ("shadowed", Control::Shadowed),
];

impl Control {
    /// Its fixed inode number.
    pub fn ino(self) -> u64 {
        match self {
            Control::Dir => 2,
            Control::Stats => 3,
            Control::Writing => 4,
            Control::Unshowable => 5,
            Control::Shadowed => 6,
        }
    }

    /// Whether it is a directory.
    pub fn is_dir(self) -> bool {
        matches!(self, Control::Dir | Control::Shadowed)
    }
}

/// Whether `ino` is the directory of shadowed files.
pub fn is_shadow_dir(ino: u64) -> bool {
    ino == Control::Shadowed.ino()
}

/// The stored name of a node below `shadowed/`.
pub fn shadowed_path(tree: &Tree, ino: u64) -> Option<String> {
    let node = tree.get(ino)?;
    (node.attached && is_shadow_dir(node.parent) && ino > super::tree::RESERVED_MAX)
        .then(|| names::unflatten(&node.name))
}

impl UserfileFs {
    /// Adds the control nodes to a new tree.
    pub(super) fn control_nodes(&self, tree: &mut Tree) {
        tree.add_at(Control::Dir.ino(), ROOT, names::CONTROL_NAME, Body::Control(Control::Dir));
        for (name, part) in PARTS {
            tree.add_at(part.ino(), Control::Dir.ino(), name, Body::Control(part));
        }
    }

    /// A look-up that only concerns the control directory.
    pub(super) fn control_lookup(&self, parent: u64, name: &str) -> Option<Result<Option<Stat>>> {
        if parent == ROOT && name == names::CONTROL_NAME {
            return Some(Ok(Some(self.stat_control(Control::Dir))));
        }
        if parent != Control::Dir.ino() {
            return None;
        }
        let part = PARTS.iter().find(|(n, _)| *n == name).map(|(_, c)| *c);
        Some(Ok(part.map(|c| self.stat_control(c))))
    }

    /// The text of a control file.
    pub(super) fn control_text(&self, control: Control) -> Option<String> {
        match control {
            Control::Dir | Control::Shadowed => None,
            Control::Stats => Some(format!(
                "pid {}\nserver {}\ntables {}\nnodes {}\nopen_handles {}\ndirty_bytes {}\ncache_bytes {}\n{}",
                std::process::id(),
                self.table.describe(),
                self.table.prefix(),
                self.tree.lock().len(),
                self.handles.len(),
                self.budget.used(),
                self.cache.bytes(),
                self.stats.lines()
            )),
            Control::Writing => {
                let files = self.writing();
                Some(files.iter().map(|(path, size)| format!("{size} {path}\n")).collect())
            }
            Control::Unshowable => {
                Some(self.odd.lock().unshowable.iter().map(|n| format!("{n}\n")).collect())
            }
        }
    }

    /// The names in a control directory.
    pub(super) fn control_entries(&self, control: Control) -> Vec<String> {
        match control {
            Control::Dir => PARTS.iter().map(|(name, _)| (*name).to_owned()).collect(),
            Control::Shadowed => self.odd.lock().shadowed.iter().map(|p| names::flatten(p)).collect(),
            _ => Vec::new(),
        }
    }

    /// Everything that helps to find out what the filesystem is about: the counters, and the files that are not
    /// stored yet.
    pub fn state(&self) -> String {
        let text = |control| self.control_text(control).unwrap_or_default();
        format!("{}not stored yet:\n{}", text(Control::Stats), text(Control::Writing))
    }

    /// Files with contents that are not stored yet, with their size.
    pub fn writing(&self) -> Vec<(String, u64)> {
        let tree = self.tree.lock();
        tree.subtree(ROOT)
            .into_iter()
            .filter_map(|ino| match &tree.get(ino)?.body {
                Body::File(file) => {
                    let st = file.st.lock();
                    st.dirty.then(|| (tree.path(ino).unwrap_or_default(), st.size))
                }
                _ => None,
            })
            .collect()
    }
}
