//! The handle on a pair of tables, and what all its methods share.

use super::companion::Companion;
use super::error::Error;
use super::names::{HIDDEN_DIR, TablePrefix};
use super::redo::Redo;
use super::rows::Batch;
use super::schema::Tables;
use super::sweep::Trash;
use super::types::{FileId, TableOptions};
use crate::sql::{self, Durability, ErrorClass, Lane, Pool};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// A pair of userfile tables. Cheap to clone; clones share the pool and what is known about the tables.
#[derive(Clone)]
pub struct FileTable {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub pool: Pool,
    pub prefix: TablePrefix,
    pub options: TableOptions,
    pub tables: Tables,
    /// `filename` as ranges and orders must write it to go by bytes.
    pub by_bytes: &'static str,
    /// CockroachDB, or pretending to be.
    pub portable: bool,
    pub cockroach: bool,
    pub user: String,
    pub companion: Companion,
    pub trash: Trash,
    pub redo: Redo,
}

/// How often a transaction is tried again for reasons that the pool's retry does not know: a name that was taken
/// between two statements. Each time somebody else got on.
const COLLISIONS_MAX: u32 = 100;

/// Transactions with more bytes than this are bulk.
const BULK: usize = 512 << 10;

impl FileTable {
    /// Length in bytes of the chunks that are written.
    pub fn chunk_len(&self) -> usize {
        self.inner.options.chunk_len
    }

    /// Where the tables are.
    pub fn prefix(&self) -> &TablePrefix {
        &self.inner.prefix
    }

    /// How the table was opened.
    pub fn options(&self) -> &TableOptions {
        &self.inner.options
    }

    /// The pool under it.
    pub fn pool(&self) -> &Pool {
        &self.inner.pool
    }

    /// A new identity for contents; no I/O.
    pub fn new_id(&self) -> FileId {
        FileId(Uuid::new_v4())
    }

    /// First part of the names of this mount's hidden rows.
    pub(super) fn hidden_prefix(&self) -> String {
        format!("{HIDDEN_DIR}/{}/", self.inner.options.mount_id.simple())
    }

    pub(super) fn hidden_name(&self, id: FileId) -> String {
        format!("{}{id}", self.hidden_prefix())
    }

    pub(super) fn check_writable(&self) -> Result<(), Error> {
        if self.inner.options.read_only { Err(Error::ReadOnly) } else { Ok(()) }
    }

    /// One durable transaction on a metadata connection.
    pub(super) async fn durable(&self, retry: &sql::Retry, batch: &Batch) -> Result<Vec<u64>, sql::Error> {
        self.durable_sized(retry, batch, 0).await
    }

    /// The same with so many bytes of contents in it: many take an upload connection, so that lookups do not wait
    /// behind them.
    pub(super) async fn durable_sized(
        &self,
        retry: &sql::Retry,
        batch: &Batch,
        bytes: usize,
    ) -> Result<Vec<u64>, sql::Error> {
        let lane = if bytes > BULK { Lane::Upload } else { Lane::Meta };
        let conn = retry.conn(lane).await?;
        batch.run(&conn, Durability::Synchronous).await
    }

    /// What to do after a failed attempt: Ok means try again.
    pub(super) async fn again(
        &self,
        retry: &mut sql::Retry,
        collisions: &mut u32,
        e: Error,
    ) -> Result<(), Error> {
        let Error::Sql(e) = e else { return Err(e) };
        if e.class() == ErrorClass::NotFound && self.companion_gone(retry, &e).await {
            return Ok(());
        }
        let collided = matches!(e.class(), ErrorClass::Exists | ErrorClass::ForeignKey);
        if collided && *collisions < COLLISIONS_MAX {
            *collisions += 1;
            tokio::time::sleep(Duration::from_millis(u64::from((*collisions).min(20)))).await;
            return Ok(());
        }
        Ok(retry.again(e).await?)
    }
}

impl std::fmt::Debug for FileTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileTable({})", self.inner.prefix)
    }
}

/// The error that [`asserted`] makes of a statement that changed nothing: division by zero.
pub(super) fn assertion_failed(e: &sql::Error) -> bool {
    e.sqlstate() == Some("22012")
}

/// Makes a statement fail, and its transaction with it, when it changes no row. It saves waiting for the answer
/// before the next statement is sent.
pub(super) fn asserted(change: &str) -> String {
    format!("WITH u AS ({change} RETURNING 1) SELECT 1 / count(*) FROM u")
}

/// Runs `$body` (a block that gives `Result<_, Error>` and may use `$retry`) until it succeeds, fails for good or
/// the time is up. Collisions (23505, 23503) count as permanent here: see `colliding`.
macro_rules! retrying {
    ($table:expr, $what:expr, |$retry:ident| $body:expr) => {{
        let mut retry = $table.inner.pool.retry($what);
        loop {
            let result: Result<_, Error> = {
                let $retry = &retry;
                async { $body }.await
            };
            match result {
                Ok(v) => break Ok(v),
                Err(Error::Sql(e)) => {
                    let gone = e.class() == crate::sql::ErrorClass::NotFound;
                    if gone && $table.companion_gone(&retry, &e).await {
                        continue;
                    }
                    if let Err(e) = retry.again(e).await {
                        break Err(Error::Sql(e));
                    }
                }
                Err(e) => break Err(e),
            }
        }
    }};
}
pub(super) use retrying;

/// As `retrying`, for a body that names taken by another client in the meantime do not end.
macro_rules! colliding {
    ($table:expr, $what:expr, |$retry:ident| $body:expr) => {{
        let mut retry = $table.inner.pool.retry($what);
        let mut collisions = 0;
        loop {
            let result: Result<_, Error> = {
                let $retry = &retry;
                async { $body }.await
            };
            match result {
                Ok(v) => break Ok(v),
                Err(e) => {
                    if let Err(e) = $table.again(&mut retry, &mut collisions, e).await {
                        break Err(e);
                    }
                }
            }
        }
    }};
}
pub(super) use colliding;
