//! What a filesystem should do, in memory: a map of names, bodies that outlive their names, open handles.
//!
//! Errors are errnos, in the order in which Linux finds them. Symbolic links point nowhere, so that
//! following one is always ENOENT.

use std::collections::BTreeMap;

/// How a handle is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// For reading; the file must be there.
    Read,
    /// For both, made if missing.
    Create,
    /// For both, made if missing, emptied.
    Truncate,
    /// For both, made if missing, writes go to the end.
    Append,
}

/// How rename treats what stands at the new name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// It gives way.
    Replace,
    /// It is an error.
    Refuse,
    /// It goes to the old name.
    Exchange,
}

/// Contents, which print as their length and beginning.
#[derive(Clone, PartialEq, Eq)]
pub struct Data(pub Vec<u8>);

impl std::ops::Deref for Data {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes {:02x?}", self.0.len(), &self.0[..self.0.len().min(12)])
    }
}

/// One step of a test.
#[derive(Clone, Debug)]
pub enum Op {
    /// Open (creating), write at an offset, close.
    Write { path: String, at: usize, data: Data },
    /// Open with O_TRUNC, write, close.
    Overwrite { path: String, data: Data },
    /// Open (creating), append, close.
    Append { path: String, data: Data },
    /// truncate(2).
    SetLen { path: String, len: usize },
    /// Read the whole file.
    Read { path: String },
    /// unlink(2).
    Unlink { path: String },
    /// mkdir(2).
    Mkdir { path: String },
    /// rmdir(2).
    Rmdir { path: String },
    /// renameat2(2).
    Rename { from: String, to: String, target: Target },
    /// symlink(2), to a place that does not exist.
    Symlink { path: String, target: String },
    /// readlink(2).
    Readlink { path: String },
    /// Names, kinds, sizes and modes in a directory.
    List { path: String },
    /// chmod(2).
    Chmod { path: String, mode: u32 },
    /// A copy with `std::fs::copy`.
    Copy { from: String, to: String },
    /// Opens a handle in a slot, whose former handle is closed.
    Open { slot: usize, path: String, mode: Mode },
    /// pwrite(2) through a handle.
    HandleWrite { slot: usize, at: usize, data: Data },
    /// pread(2) through a handle.
    HandleRead { slot: usize, at: usize, len: usize },
    /// ftruncate(2).
    HandleSetLen { slot: usize, len: usize },
    /// fsync(2).
    HandleSync { slot: usize },
    /// close(2).
    Close { slot: usize },
    /// Everything is closed; unmount and mount.
    Remount,
    /// Everything is closed; what follows goes through the other mount.
    Switch,
    /// Another client stores a file.
    Store { path: String, data: Data },
    /// Another client deletes a file.
    Unstore { path: String },
}

/// What a step gives besides success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Out {
    /// Nothing.
    Done,
    /// Contents.
    Bytes(Data),
    /// A listing, in order: name, and kind with size and mode.
    Entries(BTreeMap<String, String>),
}

#[derive(Clone, Debug)]
enum Node {
    File(usize),
    Dir(u32),
    Link(String),
}

#[derive(Clone, Debug)]
struct Body {
    data: Vec<u8>,
    mode: u32,
}

#[derive(Clone, Copy, Debug)]
struct Handle {
    body: usize,
    mode: Mode,
}

/// The number of handle slots.
pub const SLOTS: usize = 3;

/// The filesystem in memory.
#[derive(Clone, Debug, Default)]
pub struct Model {
    nodes: BTreeMap<String, Node>,
    bodies: Vec<Body>,
    handles: [Option<Handle>; SLOTS],
}

type Result<T> = std::result::Result<T, i32>;

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

fn is_below(path: &str, dir: &str) -> bool {
    dir.is_empty() || path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'))
}

