//! `chunk`: opening, storing, reading, renaming, removing.

use crate::chunk_bench::*;
use std::collections::BTreeMap;
use userfilefs::chunk::*;
use userfilefs::sql::ErrorClass;
use userfilefs::util::clock::Micros;

#[test]
fn creation_keeps_the_contract_and_is_shared() {
    let Some(b) = Bench::new() else { return };
    let pools: Vec<_> = (0..6).map(|_| b.pool()).collect();
    let opened = b.go(async {
        let all = pools.into_iter().map(|p| tokio::spawn(FileTable::open(p, b.prefix(), tiny())));
        futures_util::future::join_all(all).await
    });
    for table in opened {
        table.unwrap().unwrap();
    }
    b.tables.assert_contract(TINY);
    let row = &b.tables.db.query(
        "SELECT a.attstorage::text, (SELECT collname FROM pg_collation c, pg_attribute f WHERE c.oid = f.attcollation \
         AND f.attname = 'filename' AND f.attrelid = 't_upload_files'::regclass)::text \
         FROM pg_attribute a WHERE a.attname = 'payload' AND a.attrelid = 't_upload_payload'::regclass",
        &[],
    )[0];
    assert_eq!((row.get::<_, String>(0), row.get::<_, String>(1)), ("e".into(), "C".into()));
    // What autovacuum may look through, in the table and in the chunks that are stored out of line.
    let limits = b.tables.db.query(
        "SELECT unnest(t.reloptions || o.reloptions)::text FROM pg_class t JOIN pg_class o ON o.oid = t.reltoastrelid \
         WHERE t.oid = 't_upload_payload'::regclass",
        &[],
    );
    let limits: Vec<String> = limits.iter().map(|r| r.get(0)).collect();
    assert_eq!(limits, ["autovacuum_vacuum_cost_limit=4000"; 2]);
}

#[test]
fn grants_and_default_privileges() {
    let Some(b) = Bench::new() else { return };
    b.tables.db.exec(
        "DO $$ BEGIN CREATE ROLE chunk_other; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
         ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO chunk_other, PUBLIC",
    );
    b.table();
    let rows = b.tables.db.query(
        "SELECT DISTINCT grantee::text FROM information_schema.table_privileges WHERE table_name LIKE 't!_upload!_%' ESCAPE '!'",
        &[],
    );
    let who: Vec<String> = rows.iter().map(|r| r.get(0)).collect();
    assert_eq!(who, ["postgres"]);
    b.tables
        .db
        .exec("ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE SELECT ON TABLES FROM chunk_other, PUBLIC");
}

#[test]
fn missing_half_and_foreign_tables() {
    let Some(b) = Bench::new() else { return };
    let refuse = TableOptions { create: Create::Refuse, ..tiny() };
    assert!(matches!(b.open(refuse.clone()), Err(Error::NoTables(_))));
    assert!(matches!(b.open(TableOptions { read_only: true, ..tiny() }), Err(Error::NoTables(_))));
    b.table();
    b.open(refuse).unwrap();
    b.tables.db.exec("DROP TABLE t_upload_payload");
    let e = b.open(tiny()).unwrap_err();
    assert_eq!(
        e.to_string(),
        "expected both File and Payload tables to exist, but one of them has been dropped"
    );
    assert!(e.hint().unwrap().contains("t_upload_payload"));
    let other = TablePrefix { database: "elsewhere".into(), ..b.prefix() };
    assert!(b.go(FileTable::open(b.pool(), other, tiny())).is_err());
    let long = TablePrefix { table: "x".repeat(60), ..b.prefix() };
    assert!(matches!(b.go(FileTable::open(b.pool(), long, tiny())), Err(Error::Name(_))));
    let schema = TablePrefix { schema: "nowhere".into(), ..b.prefix() };
    let e = b.go(FileTable::open(b.pool(), schema.clone(), tiny())).unwrap_err();
    assert_eq!(e.class(), Some(ErrorClass::NotFound), "{e}");
    b.tables.db.exec("CREATE SCHEMA nowhere");
    b.go(FileTable::open(b.pool(), schema, tiny())).unwrap();
}

