//! Killed mounts, killed servers, cut and silent connections, full disks, missing rights.
//!
//! Afterwards each file is whole, the old or the new; what was closed is there; leftovers go away.

mod chaos;

use std::fs::File;
use std::io::Write;
use std::os::fd::IntoRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::alone::alone;
use crate::support::mounted::{Mount, Setup, eventually, fuse_works, pattern, plain_dir};
use crate::support::postgres::{Db, Server};
use crate::support::sys::errno;
use crate::support::tables::Tables;
use crate::support::wire::{Fault, Wire};

const CHUNK: usize = 4096;

/// Creates or replaces a file and closes it, with the error of any step: the standard library drops close's.
fn put(path: &Path, data: &[u8]) -> Result<(), i32> {
    let code = |e: std::io::Error| e.raw_os_error().unwrap_or(0);
    let mut file = File::create(path).map_err(code)?;
    let written = file.write_all(data).map_err(code);
    let closed = nix::unistd::close(file.into_raw_fd()).map_err(|e| e as i32);
    written.and(closed)
}

/// A server that a test may hurt, a database on it, and mounts of it.
struct Stage {
    server: Server,
    database: String,
}

impl Stage {
    fn new() -> Option<Stage> {
        if plain_dir().is_some() || !fuse_works() || !alone() {
            return None;
        }
        let Some(server) = Server::start(&[]) else {
            crate::support::require::skip(
                "postgres",
                "no PostgreSQL server binaries (apt install postgresql)",
            );
            return None;
        };
        let database = server.fresh_database();
        Some(Stage { server, database })
    }

    fn url(&self) -> String {
        self.server.url(&self.database)
    }

    fn setup(&self, url: &str) -> Setup {
        Setup::new(url).chunk_len(CHUNK).env("USERFILEFS_TEST_LEASE_MS", 1500)
    }

    fn tables(&self) -> Tables {
        Tables::new(self.server.db(&self.database), "userfiles_postgres")
    }

    fn assert_clean(&self, limit: Duration) {
        let tables = self.tables();
        eventually("leftovers go away", limit, || tables.hidden().is_empty());
        tables.assert_contract(CHUNK);
    }
}

/// kill -9 of the mount while files are written, replaced and renamed: what was closed is there, the rest is old
/// or new, and the next mount cleans up.
#[test]
fn a_killed_mount() {
    let Some(stage) = Stage::new() else { return };
    let version =
        |i: u64, v: u64| pattern(i * 1000 + v, 3 * CHUNK + 100 * usize::try_from(v % 7).expect("small"));
    for round in 0..6_u64 {
        let mut m = stage.setup(&stage.url()).mount();
        let dir = m.path(&format!("r{round}"));
        std::fs::create_dir(&dir).expect("mkdir");
        let started = std::sync::atomic::AtomicU64::new(0);
        let done = std::sync::atomic::AtomicU64::new(0);
        let order = std::sync::atomic::Ordering::SeqCst;
        std::thread::scope(|s| {
            s.spawn(|| {
                // Version v of file i%5; every third arrives by rename.
                for n in 0..100_000_u64 {
                    started.store(n + 1, order);
                    let (i, v) = (n % 5, n / 5);
                    let target = dir.join(format!("f{i}"));
                    let written = if n % 3 == 0 {
                        let temporary = dir.join(format!(".f{i}.tmp"));
                        put(&temporary, &version(i, v)).and_then(|()| {
                            std::fs::rename(&temporary, &target).map_err(|e| e.raw_os_error().unwrap_or(0))
                        })
                    } else {
                        put(&target, &version(i, v))
                    };
                    if written.is_err() {
                        return;
                    }
                    done.store(n + 1, order);
                }
            });
            std::thread::sleep(Duration::from_millis(150 + 70 * round));
            // On a busy machine that is not long.
            eventually("the writer gets on", Duration::from_secs(20), || done.load(order) > 5);
            m.kill();
        });
        let (done, started) = (done.load(order), started.load(order));
        assert!(done > 5, "the writer did not get far: {done}\n{}", m.log_text());
        let tables = stage.tables();
        for i in 0..5 {
            // The last version of this file that was closed, and the one that may have been on its way.
            let last = (0..done).rev().find(|n| n % 5 == i).map(|n| n / 5).expect("a version");
            let next = (done..started).rev().find(|n| n % 5 == i).map(|n| n / 5);
            let found = tables.read(&format!("/r{round}/f{i}")).expect("a file that was closed is there");
            let whole = found == version(i, last) || next.is_some_and(|v| found == version(i, v));
            assert!(whole, "round {round}: f{i} is neither version {last} nor {next:?}");
        }
        drop(m);
    }
    let mut m = stage.setup(&stage.url()).mount();
    stage.assert_clean(Duration::from_secs(20));
    let _ = m.unmount();
}

