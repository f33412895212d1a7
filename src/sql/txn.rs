//! Transactions: pipelined ones in one round trip, and interactive ones.

use super::conn::{Conn, Stmt};
use super::pool::Durability;
use super::{Error, Params};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use tokio_postgres::{Row, Statement};

type PgResult<T> = Result<T, tokio_postgres::Error>;

enum Answer {
    Done,
    Count(u64),
    Rows(Vec<Row>),
}

type Request<'a> = Pin<Box<dyn Future<Output = PgResult<Answer>> + Send + 'a>>;

/// What is asked for each statement.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    Counts,
    Rows,
}

/// Requests that are all sent at the first poll, in order, and answered in order.
///
/// The client library puts a request on the wire at its first poll. If one fails there (its parameters cannot
/// be encoded), nothing of it was sent: the rest is left out and `otherwise` takes the place of the last.
struct Pipeline<'a> {
    requests: Vec<Request<'a>>,
    otherwise: Option<Request<'a>>,
    answers: Vec<Option<PgResult<Answer>>>,
    next: usize,
    sent: bool,
}

impl Pipeline<'_> {
    fn send(&mut self, cx: &mut Context<'_>) {
        self.sent = true;
        let last = self.requests.len().saturating_sub(1);
        for i in 0..self.requests.len() {
            match self.requests[i].as_mut().poll(cx) {
                Poll::Pending => self.answers.push(None),
                Poll::Ready(answer) => {
                    let failed = answer.is_err();
                    self.answers.push(Some(answer));
                    if failed && i < last {
                        self.requests.truncate(i + 1);
                        if let Some(mut o) = self.otherwise.take() {
                            self.answers.push(match o.as_mut().poll(cx) {
                                Poll::Pending => None,
                                Poll::Ready(a) => Some(a),
                            });
                            self.requests.push(o);
                        }
                        return;
                    }
                }
            }
        }
    }
}

impl Future for Pipeline<'_> {
    type Output = Vec<PgResult<Answer>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.sent {
            self.send(cx);
        }
        while self.next < self.requests.len() {
            let i = self.next;
            if self.answers[i].is_none() {
                match self.requests[i].as_mut().poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(answer) => self.answers[i] = Some(answer),
                }
            }
            self.next += 1;
        }
        Poll::Ready(self.answers.drain(..).flatten().collect())
    }
}

fn simple<'a>(conn: &'a Conn, sql: &'a str) -> Request<'a> {
    Box::pin(async move { conn.link().client.batch_execute(sql).await.map(|()| Answer::Done) })
}

fn statement<'a>(conn: &'a Conn, statement: &'a Statement, params: Params<'a>, want: Want) -> Request<'a> {
    let client = &conn.link().client;
    match want {
        Want::Counts => Box::pin(async move { client.execute(statement, params).await.map(Answer::Count) }),
        Want::Rows => Box::pin(async move { client.query(statement, params).await.map(Answer::Rows) }),
    }
}

/// BEGIN, with the commit mode where it differs from the connection's.
pub(super) fn begin_text(conn: &Conn, durability: Durability) -> String {
    match commit_mode(conn, durability) {
        None => "BEGIN".to_owned(),
        Some(mode) => format!("BEGIN; SET LOCAL synchronous_commit = {mode}"),
    }
}

fn commit_mode(conn: &Conn, durability: Durability) -> Option<&str> {
    let dialect = &conn.pool().dialect;
    match (durability, conn.link().deferred) {
        _ if dialect.is_cockroach() => None,
        (Durability::Synchronous, true) => Some(dialect.durable_commit()),
        (Durability::Deferred, false) => Some("off"),
        _ => None,
    }
}

/// Sends `begin`, the statements and `end` together. Returns the statements' answers, or the first failure;
/// `end`'s failure comes with true.
async fn run(
    conn: &Conn,
    begin: Option<&str>,
    stmts: &[Stmt<'_>],
    end: Option<&str>,
    want: Want,
) -> Result<Vec<Answer>, (Error, bool)> {
    let prepared = conn.prepared_all(stmts).await.map_err(|e| (e, false))?;
    let mut requests: Vec<Request<'_>> = Vec::with_capacity(stmts.len() + 2);
    requests.extend(begin.map(|b| simple(conn, b)));
    requests.extend(prepared.iter().zip(stmts).map(|(p, s)| statement(conn, p, &s.params, want)));
    requests.extend(end.map(|e| simple(conn, e)));
    let answers = Vec::with_capacity(requests.len());
    let otherwise = end.map(|_| simple(conn, "ROLLBACK"));
    let pipeline = Pipeline { requests, otherwise, answers, next: 0, sent: false };
    let ended = end.is_some();
    let answers = conn.wait(pipeline).await.map_err(|e| (e.with_ambiguous(ended), false))?;
    let total = usize::from(begin.is_some()) + stmts.len() + usize::from(ended);
    let mut out = Vec::with_capacity(stmts.len());
    for (i, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(Answer::Done) => {}
            Ok(a) => out.push(a),
            Err(e) => {
                let at_end = ended && i + 1 == total;
                let error = conn.error(&e);
                // A failure that the server itself reported before the commit undoes everything.
                let told = e.as_db_error().is_some() && !at_end;
                let unsure = ended && error.ambiguous() && !told;
                return Err((error.with_ambiguous(unsure), at_end));
            }
        }
    }
    Ok(out)
}

