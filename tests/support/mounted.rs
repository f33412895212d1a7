//! A real mount for a test: started on a database of its own, unmounted whatever happens.
//!
//! With `USERFILEFS_TEST_PLAIN=DIR` the "mount" is a plain directory below DIR (a tmpfs) and the store is
//! that same directory: so the suites themselves can be checked against a filesystem that is known to be right.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::postgres::{Db, Server};
use super::tables::{CHUNK_LEN, Tables};
use super::wire::Wire;

/// After this long the connection of a mount is cut, so that a hang becomes a failed test.
const WATCHDOG: Duration = Duration::from_secs(240);
/// A mount that does not serve after this long has failed.
const READY: Duration = Duration::from_secs(30);
/// A mount that is still there this long after SIGTERM hangs.
const GONE: Duration = Duration::from_secs(60);

/// How to mount.
#[derive(Clone, Default)]
pub struct Setup {
    url: String,
    options: String,
    env: Vec<(String, String)>,
    chunk_len: Option<usize>,
    plain: Option<PathBuf>,
}

impl Setup {
    /// A mount of what `url` names.
    pub fn new(url: impl Into<String>) -> Setup {
        Setup { url: url.into(), ..Setup::default() }
    }

    /// The same of what another `url` names.
    pub fn of(mut self, url: String) -> Setup {
        self.url = url;
        self
    }

    /// Adds `-o` options.
    pub fn options(mut self, options: &str) -> Setup {
        if !self.options.is_empty() && !options.is_empty() {
            self.options.push(',');
        }
        self.options.push_str(options);
        self
    }

    /// Adds an environment variable.
    pub fn env(mut self, name: &str, value: impl ToString) -> Setup {
        self.env.push((name.into(), value.to_string()));
        self
    }

    /// Uses chunks of this many bytes.
    pub fn chunk_len(mut self, bytes: usize) -> Setup {
        self.chunk_len = Some(bytes);
        self.env("USERFILEFS_TEST_CHUNK_LEN", bytes)
    }

    /// Mounts and waits until the directory serves.
    ///
    /// # Panics
    /// With the mount's log, where it does not.
    pub fn mount(self) -> Mount {
        self.try_mount().unwrap_or_else(|e| panic!("{e}"))
    }

    /// The same, with the failed mount's log as the error.
    pub fn try_mount(self) -> Result<Mount, String> {
        let base = fresh_dir();
        let (dir, log) = (base.join("mnt"), base.join("log"));
        std::fs::create_dir(&dir).expect("mount point");
        let mut mount =
            Mount { setup: self, base, dir, log, child: None, watchdog: None, database: None, owner: false };
        mount.start()?;
        Ok(mount)
    }
}

fn fresh_dir() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    static CLEANED: std::sync::Once = std::sync::Once::new();
    CLEANED.call_once(remove_leftovers);
    let name =
        format!("userfilefs-test-mnt-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let base = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&base).expect("directory for a mount");
    base
}

/// Takes away mounts of test runs that were killed.
fn remove_leftovers() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix("userfilefs-test-mnt-") else { continue };
        let alive = rest.split('-').next().is_some_and(|pid| Path::new("/proc").join(pid).exists());
        if !alive {
            lazy_unmount(&entry.path().join("mnt"));
            let _ = std::fs::remove_file(entry.path().join("log"));
            let _ = std::fs::remove_dir(entry.path().join("mnt"));
            let _ = std::fs::remove_dir(entry.path());
        }
    }
}