/// A large file on its way when the mount is killed leaves nothing that a later mount does not clean up.
#[test]
fn leftovers_of_a_killed_mount_are_swept() {
    let Some(stage) = Stage::new() else { return };
    let mut m = stage.setup(&stage.url()).mount();
    put(&m.path("old"), &pattern(1, 50_000)).expect("write");
    let new = File::create(m.path("new")).expect("create");
    new.write_all_at(&pattern(2, 200 * CHUNK), 0).expect("write");
    let old = File::options().write(true).open(m.path("old")).expect("open");
    old.write_all_at(&pattern(3, 40 * CHUNK), 100).expect("write");
    std::thread::sleep(Duration::from_millis(300));
    m.kill();
    drop((old, new));
    assert_eq!(errno(std::fs::metadata(m.path("old"))), libc::ENOTCONN, "a dead mount says so");
    m.mount_again();
    assert!(
        std::fs::read(m.path("old")).expect("read") == pattern(1, 50_000),
        "unclosed edits are not there"
    );
    stage.assert_clean(Duration::from_secs(20));
    let rows = stage.tables().db.query(&format!("SELECT count(*) FROM {}", stage.tables().payload), &[]);
    let chunks = i64::try_from(50_000_usize.div_ceil(CHUNK)).expect("small");
    assert_eq!(rows[0].get::<_, i64>(0), chunks, "only the chunks of the old file are left");
}

/// The mount comes back by itself when the server does; operations in between wait and succeed.
#[test]
fn a_killed_server() {
    let Some(stage) = Stage::new() else { return };
    let m = stage.setup(&stage.url()).options("timeo=60").mount();
    for i in 0..20 {
        put(&m.path(&format!("before{i}")), &pattern(i, 10_000)).expect("write");
    }
    for round in 0..3_u64 {
        let again = stage.server.stand_by();
        let open = File::create(m.path(&format!("open{round}"))).expect("create");
        open.write_all_at(&pattern(round, 5 * CHUNK), 0).expect("write");
        stage.server.stop(Signal::SIGQUIT);
        std::thread::scope(|s| {
            let waiting = s.spawn(|| {
                put(&m.path(&format!("during{round}")), &pattern(100 + round, 30_000))?;
                std::fs::read(m.path("before3")).map_err(|e| e.raw_os_error().unwrap_or(0)).map(drop)
            });
            std::thread::sleep(Duration::from_millis(700));
            stage.server.run_from(again);
            assert_eq!(waiting.join().expect("thread"), Ok(()), "{}", m.log_text());
        });
        open.write_all_at(&pattern(200 + round, 5 * CHUNK), 5 * CHUNK as u64).expect("write");
        assert_eq!(nix::unistd::close(open.into_raw_fd()), Ok(()));
    }
    let tables = stage.tables();
    for i in 0..20 {
        assert!(tables.read(&format!("/before{i}")).expect("stored") == pattern(i, 10_000));
        assert!(std::fs::read(m.path(&format!("before{i}"))).expect("read") == pattern(i, 10_000));
    }
    for round in 0..3 {
        assert!(tables.read(&format!("/during{round}")).expect("stored") == pattern(100 + round, 30_000));
        let both = [pattern(round, 5 * CHUNK), pattern(200 + round, 5 * CHUNK)].concat();
        assert!(tables.read(&format!("/open{round}")).expect("stored") == both);
    }
    stage.assert_clean(Duration::from_secs(20));
}