#[test]
fn small_files_come_back() {
    both(|b, options| {
        let t = b.open(options).unwrap();
        b.go(async {
            for len in [0, 1, 15, 16, 17, 100] {
                let name = format!("/dir/len{len}");
                let data = pattern(len, 7);
                let id = put(&t, &name, &data).await;
                let l = t.lookup(&name).await.unwrap();
                let row = l.file.unwrap();
                assert_eq!((row.id, row.size, row.mtime), (id, len as i64, Some(MTIME)));
                assert_eq!((row.name.as_slice(), row.username.as_str()), (name.as_bytes(), "postgres"));
                assert_eq!(read(&t, id, len as u64).await.unwrap(), data);
                assert_eq!(t.verify(&row).await.unwrap(), len as u64);
            }
            assert!(t.lookup("/dir").await.unwrap().has_children);
            assert_eq!(t.lookup("/none").await.unwrap(), Lookup::default());
            assert!(t.lookup("").await.unwrap().has_children);
        });
        b.tables.assert_contract(TINY);
        assert!(b.tables.db.try_query("SELECT 1 FROM t_userfilefs_attrs", &[]).is_err(), "made without need");
    });
}

#[test]
fn names_are_checked() {
    let Some(b) = Bench::new() else { return };
    let t = b.table();
    b.go(async {
        for bad in ["rel", "/a/../b", "/a/", "//a", "/.userfilefs/x", "/a\0b"] {
            let e = t.put_small(t.new_id(), &publish(bad, 0, DELETE), b"").await.unwrap_err();
            assert!(matches!(e, Error::Name(_)), "{bad}: {e}");
        }
        for odd in ["/a b", "/ü%_\\*?\n", "/'\"", &format!("/{}", "x".repeat(255))] {
            put(&t, odd, b"1").await;
            assert_eq!(t.list_files(odd, None, 10).await.unwrap().len(), 1, "{odd}");
        }
        let e = t.put_small(t.new_id(), &publish(&format!("/{}", "x/".repeat(1500)), 0, DELETE), b"").await;
        assert!(matches!(e, Err(Error::Name(_))));
    });
}

#[test]
fn replacing_small_files() {
    both(|b, options| {
        let t = b.open(options).unwrap();
        b.go(async {
            let first = put(&t, "/f", b"one").await;
            let e = t.put_small(t.new_id(), &publish("/f", 1, Replace::Refuse), b"x").await.unwrap_err();
            assert!(matches!(e, Error::Exists(n) if n == "/f"));
            let second = put(&t, "/f", &pattern(40, 2)).await;
            assert!(t.chunk_at(first, 0).await.unwrap().is_none());
            // The old contents stay readable where they are still open.
            let p = publish("/f", 2, Replace::Displace(Old::Keep(second)));
            let third = t.new_id();
            t.put_small(third, &p, b"33").await.unwrap();
            assert_eq!(read(&t, second, 40).await.unwrap(), pattern(40, 2));
            assert_eq!(t.lookup("/f").await.unwrap().file.unwrap().id, third);
            assert_eq!(t.usage().await.unwrap(), Usage { files: 1, bytes: 2 });
            assert_eq!(names(&t.list_files("", None, 10).await.unwrap()), ["/f"]);
            t.heartbeat().await.unwrap();
            t.remove_hidden(second).await.unwrap();
            assert!(t.chunk_at(second, 0).await.unwrap().is_none());
            t.remove_hidden(third).await.unwrap();
            assert_eq!(read(&t, third, 2).await.unwrap(), b"33", "a visible file is not hidden");
        });
        b.tables.assert_contract(TINY);
        assert!(b.tables.hidden().is_empty());
    });
}

