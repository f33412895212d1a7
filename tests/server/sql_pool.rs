//! The pool, transactions and retries against a real server.

use crate::support::database::{self, Database};
use std::time::{Duration, Instant};
use userfilefs::sql::{Durability, ErrorClass, Lane, Pool, Settings, Stmt, ToSql};
use userfilefs::util::clock::Micros;

async fn pool_with_table() -> Option<(Database, Pool)> {
    let db = database::database()?;
    db.psql("CREATE TABLE t (k int8 PRIMARY KEY, v text)");
    let pool = db.pool().await;
    Some((db, pool))
}

fn insert<'a>(k: &'a i64, v: &'a &'a str) -> Stmt<'a> {
    Stmt::new("INSERT INTO t VALUES ($1, $2)", &[k as &(dyn ToSql + Sync), v])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dialect_and_session() {
    let Some((_db, pool)) = pool_with_table().await else { return };
    assert!(!pool.dialect().is_cockroach());
    assert!(pool.dialect().version().0 >= 13);
    let c = pool.conn(Lane::Meta, None).await.unwrap();
    let row = c
        .query_opt(
            "SELECT current_setting('timezone'), current_setting('synchronous_commit'), now()::timestamp",
            &[],
        )
        .await
        .unwrap()
        .unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), ("UTC", "on"));
    let off = userfilefs::util::clock::now_micros().0 - row.get::<_, Micros>(2).0;
    assert!(off.abs() < 60_000_000, "{off}");
    let c = pool.conn(Lane::Upload, None).await.unwrap();
    let row = c.query_opt("SHOW synchronous_commit", &[]).await.unwrap().unwrap();
    assert_eq!(row.get::<_, &str>(0), "off");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_is_all_or_nothing() {
    let Some((db, pool)) = pool_with_table().await else { return };
    let c = pool.conn(Lane::Meta, None).await.unwrap();
    let n = c.transaction(&[insert(&1, &"a"), insert(&2, &"b")], Durability::Synchronous).await.unwrap();
    assert_eq!(n, [1, 1]);
    let e = c
        .transaction(&[insert(&3, &"c"), insert(&1, &"d"), insert(&4, &"e")], Durability::Deferred)
        .await
        .unwrap_err();
    assert_eq!((e.class(), e.ambiguous()), (ErrorClass::Exists, false));
    assert_eq!(e.constraint(), Some("t_pkey"));
    let n = c.transaction(&[insert(&5, &"f")], Durability::Deferred).await.unwrap();
    assert_eq!(n, [1]);
    drop(c);
    assert_eq!(db.psql("SELECT string_agg(k::text, ',' ORDER BY k) FROM t"), "1,2,5");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_that_cannot_be_sent_undo_everything() {
    let Some((db, pool)) = pool_with_table().await else { return };
    let c = pool.conn(Lane::Meta, None).await.unwrap();
    let wrong = Stmt::new("INSERT INTO t VALUES ($1, $2)", &[&"not a number", &"x"]);
    let e = c
        .transaction(&[insert(&1, &"a"), wrong, insert(&2, &"b")], Durability::Synchronous)
        .await
        .unwrap_err();
    assert_eq!((e.class(), e.ambiguous()), (ErrorClass::Other, false), "{e}");
    assert_eq!(
        c.transaction(&[insert(&3, &"a"), insert(&4, &"a")], Durability::Synchronous).await.unwrap(),
        [1, 1]
    );
    assert_eq!(db.psql("SELECT string_agg(k::text, ',' ORDER BY k) FROM t"), "3,4");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interactive_transactions() {
    let Some((db, pool)) = pool_with_table().await else { return };
    let c = pool.conn(Lane::Meta, None).await.unwrap();
    let pid = |c: userfilefs::sql::Conn| async move {
        let row = c.query_opt("SELECT pg_backend_pid()", &[]).await.unwrap().unwrap();
        row.get::<_, i32>(0)
    };
    let t = c.begin(Durability::Synchronous);
    assert_eq!(t.execute("INSERT INTO t VALUES ($1, $2)", &[&1_i64, &"a"]).await.unwrap(), 1);
    assert_eq!(t.query("SELECT v FROM t WHERE k = $1", &[&1_i64]).await.unwrap()[0].get::<_, &str>(0), "a");
    t.commit_after(&[insert(&2, &"b")]).await.unwrap();
    let t = c.begin(Durability::Synchronous);
    t.execute("INSERT INTO t VALUES ($1, $2)", &[&3_i64, &"a"]).await.unwrap();
    t.rollback().await;
    let t = c.begin(Durability::Synchronous);
    t.execute("INSERT INTO t VALUES ($1, $2)", &[&4_i64, &"a"]).await.unwrap();
    let e = t.commit_after(&[insert(&1, &"b")]).await.unwrap_err();
    assert_eq!((e.class(), e.ambiguous()), (ErrorClass::Exists, false));
    let before = pid(c).await;
    let c = pool.conn(Lane::Meta, None).await.unwrap();
    let t = c.begin(Durability::Synchronous);
    t.execute("INSERT INTO t VALUES ($1, $2)", &[&5_i64, &"a"]).await.unwrap();
    drop(t);
    drop(c);
    let c = pool.conn(Lane::Meta, None).await.unwrap();
    assert_ne!(pid(c).await, before, "a connection with an open transaction came back");
    assert_eq!(db.psql("SELECT string_agg(k::text, ',' ORDER BY k) FROM t"), "1,2");
}

/// Polls the future `n` times, then drops it.
async fn poll_then_drop<F: Future>(f: F, n: usize) -> Option<F::Output> {
    let mut f = Box::pin(f);
    for _ in 0..n {
        if let Ok(done) = tokio::time::timeout(Duration::from_micros(50), &mut f).await {
            return Some(done);
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_transaction_happens_or_not_and_never_spoils_the_next() {
    let Some((db, pool)) = pool_with_table().await else { return };
    for n in 0..30_i64 {
        let c = pool.conn(Lane::Meta, None).await.unwrap();
        let (a, b) = (2 * n, 2 * n + 1);
        let stmts = [insert(&a, &"a"), insert(&b, &"b")];
        let done = poll_then_drop(c.transaction(&stmts, Durability::Synchronous), n as usize % 6).await;
        drop(c);
        let c = pool.conn(Lane::Meta, None).await.unwrap();
        let row = c
            .query_opt(
                "SELECT count(*), txid_current_if_assigned() IS NULL FROM t WHERE k IN ($1, $2)",
                &[&a, &b],
            )
            .await
            .unwrap()
            .unwrap();
        let seen = row.get::<_, i64>(0);
        assert!(row.get::<_, bool>(1), "a transaction was open");
        assert!(seen == 2 || done.is_none(), "{n}: {seen}");
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(db.psql("SELECT count(*) FROM (SELECT k / 2 FROM t GROUP BY 1 HAVING count(*) <> 2) x"), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stale_plans_are_made_anew() {
    let Some((db, pool)) = pool_with_table().await else { return };
    let c = pool.conn(Lane::Meta, None).await.unwrap();
    assert_eq!(c.query("SELECT * FROM t", &[]).await.unwrap().len(), 0);
    db.psql("ALTER TABLE t ADD COLUMN w int4; INSERT INTO t VALUES (1, 'a', 7)");
    assert_eq!(c.query("SELECT * FROM t", &[]).await.unwrap()[0].get::<_, i32>(2), 7);
    c.batch("DEALLOCATE ALL").await.unwrap();
    assert_eq!(c.query("SELECT * FROM t", &[]).await.unwrap().len(), 1);
    let both = [insert(&2, &"b"), Stmt::new("SELECT * FROM t", &[])];
    assert_eq!(c.transaction(&both, Durability::Synchronous).await.unwrap(), [1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stale_plans_in_a_transaction() {
    let Some((db, pool)) = pool_with_table().await else { return };
    let c = pool.conn(Lane::Meta, None).await.unwrap();
    let all = Stmt::new("UPDATE t SET v = 'x' RETURNING *", &[]);
    c.transaction(&[insert(&1, &"b"), all.clone()], Durability::Synchronous).await.unwrap();
    db.psql("ALTER TABLE t ADD COLUMN w int4");
    assert_eq!(
        c.transaction(&[Stmt::new("DELETE FROM t WHERE k = 9", &[]), all], Durability::Synchronous)
            .await
            .unwrap(),
        [0, 1]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_do_not_starve_each_other() {
    let Some((_db, pool)) = pool_with_table().await else { return };
    let mut held = Vec::new();
    for _ in 0..pool.lane_width(Lane::Upload) {
        held.push(pool.conn(Lane::Upload, None).await.unwrap());
    }
    let soon = tokio::time::Instant::now() + Duration::from_millis(100);
    let e = pool.conn(Lane::Upload, Some(soon)).await.err().unwrap();
    assert_eq!(e.class(), ErrorClass::Timeout);
    pool.conn(Lane::Meta, Some(tokio::time::Instant::now() + Duration::from_secs(5))).await.unwrap();
    held.pop();
    pool.conn(Lane::Upload, Some(tokio::time::Instant::now() + Duration::from_secs(5))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_the_server_closed_is_replaced() {
    let Some((db, pool)) = pool_with_table().await else { return };
    for _ in 0..3 {
        let mut r = pool.retry("look");
        loop {
            let attempt = async {
                let c = r.conn(Lane::Meta).await?;
                c.query("SELECT 1", &[]).await
            };
            match attempt.await {
                Ok(rows) => break assert_eq!(rows.len(), 1),
                Err(e) => r.again(e).await.unwrap(),
            }
        }
        db.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_ends_in_time() {
    let Some((db, _)) = pool_with_table().await else { return };
    let options =
        userfilefs::sql::PoolOptions { op_timeout: Some(Duration::from_millis(700)), ..database::options() };
    let pool = Pool::connect(db.settings(), options).await.unwrap();
    let started = Instant::now();
    let mut r = pool.retry("wait");
    let e = loop {
        let attempt = async {
            let c = r.conn(Lane::Meta).await?;
            c.query("SELECT pg_sleep(30)", &[]).await
        };
        match attempt.await {
            Ok(_) => panic!("nobody waits 30 s"),
            Err(e) => match r.again(e).await {
                Ok(()) => {}
                Err(e) => break e,
            },
        }
    };
    assert_eq!((e.class(), e.ambiguous()), (ErrorClass::Timeout, true), "{e}");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

/// Rates of one-round-trip transactions beside those of the bare client, for people:
/// `cargo test --test server rate -- --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rate_of_small_transactions() {
    let Some((db, pool)) = pool_with_table().await else { return };
    let n = 1000_i64;
    let per_second = |started: Instant| n as f64 / started.elapsed().as_secs_f64();
    let (client, connection) = tokio_postgres::connect(&db.url(), tokio_postgres::NoTls).await.unwrap();
    let io = tokio::spawn(connection);
    let prepared = client.prepare("INSERT INTO t VALUES ($1, $2)").await.unwrap();
    let started = Instant::now();
    for k in 0..n {
        client.execute(&prepared, &[&(k + 3_000_000), &"a"]).await.unwrap();
    }
    let bare = per_second(started);
    let c = pool.conn(Lane::Meta, None).await.unwrap();
    let started = Instant::now();
    for k in 0..n {
        let k = k + 2_000_000;
        c.transaction(&[insert(&k, &"a")], Durability::Synchronous).await.unwrap();
    }
    let single = per_second(started);
    let started = Instant::now();
    for k in 0..n {
        let other = k + 1_000_000;
        c.transaction(&[insert(&k, &"a"), insert(&other, &"b")], Durability::Synchronous).await.unwrap();
    }
    let pipelined = per_second(started);
    println!(
        "a second: bare client {bare:.0}, one statement {single:.0}, two statements pipelined {pipelined:.0}"
    );
    assert!(pipelined > 20.0, "{pipelined}");
    drop(client);
    let _ = io.await;
}

/// A user who may have two connections only, which the pool holds for another lane: they make room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_few_connections() {
    let Some(db) = database::database() else { return };
    let role = format!("few_{}", db.name);
    db.psql(&format!("CREATE ROLE {role} LOGIN CONNECTION LIMIT 2"));
    let settings = Settings::parse(&db.server.url_as(&role, &db.name)).unwrap();
    let pool = Pool::connect(settings, database::options()).await.unwrap();
    let work = async |lane| {
        let mut r = pool.retry("count");
        loop {
            let one = async { r.conn(lane).await?.query("SELECT 1", &[]).await }.await;
            match one {
                Ok(_) => return,
                Err(e) => r.again(e).await.unwrap(),
            }
        }
    };
    for lane in [Lane::Meta, Lane::Upload, Lane::Download] {
        let three = (work(lane), work(lane), work(lane));
        futures_util::future::join3(three.0, three.1, three.2).await;
    }
    drop(pool);
    db.psql(&format!("DROP ROLE {role}"));
}