/// What one scenario does to a file, and what may be there afterwards.
struct Scenario {
    name: &'static str,
    act: fn(&Mount) -> Result<(), i32>,
    /// Contents of `/f` after success.
    new: fn() -> Vec<u8>,
}

fn old() -> Vec<u8> {
    pattern(1, 3 * CHUNK + 17)
}

const SCENARIOS: [Scenario; 6] = [
    Scenario {
        name: "replace by a small file",
        act: |m| put(&m.path("f"), &pattern(2, 1000)),
        new: || pattern(2, 1000),
    },
    Scenario {
        name: "replace by a large file",
        act: |m| put(&m.path("f"), &pattern(3, 6 * CHUNK + 1)),
        new: || pattern(3, 6 * CHUNK + 1),
    },
    Scenario {
        name: "rename over",
        act: |m| {
            put(&m.path("t"), &pattern(4, 2 * CHUNK))?;
            std::fs::rename(m.path("t"), m.path("f")).map_err(|e| e.raw_os_error().unwrap_or(0))
        },
        new: || pattern(4, 2 * CHUNK),
    },
    Scenario {
        name: "append",
        act: |m| edit(m, old().len() as u64, &pattern(5, 5000)),
        new: || [old(), pattern(5, 5000)].concat(),
    },
    Scenario {
        name: "edit in the middle",
        act: |m| edit(m, 5000, &pattern(6, 100)),
        new: || {
            let mut data = old();
            data[5000..5100].copy_from_slice(&pattern(6, 100));
            data
        },
    },
    Scenario {
        name: "copy on the server",
        act: |m| {
            put(&m.path("s"), &pattern(7, 5 * CHUNK))?;
            std::fs::copy(m.path("s"), m.path("f")).map_err(|e| e.raw_os_error().unwrap_or(0))?;
            File::options()
                .write(true)
                .open(m.path("f"))
                .and_then(|f| f.sync_all())
                .map_err(|e| e.raw_os_error().unwrap_or(0))
        },
        new: || pattern(7, 5 * CHUNK),
    },
];

fn edit(m: &Mount, at: u64, data: &[u8]) -> Result<(), i32> {
    let code = |e: std::io::Error| e.raw_os_error().unwrap_or(0);
    let file = File::options().write(true).open(m.path("f")).map_err(code)?;
    let written = file.write_all_at(data, at).map_err(code);
    written.and(nix::unistd::close(file.into_raw_fd()).map_err(|e| e as i32))
}

/// Runs one scenario with a fault at the `n`th message; false when it needed fewer messages.
fn with_fault(stage: &Stage, wire: &Wire, m: &Mount, scenario: &Scenario, n: u64, fault: Fault) -> bool {
    let what = format!("{}, {fault:?} at message {n}", scenario.name);
    put(&m.path("f"), &old()).unwrap_or_else(|e| panic!("{what}: preparing: errno {e}\n{}", m.log_text()));
    wire.arm(n, fault);
    let result = (scenario.act)(m);
    let fired = wire.disarm();
    let stored = stage.tables().read("/f").unwrap_or_else(|| panic!("{what}: the file is gone"));
    let new = (scenario.new)();
    if fault == Fault::Silence {
        assert!(
            stored == new || (result.is_err() && stored == old()),
            "{what}: {result:?}, {} bytes",
            stored.len()
        );
    } else {
        assert_eq!(result, Ok(()), "{what}: a lost connection is made again\n{}", m.log_text());
        assert!(stored == new, "{what}: {} bytes are stored", stored.len());
    }
    let found = std::fs::read(m.path("f")).unwrap_or_else(|e| panic!("{what}: {e}\n{}", m.log_text()));
    assert!(found == stored || result.is_err(), "{what}: the mount shows other contents");
    fired
}