fn counts(answers: Vec<Answer>) -> Vec<u64> {
    answers.into_iter().map(|a| if let Answer::Count(n) = a { n } else { 0 }).collect()
}

fn rows(answers: Vec<Answer>) -> Vec<Vec<Row>> {
    answers.into_iter().map(|a| if let Answer::Rows(r) = a { r } else { Vec::new() }).collect()
}

/// One transaction in one round trip. See [`Conn::transaction`].
pub(super) async fn pipelined(
    conn: &Conn,
    stmts: &[Stmt<'_>],
    durability: Durability,
) -> Result<Vec<u64>, Error> {
    if let [only] = stmts
        && commit_mode(conn, durability).is_none()
    {
        // A statement alone is a transaction by itself.
        let prepared = conn.prepared(only.sql).await?;
        return Ok(vec![conn.ask(conn.link().client.execute(&prepared, &only.params)).await?]);
    }
    let begin = begin_text(conn, durability);
    match run(conn, Some(&begin), stmts, Some("COMMIT"), Want::Counts).await {
        Ok(answers) => Ok(counts(answers)),
        Err((e, at_commit)) => {
            if at_commit {
                // Some servers leave the transaction open when the commit fails.
                let _ = conn.ask(conn.link().client.batch_execute("ROLLBACK")).await;
            }
            Err(e)
        }
    }
}

const IDLE: u8 = 0;
const OPEN: u8 = 1;
const ENDED: u8 = 2;

/// An interactive transaction. Dropped before its end, it costs the connection, and the server rolls back.
pub struct Txn<'a> {
    conn: &'a Conn,
    begin: String,
    state: AtomicU8,
}

impl<'a> Txn<'a> {
    pub(super) fn new(conn: &'a Conn, begin: String) -> Txn<'a> {
        Txn { conn, begin, state: AtomicU8::new(IDLE) }
    }

    /// Sends the statements together (with BEGIN if they are the first); the rows of each. After an error
    /// only [`Txn::rollback`] makes sense.
    pub async fn run(&self, stmts: &[Stmt<'_>]) -> Result<Vec<Vec<Row>>, Error> {
        self.step(stmts, Want::Rows).await.map(rows)
    }

    /// The same, with the number of rows of each.
    pub async fn execute_all(&self, stmts: &[Stmt<'_>]) -> Result<Vec<u64>, Error> {
        self.step(stmts, Want::Counts).await.map(counts)
    }

    async fn step(&self, stmts: &[Stmt<'_>], want: Want) -> Result<Vec<Answer>, Error> {
        let begin = self.take_begin();
        run(self.conn, begin, stmts, None, want).await.map_err(|(e, _)| {
            // A stale plan ends this transaction; the next attempt prepares anew.
            self.conn.stale(&e);
            e.with_ambiguous(false)
        })
    }

    fn take_begin(&self) -> Option<&str> {
        let first = self.state.compare_exchange(IDLE, OPEN, Ordering::AcqRel, Ordering::Acquire).is_ok();
        first.then_some(self.begin.as_str())
    }

    /// The rows of one statement.
    pub async fn query(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, Error> {
        let mut all = self.run(&[Stmt { sql, params: params.to_vec() }]).await?;
        Ok(all.pop().unwrap_or_default())
    }

    /// The number of rows that one statement touched.
    pub async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64, Error> {
        let all = self.execute_all(&[Stmt { sql, params: params.to_vec() }]).await?;
        Ok(all.last().copied().unwrap_or_default())
    }

    /// Statements without parameters by the simple protocol (DDL, SET LOCAL…).
    pub async fn batch(&self, sql: &str) -> Result<(), Error> {
        if self.state.load(Ordering::Acquire) == IDLE {
            self.step(&[], Want::Counts).await?;
        }
        self.conn.batch(sql).await.map_err(|e| e.with_ambiguous(false))
    }

    /// Commits. An error is ambiguous if the answer is missing.
    pub async fn commit(self) -> Result<(), Error> {
        self.commit_after(&[]).await.map(|_| ())
    }

    /// Sends the statements and COMMIT together; the number of rows of each. A failure of any undoes the
    /// whole transaction.
    pub async fn commit_after(self, stmts: &[Stmt<'_>]) -> Result<Vec<u64>, Error> {
        let begin = self.take_begin();
        match run(self.conn, begin, stmts, Some("COMMIT"), Want::Counts).await {
            Ok(answers) => {
                self.state.store(ENDED, Ordering::Release);
                Ok(counts(answers))
            }
            Err((e, _)) => {
                self.conn.stale(&e);
                if self.conn.link().usable() {
                    self.rollback().await;
                }
                Err(e)
            }
        }
    }

    /// Rolls back. Never fails: if the server does not answer, the connection is closed, which has the same
    /// effect.
    pub async fn rollback(self) {
        if self.state.load(Ordering::Acquire) == OPEN {
            let answer = self.conn.wait(self.conn.link().client.batch_execute("ROLLBACK")).await;
            // CockroachDB answers 25P01 where the failed commit has ended the transaction.
            let clean = match answer {
                Ok(Ok(())) => true,
                Ok(Err(e)) => e.as_db_error().is_some(),
                Err(_) => false,
            };
            if !clean {
                return;
            }
        }
        self.state.store(ENDED, Ordering::Release);
    }
}

impl Drop for Txn<'_> {
    fn drop(&mut self) {
        if self.state.load(Ordering::Acquire) == OPEN {
            self.conn.link().spoil();
        }
    }
}
