//! `chunk`: directories, links, listings, trees.

use crate::chunk_bench::*;
use crate::support::mounted::eventually;
use std::collections::BTreeSet;
use userfilefs::chunk::*;
use userfilefs::util::clock::Micros;

fn dir(path: &str) -> PathRow {
    let attrs = Attrs { mode: Some(0o750), ..Attrs::default() };
    PathRow { path: path.into(), kind: PathKind::Dir, attrs, mtime: MTIME }
}

fn link(path: &str, target: &str) -> PathRow {
    PathRow { kind: PathKind::Symlink { target: target.into() }, ..dir(path) }
}

/// A whole directory, as (files, implied directories, companion rows), each sorted.
async fn list(t: &FileTable, path: &str, limit: usize) -> (Vec<String>, Vec<String>, Vec<String>) {
    let text = |b: &Vec<u8>| String::from_utf8_lossy(b).into_owned();
    let (mut files, mut dirs, mut paths) = (Vec::new(), Vec::new(), Vec::new());
    let mut cursor = None;
    loop {
        let page = t.list_dir(path, cursor, limit).await.unwrap();
        files.extend(page.files.iter().map(|f| text(&f.name)));
        dirs.extend(page.dirs.iter().map(text));
        paths.extend(page.paths.iter().map(|p| text(&p.path)));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert!(files.is_sorted());
    let unique: BTreeSet<&String> = dirs.iter().collect();
    assert_eq!(unique.len(), dirs.len());
    dirs.sort();
    (files, dirs, paths)
}

#[test]
fn listing_by_hops() {
    let Some(b) = Bench::new() else { return };
    let t = b.table();
    b.tables.db.exec(
        "INSERT INTO t_upload_files (filename, file_size, username) \
         SELECT '/d' || i / 1000 || '/f' || lpad((i % 1000)::text, 3, '0'), i, 'x' FROM generate_series(0, 19999) i; \
         INSERT INTO t_upload_files (filename, file_size, username) \
         SELECT '/flat/' || lpad(i::text, 6, '0'), i, 'x' FROM generate_series(0, 19999) i; \
         INSERT INTO t_upload_files (filename, file_size, username) VALUES ('/top', 1, 'x'), ('/d1', 1, 'x')",
    );
    b.go(async {
        for limit in [1, 100, 5_000, 100_000] {
            let (files, dirs, _) = list(&t, "", limit).await;
            assert_eq!(files, ["/d1", "/top"]);
            assert_eq!(dirs.len(), 21);
            assert_eq!(list(&t, "/d3", limit).await.0.len(), 1000);
        }
        assert_eq!(list(&t, "/flat", 3_000).await.0.len(), 20_000);
        assert_eq!(list(&t, "/nothing", 100).await, Default::default());
        // All names with a prefix, in pages.
        let (mut all, mut after) = (0, None);
        loop {
            let page = t.list_files("/d", after.as_deref(), 777).await.unwrap();
            all += page.len();
            if page.len() < 777 {
                break;
            }
            after = page.last().map(|r| r.name.clone());
        }
        assert_eq!(all, 20_001);
        assert_eq!(t.usage().await.unwrap().files, 40_002);
    });
}

#[test]
fn odd_rows_of_other_clients() {
    let Some(b) = Bench::new() else { return };
    let t = b.table();
    for name in [
        "",
        "rel",
        "!x",
        "/",
        "//a",
        "/./b",
        "/ok/",
        "/ok//x",
        "/clash",
        "/clash/below",
        "/z",
        "/.userfilefs/mine",
    ] {
        b.tables.db.query(
            "INSERT INTO t_upload_files (filename, file_size, username, upload_time) VALUES ($1, -1, 'x', NULL)",
            &[&name],
        );
    }
    b.go(async {
        let page = t.list_dir("", None, 1000).await.unwrap();
        assert_eq!(names(&page.files), ["/clash", "/z"]);
        assert_eq!((page.files[0].size, page.files[0].mtime), (-1, None));
        assert_eq!(page.dirs, [b"clash".to_vec(), b"ok".to_vec()]);
        let odd: BTreeSet<Vec<u8>> = page.unshowable.into_iter().collect();
        let want = ["", "rel", "!x", "/", "//a", "/./b"].map(|n| n.as_bytes().to_vec());
        assert_eq!(odd, want.into());
        let ok = t.list_dir("/ok", None, 10).await.unwrap();
        assert_eq!(ok.unshowable.len(), 2);
        let l = t.lookup("/clash").await.unwrap();
        assert!(l.file.is_some() && l.has_children);
        assert_eq!(t.list_dir("/.userfilefs", None, 10).await.unwrap(), DirPage::default());
        assert_eq!(t.lookup("/.userfilefs/mine").await.unwrap(), Lookup::default());
        let swept = t.sweep(std::time::Duration::ZERO).await.unwrap();
        assert_eq!(swept.files, 0, "a name that no mount gave is left alone");
    });
    assert_eq!(b.tables.hidden(), ["/.userfilefs/mine"]);
}

#[test]
fn directories_and_links() {
    both(|b, options| {
        let t = b.open(options).unwrap();
        b.go(async {
            assert!(!t.remove_path("/none", None).await.unwrap());
            t.put_path(&dir("/a/b"), true).await.unwrap();
            t.put_path(&link("/a/l", "../x"), true).await.unwrap();
            for taken in [dir("/a/b"), link("/a/b", "y"), dir("/a")] {
                assert!(matches!(t.put_path(&taken, true).await, Err(Error::Exists(_))));
            }
            let (files, dirs, paths) = list(&t, "", 10).await;
            assert_eq!((files.len(), dirs.len(), paths), (0, 0, vec!["/a".to_owned()]));
            let (_, _, paths) = list(&t, "/a", 10).await;
            assert_eq!(paths, ["/a/b", "/a/l"]);
            let l = t.lookup("/a/l").await.unwrap();
            assert_eq!(l.path, Some(link("/a/l", "../x")));
            assert!(t.lookup("/a").await.unwrap().has_children);
            assert!(matches!(t.remove_path("/a", None).await, Err(Error::NotEmpty(_))));
            // A file in the way of a directory, and the other way round.
            put(&t, "/f", b"1").await;
            assert!(matches!(t.put_path(&dir("/f"), true).await, Err(Error::Exists(_))));
            put(&t, "/i/f", b"1").await;
            assert!(matches!(t.put_path(&dir("/i"), true).await, Err(Error::Exists(_))));
            assert!(matches!(t.remove_path("/i", None).await, Err(Error::NotEmpty(_))));
            // A file takes a link's place.
            put(&t, "/a/l", b"1").await;
            assert_eq!(t.lookup("/a/l").await.unwrap().path, None);
            t.put_path(&PathRow { attrs: Attrs::default(), ..dir("/a/b") }, false).await.unwrap();
            assert_eq!(t.lookup("/a/b").await.unwrap().path.unwrap().attrs, Attrs::default());
            assert!(t.remove_path("/a/b", Some("/a")).await.unwrap());
            assert!(!t.remove_path("/a/b", None).await.unwrap());
            // Several at once: all, with the directories above them, or none.
            let changed = PathRow { attrs: Attrs::default(), ..dir("/s/a") };
            t.put_path(&dir("/s/a"), true).await.unwrap();
            t.put_paths(&[dir("/s/u/b"), changed.clone(), link("/s/v/l", "x")]).await.unwrap();
            assert_eq!(t.lookup("/s/a").await.unwrap().path, Some(changed.clone()));
            for path in ["/s/u", "/s/u/b", "/s/v", "/s/v/l"] {
                assert!(t.lookup(path).await.unwrap().path.is_some(), "{path}");
            }
            let refused = t.put_paths(&[dir("/s/a"), dir("/s/../b")]).await;
            assert!(matches!(refused, Err(Error::Name(_))));
            assert_eq!(t.lookup("/s/a").await.unwrap().path, Some(changed));
            t.put_paths(&[]).await.unwrap();
            // The root.
            t.put_path(&dir(""), false).await.unwrap();
            t.put_path(&dir("/"), false).await.unwrap();
            assert_eq!(t.lookup("").await.unwrap().path, Some(dir("")));
            assert_eq!(t.lookup("/").await.unwrap().path, Some(dir("")));
            for bad in ["rel", "/a/../b", "/.userfilefs"] {
                assert!(matches!(t.put_path(&dir(bad), true).await, Err(Error::Name(_))), "{bad}");
            }
        });
    });
}

#[test]
fn emptied_directories_stay() {
    both(|b, options| {
        let t = b.open(options).unwrap();
        b.go(async {
            // First without a companion table, then with it.
            for name in ["/x/y/f", "/p/q/f"] {
                let id = put(&t, name, b"1").await;
                let parent = &name[..4];
                if name == "/x/y/f" {
                    t.remove(name, Old::Delete { size_hint: 1 }, Some(parent)).await.unwrap();
                } else {
                    let r = Rename {
                        from: name.into(),
                        to: "/moved".into(),
                        id,
                        replace: Replace::Refuse,
                        update: None,
                        keep_dir: Some(parent.into()),
                    };
                    t.rename(&r).await.unwrap();
                }
                let kept = t.lookup(parent).await.unwrap();
                assert!(kept.path.is_some() && !kept.has_children, "{parent}");
                assert!(t.lookup(&parent[..2]).await.unwrap().path.is_some());
            }
            put(&t, "/x/y/g", b"1").await;
            put(&t, "/x/y/h", b"1").await;
            t.remove("/x/y/g", Old::Delete { size_hint: 1 }, Some("/x/y")).await.unwrap();
            assert_eq!(list(&t, "/x", 10).await.2, ["/x/y"]);
            // Not empty yet: nothing is made.
            put(&t, "/n/1", b"1").await;
            put(&t, "/n/2", b"1").await;
            t.remove("/n/1", Old::Delete { size_hint: 1 }, Some("/n")).await.unwrap();
            assert!(t.lookup("/n").await.unwrap().path.is_none());
        });
    });
}

#[test]
fn renaming_trees() {
    both(|b, options| {
        let t = b.open(options).unwrap();
        b.go(async {
            for n in ["/a/1", "/a/b/2", "/a/b/ü/3", "/ab/4", "/é/5"] {
                put(&t, n, n.as_bytes()).await;
            }
            t.rename_path("/é", "/e", Replace::Refuse).await.unwrap();
            t.put_path(&dir("/a/b/empty"), true).await.unwrap();
            t.put_path(&link("/a/b/ü/l", "t"), true).await.unwrap();
            assert!(matches!(t.rename_path("/none", "/x", DELETE).await, Err(Error::NotFound(_))));
            assert!(t.rename_path("/a", "/a/b/c", DELETE).await.is_err());
            assert!(matches!(t.rename_path("/a", "/ab", DELETE).await, Err(Error::NotEmpty(_))));
            assert!(matches!(t.rename_path("/a", "/ab", Replace::Refuse).await, Err(Error::Exists(_))));
            assert!(matches!(t.rename_path("/a", "/ab/4", DELETE).await, Err(Error::Exists(_))));
            t.put_path(&dir("/new"), true).await.unwrap();
            assert!(matches!(t.rename_path("/a", "/new", Replace::Refuse).await, Err(Error::Exists(_))));
            t.rename_path("/a", "/new", DELETE).await.unwrap();
            assert_eq!(
                names(&t.list_files("", None, 100).await.unwrap()),
                ["/ab/4", "/e/5", "/new/1", "/new/b/2", "/new/b/ü/3"]
            );
            assert_eq!(t.lookup("/new/b/empty").await.unwrap().path, Some(dir("/new/b/empty")));
            assert_eq!(t.lookup("/new/b/ü/l").await.unwrap().path, Some(link("/new/b/ü/l", "t")));
            assert_eq!(t.lookup("/a").await.unwrap(), Lookup::default());
            // A link alone, over a file.
            t.rename_path("/new/b/ü/l", "/ab/4", DELETE).await.unwrap();
            assert_eq!(
                t.lookup("/ab/4").await.unwrap(),
                Lookup { path: Some(link("/ab/4", "t")), ..Default::default() }
            );
            // Directories and the rest do not take each other's place.
            t.put_path(&dir("/empty"), true).await.unwrap();
            assert!(matches!(t.rename_path("/ab/4", "/empty", DELETE).await, Err(Error::Exists(_))));
            assert!(matches!(t.rename_path("/empty", "/ab/4", DELETE).await, Err(Error::Exists(_))));
            t.remove_path("/empty", None).await.unwrap();
            // Over one that is still open somewhere.
            let open = put(&t, "/open", &pattern(40, 1)).await;
            t.rename_path("/ab/4", "/open", Replace::Displace(Old::Keep(open))).await.unwrap();
            assert_eq!(t.lookup("/open").await.unwrap().path, Some(link("/open", "t")));
            assert_eq!(read(&t, open, 40).await.unwrap(), pattern(40, 1));
            t.remove_hidden(open).await.unwrap();
            // The implied parent that became empty is still there.
            t.rename_path("/new/b/ü", "/u", Replace::Refuse).await.unwrap();
            t.rename_path("/e", "/u/e", Replace::Refuse).await.unwrap();
            assert_eq!(names(&t.list_files("/u", None, 9).await.unwrap()), ["/u/3", "/u/e/5"]);
        });
        b.tables.assert_contract(TINY);
    });
}

#[test]
fn exchanging_anything() {
    both(|b, options| {
        let t = b.open(options).unwrap();
        b.go(async {
            put(&t, "/f", b"file").await;
            put(&t, "/g", b"other").await;
            put(&t, "/d/x", b"x").await;
            t.exchange("/f", "/g").await.unwrap();
            assert_eq!(t.lookup("/f").await.unwrap().file.unwrap().size, 5);
            t.exchange("/f", "/d").await.unwrap();
            assert_eq!(names(&t.list_files("", None, 9).await.unwrap()), ["/d", "/f/x", "/g"]);
            t.put_path(&link("/l", "t"), true).await.unwrap();
            t.exchange("/l", "/f").await.unwrap();
            assert_eq!(
                t.lookup("/f").await.unwrap(),
                Lookup { path: Some(link("/f", "t")), ..Default::default() }
            );
            assert_eq!(names(&t.list_files("", None, 9).await.unwrap()), ["/d", "/g", "/l/x"]);
            assert!(matches!(t.exchange("/f", "/none").await, Err(Error::NotFound(_))));
            assert!(t.exchange("/l", "/l/x").await.is_err());
        });
        b.tables.assert_contract(TINY);
        assert!(b.tables.hidden().is_empty());
    });
}

#[test]
fn attributes_off_denied_and_found_later() {
    let Some(b) = Bench::new() else { return };
    let t = b.table();
    let off = b.open(TableOptions { attrs: AttrsMode::Off, ..tiny() }).unwrap();
    b.tables.db.exec(
        "DO $$ BEGIN CREATE ROLE chunk_limited LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
         REVOKE CREATE ON SCHEMA public FROM PUBLIC;
         GRANT SELECT, INSERT, UPDATE, DELETE ON t_upload_files, t_upload_payload TO chunk_limited",
    );
    let pool = b.pool_at(&b.server.url_as("chunk_limited", &b.database));
    let limited = b.go(FileTable::open(pool, b.prefix(), tiny())).unwrap();
    let attrs = Attrs { mode: Some(0o600), ..Attrs::default() };
    b.go(async {
        for t in [&off, &limited] {
            let id = put(t, "/f", b"1").await;
            t.set_file_attrs(id, "/f", Micros(3), &attrs).await.unwrap();
            assert_eq!(t.lookup("/f").await.unwrap().file.unwrap().mtime, Some(Micros(3)));
            assert!(matches!(t.put_path(&dir("/d"), true).await, Err(Error::NoAttrs(_))));
            assert!(!t.attrs_available());
            t.remove("/f", Old::Delete { size_hint: 1 }, None).await.unwrap();
        }
        t.put_path(&dir("/d"), true).await.unwrap();
    });
    b.tables.db.exec("GRANT SELECT ON t_userfilefs_attrs TO chunk_limited");
    std::thread::sleep(std::time::Duration::from_millis(3_100));
    b.go(async {
        assert_eq!(limited.lookup("/d").await.unwrap().path, Some(dir("/d")));
        assert_eq!(off.lookup("/d").await.unwrap().path, None);
        assert!(t.lookup("/d").await.unwrap().path.is_some());
    });
    b.tables.db.exec("DROP TABLE t_userfilefs_attrs");
    b.go(async {
        assert_eq!(t.lookup("/d").await.unwrap().path, None, "the companion table was dropped");
        put(&t, "/g", b"1").await;
        t.put_path(&dir("/d"), true).await.unwrap();
    });
}

#[test]
fn read_only() {
    let Some(b) = Bench::new() else { return };
    b.tables.write("/f", &pattern(40, 1), TINY);
    b.tables.db.exec(
        "DO $$ BEGIN CREATE ROLE chunk_reader LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
         GRANT SELECT ON t_upload_files, t_upload_payload TO chunk_reader",
    );
    let ours = b.open(TableOptions { read_only: true, ..tiny() }).unwrap();
    let pool = b.pool_at(&b.server.url_as("chunk_reader", &b.database));
    let reader = b.go(FileTable::open(pool, b.prefix(), tiny())).unwrap();
    let pool =
        b.pool_at(&format!("{}&options=-c%20default_transaction_read_only%3Don", b.server.url(&b.database)));
    let standby = b.go(FileTable::open(pool, b.prefix(), tiny())).unwrap();
    b.go(async {
        for (t, class) in [(&ours, None), (&reader, Some("42501")), (&standby, Some("25006"))] {
            let row = t.lookup("/f").await.unwrap().file.unwrap();
            assert_eq!(read(t, row.id, 40).await.unwrap(), pattern(40, 1));
            let e = t.put_small(t.new_id(), &publish("/g", 1, DELETE), b"1").await.unwrap_err();
            match (class, &e) {
                (None, Error::ReadOnly) => {}
                (Some(c), Error::Sql(e)) => assert_eq!(e.sqlstate(), Some(c)),
                _ => panic!("{e}"),
            }
            assert!(t.remove("/f", Old::Delete { size_hint: 1 }, None).await.is_err());
            assert!(t.stage().await.is_err());
        }
    });
}

#[test]
fn names_in_another_collation() {
    let Some(b) = Bench::new() else { return };
    b.tables.db.exec(
        "CREATE COLLATION odd (provider = icu, locale = 'en-u-ks-level1');
         CREATE TABLE t_upload_files (filename text COLLATE odd PRIMARY KEY, file_id uuid NOT NULL DEFAULT gen_random_uuid(),
         file_size int8 NOT NULL, username text NOT NULL, upload_time timestamp);
         CREATE TABLE t_upload_payload (file_id uuid, byte_offset int8, payload bytea, PRIMARY KEY (file_id, byte_offset))",
    );
    let t = b.table();
    b.go(async {
        for n in ["/a/x", "/B/x", "/a-b", "/c", "/_"] {
            put(&t, n, b"1").await;
        }
        let (files, dirs, _) = list(&t, "", 10).await;
        assert_eq!(files, ["/_", "/a-b", "/c"]);
        assert_eq!(dirs, ["B", "a"]);
        assert!(t.lookup("/a").await.unwrap().has_children);
        t.rename_path("/a", "/z", Replace::Refuse).await.unwrap();
        assert_eq!(names(&t.list_files("/z", None, 5).await.unwrap()), ["/z/x"]);
    });
}

/// From PostgreSQL 15 on a database can be sorted by ICU while `datcollate` says C.
#[test]
fn names_in_a_database_sorted_by_icu() {
    let Some(b) = Bench::new() else { return };
    let admin = b.server.db("postgres");
    if admin.first_text("SHOW server_version_num").parse().unwrap_or(0) < 150_000 {
        return;
    }
    let name = format!("{}_icu", b.database);
    admin.exec(&format!(
        "CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LC_COLLATE 'C' LC_CTYPE 'C'"
    ));
    b.server.db(&name).exec(
        "CREATE TABLE t_upload_files (filename text PRIMARY KEY, file_id uuid NOT NULL DEFAULT gen_random_uuid(),
         file_size int8 NOT NULL, username text NOT NULL, upload_time timestamp);
         CREATE TABLE t_upload_payload (file_id uuid, byte_offset int8, payload bytea, PRIMARY KEY (file_id, byte_offset))",
    );
    let pool = b.pool_at(&b.server.url(&name));
    let t = b.go(FileTable::open(pool, b.prefix().in_database(&name), tiny())).unwrap();
    b.go(async {
        for n in ["/a/x", "/B/x", "/a-b", "/c", "/_", "/Z"] {
            put(&t, n, b"1").await;
        }
        let all = names(&t.list_files("", None, 10).await.unwrap());
        assert_eq!(all, ["/B/x", "/Z", "/_", "/a-b", "/a/x", "/c"]);
        let (files, dirs, _) = list(&t, "", 10).await;
        assert_eq!(
            (files, dirs),
            (vec!["/Z".into(), "/_".into(), "/a-b".into(), "/c".into()], vec!["B".into(), "a".into()])
        );
    });
    b.server.drop_database(&name);
}