fn sweep_faults(fault: Fault, options: &str, step: u64, limit: u64) {
    let Some(stage) = Stage::new() else { return };
    let wire = Wire::new(stage.server.port());
    let m = stage.setup(&wire.url(&stage.url())).options(options).mount();
    for scenario in &SCENARIOS {
        let mut n = 1;
        while n < limit && with_fault(&stage, &wire, &m, scenario, n, fault) {
            n += step;
        }
        assert!(n > 2, "{}: no fault has happened", scenario.name);
    }
    stage.assert_clean(Duration::from_secs(30));
}

/// Connections cut before any message: every operation succeeds on new ones.
#[test]
fn connections_cut_before_each_message() {
    sweep_faults(Fault::CutBefore, "timeo=30", 1, 60);
}

/// Connections cut when the server has got a message and its answer is lost: nothing is done twice, nothing is lost.
#[test]
fn connections_cut_after_each_message() {
    sweep_faults(Fault::CutAfter, "timeo=30", 1, 60);
}

/// Connections that fall silent: an operation ends in time, with success or an error, and files stay whole.
#[test]
fn silent_connections() {
    sweep_faults(Fault::Silence, "timeo=2", 5, 22);
}

/// While the server is away longer than `timeo`, operations fail with EIO in about that time; then all is well again.
#[test]
fn a_server_that_stays_away() {
    let Some(stage) = Stage::new() else { return };
    let wire = Wire::new(stage.server.port());
    let m = stage.setup(&wire.url(&stage.url())).options("timeo=2").mount();
    put(&m.path("f"), &old()).expect("write");
    for stalled in [false, true] {
        let away = |on: bool| if stalled { wire.stall(on) } else { wire.down(on) };
        away(true);
        std::thread::sleep(Duration::from_millis(1100));
        let start = Instant::now();
        let written = put(&m.path("g"), &pattern(2, 20_000));
        assert!(written.is_err(), "stalled: {stalled}: a write cannot have been stored");
        assert!([libc::EIO, libc::ETIMEDOUT].contains(&written.unwrap_err()), "{written:?}");
        let listed = std::fs::read_dir(m.dir()).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let looked = std::fs::metadata(m.path("nobody-knows"));
        assert!(listed.is_err() || looked.is_err());
        assert!(start.elapsed() < Duration::from_secs(40), "it took {:?}", start.elapsed());
        away(false);
        eventually("the mount comes back", Duration::from_secs(20), || put(&m.path("h"), b"back").is_ok());
        assert!(std::fs::read(m.path("f")).expect("read") == old());
    }
}

/// Unmounting with a server that is away ends, says what was lost, and is not a success.
#[test]
fn unmounting_without_a_server() {
    let Some(stage) = Stage::new() else { return };
    for stalled in [false, true] {
        let wire = Wire::new(stage.server.port());
        let mut m = stage.setup(&wire.url(&stage.url())).options("timeo=3").mount();
        let file = File::create(m.path("unsaved-work")).expect("create");
        file.write_all_at(&pattern(1, 2 * CHUNK + 5), 0).expect("write");
        if stalled {
            wire.stall(true);
        } else {
            wire.down(true);
        }
        let start = Instant::now();
        m.signal(Signal::SIGTERM);
        let status = m.wait(Duration::from_secs(100)).expect("it was running");
        assert!(!status.success(), "stalled: {stalled}: something was lost");
        assert!(m.log_text().contains("unsaved-work"), "the log names what was lost:\n{}", m.log_text());
        eprintln!("unmounting took {:?}", start.elapsed());
        drop(file);
    }
}

/// SIGTERM with a file half written stores it: a drain, not an abort.
#[test]
fn unmounting_drains() {
    let Some(stage) = Stage::new() else { return };
    let mut m = stage.setup(&stage.url()).mount();
    let file = File::create(m.path("open")).expect("create");
    file.write_all_at(&pattern(1, 2 * CHUNK + 5), 0).expect("write");
    let status = m.unmount();
    assert!(status.is_some_and(|s| s.success()), "{status:?}\n{}", m.log_text());
    assert!(stage.tables().read("/open").expect("stored") == pattern(1, 2 * CHUNK + 5));
    drop(file);
    stage.assert_clean(Duration::from_secs(5));
}

