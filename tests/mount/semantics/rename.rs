//! Renaming and removing.

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, symlink};

use crate::mount;
use crate::support::mounted::pattern;
use crate::support::sys::{errno, renameat2};

/// Renaming a file keeps its contents and its row's id: nothing is copied.
#[test]
fn a_renamed_file_is_the_same_row() {
    let m = mount!();
    std::fs::write(m.path("a"), pattern(1, 5 << 20)).expect("write");
    let before = (!m.is_plain()).then(|| m.tables().file_id("/a"));
    std::fs::create_dir(m.path("d")).expect("mkdir");
    std::fs::rename(m.path("a"), m.path("d/b")).expect("rename");
    let after = (!m.is_plain()).then(|| m.tables().file_id("/d/b"));
    assert_eq!(before, after);
    assert!(m.stored("/a").is_none() && m.stored("/d/b").expect("stored") == pattern(1, 5 << 20));
    assert_eq!(errno(std::fs::metadata(m.path("a"))), libc::ENOENT);
    m.assert_contract();
}

/// Renaming over a file replaces it in one step; the number of the moved file stays.
#[test]
fn a_rename_replaces() {
    let m = mount!();
    std::fs::write(m.path("old"), "old").expect("write");
    std::fs::write(m.path("new"), "new").expect("write");
    let number = std::fs::metadata(m.path("new")).expect("stat").ino();
    std::fs::rename(m.path("new"), m.path("old")).expect("rename");
    assert_eq!(std::fs::read_to_string(m.path("old")).expect("read"), "new");
    assert_eq!(std::fs::metadata(m.path("old")).expect("stat").ino(), number);
    assert_eq!(m.stored("/old").expect("stored"), b"new");
    assert!(m.stored("/new").is_none());
    std::fs::rename(m.path("old"), m.path("old")).expect("to itself");
    assert_eq!(std::fs::read_to_string(m.path("old")).expect("read"), "new");
    m.assert_contract();
}

/// RENAME_NOREPLACE refuses an existing target; RENAME_EXCHANGE swaps files, links and directories.
#[test]
fn rename_flags() {
    let mut m = mount!();
    std::fs::write(m.path("a"), "a").expect("write");
    std::fs::write(m.path("b"), pattern(1, 9000)).expect("write");
    std::fs::create_dir_all(m.path("d/e")).expect("mkdir");
    std::fs::write(m.path("d/e/f"), "deep").expect("write");
    symlink("a", m.path("l")).expect("symlink");
    let noreplace = |x: &str, y: &str| renameat2(&m.path(x), &m.path(y), libc::RENAME_NOREPLACE);
    let exchange = |x: &str, y: &str| renameat2(&m.path(x), &m.path(y), libc::RENAME_EXCHANGE);
    assert_eq!(noreplace("a", "b"), Err(libc::EEXIST));
    assert_eq!(noreplace("a", "d"), Err(libc::EEXIST));
    assert_eq!(noreplace("a", "l"), Err(libc::EEXIST));
    assert_eq!(noreplace("a", "c"), Ok(()));
    assert_eq!(noreplace("d/e", "d/g"), Ok(()));
    assert_eq!(noreplace("d/g", "d/e"), Ok(()));
    assert_eq!(exchange("c", "missing"), Err(libc::ENOENT));
    assert_eq!(exchange("c", "b"), Ok(()));
    assert_eq!(std::fs::read(m.path("c")).expect("read"), pattern(1, 9000));
    assert_eq!(m.stored("/b").expect("stored"), b"a");
    assert_eq!(exchange("b", "d"), Ok(()));
    assert_eq!(std::fs::read_to_string(m.path("b/e/f")).expect("read"), "deep");
    assert_eq!(std::fs::read_to_string(m.path("d")).expect("read"), "a");
    assert_eq!(exchange("l", "d"), Ok(()));
    assert_eq!(std::fs::read_link(m.path("d")).expect("link").to_str(), Some("a"));
    assert_eq!(std::fs::read_to_string(m.path("l")).expect("read"), "a");
    std::fs::create_dir(m.path("empty")).expect("mkdir");
    assert_eq!(exchange("empty", "b/e"), Ok(()));
    m.remount();
    assert_eq!(std::fs::read_to_string(m.path("empty/f")).expect("read"), "deep");
    assert_eq!(std::fs::read_dir(m.path("b/e")).expect("list").count(), 0);
    assert_eq!(std::fs::read_to_string(m.path("l")).expect("read"), "a");
    m.assert_contract();
}

