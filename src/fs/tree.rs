//! Inode numbers, names and lookup counts of everything the kernel knows (pure).
//!
//! Paths are never stored: a node knows its parent and its name, so that renaming a directory is
//! one change. Inode numbers are a hash of the path at first sight, pinned until forgotten.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::FastMap;
use super::control::Control;
use super::node::{DirNode, FileNode, LinkNode};

/// The root directory's inode number, fixed by FUSE.
pub const ROOT: u64 = 1;
/// Numbers up to this one belong to the root and the control directory.
pub const RESERVED_MAX: u64 = 15;

/// What a node is.
#[derive(Clone)]
pub enum Body {
    /// A stored or new file.
    File(Arc<FileNode>),
    /// A directory.
    Dir(Arc<DirNode>),
    /// A symbolic link.
    Link(Arc<LinkNode>),
    /// A part of the virtual control directory.
    Control(Control),
}

/// A node's place.
pub struct Node {
    /// Parent's number; meaningless once detached.
    pub parent: u64,
    /// Name in the parent.
    pub name: String,
    /// Kernel references.
    pub lookups: u64,
    /// False after unlink, rmdir or replacement.
    pub attached: bool,
    /// What it is.
    pub body: Body,
    children: FastMap<String, u64>,
}

/// All known nodes.
pub struct Tree {
    nodes: FastMap<u64, Node>,
}

impl Tree {
    /// A tree with only its root.
    pub fn new(root: Arc<DirNode>) -> Self {
        let mut nodes = FastMap::default();
        nodes.insert(
            ROOT,
            Node {
                parent: ROOT,
                name: String::new(),
                lookups: 1,
                attached: true,
                body: Body::Dir(root),
                children: FastMap::default(),
            },
        );
        Tree { nodes }
    }

    /// Number of known nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// A node.
    pub fn get(&self, ino: u64) -> Option<&Node> {
        self.nodes.get(&ino)
    }
    /// The known child of that name.
    pub fn child(&self, parent: u64, name: &str) -> Option<u64> {
        self.nodes.get(&parent)?.children.get(name).copied()
    }
    /// Known children of a directory.
    pub fn children(&self, parent: u64) -> impl Iterator<Item = (&str, u64)> {
        self.nodes.get(&parent).into_iter().flat_map(|n| n.children.iter().map(|(k, v)| (k.as_str(), *v)))
    }

    /// `""` for the root, `/a/b` otherwise; None once the node or a parent of it has no name.
    pub fn path(&self, ino: u64) -> Option<String> {
        let mut parts = Vec::new();
        let mut at = ino;
        while at != ROOT {
            let node = self.nodes.get(&at)?;
            if !node.attached {
                return None;
            }
            parts.push(node.name.as_str());
            at = node.parent;
        }
        let mut path = String::new();
        for part in parts.iter().rev() {
            path.push('/');
            path.push_str(part);
        }
        Some(path)
    }

    /// Whether `ino` is `ancestor` or lies below it.
    pub fn is_below(&self, ino: u64, ancestor: u64) -> bool {
        let mut at = ino;
        loop {
            if at == ancestor {
                return true;
            }
            match self.nodes.get(&at) {
                Some(node) if at != ROOT => at = node.parent,
                _ => return false,
            }
        }
    }

    /// Every attached node at or below `ino`.
    pub fn subtree(&self, ino: u64) -> Vec<u64> {
        let mut out = vec![ino];
        let mut next = 0;
        while let Some(at) = out.get(next).copied() {
            next += 1;
            out.extend(self.children(at).map(|(_, child)| child));
        }
        out
    }

    /// The number that a path gets when it is first seen.
    fn number(&self, parent: u64, name: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.path(parent).unwrap_or_default().hash(&mut hasher);
        name.hash(&mut hasher);
        let mut ino = hasher.finish();
        while ino <= RESERVED_MAX || self.nodes.contains_key(&ino) {
            ino = ino.wrapping_add(1);
        }
        ino
    }

