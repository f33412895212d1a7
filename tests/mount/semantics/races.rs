//! What happens at the same moment: replacing and opening, storing and looking up, moving and looking up.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::fcntl::AtFlags;
use nix::sys::stat::fstatat;

use crate::mount;
use crate::support::mounted::{Mount, fresh_relayed, pattern};
use crate::support::sys::Mapping;
use crate::support::wire::{Fault, Wire};

/// Longer than the timeouts of a [`relayed`] mount.
const OUTDATED: Duration = Duration::from_millis(250);

/// Several writers replace a file by renaming onto its name; whoever opens it finds a whole version, always.
#[test]
fn replacing_by_rename_while_others_open() {
    let m = mount!();
    let file = m.path("f");
    std::fs::write(&file, pattern(0, 3000)).expect("write");
    let end = Instant::now() + Duration::from_secs(3);
    std::thread::scope(|s| {
        for writer in 0..3 {
            let (file, new) = (&file, m.path(&format!("new{writer}")));
            s.spawn(move || {
                for seed in 0.. {
                    if Instant::now() > end {
                        break;
                    }
                    std::fs::write(&new, pattern(seed, 3000)).expect("write");
                    std::fs::rename(&new, file).expect("rename");
                }
            });
        }
        for _ in 0..3 {
            s.spawn(|| {
                while Instant::now() < end {
                    let data = std::fs::read(&file).expect("open and read");
                    assert_eq!(data.len(), 3000);
                }
            });
        }
    });
    m.assert_contract();
}

/// Removing a file while it is opened: the opener has the whole file or finds none.
#[test]
fn removing_while_others_open() {
    let m = mount!();
    let file = m.path("f");
    let end = Instant::now() + Duration::from_secs(2);
    std::thread::scope(|s| {
        s.spawn(|| {
            while Instant::now() < end {
                let new = m.path("new");
                std::fs::write(&new, pattern(1, 3000)).expect("write");
                std::fs::rename(&new, &file).expect("rename");
                std::fs::remove_file(&file).expect("remove");
            }
        });
        for _ in 0..3 {
            s.spawn(|| {
                while Instant::now() < end {
                    match std::fs::read(&file) {
                        Ok(data) => assert!(data == pattern(1, 3000), "{} bytes", data.len()),
                        // ESTALE: it was removed twice between a look at the name and the open.
                        Err(e) => assert!(
                            [Some(libc::ENOENT), Some(libc::ESTALE)].contains(&e.raw_os_error()),
                            "{e}"
                        ),
                    }
                }
            });
        }
    });
}

/// A mount whose server's answers can be held back, and which asks anew after a tenth of a second.
fn relayed() -> Option<(Wire, Mount)> {
    fresh_relayed("attr_timeout=0.1,entry_timeout=0.1")
}

fn open(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).expect("open")
}

/// The answer to a look-up says what was stored before, and comes when something newer is stored: it changes nothing.
#[test]
fn answers_that_are_out_of_date() {
    let Some((wire, m)) = relayed() else { return };
    // What is changed in between: the contents in place, the length, the mode.
    let changes: [fn(&File); 3] = [
        |f| f.write_all_at(b"new", 10).expect("write"),
        |f| f.write_all_at(b"new", 9000).expect("append"),
        |f| f.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("chmod"),
    ];
    let mut held_back = 0;
    for (change, n) in changes.iter().flat_map(|c| (1..=4).map(move |n| (c, n))) {
        let path = m.path("f");
        std::fs::write(&path, pattern(1, 9000)).expect("write");
        let file = open(&path);
        // The second look lists the directory, the third asks for the name.
        for _ in 0..2 {
            std::thread::sleep(OUTDATED);
            std::fs::metadata(&path).expect("stat");
        }
        std::thread::sleep(OUTDATED);
        std::thread::scope(|s| {
            // One of the messages of a look-up, which prepares its statement or not, has the rows as its answer.
            wire.arm(n, Fault::Late);
            let looking = s.spawn(|| std::fs::metadata(&path));
            while !wire.fired() && !looking.is_finished() {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(50));
            held_back += u32::from(!looking.is_finished());
            let storing = s.spawn(|| {
                change(&file);
                file.sync_all()
            });
            // It may need the very connection whose answers are held back.
            let patience = Instant::now() + Duration::from_secs(1);
            while !storing.is_finished() && Instant::now() < patience {
                std::thread::sleep(Duration::from_millis(1));
            }
            wire.answer();
            storing.join().expect("join").expect("store");
            looking.join().expect("join").expect("it is there all the time");
        });
        let is = |f: &File| (f.metadata().expect("stat").len(), f.metadata().expect("stat").permissions());
        assert_eq!(is(&file), is(&open(&path)), "one file under the handle and under the name");
        file.write_all_at(b"end", 9003).expect("write");
        drop(file);
        std::fs::write(m.path("model"), pattern(1, 9000)).expect("write");
        let model = open(&m.path("model"));
        change(&model);
        model.write_all_at(b"end", 9003).expect("write");
        let want = std::fs::read(m.path("model")).expect("read");
        assert!(std::fs::read(&path).expect("read") == want, "what was written last is lost");
        assert!(m.stored("/f").expect("stored") == want);
        std::fs::remove_file(&path).expect("remove");
    }
    assert!(held_back > 0, "no answer was late");
}

