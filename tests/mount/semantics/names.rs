//! Names that are stored but make no tree, and the reserved directory.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::mount;
use crate::support::mounted::eventually;
use crate::support::sys::errno;

fn list(path: &std::path::Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(path).expect("list");
    entries.map(|e| e.expect("entry").file_name().to_string_lossy().into_owned()).collect()
}

/// Where both `/a` and `/a/b` are stored, `a` is the directory and the file is under `.userfilefs/shadowed/`.
#[test]
fn a_file_and_a_directory_of_one_name() {
    let m = mount!("attr_timeout=0,entry_timeout=0");
    if m.is_plain() {
        return;
    }
    m.store("/a", b"the file");
    m.store("/a/b", b"below");
    m.store("/d/x", b"deep file");
    m.store("/d/x/y", b"deep below");
    assert_eq!(list(m.dir()), BTreeSet::from(["a".into(), "d".into()]));
    assert!(m.path("a").is_dir() && m.path("d/x").is_dir());
    assert_eq!(std::fs::read_to_string(m.path("a/b")).expect("read"), "below");
    assert_eq!(std::fs::read_to_string(m.path(".userfilefs/shadowed/a")).expect("read"), "the file");
    assert_eq!(std::fs::read_to_string(m.path("d/x/y")).expect("read"), "deep below");
    // When what is below goes away, the file appears.
    m.unstore("/a/b");
    eventually("the file appears", Duration::from_secs(3), || m.path("a").is_file());
    assert_eq!(std::fs::read_to_string(m.path("a")).expect("read"), "the file");
    assert_eq!(m.stored("/d/x").expect("untouched"), b"deep file");
}

/// Stored names that cannot be shown are left alone, counted in the log, and hurt no other file.
#[test]
fn names_that_cannot_be_shown() {
    let mut m = mount!("attr_timeout=0,entry_timeout=0");
    if m.is_plain() {
        return;
    }
    let long = format!("/d/{}", "x".repeat(300));
    let bad = [
        "no-slash",
        "//double",
        "/d//inner",
        "/trailing/",
        "/d/./dot",
        "/d/../up",
        "/.",
        "/..",
        "",
        "/",
        long.as_str(),
    ];
    for name in bad {
        m.store(name, b"unreachable");
    }
    m.store("/good", b"good");
    m.store("/d/good", b"good too");
    for remounted in [false, true] {
        if remounted {
            m.remount();
        }
        let root = list(m.dir());
        assert!(root.contains("good") && root.contains("d"), "{root:?}");
        assert!(root.iter().all(|n| ["good", "d", "trailing"].contains(&n.as_str())), "{root:?}");
        assert_eq!(list(&m.path("d")), BTreeSet::from(["good".into()]));
        assert_eq!(std::fs::read_to_string(m.path("good")).expect("read"), "good");
        assert_eq!(std::fs::read_to_string(m.path("d/good")).expect("read"), "good too");
        assert_eq!(errno(std::fs::metadata(m.path("no-slash"))), libc::ENOENT);
    }
    std::fs::write(m.path("d/new"), "new").expect("write");
    std::fs::remove_file(m.path("d/good")).expect("unlink");
    let shown = std::fs::read_to_string(m.path(".userfilefs/unshowable")).expect("the list of them");
    for name in ["no-slash", "//double", "/d//inner"] {
        assert!(shown.contains(name), "{name} is not in\n{shown}");
    }
    let names = m.tables().names();
    for name in bad {
        assert!(names.contains(&name.to_owned()), "{name:?} is still stored");
    }
    assert!(m.log_text().to_lowercase().contains("cannot be shown"), "the log warns:\n{}", m.log_text());
}

