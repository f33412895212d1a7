//! `userfilefs mount`, and the same as mount(8)'s helper: from arguments to a directory that serves.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::chunk::{AttrsMode, Create, FileTable, TableOptions};
use crate::cli::connect::{self, ConnectionArgs};
use crate::cli::{Exit, output, revive};
use crate::fs::{Config, UserfileFs};
use crate::mount::adapter::Adapter;
use crate::mount::control::Client;
use crate::mount::daemon::{self, Forked, Reporter, Start};
use crate::mount::helper;
use crate::mount::options::{CONFIG_BYTES_MAX, MountOptions, Unknown};
use crate::mount::session::{self, Lifecycle};
use crate::mount::source::Source;
use crate::mount::value::Owner;
use crate::mount::{argv, config, kernel, point, table};
use crate::sql::{Pool, PoolOptions, Settings};

/// How long the last stores may take when a mount ends.
const DRAIN_MAX: Duration = Duration::from_secs(240);
/// How long the removal of what is no longer needed may hold up the end.
const LEAVE_MAX: Duration = Duration::from_secs(5);
/// Pauses between attempts to reach the server with `retry=`.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Search path where mount(8) has left none.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// As many `-v`s as `-o debug` stands for.
const DEBUG_VERBOSITY: u8 = 2;
/// A chunk length for tests, in bytes.
const CHUNK_LEN_VARIABLE: &str = "USERFILEFS_TEST_CHUNK_LEN";
/// How long leftovers of dead writers are kept, for tests, in milliseconds.
const LEASE_VARIABLE: &str = "USERFILEFS_TEST_LEASE_MS";

const MOUNT_HELP: &str = "\
SOURCE is a postgresql:// URL, userfile://[database.schema.prefix]/directory, or \"embedded\", the private server; \
without one, flags and variables decide, and without those it is the private server. Without any operand the mounts \
that are there are listed.