impl Model {
    /// Does one step.
    pub fn apply(&mut self, op: &Op) -> Result<Out> {
        match op {
            Op::Write { path, at, data } => self.open(path, Mode::Create).map(|h| self.put(h, *at, data))?,
            Op::Overwrite { path, data } => self.open(path, Mode::Truncate).map(|h| self.put(h, 0, data))?,
            Op::Append { path, data } => self.open(path, Mode::Append).map(|h| self.put(h, 0, data))?,
            Op::SetLen { path, len } => {
                let body = self.body(path)?;
                self.bodies[body].data.resize(*len, 0);
            }
            Op::Read { path } => {
                let body = self.body(path)?;
                return Ok(Out::Bytes(Data(self.bodies[body].data.clone())));
            }
            Op::Unlink { path } => match self.get(path)? {
                Node::Dir(_) => return Err(libc::EISDIR),
                _ => drop(self.nodes.remove(path)),
            },
            Op::Mkdir { path } => self.insert(path, Node::Dir(0o755))?,
            Op::Rmdir { path } => {
                if !matches!(self.get(path)?, Node::Dir(_)) {
                    return Err(libc::ENOTDIR);
                }
                self.expect_empty(path)?;
                self.nodes.remove(path);
            }
            Op::Rename { from, to, target } => self.rename(from, to, *target)?,
            Op::Symlink { path, target } => self.insert(path, Node::Link(target.clone()))?,
            Op::Readlink { path } => match self.get(path)? {
                Node::Link(target) => return Ok(Out::Bytes(Data(target.into_bytes()))),
                _ => return Err(libc::EINVAL),
            },
            Op::List { path } => return self.list(path).map(Out::Entries),
            Op::Chmod { path, mode } => match self.get(path)? {
                Node::File(body) => self.bodies[body].mode = *mode,
                Node::Dir(_) => drop(self.nodes.insert(path.clone(), Node::Dir(*mode))),
                Node::Link(_) => return Err(libc::ENOENT),
            },
            Op::Copy { from, to } => self.copy(from, to)?,
            Op::Open { slot, path, mode } => {
                self.handles[*slot] = None;
                self.handles[*slot] = Some(self.open(path, *mode)?);
            }
            Op::HandleWrite { slot, at, data } => {
                let handle = self.handle(*slot)?;
                if handle.mode == Mode::Read && !data.is_empty() {
                    return Err(libc::EBADF);
                }
                self.put(handle, *at, data);
            }
            Op::HandleRead { slot, at, len } => {
                let data = &self.bodies[self.handle(*slot)?.body].data;
                let end = data.len().min(at + len);
                return Ok(Out::Bytes(Data(data.get(*at..end).unwrap_or_default().to_vec())));
            }
            Op::HandleSetLen { slot, len } => {
                let handle = self.handle(*slot)?;
                if handle.mode == Mode::Read {
                    return Err(libc::EINVAL);
                }
                self.bodies[handle.body].data.resize(*len, 0);
            }
            Op::HandleSync { slot } => drop(self.handle(*slot)?),
            Op::Close { slot } => self.handles[*slot] = None,
            Op::Remount | Op::Switch => self.handles = Default::default(),
            Op::Store { path, data } => {
                let body = self.new_body(data.0.clone());
                self.nodes.insert(path.clone(), Node::File(body));
            }
            Op::Unstore { path } => drop(self.nodes.remove(path)),
        }
        Ok(Out::Done)
    }

    /// May another client do this? Not to a directory's or a link's name, not where a handle is open, and only
    /// in a directory that exists.
    pub fn allows(&self, op: &Op) -> bool {
        let (Op::Store { path, .. } | Op::Unstore { path }) = op else { return true };
        let free = match self.get(path) {
            Ok(Node::File(body)) => !self.handles.iter().flatten().any(|h| h.body == body),
            Ok(_) => false,
            Err(code) => code == libc::ENOENT && matches!(op, Op::Store { .. }),
        };
        let dir = parent(path);
        free && (dir.is_empty() || matches!(self.nodes.get(dir), Some(Node::Dir(_))))
    }

    /// Is a handle open in this slot?
    pub fn is_open(&self, slot: usize) -> bool {
        self.handles[slot].is_some()
    }

    /// Whether a handle is open on the file of this name.
    pub fn is_held(&self, path: &str) -> bool {
        let body = match self.nodes.get(path) {
            Some(Node::File(body)) => *body,
            _ => return false,
        };
        self.handles.iter().flatten().any(|handle| handle.body == body)
    }

