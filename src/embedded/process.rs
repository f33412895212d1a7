//! The running server: its pid file, its start and its end.

use super::account::Account;
use super::binaries::Binaries;
use super::place::PORT;
use super::{Error, Place};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

/// How long a start may take before it is given up; recovery after a crash replays up to `max_wal_size`.
const START_WAIT: Duration = Duration::from_secs(600);
/// After this time the user is told what is going on.
const START_PATIENCE: Duration = Duration::from_secs(5);
/// How long a server that was in the way may take to get ready.
const OTHER_WAIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
/// How long apart starts are tried while the remains of a killed server are in the way.
const IN_THE_WAY_PAUSE: Duration = Duration::from_millis(200);

/// What the server is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It takes connections.
    Running,
    /// It starts, or recovers from a crash; the process id.
    Starting(i32),
    /// It is shutting down; the process id.
    Stopping(i32),
    /// There is no server.
    Stopped,
}

/// From the pid file, the process table and the socket.
pub(super) fn state(place: &Place) -> State {
    let answers = || UnixStream::connect(place.socket()).is_ok();
    match read_pid_file(place).filter(|(pid, _)| is_server(*pid, place)) {
        Some((_, word)) if matches!(word.as_str(), "ready" | "standby") && answers() => State::Running,
        Some((pid, word)) if word == "stopping" => State::Stopping(pid),
        Some((pid, _)) => State::Starting(pid),
        // Its process may be out of sight: one of another container that shares the directory.
        None if answers() => State::Running,
        None => State::Stopped,
    }
}

/// The process id of the server, if there is one.
pub(super) fn pid(place: &Place) -> Option<i32> {
    read_pid_file(place).map(|(pid, _)| pid).filter(|pid| is_server(*pid, place))
}

/// The first line of `postmaster.pid`, and the word on its eighth (empty while the server is young).
fn read_pid_file(place: &Place) -> Option<(i32, String)> {
    let bytes = fs::read(place.data().join("postmaster.pid")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines();
    let pid = lines.next()?.trim().parse::<i32>().ok().filter(|p| *p > 1)?;
    Some((pid, lines.nth(6).unwrap_or_default().trim().to_owned()))
}

/// True if the process lives and works in our data directory: its number may have gone to another one.
fn is_server(pid: i32, place: &Place) -> bool {
    if kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH) {
        return false;
    }
    let Ok(data) = fs::metadata(place.data()) else { return false };
    match works_in(&format!("/proc/{pid}"), &data) {
        Ok(inside) => inside,
        // A zombie has no directory; without the right to look, believe the file if at least the owner is right.
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            fs::metadata(format!("/proc/{pid}")).is_ok_and(|process| process.uid() == data.uid())
        }
        Err(_) => false,
    }
}

/// True if a process (its directory in /proc) works in this directory. The path may have another name where the process
/// sees other mounts, so the directories themselves are compared.
fn works_in(process: &str, dir: &fs::Metadata) -> std::io::Result<bool> {
    fs::metadata(format!("{process}/cwd")).map(|cwd| (cwd.dev(), cwd.ino()) == (dir.dev(), dir.ino()))
}

