//! mount(2), umount2(2) and fusermount3: how a directory becomes ours and stops being it.
//!
//! We call mount(2) ourselves instead of letting fuser do it: the type is right, commas in the source are
//! harmless, and the end of a session never unmounts what somebody else has mounted in the meantime.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::mount::{MntFlags, MsFlags};

/// Largest READ and WRITE the kernel sends.
pub const REQUEST_BYTES_MAX: u32 = 1 << 20;
/// Read-ahead of the kernel, in KiB; the default of 128 costs a factor of ten at one millisecond a request.
pub const READ_AHEAD_KIB: u32 = 4096;

const DEVICE: &str = "/dev/fuse";

/// What to mount.
#[derive(Clone, Debug)]
pub struct KernelMount {
    /// The mount point: absolute, resolved.
    pub dir: PathBuf,
    /// What the table of mounts shows as source; no secrets.
    pub source: String,
    /// `fuse.userfilefs`, or what `fstype=` says.
    pub fstype: String,
    /// `ro`.
    pub read_only: bool,
    /// `noexec`.
    pub noexec: bool,
    /// `nosymfollow`.
    pub nosymfollow: bool,
    /// `sync`.
    pub sync: bool,
    /// `dirsync`.
    pub dirsync: bool,
    /// Other users may look in.
    pub allow_other: bool,
    /// Of the other users only root may look in.
    pub allow_root: bool,
    /// The kernel checks modes.
    pub default_permissions: bool,
}

/// Why the directory could not be mounted.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// No /dev/fuse, or no driver behind it.
    #[error("cannot open /dev/fuse: {0}")]
    Device(#[source] io::Error),
    /// mount(2) failed.
    #[error("cannot mount on {}: {error}", dir.display())]
    Mount {
        /// The mount point.
        dir: PathBuf,
        /// The kernel's answer.
        error: io::Error,
    },
    /// fusermount3 is not installed.
    #[error("only root may mount without fusermount3, which is not installed")]
    NoFusermount,
    /// fusermount3 failed.
    #[error("{0}")]
    Fusermount(String),
    /// umount2(2) failed.
    #[error("cannot unmount {}: {error}", dir.display())]
    Umount {
        /// The mount point.
        dir: PathBuf,
        /// The kernel's answer.
        error: io::Error,
    },
}

impl KernelError {
    /// What to do about it, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            KernelError::Device(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                Some("make /dev/fuse readable and writable for this user, or run as root")
            }
            KernelError::Device(_) => Some(
                "load the driver with \"modprobe fuse\"; a container needs the device (--device /dev/fuse)",
            ),
            KernelError::Mount { error, .. } if error.raw_os_error() == Some(libc::EPERM) => {
                Some("a container needs CAP_SYS_ADMIN to mount")
            }
            KernelError::NoFusermount => Some("install the package fuse3, or run as root"),
            KernelError::Fusermount(text) if text.contains("user_allow_other") => {
                Some("put the line user_allow_other into /etc/fuse.conf, or leave out allow_other")
            }
            KernelError::Fusermount(text) if text.contains("/dev/fuse: Permission denied") => {
                Some("make /dev/fuse readable and writable for everybody (chmod 666), as distributions do")
            }
            _ => None,
        }
    }

    /// The errno behind it, where there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            KernelError::Device(e)
            | KernelError::Mount { error: e, .. }
            | KernelError::Umount { error: e, .. } => e.raw_os_error(),
            _ => None,
        }
    }
}

impl KernelMount {
    /// Mounts and returns the connection to the kernel. Nothing is served yet: until the handshake has been
    /// answered, whoever looks into the directory waits.
    pub fn mount(&self) -> Result<OwnedFd, KernelError> {
        match self.mount_direct() {
            Err(e)
                if !nix::unistd::geteuid().is_root()
                    && matches!(e.errno(), Some(libc::EPERM | libc::EACCES)) =>
            {
                self.mount_by_helper()
            }
            result => result,
        }
    }

