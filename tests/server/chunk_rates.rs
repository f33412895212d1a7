//! `chunk`: rates beside the same work over one raw connection. Prints; run with `--ignored --nocapture`.

use crate::chunk_bench::*;
use std::time::Instant;
use tokio_postgres::NoTls;
use userfilefs::chunk::*;

#[test]
#[ignore = "a measurement"]
fn rates() {
    let Some(b) = Bench::new() else { return };
    let t = b.open(TableOptions::default()).unwrap();
    let url = b.server.url(&b.database);
    b.go(async {
        let (raw, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let insert = raw
            .prepare(
                "WITH f AS (INSERT INTO t_upload_files VALUES ($1, $2, $3, $4, now()) RETURNING file_id) \
                 INSERT INTO t_upload_payload SELECT file_id, 0, $5::bytea FROM f",
            )
            .await
            .unwrap();
        let data = pattern(4096, 1);
        const FILES: usize = 3_000;
        let (mut raw_time, mut our_time, mut replace_time) = (0.0, 0.0, 0.0);
        for round in 0..FILES / 100 {
            let start = Instant::now();
            for i in 0..100 {
                let name = format!("/raw/{round}/{i}");
                raw.execute(&insert, &[&name, &t.new_id().0, &4096i64, &"x", &data.as_slice()])
                    .await
                    .unwrap();
            }
            raw_time += start.elapsed().as_secs_f64();
            let start = Instant::now();
            for i in 0..100 {
                let p = publish(&format!("/our/{round}/{i}"), 4096, Replace::Refuse);
                t.put_small(t.new_id(), &p, &data).await.unwrap();
            }
            our_time += start.elapsed().as_secs_f64();
            let start = Instant::now();
            for i in 0..100 {
                let p = publish(&format!("/our/{round}/{i}"), 4096, DELETE);
                t.put_small(t.new_id(), &p, &data).await.unwrap();
            }
            replace_time += start.elapsed().as_secs_f64();
        }
        let n = FILES as f64;
        println!(
            "small files/s: raw {:.0}, new {:.0}, replacing {:.0}",
            n / raw_time,
            n / our_time,
            n / replace_time
        );
        let start = Instant::now();
        for round in 0..FILES / 100 {
            let items: Vec<_> = (0..100)
                .map(|i| {
                    (
                        t.new_id(),
                        publish(&format!("/m/{round}/{i}"), 4096, Replace::Refuse),
                        data.clone().into(),
                    )
                })
                .collect();
            t.put_small_many(&items).await.unwrap();
        }
        println!("small files/s, 100 a transaction: {:.0}", n / start.elapsed().as_secs_f64());
        let ids: Vec<FileId> =
            t.list_files("/our/", None, FILES).await.unwrap().iter().map(|f| f.id).collect();
        let start = Instant::now();
        for id in &ids {
            t.chunk_at(*id, 0).await.unwrap().unwrap();
        }
        println!("small reads/s: {:.0}", n / start.elapsed().as_secs_f64());

        let big = pattern(4 << 20, 2);
        let start = Instant::now();
        let s = t.stage().await.unwrap();
        let puts = (0..64u64).map(|i| s.put(i << 22, big.clone().into()));
        futures_util::stream::StreamExt::for_each_concurrent(
            futures_util::stream::iter(puts),
            4,
            |p| async move { p.await.unwrap() },
        )
        .await;
        s.publish(&publish("/big", 256 << 20, DELETE)).await.unwrap();
        println!("write MiB/s: {:.0}", 256.0 / start.elapsed().as_secs_f64());
        let start = Instant::now();
        for i in 0..64u64 {
            assert_eq!(t.chunk_at(s.id(), i << 22).await.unwrap().unwrap().data.len(), 4 << 20);
        }
        println!("read MiB/s, one by one: {:.0}", 256.0 / start.elapsed().as_secs_f64());
        let select = raw
            .prepare("SELECT payload FROM t_upload_payload WHERE file_id = $1 AND byte_offset = $2")
            .await
            .unwrap();
        let start = Instant::now();
        for i in 0..64i64 {
            raw.query_one(&select, &[&s.id().0, &(i << 22)]).await.unwrap();
        }
        println!("raw read MiB/s, one by one: {:.0}", 256.0 / start.elapsed().as_secs_f64());
    });
    b.tables.db.exec(
        "INSERT INTO t_upload_files (filename, file_size, username) \
         SELECT '/d' || lpad((i / 1000)::text, 2, '0') || '/f' || (i % 1000), 4, 'x' FROM generate_series(0, 99999) i",
    );
    b.go(async {
        for _ in 0..2 {
            let start = Instant::now();
            let dirs = t.list_dir("", None, 10_000).await.unwrap().dirs;
            let root = start.elapsed();
            let mut n = 0;
            for d in dirs {
                let mut cursor = None;
                loop {
                    let dir = format!("/{}", String::from_utf8(d.clone()).unwrap());
                    let page = t.list_dir(&dir, cursor, 5_000).await.unwrap();
                    n += page.files.len();
                    cursor = page.next;
                    if cursor.is_none() {
                        break;
                    }
                }
            }
            println!("root of 100 directories: {root:?}; everything ({n}): {:?}", start.elapsed());
        }
    });
}
