//! Opening, writing, reading, closing.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::FromRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use crate::mount;
use crate::support::alone::alone;
use crate::support::mounted::pattern;
use crate::support::sys::{Mapping, copy_file_range, errno, fallocate, lseek};

/// When close returns, another client reads the whole file; when fsync returns, what was written so far.
#[test]
fn close_and_fsync_store() {
    let m = mount!("", |s| s.chunk_len(64 << 10));
    for len in [1, 100, 64 << 10, (64 << 10) + 1, 1 << 20] {
        let data = pattern(len as u64, len);
        let mut file = File::create(m.path("f")).expect("create");
        let (first, second) = data.split_at(len / 2);
        file.write_all(first).expect("write");
        file.sync_data().expect("fdatasync");
        assert!(m.stored("/f").expect("stored after fsync") == first, "fsync of {len}");
        file.write_all(second).expect("writing goes on after fsync");
        drop(file);
        assert!(m.stored("/f").expect("stored after close") == data, "close of {len}");
    }
    drop(File::create(m.path("empty")).expect("create"));
    let stored = || m.stored("/empty").is_some_and(|d| d.is_empty());
    crate::support::mounted::eventually("an empty file is stored", std::time::Duration::from_secs(3), stored);
    m.assert_contract();
}

/// O_EXCL creates once; O_CREAT opens what is there; opening what is not there, or a directory for writing, fails.
#[test]
fn opening() {
    let m = mount!();
    let new = || OpenOptions::new().write(true).create_new(true).open(m.path("f"));
    let file = new().expect("create");
    assert_eq!(errno(new()), libc::EEXIST, "before the first close");
    drop(file);
    assert_eq!(errno(new()), libc::EEXIST);
    m.store("/theirs", b"x");
    // Other clients' changes show within the attribute timeout.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let theirs = OpenOptions::new().write(true).create_new(true).open(m.path("theirs"));
    assert_eq!(errno(theirs), libc::EEXIST, "another client's file counts");
    assert_eq!(errno(File::open(m.path("missing"))), libc::ENOENT);
    assert_eq!(errno(File::create(m.path("missing/f"))), libc::ENOENT);
    assert_eq!(errno(File::create(m.path("f/g"))), libc::ENOTDIR);
    assert_eq!(errno(File::open(m.path("f/g"))), libc::ENOTDIR);
    std::fs::create_dir(m.path("d")).expect("mkdir");
    assert_eq!(errno(File::create(m.path("d"))), libc::EISDIR);
    assert_eq!(errno(std::fs::read_dir(m.path("f"))), libc::ENOTDIR);
    let nofollow = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(m.path("f"));
    assert_eq!(errno(nofollow), libc::ENOTDIR);
    // Linux cuts also for those who only read.
    std::fs::write(m.path("cut"), "text").expect("write");
    // SAFETY: open(2) with a path that ends in zero; the descriptor is owned by nobody else.
    let cut = unsafe {
        let path = std::ffi::CString::new(m.path("cut").as_os_str().as_encoded_bytes()).expect("path");
        File::from_raw_fd(libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_TRUNC))
    };
    assert_eq!(cut.metadata().expect("stat").len(), 0);
    drop(cut);
    assert_eq!(m.stored("/cut").expect("stored"), b"");
}

/// Only one of many that create the same name with O_EXCL at the same time wins.
#[test]
fn exclusive_creation_has_one_winner() {
    let m = mount!();
    for round in 0..20 {
        let path = m.path(&format!("f{round}"));
        let create = || OpenOptions::new().write(true).create_new(true).open(&path).is_ok();
        let wins = std::thread::scope(|s| {
            let threads: Vec<_> = (0..4).map(|_| s.spawn(create)).collect();
            threads.into_iter().map(|t| usize::from(t.join().expect("thread"))).sum::<usize>()
        });
        assert_eq!(wins, 1);
    }
}

/// While a file is replaced through O_TRUNC, every other client reads the whole old or the whole new contents.
#[test]
fn truncating_overwrites_never_show_a_torn_file() {
    // A process that another test starts closes its copy of the half-written file, and what is closed is stored.
    if !alone() {
        return;
    }
    let m = mount!("", |s| s.chunk_len(32 << 10));
    if m.is_plain() {
        return;
    }
    let version = |i: u64| {
        let mut data = pattern(i, 100_000 + 40_000 * usize::try_from(i % 3).expect("small"));
        data[0] = u8::try_from(i).expect("small");
        data
    };
    std::fs::write(m.path("f"), version(0)).expect("write");
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|s| {
        let reader = s.spawn(|| {
            let tables = m.tables();
            let mut seen = 0_u32;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let data = tables.read("/f").expect("the name is always there");
                assert!(data == version(u64::from(data[0])), "a torn file of {} bytes", data.len());
                seen += 1;
            }
            seen
        });
        for i in 1..60 {
            let data = version(i);
            let mut file = File::create(m.path("f")).expect("open with O_TRUNC");
            for part in data.chunks(30_000) {
                file.write_all(part).expect("write");
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(reader.join().expect("reader") > 5);
    });
    assert!(m.stored("/f").expect("stored") == version(59));
    m.assert_contract();
}

