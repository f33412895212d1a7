//! `chunk` over a connection that is cut or falls silent at every message: each change happens once, whole, and is
//! reported as done.

use crate::chunk_bench::*;
use crate::support::wire::{Fault, Wire};
use std::time::Duration;
use userfilefs::chunk::*;
use userfilefs::sql::{Pool, PoolOptions, Settings};
use userfilefs::util::clock::Micros;

struct Rig {
    b: Bench,
    wire: Wire,
    table: FileTable,
}

fn rig(portable: bool) -> Option<Rig> {
    let b = Bench::new()?;
    let wire = Wire::new(b.server.port());
    b.table();
    let options = PoolOptions {
        op_timeout: Some(Duration::from_secs(30)),
        statement_timeout: Some(Duration::from_millis(300)),
        connect_timeout: Duration::from_millis(300),
        ..PoolOptions::default()
    };
    let url = wire.url(&b.server.url(&b.database));
    let pool = b.go(Pool::connect(Settings::parse(&url).unwrap(), options)).unwrap();
    let table = b.go(FileTable::open(pool, b.prefix(), TableOptions { portable, ..tiny() })).unwrap();
    b.go(async {
        let row = PathRow { path: b"/d".into(), kind: PathKind::Dir, attrs: Attrs::default(), mtime: MTIME };
        table.put_path(&row, true).await.unwrap();
    });
    Some(Rig { b, wire, table })
}

/// Runs `change` with a fault at its first message, its second, and so on until it uses fewer. `prepare` and `check`
/// see an undisturbed connection.
fn at_every_message<S>(
    what: &str,
    prepare: impl AsyncFn(&FileTable) -> S,
    change: impl AsyncFn(&FileTable, &S) -> Result<(), Error>,
    check: impl AsyncFn(&FileTable, S),
) {
    for portable in [false, true] {
        let Some(rig) = rig(portable) else { return };
        let plain = rig.b.table();
        for fault in [Fault::CutBefore, Fault::CutAfter, Fault::Silence] {
            // Silences last; every third message has one unless USERFILEFS_LONG is set.
            let long = std::env::var_os("USERFILEFS_LONG").is_some();
            if portable && fault != Fault::CutAfter && !long {
                continue;
            }
            let step = if fault == Fault::Silence && !long { 3 } else { 1 };
            for n in (1..).step_by(step) {
                assert!(n < 200, "{what}: no end");
                for name in rig.b.tables.names() {
                    rig.b.tables.delete(&name);
                }
                rig.b.tables.db.exec("DELETE FROM t_userfilefs_attrs");
                let state = rig.b.go(prepare(&plain));
                // A connection of each kind is open, with nothing prepared that this change needs for the first time.
                rig.b.go(async {
                    rig.table.lookup("/warm").await.unwrap();
                    rig.table.heartbeat().await.unwrap();
                });
                rig.wire.arm(n, fault);
                let done = rig.b.go(change(&rig.table, &state));
                let fired = rig.wire.disarm();
                if let Err(e) = done {
                    panic!("{what}, {fault:?} at message {n}: {e:?}");
                }
                rig.b.go(check(&plain, state));
                rig.b.go(rig.table.idle());
                rig.b.tables.assert_contract(TINY);
                let hidden = rig.b.tables.hidden();
                assert!(hidden.is_empty(), "{what}, {fault:?} at message {n}: {hidden:?} left");
                if !fired {
                    assert!(n > 1, "{what}: nothing sent");
                    break;
                }
            }
        }
    }
}

async fn whole(t: &FileTable, name: &str, want: &[u8]) -> FileRow {
    let row = t.lookup(name).await.unwrap().file.unwrap_or_else(|| panic!("{name} is gone"));
    assert_eq!(t.verify(&row).await.unwrap(), want.len() as u64);
    assert_eq!(read(t, row.id, want.len() as u64).await.unwrap(), want);
    row
}

fn with_mode(name: &str, size: usize, replace: Replace) -> Publish {
    Publish { attrs: Attrs { mode: Some(0o600), ..Attrs::default() }, ..publish(name, size, replace) }
}

#[test]
fn storing_a_small_file() {
    at_every_message(
        "replace",
        async |t| put(t, "/f", &pattern(40, 1)).await,
        async |t, _| t.put_small(t.new_id(), &with_mode("/f", 40, DELETE), &pattern(40, 2)).await,
        async |t, _| {
            let row = whole(t, "/f", &pattern(40, 2)).await;
            assert_eq!(row.attrs.mode, Some(0o600));
        },
    );
    at_every_message(
        "create",
        async |_| (),
        async |t, ()| t.put_small(t.new_id(), &publish("/f", 40, Replace::Refuse), &pattern(40, 2)).await,
        async |t, ()| drop(whole(t, "/f", &pattern(40, 2)).await),
    );
}

#[test]
fn publishing() {
    at_every_message(
        "publish",
        async |t| put(t, "/f", &pattern(40, 1)).await,
        async |t, _| put_staged(t, "/f", &pattern(50, 2), DELETE).await.map(drop),
        async |t, _| drop(whole(t, "/f", &pattern(50, 2)).await),
    );
}

