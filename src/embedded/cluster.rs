//! Makes the data of the private server.

use super::account::Account;
use super::binaries::Binaries;
use super::sizes::Sizes;
use super::{DATABASE, Error, Place, USER, process};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// The major version that made the data; None if there are none yet.
pub(super) fn version(place: &Place) -> Result<Option<String>, Error> {
    let path = place.data().join("PG_VERSION");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            if place.data().exists() {
                return Err(Error::new(format!(
                    "{} is no PostgreSQL data directory",
                    place.data().display()
                ))
                .with_hint("move it away, or set USERFILEFS_SERVER_DIR"));
            }
            Ok(None)
        }
        Err(e) => Err(Error::io(format!("cannot read {}", path.display()), &e)),
    }
}

/// Whether the data were left by a shutdown that somebody asked for, by the word of pg_controldata; None: there are no
/// data, or it cannot be told.
pub(super) fn was_shut_down(place: &Place) -> Option<bool> {
    let version = version(place).ok()??;
    let program = Binaries::find(Some(&version)).ok()?.program("pg_controldata");
    let out = Account::choose(place).ok()?.command(&program).arg("-D").arg(place.data()).output().ok()?;
    let said = String::from_utf8_lossy(&out.stdout);
    // "shut down", "shut down in recovery", "shutting down".
    let state = said.lines().find_map(|line| line.strip_prefix("Database cluster state:"))?;
    Some(state.trim().starts_with("shut"))
}

/// Makes the cluster aside, with its database, and gives it its name when it is complete. To be called under
/// `lock`, which the programs it runs share: if we are killed, nobody else starts before they have ended too.
/// What an earlier, killed attempt has left is removed.
pub(super) fn make(place: &Place, binaries: &Binaries, account: &Account, lock: &File) -> Result<(), Error> {
    let new = place.data_in_the_making();
    match fs::remove_dir_all(&new) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io(format!("cannot remove {}", new.display()), &e));
        }
        _ => {}
    }
    account.make_dir(&new)?;
    account.check_reach(&new)?;
    log::info!("making the private PostgreSQL {} in {}", binaries.major, place.data().display());
    let made = sizes(&new)
        .and_then(|sizes| initdb(&new, sizes, binaries, account, lock).map(|()| sizes))
        .and_then(|sizes| configure(&new, sizes))
        .and_then(|()| create_database(&new, binaries, account, lock));
    if made.is_err() {
        // On a full disk it would only be in the way.
        let _ = fs::remove_dir_all(&new);
    }
    made?;
    let failed = |e: std::io::Error| Error::io(format!("cannot name {}", place.data().display()), &e);
    fs::rename(&new, place.data()).map_err(failed)?;
    File::open(place.home()).and_then(|d| d.sync_all()).map_err(failed)
}

/// What the server may take of the disk that a directory lies on.
fn sizes(dir: &Path) -> Result<Sizes, Error> {
    let failed = |e: nix::Error| {
        Error::io(format!("cannot tell the size of the disk of {}", dir.display()), &e.into())
    };
    let disk = nix::sys::statvfs::statvfs(dir).map_err(failed)?;
    let mib = |blocks: u64| (blocks * disk.fragment_size()) >> 20;
    Ok(Sizes::of_disk(mib(disk.blocks()), mib(disk.blocks_available())))
}

/// Lets a program inherit the lock.
fn share(c: &mut Command, lock: &File) {
    let fd = lock.as_raw_fd();
    // SAFETY: fcntl is async-signal-safe; the descriptor is open in the child, a copy of this process.
    unsafe {
        c.pre_exec(move || {
            if libc::fcntl(fd, libc::F_SETFD, 0) == -1 {
                Err(std::io::Error::last_os_error())
            } else {
                Ok(())
            }
        });
    }
}