/// A reader that opened the old contents keeps reading them, whole, while others replace the file.
#[test]
fn open_readers_keep_their_file() {
    let m = mount!("", |s| s.chunk_len(64 << 10));
    let old = pattern(1, 1 << 20);
    std::fs::write(m.path("f"), &old).expect("write");
    let mut reader = File::open(m.path("f")).expect("open");
    let mut start = vec![0; 1000];
    reader.read_exact(&mut start).expect("read");
    std::fs::write(m.path("new"), pattern(2, 1 << 20)).expect("write");
    std::fs::rename(m.path("new"), m.path("f")).expect("replace");
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).expect("read on");
    assert!([start, rest].concat() == old);
    assert!(std::fs::read(m.path("f")).expect("read") == pattern(2, 1 << 20));
}

/// All handles of a file see the same bytes at once; each appends to the end that is there.
#[test]
fn handles_share_the_file() {
    let m = mount!("", |s| s.chunk_len(4096));
    let append = || OpenOptions::new().append(true).create(true).open(m.path("log")).expect("open");
    let (mut a, mut b) = (append(), append());
    let reader = File::open(m.path("log")).expect("open");
    let mut expected = Vec::new();
    for i in 0..50_u64 {
        let data = pattern(i, 97 + 41 * i as usize);
        if i % 2 == 0 { &mut a } else { &mut b }.write_all(&data).expect("append");
        expected.extend_from_slice(&data);
        let mut back = vec![0; data.len()];
        reader
            .read_exact_at(&mut back, (expected.len() - data.len()) as u64)
            .expect("read through another handle");
        assert!(back == data, "append {i}");
        assert_eq!(std::fs::metadata(m.path("log")).expect("stat").len(), expected.len() as u64);
    }
    drop((a, b));
    assert!(m.stored("/log").expect("stored") == expected);
    m.assert_contract();
}

/// Appending to a stored file keeps what is there and costs its last chunk only.
#[test]
fn appending_to_stored_files() {
    let mut m = mount!("", |s| s.chunk_len(4096));
    let mut expected = Vec::new();
    for i in 0..12_u64 {
        let data = pattern(i, [1, 4095, 4096, 4097, 10_000][i as usize % 5]);
        let mut file = OpenOptions::new().append(true).create(true).open(m.path("f")).expect("open");
        file.write_all(&data).expect("append");
        drop(file);
        expected.extend_from_slice(&data);
        assert!(m.stored("/f").expect("stored") == expected, "append {i}");
        if i == 6 {
            m.remount();
        }
    }
    assert!(std::fs::read(m.path("f")).expect("read") == expected);
    m.assert_contract();
}

/// Random writes, truncation and growth in a stored file of several chunks do what they do on a disk.
#[test]
fn editing_stored_files() {
    let mut m = mount!("", |s| s.chunk_len(4096));
    let mut expected = pattern(1, 50_000);
    std::fs::write(m.path("f"), &expected).expect("write");
    m.remount();
    let edits: [(u64, usize); 8] = [
        (0, 10),
        (4090, 12),
        (8192, 4096),
        (20_000, 9000),
        (49_990, 10),
        (49_999, 5000),
        (60_000, 1),
        (4096, 0),
    ];
    for (i, (at, len)) in edits.into_iter().enumerate() {
        let data = pattern(100 + i as u64, len);
        let file = OpenOptions::new().write(true).open(m.path("f")).expect("open");
        file.write_all_at(&data, at).expect("write");
        drop(file);
        let end = usize::try_from(at).expect("small") + len;
        if len > 0 && end > expected.len() {
            expected.resize(end, 0);
        }
        expected[end - len..end].copy_from_slice(&data);
        assert!(m.stored("/f").expect("stored") == expected, "edit {i}");
        assert!(std::fs::read(m.path("f")).expect("read") == expected, "edit {i}");
    }
    for len in [55_000, 8192, 8193, 12_000, 4096, 1, 0, 5000] {
        let file = OpenOptions::new().write(true).open(m.path("f")).expect("open");
        file.set_len(len as u64).expect("truncate");
        drop(file);
        expected.resize(len, 0);
        assert!(m.stored("/f").expect("stored") == expected, "length {len}");
        assert!(std::fs::read(m.path("f")).expect("read") == expected, "length {len}");
    }
    m.assert_contract();
}

