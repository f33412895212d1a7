//! `userfilefs umount`: store, unmount, and wait until the daemon is through. Blocking; never for ever.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::mount::MntFlags;

use crate::mount::control::{Answer, Client};
use crate::mount::holders::{self, Holder};
use crate::mount::kernel::{self, KernelError};
use crate::mount::table::{self, Entry};
use crate::util::plural::counted;

/// How long a drain may take unless told otherwise.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(300);
/// How long a mount that says nothing may take to answer before it counts as hanging.
const PROBE_MAX: Duration = Duration::from_secs(2);
/// How often, and how long apart, a busy mount is tried again: programs that only glance at it go away.
const BUSY_TRIES: u32 = 5;
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// How long a daemon may take to exit after its last word, and the pause between looks.
const EXIT_MAX: Duration = Duration::from_secs(2);
const EXIT_PAUSE: Duration = Duration::from_millis(2);

/// What to unmount, and how.
#[derive(Clone, Debug)]
pub struct Unmount {
    /// The mount point, as [`kernel::resolve_mount_point`] gives it.
    pub dir: PathBuf,
    /// Take it out of the tree at once, even while it is in use; the daemon stores the rest by itself.
    pub lazy: bool,
    /// After the timeout cut the mount off, whatever is lost by it.
    pub force: bool,
    /// How long to wait for stores.
    pub timeout: Duration,
}

/// How it ended well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmounted {
    /// Everything is stored and the daemon has ended.
    Clean,
    /// The mount was dead; only the remains were taken away.
    WasDead,
    /// It is out of the tree; nobody could be asked whether everything is stored.
    Unattended,
    /// It is out of the tree, and ends when the last file is closed or the last other mount of it goes.
    Lingering,
    /// Stored and out of this tree; another mount namespace still has it.
    Elsewhere(Holder),
}

/// Why it did not end well.
#[derive(Debug, thiserror::Error)]
pub enum UnmountError {
    /// Nothing is mounted there.
    #[error("{} is not mounted", .0.display())]
    NotMounted(PathBuf),
    /// Something else is mounted there.
    #[error("{} is not a userfilefs mount but {fstype}", dir.display())]
    NotOurs {
        /// The mount point.
        dir: PathBuf,
        /// Its type.
        fstype: String,
    },
    /// The table of mounts cannot be read.
    #[error("cannot read the table of mounts: {0}")]
    Table(#[source] io::Error),
    /// It is in use.
    #[error("{} is busy{}", dir.display(), describe(holders, below))]
    Busy {
        /// The mount point.
        dir: PathBuf,
        /// Processes that use it.
        holders: Vec<Holder>,
        /// Mounts below it.
        below: Vec<PathBuf>,
    },
    /// The stores take too long; the mount is still there unless `unmounted`.
    #[error("gave up after {} s: {}{}", waited.as_secs(), if *unmounted { "it is unmounted, but the daemon has not stored everything yet: " } else { "not everything is stored: " }, status)]
    Timeout {
        /// How long.
        waited: Duration,
        /// The daemon's last words.
        status: String,
        /// Whether it is out of the tree.
        unmounted: bool,
    },
    /// Some files could not be stored.
    #[error("{} could not be stored:\n  {}", counted(lost.len(), "file"), lost.join("\n  "))]
    Lost {
        /// Their names and why.
        lost: Vec<String>,
        /// Whether it is out of the tree.
        unmounted: bool,
    },
    /// The daemon ended badly.
    #[error("the daemon failed: {0}")]
    Daemon(String),
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

impl UnmountError {
    /// What to do about it, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            UnmountError::Busy { .. } => Some("end these programs, or use --lazy"),
            UnmountError::Timeout { unmounted: false, .. } => {
                Some("it is still mounted; is the server reachable? --force gives up what is not stored")
            }
            UnmountError::Lost { unmounted: false, .. } => {
                Some("it is still mounted, so that the files can be copied elsewhere; --force gives them up")
            }
            UnmountError::NotOurs { .. } => Some("use umount(8)"),
            UnmountError::Kernel(e) => e.hint(),
            _ => None,
        }
    }
}

