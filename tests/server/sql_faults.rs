//! Connections that break at every message, servers that die: every operation happens exactly once.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use userfilefs::sql::{Durability, Error, ErrorClass, Lane, Pool, PoolOptions, Retry, Settings, Stmt, ToSql};

use crate::support::database::{Database, database, options};
use crate::support::postgres::Server;
use crate::support::wire::{Fault, Wire};

const TABLES: &str = "CREATE TABLE total (id int8 PRIMARY KEY, n int8); INSERT INTO total VALUES (1, 0);
     CREATE TABLE done (token int8 PRIMARY KEY);";

/// What an operation does in one transaction; doing it twice shows in either table.
async fn attempt(r: &Retry, lane: Lane, token: i64, interactive: bool) -> Result<(), Error> {
    let c = r.conn(lane).await?;
    if r.maybe_committed() {
        let seen = c.query("SELECT 1 FROM done WHERE token = $1", &[&token]).await?;
        if !seen.is_empty() {
            return Ok(());
        }
    }
    let add = Stmt::new("UPDATE total SET n = n + 1 WHERE id = $1", &[&1_i64 as &(dyn ToSql + Sync)]);
    let mark = Stmt::new("INSERT INTO done VALUES ($1)", &[&token as &(dyn ToSql + Sync)]);
    if interactive {
        let t = c.begin(Durability::Synchronous);
        t.query("SELECT n FROM total WHERE id = $1 FOR UPDATE", &[&1_i64]).await?;
        t.execute_all(&[add]).await?;
        t.commit_after(&[mark]).await?;
    } else {
        assert_eq!(c.transaction(&[add, mark], Durability::Synchronous).await?, [1, 1]);
    }
    Ok(())
}

async fn operate(pool: &Pool, lane: Lane, token: i64, interactive: bool) -> Result<u32, Error> {
    let mut r = pool.retry("count");
    loop {
        match attempt(&r, lane, token, interactive).await {
            Ok(()) => return Ok(r.attempts()),
            Err(e) => r.again(e).await?,
        }
    }
}

fn check(db: &Database, tokens: i64) {
    let found = db.psql("SELECT n || ' ' || (SELECT count(*) FROM done) FROM total");
    assert_eq!(found, format!("{tokens} {tokens}"));
}

