//! A folder.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::{Error, File, Listed, Source};

/// A folder of the file system.
#[derive(Clone, Debug)]
pub struct Local {
    root: PathBuf,
}

struct Open {
    file: fs::File,
    len: u64,
    place: String,
}

fn error(place: &Path, cause: &io::Error) -> Error {
    let place = place.display().to_string();
    match cause.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Error::NotFound { place },
        _ => Error::Io { place, cause: cause.to_string() },
    }
}

impl Local {
    /// The folder need not exist: then it has no files.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn path(&self, name: &str) -> Result<PathBuf, Error> {
        let relative = Path::new(name);
        if relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Ok(self.root.join(relative));
        }
        Err(Error::Address(format!("{name:?} leads out of {}", self.root.display())))
    }

    fn walk(&self, folder: &Path, prefix: &str, found: &mut Vec<Listed>) -> Result<(), Error> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(cause) if error(folder, &cause).is_not_found() => return Ok(()),
            // Of the file system, at the root of a disk, and for nobody else to read.
            Err(_) if folder.file_name().is_some_and(|name| name == "lost+found") => return Ok(()),
            Err(cause) => return Err(error(folder, &cause)),
        };
        for entry in entries {
            let path = entry.map_err(|cause| error(folder, &cause))?.path();
            let Ok(relative) = path.strip_prefix(&self.root) else { continue };
            let name = relative.to_string_lossy().into_owned();
            let meta = match fs::metadata(&path) {
                Ok(meta) => meta,
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
                Err(cause) => return Err(error(&path, &cause)),
            };
            if meta.is_dir() {
                let inside = format!("{name}/");
                if inside.starts_with(prefix) || prefix.starts_with(&inside) {
                    self.walk(&path, prefix, found)?;
                }
            } else if meta.is_file() && name.starts_with(prefix) {
                found.push(Listed { name, len: meta.len() });
            }
        }
        Ok(())
    }
}

impl Source for Local {
    fn describe(&self) -> String {
        self.root.display().to_string()
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>, Error> {
        let mut found = Vec::new();
        self.walk(&self.root, prefix, &mut found)?;
        found.sort();
        Ok(found)
    }

    fn open(&self, name: &str) -> Result<Arc<dyn File>, Error> {
        let path = self.path(name)?;
        let opened = fs::File::open(&path).and_then(|file| Ok((file.metadata()?, file)));
        let (meta, file) = opened.map_err(|cause| error(&path, &cause))?;
        if !meta.is_file() {
            return Err(Error::NotFound { place: path.display().to_string() });
        }
        Ok(Arc::new(Open { file, len: meta.len(), place: path.display().to_string() }))
    }
}

impl File for Open {
    fn size(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, len: usize, buf: &mut Vec<u8>) -> Result<(), Error> {
        let rest = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        buf.resize(len.min(rest), 0);
        let mut done = 0;
        while done < buf.len() {
            match self.file.read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(Error::Io { place: self.place.clone(), cause: cause.to_string() }),
            }
        }
        buf.truncate(done);
        Ok(())
    }
}
