//! Modes, owners, times, links, extended attributes.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::io::Write;
use std::os::fd::IntoRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant, SystemTime};

use crate::mount;
use crate::support::mounted::{Mount, pattern};
use crate::support::sys::{self, errno};

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// chmod, chown and utimens of files, directories and links hold at once and after a remount.
#[test]
fn modes_owners_and_times_survive() {
    let mut m = mount!();
    std::fs::write(m.path("f"), pattern(1, 1000)).expect("write");
    std::fs::create_dir(m.path("d")).expect("mkdir");
    symlink("target", m.path("l")).expect("symlink");
    for (name, mode) in [("f", 0o741), ("d", 0o2750)] {
        std::fs::set_permissions(m.path(name), Permissions::from_mode(mode)).expect("chmod");
    }
    if is_root() {
        for name in ["f", "d", "l"] {
            lchown(m.path(name), Some(1234), Some(5678)).expect("chown");
        }
    }
    for (i, name) in ["d", "f", "l"].iter().enumerate() {
        let time = 1_500_000_000 + i as i64;
        sys::utimens(&m.path(name), (time, 5000), (time, 7000)).expect("utimens");
    }
    for remounted in [false, true] {
        if remounted {
            m.remount();
        }
        for (i, (name, mode)) in [("d", 0o2750), ("f", 0o741), ("l", 0o777)].iter().enumerate() {
            let meta = std::fs::symlink_metadata(m.path(name)).expect("stat");
            assert_eq!(meta.mode() & 0o7777, *mode, "{name}, remounted: {remounted}");
            if is_root() {
                assert_eq!((meta.uid(), meta.gid()), (1234, 5678), "{name}, remounted: {remounted}");
            }
            assert_eq!(
                (meta.mtime(), meta.mtime_nsec()),
                (1_500_000_000 + i as i64, 7000),
                "{name}, {remounted}"
            );
        }
    }
    assert_eq!(std::fs::read(m.path("f")).expect("read"), pattern(1, 1000));
}

/// A new file has the mode that its creator asked for; `uid`, `gid` and `umask` options decide for all others.
#[test]
fn defaults_of_mode_and_owner() {
    let mut m = mount!("uid=123,gid=456,umask=027");
    if m.is_plain() {
        return;
    }
    m.store("/d/theirs", b"x");
    let theirs = std::fs::metadata(m.path("d/theirs")).expect("stat");
    assert_eq!((theirs.mode() & 0o7777, theirs.uid(), theirs.gid()), (0o640, 123, 456));
    let dir = std::fs::metadata(m.path("d")).expect("stat");
    assert_eq!((dir.mode() & 0o7777, dir.uid(), dir.gid()), (0o750, 123, 456));
    m.set_options("fmask=137,dmask=077");
    m.remount();
    assert_eq!(std::fs::metadata(m.path("d/theirs")).expect("stat").mode() & 0o7777, 0o640);
    assert_eq!(std::fs::metadata(m.path("d")).expect("stat").mode() & 0o7777, 0o700);
    m.set_options("");
    m.remount();
    crate::support::cli::ok(&mut crate::support::cli::shell(
        m.dir(),
        "umask 077; echo x > mine; mkdir mydir; umask 022; echo y > open",
    ));
    for (name, mode) in [("mine", 0o600), ("mydir", 0o700), ("open", 0o644)] {
        assert_eq!(std::fs::metadata(m.path(name)).expect("stat").mode() & 0o777, mode, "{name}");
    }
}

