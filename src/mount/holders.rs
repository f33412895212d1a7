//! Which processes keep a mount busy, from /proc. Nothing here touches the mount itself, which may hang.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::table;

/// As many holders as a message can usefully name.
pub const HOLDERS_MAX: usize = 8;

/// A process that keeps a mount busy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The process id.
    pub pid: u32,
    /// The program's short name.
    pub name: String,
    /// What it holds: a working directory, an open file, ...
    pub what: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (pid {}): {}", self.name, self.pid, self.what)
    }
}

/// Finds the holders of the mount at `dir` with the device number `dev` (`major:minor`), at most [`HOLDERS_MAX`].
/// Without root's rights only the caller's own processes can be seen.
pub fn find(dir: &Path, dev: &str) -> Vec<Holder> {
    let mut found = Vec::new();
    let Ok(processes) = fs::read_dir("/proc") else { return found };
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if let Some(what) = held_by(&process.path(), dir, dev) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            found.push(Holder { pid, name: name.trim_end().to_string(), what });
            if found.len() == HOLDERS_MAX {
                break;
            }
        }
    }
    found.sort_by_key(|holder| holder.pid);
    found
}

/// A process that sees the mount with the device number `dev` in a mount namespace of its own (a container, `unshare`),
/// which keeps it alive after it was unmounted here. Without root's rights only the caller's own processes are seen.
pub fn elsewhere(dev: &str) -> Option<Holder> {
    let here = fs::read_link("/proc/self/ns/mnt").ok()?;
    let mut seen = HashSet::from([here]);
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let process = process.path();
        let Ok(namespace) = fs::read_link(process.join("ns/mnt")) else { continue };
        if !seen.insert(namespace) {
            continue;
        }
        let table = table::parse(&fs::read(process.join("mountinfo")).unwrap_or_default());
        if let Some(entry) = table.iter().find(|entry| entry.dev == dev) {
            let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
            let what = format!("{} in its own mount namespace", entry.dir.display());
            return Some(Holder { pid, name: name.trim_end().to_string(), what });
        }
    }
    None
}

fn held_by(process: &Path, dir: &Path, dev: &str) -> Option<String> {
    for (link, word) in [("cwd", "working directory"), ("root", "root directory"), ("exe", "running program")]
    {
        if let Some(path) = inside(&process.join(link), dir) {
            return Some(format!("{word} {}", path.display()));
        }
    }
    if let Ok(fds) = fs::read_dir(process.join("fd")) {
        for fd in fds.flatten() {
            if let Some(path) = inside(&fd.path(), dir) {
                return Some(format!("open file {}", path.display()));
            }
        }
    }
    let maps = fs::read(process.join("maps")).ok()?;
    mapped(&maps, dev).map(|path| format!("mapped file {}", path.display()))
}

/// The target of a link of /proc, if it lies in `dir`.
fn inside(link: &Path, dir: &Path) -> Option<PathBuf> {
    let target = fs::read_link(link).ok()?;
    let bytes = target.as_os_str().as_bytes();
    let target = PathBuf::from(OsStr::from_bytes(bytes.strip_suffix(b" (deleted)").unwrap_or(bytes)));
    target.starts_with(dir).then_some(target)
}

/// The first mapping of the device `dev` in the text of a maps file, which writes device numbers in hexadecimal.
fn mapped(maps: &[u8], dev: &str) -> Option<PathBuf> {
    let (major, minor) = dev.split_once(':')?;
    let dev = format!("{:02x}:{:02x}", major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?);
    maps.split(|b| *b == b'\n').find_map(|line| {
        let mut fields = line.splitn(6, |b| *b == b' ');
        let found = fields.nth(3)? == dev.as_bytes();
        let path = fields.nth(1)?.trim_ascii_start();
        found.then(|| PathBuf::from(OsStr::from_bytes(path)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings() {
        let maps = b"55d0-55d1 r--p 00000000 fe:00 123                  /usr/bin/cat\n\
            7f00-7f01 rw-s 00000000 00:2d 77                         /mnt/a b\n7f01-7f02 rw-p 0 00:00 0 \n";
        assert_eq!(mapped(maps, "0:45"), Some(PathBuf::from("/mnt/a b")));
        assert_eq!(mapped(maps, "0:46"), None);
        assert_eq!(mapped(maps, "nonsense"), None);
    }

    #[test]
    fn this_process_holds_its_directory() {
        let dir = std::env::current_dir().expect("working directory");
        let mine = held_by(Path::new("/proc/self"), &dir, "0:0").expect("held");
        assert!(mine.contains("working directory"), "{mine}");
    }
}