#[test]
fn many_in_one_transaction() {
    both(|b, options| {
        let t = b.open(options).unwrap();
        b.go(async {
            let items: Vec<_> = (0..50)
                .map(|i| {
                    let data = pattern(i, i as u64);
                    let mut p =
                        publish(&format!("/m/{i}"), i, if i % 2 == 0 { DELETE } else { Replace::Refuse });
                    p.attrs.mode = (i % 3 == 0).then_some(0o640);
                    (t.new_id(), p, bytes::Bytes::from(data))
                })
                .collect();
            t.put_small_many(&items).await.unwrap();
            let ids: Vec<FileId> = items.iter().map(|i| i.0).collect();
            for ((id, chunks), (_, p, data)) in t.small(&ids).await.unwrap().iter().zip(&items) {
                let got: Vec<u8> = chunks.iter().flat_map(|c| c.data.to_vec()).collect();
                assert_eq!(&got, data);
                let row = t.lookup(&p.name).await.unwrap().file.unwrap();
                assert_eq!((row.id, row.attrs), (*id, p.attrs.clone()));
            }
            // One that is refused takes all down.
            let again = vec![
                (t.new_id(), publish("/m/new", 1, Replace::Refuse), bytes::Bytes::from_static(b"1")),
                (t.new_id(), publish("/m/3", 1, Replace::Refuse), bytes::Bytes::from_static(b"1")),
            ];
            assert!(matches!(t.put_small_many(&again).await, Err(Error::Exists(n)) if n == "/m/3"));
            assert!(t.lookup("/m/new").await.unwrap().file.is_none());
        });
        b.tables.assert_contract(TINY);
    });
}

#[test]
fn staged_files() {
    both(|b, options| {
        let t = b.open(options).unwrap();
        b.go(async {
            for len in [0, 1, 16, 17, 160, 161] {
                let name = format!("/s/{len}");
                let data = pattern(len, 3);
                let id = put_staged(&t, &name, &data, Replace::Refuse).await.unwrap();
                assert_eq!(read(&t, id, len as u64).await.unwrap(), data);
                let e = put_staged(&t, &name, b"x", Replace::Refuse).await.unwrap_err();
                assert!(matches!(e, Error::Exists(_)));
                let id = put_staged(&t, &name, b"xyz", DELETE).await.unwrap();
                assert_eq!(read(&t, id, 3).await.unwrap(), b"xyz");
            }
            // Rewriting, trimming, copying.
            let base = put_staged(&t, "/base", &pattern(100, 9), DELETE).await.unwrap();
            let s = t.stage().await.unwrap();
            s.put(0, pattern(16, 1).into()).await.unwrap();
            s.put(0, pattern(16, 2).into()).await.unwrap();
            s.copy_from(base, &[16, 32, 48, 64, 80]).await.unwrap();
            assert!(matches!(s.copy_from(base, &[96]).await, Err(Error::Changed(_))), "a short chunk");
            assert!(matches!(s.copy_from(t.new_id(), &[0]).await, Err(Error::Changed(_))));
            assert!(s.publish(&publish("/new", 90, DELETE)).await.is_err(), "a chunk too long");
            s.trim(80).await.unwrap();
            s.put(80, pattern(3, 4).into()).await.unwrap();
            assert!(t.lookup("/new").await.unwrap().file.is_none());
            s.publish(&publish("/new", 83, DELETE)).await.unwrap();
            let want = [pattern(16, 2), pattern(100, 9)[16..80].to_vec(), pattern(3, 4)].concat();
            assert_eq!(read(&t, s.id(), 83).await.unwrap(), want);
            // Given up.
            let s = t.stage().await.unwrap();
            s.put(0, b"1".to_vec().into()).await.unwrap();
            s.discard().await.unwrap();
            let s = t.stage().await.unwrap();
            s.put(0, b"1".to_vec().into()).await.unwrap();
            drop(s);
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            t.idle().await;
        });
        b.tables.assert_contract(TINY);
        assert!(b.tables.hidden().is_empty(), "{:?}", b.tables.hidden());
    });
}