/// A mount, or the plain directory in its place.
pub struct Mount {
    setup: Setup,
    base: PathBuf,
    dir: PathBuf,
    log: PathBuf,
    child: Option<Child>,
    watchdog: Option<Watchdog>,
    database: Option<(&'static Server, String)>,
    /// Whether the database goes with this mount.
    owner: bool,
}

/// The tests' usual mount: a fresh database on the shared server. `None`, after a loud skip, where the machine
/// has no `/dev/fuse` or no PostgreSQL.
pub fn fresh(options: &str) -> Option<Mount> {
    fresh_with(options, |setup| setup)
}

/// The same with more settings.
pub fn fresh_with(options: &str, more: impl FnOnce(Setup) -> Setup) -> Option<Mount> {
    if let Some(plain) = plain_dir() {
        std::fs::create_dir_all(&plain).expect("plain directory");
        let dir = tempfile::tempdir_in(plain).expect("plain directory").keep();
        let setup = Setup { plain: Some(dir), ..more(Setup::new("").options(options)) };
        return Some(setup.mount());
    }
    if !fuse_works() {
        return None;
    }
    let server = Server::shared()?;
    let database = server.fresh_database();
    let mut mount = more(Setup::new(server.url(&database)).options(options)).mount();
    mount.database = Some((server, database));
    mount.owner = true;
    Some(mount)
}

/// A mount on a fresh database through a relay, with small chunks.
pub fn fresh_relayed(options: &str) -> Option<(Wire, Mount)> {
    if plain_dir().is_some() || !fuse_works() {
        return None;
    }
    let server = Server::shared()?;
    let database = server.fresh_database();
    let wire = Wire::new(server.port());
    let mut mount = Setup::new(wire.url(&server.url(&database))).chunk_len(4096).options(options).mount();
    mount.database = Some((server, database));
    mount.owner = true;
    Some((wire, mount))
}

/// Where the plain directories are, if the suites check themselves.
pub fn plain_dir() -> Option<PathBuf> {
    std::env::var_os("USERFILEFS_TEST_PLAIN").map(PathBuf::from)
}

/// Can this machine mount? A loud skip where it cannot.
pub fn fuse_works() -> bool {
    let open = std::fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
    if let Err(e) = &open {
        super::require::skip("fuse", &format!("/dev/fuse: {e}"));
    }
    open.is_ok()
}

impl Mount {
    fn start(&mut self) -> Result<(), String> {
        if let Some(plain) = &self.setup.plain {
            self.dir.clone_from(plain);
            return Ok(());
        }
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log).expect("log file");
        let mut command = super::cli::userfilefs();
        command.arg("mount").arg(&self.setup.url).arg(&self.dir).arg("-f");
        if !self.setup.options.is_empty() {
            command.arg("-o").arg(&self.setup.options);
        }
        command.env("RUST_LOG", std::env::var("USERFILEFS_TEST_LOG").unwrap_or("info".into()));
        command.envs(self.setup.env.iter().map(|(n, v)| (n, v))).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("log handle")).stderr(log).process_group(0);
        let mut child = command.spawn().map_err(|e| format!("cannot run userfilefs: {e}"))?;
        let end = Instant::now() + READY;
        loop {
            if let Some(device) = mounted_device(&self.dir) {
                self.watchdog = Some(Watchdog::new(device));
                self.child = Some(child);
                return Ok(());
            }
            let state = child.try_wait().expect("state of the mount");
            if state.is_some() || Instant::now() > end {
                let _ = child.kill();
                let status = child.wait();
                return Err(format!("the mount does not serve ({status:?}):\n{}", self.log_text()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The mount point.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A path below the mount point.
    pub fn path(&self, relative: &str) -> PathBuf {
        if relative.is_empty() { self.dir.clone() } else { self.dir.join(relative) }
    }

    /// Is this the plain directory?
    pub fn is_plain(&self) -> bool {
        self.setup.plain.is_some()
    }

    /// Everything that the mount has printed so far.
    pub fn log_text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The process id of the serving process.
    pub fn pid(&self) -> i32 {
        self.child.as_ref().map_or(0, |child| child.id().cast_signed())
    }

    /// The number of bytes in a full chunk of this mount.
    pub fn chunk_len(&self) -> usize {
        self.setup.chunk_len.unwrap_or(CHUNK_LEN)
    }

    /// What to mount this again with.
    pub fn setup(&self) -> Setup {
        self.setup.clone()
    }

    /// The tables below this mount, over a new connection straight to the server.
    pub fn tables(&self) -> Tables {
        let (server, database) = self.database.as_ref().expect("a database of the shared server");
        Tables::new(server.db(database), "userfiles_postgres")
    }

    /// A connection to the database below this mount.
    pub fn db(&self) -> Db {
        self.tables().db
    }

    /// What another client reads under a name now; from the plain directory where there is no database.
    pub fn stored(&self, name: &str) -> Option<Vec<u8>> {
        if self.is_plain() {
            return std::fs::read(self.dir.join(name.trim_start_matches('/'))).ok();
        }
        self.tables().read(name)
    }

    /// Stores a file as another client.
    pub fn store(&self, name: &str, data: &[u8]) {
        if self.is_plain() {
            let path = self.dir.join(name.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
            // Another client gives a new file the name; it does not write into the old one.
            let _ = std::fs::remove_file(&path);
            std::fs::write(path, data).expect("plain store");
        } else {
            self.tables().write(name, data, self.chunk_len());
        }
    }

    /// Deletes a file as another client.
    pub fn unstore(&self, name: &str) {
        if self.is_plain() {
            std::fs::remove_file(self.dir.join(name.trim_start_matches('/'))).expect("plain delete");
        } else {
            self.tables().delete(name);
        }
    }

    /// Fails unless everything stored keeps the contract.
    pub fn assert_contract(&self) {
        if !self.is_plain() {
            self.tables().assert_contract(self.chunk_len());
        }
    }

    /// Another mount of the same store with other options.
    pub fn second(&self, options: &str) -> Mount {
        let mut setup = self.setup();
        setup.options = options.to_owned();
        let mut mount = setup.mount();
        mount.database.clone_from(&self.database);
        mount
    }

    /// Waits for the end of a mount after SIGTERM, which drains it.
    pub fn unmount(&mut self) -> Option<ExitStatus> {
        self.signal(nix::sys::signal::Signal::SIGTERM);
        self.wait(GONE)
    }

    /// Sends a signal to the serving process.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        if let Some(child) = &self.child {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id().cast_signed()), signal);
        }
    }

    /// Waits until the serving process has ended.
    ///
    /// # Panics
    /// Where it is still there at the end of `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let child = self.child.as_mut()?;
        let end = Instant::now() + limit;
        let status = loop {
            if let Some(status) = child.try_wait().expect("state of the mount") {
                break status;
            }
            assert!(Instant::now() < end, "the mount does not end:\n{}", self.log_text());
            std::thread::sleep(Duration::from_millis(5));
        };
        self.child = None;
        self.watchdog = None;
        Some(status)
    }

    /// kill -9, then a lazy unmount of what is left, as a new mount would do it.
    pub fn kill(&mut self) {
        self.signal(nix::sys::signal::Signal::SIGKILL);
        self.wait(GONE);
    }

    /// Unmounts and mounts again at the same place.
    pub fn remount(&mut self) {
        if self.is_plain() {
            return;
        }
        let status = self.unmount();
        assert!(status.is_some_and(|s| s.success()), "unmount ended with {status:?}:\n{}", self.log_text());
        assert!(mounted_device(&self.dir).is_none(), "still mounted after the end of the mount");
        self.start().unwrap_or_else(|e| panic!("{e}"));
    }

    /// Mounts again at the same place after [`Mount::kill`] or [`Mount::unmount`].
    pub fn mount_again(&mut self) {
        self.start().unwrap_or_else(|e| panic!("{e}"));
    }

    /// Changes the options for the next [`Mount::remount`].
    pub fn set_options(&mut self, options: &str) {
        options.clone_into(&mut self.setup.options);
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.is_plain() {
            let text = self.log_text();
            let lines: Vec<&str> = text.lines().collect();
            let tail = &lines[lines.len().saturating_sub(60)..];
            eprintln!("--- the end of the mount's log\n{}\n---", tail.join("\n"));
        }
        let mut hung = false;
        if let Some(mut child) = self.child.take() {
            let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
            let end = Instant::now() + Duration::from_secs(20);
            while matches!(child.try_wait(), Ok(None)) {
                if Instant::now() > end {
                    hung = true;
                    let _ = child.kill();
                    // A process that waits for its own mount cannot even be killed.
                    if let Some(watchdog) = &self.watchdog {
                        watchdog.cut();
                    }
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = child.wait();
        }
        lazy_unmount(&self.dir);
        if let Some((server, database)) = self.database.as_ref().filter(|_| self.owner) {
            server.drop_database(database);
        }
        if let Some(plain) = &self.setup.plain {
            let _ = std::fs::remove_dir_all(plain);
        }
        let _ = std::fs::remove_file(&self.log);
        let _ = std::fs::remove_dir(self.base.join("mnt"));
        let _ = std::fs::remove_dir(&self.base);
        if !std::thread::panicking() {
            assert!(!hung, "the mount did not end within 20 s of SIGTERM");
        }
    }
}

/// Takes away whatever is mounted at `dir`, without waiting for anybody.
pub fn lazy_unmount(dir: &Path) {
    while is_mount_point(dir) {
        if nix::mount::umount2(dir, nix::mount::MntFlags::MNT_DETACH).is_err() {
            let done = std::process::Command::new("fusermount3").arg("-uz").arg(dir).status();
            if !done.is_ok_and(|s| s.success()) {
                return;
            }
        }
    }
}

/// Does the kernel list `dir` as a mount point? (Asks nobody who could hang.)
pub fn is_mount_point(dir: &Path) -> bool {
    !devices_at(dir).is_empty()
}

/// The devices, `major:minor`, that the kernel's table of mounts shows at `dir`.
fn devices_at(dir: &Path) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let at_dir = |line: &&str| line.split(' ').nth(4).is_some_and(|at| Path::new(at) == dir);
    table.lines().filter(at_dir).filter_map(|line| line.split(' ').nth(2).map(str::to_owned)).collect()
}

/// The device of the filesystem that serves at `dir`.
fn mounted_device(dir: &Path) -> Option<u64> {
    if !is_mount_point(dir) {
        return None;
    }
    // A dead mount that the new one is about to take away is in the table, too, but cannot be listed; and once it is
    // taken away, what can be listed is the directory below, whose device no mount at this place has.
    std::fs::read_dir(dir).ok()?;
    let device = std::fs::metadata(dir).ok()?.dev();
    let shown = format!("{}:{}", nix::sys::stat::major(device), nix::sys::stat::minor(device));
    devices_at(dir).contains(&shown).then_some(device)
}

/// Cuts a FUSE connection when its time is over.
struct Watchdog {
    done: Arc<AtomicBool>,
    minor: u64,
}

impl Watchdog {
    fn new(device: u64) -> Watchdog {
        let done = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&done);
        let minor = (device & 0xff) | ((device >> 12) & 0xffff_ff00);
        let limit = std::env::var("USERFILEFS_TEST_WATCHDOG_S").ok().and_then(|s| s.parse().ok());
        let end = Instant::now() + limit.map_or(WATCHDOG, Duration::from_secs);
        std::thread::spawn(move || {
            while Instant::now() < end {
                if flag.load(Ordering::Relaxed) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(200));
            }
            eprintln!("WATCHDOG: the mount took too long; cutting its connection");
            abort(minor);
        });
        Watchdog { done, minor }
    }

    fn cut(&self) {
        abort(self.minor);
    }
}

/// Ends a FUSE connection: everything that waits for it fails.
fn abort(minor: u64) {
    let _ = std::fs::write(format!("/sys/fs/fuse/connections/{minor}/abort"), "1");
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

/// Waits until `done` holds, looking every 20 ms.
///
/// # Panics
/// At the end of `limit`.
pub fn eventually(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !done() {
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Bytes that differ everywhere, the same for the same seed.
pub fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut data = Vec::with_capacity(len + 8);
    while data.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        data.extend_from_slice(&state.to_le_bytes());
    }
    data.truncate(len);
    data
}