fn describe(holders: &[Holder], below: &[PathBuf]) -> String {
    let mut lines: Vec<String> =
        below.iter().map(|dir| format!("mounted below: {}", dir.display())).collect();
    lines.extend(holders.iter().map(Holder::to_string));
    lines.iter().map(|line| format!("\n  {line}")).collect()
}

/// Unmounts. `progress` hears the daemon's status line about once a second while it is waited for.
pub fn unmount(plan: &Unmount, progress: &mut dyn FnMut(&str)) -> Result<Unmounted, UnmountError> {
    let table = table::read().map_err(UnmountError::Table)?;
    let entry = table::at(&table, &plan.dir).ok_or_else(|| UnmountError::NotMounted(plan.dir.clone()))?;
    let not_ours = || UnmountError::NotOurs { dir: plan.dir.clone(), fstype: entry.fstype.clone() };
    if !entry.is_fuse() {
        return Err(not_ours());
    }
    let mut client = match Client::connect(&entry.dev, entry.user_id()) {
        Ok(client) => client,
        // Another type may be ours through fstype=, but then its daemon would have answered.
        Err(_) if !entry.is_ours() && !is_dead(&plan.dir) => return Err(not_ours()),
        Err(e) => {
            log::debug!("control socket of {}: {e}", plan.dir.display());
            return unattended(plan, entry);
        }
    };
    if plan.lazy {
        kernel::unmount(&plan.dir, true)?;
        return Ok(Unmounted::Lingering);
    }
    if !plan.force && (0..BUSY_TRIES).all(|_| is_busy(&plan.dir)) {
        return Err(busy(plan, entry)?);
    }
    let started = Instant::now();
    let mut wait = Wait { client: &mut client, started, timeout: plan.timeout, progress, lost: Vec::new() };
    let drained = match wait.request(plan.timeout) {
        Ok(()) => wait.until(&Answer::Drained, false),
        Err(e) => Err(e),
    };
    match drained {
        Ok(_) if wait.lost.is_empty() => {}
        _ if plan.force => {
            force(&plan.dir)?;
            return Ok(Unmounted::Lingering);
        }
        Ok(_) => return Err(UnmountError::Lost { lost: wait.lost, unmounted: false }),
        Err(e) => return Err(e),
    }
    take_away(plan, entry)?;
    if table::read().map_err(UnmountError::Table)?.iter().any(|other| other.dev == entry.dev) {
        return Ok(Unmounted::Lingering);
    }
    if let Some(holder) = holders::elsewhere(&entry.dev) {
        return Ok(Unmounted::Elsewhere(holder));
    }
    let ended = wait.until(&Answer::Ended, true)?;
    if ended == Unmounted::Clean {
        wait.process_end();
    }
    if !wait.lost.is_empty() {
        return Err(UnmountError::Lost { lost: wait.lost, unmounted: true });
    }
    Ok(ended)
}

/// Waiting for a daemon.
struct Wait<'a> {
    client: &'a mut Client,
    started: Instant,
    timeout: Duration,
    progress: &'a mut dyn FnMut(&str),
    lost: Vec<String>,
}