Mount options (-o, separated by commas; a backslash makes a comma literal):
  ro, rw                  refuse changes; allow them (default)
  prefix=NAME             the tables: [[database.]schema.]prefix
  subdir=PATH             show only this directory
  allow_other             other users may look in (root's default; noallow_other)
  allow_root              the same, for a mount of an ordinary user
  nodefault_permissions   the kernel does not check modes and owners
  uid=, gid=              owner and group of files that have none stored
  umask=, fmask=, dmask=  permission bits taken away where no mode is stored
  noattrs                 store no modes, owners, links, empty directories
  user_xattr              store extended attributes
  attr_timeout=SECONDS    how long attributes are remembered (1)
  entry_timeout=SECONDS   how long names are remembered (1)
  timeo=SECONDS           how long an operation is retried while the server is
                          away (60); 0, or the word hard: for ever
  retry=SECONDS           how long mount itself tries to reach the server (0)
  async, async_close      close returns before the file is stored; fsync and
                          umount wait (mount(8) only passes async_close on)
  sync                    every write waits for the store
  dirty=SIZE              memory for what is not stored yet (48M)
  cache=SIZE              memory for what was read (48M)
  max_hole=SIZE           largest hole that is filled with zeros (64G)
  recover                 read files with the wrong offsets of an old defect
                          of CockroachDB
  config=FILE             more of these words, one a line, commas literal; the
                          place for url=URL with a password
  passfile=FILE           passwords, in the form of ~/.pgpass
  certs_dir=DIR           certificates, as cockroach has them
  log=FILE                where the daemon's messages go
  fstype=, fsname=        the type and the source that the kernel shows
  debug                   log every request
  noexec, nosymfollow, dirsync, nonempty, remount, foreground
Words that only concern fstab and mount(8) are ignored: _netdev, nofail, noauto,
user, x-* and so on.

Examples:
  userfilefs mount /mnt/userfile
  userfilefs mount postgresql://bob@db:26257/defaultdb /mnt/userfile -o ro,subdir=backups
  mount -t userfilefs embedded /mnt/userfile";

/// Mount userfile storage as a directory.
#[derive(clap::Args, Debug)]
#[command(after_help = MOUNT_HELP, override_usage = "userfilefs mount [OPTIONS] [[SOURCE] DIR]")]
pub struct Args {
    /// What to mount, and the directory to mount it on
    #[arg(value_names = ["SOURCE", "DIR"], num_args = 0..=2)]
    operands: Vec<OsString>,

    /// Mount options
    #[arg(short = 'o', long = "options", value_name = "WORDS")]
    options: Vec<String>,

    /// Serve in the foreground, and tell systemd when it asks
    #[arg(short = 'f', long)]
    foreground: bool,

    /// Refuse changes, as -o ro
    #[arg(short = 'r', long)]
    read_only: bool,

    #[command(flatten)]
    connection: ConnectionArgs,
}

impl Args {
    /// `-o debug`, as a number of `-v`s.
    pub fn verbosity(&self) -> u8 {
        verbosity(&self.options)
    }
}

/// The same for mount(8)'s helper, with the whole argument vector.
pub fn helper_verbosity(argv: &[OsString]) -> u8 {
    let args = helper::mount_args(argv.get(1..).unwrap_or_default());
    args.map_or(0, |args| verbosity(&args.options))
}

fn verbosity(words: &[String]) -> u8 {
    let mut options = MountOptions::default();
    // What is wrong with the words is said later.
    let known = words.iter().all(|list| options.parse(list, Unknown::Ignore).is_ok());
    if known && options.debug { DEBUG_VERBOSITY } else { 0 }
}

/// A failure, by what mount(8) distinguishes.
enum Failure {
    Usage(anyhow::Error),
    System(anyhow::Error),
    Failed(anyhow::Error),
}

/// Codes for the three kinds of failure.
struct Codes {
    usage: Exit,
    system: Exit,
    failed: Exit,
}

const COMMAND_CODES: Codes = Codes { usage: Exit::Usage, system: Exit::Failure, failed: Exit::MountFailure };
/// mount(8) documents 1, 2 and 32.
const HELPER_CODES: Codes = Codes { usage: Exit::Failure, system: Exit::Trouble, failed: Exit::MountFailure };

impl Codes {
    fn report(&self, outcome: Result<Exit, Failure>) -> Exit {
        let (exit, error) = match outcome {
            Ok(exit) => return exit,
            Err(Failure::Usage(e)) => (self.usage, e),
            Err(Failure::System(e)) => (self.system, e),
            Err(Failure::Failed(e)) => (self.failed, e),
        };
        output::error(&error);
        exit
    }
}

/// What is asked for, however it was typed.
struct Request {
    source: String,
    dir: PathBuf,
    words: Vec<String>,
    unknown: Unknown,
    foreground: bool,
    fake: bool,
    talk: bool,
    connection: ConnectionArgs,
}

/// Runs the command. Called before any thread exists.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    let mut operands = args.operands.into_iter();
    let (source, dir) = match (operands.next(), operands.next()) {
        (None, _) => return list(),
        (Some(dir), None) => (OsString::new(), dir),
        (Some(source), Some(dir)) => (source, dir),
    };
    let mut words = args.options;
    words.extend(args.read_only.then(|| "ro".to_string()));
    let request = Request {
        source: source.to_string_lossy().into_owned(),
        dir: dir.into(),
        words,
        unknown: Unknown::Refuse,
        foreground: args.foreground,
        fake: false,
        talk: true,
        connection: args.connection,
    };
    Ok(COMMAND_CODES.report(mount(&request)))
}

/// Runs as mount(8)'s helper, with the whole argument vector. Called before any thread exists.
pub fn run_helper(argv: &[OsString]) -> Exit {
    let args = match helper::mount_args(argv.get(1..).unwrap_or_default()) {
        Ok(args) => args,
        Err(e) => return HELPER_CODES.report(Err(Failure::Usage(e.into()))),
    };
    output::set_quiet(!args.verbose);
    let request = Request {
        source: args.source,
        dir: args.dir.into(),
        words: args.options,
        unknown: if args.sloppy { Unknown::Ignore } else { Unknown::Refuse },
        foreground: false,
        fake: args.fake,
        talk: args.verbose,
        connection: ConnectionArgs::default(),
    };
    HELPER_CODES.report(mount(&request))
}

/// An error with its remedy, where it has one.
pub(super) fn told(
    error: impl std::error::Error + Send + Sync + 'static,
    hint: Option<&str>,
) -> anyhow::Error {
    match hint {
        Some(hint) => output::failure(error.to_string(), hint),
        None => error.into(),
    }
}

