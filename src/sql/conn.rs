//! A checked-out connection: prepared statements, bounded waits, transactions in one round trip.

use super::ghost::Session;
use super::pool::{Durability, Inner, Lane};
use super::socket::Traffic;
use super::txn::{Txn, pipelined};
use super::{Error, ErrorClass, Params};
use futures_util::StreamExt;
use lru::LruCache;
use parking_lot::Mutex;
use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Connection, Row, Statement};

/// Prepared statements kept per connection.
const STATEMENTS_MAX: NonZeroUsize = NonZeroUsize::new(256).unwrap();
/// How often, at least, it is looked whether bytes move while an answer is waited for.
const LOOK: Duration = Duration::from_secs(2);

/// One statement of a transaction.
#[derive(Clone)]
pub struct Stmt<'a> {
    /// The text, with `$1`… for the parameters.
    pub sql: &'a str,
    /// The parameters.
    pub params: Vec<&'a (dyn ToSql + Sync)>,
}

impl<'a> Stmt<'a> {
    /// A statement with its parameters.
    pub fn new(sql: &'a str, params: &[&'a (dyn ToSql + Sync)]) -> Stmt<'a> {
        Stmt { sql, params: params.to_vec() }
    }
}

/// An open connection with its state; belongs to the pool or to one [`Conn`].
pub(super) struct Link {
    pub(super) client: Client,
    task: AbortHandle,
    ended: Arc<Mutex<Option<Error>>>,
    traffic: Arc<Traffic>,
    statements: Mutex<LruCache<Box<str>, Statement>>,
    pub(super) deferred: bool,
    pub(super) session: Option<Session>,
    /// When the server had accepted it.
    opened: Instant,
    /// A wait was given up, or a transaction left open: nobody may use this connection again.
    spoilt: AtomicBool,
}

/// A connection whose I/O is running, before it has a [`Client`].
pub(super) struct Driver {
    task: AbortHandle,
    ended: Arc<Mutex<Option<Error>>>,
    traffic: Arc<Traffic>,
}

impl Driver {
    pub(super) fn finish(self, client: Client, deferred: bool, session: Option<Session>) -> Link {
        Link {
            client,
            task: self.task,
            ended: self.ended,
            traffic: self.traffic,
            statements: Mutex::new(LruCache::new(STATEMENTS_MAX)),
            deferred,
            session,
            opened: Instant::now(),
            spoilt: AtomicBool::new(false),
        }
    }
}

impl Link {
    /// Starts the task that does the connection's I/O; it ends with the connection.
    pub(super) fn drive<S, T>(connection: Connection<S, T>, traffic: Arc<Traffic>) -> Driver
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let ended = Arc::new(Mutex::new(None));
        let says = ended.clone();
        let task = tokio::spawn(async move {
            let mut connection = connection;
            // By reference, so that the reason is there before those who wait see the end.
            if let Err(e) = Pin::new(&mut connection).await {
                *says.lock() = Some(Error::from_pg(&e));
            }
            drop(connection);
        });
        Driver { task: task.abort_handle(), ended, traffic }
    }

    pub(super) fn usable(&self) -> bool {
        !self.spoilt.load(Ordering::Acquire) && !self.client.is_closed()
    }

    pub(super) fn spoil(&self) {
        self.spoilt.store(true, Ordering::Release);
    }

    /// The error of a request, with the reason why the connection ended if it did.
    fn error(&self, e: &tokio_postgres::Error) -> Error {
        let error = Error::from_pg(e);
        if error.class() == ErrorClass::Lost
            && error.sqlstate().is_none()
            && let Some(why) = self.ended.lock().as_ref()
            && why.sqlstate().is_some()
        {
            return why
                .clone()
                .context("lost the connection to the server")
                .with_class(ErrorClass::Lost)
                .with_ambiguous(true);
        }
        error
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // A clean connection says goodbye by itself; on another one nobody may wait for answers.
        if self.spoilt.load(Ordering::Acquire) {
            self.task.abort();
        }
    }
}

/// Spoils the connection unless the wait came to its end.
struct Waiting<'a>(&'a Link, bool);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.1 {
            self.0.spoil();
        }
    }
}

/// A connection for one caller; requests made at the same time are pipelined.
///
/// Every wait in which no byte moves is bounded by the statement timeout and by the deadline of the
/// [`Retry`](super::Retry) it was made for. A future that is dropped in the middle costs the connection: it is closed
/// instead of going back to the pool. What it had sent may have been done.
pub struct Conn {
    link: Option<Link>,
    pool: Arc<Inner>,
    lane: Lane,
    deadline: Option<Instant>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Conn {
    fn drop(&mut self) {
        if let Some(link) = self.link.take() {
            self.pool.give_back(link);
        }
    }
}

impl Conn {
    pub(super) fn new(
        link: Link,
        pool: Arc<Inner>,
        lane: Lane,
        deadline: Option<Instant>,
        permit: OwnedSemaphorePermit,
    ) -> Conn {
        Conn { link: Some(link), pool, lane, deadline, _permit: permit }
    }

