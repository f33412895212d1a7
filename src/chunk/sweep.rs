//! Removing in the background, heartbeats, and what dead writers left behind.

use super::displace::{NIL, trash_prefix};
use super::error::Error;
use super::names::HIDDEN_DIR;
use super::rows::{Batch, file_id, params};
use super::table::{FileTable, retrying};
use super::types::{FileId, Swept};
use crate::sql::{Lane, Row};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use uuid::Uuid;

/// Chunk rows removed by one statement: about 50 ms of a server's time, and 32 MiB of its log.
const SLICE: u32 = 8;
/// Files on their way out that are looked up at once.
const TRASH_PAGE: u32 = 32;
/// Attribute rows checked by one statement of a sweep, and in a whole sweep.
const ATTRS_SLICE: i64 = 2_000;
const ATTRS_MAX: i64 = 1_000_000;

/// The background removal of one table handle.
#[derive(Default)]
pub(super) struct Trash {
    running: AtomicBool,
    /// Counts requests, so that one that comes while the worker ends is not missed.
    wanted: AtomicU64,
    idle: Notify,
    /// Held while chunks are removed on a disk that is low: see [`FileTable::removal_turn`].
    pub(super) turn: tokio::sync::Mutex<()>,
    /// Hidden rows of this mount that nobody wants and that may still be there: the server did not answer.
    left: Mutex<BTreeSet<FileId>>,
}

/// Has the next sweep remove a hidden row, unless [`Unsure::settled`].
pub(super) struct Unsure {
    table: FileTable,
    id: FileId,
    settled: bool,
}

impl Unsure {
    pub(super) fn new(table: &FileTable, id: FileId) -> Unsure {
        Unsure { table: table.clone(), id, settled: false }
    }

    /// It is known what became of the row.
    pub(super) fn settled(mut self) {
        self.settled = true;
    }
}

impl Drop for Unsure {
    fn drop(&mut self) {
        if !self.settled {
            self.table.inner.trash.left.lock().insert(self.id);
        }
    }
}

