//! One mount's life: from mount(2) over the handshake to the last reply.
//!
//! [`start`] mounts and serves in threads of fuser's; [`supervise`] waits for whatever ends the mount (a
//! signal, umount(8), a failure), stores what was deferred, and says what could not be stored. Nothing here
//! knows what is served: anything that is a `fuser::Filesystem` with a [`Lifecycle`] beside it.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};

use crate::mount::control;
use crate::mount::kernel::{self, KernelError, KernelMount};
use crate::mount::notify;
use crate::mount::table;

/// How long the first answer of a new mount may take before the mount counts as failed.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(30);
/// How long a signal's unmount waits for files that are still open before it cuts them off.
const OPEN_FILES_WAIT: Duration = Duration::from_secs(5);
/// How long dirty pages of mappings may take to be handed over before a drain.
const WRITE_BACK_MAX: Duration = Duration::from_secs(30);
/// How often systemd and waiting clients are told how far a drain is.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// How often the status line is sent to systemd.
const STATUS_EVERY: Duration = Duration::from_secs(10);

/// What a session needs to know of the thing it serves.
pub trait Lifecycle: Send + Sync + 'static {
    /// Stores everything that was accepted and is not stored yet, giving up after `timeout`, and goes on serving. Returns
    /// what was lost, a name and reason a line. May be called at any time and several times. Dropping the future stops
    /// waiting, not storing.
    fn store(&self, timeout: Duration) -> impl Future<Output = Vec<String>> + Send;
    /// The same for the last time: further changes are refused.
    fn drain(&self, timeout: Duration) -> impl Future<Output = Vec<String>> + Send;
    /// One line: how many files are open, how many bytes are not yet stored.
    fn status_line(&self) -> String;
    /// Everything that helps to find out why it hangs, several lines.
    fn state(&self) -> String {
        self.status_line()
    }
    /// Whether it refuses every change whatever the kernel's flags are.
    fn read_only(&self) -> bool;
}

