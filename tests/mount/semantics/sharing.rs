//! Other clients, other mounts, read-only mounts, parts of a store.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::mount;
use crate::support::alone::alone;
use crate::support::mounted::{Setup, eventually, fuse_works, pattern, plain_dir};
use crate::support::postgres::Server;
use crate::support::sys::errno;

/// A change must show within the attribute timeout of one second; the rest is for a busy machine.
const SOON: Duration = Duration::from_secs(3);

/// Files that another client stores, replaces and deletes show within the attribute timeout.
#[test]
fn other_clients_changes_show() {
    let m = mount!();
    assert!(!m.path("f").exists(), "the name is looked up, and known to be missing");
    assert_eq!(std::fs::read_dir(m.dir()).expect("list").count(), 0);
    m.store("/f", &pattern(1, 10_000));
    eventually("the new file shows", SOON, || m.path("f").exists());
    assert!(std::fs::read(m.path("f")).expect("read") == pattern(1, 10_000));
    m.store("/f", &pattern(2, 20_000));
    eventually("the new contents show", SOON, || {
        std::fs::read(m.path("f")).is_ok_and(|d| d == pattern(2, 20_000))
    });
    assert_eq!(std::fs::metadata(m.path("f")).expect("stat").len(), 20_000);
    m.store("/d/e/g", b"in new directories");
    eventually("directories show", SOON, || m.path("d/e/g").is_file());
    m.unstore("/f");
    eventually("the file goes", SOON, || !m.path("f").exists());
    m.unstore("/d/e/g");
    if !m.is_plain() {
        eventually("and the directories that it implied", SOON, || !m.path("d").exists());
    }
    // The same length and the same time: only the id says that the contents are others.
    m.store("/same", b"aaaa");
    eventually("shows", SOON, || std::fs::read(m.path("same")).is_ok_and(|d| d == b"aaaa"));
    m.store("/same", b"bbbb");
    if !m.is_plain() {
        m.db().exec(&format!("UPDATE {} SET upload_time = '2020-01-01'", m.tables().files));
    }
    eventually("shows the new bytes", SOON, || std::fs::read(m.path("same")).is_ok_and(|d| d == b"bbbb"));
}

/// What another client has stored is there for whoever asks for its name, however lately the directory was listed or
/// the name was missing; a directory that is being filled is not asked about each name.
#[test]
fn new_names_are_there_when_asked_for() {
    let m = mount!();
    if m.is_plain() {
        return;
    }
    let lately = Duration::from_millis(150);
    for i in 0..12 {
        let name = format!("f{i}");
        assert!(!m.path(&name).exists());
        std::fs::read_dir(m.dir()).expect("list").for_each(drop);
        std::thread::sleep(lately);
        m.store(&format!("/{name}"), &pattern(i, 100));
        assert!(std::fs::read(m.path(&name)).expect("the new file") == pattern(i, 100), "{name}");
    }
    let questions = || {
        let stats = std::fs::read_to_string(m.path(".userfilefs/stats")).expect("stats");
        let count = |word: &str| {
            let line = stats.lines().find_map(|line| line.strip_prefix(word)).expect("a counter");
            line.trim().parse::<u64>().expect("a number")
        };
        count("lookups ") + count("list_pages ")
    };
    std::fs::read_dir(m.dir()).expect("list").for_each(drop);
    std::thread::sleep(lately);
    let (start, before) = (Instant::now(), questions());
    // So slowly that what is believed for a moment only would be asked for again and again.
    for i in 0..90 {
        std::fs::write(m.path(&format!("new{i}")), "").expect("write");
        std::thread::sleep(Duration::from_millis(20));
    }
    let allowed = 12 + 4 * start.elapsed().as_secs();
    let asked = questions() - before;
    assert!(asked <= allowed, "{asked} questions for 90 new files, {allowed} allowed");
}

