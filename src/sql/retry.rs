//! An operation that is tried until it succeeds, fails for good, or its time is up.

use super::conn::seconds;
use super::{Conn, Error, ErrorClass, Lane, Pool};
use crate::util::plural::counted;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;
use tokio::time::Instant;

/// The first wait after a conflict, and after a lost or missing server; doubled each time.
const CONFLICT_WAIT: Duration = Duration::from_millis(4);
const OUTAGE_WAIT: Duration = Duration::from_millis(20);
/// No wait is longer.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// The state of one operation over its attempts.
///
/// ```no_run
/// # use userfilefs::sql::{Error, Pool, Retry};
/// # async fn attempt(_: &Retry) -> Result<(), Error> { Ok(()) }
/// # async fn publish(pool: Pool) -> Result<(), Error> {
/// let mut r = pool.retry("publish");
/// loop {
///     match attempt(&r).await {
///         Ok(v) => return Ok(v),
///         Err(e) => r.again(e).await?,
///     }
/// }
/// # }
/// ```
pub struct Retry {
    pool: Pool,
    what: &'static str,
    limit: Option<Duration>,
    deadline: Option<Instant>,
    attempts: u32,
    maybe_committed: bool,
}

impl Retry {
    pub(super) fn new(pool: Pool, what: &'static str, limit: Option<Duration>) -> Retry {
        let deadline = limit.map(|l| Instant::now() + l);
        Retry { pool, what, limit, deadline, attempts: 0, maybe_committed: false }
    }

    /// A connection for this attempt; its waits end at the operation's deadline.
    pub async fn conn(&self, lane: Lane) -> Result<Conn, Error> {
        self.pool.conn(lane, self.deadline).await
    }

    /// What the server is.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// After a failed attempt: sleeps and returns Ok if another makes sense, else returns the error. The
    /// connection must have been dropped.
    pub async fn again(&mut self, e: Error) -> Result<(), Error> {
        self.maybe_committed |= e.ambiguous();
        let e = e.with_ambiguous(self.maybe_committed);
        if !e.is_transient() {
            return Err(e);
        }
        let wait = self.wait(e.class());
        self.attempts = self.attempts.saturating_add(1);
        if let Some(deadline) = self.deadline
            && Instant::now() + wait >= deadline
        {
            let spent = self.limit.map(seconds).unwrap_or_default();
            let tries = counted(self.attempts, "attempt");
            return Err(e.context(format!("{} failed after {tries} in {spent}", self.what)));
        }
        log::debug!("{}: attempt {} failed, again in {} ms: {e}", self.what, self.attempts, wait.as_millis());
        tokio::time::sleep(wait).await;
        Ok(())
    }

    fn wait(&self, class: ErrorClass) -> Duration {
        let base = match class {
            ErrorClass::Retry => CONFLICT_WAIT,
            _ => OUTAGE_WAIT,
        };
        let full = base.saturating_mul(1 << self.attempts.min(12)).min(WAIT_MAX);
        // Between half and all of it, so that many clients do not come back in step.
        full / 2 + full.mul_f64(random_fraction() / 2.0)
    }

    /// True if an earlier attempt may have done its work although it failed: look before doing it again.
    pub fn maybe_committed(&self) -> bool {
        self.maybe_committed
    }

    /// How many attempts have failed.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }
}

/// A number in [0, 1), different in each call.
fn random_fraction() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_differ() {
        let all: Vec<f64> = (0..50).map(|_| random_fraction()).collect();
        assert!(all.iter().all(|f| (0.0..1.0).contains(f)));
        assert!(all.iter().any(|f| *f < 0.4) && all.iter().any(|f| *f > 0.6), "{all:?}");
    }
}