fn initdb(
    dir: &Path,
    sizes: Sizes,
    binaries: &Binaries,
    account: &Account,
    lock: &File,
) -> Result<(), Error> {
    let mut c = account.command(&binaries.program("initdb"));
    share(&mut c, lock);
    c.args(["--encoding=UTF8", "--locale=C", "--auth=trust", "--data-checksums", "-U", USER]);
    c.arg(format!("--wal-segsize={}", sizes.segment)).arg("-D").arg(dir);
    let out = c.output().map_err(|e| Error::io("cannot run initdb", &e))?;
    if out.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    let lines: Vec<String> = said.lines().map(str::to_owned).collect();
    let complaint = || lines.iter().find_map(|l| l.strip_prefix("initdb: error: "));
    let why = process::reason(&lines).or_else(complaint).unwrap_or_else(|| said.trim());
    let error = Error::new(format!("cannot make the private server's data: {why}"));
    Err(if said.contains("No space left") {
        error.with_hint("make room on that disk")
    } else if said.contains("could not look up effective user") {
        error.with_hint(
            "PostgreSQL wants a line for this user in /etc/passwd; or name another server with --url",
        )
    } else {
        error
    })
}

/// Settings for large rows and many commits; the user may edit them. Where it listens is said at each start.
fn configure(dir: &Path, sizes: Sizes) -> Result<(), Error> {
    let text = format!(
        "\n# By userfilefs\n\
         max_connections = 200\n\
         shared_buffers = {buffers}MB\n\
         effective_cache_size = {cache}MB\n\
         dynamic_shared_memory_type = mmap\n\
         max_parallel_workers_per_gather = 0\n\
         synchronous_commit = on\n\
         wal_buffers = 32MB\n\
         min_wal_size = {wal_kept}MB\n\
         max_wal_size = {wal}MB\n\
         checkpoint_timeout = 15min\n\
         autovacuum_naptime = 20s\n\
         autovacuum_vacuum_cost_limit = {autovacuum}\n\
         vacuum_cost_delay = 2ms\n\
         vacuum_cost_limit = {vacuum}\n\
         jit = off\n\
         timezone = 'UTC'\n\
         log_timezone = 'UTC'\n\
         logging_collector = on\n\
         log_filename = 'server-%a.log'\n\
         log_truncate_on_rotation = on\n\
         log_rotation_age = 1d\n\
         log_rotation_size = 0\n\
         log_min_messages = warning\n\
         log_checkpoints = off\n\
         checkpoint_warning = 0\n\
         log_min_error_statement = panic\n\
         log_line_prefix = '%m [%p] %a '\n",
        buffers = sizes.buffers(memory_mib()),
        cache = memory_mib() / 2,
        wal = sizes.wal,
        wal_kept = (sizes.wal / 4).clamp(64, 256),
        autovacuum = sizes.vacuum_cost.min(2000),
        vacuum = sizes.vacuum_cost,
    );
    let path = dir.join("postgresql.conf");
    let file = OpenOptions::new().append(true).open(&path);
    let written = file.and_then(|mut f| f.write_all(text.as_bytes()).and_then(|()| f.sync_all()));
    written.map_err(|e| Error::io(format!("cannot write {}", path.display()), &e))
}

/// In PostgreSQL's single-user mode: the data are complete before any server runs on them.
fn create_database(dir: &Path, binaries: &Binaries, account: &Account, lock: &File) -> Result<(), Error> {
    let mut c = account.command(&binaries.program("postgres"));
    share(&mut c, lock);
    c.arg("--single").arg("-D").arg(dir).args([
        "-c",
        "logging_collector=off",
        "-c",
        "log_min_messages=error",
        "postgres",
    ]);
    c.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut run = || -> std::io::Result<(bool, String)> {
        let mut child = c.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            writeln!(stdin, "CREATE DATABASE {DATABASE}")?;
        }
        let mut said = String::new();
        if let Some(mut stderr) = child.stderr.take() {
            stderr.read_to_string(&mut said)?;
        }
        Ok((child.wait()?.success(), said))
    };
    let (success, said) = run().map_err(|e| Error::io("cannot run postgres", &e))?;
    if success && !said.contains("ERROR") && !said.contains("FATAL") {
        return Ok(());
    }
    let lines: Vec<String> = said.lines().map(str::to_owned).collect();
    let why = process::reason(&lines).unwrap_or("no reason given");
    let error = Error::new(format!("cannot make the database {DATABASE}: {why}"));
    Err(if said.contains("No space left") { error.with_hint("make room on that disk") } else { error })
}

/// The machine's memory in MiB; 1024 where it cannot be told.
fn memory_mib() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|l| l.strip_prefix("MemTotal:"));
    let kib = total.and_then(|t| t.split_whitespace().next()).and_then(|n| n.parse::<u64>().ok());
    kib.map_or(1024, |k| k / 1024)
}