/// A second mount of the same store sees what the first one closed, and the first sees what the second changed.
#[test]
fn a_second_mount() {
    let m = mount!();
    let other = m.second("");
    std::fs::create_dir_all(m.path("d/empty")).expect("mkdir");
    std::fs::write(m.path("d/f"), pattern(1, 5 << 20)).expect("write");
    std::os::unix::fs::symlink("f", m.path("d/l")).expect("symlink");
    eventually("the file shows", SOON, || {
        std::fs::read(other.path("d/f")).is_ok_and(|d| d == pattern(1, 5 << 20))
    });
    eventually("the link shows", SOON, || other.path("d/l").is_file());
    assert!(other.path("d/empty").is_dir());
    std::fs::write(other.path("d/f"), "replaced").expect("write");
    std::fs::remove_file(other.path("d/l")).expect("unlink");
    std::fs::rename(other.path("d"), other.path("e")).expect("rename");
    eventually("the rename shows", SOON, || m.path("e/f").is_file() && !m.path("d").exists());
    eventually("the contents show", SOON, || std::fs::read(m.path("e/f")).is_ok_and(|d| d == b"replaced"));
    assert!(!m.path("e/l").exists());
    // Both append to one log in turn: nothing is lost when the turns are more than the timeout apart.
    for i in 0..4 {
        let who = if i % 2 == 0 { &m } else { &other };
        let want = i * 2;
        let len = || std::fs::metadata(who.path("log")).map_or(0, |s| s.len());
        eventually("the other's line shows", SOON, || len() == want);
        let mut log =
            std::fs::OpenOptions::new().append(true).create(true).open(who.path("log")).expect("open");
        log.write_all(format!("{i}\n").as_bytes()).expect("append");
    }
    assert_eq!(m.stored("/log").expect("stored"), b"0\n1\n2\n3\n");
    m.assert_contract();
}

/// Two mounts that write the same file at the same time leave one whole version.
#[test]
fn two_writers_leave_one_whole_version() {
    // Half-written files are open: no other test may start processes, which close copies of them.
    if !alone() {
        return;
    }
    let m = mount!("", |s| s.chunk_len(16 << 10));
    let other = m.second("");
    for round in 0..10_u64 {
        std::thread::scope(|s| {
            s.spawn(|| std::fs::write(m.path("f"), pattern(round, 100_000)));
            s.spawn(|| std::fs::write(other.path("f"), pattern(1000 + round, 150_000)));
        });
        let data = m.stored("/f").expect("stored");
        assert!(data == pattern(round, 100_000) || data == pattern(1000 + round, 150_000), "round {round}");
        m.assert_contract();
    }
}

/// A reader with the file open while another client replaces it gets the old bytes or an error, never a mixture.
#[test]
fn a_replaced_file_never_mixes() {
    // Half-written files are open: no other test may start processes, which close copies of them.
    if !alone() {
        return;
    }
    let m = mount!("", |s| s.chunk_len(16 << 10));
    let old = pattern(1, 600_000);
    std::fs::write(m.path("f"), &old).expect("write");
    let mut file = std::fs::File::open(m.path("f")).expect("open");
    let mut data = vec![0; 10];
    file.read_exact(&mut data).expect("read");
    m.store("/f", &pattern(2, 600_000));
    match file.read_to_end(&mut data) {
        Ok(_) => assert!(data == old, "a mixture"),
        Err(e) => assert!([libc::EIO, libc::ESTALE].contains(&e.raw_os_error().unwrap_or(0)), "{e}"),
    }
    drop(file);
    eventually("a new open reads the new", SOON, || {
        std::fs::read(m.path("f")).is_ok_and(|d| d == pattern(2, 600_000))
    });
}

/// A link that another mount has replaced leads where the new one points.
#[test]
fn a_replaced_link_leads_elsewhere() {
    let m = mount!();
    let other = m.second("");
    for target in ["one", "another", "one"] {
        std::os::unix::fs::symlink(target, m.path("new")).expect("symlink");
        std::fs::rename(m.path("new"), m.path("l")).expect("rename");
        for mount in [&m, &other] {
            eventually("the new target shows", SOON, || {
                std::fs::read_link(mount.path("l")).is_ok_and(|t| t.as_os_str() == target)
            });
        }
    }
}