#[test]
fn leftovers_of_dead_writers() {
    both(|b, options| {
        let (dead, live, mine) =
            (b.open(new(&options)).unwrap(), b.open(new(&options)).unwrap(), b.open(new(&options)).unwrap());
        let lease = std::time::Duration::from_secs(20);
        // Nobody counts as dead for a server that has just started.
        let young = "SELECT 1 WHERE pg_postmaster_start_time() > now() - interval '20 seconds'";
        eventually("the server is older than the lease", lease * 2, || {
            b.tables.db.query(young, &[]).is_empty()
        });
        let mut kept = Vec::new();
        b.go(async {
            for t in [&dead, &live, &mine] {
                let s = t.stage().await.unwrap();
                s.put(0, pattern(16, 1).into()).await.unwrap();
                kept.push(s);
            }
            assert_eq!(mine.sweep(lease).await.unwrap(), Swept::default());
        });
        b.tables.db.exec("UPDATE t_upload_files SET upload_time = now() - interval '1 hour'");
        b.go(async {
            live.heartbeat().await.unwrap();
            let s = kept.remove(0);
            assert_eq!(mine.sweep(lease).await.unwrap().files, 1);
            assert!(matches!(s.publish(&publish("/f", 16, DELETE)).await, Err(Error::Changed(_))));
            for s in &kept {
                s.publish(&publish(&format!("/{}", s.id()), 16, DELETE)).await.unwrap();
            }
        });
        b.tables.assert_contract(TINY);
        assert!(b.tables.hidden().is_empty());
    });
}