/// A directory is renamed while a file below it is looked up, at each step of the rename: the file never seems gone.
#[test]
fn looking_below_a_moving_directory() {
    let Some((wire, m)) = relayed() else { return };
    std::fs::create_dir(m.path("a")).expect("mkdir");
    std::fs::write(m.path("a/f"), "old").expect("write");
    let dir = File::open(m.path("a")).expect("open the directory");
    let file = open(&m.path("a/f"));
    let (mut from, mut to) = (m.path("a"), m.path("b"));
    for n in 1..60 {
        std::thread::sleep(OUTDATED);
        wire.arm(n, Fault::Late);
        let fired = std::thread::scope(|s| {
            let moving = s.spawn(|| std::fs::rename(&from, &to));
            while !wire.fired() && !moving.is_finished() {
                std::thread::sleep(Duration::from_millis(1));
            }
            let looking = s.spawn(|| fstatat(&dir, "f", AtFlags::empty()));
            std::thread::sleep(Duration::from_millis(50));
            let fired = wire.answer();
            moving.join().expect("join").expect("rename");
            looking.join().expect("join").expect("the file is there all the time");
            fired
        });
        file.write_all_at(format!("{n:03}").as_bytes(), 0).expect("write");
        file.sync_all().expect("store");
        std::mem::swap(&mut from, &mut to);
        let name = from.strip_prefix(m.dir()).expect("in the mount").join("f");
        assert_eq!(m.stored(&format!("/{}", name.display())).expect("stored"), format!("{n:03}").as_bytes());
        if !fired {
            assert!(n > 3, "the rename took {n} messages only");
            return;
        }
    }
    panic!("the rename has no end");
}

/// Directories are removed while their new modes are being stored: none of them comes back.
#[test]
fn removed_directories_stay_away() {
    let m = mount!();
    for round in 0..8 {
        let base = m.path(&format!("d{round}"));
        let dirs: Vec<_> = (0..150).map(|i| base.join(format!("{i}"))).collect();
        std::fs::create_dir(&base).expect("mkdir");
        for dir in &dirs {
            std::fs::create_dir(dir).expect("mkdir");
        }
        for dir in &dirs {
            std::fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700))
                .expect("chmod");
        }
        // The modes are stored a moment later, one after another; the removals come the other way.
        std::thread::sleep(Duration::from_millis(180 + 15 * round));
        for dir in dirs.iter().rev() {
            std::fs::remove_dir(dir).expect("rmdir");
        }
    }
    std::thread::sleep(Duration::from_millis(1300));
    for round in 0..8 {
        let left: Vec<_> = std::fs::read_dir(m.path(&format!("d{round}"))).expect("list").collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// Several writers open, write and close one file, each in a part of its own: each reads back what it wrote, through a
/// mapping too. A read that comes while a write waits for a store must not bring the old bytes into the page cache.
#[test]
fn who_writes_reads_it_back_while_others_open_and_close() {
    const WRITERS: usize = 4;
    const PART: usize = 256 << 10;
    const PIECE: usize = 8192;
    let m = mount!();
    let path = m.path("shared");
    std::fs::write(&path, vec![0; WRITERS * PART]).expect("write");
    let writer = |me: usize| {
        let path = path.clone();
        move || {
            let start = Instant::now();
            let mut stale = Vec::new();
            let mut value = me as u8;
            for round in 0_usize.. {
                if start.elapsed() > Duration::from_secs(6) {
                    break;
                }
                let file = OpenOptions::new().read(true).write(true).open(&path).expect("open");
                let map = Mapping::new(&file, WRITERS * PART, false).expect("mmap");
                for k in 0..5 {
                    value = value.wrapping_add(1);
                    let at = me * PART + (round * 7 + k * 3) % 8 * PIECE;
                    file.write_all_at(&[value; PIECE], at as u64).expect("pwrite");
                    if map.read(at, PIECE) != [value; PIECE] {
                        stale.push(at);
                    }
                }
            }
            stale
        }
    };
    let writers: Vec<_> = (0..WRITERS).map(|me| std::thread::spawn(writer(me))).collect();
    let stale: Vec<Vec<usize>> = writers.into_iter().map(|w| w.join().expect("writer")).collect();
    assert_eq!(stale, vec![Vec::<usize>::new(); WRITERS]);
}
