//! Where the private server lives.

use super::Error;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The number in the socket's name; no TCP port is opened.
pub const PORT: u16 = 5432;
/// The longest path that a unix socket's address holds, without its closing zero.
const SOCKET_PATH_MAX: usize = 107;
/// How long another command may hold the lock: making a cluster on a slow disk.
const LOCK_WAIT: Duration = Duration::from_secs(300);

/// The directories of a private server.
#[derive(Clone, Debug)]
pub struct Place {
    home: PathBuf,
}

impl Place {
    /// `$USERFILEFS_SERVER_DIR`; for root `/var/lib/userfilefs`; else `$XDG_DATA_HOME/userfilefs`, which is
    /// usually `~/.local/share/userfilefs`.
    pub fn of_user() -> Result<Place, Error> {
        let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        // A relative path in the others is to be ignored, says the specification of the base directories.
        let var = |name| set(name).filter(|p| p.is_absolute());
        if let Some(dir) = set("USERFILEFS_SERVER_DIR") {
            let dir = std::path::absolute(dir).map_err(|e| Error::io("USERFILEFS_SERVER_DIR", &e))?;
            return Ok(Place::at(dir));
        }
        if nix::unistd::geteuid().is_root() {
            return Ok(Place::at("/var/lib/userfilefs"));
        }
        if let Some(dir) = var("XDG_DATA_HOME") {
            return Ok(Place::at(dir.join("userfilefs")));
        }
        let account = || nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|u| u.dir);
        match var("HOME").or_else(account) {
            Some(home) => Ok(Place::at(home.join(".local/share/userfilefs"))),
            None => Err(Error::new("this user has no home directory for the private server")
                .with_hint("set USERFILEFS_SERVER_DIR, or name another server with --url")),
        }
    }

    /// A directory of the caller's choice.
    pub fn at(home: impl Into<PathBuf>) -> Place {
        Place { home: home.into() }
    }

    /// The directory that holds everything.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// PostgreSQL's data directory; exists only when it is complete.
    pub fn data(&self) -> PathBuf {
        self.home.join("postgresql")
    }

    /// Where the data are made.
    pub(super) fn data_in_the_making(&self) -> PathBuf {
        self.home.join("postgresql.new")
    }

    /// The server's log files.
    pub fn log_dir(&self) -> PathBuf {
        self.home.join("log")
    }

    /// What the server says before its log is open.
    pub(super) fn startup_log(&self) -> PathBuf {
        self.home.join("startup.log")
    }

    /// The directory of the socket: below the home, or where that path is too long for a socket or cannot be said in
    /// settings (commas separate several, and they are UTF-8), a private directory in `/tmp` named after it.
    pub fn socket_dir(&self) -> PathBuf {
        let own = self.home.join("run");
        let short = own.join(socket_name()).as_os_str().len() <= SOCKET_PATH_MAX;
        if short && own.to_str().is_some_and(|text| !text.contains(',')) {
            return own;
        }
        let mut hash = DefaultHasher::new();
        self.home.hash(&mut hash);
        let uid = nix::unistd::geteuid();
        PathBuf::from(format!("/tmp/userfilefs-{uid}-{:016x}", hash.finish()))
    }

    /// The socket itself.
    pub fn socket(&self) -> PathBuf {
        self.socket_dir().join(socket_name())
    }

    /// Makes the home directory.
    pub(super) fn make(&self) -> Result<(), Error> {
        // Root's server runs as another user, who must reach its directories below.
        let mode = if nix::unistd::geteuid().is_root() { 0o755 } else { 0o700 };
        let made = DirBuilder::new().recursive(true).mode(mode).create(&self.home);
        made.map_err(|e| Error::io(format!("cannot make the directory {}", self.home.display()), &e))?;
        let meta = fs::metadata(&self.home).map_err(|e| Error::io(self.home.display(), &e))?;
        let me = nix::unistd::geteuid();
        if meta.uid() != me.as_raw() && !me.is_root() {
            return Err(Error::new(format!("{} belongs to another user", self.home.display()))
                .with_hint("set USERFILEFS_SERVER_DIR to a directory of your own"));
        }
        Ok(())
    }

    /// Takes the lock under which the state changes; waits for other commands. Released when dropped, also by
    /// the death of this process.
    pub(super) fn lock(&self) -> Result<Flock<File>, Error> {
        let path = self.home.join("lock");
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| Error::io(format!("cannot open {}", path.display()), &e))?;
        let end = Instant::now() + LOCK_WAIT;
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(lock),
                Err((back, nix::errno::Errno::EWOULDBLOCK | nix::errno::Errno::EINTR))
                    if Instant::now() < end =>
                {
                    file = back;
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
                    return Err(Error::new(format!(
                        "another userfilefs has been starting the server for {} s",
                        LOCK_WAIT.as_secs()
                    ))
                    .with_hint(format!("look for it with: fuser -v {}", path.display())));
                }
                Err((_, e)) => {
                    return Err(Error::new(format!("cannot lock {}: {}", path.display(), e.desc())));
                }
            }
        }
    }
}

fn socket_name() -> String {
    format!(".s.PGSQL.{PORT}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn sockets_fit() {
        assert_eq!(Place::at("/a").socket(), Path::new("/a/run/.s.PGSQL.5432"));
        let deep = Place::at(format!("/{}", "x".repeat(120)));
        assert!(deep.socket().as_os_str().len() <= SOCKET_PATH_MAX);
        assert!(deep.socket().starts_with("/tmp"));
        assert_ne!(deep.socket(), Place::at(format!("/{}", "y".repeat(120))).socket());
        assert!(Place::at("/a,b").socket().starts_with("/tmp"));
        assert!(Place::at(OsStr::from_bytes(b"/caf\xe9")).socket().starts_with("/tmp"));
    }
}
