//! Local files and standard input as chunks, and walking a local tree. All calls block.

use super::Error;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// Something to upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A regular file, links followed.
    Path {
        /// As it is to be opened and named in messages.
        path: PathBuf,
        /// It was found while walking a tree.
        in_tree: bool,
    },
    /// Standard input.
    Stdin,
}

/// An open source.
#[derive(Debug)]
pub struct Opened {
    /// Reads its contents.
    pub reader: ChunkReader,
    /// Its size when it was opened; `None` for standard input.
    pub size: Option<u64>,
}

impl Source {
    /// Opens it. Directories, devices, pipes and sockets are refused without waiting for them.
    pub fn open(&self) -> Result<Opened, Error> {
        let (path, in_tree) = match self {
            Source::Path { path, in_tree } => (path, *in_tree),
            Source::Stdin => return Ok(Opened { reader: ChunkReader::stdin()?, size: None }),
        };
        // O_NONBLOCK: opening a pipe must not wait for a writer.
        let file =
            File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path).map_err(
                |e| match e.raw_os_error() {
                    // A socket, or a device without driver.
                    Some(libc::ENXIO) => not_regular(path),
                    _ => Error::os("open", path)(e),
                },
            )?;
        let meta = file.metadata().map_err(Error::os("stat", path))?;
        if meta.is_dir() {
            return Err(Error::SourceIsDirectory { path: path.display().to_string(), in_tree });
        }
        if !meta.is_file() {
            return Err(not_regular(path));
        }
        Ok(Opened { reader: ChunkReader::new(file, path.clone()), size: Some(meta.len()) })
    }

    /// Its name in messages.
    pub fn shown(&self) -> String {
        match self {
            Source::Path { path, .. } => path.display().to_string(),
            Source::Stdin => "standard input".to_owned(),
        }
    }
}

fn not_regular(path: &Path) -> Error {
    let kind = match std::fs::metadata(path).map(|m| m.file_type()) {
        Ok(t) if t.is_fifo() => "named pipe",
        Ok(t) if t.is_socket() => "socket",
        Ok(t) if t.is_block_device() => "block device",
        Ok(t) if t.is_char_device() => "character device",
        _ => "special file",
    };
    Error::SourceNotRegular { path: path.display().to_string(), kind }
}

/// Cuts a file into chunks and knows at each one whether it is the last.
#[derive(Debug)]
pub struct ChunkReader {
    file: File,
    path: PathBuf,
    /// The first byte of the next chunk, read to see whether there is one.
    carry: Option<u8>,
}

/// What [`ChunkReader::next`] returns.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// The bytes; shorter than asked for only at the end.
    pub data: Vec<u8>,
    /// Nothing follows.
    pub last: bool,
}

impl ChunkReader {
    /// Reads from an open file; the path is for messages.
    pub fn new(file: File, path: PathBuf) -> ChunkReader {
        ChunkReader { file, path, carry: None }
    }

    fn stdin() -> Result<ChunkReader, Error> {
        use std::os::fd::AsFd;
        let path = PathBuf::from("standard input");
        let fd = io::stdin().as_fd().try_clone_to_owned().map_err(Error::os("read", &path))?;
        Ok(ChunkReader::new(File::from(fd), path))
    }

    /// Reads up to `len` bytes; `expect` is how many are thought to be left, for the buffer.
    pub fn next(&mut self, len: usize, expect: Option<u64>) -> Result<Piece, Error> {
        let room = expect.map_or(len, |e| len.min(usize::try_from(e).unwrap_or(len)));
        // One more than expected, so that finding the end does not grow the buffer.
        let mut data = Vec::with_capacity(room.saturating_add(1).min(len));
        data.extend(self.carry.take());
        let mut read = || -> io::Result<bool> {
            let left = (len - data.len()) as u64;
            (&mut self.file).take(left).read_to_end(&mut data)?;
            if data.len() < len {
                return Ok(true);
            }
            let mut one = [0u8];
            loop {
                match self.file.read(&mut one) {
                    Ok(0) => return Ok(true),
                    Ok(_) => {
                        self.carry = Some(one[0]);
                        return Ok(false);
                    }
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(e),
                }
            }
        };
        let last = read().map_err(Error::os("read", &self.path))?;
        Ok(Piece { data, last })
    }
}

/// A file found in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Absolute path.
    pub path: PathBuf,
    /// Path below the root of the tree.
    pub relative: PathBuf,
}

