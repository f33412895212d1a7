//! Figures: free space, numbers of inodes and links, the listing's order and completeness.

use std::collections::BTreeSet;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;

use crate::mount;
use crate::support::mounted::{eventually, pattern};
use crate::support::sys::statvfs;

/// statfs reports the sum of the sizes as used, and room for more.
#[test]
fn statfs_is_honest() {
    let m = mount!();
    if m.is_plain() {
        return;
    }
    let used = || {
        let s = statvfs(m.dir());
        assert!(s.f_bsize > 0 && s.f_blocks > 0 && s.f_bavail > 0 && s.f_files > 0 && s.f_ffree > 0);
        assert_eq!(s.f_namemax, 255);
        (s.f_blocks - s.f_bfree) * s.f_frsize
    };
    let before = used();
    std::fs::write(m.path("f"), pattern(1, 6 << 20)).expect("write");
    let grown = || {
        let grown = used().saturating_sub(before);
        ((6 << 20)..(7 << 20)).contains(&grown)
    };
    eventually("six megabytes more are used", Duration::from_secs(70), grown);
}

/// A file has one link and a number of its own, which renaming, overwriting and remounting do not change.
#[test]
fn inode_numbers() {
    let mut m = mount!();
    std::fs::create_dir(m.path("d")).expect("mkdir");
    for i in 0..50 {
        std::fs::write(m.path(&format!("d/{i}")), "x").expect("write");
    }
    let stat = |name: &str| std::fs::metadata(m.path(name)).expect("stat");
    let numbers: BTreeSet<u64> = (0..50).map(|i| stat(&format!("d/{i}")).ino()).collect();
    assert_eq!(numbers.len(), 50, "all different");
    for entry in std::fs::read_dir(m.path("d")).expect("list") {
        let entry = entry.expect("entry");
        assert_eq!(
            std::os::unix::fs::DirEntryExt::ino(&entry),
            entry.metadata().expect("stat").ino(),
            "readdir agrees with stat"
        );
    }
    assert_eq!(stat("d/7").nlink(), 1);
    let number = stat("d/7").ino();
    std::fs::write(m.path("d/7"), "overwritten").expect("write");
    assert_eq!(stat("d/7").ino(), number);
    std::fs::rename(m.path("d/7"), m.path("moved")).expect("rename");
    assert_eq!(stat("moved").ino(), number);
    std::fs::rename(m.path("moved"), m.path("d/8")).expect("rename");
    assert_eq!(stat("d/8").ino(), number);
    let directory = stat("d").ino();
    std::fs::rename(m.path("d"), m.path("e")).expect("rename");
    assert_eq!(stat("e").ino(), directory);
    assert_eq!(stat("e/8").ino(), number);
    let dev = stat("e").dev();
    assert_eq!(stat("e/8").dev(), dev);
    m.remount();
    assert!(std::fs::metadata(m.path("e/8")).is_ok());
}

/// A listing gives each name once while files come and go, and those that stay are all in it.
#[test]
fn listing_while_files_come_and_go() {
    let m = mount!();
    std::fs::create_dir(m.path("d")).expect("mkdir");
    for i in 0..400 {
        std::fs::write(m.path(&format!("d/stay{i:03}")), "").expect("write");
    }
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|s| {
        s.spawn(|| {
            for i in 0.. {
                if done.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                let name = m.path(&format!("d/come{}", i % 50));
                let _ = std::fs::write(&name, "x");
                let _ = std::fs::rename(&name, m.path(&format!("d/zgo{}", i % 50)));
                let _ = std::fs::remove_file(m.path(&format!("d/zgo{}", (i + 25) % 50)));
            }
        });
        // Also when an assertion fails: the other thread ends with this one.
        let _done = Done(&done);
        for _ in 0..15 {
            let names: Vec<_> = std::fs::read_dir(m.path("d"))
                .expect("list")
                .map(|e| e.expect("entry").file_name().to_string_lossy().into_owned())
                .collect();
            let unique: BTreeSet<&String> = names.iter().collect();
            assert_eq!(unique.len(), names.len(), "a name twice");
            let missing: Vec<String> =
                (0..400).map(|i| format!("stay{i:03}")).filter(|n| !unique.contains(n)).collect();
            assert!(missing.is_empty(), "{missing:?} are missing of {} names", names.len());
        }
    });
}

/// Ends the other thread's loop when this one ends.
struct Done<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Removing entries while reading a directory removes each, as `rm -r` does it.
#[test]
fn removing_while_listing() {
    let m = mount!();
    std::fs::create_dir(m.path("d")).expect("mkdir");
    for i in 0..1000 {
        std::fs::write(m.path(&format!("d/{i}")), "").expect("write");
    }
    for entry in std::fs::read_dir(m.path("d")).expect("list") {
        std::fs::remove_file(entry.expect("entry").path()).expect("unlink");
    }
    std::fs::remove_dir(m.path("d")).expect("all are gone");
}

/// A directory beside millions of names lists quickly: deep trees below it are not walked.
#[test]
fn listing_skips_what_is_below() {
    let m = mount!();
    if m.is_plain() {
        return;
    }
    let t = m.tables();
    t.create();
    t.db.exec(&format!(
        "INSERT INTO {} (filename, file_size, username)
         SELECT '/d' || (i % 10) || '/' || (i % 100) || '/' || i, 0, 'x' FROM generate_series(1, 200000) i",
        t.files
    ));
    t.db.exec(&format!("ANALYZE {}", t.files));
    let start = std::time::Instant::now();
    assert_eq!(std::fs::read_dir(m.dir()).expect("list").count(), 10);
    assert_eq!(std::fs::read_dir(m.path("d3")).expect("list").count(), 10);
    assert!(start.elapsed() < Duration::from_millis(1500), "it took {:?}", start.elapsed());
    assert_eq!(std::fs::read_dir(m.path("d3/13")).expect("list").count(), 2000);
}

/// An edit in a long file writes the chunks that it touches and no others, on the server too.
#[test]
fn an_edit_writes_what_it_touches() {
    let mut m = mount!();
    if m.is_plain() {
        return;
    }
    let mut want = pattern(1, 40 << 20);
    std::fs::write(m.path("f"), &want).expect("write");
    let written = || {
        let text = "SELECT pg_total_relation_size(oid)::int8 FROM pg_class WHERE relname LIKE '%\\_upload\\_payload'";
        m.db().query(text, &[])[0].get::<_, i64>(0)
    };
    let before = written();
    let file = std::fs::OpenOptions::new().write(true).open(m.path("f")).expect("open");
    for i in 0..4_usize {
        let at = (i * 9 + 1) << 20;
        file.write_all_at(&[0xee; 4096], at as u64).expect("pwrite");
        want[at..at + 4096].fill(0xee);
        file.sync_all().expect("fsync");
    }
    drop(file);
    let grown = written() - before;
    assert!(grown < 24 << 20, "4 chunks of 4 MiB were touched, {} MiB were written", grown >> 20);
    m.assert_contract();
    m.remount();
    assert!(std::fs::read(m.path("f")).expect("read") == want);
    m.assert_contract();
}