impl Wait<'_> {
    fn request(&mut self, timeout: Duration) -> Result<(), UnmountError> {
        self.client
            .ask(&format!("drain {}", timeout.as_secs().max(1)))
            .map_err(|e| UnmountError::Daemon(e.to_string()))
    }

    /// The connection closes when the process has ended, a moment after its last word.
    fn process_end(&mut self) {
        while !matches!(self.client.answer(), Ok(Answer::Gone) | Err(_)) {}
        let closed = Instant::now();
        while self.client.peer_runs() && closed.elapsed() < EXIT_MAX {
            std::thread::sleep(EXIT_PAUSE);
        }
    }

    /// Reads answers until `goal`; the daemon's disappearance counts as its end.
    fn until(&mut self, goal: &Answer, unmounted: bool) -> Result<Unmounted, UnmountError> {
        let mut status = "the daemon does not answer".to_string();
        loop {
            if self.started.elapsed() > self.timeout {
                return Err(UnmountError::Timeout { waited: self.started.elapsed(), status, unmounted });
            }
            match self.client.answer() {
                Ok(answer) if answer == *goal => return Ok(Unmounted::Clean),
                Ok(Answer::Busy(text)) => {
                    (self.progress)(&text);
                    status = text;
                }
                Ok(Answer::Lost(name)) => self.lost.push(name),
                Ok(Answer::Failed(text)) => return Err(UnmountError::Daemon(text)),
                Ok(Answer::Gone) => return Ok(Unmounted::Unattended),
                Ok(_) => {}
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    (self.progress)("the daemon does not answer");
                }
                Err(e) => {
                    log::debug!("control socket: {e}");
                    return Ok(Unmounted::Unattended);
                }
            }
        }
    }
}

/// Nobody listens: a dead mount, or a daemon that cannot be reached from here.
fn unattended(plan: &Unmount, entry: &Entry) -> Result<Unmounted, UnmountError> {
    if is_dead(&plan.dir) {
        kernel::unmount(&plan.dir, true)?;
        return Ok(Unmounted::WasDead);
    }
    if plan.lazy || plan.force {
        kernel::unmount(&plan.dir, true)?;
    } else {
        take_away(plan, entry)?;
    }
    Ok(Unmounted::Unattended)
}

/// Unmounts what is not in use, or says who uses it.
fn take_away(plan: &Unmount, entry: &Entry) -> Result<(), UnmountError> {
    let mut tries = 0;
    loop {
        match kernel::unmount(&plan.dir, false) {
            Ok(()) => return Ok(()),
            Err(e) if e.errno() == Some(libc::EBUSY) => {
                tries += 1;
                if tries == BUSY_TRIES {
                    break;
                }
                std::thread::sleep(BUSY_PAUSE);
            }
            Err(e) => return Err(e.into()),
        }
    }
    Err(busy(plan, entry)?)
}

/// Whether the kernel would refuse to unmount, asked without unmounting. Programs that only glance at the mount get a
/// moment to go away. Only root may ask; for others the answer is no.
fn is_busy(dir: &Path) -> bool {
    let answer = nix::mount::umount2(dir, MntFlags::MNT_EXPIRE);
    let busy = answer == Err(nix::Error::EBUSY);
    if busy {
        std::thread::sleep(BUSY_PAUSE);
    }
    busy
}

/// Who it is that uses the mount.
fn busy(plan: &Unmount, entry: &Entry) -> Result<UnmountError, UnmountError> {
    let table = table::read().map_err(UnmountError::Table)?;
    Ok(UnmountError::Busy {
        dir: plan.dir.clone(),
        holders: holders::find(&plan.dir, &entry.dev),
        below: table::below(&table, &plan.dir).map(|below| below.dir.clone()).collect(),
    })
}

/// Cuts the connection off and takes the mount away.
fn force(dir: &Path) -> Result<(), UnmountError> {
    if let Err(e) = nix::mount::umount2(dir, MntFlags::MNT_FORCE) {
        log::debug!("forced unmount of {}: {e}", dir.display());
        kernel::unmount(dir, true)?;
    }
    Ok(())
}

/// Whether the daemon behind a mount has died. A mount that does not answer at all is not dead.
pub fn is_dead(dir: &Path) -> bool {
    let answer = kernel::root_answers_within(dir, PROBE_MAX);
    matches!(answer, Some(Err(e)) if matches!(e.raw_os_error(), Some(libc::ENOTCONN | libc::ECONNABORTED)))
}