/// Truncation by name, and by one handle under another, is seen at once.
#[test]
fn truncation_under_open_handles() {
    let m = mount!("", |s| s.chunk_len(4096));
    std::fs::write(m.path("f"), pattern(1, 20_000)).expect("write");
    let file = OpenOptions::new().read(true).write(true).open(m.path("f")).expect("open");
    nix::unistd::truncate(&m.path("f"), 10_000).expect("truncate by name");
    assert_eq!(file.metadata().expect("fstat").len(), 10_000);
    let mut back = [0; 100];
    assert_eq!(file.read_at(&mut back, 10_000).expect("read"), 0, "end of file");
    file.write_all_at(b"x", 15_000).expect("write beyond");
    let mut expected = pattern(1, 10_000);
    expected.resize(15_000, 0);
    expected.push(b'x');
    assert!(std::fs::read(m.path("f")).expect("read") == expected);
    drop(File::create(m.path("f")).expect("O_TRUNC by another"));
    assert_eq!(file.read_at(&mut back, 0).expect("read"), 0);
    file.write_all_at(b"abc", 2).expect("write");
    drop(file);
    assert_eq!(m.stored("/f").expect("stored"), b"\0\0abc");
}

/// Shared mappings are written back, read what others write, and are stored by msync and close.
#[test]
fn mappings() {
    let m = mount!("", |s| s.chunk_len(8192));
    let mut expected = pattern(1, 40_000);
    std::fs::write(m.path("f"), &expected).expect("write");
    let file = OpenOptions::new().read(true).write(true).open(m.path("f")).expect("open");
    let map = Mapping::new(&file, 40_000, true).expect("mmap");
    assert!(map.read(0, 40_000) == expected);
    map.write(8190, b"over a boundary");
    expected[8190..8205].copy_from_slice(b"over a boundary");
    map.sync().expect("msync");
    file.sync_all().expect("fsync");
    assert!(m.stored("/f").expect("stored") == expected, "msync and fsync store");
    file.write_all_at(b"through the handle", 30_000).expect("write");
    expected[30_000..30_018].copy_from_slice(b"through the handle");
    assert_eq!(map.read(30_000, 18), b"through the handle");
    map.write(39_990, b"the end");
    expected[39_990..39_997].copy_from_slice(b"the end");
    drop(map);
    drop(file);
    assert!(std::fs::read(m.path("f")).expect("read") == expected);
    let readonly = File::open(m.path("f")).expect("open");
    let map = Mapping::new(&readonly, 40_000, false).expect("mmap for reading");
    assert!(map.read(0, 40_000) == expected);
    drop(map);
    drop(readonly);
    let stored = || m.stored("/f").expect("stored") == expected;
    crate::support::mounted::eventually("stored", std::time::Duration::from_secs(5), stored);
    m.assert_contract();
}

/// copy_file_range copies whole files, parts, and within one file.
#[test]
fn copying_ranges() {
    let m = mount!("", |s| s.chunk_len(4096));
    let data = pattern(1, 30_000);
    std::fs::write(m.path("a"), &data).expect("write");
    let from = File::open(m.path("a")).expect("open");
    let to = OpenOptions::new().read(true).write(true).create_new(true).open(m.path("b")).expect("create");
    let mut expected: Vec<u8> = Vec::new();
    // (from, to, length): whole, aligned, unaligned, beyond the end of the source, leaving a hole.
    let copies =
        [(0, 0, 30_000), (4096, 8192, 8192), (100, 5000, 7000), (29_000, 31_000, 5000), (0, 50_000, 10)];
    for (at, to_at, len) in copies {
        let mut done = 0;
        loop {
            let n = copy_file_range(&from, (at + done) as i64, &to, (to_at + done) as i64, len - done)
                .expect("copy");
            if n == 0 {
                break;
            }
            done += n;
            if done == len {
                break;
            }
        }
        let part = &data[at..(at + len).min(data.len())];
        assert_eq!(done, part.len(), "copied from {at} to {to_at}");
        expected.resize(expected.len().max(to_at + part.len()), 0);
        expected[to_at..to_at + part.len()].copy_from_slice(part);
        let mut back = vec![0; expected.len()];
        to.read_exact_at(&mut back, 0).expect("read");
        assert!(back == expected, "copy from {at} to {to_at}");
    }
    let n = copy_file_range(&to, 0, &to, 60_000, 4096).expect("within one file");
    assert_eq!(n, 4096);
    expected.resize(60_000, 0);
    expected.extend_from_within(0..4096);
    drop(to);
    assert!(m.stored("/b").expect("stored") == expected);
    m.assert_contract();
}