/// A full disk is ENOSPC at write, fsync or close, and stays so for that handle; what was there stays, and the
/// mount works on when there is room.
#[test]
fn a_full_disk() {
    let Some(stage) = Stage::new() else { return };
    if !nix::unistd::geteuid().is_root() {
        crate::support::require::skip("root", "a tmpfs for the full disk needs root");
        return;
    }
    let small = SmallDisk::new(40);
    // What an administrator frees in the end: PostgreSQL cannot vacuum without a page to spare.
    let ballast = small.0.path().join("ballast");
    std::fs::write(&ballast, vec![1; 3 << 20]).expect("ballast");
    let db = stage.server.db("postgres");
    db.exec(&format!("CREATE TABLESPACE small LOCATION '{}'", small.0.path().display()));
    db.exec("CREATE DATABASE full_disk TABLESPACE small");
    {
        let m = Setup::new(stage.server.url("full_disk")).mount();
        put(&m.path("kept"), &pattern(1, 3 << 20)).expect("write");
        let mut code = None;
        for i in 0..20 {
            if let Err(e) = put(&m.path(&format!("fill{i}")), &pattern(i, 4 << 20)) {
                code = Some(e);
                break;
            }
        }
        assert_eq!(code, Some(libc::ENOSPC), "{}", m.log_text());
        let file = File::create(m.path("sticky")).expect("create");
        let big = pattern(9, 9 << 20);
        let first = file.write_all_at(&big, 0).and_then(|()| file.sync_all());
        assert_eq!(errno(first), libc::ENOSPC);
        assert_eq!(errno(file.sync_all()), libc::ENOSPC, "it stays failed");
        drop(file);
        assert!(std::fs::read(m.path("kept")).expect("read") == pattern(1, 3 << 20));
        for i in 0..20 {
            let _ = std::fs::remove_file(m.path(&format!("fill{i}")));
        }
        std::fs::remove_file(&ballast).expect("room for the server");
        let tables = Tables::new(stage.server.db("full_disk"), "userfiles_postgres");
        let room = || {
            let _ = tables.db.try_exec("VACUUM");
            put(&m.path("after"), &pattern(2, 4 << 20)).is_ok()
        };
        eventually("there is room again", Duration::from_secs(60), room);
        assert!(tables.read("/after").expect("stored") == pattern(2, 4 << 20));
        assert!(tables.read("/kept").expect("stored") == pattern(1, 3 << 20));
    }
    db.exec("DROP DATABASE full_disk WITH (FORCE)");
    db.exec("DROP TABLESPACE small");
}

/// A tmpfs of a few megabytes that the server's account owns.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(megabytes: u32) -> SmallDisk {
        let dir = tempfile::Builder::new().prefix("userfilefs-test-small-").tempdir().expect("directory");
        let size = format!("size={megabytes}m,mode=0777");
        let none = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("tmpfs"), dir.path(), Some("tmpfs"), none, Some(size.as_str()))
            .expect("tmpfs");
        let user = nix::unistd::User::from_name("postgres").expect("accounts").expect("postgres");
        nix::unistd::chown(dir.path(), Some(user.uid), Some(user.gid)).expect("chown");
        SmallDisk(dir)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(self.0.path(), nix::mount::MntFlags::MNT_DETACH);
    }
}