#[test]
fn publishing_with_chunks_taken_over() {
    at_every_message(
        "publish with chunks of the old contents",
        async |t| put(t, "/f", &pattern(50, 1)).await,
        async |t, &base| {
            let staging = t.stage().await?;
            staging.put(16, pattern(16, 2).into()).await?;
            staging.put(48, pattern(2, 3).into()).await?;
            let take = Take { base, offsets: &[0, 32] };
            staging.publish_taking(&publish("/f", 50, DELETE), Some(take)).await
        },
        async |t, _| {
            let mut want = pattern(50, 1);
            want[16..32].copy_from_slice(&pattern(16, 2));
            want[48..].copy_from_slice(&pattern(2, 3));
            drop(whole(t, "/f", &want).await);
        },
    );
}

#[test]
fn renaming() {
    at_every_message(
        "rename",
        async |t| {
            put(t, "/to", &pattern(40, 1)).await;
            put(t, "/d/from", &pattern(40, 2)).await
        },
        async |t, &id| {
            let update = Some((Micros(7), Attrs { uid: Some(3), ..Attrs::default() }));
            let (from, to, keep_dir) = ("/d/from".into(), "/to".into(), Some("/d".into()));
            t.rename(&Rename { from, to, id, replace: DELETE, update, keep_dir }).await
        },
        async |t, id| {
            let row = whole(t, "/to", &pattern(40, 2)).await;
            assert_eq!((row.id, row.mtime, row.attrs.uid), (id, Some(Micros(7)), Some(3)));
            assert!(t.lookup("/d/from").await.unwrap().file.is_none());
            assert!(t.lookup("/d").await.unwrap().path.is_some());
        },
    );
}

#[test]
fn removing() {
    at_every_message(
        "remove",
        async |t| put(t, "/d/f", &pattern(40, 1)).await,
        async |t, _| {
            let large = Old::Delete { size_hint: 1 << 30 };
            assert!(t.remove("/d/f", large, Some("/d")).await?, "it was there");
            Ok(())
        },
        async |t, id| {
            assert!(t.lookup("/d/f").await.unwrap().file.is_none());
            assert!(t.lookup("/d").await.unwrap().path.is_some());
            // Wait for the removal in the background.
            for _ in 0..500 {
                if t.layout(id).await.unwrap().is_empty() && t.sweep(Duration::from_secs(60)).await.is_ok() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            panic!("chunks are left");
        },
    );
}

#[test]
fn appending_and_attributes() {
    at_every_message(
        "append",
        async |t| put(t, "/f", &pattern(40, 1)[..20]).await,
        async |t, &id| {
            let all = pattern(40, 1);
            let chunks = [(16, all[16..32].to_vec().into()), (32, all[32..].to_vec().into())];
            t.append(id, "/f", 20, 40, &chunks, Micros(9)).await
        },
        async |t, id| assert_eq!(whole(t, "/f", &pattern(40, 1)).await.id, id),
    );
    at_every_message(
        "set attributes",
        async |t| put(t, "/f", b"1").await,
        async |t, &id| {
            t.set_file_attrs(id, "/f", Micros(4), &Attrs { gid: Some(8), ..Attrs::default() }).await
        },
        async |t, _| {
            let row = whole(t, "/f", b"1").await;
            assert_eq!((row.mtime, row.attrs.gid), (Some(Micros(4)), Some(8)));
        },
    );
}

#[test]
fn directories() {
    let dir =
        |p: &str| PathRow { path: p.into(), kind: PathKind::Dir, attrs: Attrs::default(), mtime: MTIME };
    at_every_message(
        "mkdir",
        async |_| (),
        async |t, ()| t.put_path(&dir("/n/m"), true).await,
        async |t, ()| assert!(t.lookup("/n/m").await.unwrap().path.is_some()),
    );
    at_every_message(
        "attributes of directories",
        async |t| t.put_path(&dir("/n/m"), true).await.unwrap(),
        async |t, ()| t.put_paths(&[PathRow { mtime: Micros(7), ..dir("/n/m") }, dir("/o/p")]).await,
        async |t, ()| {
            assert_eq!(t.lookup("/n/m").await.unwrap().path.unwrap().mtime, Micros(7));
            assert!(t.lookup("/o/p").await.unwrap().path.is_some());
        },
    );
    at_every_message(
        "rmdir",
        async |t| t.put_path(&dir("/n/m"), true).await.unwrap(),
        async |t, ()| {
            assert!(t.remove_path("/n/m", Some("/n")).await?);
            Ok(())
        },
        async |t, ()| {
            assert!(t.lookup("/n/m").await.unwrap().path.is_none());
            assert!(t.lookup("/n").await.unwrap().path.is_some());
        },
    );
    at_every_message(
        "rename a directory",
        async |t| put(t, "/n/m/f", b"1").await,
        async |t, _| t.rename_path("/n/m", "/o", Replace::Refuse).await,
        async |t, _| {
            whole(t, "/o/f", b"1").await;
            assert!(t.lookup("/n/m").await.unwrap() == Lookup::default());
        },
    );
    at_every_message(
        "exchange",
        async |t| (put(t, "/a", b"1").await, put(t, "/b/x", b"2").await),
        async |t, _| t.exchange("/a", "/b").await,
        async |t, _| {
            whole(t, "/b", b"1").await;
            whole(t, "/a/x", b"2").await;
        },
    );
}