    fn mount_direct(&self) -> Result<OwnedFd, KernelError> {
        use nix::fcntl::{OFlag, open};
        let fd = open(DEVICE, OFlag::O_RDWR | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())
            .map_err(|e| KernelError::Device(e.into()))?;
        // fuser refuses the numbers of the standard streams.
        let fd = if fd.as_raw_fd() > 2 { fd } else { above_standard(&fd).map_err(KernelError::Device)? };
        let data = self.data(fd.as_raw_fd());
        let mounted = nix::mount::mount(
            Some(OsStr::new(&self.source)),
            &self.dir,
            Some(OsStr::new(&self.fstype)),
            self.flags(),
            Some(OsStr::new(&data)),
        );
        match mounted {
            Ok(()) => Ok(fd),
            Err(nix::Error::ENODEV) => Err(KernelError::Device(io::Error::from_raw_os_error(libc::ENODEV))),
            Err(e) => Err(KernelError::Mount { dir: self.dir.clone(), error: e.into() }),
        }
    }

    /// The flags of mount(2).
    pub fn flags(&self) -> MsFlags {
        let mut flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOATIME;
        flags.set(MsFlags::MS_RDONLY, self.read_only);
        flags.set(MsFlags::MS_NOEXEC, self.noexec);
        flags.set(MsFlags::MS_SYNCHRONOUS, self.sync);
        flags.set(MsFlags::MS_DIRSYNC, self.dirsync);
        if self.nosymfollow {
            flags |= MsFlags::from_bits_retain(libc::MS_NOSYMFOLLOW);
        }
        flags
    }

    /// The data string of mount(2) for the connection `fd`.
    pub fn data(&self, fd: RawFd) -> String {
        let mut data = format!(
            "fd={fd},rootmode=40000,user_id={},group_id={},max_read={REQUEST_BYTES_MAX}",
            nix::unistd::geteuid(),
            nix::unistd::getegid()
        );
        for (word, wanted) in [
            ("default_permissions", self.default_permissions),
            ("allow_other", self.allow_other || self.allow_root),
        ] {
            if wanted {
                data.push(',');
                data.push_str(word);
            }
        }
        data
    }

    /// The `-o` list for fusermount3, whose escape for a comma is a backslash.
    pub fn helper_options(&self) -> String {
        let escaped = |text: &str| text.replace('\\', "\\\\").replace(',', "\\,");
        let mut words = vec![
            if self.read_only { "ro" } else { "rw" }.to_string(),
            "nosuid,nodev,noatime".to_string(),
            format!("max_read={REQUEST_BYTES_MAX}"),
            format!("fsname={}", escaped(&self.source)),
        ];
        if let Some(subtype) = self.fstype.strip_prefix("fuse.") {
            words.push(format!("subtype={}", escaped(subtype)));
        }
        for (word, wanted) in [
            ("noexec", self.noexec),
            ("sync", self.sync),
            ("dirsync", self.dirsync),
            ("default_permissions", self.default_permissions),
            ("allow_other", self.allow_other || self.allow_root),
        ] {
            if wanted {
                words.push(word.to_string());
            }
        }
        words.join(",")
    }