/// A file that another mount makes longer keeps its identity; under another name too it is read to its new end.
#[test]
fn a_file_that_grew_under_another_name() {
    let m = mount!("", |s| s.chunk_len(64 << 10));
    let other = m.second("");
    let data = pattern(1, 100_000);
    std::fs::write(m.path("f"), &data[..40_000]).expect("write");
    for mount in [&m, &other] {
        eventually("it shows", SOON, || std::fs::read(mount.path("f")).is_ok_and(|d| d == data[..40_000]));
    }
    let mut f = std::fs::OpenOptions::new().append(true).open(m.path("f")).expect("open");
    f.write_all(&data[40_000..]).expect("append");
    drop(f);
    std::fs::rename(m.path("f"), m.path("g")).expect("rename");
    assert!(std::fs::read(other.path("g")).expect("read") == data);
}

/// A change of a part of a file that another client has replaced meanwhile cannot be stored: the error says that, and
/// not that the file is damaged. What the other stored stays.
#[test]
fn a_part_of_a_replaced_file() {
    let m = mount!("", |s| s.chunk_len(64 << 10));
    if m.is_plain() {
        return;
    }
    std::fs::write(m.path("f"), pattern(1, 150_000)).expect("write");
    let mut f = std::fs::OpenOptions::new().write(true).open(m.path("f")).expect("open");
    f.write_all(b"a part").expect("write");
    m.store("/f", &pattern(2, 150_000));
    assert_eq!(errno(f.sync_all()), libc::ESTALE);
    drop(f);
    assert!(!m.log_text().contains("damaged"), "{}", m.log_text());
    assert!(m.stored("/f").expect("stored") == pattern(2, 150_000));
    eventually("the other's contents show", SOON, || {
        std::fs::read(m.path("f")).is_ok_and(|d| d == pattern(2, 150_000))
    });
}

/// Two mounts that rename over open files of one name leave no hidden rows once these are closed.
#[test]
fn replaced_by_both() {
    if !alone() {
        return;
    }
    let m = mount!("", |s| s.chunk_len(16 << 10));
    let other = m.second("");
    std::thread::scope(|s| {
        for (who, mount) in [(1, &m), (2, &other)] {
            s.spawn(move || {
                for round in 0..40_u64 {
                    let new = mount.path(&format!("new{who}"));
                    let open = std::fs::File::open(mount.path("f"));
                    std::fs::write(&new, pattern(round, 40_000)).expect("write");
                    std::fs::rename(&new, mount.path("f")).expect("rename");
                    drop(open);
                }
            });
        }
    });
    if !m.is_plain() {
        let tables = m.tables();
        eventually("nothing hidden is left", Duration::from_secs(10), || tables.hidden().is_empty());
    }
    m.assert_contract();
}

/// A read-only mount reads everything and refuses every change with EROFS.
#[test]
fn read_only_mounts() {
    let m = mount!();
    if m.is_plain() {
        return;
    }
    std::fs::write(m.path("f"), "x").expect("write");
    std::fs::create_dir(m.path("d")).expect("mkdir");
    let ro = m.second("ro");
    assert_eq!(std::fs::read_to_string(ro.path("f")).expect("read"), "x");
    for code in [
        errno(std::fs::write(ro.path("f"), "y")),
        errno(std::fs::File::create(ro.path("g"))),
        errno(std::fs::create_dir(ro.path("e"))),
        errno(std::fs::remove_file(ro.path("f"))),
        errno(std::fs::remove_dir(ro.path("d"))),
        errno(std::fs::rename(ro.path("f"), ro.path("g"))),
        errno(std::os::unix::fs::symlink("f", ro.path("l"))),
        errno(std::fs::set_permissions(ro.path("f"), std::os::unix::fs::PermissionsExt::from_mode(0o600))),
    ] {
        assert_eq!(code, libc::EROFS);
    }
    std::fs::write(m.path("f"), "changed").expect("write");
    eventually("changes show", SOON, || std::fs::read(ro.path("f")).is_ok_and(|d| d == b"changed"));
}