/// Times never change by themselves: what stat says after close it says after a remount; a write moves them.
#[test]
fn times_are_stable() {
    let mut m = mount!();
    let before = SystemTime::now() - Duration::from_millis(10);
    std::fs::write(m.path("f"), "x").expect("write");
    let first = std::fs::metadata(m.path("f")).expect("stat").modified().expect("mtime");
    assert!(first >= before && first <= SystemTime::now() + Duration::from_millis(10), "the time is now");
    std::thread::sleep(Duration::from_millis(1200));
    assert_eq!(std::fs::metadata(m.path("f")).expect("stat").modified().expect("mtime"), first);
    m.remount();
    assert_eq!(std::fs::metadata(m.path("f")).expect("stat").modified().expect("mtime"), first);
    std::fs::OpenOptions::new().append(true).open(m.path("f")).expect("open").write_all(b"y").expect("write");
    assert!(std::fs::metadata(m.path("f")).expect("stat").modified().expect("mtime") > first);
    let second = std::fs::metadata(m.path("f")).expect("stat").modified().expect("mtime");
    drop(std::fs::File::open(m.path("f")).expect("open"));
    std::fs::set_permissions(m.path("f"), Permissions::from_mode(0o600)).expect("chmod");
    assert_eq!(
        std::fs::metadata(m.path("f")).expect("stat").modified().expect("mtime"),
        second,
        "chmod keeps mtime"
    );
    // Before 1970 and far ahead.
    for seconds in [-1_000_000, 0, 4_000_000_000] {
        sys::utimens(&m.path("f"), (seconds, 0), (seconds, 0)).expect("utimens");
        assert_eq!(std::fs::metadata(m.path("f")).expect("stat").mtime(), seconds);
    }
    m.remount();
    assert_eq!(std::fs::metadata(m.path("f")).expect("stat").mtime(), 4_000_000_000);
    assert_eq!(m.stored("/f").expect("stored"), b"xy");
}

/// Fractions of seconds before 1970, and times so far away that no table holds them: what is stored is the nearest
/// time, and the contents are stored with it.
#[test]
fn times_far_away() {
    let mut m = mount!();
    let mtime = |m: &crate::support::mounted::Mount| {
        let meta = std::fs::metadata(m.path("f")).expect("stat");
        (meta.mtime(), meta.mtime_nsec())
    };
    std::fs::write(m.path("f"), "x").expect("write");
    for seconds in [-2, -1, -86_400, -315_593_940, -210_866_803_200] {
        sys::utimens(&m.path("f"), (seconds, 250_000_000), (seconds, 250_000_000)).expect("utimens");
        assert_eq!(mtime(&m), (seconds, 250_000_000));
    }
    sys::utimens(&m.path("f"), (-315_593_940, 0), (-315_593_940, 750_000_000)).expect("utimens");
    m.remount();
    assert_eq!(mtime(&m), (-315_593_940, 750_000_000));
    for seconds in [i64::MIN + 1, -1 << 40, 1 << 45, i64::MAX] {
        let mut file = std::fs::OpenOptions::new().append(true).open(m.path("f")).expect("open");
        file.write_all(b"y").expect("write");
        sys::utimens(&m.path("f"), (seconds, 0), (seconds, 0)).expect("utimens");
        nix::unistd::close(file.into_raw_fd()).expect("the contents are stored");
        assert_eq!(mtime(&m).0 < 0, seconds < 0);
    }
    m.remount();
    assert_eq!(std::fs::read(m.path("f")).expect("read"), b"xyyyy");
}

/// Somebody without privileges who writes into a file, or cuts it, takes its set-user-ID and set-group-ID bits away.
#[test]
fn writing_drops_privileges() {
    let mut m = mount!();
    if m.is_plain() || !is_root() {
        return;
    }
    let commands = ["echo x >f", "echo x >>f", ": >f", "printf x 1<>f", "truncate -s 1 f"];
    for (command, mode, after) in
        commands.iter().flat_map(|c| [(c, 0o6777, 0o777), (c, 0o4766, 0o766), (c, 0o755, 0o755)])
    {
        for uid in [0, 12345] {
            std::fs::write(m.path("f"), "some text").expect("write");
            chown(m.path("f"), Some(12345), None).expect("chown");
            std::fs::set_permissions(m.path("f"), Permissions::from_mode(mode)).expect("chmod");
            let mut shell = std::process::Command::new("sh");
            shell.args(["-c", command]).current_dir(m.dir()).uid(uid).gid(uid);
            assert!(shell.status().expect("run").success(), "{command} as {uid}");
            let kept = if uid == 0 { mode } else { after };
            let now = std::fs::metadata(m.path("f")).expect("stat").mode() & 0o7777;
            assert_eq!(now, kept, "{command} as {uid} on {mode:o}: {now:o}");
        }
    }
    std::fs::set_permissions(m.path("f"), Permissions::from_mode(0o6777)).expect("chmod");
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "echo x >f"]).current_dir(m.dir()).uid(12345).gid(12345);
    assert!(shell.status().expect("run").success());
    m.remount();
    assert_eq!(std::fs::metadata(m.path("f")).expect("stat").mode() & 0o7777, 0o777, "also in the table");
}

