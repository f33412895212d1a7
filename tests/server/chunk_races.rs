//! `chunk`: several clients at the same names at the same time.

use crate::chunk_bench::*;
use crate::support::wire::{Fault, Wire};
use std::time::{Duration, Instant};
use userfilefs::chunk::*;

const ROUNDS: usize = 60;

#[test]
fn many_writers_of_one_name() {
    let Some(b) = Bench::new() else { return };
    let tables: Vec<FileTable> = (0..4).map(|_| b.table()).collect();
    b.go(async {
        let writers = tables.iter().cloned().enumerate().map(|(w, t)| {
            tokio::spawn(async move {
                for i in 0..ROUNDS {
                    let data = pattern(20 + w * 16, i as u64);
                    if (i + w) % 3 == 0 {
                        put_staged(&t, "/f", &data, DELETE).await.unwrap();
                    } else {
                        put(&t, "/f", &data).await;
                    }
                }
            })
        });
        // Whoever looks sees a whole file.
        let t = tables[0].clone();
        let reader = tokio::spawn(async move {
            let end = Instant::now() + Duration::from_secs(3);
            let mut seen = 0;
            while Instant::now() < end {
                let Some(row) = t.lookup("/f").await.unwrap().file else { continue };
                let data = read(&t, row.id, row.size as u64).await.unwrap();
                // Replaced meanwhile: an end too early, never a mixture.
                if data.len() as i64 == row.size {
                    assert!((0..ROUNDS).any(|i| data == pattern(data.len(), i as u64)));
                    seen += 1;
                } else {
                    assert!(data.is_empty() || data.len() % TINY == 0);
                }
            }
            assert!(seen > 10, "{seen}");
        });
        for w in writers {
            w.await.unwrap();
        }
        reader.await.unwrap();
        for t in &tables {
            t.idle().await;
        }
    });
    b.tables.assert_contract(TINY);
    assert_eq!(b.tables.names(), ["/f"]);
    assert!(b.tables.hidden().is_empty());
}