    /// All files with their contents.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let file = |(path, node): (&String, &Node)| match node {
            Node::File(body) => Some((path.clone(), self.bodies[*body].data.clone())),
            _ => None,
        };
        self.nodes.iter().filter_map(file).collect()
    }

    /// All directories, the root as "".
    pub fn dirs(&self) -> Vec<String> {
        let dirs = self.nodes.iter().filter(|(_, n)| matches!(n, Node::Dir(_))).map(|(p, _)| p.clone());
        std::iter::once(String::new()).chain(dirs).collect()
    }

    fn handle(&self, slot: usize) -> Result<Handle> {
        self.handles[slot].ok_or(libc::EBADF)
    }

    fn new_body(&mut self, data: Vec<u8>) -> usize {
        self.bodies.push(Body { data, mode: 0o644 });
        self.bodies.len() - 1
    }

    fn walk_parent(&self, path: &str) -> Result<()> {
        let mut end = 0;
        while let Some(next) = path[end..].find('/') {
            match self.nodes.get(&path[..end + next]) {
                Some(Node::Dir(_)) => end += next + 1,
                Some(Node::File(_)) => return Err(libc::ENOTDIR),
                Some(Node::Link(_)) | None => return Err(libc::ENOENT),
            }
        }
        Ok(())
    }

    fn get(&self, path: &str) -> Result<Node> {
        self.walk_parent(path)?;
        self.nodes.get(path).cloned().ok_or(libc::ENOENT)
    }

    fn insert(&mut self, path: &str, node: Node) -> Result<()> {
        self.walk_parent(path)?;
        if self.nodes.contains_key(path) {
            return Err(libc::EEXIST);
        }
        self.nodes.insert(path.to_owned(), node);
        Ok(())
    }

    /// The body of an existing file, following links (to nowhere).
    fn body(&self, path: &str) -> Result<usize> {
        match self.get(path)? {
            Node::File(body) => Ok(body),
            Node::Dir(_) => Err(libc::EISDIR),
            Node::Link(_) => Err(libc::ENOENT),
        }
    }

    fn open(&mut self, path: &str, mode: Mode) -> Result<Handle> {
        let missing = self.walk_parent(path).is_ok() && !self.nodes.contains_key(path);
        if missing && mode != Mode::Read {
            let body = self.new_body(Vec::new());
            self.nodes.insert(path.to_owned(), Node::File(body));
        }
        let body = self.body(path)?;
        if mode == Mode::Truncate {
            self.bodies[body].data.clear();
        }
        Ok(Handle { body, mode })
    }

    fn put(&mut self, handle: Handle, at: usize, bytes: &[u8]) {
        let data = &mut self.bodies[handle.body].data;
        let at = if handle.mode == Mode::Append { data.len() } else { at };
        if bytes.is_empty() {
            return;
        }
        let end = at + bytes.len();
        if data.len() < end {
            data.resize(end, 0);
        }
        data[at..end].copy_from_slice(bytes);
    }

    fn expect_empty(&self, dir: &str) -> Result<()> {
        if self.nodes.keys().any(|p| is_below(p, dir)) { Err(libc::ENOTEMPTY) } else { Ok(()) }
    }

    fn list(&self, path: &str) -> Result<BTreeMap<String, String>> {
        if !path.is_empty() {
            match self.get(path)? {
                Node::Dir(_) => {}
                Node::File(_) => return Err(libc::ENOTDIR),
                Node::Link(_) => return Err(libc::ENOENT),
            }
        }
        let mut out = BTreeMap::new();
        for (name, node) in self.nodes.iter().filter(|(p, _)| parent(p) == path) {
            let name = name.rsplit('/').next().unwrap_or(name).to_owned();
            let text = match node {
                Node::File(b) => format!("file {} {:o}", self.bodies[*b].data.len(), self.bodies[*b].mode),
                Node::Dir(mode) => format!("dir {mode:o}"),
                Node::Link(target) => format!("link {target}"),
            };
            out.insert(name, text);
        }
        Ok(out)
    }

    fn copy(&mut self, from: &str, to: &str) -> Result<()> {
        let source = match self.get(from)? {
            Node::File(body) => body,
            // std::fs::copy refuses what is no file, without an errno.
            Node::Dir(_) => return Err(0),
            Node::Link(_) => return Err(libc::ENOENT),
        };
        let target = self.open(to, Mode::Truncate)?;
        let Body { data, mode } = self.bodies[source].clone();
        self.bodies[target.body] = Body { data, mode };
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str, target: Target) -> Result<()> {
        self.walk_parent(from)?;
        self.walk_parent(to)?;
        let old = self.nodes.get(from).cloned().ok_or(libc::ENOENT)?;
        let new = self.nodes.get(to).cloned();
        match target {
            Target::Refuse if new.is_some() => return Err(libc::EEXIST),
            Target::Exchange if new.is_none() => return Err(libc::ENOENT),
            _ => {}
        }
        if is_below(to, from) {
            return Err(libc::EINVAL);
        }
        if is_below(from, to) {
            return Err(if target == Target::Exchange { libc::EINVAL } else { libc::ENOTEMPTY });
        }
        if from == to {
            return Ok(());
        }
        if target != Target::Exchange {
            match (&old, &new) {
                (_, None) => {}
                (Node::Dir(_), Some(Node::Dir(_))) => self.expect_empty(to)?,
                (Node::Dir(_), Some(_)) => return Err(libc::ENOTDIR),
                (_, Some(Node::Dir(_))) => return Err(libc::EISDIR),
                _ => {}
            }
        }
        let away = self.take(from);
        let back = self.take(to);
        self.give(to, away);
        if target == Target::Exchange {
            self.give(from, back);
        }
        Ok(())
    }

    /// Removes a name and all below it; the names are left relative.
    fn take(&mut self, root: &str) -> Vec<(String, Node)> {
        let names: Vec<String> =
            self.nodes.keys().filter(|p| *p == root || is_below(p, root)).cloned().collect();
        let take = |p: String| self.nodes.remove(&p).map(|node| (p[root.len()..].to_owned(), node));
        names.into_iter().filter_map(take).collect()
    }

    fn give(&mut self, root: &str, nodes: Vec<(String, Node)>) {
        self.nodes.extend(nodes.into_iter().map(|(rest, node)| (format!("{root}{rest}"), node)));
    }
}