    pub(super) fn link(&self) -> &Link {
        // `link` is taken in `drop` only.
        self.link.as_ref().unwrap_or_else(|| unreachable!("a connection in use has a link"))
    }

    pub(super) fn pool(&self) -> &Inner {
        &self.pool
    }

    /// The lane it was taken for.
    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// What the server is.
    pub fn dialect(&self) -> &super::Dialect {
        &self.pool.dialect
    }

    /// When it was opened: since then the server has not restarted, as long as the connection works.
    pub fn opened(&self) -> Instant {
        self.link().opened
    }

    /// How long nothing may move during the next wait.
    fn limit(&self) -> Option<Duration> {
        let left = self.deadline.map(|d| d.saturating_duration_since(Instant::now()));
        match (left, self.pool.options.statement_timeout) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Waits as long as bytes move: None when none has for so long.
    async fn patiently<T>(&self, limit: Duration, answer: impl Future<Output = T>) -> Option<T> {
        let mut answer = std::pin::pin!(answer);
        let traffic = &self.link().traffic;
        let (mut moved, mut since) = (traffic.moved(), Instant::now());
        loop {
            let left = limit.saturating_sub(since.elapsed());
            if let Ok(done) = tokio::time::timeout(left.min(LOOK), answer.as_mut()).await {
                self.pool.progress(self.lane);
                return Some(done);
            }
            let now = traffic.moved();
            if now != moved {
                (moved, since) = (now, Instant::now());
                self.pool.progress(self.lane);
            } else if since.elapsed() >= limit {
                return None;
            }
        }
    }

    /// Waits for an answer: on a line that is slow as long as it takes, without any progress within the limit.
    /// Then the connection is spoilt.
    pub(super) async fn wait<T>(&self, answer: impl Future<Output = T>) -> Result<T, Error> {
        let link = self.link();
        let mut waiting = Waiting(link, false);
        let done = match self.limit() {
            None => answer.await,
            Some(limit) => self.patiently(limit, answer).await.ok_or_else(|| {
                Error::new(
                    ErrorClass::Timeout,
                    format!("no answer from the server within {}", seconds(limit)),
                )
                .with_hint("the server is overloaded, blocked by a lock, or the network is down")
                .with_ambiguous(true)
            })?,
        };
        waiting.1 = true;
        Ok(done)
    }

    pub(super) async fn ask<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Error> {
        self.wait(answer).await?.map_err(|e| self.link().error(&e))
    }

    pub(super) fn error(&self, e: &tokio_postgres::Error) -> Error {
        self.link().error(e)
    }

    /// The prepared statement for a text: from the cache, or one round trip.
    pub(super) async fn prepared(&self, sql: &str) -> Result<Statement, Error> {
        if let Some(s) = self.link().statements.lock().get(sql) {
            return Ok(s.clone());
        }
        let s = self.ask(self.link().client.prepare(sql)).await.map_err(|e| e.with_ambiguous(false))?;
        self.link().statements.lock().put(sql.into(), s.clone());
        Ok(s)
    }

    /// Prepares what is not prepared yet, all at once.
    pub(super) async fn prepared_all(&self, stmts: &[Stmt<'_>]) -> Result<Vec<Statement>, Error> {
        let known: Vec<Option<Statement>> = {
            let mut cache = self.link().statements.lock();
            stmts.iter().map(|s| cache.get(s.sql).cloned()).collect()
        };
        if known.iter().all(Option::is_some) {
            return Ok(known.into_iter().flatten().collect());
        }
        let mut missing: Vec<&str> =
            known.iter().zip(stmts).filter(|(k, _)| k.is_none()).map(|(_, s)| s.sql).collect();
        missing.sort_unstable();
        missing.dedup();
        let made: Vec<Statement> =
            futures_util::future::try_join_all(missing.iter().map(|sql| self.prepared(sql))).await?;
        let find = |sql: &str| missing.binary_search(&sql).ok().and_then(|i| made.get(i)).cloned();
        let all: Option<Vec<Statement>> =
            known.into_iter().zip(stmts).map(|(k, s)| k.or_else(|| find(s.sql))).collect();
        all.ok_or_else(|| Error::new(ErrorClass::Other, "a statement was not prepared"))
    }

    /// Forgets all prepared statements if the error says that one is stale. True: try again.
    pub(super) fn stale(&self, e: &Error) -> bool {
        let stale = e.class() == ErrorClass::Retry && matches!(e.sqlstate(), Some("0A000" | "26000"));
        if stale {
            self.link().statements.lock().clear();
        }
        stale
    }

    /// The rows of one statement, outside a transaction. A write is committed when this returns (on the
    /// upload lane: not yet on disk). Errors of a broken connection are ambiguous.
    pub async fn query(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, Error> {
        let mut again = true;
        loop {
            let statement = self.prepared(sql).await?;
            match self.ask(self.link().client.query(&statement, params)).await {
                Err(e) if again && self.stale(&e) => again = false,
                done => return done,
            }
        }
    }

    /// The only row of one statement, or None. More than one row is an error.
    pub async fn query_opt(&self, sql: &str, params: Params<'_>) -> Result<Option<Row>, Error> {
        let mut rows = self.query(sql, params).await?;
        match rows.len() {
            0 | 1 => Ok(rows.pop()),
            n => Err(Error::new(ErrorClass::Other, format!("{n} rows where one was expected"))),
        }
    }

    /// The number of rows that one statement touched, outside a transaction; as [`Conn::query`].
    pub async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64, Error> {
        let mut again = true;
        loop {
            let statement = self.prepared(sql).await?;
            match self.ask(self.link().client.execute(&statement, params)).await {
                Err(e) if again && self.stale(&e) => again = false,
                done => return done,
            }
        }
    }

    /// The rows of one statement as they come. Dropping it early costs the connection.
    pub async fn query_raw_stream(&self, sql: &str, params: Params<'_>) -> Result<RowStream<'_>, Error> {
        let mut again = true;
        loop {
            let statement = self.prepared(sql).await?;
            let start = self.link().client.query_raw(&statement, params.iter().copied());
            match self.ask(start).await {
                Err(e) if again && self.stale(&e) => again = false,
                Err(e) => return Err(e),
                Ok(rows) => return Ok(RowStream { conn: self, rows: Box::pin(rows), ended: false }),
            }
        }
    }

    /// Statements without parameters by the simple protocol, separated by semicolons; results are dropped.
    pub async fn batch(&self, sql: &str) -> Result<(), Error> {
        self.ask(self.link().client.batch_execute(sql)).await
    }

    /// BEGIN, the statements and COMMIT, sent together: one round trip once they are prepared. Returns the
    /// number of rows of each.
    ///
    /// Any failure rolls the whole back, and the first one is returned; it is ambiguous only if the answer to
    /// the commit is missing. Dropping the future: all of it was sent or nothing, so it happens or not.
    pub async fn transaction(&self, stmts: &[Stmt<'_>], durability: Durability) -> Result<Vec<u64>, Error> {
        match pipelined(self, stmts, durability).await {
            Err(e) if self.stale(&e) => pipelined(self, stmts, durability).await,
            done => done,
        }
    }

    /// An interactive transaction. BEGIN travels with its first statement. Rolled back (by closing the
    /// connection) when dropped before [`Txn::commit`] or [`Txn::rollback`].
    pub fn begin(&self, durability: Durability) -> Txn<'_> {
        Txn::new(self, super::txn::begin_text(self, durability))
    }

    /// A read-only transaction that sees one state of the database from its first statement on. It may stay
    /// idle as long as it likes; other transactions are ended by the server after 20 s without a statement.
    pub fn begin_snapshot(&self) -> Txn<'_> {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let patient = "SET LOCAL idle_in_transaction_session_timeout = 0";
        let text =
            if self.dialect().is_cockroach() { begin.to_owned() } else { format!("{begin}; {patient}") };
        Txn::new(self, text)
    }
}

/// `3 s`, `250 ms`
pub(super) fn seconds(d: Duration) -> String {
    if d.as_millis() >= 10_000 || d.subsec_millis() == 0 {
        format!("{} s", d.as_secs())
    } else {
        format!("{} ms", d.as_millis())
    }
}

/// Rows as they come from the server.
pub struct RowStream<'a> {
    conn: &'a Conn,
    rows: Pin<Box<tokio_postgres::RowStream>>,
    ended: bool,
}

impl RowStream<'_> {
    /// The next row; None at the end. Bounded like every wait. After an error there is nothing more.
    pub async fn next(&mut self) -> Result<Option<Row>, Error> {
        if self.ended {
            return Ok(None);
        }
        match self.conn.wait(self.rows.next()).await? {
            Some(Ok(row)) => Ok(Some(row)),
            Some(Err(e)) => {
                self.ended = true;
                Err(self.conn.error(&e))
            }
            None => {
                self.ended = true;
                Ok(None)
            }
        }
    }
}

impl Drop for RowStream<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.conn.link().spoil();
        }
    }
}
