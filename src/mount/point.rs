//! The mount point before anything is mounted there: dead remains are taken away, doubled mounts refused.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::mount::control::Client;
use crate::mount::kernel::{self, KernelError};
use crate::mount::table::{self, Entry};
use crate::mount::unmount::is_dead;

/// More dead mounts than this on one directory are not taken away: something makes them anew.
const DEAD_MOUNTS_MAX: u32 = 64;

/// Why a directory cannot be mounted on.
#[derive(Debug, thiserror::Error)]
pub enum PointError {
    /// It is not there, or cannot be looked at.
    #[error("cannot use {} as a mount point: {error}", dir.display())]
    Unusable {
        /// The mount point.
        dir: PathBuf,
        /// What happened.
        error: io::Error,
    },
    /// It is a file.
    #[error("cannot use {} as a mount point: it is not a directory", .0.display())]
    NotDirectory(PathBuf),
    /// We are there already.
    #[error("{} is already mounted (from {source_shown})", dir.display())]
    AlreadyMounted {
        /// The mount point.
        dir: PathBuf,
        /// The source of the mount that is there.
        source_shown: String,
    },
    /// A dead mount cannot be taken away.
    #[error("a dead mount on {} cannot be taken away: {error}", dir.display())]
    Dead {
        /// The mount point.
        dir: PathBuf,
        /// What happened.
        error: KernelError,
    },
    /// The table of mounts cannot be read.
    #[error("cannot read the table of mounts: {0}")]
    Table(#[source] io::Error),
}

impl PointError {
    /// What to do about it, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            PointError::Unusable { error, .. } if error.kind() == io::ErrorKind::NotFound => {
                Some("create the directory first")
            }
            PointError::AlreadyMounted { .. } => Some("unmount it first with \"userfilefs umount\""),
            PointError::Dead { .. } => Some("run \"umount -l\" on it as root"),
            _ => None,
        }
    }
}

/// What was found and done, for the user to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prepared {
    /// A dead mount was taken away.
    pub cleaned: bool,
    /// The directory has files, which the mount hides.
    pub nonempty: bool,
}

/// How long another mount command may take on the same directory before it is no longer waited for.
const LOCK_WAIT: Duration = Duration::from_secs(60);
/// Pause between looks at a lock.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Keeps two mount commands from mounting on one directory at the same moment. Hold it from before [`prepare`] until the
/// directory serves. It ends with the process, and is advisory: after a minute nobody is waited for.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its name")] Option<UnixListener>);

/// Waits for its turn on `dir`. Blocks.
pub fn lock(dir: &Path) -> Lock {
    // A name in the abstract namespace is free again when its holder dies, and needs no directory.
    let mut hasher = DefaultHasher::new();
    dir.hash(&mut hasher);
    let name = format!("userfilefs/mounting/{:016x}", hasher.finish());
    let started = Instant::now();
    loop {
        match SocketAddr::from_abstract_name(&name).and_then(|address| UnixListener::bind_addr(&address)) {
            Ok(listener) => return Lock(Some(listener)),
            Err(e) if e.kind() == io::ErrorKind::AddrInUse && started.elapsed() < LOCK_WAIT => {
                std::thread::sleep(LOCK_PAUSE);
            }
            Err(e) => {
                log::debug!("no lock on {}: {e}", dir.display());
                return Lock(None);
            }
        }
    }
}

/// Makes `dir` (from [`kernel::resolve_mount_point`]) ready. Looks at the directory itself only when nothing
/// of ours covers it.
pub fn prepare(dir: &Path) -> Result<Prepared, PointError> {
    let mut prepared = Prepared::default();
    for _ in 0..DEAD_MOUNTS_MAX {
        let table = table::read().map_err(PointError::Table)?;
        let Some(entry) = table::at(&table, dir).filter(|entry| entry.is_fuse()) else { break };
        if is_dead(dir) {
            kernel::unmount(dir, true).map_err(|error| PointError::Dead { dir: dir.to_path_buf(), error })?;
            prepared.cleaned = true;
        } else if is_ours(entry) {
            let source_shown = entry.source.to_string_lossy().into_owned();
            return Err(PointError::AlreadyMounted { dir: dir.to_path_buf(), source_shown });
        } else {
            break;
        }
    }
    let table = table::read().map_err(PointError::Table)?;
    // Looking into an automount would trigger it, and it is waiting for us.
    if table::at(&table, dir).is_some_and(|entry| entry.fstype == "autofs") {
        return Ok(prepared);
    }
    let unusable = |error| PointError::Unusable { dir: dir.to_path_buf(), error };
    if !std::fs::metadata(dir).map_err(unusable)?.is_dir() {
        return Err(PointError::NotDirectory(dir.to_path_buf()));
    }
    prepared.nonempty = std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
    Ok(prepared)
}

/// Ours by its type, or by the daemon that answers (`fstype=` can hide the type).
fn is_ours(entry: &Entry) -> bool {
    entry.is_ours() || Client::connect(&entry.dev, entry.user_id()).is_ok()
}