    /// The number that a directory listing shows for a child that has no node yet.
    pub fn listed_number(&self, parent: u64, name: &str) -> u64 {
        self.child(parent, name).unwrap_or_else(|| self.number(parent, name))
    }

    /// Adds a child; `make` gets its number. An existing child of that name is detached.
    pub fn add(&mut self, parent: u64, name: &str, make: impl FnOnce(u64) -> Body) -> u64 {
        self.detach_child(parent, name);
        let ino = self.number(parent, name);
        self.add_at(ino, parent, name, make(ino));
        ino
    }

    /// Adds a child under a number of the caller's.
    pub fn add_at(&mut self, ino: u64, parent: u64, name: &str, body: Body) {
        let node = Node {
            parent,
            name: name.to_owned(),
            lookups: 0,
            attached: true,
            body,
            children: FastMap::default(),
        };
        self.nodes.insert(ino, node);
        if let Some(p) = self.nodes.get_mut(&parent) {
            p.children.insert(name.to_owned(), ino);
        }
    }

    /// Takes the child's name away; the node lives on while it is referred to.
    pub fn detach_child(&mut self, parent: u64, name: &str) -> Option<u64> {
        let ino = self.nodes.get_mut(&parent)?.children.remove(name)?;
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.attached = false;
        }
        Some(ino)
    }

    /// Moves a child; whatever had the new name is detached and returned.
    pub fn rename(&mut self, from: (u64, &str), to: (u64, &str)) -> Option<u64> {
        let ino = self.nodes.get_mut(&from.0)?.children.remove(from.1)?;
        let displaced = self.detach_child(to.0, to.1);
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.parent = to.0;
            node.name = to.1.to_owned();
        }
        if let Some(p) = self.nodes.get_mut(&to.0) {
            p.children.insert(to.1.to_owned(), ino);
        }
        displaced
    }

    /// Exchanges two names; either may be unknown here.
    pub fn exchange(&mut self, a: (u64, &str), b: (u64, &str)) {
        let first = self.nodes.get_mut(&a.0).and_then(|p| p.children.remove(a.1));
        let second = self.nodes.get_mut(&b.0).and_then(|p| p.children.remove(b.1));
        for (ino, (parent, name)) in [(first, b), (second, a)] {
            let Some(ino) = ino else { continue };
            if let Some(node) = self.nodes.get_mut(&ino) {
                node.parent = parent;
                node.name = name.to_owned();
            }
            if let Some(p) = self.nodes.get_mut(&parent) {
                p.children.insert(name.to_owned(), ino);
            }
        }
    }

    /// One more kernel reference.
    pub fn reference(&mut self, ino: u64) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.lookups += 1;
        }
    }

    /// Gives `count` kernel references back. True: no reference is left.
    pub fn forget(&mut self, ino: u64, count: u64) -> bool {
        match self.nodes.get_mut(&ino) {
            Some(node) => {
                node.lookups = node.lookups.saturating_sub(count);
                node.lookups == 0
            }
            None => false,
        }
    }

    /// Drops the node if nothing needs it, then its parents likewise.
    pub fn evict(&mut self, ino: u64) {
        let mut at = ino;
        while at > RESERVED_MAX {
            let Some(node) = self.nodes.get(&at) else { return };
            let busy = match &node.body {
                Body::File(file) => file.is_busy(),
                Body::Dir(dir) => dir.is_busy() || !node.children.is_empty(),
                Body::Link(_) => false,
                Body::Control(_) => true,
            };
            if busy || node.lookups > 0 {
                return;
            }
            let (parent, attached) = (node.parent, node.attached);
            if let Some(node) = self.nodes.remove(&at)
                && attached
                && let Some(p) = self.nodes.get_mut(&parent)
                && p.children.get(&node.name) == Some(&at)
            {
                p.children.remove(&node.name);
            }
            if !attached {
                return;
            }
            at = parent;
        }
    }
}