/// Creating and removing entries moves a directory's time.
#[test]
fn directory_times_move() {
    let m = mount!();
    std::fs::create_dir(m.path("d")).expect("mkdir");
    let time = || std::fs::metadata(m.path("d")).expect("stat").modified().expect("mtime");
    let mut last = time();
    let moved = |last: &mut SystemTime, what: &str| {
        let now = time();
        assert!(now > *last, "{what} moves the directory's time");
        *last = now;
        std::thread::sleep(Duration::from_millis(20));
    };
    std::thread::sleep(Duration::from_millis(20));
    std::fs::write(m.path("d/f"), "x").expect("write");
    moved(&mut last, "creating");
    std::fs::rename(m.path("d/f"), m.path("d/g")).expect("rename");
    moved(&mut last, "renaming");
    std::fs::remove_file(m.path("d/g")).expect("unlink");
    moved(&mut last, "removing");
}

/// What changes of several directories at one time is stored in one transaction, and once, also while names come and
/// go in them.
#[test]
fn directories_are_stored_together_and_once() {
    let m = mount!();
    let dirs: Vec<_> = (0..10).map(|i| m.path(&format!("d{i}"))).collect();
    dirs.iter().for_each(|dir| std::fs::create_dir(dir).expect("mkdir"));
    let db = m.db();
    let sql = format!(
        "SELECT name::text, xmin::text FROM {} WHERE name LIKE 'd_' ORDER BY name",
        m.tables().attrs()
    );
    let writers = || -> Vec<(String, String)> {
        db.query(&sql, &[]).iter().map(|row| (row.get(0), row.get(1))).collect()
    };
    let made = writers();
    assert_eq!(made.len(), dirs.len());
    for dir in &dirs {
        std::fs::set_permissions(dir, Permissions::from_mode(0o711)).expect("chmod");
    }
    let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < Duration::from_millis(1500) {
        for dir in &dirs {
            count += 1;
            std::fs::write(dir.join(count.to_string()), "").expect("create");
        }
        seen.extend(writers().into_iter().filter(|row| !made.contains(row)));
    }
    assert_eq!(seen.len(), dirs.len(), "each is stored, and once: {seen:?}");
    let transactions: BTreeSet<&String> = seen.iter().map(|(_, transaction)| transaction).collect();
    assert!(transactions.len() <= 3, "they go together: {seen:?}");
}

/// Symbolic links hold any target, are followed, listed as links and removed without their target.
#[test]
fn symbolic_links() {
    let mut m = mount!();
    let long = "x/".repeat(1000);
    let targets = ["f", "../..", "/absolute/path", "with space\nand newline %", "missing", long.as_str()];
    std::fs::write(m.path("f"), "contents").expect("write");
    for (i, target) in targets.iter().enumerate() {
        symlink(target, m.path(&format!("l{i}"))).expect("symlink");
    }
    for remounted in [false, true] {
        if remounted {
            m.remount();
        }
        for (i, target) in targets.iter().enumerate() {
            let path = m.path(&format!("l{i}"));
            assert_eq!(std::fs::read_link(&path).expect("readlink").to_str(), Some(*target));
            let meta = std::fs::symlink_metadata(&path).expect("lstat");
            assert!(meta.file_type().is_symlink());
            assert_eq!(meta.len(), target.len() as u64);
        }
        assert_eq!(std::fs::read_to_string(m.path("l0")).expect("follow"), "contents");
        assert_eq!(errno(std::fs::read(m.path("l4"))), libc::ENOENT);
    }
    assert_eq!(errno(symlink("x", m.path("l0"))), libc::EEXIST);
    assert_eq!(errno(std::fs::read_link(m.path("f"))), libc::EINVAL);
    symlink("loop", m.path("loop")).expect("symlink");
    assert_eq!(errno(std::fs::read(m.path("loop"))), libc::ELOOP);
    let list: Vec<_> = std::fs::read_dir(m.dir()).expect("list").map(|e| e.expect("entry")).collect();
    assert_eq!(list.iter().filter(|e| e.file_type().expect("type").is_symlink()).count(), targets.len() + 1);
    std::fs::remove_file(m.path("l0")).expect("unlink");
    assert!(m.path("f").exists());
    std::fs::write(m.path("l4"), "through a dangling link").expect("creates the target");
    assert_eq!(m.stored("/missing").expect("stored"), b"through a dangling link");
    std::fs::rename(m.path("l1"), m.path("f")).expect("a link replaces a file");
    assert!(std::fs::symlink_metadata(m.path("f")).expect("lstat").file_type().is_symlink());
    assert!(m.stored("/f").is_none());
    std::fs::rename(m.path("missing"), m.path("f")).expect("a file replaces a link");
    assert_eq!(std::fs::read_to_string(m.path("f")).expect("read"), "through a dangling link");
    m.remount();
    assert!(std::fs::symlink_metadata(m.path("f")).expect("lstat").file_type().is_file());
}