impl FileTable {
    /// Sees to it that files on their way out are removed, in the background.
    pub(super) fn kick_trash(&self) {
        let trash = &self.inner.trash;
        trash.wanted.fetch_add(1, Ordering::AcqRel);
        if trash.running.swap(true, Ordering::AcqRel) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            trash.running.store(false, Ordering::Release);
            return;
        };
        let table = self.clone();
        runtime.spawn(async move {
            let trash = &table.inner.trash;
            loop {
                let wanted = trash.wanted.load(Ordering::Acquire);
                if let Err(e) = table.empty_trash().await {
                    log::debug!("removed files are left to the next sweep: {e}");
                }
                if trash.wanted.load(Ordering::Acquire) != wanted {
                    continue;
                }
                trash.running.store(false, Ordering::Release);
                if trash.wanted.load(Ordering::Acquire) == wanted
                    || trash.running.swap(true, Ordering::AcqRel)
                {
                    break;
                }
            }
            trash.idle.notify_waiters();
        });
    }

    /// Waits until the background removal that was started here has ended. Without it nothing is lost: the rest is
    /// removed by the next sweep of any mount.
    pub async fn idle(&self) {
        loop {
            let notified = self.inner.trash.idle.notified();
            if !self.inner.trash.running.load(Ordering::Acquire) {
                return;
            }
            let _ = tokio::time::timeout(Duration::from_millis(200), notified).await;
        }
    }

    /// Removes all files on their way out; how many.
    async fn empty_trash(&self) -> Result<u64, Error> {
        let (t, name) = (&self.inner.tables, self.inner.by_bytes);
        let low = trash_prefix();
        let high = format!("{}0", low.trim_end_matches('/'));
        let text = format!(
            "SELECT file_id FROM {} WHERE {name} >= $1 AND {name} < $2 AND filename = $1::text || file_id::text \
             ORDER BY {name} LIMIT {TRASH_PAGE}",
            t.files
        );
        let mut removed = 0;
        loop {
            let rows: Vec<Row> = retrying!(self, "look for removed files", |retry| {
                let conn = retry.conn(Lane::Upload).await?;
                Ok(conn.query(&text, &[&low, &high]).await?)
            })?;
            if rows.is_empty() {
                return Ok(removed);
            }
            for row in &rows {
                self.remove_rows(file_id(row, 0)?).await?;
                removed += 1;
            }
        }
    }

    /// Removes chunks in slices, then attributes and the row, of a file in the trash.
    async fn remove_rows(&self, id: FileId) -> Result<(), Error> {
        let t = &self.inner.tables;
        let slice = format!(
            "DELETE FROM {0} WHERE file_id = $1 AND byte_offset IN \
             (SELECT byte_offset FROM {0} WHERE file_id = $1 ORDER BY byte_offset LIMIT {SLICE})",
            t.payload
        );
        loop {
            let _turn = self.removal_turn().await;
            let count: u64 = retrying!(self, "remove chunks", |retry| {
                let conn = retry.conn(Lane::Upload).await?;
                Ok(conn.execute(&slice, &[&id.0]).await?)
            })?;
            if count == 0 {
                break;
            }
        }
        let trash = format!("{}{id}", trash_prefix());
        retrying!(self, "remove a file", |retry| {
            let mut batch = Batch::default();
            if self.attrs_present() {
                let text = format!("DELETE FROM {} WHERE dir = '' AND name = '' AND file_id = $1", t.attrs);
                batch.add(text, params![id.0]);
            }
            let text = format!("DELETE FROM {} WHERE file_id = $1 AND filename = $2", t.files);
            batch.add(text, params![id.0, trash.clone()]);
            self.durable(retry, &batch).await?;
            Ok(())
        })?;
        self.freed();
        Ok(())
    }

    /// Removes the file with this id whatever its name is, also one that is not UTF-8. False: there was none. It is out
    /// of sight at once; chunks go in slices, and what an error or a cancelled call leaves is removed by the next
    /// sweep.
    pub async fn remove_by_id(&self, id: FileId) -> Result<bool, Error> {
        self.check_writable()?;
        let claim = format!("UPDATE {} SET filename = $2 WHERE file_id = $1", self.inner.tables.files);
        let trash = format!("{}{id}", trash_prefix());
        let claimed: u64 = retrying!(self, "remove a file by its id", |retry| {
            let conn = retry.conn(Lane::Upload).await?;
            Ok(conn.execute(&claim, &[&id.0, &trash]).await?)
        })?;
        if claimed > 0 {
            self.remove_rows(id).await?;
        }
        Ok(claimed > 0)
    }

    /// Removes a file of this mount that was hidden because it was still open ([`super::Old::Keep`]), or one that was
    /// being written. Nothing happens if it does not stand at its hidden name. Chunks go in slices, so this takes as
    /// long as the file is large; what an error or a cancelled call leaves is removed by the next sweep.
    pub async fn remove_hidden(&self, id: FileId) -> Result<(), Error> {
        self.check_writable()?;
        let unsure = Unsure::new(self, id);
        // First out of reach of anything that may still name it.
        let claim = format!(
            "UPDATE {} SET filename = $3 WHERE file_id = $1 AND filename IN ($2, $3)",
            self.inner.tables.files
        );
        let (hidden, trash) = (self.hidden_name(id), format!("{}{id}", trash_prefix()));
        let claimed: u64 = retrying!(self, "remove a hidden file", |retry| {
            let conn = retry.conn(Lane::Upload).await?;
            Ok(conn.execute(&claim, &[&id.0, &hidden, &trash]).await?)
        })?;
        unsure.settled();
        if claimed > 0 {
            return self.remove_rows(id).await;
        }
        // What was to be hidden had lost its name to another file, which was thrown away instead.
        self.kick_trash();
        Ok(())
    }

    /// Removes the hidden rows that an earlier call could not.
    async fn remove_left(&self) -> Result<(), Error> {
        loop {
            let next = self.inner.trash.left.lock().pop_first();
            let Some(id) = next else { return Ok(()) };
            self.remove_hidden(id).await?;
        }
    }

    /// At the end of a mount: removes all its hidden rows and the files on their way out. What an error or a cancelled
    /// call leaves is removed by a later sweep.
    pub async fn leave(&self) -> Result<(), Error> {
        self.check_writable()?;
        let name = self.inner.by_bytes;
        let claim = format!(
            "UPDATE {} SET filename = $3::text || file_id::text \
             WHERE {name} >= $1 AND {name} < $2 AND filename = $1::text || file_id::text",
            self.inner.tables.files
        );
        let (low, trash) = (self.hidden_prefix(), trash_prefix());
        let high = format!("{}0", low.trim_end_matches('/'));
        retrying!(self, "remove hidden files", |retry| {
            let conn = retry.conn(Lane::Meta).await?;
            Ok(conn.execute(&claim, &[&low, &high, &trash]).await?)
        })?;
        self.empty_trash().await?;
        self.idle().await;
        Ok(())
    }

    /// Refreshes the time of this mount's hidden rows by the server's clock: to be called several times within the
    /// lease that other mounts sweep by.
    pub async fn heartbeat(&self) -> Result<(), Error> {
        self.check_writable()?;
        let name = self.inner.by_bytes;
        let text = format!(
            "UPDATE {} SET upload_time = now()::timestamp WHERE {name} >= $1 AND {name} < $2",
            self.inner.tables.files
        );
        let low = self.hidden_prefix();
        let high = format!("{}0", low.trim_end_matches('/'));
        retrying!(self, "refresh the lease", |retry| {
            let conn = retry.conn(Lane::Meta).await?;
            conn.execute(&text, &[&low, &high]).await?;
            Ok(())
        })
    }

    /// Removes the hidden rows of writers whose last heartbeat is older than `lease` by the server's clock, this mount's
    /// own that an outage has left, all files on their way out, and attributes of files that no longer exist. Small steps;
    /// safe beside any other client. A PostgreSQL that started within the lease may have been away: nobody counts as dead
    /// until all have had the time to come back.
    pub async fn sweep(&self, lease: Duration) -> Result<Swept, Error> {
        self.check_writable()?;
        let name = self.inner.by_bytes;
        let long_up = match self.inner.cockroach {
            true => "",
            false => " AND pg_catalog.pg_postmaster_start_time() < now() - $5::int8 * INTERVAL '1 second'",
        };
        // Exactly the names that a mount gives: 13 characters, 32 hexadecimal ones, a slash, the identity.
        let claim = format!(
            "UPDATE {} SET filename = $4::text || file_id::text \
             WHERE {name} >= $1 AND {name} < $2 AND length(filename) = 82 AND substr(filename, 47) = file_id::text \
             AND substr(filename, 1, 46) <> $3::text \
             AND (upload_time IS NULL OR upload_time < now()::timestamp - $5::int8 * INTERVAL '1 second'){long_up}",
            self.inner.tables.files
        );
        let (low, high) = (format!("{HIDDEN_DIR}/"), format!("{HIDDEN_DIR}0"));
        let (mine, trash) = (self.hidden_prefix(), trash_prefix());
        let seconds = i64::try_from(lease.as_secs()).unwrap_or(i64::MAX).min(3_000_000_000);
        let dead: u64 = retrying!(self, "look for leftovers", |retry| {
            let conn = retry.conn(Lane::Meta).await?;
            Ok(conn.execute(&claim, &[&low, &high, &mine, &trash, &seconds]).await?)
        })?;
        if dead > 0 {
            log::info!("removing {dead} unfinished files of writers that are gone");
        }
        self.remove_left().await?;
        let files = self.empty_trash().await?;
        let attrs = if self.attrs_present() { self.sweep_attrs().await? } else { 0 };
        Ok(Swept { files, attrs })
    }

    /// Removes attributes of files that are gone, walking over the companion table in slices.
    async fn sweep_attrs(&self) -> Result<u64, Error> {
        let t = &self.inner.tables;
        let next = format!(
            "SELECT file_id FROM {} WHERE dir = '' AND name = '' AND file_id > $1 ORDER BY file_id LIMIT {ATTRS_SLICE}",
            t.attrs
        );
        let remove = format!(
            "DELETE FROM {0} WHERE dir = '' AND name = '' AND file_id > $1 AND file_id <= $2 \
             AND NOT EXISTS (SELECT 1 FROM {1} f WHERE f.file_id = {0}.file_id)",
            t.attrs, t.files
        );
        let (mut from, mut removed, mut looked) = (NIL, 0, 0);
        while looked < ATTRS_MAX {
            let (last, count): (Option<Uuid>, u64) = retrying!(self, "sweep attributes", |retry| {
                let conn = retry.conn(Lane::Upload).await?;
                let rows = conn.query(&next, &[&from]).await?;
                let Some(last) = rows.last() else { return Ok((None, 0)) };
                let last = file_id(last, 0)?.0;
                Ok((Some(last), conn.execute(&remove, &[&from, &last]).await?))
            })?;
            let Some(last) = last else { break };
            (from, removed, looked) = (last, removed + count, looked + ATTRS_SLICE);
        }
        Ok(removed)
    }
}