fn mount(request: &Request) -> Result<Exit, Failure> {
    daemon::open_standard_streams().map_err(|e| Failure::System(e.into()))?;
    if !request.foreground {
        daemon::close_inherited().map_err(|e| Failure::System(e.into()))?;
    }
    complete_environment();
    let options = read_options(request).map_err(Failure::Usage)?;
    let source =
        Source::parse(&request.source).map_err(|e| Failure::Usage(told(e.clone(), Some(e.hint()))))?;
    let dir = kernel::resolve_mount_point(&request.dir).map_err(|error| {
        let error = point::PointError::Unusable { dir: request.dir.clone(), error };
        Failure::Failed(told_point(error))
    })?;
    if let Err(e) = argv::replace(&[
        "userfilefs",
        "mount",
        &config::shown(&source, &options, "userfilefs"),
        &dir.to_string_lossy(),
    ]) {
        log::debug!("the arguments stay visible: {e}");
    }
    if options.remount {
        return remount(&dir, &options, request.fake);
    }
    let lock = point::lock(&dir);
    let prepared = point::prepare(&dir).map_err(|e| Failure::Failed(told_point(e)))?;
    if prepared.cleaned {
        output::note(format!("a dead mount on {} was taken away", dir.display()));
    }
    if prepared.nonempty && !options.nonempty {
        output::warn(format!("{} is not empty: its files are hidden while it is mounted", dir.display()));
    }
    if request.fake {
        return Ok(Exit::Success);
    }
    let plan = Plan::new(request, source, options, dir).map_err(Failure::Usage)?;
    let settings = plan.reach_server().map_err(Failure::Failed)?;
    if request.foreground || plan.options.foreground {
        return plan.serve(settings, None, Some(lock));
    }
    let shown = plan.shown(&settings);
    match daemon::fork()
        .map_err(|e| Failure::System(anyhow::Error::from(e).context("cannot start the daemon")))?
    {
        // The parent holds the lock until the child is ready; a copy of it would live as long as the daemon.
        Forked::Child(reporter) => {
            drop(lock);
            plan.serve(settings, Some(reporter), None)
        }
        Forked::Parent(waiter) => match waiter.wait() {
            Start::Ready => {
                if request.talk {
                    let log = plan.log.as_ref().map(|log| format!("; its log is {}", log.display()));
                    output::note(format!(
                        "mounted {shown} on {}{}",
                        plan.dir.display(),
                        log.unwrap_or_default()
                    ));
                }
                Ok(Exit::Success)
            }
            // The child has said why.
            Start::Failed(_) => Ok(Exit::MountFailure),
            Start::Died(how) => Err(Failure::Failed(anyhow::anyhow!(
                "the daemon died before the directory was served ({how})"
            ))),
        },
    }
}

/// What to do about the words of fusermount3.
fn helper_hint(said: &str) -> Option<&'static str> {
    let of_another =
        ["no write access to mountpoint", "chdir to mountpoint"].iter().any(|w| said.contains(w));
    if of_another {
        return Some("mount on a directory of your own, or run as root");
    }
    let refused = said.contains("mount failed: Operation not permitted");
    refused.then_some("fusermount3 must be setuid root (chmod u+s); a container needs CAP_SYS_ADMIN to mount")
}

fn told_point(error: point::PointError) -> anyhow::Error {
    let hint = error.hint();
    told(error, hint)
}

/// mount(8) hands an almost empty environment over; certificates, password files and server programs are found
/// through HOME and PATH.
fn complete_environment() {
    let missing = |name: &str| std::env::var_os(name).is_none_or(|value| value.is_empty());
    if missing("PATH") {
        // SAFETY: no other thread exists yet (see `run`).
        unsafe { std::env::set_var("PATH", PATH_DEFAULT) };
    }
    if missing("HOME")
        && let Ok(Some(user)) = nix::unistd::User::from_uid(nix::unistd::geteuid())
    {
        // SAFETY: as above.
        unsafe { std::env::set_var("HOME", user.dir) };
    }
}

/// The words of the configuration file first, then those that were typed.
fn read_options(request: &Request) -> anyhow::Result<MountOptions> {
    let told = |e: crate::mount::options::OptionError| told(e.clone(), Some(e.hint()));
    let typed = |options: &mut MountOptions| {
        request.words.iter().try_for_each(|list| options.parse(list, request.unknown)).map_err(told)
    };
    let mut options = MountOptions::default();
    typed(&mut options)?;
    if let Some(path) = options.config.clone() {
        let text = read_config(&path).map_err(|e| {
            output::failure(
                format!("cannot read {}: {e}", path.display()),
                "config= names a text file with one mount option a line",
            )
        })?;
        options = MountOptions::default();
        options
            .parse_config(&text, request.unknown)
            .map_err(|e| told(e).context(format!("{}", path.display())))?;
        typed(&mut options)?;
    }
    Ok(options)
}

