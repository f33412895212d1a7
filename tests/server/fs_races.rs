//! `fs` with answers that come late: what this mount has stored or renamed meanwhile is never taken for removed or
//! replaced by somebody else, so that what is written through an open handle afterwards is stored.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use userfilefs::chunk::{FileTable, TableOptions};
use userfilefs::fs::{Config, FsError, Owner, ROOT, SetAttr, UserfileFs};
use userfilefs::sql::{Pool, PoolOptions, Settings};

use crate::chunk_bench::*;
use crate::support::mounted::eventually;
use crate::support::wire::{Fault, Wire};

const OWNER: Owner = Owner { uid: 0, gid: 0 };

struct Rig {
    b: Bench,
    wire: Wire,
    fs: Arc<UserfileFs>,
}

/// A filesystem that believes nothing for long, so that each look-up is a question to the tables.
fn rig() -> Option<Rig> {
    rig_with(30, Config { attr_timeout: Duration::ZERO, entry_timeout: Duration::ZERO, ..Config::default() })
}

/// One whose operations are tried for so many seconds.
fn rig_with(op_timeout: u64, config: Config) -> Option<Rig> {
    let b = Bench::new()?;
    let wire = Wire::new(b.server.port());
    b.table();
    let options = PoolOptions { op_timeout: Some(Duration::from_secs(op_timeout)), ..PoolOptions::default() };
    let settings = Settings::parse(&wire.url(&b.server.url(&b.database))).unwrap();
    let fs = b.go(async {
        let pool = Pool::connect(settings, options).await.unwrap();
        let table = FileTable::open(pool, b.prefix(), tiny()).await.unwrap();
        UserfileFs::new(table, config)
    });
    Some(Rig { b, wire, fs })
}

impl Rig {
    async fn create(&self, parent: u64, name: &str, data: &[u8]) -> (u64, u64) {
        let flags = libc::O_CREAT | libc::O_RDWR;
        let (stat, opened) = self.fs.create(parent, name, 0o644, OWNER, flags).await.unwrap();
        self.write(opened.handle, 0, data).await;
        (stat.ino, opened.handle)
    }

    /// Writes and flushes, as close(2) and fsync(2) do.
    async fn write(&self, handle: u64, offset: u64, data: &[u8]) {
        self.fs.write(handle, offset, Bytes::copy_from_slice(data)).await.unwrap();
        self.fs.flush(handle).await.unwrap();
    }

    /// Looks a name up while `change` is made: asked before, answered after.
    async fn look_up_across(&self, parent: u64, name: &str, change: impl Future<Output = ()>) {
        // Whatever the question needs is prepared on the connection that it will take.
        for _ in 0..2 {
            self.fs.lookup(parent, name).await.unwrap();
        }
        self.wire.arm(1, Fault::Late);
        let (fs, asked) = (self.fs.clone(), name.to_owned());
        let look = tokio::spawn(async move { fs.lookup(parent, &asked).await });
        while !self.wire.fired() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // The server has answered by the time that the change is sent.
        tokio::time::sleep(Duration::from_millis(100)).await;
        change.await;
        self.wire.answer();
        look.await.unwrap().unwrap();
    }

    /// Makes `change` with its commit's answer held, and looks a name up before that comes: the number it had.
    async fn look_up_within(
        &self,
        (parent, name): (u64, &str),
        change: impl Future<Output = ()> + Send + 'static,
    ) -> Option<u64> {
        self.wire.arm_at("COMMIT", 1, Fault::Late);
        let change = tokio::spawn(change);
        while !self.wire.fired() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let (fs, asked) = (self.fs.clone(), name.to_owned());
        let look = tokio::spawn(async move { fs.lookup(parent, &asked).await });
        tokio::time::sleep(Duration::from_millis(200)).await;
        self.wire.answer();
        change.await.unwrap();
        look.await.unwrap().unwrap().map(|stat| stat.ino)
    }