/// A server in recovery, or set read-only, is read; changes are EROFS.
#[test]
fn a_read_only_server() {
    let Some(stage) = Stage::new() else { return };
    {
        let m = stage.setup(&stage.url()).mount();
        put(&m.path("f"), &old()).expect("write");
    }
    let name = &stage.database;
    stage
        .server
        .db("postgres")
        .exec(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on"));
    let m = stage.setup(&stage.url()).mount();
    assert!(std::fs::read(m.path("f")).expect("read") == old());
    assert_eq!(put(&m.path("g"), b"new"), Err(libc::EROFS));
    assert_eq!(put(&m.path("f"), b"new"), Err(libc::EROFS));
    assert_eq!(errno(std::fs::remove_file(m.path("f"))), libc::EROFS);
    assert_eq!(errno(std::fs::rename(m.path("f"), m.path("g"))), libc::EROFS);
    assert_eq!(errno(std::fs::create_dir(m.path("d"))), libc::EROFS);
    assert!(std::fs::read(m.path("f")).expect("read") == old());
}

/// An SQL user that may only look reads everything; changes are EACCES.
#[test]
fn a_user_that_may_only_look() {
    let Some(stage) = Stage::new() else { return };
    {
        let m = stage.setup(&stage.url()).mount();
        put(&m.path("f"), &old()).expect("write");
        std::fs::create_dir(m.path("d")).expect("mkdir");
    }
    let db = stage.server.db(&stage.database);
    db.exec("CREATE ROLE looker LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO looker");
    let url = stage.server.url_as("looker", &stage.database);
    let m = stage.setup(&url).options("prefix=public.userfiles_postgres").mount();
    assert!(std::fs::read(m.path("f")).expect("read") == old());
    assert!(m.path("d").is_dir());
    let refused = [libc::EACCES, libc::EROFS, libc::EPERM];
    assert!(refused.contains(&put(&m.path("g"), b"new").expect_err("a new file")));
    assert!(refused.contains(&put(&m.path("f"), b"new").expect_err("an overwrite")));
    assert!(refused.contains(&errno(std::fs::remove_file(m.path("f")))));
    assert!(refused.contains(&errno(std::fs::rename(m.path("f"), m.path("g")))));
    assert!(std::fs::read(m.path("f")).expect("read") == old(), "{}", m.log_text());
}

/// A user without CREATE works with tables that are there, without attributes; where they are not, the mount says
/// which right is missing.
#[test]
fn a_user_without_create() {
    let Some(stage) = Stage::new() else { return };
    let db = stage.server.db(&stage.database);
    db.exec("CREATE ROLE worker LOGIN");
    let url = stage.server.url_as("worker", &stage.database);
    let setup = stage.setup(&url).options("prefix=public.userfiles_postgres");
    match setup.clone().try_mount() {
        Err(text) => assert!(text.to_lowercase().contains("create"), "{text}"),
        Ok(m) => assert_eq!(put(&m.path("f"), b"x"), Err(libc::EACCES), "{}", m.log_text()),
    }
    stage.tables().create();
    db.exec("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO worker");
    let mut m = setup.mount();
    put(&m.path("f"), &old()).expect("write");
    std::fs::set_permissions(m.path("f"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("chmod");
    std::fs::create_dir(m.path("d")).expect("mkdir");
    std::fs::rename(m.path("f"), m.path("d/f")).expect("rename");
    m.remount();
    assert!(std::fs::read(m.path("d/f")).expect("read") == old());
}

/// A server that cannot be reached, a wrong database, a user who may not connect: one clear line, no mount.
#[test]
fn mounts_that_cannot_be() {
    let Some(stage) = Stage::new() else { return };
    let nobody = crate::support::postgres::free_port();
    let cases = [
        (format!("postgresql://postgres@127.0.0.1:{nobody}/x?sslmode=disable"), "127.0.0.1"),
        (stage.server.url("no_such_database"), "no_such_database"),
        (stage.server.url_as("no_such_user", &stage.database), "no_such_user"),
        ("postgresql://127.0.0.1:notaport/x".to_owned(), "port"),
    ];
    for (url, word) in cases {
        let text = Setup::new(&url).try_mount().err().unwrap_or_else(|| panic!("{url} was mounted"));
        assert!(text.contains(word), "{url}: {text}");
        assert!(!text.contains("panicked"), "{text}");
    }
    // The stage itself is fine.
    assert!(Db::connect(&stage.url()).is_ok());
}