    /// fusermount3 is set-uid root: it mounts and passes the connection back over a socket.
    fn mount_by_helper(&self) -> Result<OwnedFd, KernelError> {
        let program = fusermount().ok_or(KernelError::NoFusermount)?;
        let failed = |e: io::Error| KernelError::Fusermount(format!("cannot run fusermount3: {e}"));
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let number = theirs.as_raw_fd();
        let mut command = Command::new(program);
        command.arg("-o").arg(self.helper_options()).arg("--").arg(&self.dir);
        command.env("_FUSE_COMMFD", number.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // SAFETY: the closure runs between fork and exec and calls fcntl(2) only, which is safe there.
        unsafe {
            command.pre_exec(move || match libc::fcntl(number, libc::F_SETFD, 0) {
                -1 => Err(io::Error::last_os_error()),
                _ => Ok(()),
            });
        }
        let child = command.spawn().map_err(failed)?;
        drop(theirs);
        let received = receive_fd(&ours);
        let output = child.wait_with_output().map_err(failed)?;
        match received {
            Ok(fd) => Ok(fd),
            Err(e) => {
                let text = String::from_utf8_lossy(&output.stderr);
                Err(KernelError::Fusermount(match said(&text) {
                    "" => format!("fusermount3 failed: {e}"),
                    text => format!("fusermount3: {text}"),
                }))
            }
        }
    }
}

/// What fusermount3 said, without its name in front.
fn said(text: &str) -> &str {
    let text = text.trim();
    text.split_once("fusermount3: ").map_or(text, |(_, rest)| rest)
}

/// A copy of `fd` whose number is above the standard streams'.
fn above_standard(fd: &OwnedFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl(2) with a valid descriptor; the result is checked below.
    let copy = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `copy` is a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Receives one descriptor. An end of file means that the other side gave up.
fn receive_fd(socket: &UnixStream) -> io::Result<OwnedFd> {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
    let mut byte = [0u8];
    let mut slices = [io::IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!(RawFd);
    let message = loop {
        match recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
            Err(nix::Error::EINTR) => {}
            other => break other?,
        }
    };
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control
            && let Some(fd) = fds.first()
        {
            // SAFETY: the kernel has just made this descriptor for us.
            return Ok(unsafe { OwnedFd::from_raw_fd(*fd) });
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// Where fusermount3 is: in PATH, or where distributions put it.
pub fn fusermount() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).filter(|dir| dir.is_absolute()).collect();
    dirs.extend(["/usr/bin", "/bin", "/usr/local/bin"].map(PathBuf::from));
    dirs.iter().map(|dir| dir.join("fusermount3")).find(|file| file.is_file())
}

/// Unmounts `dir`. `lazy` takes it out of the tree even while it is in use (MNT_DETACH). Falls back to
/// fusermount3 where the kernel wants root. Never waits for the daemon.
pub fn unmount(dir: &Path, lazy: bool) -> Result<(), KernelError> {
    let flags = MntFlags::UMOUNT_NOFOLLOW | if lazy { MntFlags::MNT_DETACH } else { MntFlags::empty() };
    match nix::mount::umount2(dir, flags) {
        Ok(()) => Ok(()),
        Err(nix::Error::EPERM) if !nix::unistd::geteuid().is_root() => unmount_by_helper(dir, lazy),
        Err(e) => Err(KernelError::Umount { dir: dir.to_path_buf(), error: e.into() }),
    }
}

fn unmount_by_helper(dir: &Path, lazy: bool) -> Result<(), KernelError> {
    let program = fusermount().ok_or(KernelError::NoFusermount)?;
    let mut command = Command::new(program);
    command.arg("-u").args(lazy.then_some("-z")).arg("--").arg(dir);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let output =
        command.output().map_err(|e| KernelError::Fusermount(format!("cannot run fusermount3: {e}")))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    if text.contains("busy") {
        return Err(KernelError::Umount {
            dir: dir.to_path_buf(),
            error: io::Error::from_raw_os_error(libc::EBUSY),
        });
    }
    Err(KernelError::Fusermount(format!("fusermount3: {}", said(&text))))
}

/// Switches a mount between read-only and read-write; every other flag stays as [`KernelMount::flags`] has it.
pub fn remount(dir: &Path, read_only: bool, noexec: bool) -> Result<(), KernelError> {
    let mut flags = MsFlags::MS_REMOUNT | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOATIME;
    flags.set(MsFlags::MS_RDONLY, read_only);
    flags.set(MsFlags::MS_NOEXEC, noexec);
    nix::mount::mount(None::<&OsStr>, dir, None::<&OsStr>, flags, None::<&OsStr>)
        .map_err(|e| KernelError::Mount { dir: dir.to_path_buf(), error: e.into() })
}

/// Raises the kernel's read-ahead for the filesystem with this device number (`major:minor`). Needs root.
pub fn set_read_ahead(dev: &str) -> io::Result<()> {
    std::fs::write(format!("/sys/class/bdi/{dev}/read_ahead_kb"), READ_AHEAD_KIB.to_string())
}

/// An absolute path for a mount point without touching what is mounted there: a dead or hanging mount answers
/// neither stat(2) nor realpath(3). Only the directories above it are resolved.
pub fn resolve_mount_point(dir: &Path) -> io::Result<PathBuf> {
    resolve_link(dir, SYMLINKS_MAX)
}

/// As many symbolic links as the kernel follows.
const SYMLINKS_MAX: u32 = 40;

fn resolve_link(dir: &Path, links_left: u32) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(dir)?;
    let mut trimmed = absolute.as_os_str().as_bytes().to_vec();
    while trimmed.len() > 1 && trimmed.last() == Some(&b'/') {
        trimmed.pop();
    }
    let trimmed = PathBuf::from(OsString::from_vec(trimmed));
    match (trimmed.parent(), trimmed.file_name()) {
        (Some(parent), Some(name)) => {
            let parent = parent.canonicalize()?;
            let dir = parent.join(name);
            // readlink(2) on the root of a mount is answered by the kernel alone.
            match std::fs::read_link(&dir) {
                Ok(_) if links_left == 0 => Err(io::Error::from_raw_os_error(libc::ELOOP)),
                Ok(target) => resolve_link(&parent.join(target), links_left - 1),
                Err(_) => Ok(dir),
            }
        }
        // "/", or a path that ends in "..": nothing of ours hangs there.
        _ => trimmed.canonicalize(),
    }
}

/// Asks the daemon behind a mount for the root's attributes, past every cache, in a thread of its own: a hanging mount
/// costs a thread and not the caller. `None`: no answer within `patience`. (statfs(2) would do as well, but counts
/// all files.)
pub fn root_answers_within(dir: &Path, patience: std::time::Duration) -> Option<io::Result<()>> {
    let (send, receive) = std::sync::mpsc::channel();
    let path = CString::new(dir.as_os_str().as_bytes()).ok()?;
    std::thread::Builder::new()
        .name("probe".to_string())
        .spawn(move || {
            let flags = libc::AT_STATX_FORCE_SYNC | libc::AT_NO_AUTOMOUNT;
            let mut stat = std::mem::MaybeUninit::<libc::statx>::zeroed();
            // SAFETY: statx(2) with a path that ends in zero and a place for the answer that outlives the call.
            let code = unsafe {
                libc::statx(libc::AT_FDCWD, path.as_ptr(), flags, libc::STATX_BASIC_STATS, stat.as_mut_ptr())
            };
            let result = if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
            // Nobody listens any more if it took too long.
            let _ = send.send(result);
        })
        .ok()?;
    receive.recv_timeout(patience).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> KernelMount {
        KernelMount {
            dir: "/mnt".into(),
            source: r"a,b\c".into(),
            fstype: "fuse.userfilefs".into(),
            read_only: true,
            noexec: false,
            nosymfollow: false,
            sync: false,
            dirsync: false,
            allow_other: true,
            allow_root: false,
            default_permissions: true,
        }
    }

    #[test]
    fn words_for_the_kernel_and_for_fusermount() {
        let data = plan().data(7);
        assert!(data.starts_with("fd=7,rootmode=40000,user_id="), "{data}");
        assert!(data.ends_with(",default_permissions,allow_other"), "{data}");
        assert!(plan().flags().contains(MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV));
        assert_eq!(
            plan().helper_options(),
            r"ro,nosuid,nodev,noatime,max_read=1048576,fsname=a\,b\\c,subtype=userfilefs,default_permissions,allow_other"
        );
    }

    #[test]
    fn mount_points_are_resolved_above_themselves_only() {
        let root = tempfile::tempdir().expect("temporary directory");
        let base = root.path().canonicalize().expect("canonical");
        std::fs::create_dir(base.join("d")).expect("mkdir");
        std::os::unix::fs::symlink(base.join("d"), base.join("link")).expect("symlink");
        std::fs::create_dir(base.join("d/m")).expect("mkdir");
        assert_eq!(resolve_mount_point(&base.join("link/m/")).expect("resolve"), base.join("d/m"));
        std::os::unix::fs::symlink("d/m", base.join("last")).expect("symlink");
        std::os::unix::fs::symlink("loop", base.join("loop")).expect("symlink");
        assert_eq!(resolve_mount_point(&base.join("last")).expect("resolve"), base.join("d/m"));
        assert!(resolve_mount_point(&base.join("loop")).is_err());
        assert_eq!(resolve_mount_point(Path::new("/")).expect("resolve"), Path::new("/"));
        assert!(resolve_mount_point(&base.join("missing/m")).is_err());
    }
}