/// `.userfilefs` is hidden from listings, reachable by name, and cannot be written.
#[test]
fn the_reserved_directory() {
    let m = mount!();
    if m.is_plain() {
        return;
    }
    std::fs::write(m.path("f"), "x").expect("write");
    assert_eq!(list(m.dir()), BTreeSet::from(["f".into()]));
    let inside = list(&m.path(".userfilefs"));
    assert!(inside.contains("shadowed") && inside.contains("unshowable"), "{inside:?}");
    for name in &inside {
        let path = m.path(".userfilefs").join(name);
        if path.is_file() {
            let text = std::fs::read_to_string(&path).expect("read");
            assert!(!text.contains("postgresql://postgres:"), "no secrets");
        }
    }
    for result in [
        std::fs::write(m.path(".userfilefs/x"), "x").err(),
        std::fs::create_dir(m.path(".userfilefs/d")).err(),
        std::fs::remove_dir(m.path(".userfilefs")).err(),
        std::fs::rename(m.path("f"), m.path(".userfilefs/f")).err(),
        std::fs::rename(m.path(".userfilefs"), m.path("g")).err(),
        std::fs::write(m.path(".userfilefs"), "x").err(),
        std::fs::create_dir(m.path(".userfilefs")).err(),
    ] {
        let code = result.and_then(|e| e.raw_os_error()).expect("refused");
        let refusals = [
            libc::EPERM,
            libc::EACCES,
            libc::EROFS,
            libc::EEXIST,
            libc::EISDIR,
            libc::EBUSY,
            libc::EXDEV,
            libc::ENOTEMPTY,
        ];
        assert!(refusals.contains(&code), "errno {code}");
    }
    let big = std::fs::File::create(m.path("being-written")).expect("create");
    std::os::unix::fs::FileExt::write_all_at(&big, &[1; 6 << 20], 0).expect("write");
    assert_eq!(
        list(m.dir()),
        BTreeSet::from(["being-written".into(), "f".into()]),
        "hidden rows do not show"
    );
    drop(big);
    assert_eq!(m.tables().hidden(), Vec::<String>::new(), "nothing reserved is left after close");
}

/// Names are bytes: case and composition are kept apart; names that are not UTF-8 cannot be made.
#[test]
fn names_are_bytes() {
    use std::os::unix::ffi::OsStrExt;
    let m = mount!();
    let names = ["a", "A", "é", "e\u{301}", "ß", "ss", "ﬁ", "fi", "\u{feff}bom", "\u{10ffff}"];
    for name in names {
        std::fs::write(m.path(name), name).expect("write");
    }
    for name in names {
        assert_eq!(std::fs::read_to_string(m.path(name)).expect("read"), name);
    }
    assert_eq!(list(m.dir()).len(), names.len());
    if m.is_plain() {
        return;
    }
    let latin1 = m.dir().join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    assert_eq!(errno(std::fs::write(&latin1, "x")), libc::EILSEQ);
    assert_eq!(errno(std::fs::create_dir(&latin1)), libc::EILSEQ);
    assert_eq!(errno(std::fs::metadata(&latin1)), libc::ENOENT);
}

/// A path deeper than the store can hold is ENAMETOOLONG before anything is written; a deep one works.
#[test]
fn long_paths() {
    let mut m = mount!();
    if m.is_plain() {
        return;
    }
    let part = "p".repeat(200);
    let mut path = String::new();
    let mut deepest = String::new();
    let mut refused = None;
    for _ in 0..40 {
        path = if path.is_empty() { part.clone() } else { format!("{path}/{part}") };
        match std::fs::create_dir(m.path(&path)) {
            Ok(()) => deepest.clone_from(&path),
            Err(e) => {
                refused = e.raw_os_error();
                break;
            }
        }
    }
    assert_eq!(refused, Some(libc::ENAMETOOLONG));
    assert!(deepest.len() > 1000, "a path of {} bytes", deepest.len());
    std::fs::write(m.path(&format!("{deepest}/f")), "deep").expect("write");
    m.remount();
    assert_eq!(std::fs::read_to_string(m.path(&format!("{deepest}/f"))).expect("read"), "deep");
}