/// A directory moves with everything below it, in one step; it replaces an empty directory and no other.
#[test]
fn directories_move_whole() {
    let mut m = mount!();
    std::fs::create_dir_all(m.path("a/b/empty")).expect("mkdir");
    for i in 0..20_u64 {
        std::fs::write(m.path(&format!("a/b/{i}")), pattern(i, 100)).expect("write");
    }
    symlink("b", m.path("a/link")).expect("symlink");
    // Neighbours in name order that must not move along.
    std::fs::write(m.path("a."), "dot").expect("write");
    std::fs::write(m.path("a0"), "zero").expect("write");
    std::fs::create_dir(m.path("a b")).expect("mkdir");
    std::fs::rename(m.path("a"), m.path("moved")).expect("rename");
    assert_eq!(std::fs::read_dir(m.path("moved/b")).expect("list").count(), 21);
    std::fs::create_dir(m.path("target")).expect("mkdir");
    std::fs::rename(m.path("moved"), m.path("target")).expect("onto an empty directory");
    std::fs::create_dir(m.path("other")).expect("mkdir");
    assert_eq!(errno(std::fs::rename(m.path("other"), m.path("target"))), libc::ENOTEMPTY);
    assert_eq!(errno(std::fs::rename(m.path("other"), m.path("a0"))), libc::ENOTDIR);
    assert_eq!(errno(std::fs::rename(m.path("a0"), m.path("other"))), libc::EISDIR);
    assert_eq!(errno(std::fs::rename(m.path("target"), m.path("target/b/x"))), libc::EINVAL);
    assert_eq!(errno(std::fs::rename(m.path("missing"), m.path("x"))), libc::ENOENT);
    assert_eq!(errno(std::fs::rename(m.path("a0"), m.path("missing/x"))), libc::ENOENT);
    m.remount();
    for i in 0..20_u64 {
        assert_eq!(std::fs::read(m.path(&format!("target/b/{i}"))).expect("read"), pattern(i, 100));
    }
    assert!(m.path("target/b/empty").is_dir() && m.path("a b").is_dir() && m.path("other").is_dir());
    assert_eq!(std::fs::read_link(m.path("target/link")).expect("link").to_str(), Some("b"));
    assert_eq!(std::fs::read_to_string(m.path("a.")).expect("read"), "dot");
    assert_eq!(std::fs::read_to_string(m.path("a0")).expect("read"), "zero");
    assert!(!m.path("a").exists() && !m.path("moved").exists());
    m.assert_contract();
}

/// A file that is open keeps working when it, or a directory above it, is renamed.
#[test]
fn open_files_move_along() {
    let m = mount!();
    std::fs::create_dir_all(m.path("d/e")).expect("mkdir");
    let mut file = std::fs::File::create_new(m.path("d/e/f")).expect("create");
    file.write_all(b"one ").expect("write");
    std::fs::rename(m.path("d/e/f"), m.path("d/e/g")).expect("rename a file being written");
    file.write_all(b"two ").expect("write");
    std::fs::rename(m.path("d"), m.path("x")).expect("rename a directory above it");
    file.write_all(b"three").expect("write");
    file.sync_all().expect("fsync");
    assert_eq!(m.stored("/x/e/g").expect("stored under its new name"), b"one two three");
    assert!(m.stored("/d/e/f").is_none() && m.stored("/d/e/g").is_none());
    file.write_all(b" four").expect("write");
    drop(file);
    assert_eq!(std::fs::read_to_string(m.path("x/e/g")).expect("read"), "one two three four");
    m.assert_contract();
}