/// An overwrite or delete by another client never attaches old attributes to new contents.
#[test]
fn attributes_belong_to_one_file() {
    let mut m = mount!("attr_timeout=0,entry_timeout=0");
    if m.is_plain() {
        return;
    }
    std::fs::write(m.path("f"), "ours").expect("write");
    std::fs::set_permissions(m.path("f"), Permissions::from_mode(0o600)).expect("chmod");
    m.remount();
    assert_eq!(std::fs::metadata(m.path("f")).expect("stat").mode() & 0o777, 0o600);
    m.store("/f", b"theirs");
    assert_eq!(std::fs::read_to_string(m.path("f")).expect("read"), "theirs");
    assert_eq!(std::fs::metadata(m.path("f")).expect("stat").mode() & 0o777, 0o644, "the default again");
    m.unstore("/f");
    m.store("/f", b"again");
    m.remount();
    assert_eq!(std::fs::metadata(m.path("f")).expect("stat").mode() & 0o777, 0o644);
}

/// An overwritten or edited file keeps its mode and owner.
#[test]
fn overwriting_keeps_attributes() {
    let mut m = mount!("", |s| s.chunk_len(4096));
    for size in [10, 20_000] {
        std::fs::write(m.path("f"), pattern(1, size)).expect("write");
        std::fs::set_permissions(m.path("f"), Permissions::from_mode(0o751)).expect("chmod");
        if is_root() {
            chown(m.path("f"), Some(77), Some(88)).expect("chown");
        }
        std::fs::write(m.path("f"), pattern(2, size)).expect("overwrite");
        std::fs::OpenOptions::new()
            .append(true)
            .open(m.path("f"))
            .expect("open")
            .write_all(b"x")
            .expect("append");
        m.remount();
        let meta = std::fs::metadata(m.path("f")).expect("stat");
        assert_eq!(meta.mode() & 0o7777, 0o751, "size {size}");
        if is_root() {
            assert_eq!((meta.uid(), meta.gid()), (77, 88), "size {size}");
        }
        std::fs::remove_file(m.path("f")).expect("unlink");
    }
}