#[test]
fn publishing_counts_what_is_there() {
    let Some(b) = Bench::new() else { return };
    let t = b.table();
    let s = b.go(t.stage()).unwrap();
    for i in 0..4 {
        b.go(s.put(i * 16, pattern(16, i).into())).unwrap();
    }
    let e = b.go(s.publish(&publish("/f", 100, DELETE))).unwrap_err();
    assert!(matches!(e, Error::Shape(_)), "{e}");
    b.tables.db.exec("DELETE FROM t_upload_payload WHERE byte_offset = 16");
    let e = b.go(s.publish(&publish("/f", 64, DELETE))).unwrap_err();
    assert!(matches!(e, Error::Corrupt { damage: Damage::Gap { at: 16, until: 32 }, .. }), "{e}");
    b.tables.db.exec("INSERT INTO t_upload_payload SELECT file_id, 16, '' FROM t_upload_files");
    let e = b.go(s.publish(&publish("/f", 64, DELETE))).unwrap_err();
    assert!(matches!(e, Error::Corrupt { .. }), "{e}");
    b.go(s.put(16, pattern(16, 1).into())).unwrap();
    b.go(s.publish(&publish("/f", 64, DELETE))).unwrap();
    // Swept by somebody while it was written.
    let sweep = "DELETE FROM t_upload_payload WHERE payload = 'abc'; DELETE FROM t_upload_files WHERE filename <> '/f'";
    let s = b.go(t.stage()).unwrap();
    b.go(s.put(0, b"abc".to_vec().into())).unwrap();
    // A durable commit on the same connection: from here on the chunk counts as stored for good.
    b.go(put_staged(&t, "/f", &pattern(64, 1), DELETE)).unwrap();
    b.tables.db.exec(sweep);
    assert!(matches!(b.go(s.publish(&publish("/g", 3, DELETE))), Err(Error::Changed(_))));
    assert!(matches!(b.go(s.put(0, b"abc".to_vec().into())), Err(Error::Changed(_))));
    // What is not known to be durable is stored again: a crash of the server looks the same.
    let s = b.go(t.stage()).unwrap();
    b.go(s.put(0, pattern(16, 2).into())).unwrap();
    b.tables.db.exec("DELETE FROM t_upload_payload WHERE length(payload) = 16 AND file_id NOT IN (SELECT file_id FROM t_upload_files WHERE filename = '/f')");
    b.tables.db.exec("DELETE FROM t_upload_files WHERE filename <> '/f'");
    b.go(s.put(16, b"abc".to_vec().into())).unwrap();
    b.go(s.publish(&publish("/g", 19, DELETE))).unwrap();
    assert_eq!(b.tables.read("/g"), Some([pattern(16, 2), b"abc".to_vec()].concat()));
}