/// A file that is unlinked, or replaced, while open can be read and written until it is closed, and then it is gone.
#[test]
fn unlinked_open_files() {
    let m = mount!("", |s| s.chunk_len(64 << 10));
    for replaced in [None, Some("file"), Some("link")] {
        let data = pattern(7, 300_000);
        std::fs::write(m.path("f"), &data).expect("write");
        let mut reader = std::fs::File::open(m.path("f")).expect("open");
        let mut writer = std::fs::File::options().write(true).open(m.path("f")).expect("open");
        if let Some(by) = replaced {
            std::fs::write(m.path("g"), "other").expect("write");
            if by == "link" {
                symlink("g", m.path("l")).expect("symlink");
                std::fs::rename(m.path("l"), m.path("f")).expect("rename");
            } else {
                std::fs::rename(m.path("g"), m.path("f")).expect("rename");
            }
            assert_eq!(std::fs::read_to_string(m.path("f")).expect("read"), "other");
        } else {
            std::fs::remove_file(m.path("f")).expect("unlink");
            assert_eq!(errno(std::fs::metadata(m.path("f"))), libc::ENOENT);
            assert!(m.stored("/f").is_none());
        }
        writer.write_all(b"changed").expect("write to a file without a name");
        writer.sync_all().expect("fsync of a file without a name");
        drop(writer);
        let mut back = Vec::new();
        reader.read_to_end(&mut back).expect("read");
        assert!(back.len() == data.len() && back[7..] == data[7..] && back[..7] == *b"changed");
        drop(reader);
        if replaced == Some("file") {
            assert_eq!(m.stored("/f").expect("stored"), b"other");
        } else if replaced == Some("link") {
            assert_eq!(m.stored("/g").expect("stored"), b"other");
            std::fs::remove_file(m.path("g")).expect("unlink");
        } else {
            std::fs::write(m.path("f"), "fresh").expect("the name is free");
            assert_eq!(m.stored("/f").expect("stored"), b"fresh");
        }
        std::fs::remove_file(m.path("f")).expect("unlink");
    }
    if !m.is_plain() {
        let tables = m.tables();
        let empty = || tables.hidden().is_empty() && tables.names().is_empty();
        crate::support::mounted::eventually("nothing is left", std::time::Duration::from_secs(10), empty);
    }
    m.assert_contract();
}

/// rmdir removes empty directories only; unlink removes no directory; a removed name is free for the other kind.
#[test]
fn removing() {
    let mut m = mount!();
    std::fs::create_dir(m.path("d")).expect("mkdir");
    std::fs::write(m.path("d/f"), "").expect("write");
    assert_eq!(errno(std::fs::remove_dir(m.path("d"))), libc::ENOTEMPTY);
    assert_eq!(errno(std::fs::remove_file(m.path("d"))), libc::EISDIR);
    assert_eq!(errno(std::fs::remove_dir(m.path("d/f"))), libc::ENOTDIR);
    assert_eq!(errno(std::fs::create_dir(m.path("d"))), libc::EEXIST);
    assert_eq!(errno(std::fs::create_dir(m.path("d/f"))), libc::EEXIST);
    assert_eq!(errno(std::fs::create_dir(m.path("d/f/g"))), libc::ENOTDIR);
    std::fs::remove_file(m.path("d/f")).expect("unlink");
    assert!(m.path("d").is_dir(), "its last file is gone, the directory is not");
    m.remount();
    assert!(m.path("d").is_dir(), "also after a remount");
    std::fs::remove_dir(m.path("d")).expect("rmdir");
    std::fs::write(m.path("d"), "now a file").expect("write");
    std::fs::remove_file(m.path("d")).expect("unlink");
    std::fs::create_dir(m.path("d")).expect("mkdir");
    std::fs::create_dir(m.path("d/sub")).expect("mkdir");
    assert_eq!(errno(std::fs::remove_dir(m.path("d"))), libc::ENOTEMPTY);
    std::fs::remove_dir_all(m.path("d")).expect("remove");
    m.remount();
    assert_eq!(std::fs::read_dir(m.dir()).expect("list").count(), 0);
}

/// A file written under a temporary name, with times and modes set after closing, arrives by rename as rsync leaves it.
#[test]
fn attributes_ride_with_the_rename() {
    use std::os::unix::fs::PermissionsExt;
    let mut m = mount!();
    std::fs::write(m.path(".f.Xy12ab"), "contents").expect("write");
    crate::support::sys::utimens(&m.path(".f.Xy12ab"), (1_000_000_000, 0), (1_000_000_000, 123_456_000))
        .expect("times");
    std::fs::set_permissions(m.path(".f.Xy12ab"), PermissionsExt::from_mode(0o640)).expect("chmod");
    std::fs::rename(m.path(".f.Xy12ab"), m.path("f")).expect("rename");
    for again in [false, true] {
        if again {
            m.remount();
        }
        let meta = std::fs::metadata(m.path("f")).expect("stat");
        assert_eq!((meta.mtime(), meta.mtime_nsec()), (1_000_000_000, 123_456_000), "remounted: {again}");
        assert_eq!(meta.mode() & 0o7777, 0o640, "remounted: {again}");
    }
    assert_eq!(m.stored("/f").expect("stored"), b"contents");
}