/// A read-only mount of a store without tables is refused, and makes none.
#[test]
fn read_only_makes_no_tables() {
    if plain_dir().is_some() || !fuse_works() {
        return;
    }
    let Some(server) = Server::shared() else { return };
    let database = server.fresh_database();
    let Err(said) = Setup::new(server.url(&database)).options("ro").try_mount() else { panic!("it mounts") };
    assert!(said.contains("there is no userfile storage"), "{said}");
    assert!(said.contains("hint: "), "{said}");
    let made = server
        .db(&database)
        .query("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'", &[]);
    assert_eq!(made[0].get::<_, i64>(0), 0);
    server.drop_database(&database);
}

/// `subdir=` shows one directory of the store as the root; nothing outside can be reached.
#[test]
fn subdirectories() {
    let m = mount!();
    if m.is_plain() {
        return;
    }
    std::fs::create_dir_all(m.path("backups/2026/empty")).expect("mkdir");
    std::fs::write(m.path("backups/2026/f"), "inside").expect("write");
    std::fs::write(m.path("backups/2026x"), "outside").expect("write");
    std::fs::write(m.path("secret"), "outside").expect("write");
    let part = m.second("subdir=backups/2026");
    let names: std::collections::BTreeSet<_> =
        std::fs::read_dir(part.dir()).expect("list").map(|e| e.expect("entry").file_name()).collect();
    assert_eq!(names, ["empty", "f"].map(Into::into).into());
    std::fs::write(part.path("new"), "new").expect("write");
    std::fs::create_dir(part.path("dir")).expect("mkdir");
    std::fs::rename(part.path("new"), part.path("dir/new")).expect("rename");
    assert_eq!(m.stored("/backups/2026/dir/new").expect("stored"), b"new");
    assert_eq!(
        std::fs::read_to_string(part.path("../secret")).ok(),
        None,
        "the root's parent is outside the mount"
    );
    drop(part);
    let leading = m.second("subdir=/backups/2026/");
    assert_eq!(std::fs::read_to_string(leading.path("dir/new")).expect("read"), "new");
}

/// `prefix=` names the tables; two prefixes are two stores.
#[test]
fn prefixes() {
    let m = mount!();
    if m.is_plain() {
        return;
    }
    let other = m.second("prefix=public.other_prefix");
    std::fs::write(other.path("f"), "there").expect("write");
    assert!(!m.path("f").exists());
    let rows = m.db().query("SELECT filename FROM other_prefix_upload_files", &[]);
    assert_eq!(rows[0].get::<_, String>(0), "/f");
}

/// With `-o async` closing does not wait, but fsync and unmounting do, and nothing is lost.
#[test]
fn asynchronous_stores() {
    let mut m = mount!("async");
    std::fs::create_dir(m.path("d")).expect("mkdir");
    for i in 0..300_u64 {
        std::fs::write(m.path(&format!("d/{i}")), pattern(i, 50 + i as usize)).expect("write");
    }
    for i in (0..300_u64).step_by(7) {
        assert_eq!(
            std::fs::read(m.path(&format!("d/{i}"))).expect("read before it is stored"),
            pattern(i, 50 + i as usize)
        );
    }
    let file = std::fs::File::options().write(true).open(m.path("d/299")).expect("open");
    file.sync_all().expect("fsync");
    assert!(m.stored("/d/299").is_some(), "fsync is a barrier");
    std::fs::remove_file(m.path("d/0")).expect("unlink");
    std::fs::rename(m.path("d/1"), m.path("d/one")).expect("rename");
    drop(file);
    m.remount();
    assert_eq!(std::fs::read_dir(m.path("d")).expect("list").count(), 299);
    for i in 2..300_u64 {
        assert_eq!(std::fs::read(m.path(&format!("d/{i}"))).expect("read"), pattern(i, 50 + i as usize));
    }
    assert_eq!(std::fs::read(m.path("d/one")).expect("read"), pattern(1, 51));
    m.assert_contract();
}