/// Why a mount did not come up.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The handshake failed.
    #[error("the FUSE handshake failed: {0}")]
    Handshake(#[source] io::Error),
    /// No thread could be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    /// The mounted directory does not answer.
    #[error("{} was mounted but does not answer: {reason}", dir.display())]
    NoAnswer {
        /// The mount point.
        dir: PathBuf,
        /// What happened instead.
        reason: String,
    },
    /// The table of mounts cannot be read, or does not show the mount.
    #[error("cannot find {} in the table of mounts", dir.display())]
    Table {
        /// The mount point.
        dir: PathBuf,
    },
    /// Signals cannot be watched.
    #[error("cannot watch signals: {0}")]
    Signals(#[source] io::Error),
}

/// A mount that is served.
#[derive(Debug)]
pub struct Started {
    dir: PathBuf,
    dev: String,
    mount_id: u64,
    ended: oneshot::Receiver<io::Result<()>>,
}

impl Started {
    /// The device number, `major:minor`.
    pub fn dev(&self) -> &str {
        &self.dev
    }

    /// The mount point.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Mounts, answers the handshake and serves. On any error nothing stays mounted.
pub fn start<F: fuser::Filesystem>(plan: &KernelMount, filesystem: F) -> Result<Started, SessionError> {
    let fd = plan.mount()?;
    let undo = |error: SessionError| {
        if let Err(e) = kernel::unmount(&plan.dir, true) {
            log::warn!("{e}");
        }
        error
    };
    let table = table::read().unwrap_or_default();
    let Some(entry) = table::at(&table, &plan.dir).filter(|entry| entry.is_fuse()) else {
        return Err(undo(SessionError::Table { dir: plan.dir.clone() }));
    };
    let (dev, mount_id) = (entry.dev.clone(), entry.id);
    let mut config = fuser::Config::default();
    // One thread takes requests, so that a read is looked at after every write that the kernel sent before it (see
    // `writes_before`). It answers what memory can answer and never blocks; more were no faster where that was measured.
    config.n_threads = Some(1);
    // Who may look in is the kernel's business (allow_other, default_permissions): it knows better than a second check
    // by the uid of each request, which would refuse a process that changed its uid after open(2). Only allow_root
    // is unknown to the kernel.
    let root_only = plan.allow_root && !plan.allow_other;
    let acl = if root_only { fuser::SessionACL::RootAndOwner } else { fuser::SessionACL::All };
    let session =
        fuser::Session::from_fd(filesystem, fd, acl, config).map_err(|e| undo(SessionError::Handshake(e)))?;
    let (send, ended) = oneshot::channel();
    std::thread::Builder::new()
        .name("session".to_string())
        .spawn(move || {
            let _ = send.send(session.run());
        })
        .map_err(|e| undo(SessionError::Thread(e)))?;
    let reason = match kernel::root_answers_within(&plan.dir, FIRST_ANSWER_MAX) {
        Some(Ok(())) => {
            if let Err(e) = kernel::set_read_ahead(&dev) {
                log::debug!("read-ahead of {dev} stays as it is: {e}");
            }
            return Ok(Started { dir: plan.dir.clone(), dev, mount_id, ended });
        }
        Some(Err(e)) => e.to_string(),
        None => format!("no answer within {} s", FIRST_ANSWER_MAX.as_secs()),
    };
    Err(undo(SessionError::NoAnswer { dir: plan.dir.clone(), reason }))
}

/// How a mount ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What was accepted and could not be stored; empty is a clean end.
    pub lost: Vec<String>,
    /// What went wrong beside that.
    pub failure: Option<String>,
}

impl Outcome {
    /// Whether everything is stored.
    pub fn is_clean(&self) -> bool {
        self.lost.is_empty() && self.failure.is_none()
    }
}

/// The signals that end a mount. To be watched before the directory serves: a signal that comes in between is
/// then a drain too, not a death.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Watches from now on; within a tokio runtime.
    pub fn watch() -> Result<Signals, SessionError> {
        let watch = |kind| signal(kind).map_err(SessionError::Signals);
        Ok(Signals { terminate: watch(SignalKind::terminate())?, interrupt: watch(SignalKind::interrupt())? })
    }

    /// SIGTERM or SIGINT.
    async fn signal(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Lives with the mount until it ends, and returns how. `ready` is called once the control
/// socket listens. `drain_max` bounds each drain; a second SIGTERM or SIGINT cuts it short. `reopen_log` is called on
/// SIGHUP.
///
/// Must run inside a tokio runtime with time and I/O. Dropping the future leaves the mount as it is.
pub async fn supervise<L: Lifecycle>(
    mut session: Started,
    mut signals: Signals,
    served: Arc<L>,
    drain_max: Duration,
    ready: impl FnOnce(),
    mut reopen_log: impl FnMut(),
) -> Result<Outcome, SessionError> {
    let mut hangup = signal(SignalKind::hangup()).map_err(SessionError::Signals)?;
    let mut dump = signal(SignalKind::user_defined1()).map_err(SessionError::Signals)?;
    let (ending, ended_watch) = watch::channel(None);
    let listener = control::serve(&session.dev, session.dir.clone(), Arc::clone(&served), ended_watch);
    ready();
    log::info!("serving {}", session.dir.display());
    notify::ready(&served.status_line());
    let mut watchdog = tokio::time::interval(notify::watchdog_period().unwrap_or(STATUS_EVERY));
    let mut status = tokio::time::interval(STATUS_EVERY);
    let outcome = loop {
        tokio::select! {
            end = &mut session.ended => {
                // The socket's name is the device number, which the kernel may give to the next mount from now on.
                listener.abort();
                break after_end(&session, end, &*served, drain_max, &mut signals).await;
            }
            name = signals.signal() => {
                log::info!("{name}: unmounting {}", session.dir.display());
                let outcome = stop(&mut session, &*served, drain_max, &mut signals).await;
                listener.abort();
                break outcome;
            }
            _ = hangup.recv() => reopen_log(),
            _ = dump.recv() => log::warn!("state of {}:\n{}", session.dir.display(), served.state()),
            _ = watchdog.tick() => notify::watchdog(),
            _ = status.tick() => notify::status(&served.status_line()),
        }
    };
    for name in &outcome.lost {
        log::error!("lost: {name}");
    }
    if let Some(failure) = &outcome.failure {
        log::error!("{failure}");
    }
    if outcome.is_clean() {
        log::info!("{} is unmounted and everything is stored", session.dir.display());
    }
    let _ = ending.send(Some(outcome.clone()));
    // Give the clients' tasks a moment to pass the last lines on.
    tokio::time::sleep(Duration::from_millis(20)).await;
    Ok(outcome)
}

/// The kernel ended the session: somebody unmounted it, or it failed.
async fn after_end<L: Lifecycle>(
    session: &Started,
    end: Result<io::Result<()>, oneshot::error::RecvError>,
    served: &L,
    drain_max: Duration,
    signals: &mut Signals,
) -> Outcome {
    notify::stopping("storing what is left");
    let failure = match end {
        Ok(Ok(())) => None,
        Ok(Err(e)) => Some(format!("the FUSE session of {} failed: {e}", session.dir.display())),
        Err(_) => Some(format!("the FUSE session of {} panicked", session.dir.display())),
    };
    let lost = drain(served, drain_max, signals).await.lost;
    if failure.is_some() {
        detach(session).await;
    }
    Outcome { lost, failure }
}

/// A signal: store, unmount, wait for open files, store again.
async fn stop<L: Lifecycle>(
    session: &mut Started,
    served: &L,
    drain_max: Duration,
    signals: &mut Signals,
) -> Outcome {
    notify::stopping("storing what is left");
    write_back(&session.dir).await;
    let first = drain(served, drain_max, signals).await;
    let forced = first.forced;
    let mut outcome = Outcome { lost: first.lost, failure: None };
    detach(session).await;
    if forced {
        outcome.failure = Some("the unmount was forced by a second signal".to_string());
        return outcome;
    }
    tokio::select! {
        _ = &mut session.ended => {}
        name = signals.signal() => {
            outcome.failure = Some(format!("{name} again: files that were still open are cut off"));
            return outcome;
        }
        () = tokio::time::sleep(OPEN_FILES_WAIT) => {
            let seconds = OPEN_FILES_WAIT.as_secs();
            log::warn!("files of {} are still open after {seconds} s and are cut off", session.dir.display());
        }
    }
    outcome.lost.extend(drain(served, drain_max, signals).await.lost);
    outcome.lost.sort();
    outcome.lost.dedup();
    outcome
}

/// How a drain ended.
struct Drained {
    lost: Vec<String>,
    forced: bool,
}

/// Drains; a signal cuts it short. systemd is asked for patience meanwhile.
async fn drain<L: Lifecycle>(served: &L, drain_max: Duration, signals: &mut Signals) -> Drained {
    let work = served.drain(drain_max);
    tokio::pin!(work);
    let mut tick = tokio::time::interval(PROGRESS_EVERY);
    let mut last = tokio::time::Instant::now();
    loop {
        tokio::select! {
            lost = &mut work => return Drained { lost, forced: false },
            name = signals.signal() => {
                let lost = vec![format!("{name} again: not everything is stored: {}", served.status_line())];
                return Drained { lost, forced: true };
            }
            _ = tick.tick() => {
                notify::extend_timeout(&served.status_line());
                if last.elapsed() >= STATUS_EVERY {
                    last = tokio::time::Instant::now();
                    log::info!("still storing: {}", served.status_line());
                }
            }
        }
    }
}

/// Hands dirty pages of mappings over, which no flush has seen yet.
///
/// Another process asks for it: a thread of this one would keep the connection to the kernel open while it waits for
/// its own process's answers, so that nothing could kill it.
pub(super) async fn write_back(dir: &Path) {
    let mut sync = tokio::process::Command::new("sync");
    sync.arg("--file-system").arg(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Not for a Ctrl-C that is meant for this process.
    sync.process_group(0).kill_on_drop(true);
    match tokio::time::timeout(WRITE_BACK_MAX, sync.status()).await {
        Ok(Ok(status)) if status.success() => {}
        Ok(Ok(status)) => log::debug!("sync of {}: {status}", dir.display()),
        Ok(Err(e)) => log::warn!("dirty pages of mappings were not handed over: sync: {e}"),
        Err(_) => log::warn!("dirty pages were not handed over within {} s", WRITE_BACK_MAX.as_secs()),
    }
}

/// Takes the mount out of the tree, if it is still ours that is there.
async fn detach(session: &Started) {
    let (dir, dev, mount_id) = (session.dir.clone(), session.dev.clone(), session.mount_id);
    let work = tokio::task::spawn_blocking(move || {
        let table = table::read().unwrap_or_default();
        match table::at(&table, &dir) {
            Some(entry) if entry.dev == dev && entry.id == mount_id => {
                if let Err(e) = kernel::unmount(&dir, true) {
                    log::error!("{e}");
                }
            }
            _ => log::info!("{} was already unmounted", dir.display()),
        }
    });
    if tokio::time::timeout(WRITE_BACK_MAX, work).await.is_err() {
        log::error!("unmounting {} takes too long", session.dir.display());
    }
}
