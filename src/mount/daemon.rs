//! Becoming a daemon: fork before any thread exists, and let the parent wait until the directory serves.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use nix::unistd::{ForkResult, Pid};

/// A log file that has grown beyond this is put aside when the next daemon opens it.
const LOG_BYTES_MAX: u64 = 16 << 20;

/// Which side of the fork this is.
#[derive(Debug)]
pub enum Forked {
    /// The process that the user started.
    Parent(Waiter),
    /// The one that will serve.
    Child(Reporter),
}

/// How the child's start ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// The directory serves.
    Ready,
    /// It failed, with this exit code; the text has been shown by the child.
    Failed(u8),
    /// It ended without a word.
    Died(String),
}

/// The parent's side.
#[derive(Debug)]
pub struct Waiter {
    pipe: File,
    child: Pid,
}

/// The child's side. Dropped without a word, the parent reports that the child died.
#[derive(Debug)]
pub struct Reporter {
    pipe: File,
}

/// Forks. The child gets a session of its own, the root directory, and nothing on standard input and output; standard
/// error stays the user's until [`Reporter::ready`].
///
/// Refuses if this process has more than one thread: locks that another thread holds would stay locked in the child.
/// The child keeps every other descriptor: see [`close_inherited`].
pub fn fork() -> io::Result<Forked> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("threads exist already"));
    }
    let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    // SAFETY: this process has one thread, so the child may do whatever the parent might.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => {
            drop(writer);
            Ok(Forked::Parent(Waiter { pipe: File::from(reader), child }))
        }
        ForkResult::Child => {
            drop(reader);
            nix::unistd::setsid()?;
            std::env::set_current_dir("/")?;
            let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
            nix::unistd::dup2_stdin(&null)?;
            nix::unistd::dup2_stdout(&null)?;
            drop(null);
            Ok(Forked::Child(Reporter { pipe: File::from(writer) }))
        }
    }
}

/// Closes every descriptor above the standard streams, so that no pipe of the shell that started this process stays open
/// for as long as the daemon lives. Call it first of all, before anything is opened.
pub fn close_inherited() -> io::Result<()> {
    let listed = std::fs::read_dir("/proc/self/fd")?;
    let numbers: Vec<RawFd> =
        listed.flatten().filter_map(|fd| fd.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        // SAFETY: this process has opened nothing yet, so nothing owns these; the listing's own descriptor is closed
        // already, which close(2) answers with a harmless EBADF.
        unsafe { libc::close(number) };
    }
    Ok(())
}

impl Waiter {
    /// Waits for the child's word. Ctrl-C ends the parent; the child notices and takes its mount away.
    pub fn wait(mut self) -> Start {
        let mut word = [0u8; 2];
        let mut len = 0;
        while len < word.len() {
            match self.pipe.read(&mut word[len..]) {
                Ok(0) => break,
                Ok(n) => len += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        match (len, word) {
            (2, [b'r', _]) => Start::Ready,
            (2, [b'f', code]) => Start::Failed(code),
            _ => Start::Died(self.status()),
        }
    }

    fn status(&self) -> String {
        let mut raw = 0;
        // SAFETY: waitpid(2) on our own child with a valid place for the status.
        let pid = unsafe { libc::waitpid(self.child.as_raw(), &raw mut raw, 0) };
        if pid == self.child.as_raw() {
            std::process::ExitStatus::from_raw(raw).to_string()
        } else {
            "it is gone".to_string()
        }
    }
}

impl Reporter {
    /// The directory serves: standard error goes to `log`, and the parent ends well. Fails if the parent has gone.
    pub fn ready(mut self, log: &File) -> io::Result<()> {
        let terminal = nix::unistd::dup(io::stderr())?;
        nix::unistd::dup2_stderr(log)?;
        let told = self.pipe.write_all(b"r ");
        if told.is_err() {
            // Nobody reads the log of a mount that never came to be.
            nix::unistd::dup2_stderr(&terminal)?;
        }
        told
    }

    /// It failed; the text is on standard error already.
    pub fn fail(mut self, code: u8) {
        // If the parent has gone there is nobody to tell.
        let _ = self.pipe.write_all(&[b'f', code]);
    }
}

/// Makes sure that the numbers 0, 1 and 2 are open, so that no other file gets them and is taken for a standard stream.
pub fn open_standard_streams() -> io::Result<()> {
    loop {
        let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        if null.as_raw_fd() > 2 {
            return Ok(());
        }
        std::mem::forget(OwnedFd::from(null));
    }
}

/// Where the daemon of the mount on `dir` logs unless `log=` says otherwise: `/var/log/userfilefs/` for root,
/// `$XDG_STATE_HOME/userfilefs/` for everybody else.
pub fn default_log(dir: &Path, is_root: bool, state_home: Option<&Path>) -> Option<PathBuf> {
    let base = if is_root { Path::new("/var/log") } else { state_home? };
    let name: String = dir
        .to_string_lossy()
        .trim_matches('/')
        .chars()
        .map(|c| if c == '/' || c.is_control() { '-' } else { c })
        .take(120)
        .collect();
    Some(base.join("userfilefs").join(format!("{}.log", if name.is_empty() { "root" } else { &name })))
}

/// Opens a log file for appending, making its directory; a file that has grown too large is put aside as `FILE.1`.
pub fn open_log(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    if std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.size() > LOG_BYTES_MAX) {
        let mut aside = path.as_os_str().to_owned();
        aside.push(".1");
        std::fs::rename(path, aside)?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(libc::O_NOCTTY).open(path)
}

/// Points standard error, where the log goes, to the file anew (SIGHUP, after logrotate).
pub fn reopen_log(path: &Path) -> io::Result<()> {
    nix::unistd::dup2_stderr(open_log(path)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_names() {
        let of = |dir: &str, root| default_log(Path::new(dir), root, Some(Path::new("/home/b/.local/state")));
        assert_eq!(of("/mnt/a b/c", true), Some("/var/log/userfilefs/mnt-a b-c.log".into()));
        assert_eq!(of("/mnt", false), Some("/home/b/.local/state/userfilefs/mnt.log".into()));
        assert_eq!(of("/", true), Some("/var/log/userfilefs/root.log".into()));
        assert_eq!(default_log(Path::new("/m"), false, None), None);
    }

    #[test]
    fn large_logs_are_put_aside() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("sub/a.log");
        open_log(&path).expect("open").set_len(LOG_BYTES_MAX + 1).expect("grow");
        open_log(&path).expect("open again");
        assert_eq!(std::fs::metadata(&path).expect("new").len(), 0);
        assert!(dir.path().join("sub/a.log.1").exists());
    }
}