    fn stored(&self, name: &str, want: &[u8]) {
        assert_eq!(self.b.tables.read(name).as_deref(), Some(want), "{name}");
    }
}

#[test]
fn a_look_up_from_before_a_replacement() {
    let Some(r) = rig() else { return };
    r.b.go(async {
        let (_, h) = r.create(ROOT, "f", b"one").await;
        r.look_up_across(ROOT, "f", r.write(h, 0, b"two")).await;
        r.write(h, 0, b"three").await;
    });
    r.stored("/f", b"three");
}

#[test]
fn a_look_up_from_before_a_creation() {
    let Some(r) = rig() else { return };
    r.b.go(async {
        let handle = parking_lot::Mutex::new(0);
        r.look_up_across(ROOT, "f", async {
            *handle.lock() = r.create(ROOT, "f", b"one").await.1;
        })
        .await;
        let h = *handle.lock();
        r.write(h, 0, b"three").await;
    });
    r.stored("/f", b"three");
}

#[test]
fn a_look_up_from_before_attributes_were_stored() {
    let Some(r) = rig() else { return };
    r.b.go(async {
        let (ino, h) = r.create(ROOT, "f", b"one").await;
        r.look_up_across(ROOT, "f", async {
            let set = SetAttr { mode: Some(0o600), ..SetAttr::default() };
            r.fs.setattr(ino, set).await.unwrap();
            r.fs.fsync(h).await.unwrap();
        })
        .await;
        r.fs.setattr(ino, SetAttr { uid: Some(7), ..SetAttr::default() }).await.unwrap();
        r.fs.fsync(h).await.unwrap();
        let row = r.fs.table().lookup("/f").await.unwrap().file.unwrap();
        assert_eq!((row.attrs.mode, row.attrs.uid), (Some(0o600), Some(7)));
    });
}

#[test]
fn a_look_up_of_the_old_name_while_a_file_is_renamed() {
    let Some(r) = rig() else { return };
    r.b.tables.write("/d/a", b"one", TINY);
    r.b.go(async {
        r.fs.mkdir(ROOT, "other", 0o755, OWNER).await.unwrap();
        // The directory has no row yet and gets one, so the rename is more than one statement.
        let dir = r.fs.lookup(ROOT, "d").await.unwrap().unwrap().ino;
        let file = r.fs.lookup(dir, "a").await.unwrap().unwrap().ino;
        let h = r.fs.open(file, libc::O_RDWR).await.unwrap().handle;
        let fs = r.fs.clone();
        let rename = async move { fs.rename(dir, "a", ROOT, "b", 0).await.unwrap() };
        r.look_up_within((dir, "a"), rename).await;
        r.write(h, 0, b"three").await;
    });
    r.stored("/b", b"three");
}

#[test]
fn a_look_up_of_the_new_name_while_a_file_replaces_another() {
    let Some(r) = rig() else { return };
    r.b.go(async {
        let (new, _) = r.create(ROOT, "new", b"new").await;
        let (old, h) = r.create(ROOT, "f", b"old").await;
        for _ in 0..2 {
            r.fs.lookup(ROOT, "f").await.unwrap();
        }
        let fs = r.fs.clone();
        let rename = async move { fs.rename(ROOT, "new", ROOT, "f", 0).await.unwrap() };
        let seen = r.look_up_within((ROOT, "f"), rename).await;
        assert_eq!(seen, Some(old), "not renamed yet, as far as this mount can know");
        assert_eq!(r.fs.lookup(ROOT, "f").await.unwrap().unwrap().ino, new);
        assert_eq!(&r.fs.read(h, 0, 100).await.unwrap()[..], b"old", "who has it open keeps it");
        r.fs.release(h).await;
    });
    r.stored("/f", b"new");
    eventually("what was kept goes", Duration::from_secs(20), || r.b.tables.hidden().is_empty());
}