/// Attributes hold while they wait to be stored and after it, though the directory is listed meanwhile: the listing does
/// not know them. A second change does not take the first one back.
#[test]
fn attributes_stay_while_the_directory_is_listed() {
    let mut m = mount!();
    let names = ["a", "b", "c", "d"];
    let file = |m: &Mount, name: &str| m.path(name).join("f");
    let listed = |m: &Mount, name: &str| {
        let entry =
            std::fs::read_dir(m.path(name)).expect("readdir").next().expect("an entry").expect("entry");
        entry.metadata().expect("stat").mode() & 0o7777
    };
    for name in names {
        std::fs::create_dir(m.path(name)).expect("mkdir");
        std::fs::write(file(&m, name), "hello").expect("write");
        std::fs::set_permissions(file(&m, name), Permissions::from_mode(0o644)).expect("chmod");
    }
    // Longer than anything is believed.
    std::thread::sleep(Duration::from_millis(1500));
    for name in names {
        std::fs::set_permissions(file(&m, name), Permissions::from_mode(0o600)).expect("chmod");
        assert_eq!(listed(&m, name), 0o600, "{name}: at once");
    }
    for after in [250, 500, 750] {
        std::thread::sleep(Duration::from_millis(250));
        for name in names {
            assert_eq!(listed(&m, name), 0o600, "{name}: {after} ms later");
        }
    }
    for name in names {
        sys::utimens(&file(&m, name), (1, 0), (1, 0)).expect("utimens");
    }
    std::thread::sleep(Duration::from_millis(1500));
    for remounted in [false, true] {
        if remounted {
            m.remount();
        }
        for name in names {
            let meta = std::fs::metadata(file(&m, name)).expect("stat");
            assert_eq!((meta.mode() & 0o7777, meta.mtime()), (0o600, 1), "{name}, remounted: {remounted}");
        }
    }
}

/// With `-o user_xattr` extended attributes of files, directories and links are kept; without it there are none.
#[test]
fn extended_attributes() {
    let mut m = mount!("user_xattr");
    std::fs::write(m.path("f"), "x").expect("write");
    std::fs::create_dir(m.path("d")).expect("mkdir");
    if sys::setxattr(&m.path("f"), "user.probe", b"", 0) == Err(libc::EOPNOTSUPP) && m.is_plain() {
        return;
    }
    let big = pattern(1, 10_000);
    symlink("t", m.path("l")).expect("symlink");
    // Only the superuser may set one, and none of a user's, on a link.
    if is_root() {
        for name in ["trusted.one", "trusted.gone"] {
            sys::setxattr(&m.path("l"), name, b"1", 0).expect("setxattr of a link");
        }
        sys::removexattr(&m.path("l"), "trusted.gone").expect("removexattr of a link");
    }
    for name in ["f", "d"] {
        let path = m.path(name);
        assert_eq!(sys::setxattr(&path, "user.", b"1", 0), Err(libc::EINVAL));
        if !m.is_plain() {
            for foreign in ["system.posix_acl_access", "system.other", "security.other"] {
                assert_eq!(sys::getxattr(&path, foreign), Err(libc::EOPNOTSUPP), "{foreign}");
            }
        }
        sys::setxattr(&path, "user.one", b"1", 0).expect("setxattr");
        sys::setxattr(&path, "user.binary", b"\0\xff\n", libc::XATTR_CREATE).expect("setxattr");
        sys::setxattr(&path, "user.big", &big, 0).expect("setxattr");
        sys::setxattr(&path, "user.empty", b"", 0).expect("setxattr");
        assert_eq!(sys::setxattr(&path, "user.one", b"2", libc::XATTR_CREATE), Err(libc::EEXIST));
        assert_eq!(sys::setxattr(&path, "user.none", b"2", libc::XATTR_REPLACE), Err(libc::ENODATA));
        sys::setxattr(&path, "user.one", b"two", libc::XATTR_REPLACE).expect("replace");
        sys::setxattr(&path, "user.gone", b"x", 0).expect("setxattr");
        sys::removexattr(&path, "user.gone").expect("removexattr");
        assert_eq!(sys::removexattr(&path, "user.gone"), Err(libc::ENODATA));
    }
    std::fs::write(m.path("f"), "an overwrite keeps them").expect("write");
    std::fs::rename(m.path("f"), m.path("g")).expect("so does a rename");
    for remounted in [false, true] {
        if remounted {
            m.remount();
        }
        for name in ["g", "d"] {
            let path = m.path(name);
            let mut names = sys::listxattr(&path).expect("listxattr");
            names.retain(|n| n.starts_with("user.") && n != "user.probe");
            assert_eq!(names, ["user.big", "user.binary", "user.empty", "user.one"], "{name}, {remounted}");
            assert_eq!(sys::getxattr(&path, "user.one").expect("getxattr"), b"two");
            assert_eq!(sys::getxattr(&path, "user.binary").expect("getxattr"), b"\0\xff\n");
            assert_eq!(sys::getxattr(&path, "user.empty").expect("getxattr"), b"");
            assert!(sys::getxattr(&path, "user.big").expect("getxattr") == big);
            assert_eq!(sys::getxattr(&path, "user.none"), Err(libc::ENODATA));
        }
        if is_root() {
            let mut names = sys::listxattr(&m.path("l")).expect("listxattr of a link");
            names.retain(|n| n.starts_with("trusted."));
            assert_eq!(names, ["trusted.one"], "{remounted}");
            assert_eq!(sys::getxattr(&m.path("l"), "trusted.one").expect("getxattr of a link"), b"1");
        }
    }
    if m.is_plain() {
        return;
    }
    m.set_options("");
    m.remount();
    assert_eq!(sys::getxattr(&m.path("g"), "user.one"), Err(libc::EOPNOTSUPP));
    assert_eq!(sys::setxattr(&m.path("g"), "user.one", b"", 0), Err(libc::EOPNOTSUPP));
    assert_eq!(sys::listxattr(&m.path("g")).unwrap_or_default(), Vec::<String>::new());
}

