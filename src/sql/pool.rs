//! Connections on demand, in lanes.

use super::conn::{Conn, Link, seconds};
use super::connect::{Opening, open};
use super::ghost::{self, GHOSTS_MAX, Session};
use super::{Dialect, Error, ErrorClass, Retry, Settings};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// The fewest connections of a pool: one a lane.
const CONNECTIONS_MIN: usize = 3;
/// Connections that were idle for so long are closed when another one comes back.
const IDLE_MAX: Duration = Duration::from_secs(600);

/// The server takes no more connections, of all or of this user.
const TOO_MANY_CONNECTIONS: &str = "53300";

/// What a connection is wanted for. Each lane has its own share of the pool, so that bulk transfers never
/// keep metadata waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lane {
    /// Lookups, listings, small files, publishing.
    Meta,
    /// Chunks on their way in. On PostgreSQL these connections commit without waiting for the disk.
    Upload,
    /// Chunks on their way out.
    Download,
}

/// Whether a commit waits for the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// It is on disk when the answer comes.
    Synchronous,
    /// It may be lost in a crash of the server unless a synchronous commit follows. PostgreSQL only;
    /// CockroachDB is always synchronous.
    Deferred,
}

/// Limits of a pool.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// Connections at most, at least 3: shared out among the lanes as 4 : 3 : 3.
    pub connections_max: usize,
    /// How long an operation may be retried in all; None: for ever.
    pub op_timeout: Option<Duration>,
    /// How long opening one connection may take.
    pub connect_timeout: Duration,
    /// How long one answer may take without any progress; None: as long as the operation.
    pub statement_timeout: Option<Duration>,
    /// Shown in the server's list of sessions, unless the settings name another.
    pub application_name: String,
    /// PostgreSQL: plan for lookups by key, without hash joins, sorts and bitmaps. Right for the userfile tables,
    /// also before anybody analysed them; wrong for queries of other people.
    pub key_lookups: bool,
}

impl Default for PoolOptions {
    fn default() -> PoolOptions {
        PoolOptions {
            connections_max: 10,
            op_timeout: Some(Duration::from_secs(60)),
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Some(Duration::from_secs(60)),
            application_name: "userfilefs".to_owned(),
            key_lookups: true,
        }
    }
}

/// A pool of connections to one database. Cheap to clone; the connections close with the last clone.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

pub(super) struct Inner {
    settings: Settings,
    pub(super) options: PoolOptions,
    pub(super) dialect: Dialect,
    /// Open connections that nobody uses: durable ones, and those of the upload lane.
    idle: Mutex<[Vec<(Link, Instant)>; 2]>,
    lanes: [Arc<Semaphore>; 3],
    /// When something last moved on a connection of each lane.
    moved: [Mutex<Instant>; 3],
    /// Sessions whose connection was given up.
    ghosts: Mutex<Vec<Session>>,
    down: AtomicBool,
}

impl Inner {
    /// Something moved on a connection of this lane.
    pub(super) fn progress(&self, lane: Lane) {
        *self.moved[lane as usize].lock() = Instant::now();
    }

    /// A connection comes back: kept if it can be used again.
    pub(super) fn give_back(&self, link: Link) {
        if !link.usable() {
            let mut ghosts = self.ghosts.lock();
            ghosts.extend(link.session.clone());
            if ghosts.len() > GHOSTS_MAX {
                ghosts.remove(0);
            }
            return;
        }
        let now = Instant::now();
        let mut old = Vec::new();
        {
            let mut idle = self.idle.lock();
            let list = &mut idle[usize::from(link.deferred)];
            list.push((link, now));
            if let Some((_, since)) = list.first()
                && now.duration_since(*since) > IDLE_MAX
            {
                old.push(list.remove(0));
            }
        }
        drop(old);
    }

    /// Closes the connections that nobody uses.
    fn close_idle(&self) {
        let unused = std::mem::take(&mut *self.idle.lock());
        drop(unused);
    }

    fn take_idle(&self, deferred: bool) -> Option<Link> {
        let mut dead = Vec::new();
        let mut idle = self.idle.lock();
        let list = &mut idle[usize::from(deferred)];
        let found = loop {
            match list.pop() {
                Some((link, _)) if link.usable() => break Some(link),
                Some(other) => dead.push(other),
                None => break None,
            }
        };
        drop(idle);
        found
    }
}