#[test]
fn a_look_up_below_while_a_directory_is_renamed() {
    let Some(r) = rig() else { return };
    r.b.go(async {
        let dir = r.fs.mkdir(ROOT, "a", 0o755, OWNER).await.unwrap().ino;
        let (_, h) = r.create(dir, "f", b"one").await;
        for _ in 0..2 {
            r.fs.lookup(dir, "f").await.unwrap();
        }
        let fs = r.fs.clone();
        let rename = async move { fs.rename(ROOT, "a", ROOT, "b", 0).await.unwrap() };
        r.look_up_within((dir, "f"), rename).await;
        r.write(h, 0, b"three").await;
    });
    r.stored("/b/f", b"three");
}

/// Contents that were kept because the file was open are removed when it is closed before that is known.
#[test]
fn a_close_while_its_file_is_removed() {
    let Some(r) = rig() else { return };
    r.b.go(async {
        let (_, h) = r.create(ROOT, "f", b"one").await;
        r.wire.arm_at("/f", 1, Fault::Late);
        let fs = r.fs.clone();
        let unlink = tokio::spawn(async move { fs.unlink(ROOT, "f").await });
        while !r.wire.fired() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        r.fs.release(h).await;
        r.wire.answer();
        unlink.await.unwrap().unwrap();
    });
    eventually("what was kept goes", Duration::from_secs(20), || r.b.tables.hidden().is_empty());
}

/// A chunk that was uploaded and then copied over is read, and changed, as it was copied.
#[test]
fn a_copy_over_an_uploaded_chunk() {
    let Some(r) = rig() else { return };
    let (old, new) = (pattern(3 * TINY, 1), pattern(3 * TINY, 2));
    r.b.go(async {
        let (_, s) = r.create(ROOT, "s", &new).await;
        let flags = libc::O_CREAT | libc::O_RDWR;
        let (_, opened) = r.fs.create(ROOT, "t", 0o644, OWNER, flags).await.unwrap();
        let t = opened.handle;
        r.fs.write(t, 0, old.clone().into()).await.unwrap();
        let len = 2 * TINY as u64;
        assert_eq!(r.fs.copy_range(s, 0, t, 0, len).await.unwrap() as u64, len);
        assert_eq!(&r.fs.read(t, 0, 2 * TINY).await.unwrap()[..], &new[..2 * TINY]);
        r.write(t, 1, b"x").await;
    });
    let mut want = [&new[..2 * TINY], &old[2 * TINY..]].concat();
    want[1] = b'x';
    r.stored("/t", &want);
}

/// Many open files that hold little fill the memory for what is not stored yet: the next one gets room.
#[test]
fn many_small_unstored_files() {
    let config = Config { dirty_bytes_max: 2 << 20, ..Config::default() };
    let b = Bench::new();
    let Some(b) = b else { return };
    let table = b.open(TableOptions::default()).unwrap();
    b.go(async {
        let fs = UserfileFs::new(table, config);
        for i in 0..100 {
            let flags = libc::O_CREAT | libc::O_RDWR;
            let (_, opened) = fs.create(ROOT, &format!("f{i}"), 0o644, OWNER, flags).await.unwrap();
            let written = fs.write(opened.handle, 0, vec![1; 50_000].into());
            let done = tokio::time::timeout(Duration::from_secs(20), written).await;
            assert_eq!(done.unwrap_or_else(|_| panic!("file {i} waits for memory")).unwrap(), 50_000);
        }
    });
}