/// Waits while a server that somebody else has started or stopped changes its state.
pub(super) fn wait_for_change(place: &Place) -> Result<(), Error> {
    let before = state(place);
    let end = Instant::now() + START_WAIT;
    while state(place) == before {
        if Instant::now() > end {
            return Err(Error::new(format!("the private server hangs while {}", verb(before)))
                .with_hint(format!("see {}", place.log_dir().display())));
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

fn verb(s: State) -> &'static str {
    match s {
        State::Stopping(_) => "stopping",
        _ => "starting",
    }
}

/// Starts the server on its data and waits until it takes connections. To be called under the lock, when no
/// server runs. The server has a session of its own: no signal of a terminal reaches it.
pub(super) fn launch(place: &Place, binaries: &Binaries, account: &Account) -> Result<(), Error> {
    account.make_dir(&place.log_dir())?;
    account.make_dir(&place.socket_dir())?;
    account.check_reach(&place.data())?;
    let end = Instant::now() + OTHER_WAIT;
    loop {
        forget_reused_pid(place);
        let child = spawn(place, binaries, account)?;
        match wait_until_ready(place, child)? {
            Start::Ready => return Ok(()),
            Start::InTheWay if Instant::now() < end => std::thread::sleep(IN_THE_WAY_PAUSE),
            Start::InTheWay => return Err(explain_start(place, "another server is in the way")),
        }
    }
}

fn spawn(place: &Place, binaries: &Binaries, account: &Account) -> Result<Child, Error> {
    let log = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(place.startup_log())
        .map_err(|e| Error::io(format!("cannot write {}", place.startup_log().display()), &e))?;
    let both = log.try_clone().map_err(|e| Error::io("cannot share the log", &e))?;
    let mut c = account.command(&binaries.program("postgres"));
    c.arg("-D").arg(place.data()).arg("-k").arg(place.socket_dir()).arg("-p").arg(PORT.to_string());
    c.args(["-c", "listen_addresses=", "-c", "unix_socket_permissions=0700"]);
    let mut logs = OsString::from("log_directory=");
    logs.push(place.log_dir());
    c.arg("-c").arg(logs);
    c.stdout(both).stderr(log);
    // SAFETY: these calls are async-signal-safe and touch only the child.
    unsafe {
        c.pre_exec(|| {
            libc::setsid();
            libc::umask(0o077);
            // The server must not hold a caller's pipes and locks open: they close at exec.
            libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
            Ok(())
        });
    }
    c.spawn().map_err(|e| Error::io("cannot run postgres", &e))
}

/// How a start ended that did not fail.
enum Start {
    /// A server takes connections, ours or one that was started beside it.
    Ready,
    /// What is left of a killed server still holds the data.
    InTheWay,
}

fn wait_until_ready(place: &Place, mut child: Child) -> Result<Start, Error> {
    let started = Instant::now();
    let mut told = false;
    loop {
        let state = state(place);
        if state == State::Running {
            // The server outlives us; nobody waits for it.
            drop(child);
            return Ok(Start::Ready);
        }
        if let Ok(Some(status)) = child.try_wait() {
            let beside_another = startup_lines(place).iter().any(|l| is_beside_another(l));
            if beside_another && state == State::Stopped {
                return Ok(Start::InTheWay);
            }
            // A command that was killed at this point may have left a server that starts beside ours.
            if !beside_another || started.elapsed() > OTHER_WAIT {
                return Err(explain_start(place, &status.to_string()));
            }
        }
        if !told && started.elapsed() > START_PATIENCE {
            told = true;
            log::warn!("the private server is starting; after a crash it first repairs its data");
        }
        if started.elapsed() > START_WAIT {
            return Err(Error::new("the private server does not get ready").with_hint(format!(
                "see {} and {}",
                place.startup_log().display(),
                place.log_dir().display()
            )));
        }
        std::thread::sleep(POLL);
    }
}

/// True for the words of a server that found another one on its data: one that runs, or the last processes of one
/// that was killed.
fn is_beside_another(line: &str) -> bool {
    line.contains("FATAL")
        && (line.contains("lock file") && line.contains("already exists")
            || line.contains("shared memory block") && line.contains("still in use"))
}

/// Why PostgreSQL gave up: the last line of that kind, without its time.
pub(super) fn reason(lines: &[String]) -> Option<&str> {
    const BAD: &[&str] = &["PANIC:  ", "FATAL:  ", "ERROR:  "];
    lines.iter().rev().find_map(|l| BAD.iter().find_map(|word| l.split_once(word))).map(|(_, said)| said)
}

/// Why the server ended at once.
fn explain_start(place: &Place, status: &str) -> Error {
    // What it said before its log was open is of this start; the log may be older.
    let (first, log) = (startup_lines(place), log_tail(place, 200));
    let why = reason(&first).or_else(|| reason(&log)).unwrap_or(status);
    let error = Error::new(format!("the private server did not start: {why}"));
    // A write that was cut short is how PostgreSQL says it where some of it did fit.
    if why.contains("No space left") || why.contains("wrote only") {
        error.with_hint("make room on that disk")
    } else if why.contains("could not lock memory") || why.contains("could not map anonymous shared memory") {
        error.with_hint(format!("lower shared_buffers in {}", place.data().join("postgresql.conf").display()))
    } else if why.contains("has invalid permissions") {
        error.with_hint(format!("chmod 700 {}", place.data().display()))
    } else {
        error.with_hint(format!("see {} and {}", place.startup_log().display(), place.log_dir().display()))
    }
}

/// After a reboot the number in the pid file may belong to any process, which PostgreSQL takes for a server.
fn forget_reused_pid(place: &Place) {
    let Some((pid, _)) = read_pid_file(place) else { return };
    let alive = kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH);
    if alive && !is_server(pid, place) && !anybody_in(&place.data()) {
        let _ = fs::remove_file(place.data().join("postmaster.pid"));
        let _ = fs::remove_file(place.socket().with_extension(format!("{PORT}.lock")));
    }
}

/// True if a process (a child of a killed server) still works in the directory.
fn anybody_in(dir: &Path) -> bool {
    let Ok(dir) = fs::metadata(dir) else { return false };
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter(|p| p.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .any(|p| works_in(&p.path().to_string_lossy(), &dir).unwrap_or(false))
}

/// Ends all sessions and the server; waits up to `limit`. False if there was none.
pub(super) fn stop(place: &Place, limit: Duration) -> Result<bool, Error> {
    let Some(pid) = pid(place) else {
        if state(place) == State::Stopped {
            return Ok(false);
        }
        return Err(Error::new("the private server answers, but its process cannot be seen from here")
            .with_hint("stop it where it was started: in another container that shares its directory?"));
    };
    match kill(Pid::from_raw(pid), Signal::SIGINT) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(e) => {
            return Err(Error::new(format!("cannot stop the private server (process {pid}): {}", e.desc())));
        }
    }
    let end = Instant::now() + limit;
    while is_server(pid, place) {
        if Instant::now() > end {
            return Err(Error::new(format!("the private server (process {pid}) is still stopping"))
                .with_hint(
                    "it writes its buffers to disk; wait, and look again with: userfilefs server status",
                ));
        }
        std::thread::sleep(POLL);
    }
    Ok(true)
}

/// The last lines of the newest log, after those from before it was open.
pub(super) fn log_tail(place: &Place, lines: usize) -> Vec<String> {
    let mut files: Vec<_> =
        fs::read_dir(place.log_dir()).into_iter().flatten().flatten().map(|e| e.path()).collect();
    files.sort_by_key(|p| fs::metadata(p).and_then(|m| m.modified()).ok());
    let mut all = startup_lines(place);
    all.extend(files.pop().into_iter().flat_map(|newest| file_lines(&newest)));
    all.split_off(all.len().saturating_sub(lines))
}

/// What the server said at its last start, before its log was open.
fn startup_lines(place: &Place) -> Vec<String> {
    file_lines(&place.startup_log())
}

fn file_lines(path: &Path) -> Vec<String> {
    let text = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_reason_is_the_last_complaint() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let said = lines(
            "2026-11-26 06:36:45.355 UTC [2831]  PANIC:  could not write: No space left on device\n\
             2026-11-26 06:36:45.355 UTC [2831]  CONTEXT:  writing block 0 of relation base/1/2",
        );
        assert_eq!(super::reason(&said), Some("could not write: No space left on device"));
        assert_eq!(super::reason(&lines("LOG:  fine")), None);
    }
}