impl Pool {
    /// Opens one connection and asks which server it is. Does not retry: errors are for the user.
    pub async fn connect(settings: Settings, options: PoolOptions) -> Result<Pool, Error> {
        let n = options.connections_max.max(CONNECTIONS_MIN);
        let bulk = (n * 3 / 10).max(1);
        let lanes = [n - 2 * bulk, bulk, bulk].map(|n| Arc::new(Semaphore::new(n)));
        let (link, dialect) = open(&Opening {
            settings: &settings,
            application_name: &options.application_name,
            timeout: options.connect_timeout,
            deferred: false,
            key_lookups: options.key_lookups,
            dialect: None,
        })
        .await?;
        let idle = Mutex::new([vec![(link, Instant::now())], Vec::new()]);
        let (down, ghosts) = (AtomicBool::new(false), Mutex::new(Vec::new()));
        let moved = [(); 3].map(|()| Mutex::new(Instant::now()));
        Ok(Pool(Arc::new(Inner { settings, options, dialect, idle, lanes, moved, ghosts, down })))
    }

    /// What the server is.
    pub fn dialect(&self) -> &Dialect {
        &self.0.dialect
    }

    /// What it was made from.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Its limits.
    pub fn options(&self) -> &PoolOptions {
        &self.0.options
    }

    /// How many connections a lane has.
    pub fn lane_width(&self, lane: Lane) -> usize {
        let n = self.0.options.connections_max.max(CONNECTIONS_MIN);
        let bulk = (n * 3 / 10).max(1);
        if lane == Lane::Meta { n - 2 * bulk } else { bulk }
    }

    /// Starts an operation: its deadline is `op_timeout` from now.
    pub fn retry(&self, what: &'static str) -> Retry {
        Retry::new(self.clone(), what, self.0.options.op_timeout)
    }

    /// The same with another time limit; None: for ever.
    pub fn retry_within(&self, what: &'static str, limit: Option<Duration>) -> Retry {
        Retry::new(self.clone(), what, limit)
    }

    /// A connection without retries. Waits for its turn in the lane; where those in front get on, that time does
    /// not count.
    pub async fn conn(&self, lane: Lane, deadline: Option<Instant>) -> Result<Conn, Error> {
        let start = Instant::now();
        let permit = self.turn(lane, deadline).await?;
        let deadline = deadline.map(|d| d + start.elapsed());
        let deferred = lane == Lane::Upload && !self.0.dialect.is_cockroach();
        let link = match self.0.take_idle(deferred) {
            Some(link) => link,
            None => self.open(deferred, deadline).await?,
        };
        let ghosts = std::mem::take(&mut *self.0.ghosts.lock());
        if !ghosts.is_empty() {
            // A cancelled caller, and a connection that does not answer, leave the rest to the server's own timeouts.
            let end = ghosts.iter().map(|ghost| ghost::end(&link.client, ghost));
            futures_util::future::join_all(end).await;
        }
        Ok(Conn::new(link, self.0.clone(), lane, deadline, permit))
    }

    async fn turn(&self, lane: Lane, deadline: Option<Instant>) -> Result<OwnedSemaphorePermit, Error> {
        let semaphore = self.0.lanes[lane as usize].clone();
        let gone = |_| Error::new(ErrorClass::Other, "the pool is closed");
        let Some(mut deadline) = deadline else { return semaphore.acquire_owned().await.map_err(gone) };
        let patience = deadline.saturating_duration_since(Instant::now());
        let mut turn = std::pin::pin!(semaphore.acquire_owned());
        loop {
            if let Ok(permit) = tokio::time::timeout_at(deadline, turn.as_mut()).await {
                return permit.map_err(gone);
            }
            // Those in front are served slowly, or not at all.
            deadline = *self.0.moved[lane as usize].lock() + patience;
            if deadline <= Instant::now() {
                let message = "all connections were in use until the time was up";
                return Err(Error::new(ErrorClass::Timeout, message));
            }
        }
    }

    async fn open(&self, deferred: bool, deadline: Option<Instant>) -> Result<Link, Error> {
        let inner = &self.0;
        let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
        let limit = left.map_or(inner.options.connect_timeout, |l| l.min(inner.options.connect_timeout));
        let opened = open(&Opening {
            settings: &inner.settings,
            application_name: &inner.options.application_name,
            timeout: limit,
            deferred,
            key_lookups: inner.options.key_lookups,
            dialect: Some(&inner.dialect),
        })
        .await;
        match &opened {
            Ok(_) => {
                if inner.down.swap(false, Ordering::AcqRel) {
                    log::warn!("the server is back: {}", inner.settings.describe());
                }
            }
            Err(e) => {
                if e.sqlstate() == Some(TOO_MANY_CONNECTIONS) {
                    // Ours of the other kind may be what there are too many of.
                    inner.close_idle();
                }
                if e.is_transient() && !inner.down.swap(true, Ordering::AcqRel) {
                    log::warn!(
                        "the server is away, trying again for {}: {e}",
                        patience(inner.options.op_timeout)
                    );
                }
            }
        }
        opened.map(|(link, _)| link)
    }
}

fn patience(limit: Option<Duration>) -> String {
    limit.map_or("as long as it takes".to_owned(), seconds)
}