#[test]
fn exclusive_creation_has_one_winner() {
    let Some(b) = Bench::new() else { return };
    let tables: Vec<FileTable> = (0..4).map(|_| b.table()).collect();
    b.go(async {
        for i in 0..ROUNDS {
            let name = format!("/{i}");
            let all = tables.iter().enumerate().map(|(w, t)| {
                let (t, name) = (t.clone(), name.clone());
                tokio::spawn(async move {
                    let data = pattern(20, w as u64);
                    match w % 2 {
                        0 => t.put_small(t.new_id(), &publish(&name, 20, Replace::Refuse), &data).await,
                        _ => put_staged(&t, &name, &data, Replace::Refuse).await.map(drop),
                    }
                })
            });
            let mut winners = 0;
            for one in futures_util::future::join_all(all).await {
                match one.unwrap() {
                    Ok(()) => winners += 1,
                    Err(Error::Exists(_)) => {}
                    Err(e) => panic!("{e:?}"),
                }
            }
            assert_eq!(winners, 1);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    });
    b.tables.assert_contract(TINY);
    assert_eq!(b.tables.names().len(), ROUNDS);
}

#[test]
fn renames_removals_and_replacements() {
    let Some(b) = Bench::new() else { return };
    let tables: Vec<FileTable> = (0..4).map(|_| b.table()).collect();
    b.go(async {
        let all = tables.iter().cloned().enumerate().map(|(w, t)| {
            tokio::spawn(async move {
                for i in 0..ROUNDS * 2 {
                    let name = |k: usize| format!("/n{}", (i * 7 + w * 3 + k) % 4);
                    let result = match (i + w) % 5 {
                        0 | 1 => {
                            t.put_small(t.new_id(), &publish(&name(0), 40, DELETE), &pattern(40, 1)).await
                        }
                        2 => t.remove(&name(0), Old::Delete { size_hint: 0 }, None).await.map(drop),
                        3 => t.remove(&name(0), Old::Delete { size_hint: 1 << 30 }, None).await.map(drop),
                        _ => match t.lookup(&name(0)).await.unwrap().file {
                            Some(row) => {
                                let (from, to) = (name(0), name(1));
                                let r = Rename {
                                    from,
                                    to,
                                    id: row.id,
                                    replace: DELETE,
                                    update: None,
                                    keep_dir: None,
                                };
                                t.rename(&r).await
                            }
                            None => Ok(()),
                        },
                    };
                    match result {
                        Ok(()) | Err(Error::Changed(_) | Error::NotFound(_)) => {}
                        Err(e) => panic!("{e:?}"),
                    }
                }
            })
        });
        for one in futures_util::future::join_all(all).await {
            one.unwrap();
        }
        for t in &tables {
            t.idle().await;
        }
        let rows = tables[0].list_files("", None, 100).await.unwrap();
        for row in rows {
            tables[0].verify(&row).await.unwrap();
        }
    });
    b.tables.assert_contract(TINY);
    assert!(b.tables.hidden().is_empty());
}

#[test]
fn appends_do_not_overwrite_each_other() {
    let Some(b) = Bench::new() else { return };
    let tables: Vec<FileTable> = (0..3).map(|_| b.table()).collect();
    let total = b.go(async {
        let id = put(&tables[0], "/log", b"").await;
        let all = tables.iter().cloned().map(|t| {
            tokio::spawn(async move {
                let mut done = 0u64;
                for _ in 0..ROUNDS {
                    let row = t.lookup("/log").await.unwrap().file.unwrap();
                    let old = row.size as u64;
                    let tail_at = old - old % TINY as u64;
                    let mut tail = match t.chunk_at(id, tail_at).await.unwrap() {
                        Some(c) if c.offset == tail_at => c.data.to_vec(),
                        _ => Vec::new(),
                    };
                    if tail.len() as u64 != old - tail_at {
                        continue;
                    }
                    tail.push(b'x');
                    match t.append(id, "/log", old, old + 1, &[(tail_at, tail.into())], MTIME).await {
                        Ok(()) => done += 1,
                        Err(Error::Changed(_)) => {}
                        Err(e) => panic!("{e:?}"),
                    }
                }
                done
            })
        });
        let mut total = 0;
        for one in futures_util::future::join_all(all).await {
            total += one.unwrap();
        }
        assert_eq!(read(&tables[0], id, total).await.unwrap(), vec![b'x'; total as usize]);
        total
    });
    assert!(total >= ROUNDS as u64, "{total}");
    b.tables.assert_contract(TINY);
}

#[test]
fn the_companion_table_is_made_by_all_at_once() {
    let Some(b) = Bench::new() else { return };
    let tables: Vec<FileTable> = (0..6).map(|_| b.table()).collect();
    b.go(async {
        let all = tables.into_iter().enumerate().map(|(i, t)| {
            tokio::spawn(async move {
                let path = format!("/d{i}").into_bytes();
                let row = PathRow { path, kind: PathKind::Dir, attrs: Attrs::default(), mtime: MTIME };
                t.put_path(&row, true).await
            })
        });
        for one in futures_util::future::join_all(all).await {
            one.unwrap().unwrap();
        }
    });
    assert_eq!(b.tables.db.query("SELECT 1 FROM t_userfilefs_attrs", &[]).len(), 6);
}

/// The files table is not there when it is asked for, the payload table is a moment later.
#[test]
fn tables_made_while_they_are_looked_for() {
    let Some(b) = Bench::new() else { return };
    let wire = Wire::new(b.server.port());
    let (quick, slow) = (b.pool(), b.pool_at(&wire.url(&b.server.url(&b.database))));
    wire.arm_at("t_upload_files\" LIMIT 0", 1, Fault::Late);
    b.go(async {
        let open = tokio::spawn(FileTable::open(slow, b.prefix(), tiny()));
        while !wire.fired() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        FileTable::open(quick, b.prefix(), tiny()).await.unwrap();
        wire.answer();
        open.await.unwrap().unwrap();
    });
    b.tables.assert_contract(TINY);
}