/// Chunks that did not change go over to the new contents, only from the name's present holder, and all or none.
#[test]
fn unchanged_chunks_are_taken_over() {
    let Some(b) = Bench::new() else { return };
    let t = b.table();
    assert!(t.can_take());
    let old = pattern(16 * 9 + 5, 1);
    let base = b.go(put_staged(&t, "/f", &old, DELETE)).unwrap();
    let stage = |at: u64, data: Vec<u8>| {
        let s = b.go(t.stage()).unwrap();
        b.go(s.put(at, data.into())).unwrap();
        s
    };
    let offsets: Vec<u64> = (0..9).filter(|i| *i != 3).map(|i| i * 16).collect();
    let take = Take { base, offsets: &offsets };

    // The tail is missing: nothing happens.
    let s = stage(48, pattern(16, 2));
    let e = b.go(s.publish_taking(&publish("/f", 149, DELETE), Some(take))).unwrap_err();
    assert!(matches!(e, Error::Shape(_)), "{e}");
    // What an upload left behind that failed is replaced.
    b.tables.db.exec(&format!("INSERT INTO t_upload_payload VALUES ('{}', 16, 'left')", s.id()));
    b.go(s.put(144, pattern(5, 3).into())).unwrap();
    b.go(s.publish_taking(&publish("/f", 149, DELETE), Some(take))).unwrap();
    let mut want = old.clone();
    want[48..64].copy_from_slice(&pattern(16, 2));
    want[144..].copy_from_slice(&pattern(5, 3));
    assert_eq!(b.go(read(&t, s.id(), 149)).unwrap(), want);

    // It has another name by now: that file stays whole, and the new one is not there.
    let base = s.id();
    b.tables.db.exec("UPDATE t_upload_files SET filename = '/moved' WHERE filename = '/f'");
    let s = stage(48, pattern(16, 4));
    b.go(s.put(144, pattern(5, 3).into())).unwrap();
    let take = Take { base, offsets: &offsets };
    let e = b.go(s.publish_taking(&publish("/f", 149, DELETE), Some(take))).unwrap_err();
    assert!(matches!(e, Error::Changed(_)), "{e}");
    assert_eq!(b.tables.read("/moved"), Some(want));
    assert_eq!(b.tables.read("/f"), None);
    // Copying it still works.
    b.go(s.copy_from(base, &offsets)).unwrap();
    b.go(s.publish(&publish("/f", 149, DELETE))).unwrap();

    // A chunk is not a whole one.
    let base = s.id();
    b.tables.db.exec(&format!(
        "UPDATE t_upload_payload SET payload = 'short' WHERE file_id = '{base}' AND byte_offset = 16"
    ));
    let s = stage(48, pattern(16, 4));
    b.go(s.put(144, pattern(5, 3).into())).unwrap();
    let take = Take { base, offsets: &offsets };
    let e = b.go(s.publish_taking(&publish("/f", 149, DELETE), Some(take))).unwrap_err();
    assert!(matches!(e, Error::Changed(_)), "{e}");
    b.go(s.discard()).unwrap();
    b.tables.db.exec("DELETE FROM t_upload_payload; DELETE FROM t_upload_files");
}

#[test]
fn large_old_contents_go_in_the_background() {
    let Some(b) = Bench::new() else { return };
    let t = b.table();
    let hint = Replace::Displace(Old::Delete { size_hint: 1 << 30 });
    b.go(async {
        put_staged(&t, "/big", &pattern(16 * 70, 1), hint).await.unwrap();
        put_staged(&t, "/big", &pattern(16 * 70, 2), hint).await.unwrap();
        assert!(t.remove("/big", Old::Delete { size_hint: 1 << 30 }, None).await.unwrap());
        assert!(!t.remove("/big", Old::Delete { size_hint: 1 << 30 }, None).await.unwrap());
        t.idle().await;
    });
    assert!(b.tables.hidden().is_empty());
    assert_eq!(b.tables.db.query("SELECT count(*) FROM t_upload_payload", &[])[0].get::<_, i64>(0), 0);
}