/// fallocate makes a file longer, keeps it, or empties a range; SEEK_DATA and SEEK_HOLE find data up to the end.
#[test]
fn fallocate_and_seek() {
    let m = mount!("", |s| s.chunk_len(4096));
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(m.path("f")).expect("create");
    file.write_all_at(&pattern(1, 10_000), 0).expect("write");
    fallocate(&file, 0, 5000, 10_000).expect("fallocate");
    let mut expected = pattern(1, 10_000);
    expected.resize(15_000, 0);
    assert_eq!(file.metadata().expect("fstat").len(), 15_000);
    match fallocate(&file, libc::FALLOC_FL_KEEP_SIZE, 0, 30_000) {
        Ok(()) => assert_eq!(file.metadata().expect("fstat").len(), 15_000),
        Err(e) => assert_eq!(e, libc::EOPNOTSUPP),
    }
    let punch = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    match fallocate(&file, punch, 4000, 3000) {
        Ok(()) => expected[4000..7000].fill(0),
        Err(e) => assert_eq!(e, libc::EOPNOTSUPP),
    }
    // A hole behind the end needs no room, however long it is.
    if !m.is_plain() {
        assert_eq!(fallocate(&file, punch, 20_000, 1 << 51), Ok(()));
        assert_eq!(fallocate(&file, 0, 0, 1 << 51), Err(libc::ENOSPC));
    }
    match fallocate(&file, libc::FALLOC_FL_ZERO_RANGE, 14_000, 3000) {
        Ok(()) => {
            expected.truncate(14_000);
            expected.resize(17_000, 0);
        }
        Err(e) => assert_eq!(e, libc::EOPNOTSUPP),
    }
    assert_eq!(fallocate(&file, libc::FALLOC_FL_COLLAPSE_RANGE, 0, 4096), Err(libc::EOPNOTSUPP));
    assert_eq!(lseek(&file, 100, libc::SEEK_DATA), Ok(100));
    let hole = lseek(&file, 0, libc::SEEK_HOLE).expect("SEEK_HOLE");
    assert!(hole > 0 && hole <= expected.len() as i64, "a hole at {hole}");
    assert_eq!(lseek(&file, expected.len() as i64, libc::SEEK_DATA), Err(libc::ENXIO));
    drop(file);
    assert!(m.stored("/f").expect("stored") == expected);
    m.assert_contract();
}

/// Reads and writes of every length at every kind of position agree with what was written; reads end at the end.
#[test]
fn reading_at_boundaries() {
    let mut m = mount!("", |s| s.chunk_len(4096));
    let data = pattern(3, 3 * 4096);
    std::fs::write(m.path("f"), &data).expect("write");
    m.remount();
    let file = File::open(m.path("f")).expect("open");
    let edges = [0_usize, 1, 4095, 4096, 4097, 8191, 8192, 12_287, 12_288];
    for from in edges {
        for to in edges.into_iter().filter(|to| *to > from) {
            let mut back = vec![0; to - from];
            file.read_exact_at(&mut back, from as u64).expect("read");
            assert!(back == data[from..to], "{from}..{to}");
        }
    }
    let mut back = vec![0; 100];
    assert_eq!(file.read_at(&mut back, 12_288).expect("at the end"), 0);
    assert_eq!(file.read_at(&mut back, 1 << 40).expect("far beyond the end"), 0);
    assert_eq!(file.read_at(&mut back, 12_280).expect("over the end"), 8);
    let mut file = file;
    assert_eq!(file.seek(SeekFrom::End(-5)).expect("seek"), 12_283);
    back.clear();
    file.read_to_end(&mut back).expect("read");
    assert!(back == data[12_283..]);
}

/// Direct and synchronous I/O work.
#[test]
fn odirect_and_osync() {
    let m = mount!();
    let data = pattern(1, 1 << 20);
    let sync = OpenOptions::new().write(true).create_new(true).custom_flags(libc::O_SYNC).open(m.path("s"));
    let mut sync = sync.expect("create with O_SYNC");
    sync.write_all(&data).expect("write");
    assert!(
        m.is_plain() || m.stored("/s").is_some_and(|d| d == data),
        "O_SYNC stores before the write returns"
    );
    drop(sync);
    if m.is_plain() {
        return;
    }
    let direct =
        OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(m.path("s")).expect("O_DIRECT");
    let mut back = vec![0; 1 << 20];
    direct.read_exact_at(&mut back, 0).expect("read");
    assert!(back == data);
}

/// A handle that is closed while others stay open stores what was written through it.
#[test]
fn closing_one_of_several_handles() {
    let m = mount!();
    let other = OpenOptions::new().read(true).write(true).create_new(true).open(m.path("f")).expect("create");
    let mut file = OpenOptions::new().write(true).open(m.path("f")).expect("open");
    file.write_all(b"first").expect("write");
    drop(file);
    assert_eq!(m.stored("/f").expect("stored"), b"first");
    other.write_all_at(b"F", 0).expect("write");
    let duplicate = other.try_clone().expect("dup");
    drop(duplicate);
    assert_eq!(m.stored("/f").expect("stored when a duplicate closes"), b"First");
    drop(other);
}
