//! Room for more, where the disk of the server is known. A PostgreSQL whose log cannot grow stops; so contents are
//! refused before that, and removing, which needs the log too, goes on.

use super::error::Error;
use super::table::FileTable;
use super::types::Replace;
use std::time::Duration;
use tokio::sync::MutexGuard;

/// How long the room of removed files is waited for, where there is no other: the server looks through its tables.
const RECLAIM_WAIT: Duration = Duration::from_secs(300);
/// The same for their removal itself.
const REMOVAL_WAIT: Duration = Duration::from_secs(10);
/// After this time the user is told.
const PATIENCE: Duration = Duration::from_secs(2);

impl FileTable {
    /// Bytes that can still be stored, if that is known. Answers at once.
    pub fn disk_left(&self) -> Option<u64> {
        self.inner.options.disk.as_ref().map(|disk| disk.look())
    }

    /// Whether `bytes` can be stored when `pending` others are on their way. True where the disk is not known. No I/O
    /// on the server.
    pub fn has_disk(&self, bytes: u64, pending: u64) -> bool {
        self.inner.options.disk.as_ref().is_none_or(|disk| disk.left(pending) >= bytes)
    }

    /// The same; waits for the room of files that were removed, five minutes at most. [`Error::NoRoom`]: there is
    /// not enough. Nothing is set aside. Dropping the future does no harm.
    pub async fn need_disk(&self, bytes: u64, pending: u64) -> Result<(), Error> {
        let Some(disk) = &self.inner.options.disk else { return Ok(()) };
        if disk.left(pending) >= bytes {
            return Ok(());
        }
        let _ = tokio::time::timeout(REMOVAL_WAIT, self.idle()).await;
        let mut reclaimed = disk.reclaim();
        if tokio::time::timeout(PATIENCE, &mut reclaimed).await.is_err() {
            log::warn!("the disk of the server is full; the room of removed files is looked for");
            let _ = tokio::time::timeout(RECLAIM_WAIT, reclaimed).await;
        }
        if disk.left(pending) >= bytes { Ok(()) } else { Err(Error::NoRoom) }
    }

    /// Before contents are sent. [`Error::NoRoom`]: the server would stop for want of room.
    pub(super) async fn check_disk(&self) -> Result<(), Error> {
        let Some(disk) = &self.inner.options.disk else { return Ok(()) };
        disk.pace().await;
        if disk.is_exhausted() { Err(Error::NoRoom) } else { Ok(()) }
    }

    /// Before chunks are removed: what they hold goes into the server's log, at the speed of memory. Where the disk is
    /// low they go one statement at a time.
    pub(super) async fn removal_turn(&self) -> Option<MutexGuard<'_, ()>> {
        let disk = self.inner.options.disk.as_ref().filter(|disk| disk.is_low())?;
        let turn = self.inner.trash.turn.lock().await;
        disk.pace().await;
        Some(turn)
    }

    /// So many bytes were stored.
    pub(super) fn stored(&self, bytes: usize) {
        if let Some(disk) = &self.inner.options.disk {
            disk.stored(bytes as u64);
        }
    }

    /// Rows were removed.
    pub(super) fn freed(&self) {
        if let Some(disk) = &self.inner.options.disk {
            disk.freed();
        }
    }

    /// What stood at a name has given way: long contents are removed in the background from now on.
    pub(super) fn gave_way(&self, replace: Replace) {
        if self.in_background(replace) {
            self.kick_trash();
        } else if matches!(replace, Replace::Displace(_)) {
            self.freed();
        }
    }
}
