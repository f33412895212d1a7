//! `chunk`: what the server does for lookups and listings, seen in its plans.

use crate::chunk_bench::*;
use userfilefs::chunk::*;

/// Plans with a scan of a whole table in a server's log, with their statements.
fn whole_scans(b: &Bench) -> Vec<String> {
    std::thread::sleep(std::time::Duration::from_millis(500));
    let log = std::fs::read_to_string(b.server.log()).unwrap();
    let mut found: Vec<String> = log
        .split("LOG:  ")
        .filter(|entry| entry.contains("Query Text") && entry.contains("Seq Scan on t_"))
        .filter(|entry| !entry.contains("generate_series") && !entry.contains("sweep"))
        .map(str::to_owned)
        .collect();
    found.dedup();
    found.truncate(5);
    found
}

#[test]
fn primary_keys_serve_everything() {
    let explain = ["session_preload_libraries=auto_explain", "auto_explain.log_min_duration=0"];
    let Some(b) = Bench::own(&explain) else { return };
    let t = b.table();
    b.go(async {
        let row = PathRow { path: b"/x".into(), kind: PathKind::Dir, attrs: Attrs::default(), mtime: MTIME };
        t.put_path(&row, true).await.unwrap();
    });
    b.tables.db.exec(
        "INSERT INTO t_upload_files (filename, file_size, username) \
         SELECT '/d' || i / 1000 || '/f' || lpad((i % 1000)::text, 3, '0'), 4, 'x' FROM generate_series(0, 49999) i; \
         INSERT INTO t_userfilefs_attrs (dir, name, file_id, kind, mode) \
         SELECT '', '', file_id, 0, 420 FROM t_upload_files; \
         INSERT INTO t_upload_payload SELECT file_id, 0, 'abcd' FROM t_upload_files; \
         ANALYZE t_upload_files, t_userfilefs_attrs, t_upload_payload",
    );
    // More than five times each: by then the server may have gone over to a generic plan.
    b.go(async {
        for i in 0..20 {
            let l = t.lookup(&format!("/d{i}/f001")).await.unwrap();
            let id = l.file.unwrap().id;
            assert!(t.lookup(&format!("/d{i}")).await.unwrap().has_children);
            t.chunk_at(id, 0).await.unwrap().unwrap();
            t.range(id, 0, 1, 2).await.unwrap().unwrap();
            assert_eq!(t.list_dir(&format!("/d{i}"), None, 5_000).await.unwrap().files.len(), 1_000);
            let name = format!("/d{i}/new");
            let new = put(&t, &name, b"1").await;
            let staged = put_staged(&t, &name, &pattern(40, 1), DELETE).await.unwrap();
            assert_ne!(new, staged);
            t.set_file_attrs(staged, &name, MTIME, &Attrs { mode: Some(1), ..Attrs::default() })
                .await
                .unwrap();
            let to = format!("/d{i}/newer");
            let r = Rename {
                from: name,
                to: to.clone(),
                id: staged,
                replace: DELETE,
                update: None,
                keep_dir: None,
            };
            t.rename(&r).await.unwrap();
            t.remove(&to, Old::Delete { size_hint: 40 }, Some("/d1")).await.unwrap();
            let ids: Vec<FileId> =
                t.list_files("/d7/f1", None, 100).await.unwrap().iter().map(|f| f.id).collect();
            assert_eq!(t.small(&ids).await.unwrap().len(), 100);
        }
        for _ in 0..8 {
            assert_eq!(t.list_dir("", None, 100).await.unwrap().dirs.len(), 50);
        }
        t.heartbeat().await.unwrap();
        t.idle().await;
    });
    let slow = whole_scans(&b);
    assert!(slow.is_empty(), "{}", slow.join("\n"));
}

#[test]
fn statements_of_a_listing() {
    let Some(b) = Bench::new() else { return };
    let t = b.table();
    b.tables.db.exec(
        "INSERT INTO t_upload_files (filename, file_size, username) \
         SELECT '/d' || lpad((i / 1000)::text, 2, '0') || '/f' || (i % 1000), 4, 'x' FROM generate_series(0, 99999) i; \
         ANALYZE t_upload_files",
    );
    let commits = || -> i64 {
        std::thread::sleep(std::time::Duration::from_millis(1_200));
        b.tables.db.exec("SELECT pg_stat_clear_snapshot()");
        b.tables.db.query(
            "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 't_upload_files_pkey'",
            &[],
        )[0]
        .get(0)
    };
    let before = commits();
    b.go(async {
        assert_eq!(t.list_dir("", None, 10_000).await.unwrap().dirs.len(), 100);
    });
    let used = commits() - before;
    assert!(used <= 110, "{used} index scans for 100 directories");
}
