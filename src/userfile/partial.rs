//! A local file that has no name until it is complete. All calls block.

use super::Error;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use tempfile::TempPath;

/// Where a complete file is to go. Dropped before that, nothing remains; where the file system has nameless
/// files, not even after `kill -9`.
#[derive(Debug)]
pub struct Partial {
    to: PathBuf,
    dir: PathBuf,
    /// The name it has meanwhile, on file systems without nameless files.
    name: Option<TempPath>,
}

impl Partial {
    /// Makes an empty file with mode 0600 in the directory of `to`, which is made with mode 0700 if need be.
    pub fn create(to: &Path) -> Result<(File, Partial), Error> {
        let dir = match to.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
            _ => PathBuf::from("."),
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
                Error::Clash(dir.display().to_string())
            }
            io::ErrorKind::InvalidFilename => Error::TooLong(to.display().to_string()),
            _ => Error::os("mkdir", &dir)(e),
        })?;
        let nameless =
            File::options().write(true).read(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(&dir);
        if let Ok(file) = nameless
            && descriptor_path(&file).exists()
        {
            return Ok((file, Partial { to: to.to_owned(), dir, name: None }));
        }
        let named = tempfile::Builder::new().prefix(".userfilefs-").tempfile_in(&dir);
        let (file, name) = named.map_err(Error::os("open", to))?.into_parts();
        Ok((file, Partial { to: to.to_owned(), dir, name: Some(name) }))
    }

    /// Gives the file its name; without `overwrite` only if nothing has that name.
    pub fn finish(self, file: &File, overwrite: bool) -> Result<(), Error> {
        let done = match (self.name, overwrite) {
            (Some(name), true) => name.persist(&self.to).map_err(|e| e.error),
            (Some(name), false) => name.persist_noclobber(&self.to).map_err(|e| e.error),
            (None, false) => link(file, &self.to),
            // A link cannot replace: first another name, then a rename.
            (None, true) => tempfile::Builder::new()
                .prefix(".userfilefs-")
                .make_in(&self.dir, |path| link(file, path))
                .and_then(|named| named.into_temp_path().persist(&self.to).map_err(|e| e.error)),
        };
        done.map_err(|e| match e.kind() {
            // Something below it was fetched meanwhile.
            _ if self.to.is_dir() => Error::Clash(self.to.display().to_string()),
            io::ErrorKind::AlreadyExists => {
                Error::LocalExists { path: self.to.display().to_string(), sizes: None }
            }
            io::ErrorKind::InvalidFilename => Error::TooLong(self.to.display().to_string()),
            _ => Error::os("rename", &self.to)(e),
        })
    }
}

fn descriptor_path(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn link(file: &File, to: &Path) -> io::Result<()> {
    use nix::fcntl::{AT_FDCWD, AtFlags};
    // The descriptor's entry is a link to the file, which is to be followed.
    nix::unistd::linkat(AT_FDCWD, &descriptor_path(file), AT_FDCWD, to, AtFlags::AT_SYMLINK_FOLLOW)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    fn count(dir: &Path) -> usize {
        std::fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn nothing_before_it_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("new/file");
        for overwrite in [false, true] {
            let (mut file, partial) = Partial::create(&to).unwrap();
            file.write_all(b"contents").unwrap();
            assert_eq!(count(&dir.path().join("new")), usize::from(overwrite));
            partial.finish(&file, overwrite).unwrap();
            assert_eq!(std::fs::read(&to).unwrap(), b"contents");
            assert_eq!(count(&dir.path().join("new")), 1);
        }
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&to), mode(&dir.path().join("new"))), (0o600, 0o700));
        let (file, partial) = Partial::create(&to).unwrap();
        let error = partial.finish(&file, false).unwrap_err();
        assert_eq!(error.to_string(), format!("open {}: file exists", to.display()));
        let folder = dir.path().join("folder");
        for overwrite in [false, true] {
            let (file, partial) = Partial::create(&folder).unwrap();
            std::fs::create_dir_all(folder.join("x")).unwrap();
            assert!(matches!(partial.finish(&file, overwrite), Err(Error::Clash(_))));
            std::fs::remove_dir_all(&folder).unwrap();
        }
        let below = Partial::create(&to.join("below/it")).unwrap_err();
        assert!(matches!(below, Error::Clash(_)), "{below}");
        drop(Partial::create(&to).unwrap());
        assert_eq!(count(&dir.path().join("new")), 1);
    }
}