/// Hard links, devices, pipes and sockets are refused with EPERM and leave nothing behind.
#[test]
fn what_cannot_be_stored() {
    let m = mount!();
    if m.is_plain() {
        return;
    }
    std::fs::write(m.path("f"), "x").expect("write");
    assert_eq!(errno(std::fs::hard_link(m.path("f"), m.path("h"))), libc::EPERM);
    for kind in [libc::S_IFIFO, libc::S_IFSOCK] {
        assert_eq!(sys::mknod(&m.path("n"), kind | 0o644), Err(libc::EPERM));
    }
    if is_root() {
        assert_eq!(sys::mknod(&m.path("n"), libc::S_IFCHR | 0o644), Err(libc::EPERM));
    }
    assert_eq!(errno(std::os::unix::net::UnixListener::bind(m.path("s"))), libc::EPERM);
    let names: Vec<_> =
        std::fs::read_dir(m.dir()).expect("list").map(|e| e.expect("entry").file_name()).collect();
    assert_eq!(names, ["f"]);
    sys::mknod(&m.path("regular"), libc::S_IFREG | 0o600).expect("mknod of a regular file");
    let kind = std::fs::metadata(m.path("regular")).expect("stat").file_type();
    assert!(kind.is_file() && !kind.is_fifo());
}

/// Without the companion table (`-o noattrs`) chmod, chown and empty directories last for the mount's life.
#[test]
fn without_the_companion_table() {
    let mut m = mount!("noattrs");
    if m.is_plain() {
        return;
    }
    std::fs::write(m.path("f"), "x").expect("write");
    std::fs::set_permissions(m.path("f"), Permissions::from_mode(0o700)).expect("chmod succeeds");
    std::fs::create_dir(m.path("d")).expect("mkdir");
    std::fs::create_dir(m.path("used")).expect("mkdir");
    std::fs::write(m.path("used/f"), "x").expect("write");
    let source = tempfile::tempdir().expect("directory");
    std::fs::write(source.path().join("a"), "a").expect("write");
    std::fs::set_permissions(source.path().join("a"), Permissions::from_mode(0o711)).expect("chmod");
    crate::support::cli::ok(
        std::process::Command::new("cp").arg("-a").arg(source.path()).arg(m.path("copy")),
    );
    std::thread::sleep(Duration::from_millis(1300));
    assert_eq!(std::fs::metadata(m.path("f")).expect("stat").mode() & 0o777, 0o700);
    assert!(m.path("d").is_dir());
    let sql = format!("SELECT to_regclass('{}') IS NULL", m.tables().attrs());
    assert!(m.db().query(&sql, &[])[0].get::<_, bool>(0), "no companion table");
    m.remount();
    assert_eq!(std::fs::metadata(m.path("f")).expect("stat").mode() & 0o777, 0o644);
    assert!(!m.path("d").exists() && m.path("used/f").exists() && m.path("copy/a").exists());
}