fn read_config(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(CONFIG_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn remount(dir: &Path, options: &MountOptions, fake: bool) -> Result<Exit, Failure> {
    let failed = |e: anyhow::Error| Failure::Failed(e);
    let table = table::read().map_err(|e| Failure::System(e.into()))?;
    let entry = table::at(&table, dir).filter(|entry| entry.is_fuse()).ok_or_else(|| {
        failed(anyhow::anyhow!("{} is not mounted, so it cannot be remounted", dir.display()))
    })?;
    let refuses = Client::connect(&entry.dev, entry.user_id()).and_then(Client::read_only);
    if !options.read_only && matches!(refuses, Ok(true)) {
        return Err(failed(output::failure(
            format!("{} was mounted read-only and cannot become writable", dir.display()),
            "unmount it and mount it anew with rw",
        )));
    }
    if !fake {
        if !nix::unistd::geteuid().is_root() {
            return Err(failed(output::failure(
                format!("only root may remount {}", dir.display()),
                "unmount it, and mount it anew with the other options",
            )));
        }
        kernel::remount(dir, options.read_only, options.noexec).map_err(|e| {
            let hint = e.hint();
            failed(told(e, hint))
        })?;
    }
    Ok(Exit::Success)
}

/// Without operands: the mounts that are there.
fn list() -> anyhow::Result<Exit> {
    let table = table::read()?;
    let mut out = output::out();
    for entry in table.iter().filter(|entry| entry.is_ours()) {
        let status = match Client::connect(&entry.dev, entry.user_id()).and_then(Client::info) {
            Ok(info) => format!("pid {}, {}", info.pid, info.status),
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => "no daemon answers".to_string(),
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => "another user's".to_string(),
            Err(e) => e.to_string(),
        };
        let rights = if entry.is_read_only() { "ro" } else { "rw" };
        out.line(format_args!(
            "{} on {} ({rights}; {status})",
            entry.source.to_string_lossy(),
            entry.dir.display()
        ));
    }
    out.flush();
    Ok(Exit::Success)
}

/// A mount that is about to be.
struct Plan {
    source: Source,
    options: MountOptions,
    dir: PathBuf,
    connection: ConnectionArgs,
    pool: PoolOptions,
    owner: (u32, u32),
    log: Option<PathBuf>,
    chunk_len: Option<usize>,
}

impl Plan {
    fn new(request: &Request, source: Source, options: MountOptions, dir: PathBuf) -> anyhow::Result<Plan> {
        let url = match &source {
            Source::Url(url) => Some(url.clone()),
            Source::Embedded => Some("embedded".to_string()),
            Source::Default { .. } | Source::Userfile { .. } => options.url.clone(),
        };
        let mut connection = request.connection.clone().with_url(url);
        if options.certs_dir.is_some() {
            connection.certs_dir.clone_from(&options.certs_dir);
        }
        if let Some(passfile) = &options.passfile {
            std::fs::File::open(passfile).map_err(|e| {
                output::failure(
                    format!("cannot read {}: {e}", passfile.display()),
                    "passfile= names a file with passwords, in the form of ~/.pgpass",
                )
            })?;
            // SAFETY: no other thread exists yet (see `run`).
            unsafe { std::env::set_var("PGPASSFILE", passfile) };
        }
        let pool = PoolOptions {
            op_timeout: options.timeo,
            application_name: "userfilefs mount".to_string(),
            ..PoolOptions::default()
        };
        let owner = (
            owner_id(options.uid.as_ref(), "uid", nix::unistd::geteuid().as_raw(), |name| {
                Ok(nix::unistd::User::from_name(name)?.map(|user| user.uid.as_raw()))
            })?,
            owner_id(options.gid.as_ref(), "gid", nix::unistd::getegid().as_raw(), |name| {
                Ok(nix::unistd::Group::from_name(name)?.map(|group| group.gid.as_raw()))
            })?,
        );
        let state_home = std::env::var_os("XDG_STATE_HOME").filter(|v| !v.is_empty()).map(PathBuf::from);
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let state_home = state_home.or_else(|| home.map(|home| home.join(".local/state")));
        let is_root = nix::unistd::geteuid().is_root();
        // The daemon lives in "/".
        let named = options.log.as_ref().map(std::path::absolute).transpose()?;
        let log = named.or_else(|| daemon::default_log(&dir, is_root, state_home.as_deref()));
        let chunk_len = std::env::var(CHUNK_LEN_VARIABLE).ok().map(|text| text.parse()).transpose()?;
        Ok(Plan { source, options, dir, connection, pool, owner, log, chunk_len })
    }

    /// Finds the server and makes sure that it answers, for `retry=` seconds. Asks for a password where there is a
    /// terminal. Leaves no thread behind.
    fn reach_server(&self) -> anyhow::Result<Settings> {
        let started = Instant::now();
        loop {
            let error = match connect::checked_settings(&self.connection, &self.pool) {
                Ok(settings) => return Ok(settings),
                Err(e) => e,
            };
            let transient =
                error.downcast_ref::<crate::sql::Error>().is_some_and(crate::sql::Error::is_transient);
            if !transient || started.elapsed() + RETRY_PAUSE > self.options.retry {
                return Err(error);
            }
            log::info!("trying again: {}", output::message(&error));
            std::thread::sleep(RETRY_PAUSE);
        }
    }

    /// What the table of mounts shows.
    fn shown(&self, settings: &Settings) -> String {
        let server = if connect::private_place(settings).is_some() {
            "embedded".to_string()
        } else {
            settings.describe()
        };
        config::shown(&self.source, &self.options, &server)
    }

    /// Serves until the mount ends. The child of a fork tells its parent through `reporter`; `lock` is dropped when the
    /// directory serves.
    fn serve(
        &self,
        settings: Settings,
        reporter: Option<Reporter>,
        lock: Option<point::Lock>,
    ) -> Result<Exit, Failure> {
        crate::mount::memory::bound_allocator();
        let prepare = || -> anyhow::Result<_> {
            let runtime = crate::cli::runtime()?;
            let shown = self.shown(&settings);
            let private = connect::private_place(&settings);
            let fs = runtime.block_on(self.filesystem(settings))?;
            let adapter =
                Adapter::new(Arc::clone(&fs), runtime.handle().clone()).with_sync(self.options.sync);
            let is_root = nix::unistd::geteuid().is_root();
            let mut kernel_mount = config::kernel_mount(&self.dir, shown, &self.options, is_root);
            kernel_mount.read_only = fs.config().read_only;
            let signals = {
                let _inside = runtime.enter();
                session::Signals::watch()?
            };
            let started = session::start(&kernel_mount, adapter).map_err(|e| {
                let hint = match &e {
                    session::SessionError::Kernel(e) => e.hint().or_else(|| helper_hint(&e.to_string())),
                    _ => None,
                };
                told(e, hint)
            })?;
            if let Some(place) = private {
                runtime.spawn(revive::look_after(place));
            }
            Ok((runtime, fs, started, signals))
        };
        let (runtime, fs, started, signals) = match (prepare(), reporter.is_some()) {
            (Ok(parts), _) => parts,
            (Err(e), false) => return Err(Failure::Failed(e)),
            (Err(e), true) => {
                output::error(&e);
                if let Some(reporter) = reporter {
                    reporter.fail(Exit::MountFailure.code());
                }
                return Ok(Exit::MountFailure);
            }
        };
        let is_daemon = reporter.is_some();
        let ready = || {
            drop(lock);
            if let Some(reporter) = reporter {
                self.ready(reporter);
            }
        };
        let reopen = || {
            if let (true, Some(log)) = (is_daemon, &self.log)
                && let Err(e) = daemon::reopen_log(log)
            {
                log::error!("cannot open {} anew: {e}", log.display());
            }
        };
        let served = Arc::new(Served(fs));
        let outcome = runtime.block_on(session::supervise(
            started,
            signals,
            Arc::clone(&served),
            DRAIN_MAX,
            ready,
            reopen,
        ));
        runtime.block_on(Box::pin(served.0.leave(LEAVE_MAX)));
        drop(served);
        runtime.shutdown_background();
        match outcome {
            Ok(outcome) if outcome.is_clean() => Ok(Exit::Success),
            // The log has named everything.
            Ok(_) => Ok(Exit::Failure),
            Err(e) => Err(Failure::System(e.into())),
        }
    }

    /// Tells the parent; the log takes over from the terminal.
    fn ready(&self, reporter: Reporter) {
        output::set_log_times(true);
        let opened = match &self.log {
            Some(path) => daemon::open_log(path).map_err(|e| {
                output::warn(format!("cannot write the log {}: {e}", path.display()));
            }),
            None => Err(()),
        };
        let log = opened.or_else(|()| std::fs::File::options().write(true).open("/dev/null").map_err(|_| ()));
        let told = match log {
            Ok(log) => reporter.ready(&log).is_ok(),
            Err(()) => false,
        };
        if !told {
            // Nobody waits for this mount any more: it goes the way that a signal goes.
            let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM);
        }
    }

    async fn filesystem(&self, settings: Settings) -> anyhow::Result<Arc<UserfileFs>> {
        let place = config::place(&self.source, &self.options, settings.user(), settings.database())
            .map_err(|e| {
                let hint = e.hint();
                told(e, hint)
            })?;
        let settings = settings.with_database(&place.prefix.database);
        let disk = connect::private_disk(&settings);
        let pool = Pool::connect(settings, self.pool.clone()).await?;
        let options = &self.options;
        let read_only = options.read_only || pool.dialect().read_only();
        if read_only && !options.read_only {
            output::warn("the server is read-only, so the mount is");
        }
        let table_options = TableOptions {
            create: if read_only { Create::Refuse } else { Create::Create },
            read_only,
            attrs: if options.noattrs { AttrsMode::Off } else { AttrsMode::Auto },
            recover: options.recover,
            chunk_len: self.chunk_len.unwrap_or(crate::chunk::CHUNK_LEN),
            recheck: options.attr_timeout.min(Duration::from_secs(1)),
            disk,
            ..TableOptions::default()
        };
        let table = FileTable::open(pool, place.prefix, table_options).await.map_err(|e| {
            let hint = e.hint();
            told(e, hint.as_deref())
        })?;
        Ok(UserfileFs::new(table, Config { read_only, ..self.fs_config(place.subdir) }))
    }

    fn fs_config(&self, subdir: String) -> Config {
        let options = &self.options;
        let default = Config::default();
        let size = |bytes: Option<u64>, default: usize| {
            bytes.map_or(default, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
        };
        Config {
            uid: self.owner.0,
            gid: self.owner.1,
            file_mode: options.file_mask().map_or(default.file_mode, |mask| 0o666 & !u32::from(mask)),
            dir_mode: options.dir_mask().map_or(default.dir_mode, |mask| 0o777 & !u32::from(mask)),
            attr_timeout: options.attr_timeout,
            entry_timeout: options.entry_timeout,
            async_close: options.async_close,
            user_xattr: options.user_xattr,
            subdir,
            dirty_bytes_max: size(options.dirty_bytes_max, default.dirty_bytes_max),
            cache_bytes_max: size(options.cache_bytes_max, default.cache_bytes_max),
            hole_bytes_max: options.hole_bytes_max.unwrap_or(default.hole_bytes_max),
            recover: options.recover,
            lease: std::env::var(LEASE_VARIABLE)
                .ok()
                .and_then(|text| text.parse().ok())
                .map_or(default.lease, Duration::from_millis),
            ..default
        }
    }
}

/// A user's or group's number.
fn owner_id(
    owner: Option<&Owner>,
    word: &str,
    default: u32,
    look_up: impl Fn(&str) -> nix::Result<Option<u32>>,
) -> anyhow::Result<u32> {
    match owner {
        None => Ok(default),
        Some(Owner::Id(id)) => Ok(*id),
        Some(Owner::Name(name)) => {
            look_up(name)?.ok_or_else(|| anyhow::anyhow!("mount option \"{word}\": there is no \"{name}\""))
        }
    }
}

/// What the session wants to know of the filesystem.
struct Served(Arc<UserfileFs>);

impl Lifecycle for Served {
    async fn store(&self, timeout: Duration) -> Vec<String> {
        Box::pin(self.0.store_all(timeout)).await.lost
    }

    async fn drain(&self, timeout: Duration) -> Vec<String> {
        Box::pin(self.0.drain(timeout)).await.lost
    }

    fn status_line(&self) -> String {
        self.0.status_line()
    }

    fn state(&self) -> String {
        self.0.state()
    }

    fn read_only(&self) -> bool {
        self.0.config().read_only
    }
}

#[cfg(test)]
mod tests {
    use super::helper_hint;

    #[test]
    fn words_of_fusermount() {
        let hint =
            helper_hint("fusermount3: user has no write access to mountpoint /mnt").unwrap_or_default();
        assert!(hint.contains("directory of your own"));
        let hint = helper_hint("fusermount3: mount failed: Operation not permitted").unwrap_or_default();
        assert!(hint.contains("CAP_SYS_ADMIN"));
        assert_eq!(helper_hint("something else"), None);
    }
}