#[test]
fn rename_and_remove() {
    both(|b, options| {
        let t = b.open(options).unwrap();
        let mv = |from: &str, to: &str, id, replace| Rename {
            from: from.into(),
            to: to.into(),
            id,
            replace,
            update: None,
            keep_dir: None,
        };
        b.go(async {
            let a = put(&t, "/a", b"aaa").await;
            let c = put(&t, "/c", &pattern(40, 1)).await;
            assert!(matches!(t.rename(&mv("/a", "/c", a, Replace::Refuse)).await, Err(Error::Exists(_))));
            t.rename(&mv("/a", "/b", a, Replace::Refuse)).await.unwrap();
            assert!(matches!(t.rename(&mv("/a", "/x", a, DELETE)).await, Err(Error::NotFound(_))));
            put(&t, "/a", b"other").await;
            assert!(matches!(t.rename(&mv("/a", "/x", a, DELETE)).await, Err(Error::Changed(_))));
            assert!(matches!(t.rename(&mv("/a", "/x/../y", a, DELETE)).await, Err(Error::Name(_))));
            t.rename(&mv("/b", "/c", a, Replace::Displace(Old::Keep(c)))).await.unwrap();
            assert_eq!(read(&t, c, 40).await.unwrap(), pattern(40, 1));
            t.remove_hidden(c).await.unwrap();
            // Kept is the file that is meant; what took its name since goes.
            let theirs = put(&t, "/theirs", &pattern(40, 3)).await;
            assert!(t.remove("/theirs", Old::Keep(c), None).await.unwrap());
            assert_eq!(t.sweep(std::time::Duration::from_secs(600)).await.unwrap().files, 1);
            assert!(t.chunk_at(theirs, 0).await.unwrap().is_none());
            // Attributes ride along; nothing is displaced when the rename fails.
            let attrs = Attrs { mode: Some(0o600), uid: Some(7), ..Attrs::default() };
            let full =
                Rename { update: Some((Micros(5), attrs.clone())), ..mv("/c", "/a", t.new_id(), DELETE) };
            assert!(t.rename(&full).await.is_err());
            assert!(t.lookup("/a").await.unwrap().file.is_some());
            t.rename(&Rename { id: a, ..full }).await.unwrap();
            let row = t.lookup("/a").await.unwrap().file.unwrap();
            assert_eq!((row.id, row.mtime, row.attrs), (a, Some(Micros(5)), attrs));
            assert!(t.remove("/a", Old::Delete { size_hint: 3 }, None).await.unwrap());
            assert!(!t.remove("/a", Old::Delete { size_hint: 3 }, None).await.unwrap());
        });
        b.tables.assert_contract(TINY);
        assert!(b.tables.names().is_empty() && b.tables.hidden().is_empty());
        assert_eq!(b.tables.db.query("SELECT 1 FROM t_userfilefs_attrs", &[]).len(), 0);
    });
}

#[test]
fn attributes_belong_to_the_contents() {
    let Some(b) = Bench::new() else { return };
    let t = b.table();
    let attrs = Attrs {
        mode: Some(0o4755),
        uid: Some(u32::MAX - 1),
        gid: Some(0),
        xattrs: BTreeMap::from([(b"user.x".to_vec(), vec![0, 1, 255])]),
    };
    b.go(async {
        assert!(t.attrs_available());
        let id = put(&t, "/f", b"1").await;
        t.set_file_attrs(id, "/f", Micros(-1), &attrs).await.unwrap();
        let row = t.lookup("/f").await.unwrap().file.unwrap();
        assert_eq!((row.mtime, &row.attrs), (Some(Micros(-1)), &attrs));
        assert_eq!(t.list_files("/", None, 5).await.unwrap()[0].attrs, attrs);
        assert_eq!(t.list_dir("", None, 5).await.unwrap().files[0].attrs, attrs);
        t.set_file_attrs(id, "/f", Micros(0), &Attrs::default()).await.unwrap();
        assert_eq!(t.lookup("/f").await.unwrap().file.unwrap().attrs, Attrs::default());
        t.set_file_attrs(id, "/f", Micros(0), &attrs).await.unwrap();
        assert!(matches!(t.set_file_attrs(id, "/g", Micros(0), &attrs).await, Err(Error::NotFound(_))));
        assert!(matches!(
            t.set_file_attrs(t.new_id(), "/f", Micros(0), &attrs).await,
            Err(Error::Changed(_))
        ));
    });
    // Another client overwrites: no stale attributes, and a sweep removes the orphans.
    b.tables.write("/f", b"new", TINY);
    b.go(async {
        assert_eq!(t.lookup("/f").await.unwrap().file.unwrap().attrs, Attrs::default());
        let swept = t.sweep(std::time::Duration::from_secs(60)).await.unwrap();
        assert_eq!(swept, Swept { files: 0, attrs: 1 });
    });
}