/// Walks a tree, directories' entries in byte order, and sends every non-directory. Ends early when nobody
/// listens. The root may be a link to a directory; links inside are not descended into and are left out
/// with `skip_links`. The last value is an error if something could not be read.
pub fn walk(root: &Path, skip_links: bool, tx: &mpsc::Sender<Result<Found, Error>>) {
    for entry in entries(root) {
        let found = match entry {
            Ok(entry) if entry.file_type().is_dir() => continue,
            Ok(entry) if skip_links && entry.path_is_symlink() => continue,
            Ok(entry) => {
                let relative = entry.path().strip_prefix(root).unwrap_or(entry.path()).to_owned();
                Ok(Found { path: entry.into_path(), relative })
            }
            Err(e) => {
                let path = e.path().unwrap_or(root).to_owned();
                let op = if e.depth() == 0 { "lstat" } else { "open" };
                let source = e.into_io_error().unwrap_or_else(|| io::Error::other("file system loop"));
                Err(Error::Os { op, path: path.display().to_string(), source })
            }
        };
        let stop = found.is_err();
        if tx.blocking_send(found).is_err() || stop {
            return;
        }
    }
}

/// Counts what [`walk`] will find, for progress displays; errors are left to the walk itself.
pub fn count(root: &Path, skip_links: bool, stop: impl Fn() -> bool, found: impl Fn(u64)) {
    for entry in entries(root).flatten() {
        if stop() {
            return;
        }
        if entry.file_type().is_file() || (entry.path_is_symlink() && !skip_links) {
            let len = std::fs::metadata(entry.path()).map(|m| m.len()).unwrap_or(0);
            found(len);
        }
    }
}

fn entries(root: &Path) -> walkdir::IntoIter {
    // What is below the root, which may be a link; the entry of the root itself would be that of the link.
    walkdir::WalkDir::new(root).min_depth(1).sort_by_file_name().follow_root_links(true).into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn pieces_know_whether_they_are_the_last() {
        for (len, want) in [(0, vec![0]), (3, vec![3]), (4, vec![4]), (5, vec![4, 1]), (8, vec![4, 4])] {
            let mut file = tempfile::tempfile().unwrap();
            let bytes: Vec<u8> = (0..len).collect();
            file.write_all(&bytes).unwrap();
            std::io::Seek::rewind(&mut file).unwrap();
            let mut reader = ChunkReader::new(file, "x".into());
            let (mut sizes, mut all) = (Vec::new(), Vec::new());
            loop {
                let piece = reader.next(4, Some(u64::from(len))).unwrap();
                sizes.push(piece.data.len());
                all.extend(piece.data);
                if piece.last {
                    break;
                }
            }
            assert_eq!((sizes, all), (want, bytes));
        }
    }

    #[test]
    fn refused_sources() {
        let dir = tempfile::tempdir().unwrap();
        let open = |path: PathBuf| Source::Path { path, in_tree: false }.open().unwrap_err().to_string();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(
            open(fifo.clone()),
            format!("source file {} is a named pipe, not a regular file", fifo.display())
        );
        let sock = dir.path().join("sock");
        let _listener = std::os::unix::net::UnixListener::bind(&sock).unwrap();
        assert_eq!(
            open(sock.clone()),
            format!("source file {} is a socket, not a regular file", sock.display())
        );
        assert_eq!(
            open("/dev/null".into()),
            "source file /dev/null is a character device, not a regular file"
        );
        assert_eq!(
            open(dir.path().into()),
            format!("source file {} is a directory, not a file", dir.path().display())
        );
        assert_eq!(open("notexist.csv".into()), "open notexist.csv: no such file or directory");
    }

    #[test]
    fn walking() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("t");
        for d in ["a", "a/empty", "b"] {
            std::fs::create_dir_all(root.join(d)).unwrap();
        }
        for f in ["a/2", "a/10", "b/x", "a.txt", "z"] {
            std::fs::write(root.join(f), f).unwrap();
        }
        std::os::unix::fs::symlink("b", root.join("link")).unwrap();
        let walked = |root: &Path, skip| {
            let (tx, mut rx) = mpsc::channel(100);
            walk(root, skip, &tx);
            drop(tx);
            let mut all = Vec::new();
            while let Some(found) = rx.blocking_recv() {
                all.push(found.map(|f| f.relative.display().to_string()).unwrap_or_else(|e| e.to_string()));
            }
            all
        };
        assert_eq!(walked(&root, false), ["a/10", "a/2", "a.txt", "b/x", "link", "z"]);
        assert_eq!(walked(&root, true), ["a/10", "a/2", "a.txt", "b/x", "z"]);
        std::os::unix::fs::symlink("t", dir.path().join("rootlink")).unwrap();
        for skip in [false, true] {
            assert_eq!(walked(&dir.path().join("rootlink"), skip), walked(&root, skip));
        }
        assert_eq!(
            walked(Path::new("/dir/does/not/exist"), false),
            ["lstat /dir/does/not/exist: no such file or directory"]
        );
    }
}
