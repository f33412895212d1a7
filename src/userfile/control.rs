//! Cancellation, progress counters and the memory budget that all work of a command shares.

use super::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

/// Bytes of chunks that a command holds in memory at most, in both directions.
pub const BUDGET_BYTES: u64 = 32 << 20;
/// The unit in which the budget is counted.
const UNIT_BYTES: u64 = 64 << 10;

/// Asks for an orderly stop; see [`Cancel`].
#[derive(Debug)]
pub struct CancelHandle(watch::Sender<bool>);

/// Tells work whether it is to stop.
#[derive(Clone, Debug)]
pub struct Cancel(watch::Receiver<bool>);

impl CancelHandle {
    /// A handle and what it controls.
    pub fn new() -> (CancelHandle, Cancel) {
        let (tx, rx) = watch::channel(false);
        (CancelHandle(tx), Cancel(rx))
    }

    /// Asks all work to stop.
    pub fn cancel(&self) {
        self.0.send_replace(true);
    }
}

impl Cancel {
    /// Whether a stop was asked for.
    pub fn is_cancelled(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when a stop is asked for; never if the handle is gone without that.
    pub async fn cancelled(&self) {
        let mut rx = self.0.clone();
        if rx.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Sees to it that a producer that panics is not taken for one that has finished: its last word is an error.
pub(super) fn supervised<T: Send + 'static>(
    producer: tokio::task::JoinHandle<()>,
    tx: mpsc::Sender<Result<T, Error>>,
) {
    tokio::spawn(async move {
        if producer.await.is_err() {
            let _ = tx.send(Err(Error::Defect)).await;
        }
    });
}

/// Counters for progress displays.
#[derive(Debug, Default)]
pub struct Meter {
    bytes_done: AtomicU64,
    bytes_total: AtomicU64,
    files_done: AtomicU64,
    files_total: AtomicU64,
}

impl Meter {
    /// Bytes stored or fetched so far.
    pub fn bytes_done(&self) -> u64 {
        self.bytes_done.load(Ordering::Relaxed)
    }
    /// Bytes found so far that are to be copied.
    pub fn bytes_total(&self) -> u64 {
        self.bytes_total.load(Ordering::Relaxed)
    }
    /// Files done so far.
    pub fn files_done(&self) -> u64 {
        self.files_done.load(Ordering::Relaxed)
    }
    /// Files found so far.
    pub fn files_total(&self) -> u64 {
        self.files_total.load(Ordering::Relaxed)
    }
    /// Some bytes are done.
    pub fn add_bytes(&self, n: u64) {
        self.bytes_done.fetch_add(n, Ordering::Relaxed);
    }
    /// A file is done.
    pub fn add_file(&self) {
        self.files_done.fetch_add(1, Ordering::Relaxed);
    }
    /// A file was found.
    pub fn found(&self, bytes: u64) {
        self.bytes_total.fetch_add(bytes, Ordering::Relaxed);
        self.files_total.fetch_add(1, Ordering::Relaxed);
    }
}

/// Memory for chunks; requests are served in the order in which they are made.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Semaphore>);

/// A part of the budget; given back when dropped.
#[derive(Debug)]
pub struct Room {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Default for Budget {
    fn default() -> Self {
        Budget(Arc::new(Semaphore::new((BUDGET_BYTES / UNIT_BYTES) as usize)))
    }
}

impl Budget {
    /// Bytes in use.
    pub fn used(&self) -> u64 {
        BUDGET_BYTES.saturating_sub(self.0.available_permits() as u64 * UNIT_BYTES)
    }

    /// Waits for room for so many bytes (no more than a quarter of the whole is ever asked for).
    pub async fn take(&self, bytes: u64) -> Room {
        let units = bytes.div_ceil(UNIT_BYTES).clamp(1, BUDGET_BYTES / UNIT_BYTES / 4) as u32;
        // The semaphore is never closed, so there always is a permit.
        Room { _permit: Arc::clone(&self.0).acquire_many_owned(units).await.ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_producer_that_panics_has_not_finished() {
        let (tx, mut rx) = mpsc::channel::<Result<u8, Error>>(4);
        let own = tx.clone();
        let producer = tokio::spawn(async move {
            let _ = own.send(Ok(1)).await;
            panic!("on purpose");
        });
        supervised(producer, tx);
        assert!(matches!(rx.recv().await, Some(Ok(1))));
        assert!(matches!(rx.recv().await, Some(Err(Error::Defect))));
        assert!(rx.recv().await.is_none());
    }
}