/// A file that another client made longer is read to its new end, also by a mount that still has its old tail in memory
/// and has forgotten the file.
#[test]
fn a_tail_from_before_an_append() {
    let Some(r) = rig() else { return };
    let all = pattern(2 * TINY + 5, 1);
    for (old, new) in [(TINY - 6, TINY - 1), (TINY + 3, 2 * TINY + 5)] {
        let name = format!("f{old}");
        let id = r.b.go(put(&r.b.table(), &format!("/{name}"), &all[..old]));
        let read_whole = async || {
            let ino = r.fs.lookup(ROOT, &name).await.unwrap().unwrap().ino;
            let h = r.fs.open(ino, libc::O_RDONLY).await.unwrap().handle;
            let data = r.fs.read(h, 0, 100).await.map(|data| data.to_vec());
            r.fs.release(h).await;
            r.fs.forget(ino, 1);
            data
        };
        assert_eq!(r.b.go(read_whole()).unwrap(), &all[..old]);
        let tail = old - old % TINY;
        let chunks: Vec<(u64, Bytes)> = (tail..new)
            .step_by(TINY)
            .map(|at| (at as u64, Bytes::copy_from_slice(&all[at..new.min(at + TINY)])))
            .collect();
        let other = r.b.table();
        r.b.go(other.append(id, &format!("/{name}"), old as u64, new as u64, &chunks, MTIME)).unwrap();
        assert_eq!(r.b.go(read_whole()).unwrap(), &all[..new], "{old} bytes to {new}");
    }
}

/// With `-o async`, what was closed while the server is away for longer than operations are tried is stored when it is
/// back.
#[test]
fn closed_files_wait_for_the_server() {
    let Some(r) = rig_with(1, Config { async_close: true, ..Config::default() }) else { return };
    r.b.go(async {
        r.wire.down(true);
        for i in 0..3 {
            let (_, h) = r.create(ROOT, &format!("f{i}"), b"closed").await;
            r.fs.release(h).await;
        }
        tokio::time::sleep(Duration::from_millis(2500)).await;
        r.wire.down(false);
    });
    eventually("it is stored", Duration::from_secs(20), || r.b.tables.names() == ["/f0", "/f1", "/f2"]);
    for i in 0..3 {
        r.stored(&format!("/f{i}"), b"closed");
    }
}

/// A drain that does not wait for a store that is under way leaves it to its end: the file can be changed afterwards.
#[test]
fn a_drain_that_ends_before_a_store() {
    let Some(r) = rig() else { return };
    let (old, new) = (pattern(3 * TINY, 1), pattern(3 * TINY, 2));
    r.b.go(async {
        let (ino, h) = r.create(ROOT, "f", &old).await;
        r.fs.write(h, 0, new.clone().into()).await.unwrap();
        r.wire.arm_at("COMMIT", 1, Fault::Late);
        let report = r.fs.store_all(Duration::from_millis(500)).await;
        assert_eq!(report.lost.len(), 1, "{report:?}");
        r.wire.answer();
        r.fs.setattr(ino, SetAttr { size: Some(5), ..SetAttr::default() }).await.unwrap();
        r.fs.flush(h).await.unwrap();
    });
    r.stored("/f", &new[..5]);
}

/// A name that another client takes at the last moment is not replaced by a rename that must not replace.
#[test]
fn a_rename_that_must_not_replace() {
    let Some(r) = rig() else { return };
    let other = r.b.table();
    let renamed = r.b.go(async {
        r.create(ROOT, "a", b"ours").await;
        r.wire.arm_at("/b", 1, Fault::Late);
        let fs = r.fs.clone();
        let rename = tokio::spawn(async move { fs.rename(ROOT, "a", ROOT, "b", 1).await });
        while !r.wire.fired() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        put(&other, "/b", b"theirs").await;
        r.wire.answer();
        rename.await.unwrap()
    });
    assert_eq!(renamed.map_err(|e| e.errno()), Err(libc::EEXIST));
    r.stored("/a", b"ours");
    r.stored("/b", b"theirs");
}