#[test]
fn appending_in_place() {
    let Some(b) = Bench::new() else { return };
    let t = b.table();
    b.go(async {
        let all = pattern(100, 5);
        let id = put(&t, "/log", &all[..20]).await;
        let tail: bytes::Bytes = all[16..32].to_vec().into();
        let next: bytes::Bytes = all[32..40].to_vec().into();
        let chunks = [(16, tail), (32, next)];
        t.append(id, "/log", 20, 40, &chunks, Micros(9)).await.unwrap();
        assert_eq!(read(&t, id, 40).await.unwrap(), &all[..40]);
        let row = t.lookup("/log").await.unwrap().file.unwrap();
        assert_eq!((row.size, row.mtime, row.id), (40, Some(Micros(9)), id));
        assert!(matches!(t.append(id, "/log", 20, 40, &chunks, Micros(9)).await, Err(Error::Changed(_))));
        assert!(matches!(
            t.append(t.new_id(), "/log", 40, 48, &chunks, Micros(9)).await,
            Err(Error::Changed(_))
        ));
        let gap = [(64, bytes::Bytes::from_static(b"x"))];
        assert!(matches!(t.append(id, "/log", 40, 65, &gap, Micros(9)).await, Err(Error::Corrupt { .. })));
        assert_eq!(t.verify(&row).await.unwrap(), 40);
    });
    b.tables.assert_contract(TINY);
}

#[test]
fn ranges() {
    let Some(b) = Bench::new() else { return };
    let t = b.table();
    b.go(async {
        let data = pattern(40, 5);
        let id = put(&t, "/f", &data).await;
        let get = async |c, p, l| t.range(id, c, p, l).await.unwrap().map(|b| b.to_vec());
        assert_eq!(get(20, 20, 5).await.unwrap(), &data[20..25]);
        assert_eq!(get(31, 30, 50).await.unwrap(), &data[30..32]);
        assert_eq!(get(16, 40, 5).await.unwrap(), b"");
        assert_eq!(get(16, 3, 5).await.unwrap(), b"");
        assert_eq!(get(32, u64::from(u32::MAX) * 4, 5).await.unwrap(), b"");
        assert_eq!(t.range(t.new_id(), 0, 0, 5).await.unwrap(), None);
        let spans = t.layout(id).await.unwrap();
        let want = [(0, 16), (16, 16), (32, 8)].map(|(offset, l)| ChunkSpan { offset, len: Some(l) });
        assert_eq!(spans, want);
    });
}

#[test]
fn chunks_of_the_real_length() {
    let Some(b) = Bench::new() else { return };
    let t = b.open(TableOptions::default()).unwrap();
    b.go(async {
        let data = pattern(3 * CHUNK_LEN + 1, 8);
        let one: bytes::Bytes = data[..CHUNK_LEN].to_vec().into();
        let id = t.new_id();
        t.put_small(id, &publish("/f", CHUNK_LEN, DELETE), &one).await.unwrap();
        let more = [(CHUNK_LEN as u64, one.clone()), (2 * CHUNK_LEN as u64, one.slice(..5))];
        let (old, new) = (CHUNK_LEN as u64, 2 * CHUNK_LEN as u64 + 5);
        t.append(id, "/f", old, new, &more, MTIME).await.unwrap();
        assert_eq!(read(&t, id, new).await.unwrap(), [&one[..], &one[..], &one[..5]].concat());
        let staged = put_staged(&t, "/g", &data, DELETE).await.unwrap();
        assert_eq!(read(&t, staged, data.len() as u64).await.unwrap(), data);
        let at = 2 * CHUNK_LEN as u64 + 77;
        assert_eq!(
            t.range(staged, at, at, 100).await.unwrap().unwrap(),
            &data[at as usize..at as usize + 100]
        );
        let huge = bytes::Bytes::from(vec![0; 13 << 20]);
        let e = t.put_small(t.new_id(), &publish("/h", huge.len(), DELETE), &huge).await.unwrap_err();
        assert!(matches!(e, Error::TooLarge(_)), "{e}");
    });
    b.tables.assert_contract(CHUNK_LEN);
}