/// A server that was away longer than the lease: the writers that wait for it are not dead.
#[test]
fn writers_outlive_a_server_that_was_away() {
    let Some(b) = Bench::own(&[]) else { return };
    let (live, mine) = (b.open(new(&tiny())).unwrap(), b.open(new(&tiny())).unwrap());
    let hour = std::time::Duration::from_secs(3600);
    let staging = b.go(live.stage()).unwrap();
    b.go(staging.put(0, pattern(16, 1).into())).unwrap();
    b.tables.db.exec("UPDATE t_upload_files SET upload_time = now() - interval '2 hours'");
    assert_eq!(b.go(mine.sweep(hour)).unwrap(), Swept::default(), "the server started within the lease");
    b.go(staging.publish(&publish("/f", 16, DELETE))).unwrap();
    assert_eq!(b.tables.read("/f"), Some(pattern(16, 1)));
}

fn new(options: &TableOptions) -> TableOptions {
    TableOptions { mount_id: uuid::Uuid::new_v4(), ..options.clone() }
}

#[test]
fn leaving_takes_everything_along() {
    let Some(b) = Bench::new() else { return };
    let (t, other) = (b.table(), b.table());
    b.go(async {
        let id = put(&t, "/f", &pattern(40, 1)).await;
        assert!(t.remove("/f", Old::Keep(id), None).await.unwrap());
        let staging = t.stage().await.unwrap();
        staging.put(0, pattern(16, 1).into()).await.unwrap();
        let theirs = other.stage().await.unwrap();
        theirs.put(0, pattern(16, 2).into()).await.unwrap();
        put(&t, "/kept", b"1").await;
        t.leave().await.unwrap();
        theirs.publish(&publish("/theirs", 16, DELETE)).await.unwrap();
    });
    assert_eq!(b.tables.names(), ["/kept", "/theirs"]);
    assert!(b.tables.hidden().is_empty());
    b.tables.assert_contract(TINY);
}