/// While removing takes its time, the leases of files being written are renewed.
#[test]
fn leases_are_renewed_while_much_is_removed() {
    let config = Config { lease: Duration::from_secs(2), ..Config::default() };
    let Some(r) = rig_with(30, config) else { return };
    r.wire.arm_at("trash", 1, Fault::Late);
    let (_, h) = r.b.go(r.create(ROOT, "f", b"1"));
    r.b.go(r.fs.write(h, 0, pattern(3 * TINY, 1).into())).unwrap();
    eventually("a hidden row, and a sweep under way", Duration::from_secs(20), || {
        !r.b.tables.hidden().is_empty() && r.wire.fired()
    });
    r.b.tables
        .db
        .exec("UPDATE t_upload_files SET upload_time = '2000-01-01' WHERE filename LIKE '/.userfilefs/%'");
    let fresh = "SELECT 1 FROM t_upload_files WHERE filename LIKE '/.userfilefs/%' AND upload_time > now() - interval '1 day'";
    eventually("the lease is renewed", Duration::from_secs(20), || {
        !r.b.tables.db.query(fresh, &[]).is_empty()
    });
    r.wire.answer();
}

/// Contents that only opening found: the kernel's page cache, which still ends where the old ones did, is gone round.
#[test]
fn contents_that_opening_found() {
    let Some(r) = rig() else { return };
    let other = r.b.table();
    r.b.go(async {
        put(&other, "/f", b"old").await;
        let ino = r.fs.lookup(ROOT, "f").await.unwrap().unwrap().ino;
        let open = async || {
            let opened = r.fs.open(ino, libc::O_RDONLY).await.unwrap();
            r.fs.release(opened.handle).await;
            opened
        };
        assert!(!open().await.direct_io);
        put(&other, "/f", b"new and longer").await;
        assert!(open().await.direct_io);
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert!(!open().await.direct_io, "the kernel has had the time to ask again");
    });
}

/// An inode whose name another client took while it was open here is not opened again, though the kernel still leads
/// to it: what is written there would be lost.
#[test]
fn a_replaced_file_is_not_opened_again() {
    let Some(r) = rig() else { return };
    let other = r.b.table();
    r.b.go(async {
        put(&other, "/f", b"old").await;
        let ino = r.fs.lookup(ROOT, "f").await.unwrap().unwrap().ino;
        let reader = r.fs.open(ino, libc::O_RDONLY).await.unwrap().handle;
        put(&other, "/f", b"theirs").await;
        let now = r.fs.lookup(ROOT, "f").await.unwrap().unwrap().ino;
        assert_ne!(now, ino);
        for flags in [libc::O_RDONLY, libc::O_WRONLY, libc::O_WRONLY | libc::O_TRUNC] {
            assert!(matches!(r.fs.open(ino, flags).await, Err(FsError::LookAgain)), "{flags:#o}");
            assert!(!matches!(r.fs.try_open(ino, flags), Some(Ok(_))), "{flags:#o}");
        }
        let h = r.fs.open(now, libc::O_WRONLY | libc::O_TRUNC).await.unwrap().handle;
        r.write(h, 0, b"ours").await;
        r.fs.release(h).await;
        r.fs.release(reader).await;
    });
    r.stored("/f", b"ours");
}

/// A read that finds its file replaced fails once: the name leads to the new contents at once, however long
/// attributes are remembered.
#[test]
fn a_replaced_file_fails_one_read() {
    let long = Duration::from_secs(1000);
    let config = Config { attr_timeout: long, entry_timeout: long, ..Config::default() };
    let Some(r) = rig_with(30, config) else { return };
    let other = r.b.table();
    r.b.go(async {
        put(&other, "/f", b"old").await;
        let ino = r.fs.lookup(ROOT, "f").await.unwrap().unwrap().ino;
        let reader = r.fs.open(ino, libc::O_RDONLY).await.unwrap().handle;
        put(&other, "/f", b"new").await;
        assert!(matches!(r.fs.read(reader, 0, 100).await, Err(FsError::Stale)));
        assert!(matches!(r.fs.open(ino, libc::O_RDONLY).await, Err(FsError::LookAgain)));
        let now = r.fs.lookup(ROOT, "f").await.unwrap().unwrap().ino;
        let h = r.fs.open(now, libc::O_RDONLY).await.unwrap().handle;
        assert_eq!(r.fs.read(h, 0, 100).await.unwrap().to_vec(), b"new");
        r.fs.release(h).await;
        r.fs.release(reader).await;
    });
}