async fn every_message(fault: Fault, interactive: bool) {
    let Some(db) = database() else { return };
    db.psql(TABLES);
    let wire = Wire::new(db.server.port());
    let limits = PoolOptions { statement_timeout: Some(Duration::from_millis(400)), ..options() };
    let settings = Settings::parse(&wire.url(&db.url())).unwrap();
    let (mut tokens, mut last) = (0, 1);
    // Until the fault lies beyond the messages of one operation with a fresh connection.
    for n in 1.. {
        let pool = Pool::connect(settings.clone(), limits.clone()).await.unwrap();
        wire.arm(n, fault);
        tokens += 1;
        let lane = if n % 2 == 0 { Lane::Meta } else { Lane::Upload };
        operate(&pool, lane, tokens, interactive).await.unwrap_or_else(|e| panic!("{fault:?} {n}: {e:?}"));
        if !wire.disarm() {
            last = n;
            break;
        }
        // The pool goes on with what the fault has left.
        tokens += 1;
        operate(&pool, lane, tokens, interactive).await.unwrap_or_else(|e| panic!("{fault:?} {n}: {e:?}"));
    }
    assert!(last > 5, "the fault has hit {last} messages only");
    check(&db, tokens);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_before_every_message() {
    every_message(Fault::CutBefore, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answer_lost_after_every_message() {
    every_message(Fault::CutAfter, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_after_every_message() {
    every_message(Fault::Unanswered, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_after_every_message_of_an_interactive_transaction() {
    every_message(Fault::Unanswered, true).await;
}

/// A client that vanishes in mid-transaction: the server ends it, and with it its locks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_of_a_vanished_client_do_not_last() {
    let Some(db) = database() else { return };
    db.psql(TABLES);
    let wire = Wire::new(db.server.port());
    let patience = "&options=-c%20idle_in_transaction_session_timeout%3D300ms";
    let settings = Settings::parse(&format!("{}{patience}", wire.url(&db.url()))).unwrap();
    let pool = Pool::connect(settings, options()).await.unwrap();
    let c = pool.conn(Lane::Meta, None).await.unwrap();
    let row = c.query_opt("SHOW idle_in_transaction_session_timeout", &[]).await.unwrap().unwrap();
    assert_eq!(row.get::<_, &str>(0), "300ms", "what the URL says does not win");
    let t = c.begin(Durability::Synchronous);
    t.execute("UPDATE total SET n = n + 1", &[]).await.unwrap();
    // Parse, Describe, Sync: with the third the server waits for the next statement.
    wire.arm(3, Fault::Silence);
    let gone = tokio::time::timeout(Duration::from_millis(100), t.query("SELECT 1", &[])).await;
    assert!(gone.is_err());
    drop(t);
    drop(c);
    assert_eq!(operate(&db.pool().await, Lane::Meta, 1, false).await.unwrap(), 0);
    check(&db, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_before_every_message_of_an_interactive_transaction() {
    every_message(Fault::CutBefore, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answer_lost_after_every_message_of_an_interactive_transaction() {
    every_message(Fault::CutAfter, true).await;
}

/// Only a commit without an answer is ambiguous.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ambiguous_is_said_of_commits_only() {
    let Some(db) = database() else { return };
    db.psql(TABLES);
    let wire = Wire::new(db.server.port());
    let pool = Pool::connect(Settings::parse(&wire.url(&db.url())).unwrap(), options()).await.unwrap();
    let c = pool.conn(Lane::Meta, None).await.unwrap();
    let t = c.begin(Durability::Synchronous);
    t.execute("INSERT INTO done VALUES ($1)", &[&1_i64]).await.unwrap();
    wire.arm(1, Fault::CutAfter);
    let e = t.execute("INSERT INTO done VALUES ($1)", &[&2_i64]).await.unwrap_err();
    assert_eq!((e.class(), e.ambiguous()), (ErrorClass::Lost, false), "{e:?}");
    drop(t);
    drop(c);
    let c = pool.conn(Lane::Meta, None).await.unwrap();
    c.execute("INSERT INTO done VALUES ($1)", &[&3_i64]).await.unwrap();
    // Bind, Execute, Sync: with the third it is committed.
    wire.arm(3, Fault::CutAfter);
    let e = c.execute("INSERT INTO done VALUES ($1)", &[&4_i64]).await.unwrap_err();
    assert_eq!((e.class(), e.ambiguous()), (ErrorClass::Lost, true), "{e:?}");
    drop(c);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(db.psql("SELECT string_agg(token::text, ',' ORDER BY token) FROM done"), "3,4");
}

/// A stalled network: the wait ends at the operation's deadline, and what was dropped never comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_network_ends_at_the_deadline() {
    let Some(db) = database() else { return };
    db.psql(TABLES);
    let wire = Wire::new(db.server.port());
    let limits = PoolOptions {
        op_timeout: Some(Duration::from_millis(600)),
        connect_timeout: Duration::from_millis(300),
        ..options()
    };
    let pool = Pool::connect(Settings::parse(&wire.url(&db.url())).unwrap(), limits).await.unwrap();
    operate(&pool, Lane::Meta, 1, false).await.unwrap();
    wire.stall(true);
    let started = Instant::now();
    let e = operate(&pool, Lane::Meta, 2, false).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(e.is_transient(), "{e:?}");
    wire.stall(false);
    operate(&pool, Lane::Meta, 3, false).await.unwrap();
    wire.down(true);
    let e = operate(&pool, Lane::Meta, 4, false).await.unwrap_err();
    assert!(matches!(e.class(), ErrorClass::Unreachable | ErrorClass::Lost), "{e:?}");
    wire.down(false);
    assert!(operate(&pool, Lane::Meta, 5, false).await.is_ok());
}

/// Opening a connection fails in time and says so, wherever it breaks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opening_breaks_at_every_message() {
    let Some(db) = database() else { return };
    let wire = Wire::new(db.server.port());
    let settings = Settings::parse(&wire.url(&db.url())).unwrap();
    // A machine that is busy must get to the fault in time; only the silence lasts that long.
    for (fault, millis) in [(Fault::CutBefore, 5000), (Fault::CutAfter, 5000), (Fault::Silence, 1000)] {
        let limits = PoolOptions { connect_timeout: Duration::from_millis(millis), ..options() };
        let mut hits = 0;
        for _ in 0..40 {
            let n = hits + 1;
            wire.arm(n, fault);
            let outcome = Pool::connect(settings.clone(), limits.clone()).await;
            let hit = wire.disarm();
            match outcome {
                Ok(_) if !hit => break,
                Err(e) => {
                    assert!(e.is_transient() && !e.to_string().contains('\n'), "{fault:?} {n}: {e:?}");
                }
                Ok(_) => {}
            }
            // An error without a hit: the cut before this one took this connection, too.
            hits += u64::from(hit);
        }
        assert!(hits >= 3, "{fault:?}: {hits}");
    }
}

async fn server_dies(signal: Signal) {
    let made = std::thread::spawn(|| Server::start(&[])).join().unwrap();
    let Some(server) = made else { return };
    let server: &'static Server = Box::leak(Box::new(server));
    let db = std::thread::spawn(move || {
        let db = Database { name: server.fresh_database(), server };
        db.psql(TABLES);
        db
    });
    let db = db.join().unwrap();
    let pool =
        Pool::connect(db.settings(), PoolOptions { op_timeout: Some(Duration::from_secs(60)), ..options() })
            .await
            .unwrap();
    let workers: Vec<_> = (0..4_i64)
        .map(|w| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let mut retried = 0;
                for i in 0..400 {
                    retried += operate(&pool, Lane::Meta, w * 1000 + i, w == 3).await.unwrap();
                }
                retried
            })
        })
        .collect();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        std::thread::spawn(move || {
            server.stop(signal);
            server.run();
        })
        .join()
        .unwrap();
    }
    let mut retried = 0;
    for w in workers {
        retried += w.await.unwrap();
    }
    check(&db, 1600);
    assert!(retried > 0, "no operation was hit");
    drop(pool);
    drop(db);
    std::thread::spawn(move || server.stop(Signal::SIGQUIT)).join().unwrap();
    server.remove();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_crashes_and_comes_back() {
    server_dies(Signal::SIGQUIT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_is_restarted() {
    server_dies(Signal::SIGINT).await;
}
