//! Large files: chunks stream under a hidden row, which one durable transaction then gives its name.

use super::error::Error;
use super::layout::{ChunkSpan, Damage, check, chunk_count, chunk_len_at};
use super::names::check_new_name;
use super::redo::Step;
use super::rows::{Batch, Payload, int, params, raw_text, to_i64};
use super::sweep::Unsure;
use super::table::{FileTable, asserted, assertion_failed, colliding, retrying};
use super::types::{FileId, Publish, Replace};
use crate::sql::{self, ErrorClass, Lane};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::time::Instant;

/// Most chunks of one copying statement: CockroachDB refuses commands of 64 MiB.
const COPY_CHUNKS: usize = 8;
/// Chunk rows removed by one statement.
const TRIM_CHUNKS: u32 = 32;
/// On CockroachDB counting rows reads the payloads too, so longer files rely on the acknowledgement of each chunk
/// (which there is durable).
const COCKROACH_COUNT_MAX: u64 = 4;

/// Full chunks that a file takes over from the one that it replaces, when it is published.
#[derive(Clone, Copy, Debug)]
pub struct Take<'a> {
    /// Whose.
    pub base: FileId,
    /// Where they begin, there and here.
    pub offsets: &'a [u64],
}

/// A file being written. Its chunks are not visible to anybody until [`Staging::publish`]. All methods take `&self`
/// and may run at the same time, except that a position must not be put twice at once.
///
/// Dropped without [`Staging::publish`] or [`Staging::discard`], its rows are removed in the background.
pub struct Staging {
    table: FileTable,
    id: FileId,
    /// Chunks that the server acknowledged: lengths by offset.
    stored: Mutex<BTreeMap<u64, usize>>,
    ended: AtomicBool,
}

impl FileTable {
    /// Begins a file: inserts its hidden row. One statement.
    pub async fn stage(&self) -> Result<Staging, Error> {
        self.check_writable()?;
        let id = self.new_id();
        self.begin(id).await?;
        Ok(Staging {
            table: self.clone(),
            id,
            stored: Mutex::new(BTreeMap::new()),
            ended: AtomicBool::new(false),
        })
    }

    async fn begin(&self, id: FileId) -> Result<(), Error> {
        let _doing = self.inner.redo.doing().await;
        let unsure = Unsure::new(self, id);
        let sent = self.insert_hidden(id).await?;
        unsure.settled();
        self.keep_step(id, sent, Step::Begin);
        Ok(())
    }

    // The statements of a file being written. Each gives a time before it was sent, and may be done twice.

    pub(super) async fn insert_hidden(&self, id: FileId) -> Result<Instant, Error> {
        let hidden = self.hidden_name(id);
        let text = format!(
            "INSERT INTO {} (filename, file_id, file_size, username, upload_time) \
             VALUES ($1, $2, 0, $3, now()::timestamp) ON CONFLICT DO NOTHING",
            self.inner.tables.files
        );
        retrying!(self, "begin a file", |retry| {
            let conn = retry.conn(Lane::Upload).await?;
            let sent = Instant::now();
            conn.execute(&text, &[&hidden, &id.0, &self.inner.user]).await?;
            Ok(sent)
        })
    }

    pub(super) async fn put_row(&self, id: FileId, offset: u64, data: Bytes) -> Result<Instant, Error> {
        let at = to_i64(offset)?;
        let payload = Payload(data);
        let hidden = self.hidden_name(id);
        // Only under the hidden name: what a broken connection still delivers late must not touch a file that
        // has been published meanwhile.
        let lock = if self.inner.portable { "" } else { " FOR KEY SHARE" };
        let t = &self.inner.tables;
        let text = format!(
            "INSERT INTO {} (file_id, byte_offset, payload) \
             SELECT file_id, $2::int8, $3::bytea FROM {} WHERE file_id = $1 AND filename = $4{lock} \
             ON CONFLICT (file_id, byte_offset) DO UPDATE SET payload = excluded.payload",
            t.payload, t.files
        );
        let (sent, count): (Instant, u64) = retrying!(self, "store a chunk", |retry| {
            let conn = retry.conn(Lane::Upload).await?;
            let sent = Instant::now();
            let done = conn.execute(&text, &[&id.0, &at, &payload, &hidden]).await;
            Ok((sent, gone(id, done)?))
        })?;
        if count == 0 { Err(lost(id)) } else { Ok(sent) }
    }

    /// [`Error::Changed`]: a chunk is missing in `base` or not exactly one chunk long.
    pub(super) async fn copy_rows(
        &self,
        id: FileId,
        base: FileId,
        offsets: &[i64],
    ) -> Result<Instant, Error> {
        let t = &self.inner.tables;
        let hidden = self.hidden_name(id);
        let len = to_i64(self.chunk_len() as u64)?;
        let lock = if self.inner.portable { "" } else { " FOR KEY SHARE OF f" };
        let text = format!(
            "INSERT INTO {0} (file_id, byte_offset, payload) \
             SELECT f.file_id, b.byte_offset, b.payload FROM {0} b, {1} f \
             WHERE b.file_id = $2 AND b.byte_offset = ANY($3::int8[]) AND length(b.payload) = $4::int8 \
             AND f.file_id = $1 AND f.filename = $5{lock} \
             ON CONFLICT (file_id, byte_offset) DO UPDATE SET payload = excluded.payload",
            t.payload, t.files
        );
        let (sent, count): (Instant, u64) = retrying!(self, "copy chunks", |retry| {
            let conn = retry.conn(Lane::Upload).await?;
            let sent = Instant::now();
            let done = conn.execute(&text, &[&id.0, &base.0, &offsets, &len, &hidden]).await;
            Ok((sent, gone(id, done)?))
        })?;
        if count == offsets.len() as u64 { Ok(sent) } else { Err(Error::Changed(format!("file {base}"))) }
    }

    pub(super) async fn trim_rows(&self, id: FileId, len: u64) -> Result<Instant, Error> {
        let at = to_i64(len)?;
        let hidden = self.hidden_name(id);
        let lock = if self.inner.portable { "" } else { " FOR KEY SHARE" };
        let t = &self.inner.tables;
        // Only under the hidden name, as with chunks: a file that has been published may have grown since.
        let text = format!(
            "WITH f AS (SELECT file_id FROM {1} WHERE file_id = $1 AND filename = $3{lock}) \
             DELETE FROM {0} WHERE file_id = $1 AND file_id IN (SELECT file_id FROM f) AND byte_offset IN \
             (SELECT byte_offset FROM {0} WHERE file_id = $1 AND byte_offset >= $2 \
             ORDER BY byte_offset LIMIT {TRIM_CHUNKS})",
            t.payload, t.files
        );
        let start = Instant::now();
        loop {
            let count: u64 = retrying!(self, "remove chunks", |retry| {
                let conn = retry.conn(Lane::Upload).await?;
                Ok(conn.execute(&text, &[&id.0, &at, &hidden]).await?)
            })?;
            if count == 0 {
                return Ok(start);
            }
        }
    }
}

fn lost(id: FileId) -> Error {
    Error::Changed(format!("the hidden row of file {id}"))
}

/// A broken foreign key means that the hidden row is gone.
fn gone(id: FileId, done: Result<u64, sql::Error>) -> Result<u64, Error> {
    match done {
        Err(e) if e.class() == ErrorClass::ForeignKey => Err(lost(id)),
        other => Ok(other?),
    }
}

impl Staging {
    /// The identity that the file will have.
    pub fn id(&self) -> FileId {
        self.id
    }

    /// Stores a chunk, replacing what was put at this offset before. `offset` is a multiple of the chunk length; all
    /// but the last chunk must have that length. On PostgreSQL the commit does not wait for the disk: the one of
    /// [`Staging::publish`] does, for all before it. Until then `data`, or the last of it, is kept in memory, so that
    /// a crash of the server loses nothing.
    ///
    /// [`Error::Changed`]: the hidden row is gone (swept by another mount).
    pub async fn put(&self, offset: u64, data: Bytes) -> Result<(), Error> {
        let table = &self.table;
        if data.is_empty() || data.len() > super::CHUNK_LEN {
            return Err(Error::Shape(format!("a chunk of {} bytes at offset {offset}", data.len())));
        }
        table.check_disk().await?;
        match self.put_once(offset, &data).await {
            Err(Error::Changed(_)) if table.brought_back(self.id).await? => {
                self.put_once(offset, &data).await?
            }
            done => done?,
        }
        self.stored.lock().insert(offset, data.len());
        table.stored(data.len());
        drop(data);
        table.bound_kept().await
    }

    async fn put_once(&self, offset: u64, data: &Bytes) -> Result<(), Error> {
        let _doing = self.table.inner.redo.doing().await;
        let sent = self.table.put_row(self.id, offset, data.clone()).await?;
        self.table.keep_step(self.id, sent, Step::Put { offset, data: data.clone() });
        Ok(())
    }

    /// Copies full chunks of another file to the same offsets, on the server. [`Error::Changed`]: a chunk is missing
    /// there or not exactly one chunk long.
    pub async fn copy_from(&self, base: FileId, offsets: &[u64]) -> Result<(), Error> {
        let table = &self.table;
        for group in offsets.chunks(COPY_CHUNKS) {
            table.check_disk().await?;
            let at: Vec<i64> = group.iter().map(|&o| to_i64(o)).collect::<Result<_, _>>()?;
            match self.copy_once(base, &at).await {
                Err(Error::Changed(_)) if table.brought_back(self.id).await? => {
                    self.copy_once(base, &at).await?
                }
                done => done?,
            }
            self.stored.lock().extend(group.iter().map(|&o| (o, table.chunk_len())));
            table.stored(group.len() * table.chunk_len());
        }
        table.bound_kept().await
    }

    async fn copy_once(&self, base: FileId, offsets: &[i64]) -> Result<(), Error> {
        let _doing = self.table.inner.redo.doing().await;
        let sent = self.table.copy_rows(self.id, base, offsets).await?;
        self.table.keep_step(self.id, sent, Step::Copy { base, offsets: offsets.to_vec() });
        Ok(())
    }

    /// Removes the chunks at or behind `len`. A chunk that reaches across is left: put it anew.
    pub async fn trim(&self, len: u64) -> Result<(), Error> {
        let _doing = self.table.inner.redo.doing().await;
        let sent = self.table.trim_rows(self.id, len).await?;
        self.table.keep_step(self.id, sent, Step::Trim { len });
        let _ = self.stored.lock().split_off(&len);
        Ok(())
    }

    /// Checks against what was acknowledged: every chunk of a file of this size, and no other.
    fn check_complete(&self, p: &Publish, take: Option<Take<'_>>) -> Result<u64, Error> {
        let len = self.table.chunk_len();
        let mut stored = self.stored.lock().clone();
        stored.extend(take.iter().flat_map(|t| t.offsets).map(|&o| (o, len)));
        for (&offset, &have) in stored.iter() {
            let want = chunk_len_at(offset, p.size, len);
            if have != want || !offset.is_multiple_of(len as u64) {
                return Err(Error::Shape(format!(
                    "{}: {have} bytes stored at offset {offset}, not {want}",
                    p.name
                )));
            }
        }
        let count = chunk_count(p.size, len);
        if stored.len() as u64 != count {
            return Err(Error::Shape(format!("{}: {} chunks stored of {count}", p.name, stored.len())));
        }
        Ok(count)
    }

    /// Makes the file visible: one durable transaction that checks the number (on PostgreSQL also the lengths) of the
    /// stored chunks, moves the name's present holder out of the way and names this file. One round trip.
    ///
    /// [`Error::Exists`]: the name is taken and may not be. [`Error::Changed`]: the hidden row is gone.
    /// [`Error::Corrupt`]: chunks are missing (removed by somebody else). After an error the staged
    /// chunks are still there, and publishing may be tried again. Cancelled: published or not.
    pub async fn publish(&self, p: &Publish) -> Result<(), Error> {
        self.publish_taking(p, None).await
    }

    /// As [`Staging::publish`], with chunks of the file that has the name now: they are given to this one in the same
    /// transaction. Nothing is copied where [`FileTable::can_take`]; elsewhere use [`Staging::copy_from`].
    ///
    /// [`Error::Changed`]: also where those chunks are not all there, or the file does not have the name.
    pub async fn publish_taking(&self, p: &Publish, take: Option<Take<'_>>) -> Result<(), Error> {
        let table = &self.table;
        table.check_writable()?;
        check_new_name(&p.name)?;
        let count = self.check_complete(p, take)?;
        table.attrs_for(Some(&p.attrs)).await?;
        let mut attempts = 0;
        let result: Result<(), Error> = colliding!(table, "publish a file", |retry| {
            if attempts > 0 && self.published(retry, p).await? {
                return Ok(());
            }
            attempts += 1;
            match self.publish_once(retry, p, count, take).await {
                Err(Error::Sql(e)) if e.class() == ErrorClass::Exists && p.replace == Replace::Refuse => {
                    if self.published(retry, p).await? {
                        Ok(())
                    } else {
                        Err(Error::Exists(p.name.clone()))
                    }
                }
                Err(Error::Sql(e)) if assertion_failed(&e) => match (self.why_not(retry, p).await, take) {
                    (Err(Error::Corrupt { .. }), Some(take)) => {
                        Err(Error::Changed(format!("file {}", take.base)))
                    }
                    (other, _) => other,
                },
                other => other,
            }
        });
        result?;
        self.ended.store(true, Ordering::Release);
        table.inner.redo.forget(self.id);
        table.gave_way(p.replace);
        Ok(())
    }

    async fn publish_once(
        &self,
        retry: &sql::Retry,
        p: &Publish,
        count: u64,
        take: Option<Take<'_>>,
    ) -> Result<(), Error> {
        let table = &self.table;
        let t = &table.inner.tables;
        let attrs = table.attrs_present();
        let mut batch = Batch::default();
        if let Some(take) = take {
            self.take(&mut batch, p, take)?;
        }
        if let Replace::Displace(old) = p.replace {
            table.displace(&mut batch, &p.name, old, attrs, true);
        }
        let mut change = format!(
            "UPDATE {} SET filename = $1, file_size = $2::int8, upload_time = $3 WHERE file_id = $4 AND filename = $5",
            t.files
        );
        let hidden = table.hidden_name(self.id);
        let mut params = params![p.name.clone(), to_i64(p.size)?, p.mtime, self.id.0, hidden];
        if !table.inner.cockroach || count <= COCKROACH_COUNT_MAX {
            change += &format!(" AND (SELECT count(*) FROM {} WHERE file_id = $4) = $6", t.payload);
            params.push(Box::new(to_i64(count)?));
        }
        if !table.inner.cockroach {
            change += &format!(
                " AND (SELECT coalesce(sum(length(payload)), 0)::int8 FROM {} WHERE file_id = $4) = $2::int8",
                t.payload
            );
        }
        batch.add(asserted(&change), params);
        if attrs && !p.attrs.is_default() {
            table.put_attrs(&mut batch, self.id, &p.attrs);
        }
        let conn = retry.conn(Lane::Meta).await?;
        let _alone = table.settle_kept(self.id, &conn).await?;
        table.durable_on(&conn, &batch).await?;
        table.inner.redo.forget(self.id);
        Ok(())
    }

    /// Adds what gives chunks of the name's present holder to this file. Only of the holder: the base may have another
    /// name by now, and must stay whole there. Whether all were given is seen when they are counted.
    fn take(&self, batch: &mut Batch, p: &Publish, take: Take<'_>) -> Result<(), Error> {
        let t = &self.table.inner.tables;
        let at: Vec<i64> = take.offsets.iter().map(|&o| to_i64(o)).collect::<Result<_, _>>()?;
        // What an upload left that failed when it had been stored.
        batch.add(
            format!("DELETE FROM {} WHERE file_id = $1 AND byte_offset = ANY($2::int8[])", t.payload),
            params![self.id.0, at.clone()],
        );
        batch.add(
            format!(
                "WITH b AS (SELECT file_id FROM {1} WHERE file_id = $2 AND filename = $3 FOR UPDATE) \
                 UPDATE {0} SET file_id = $1 WHERE file_id = (SELECT file_id FROM b) \
                 AND byte_offset = ANY($4::int8[]) AND length(payload) = $5::int8",
                t.payload, t.files
            ),
            params![self.id.0, take.base.0, p.name.clone(), at, to_i64(self.table.chunk_len() as u64)?],
        );
        Ok(())
    }

    /// The file's name, and whether its size is that of `p`.
    async fn now(&self, retry: &sql::Retry, p: &Publish) -> Result<Option<(Vec<u8>, bool)>, Error> {
        let conn = retry.conn(Lane::Meta).await?;
        let text =
            format!("SELECT filename, file_size FROM {} WHERE file_id = $1", self.table.inner.tables.files);
        let rows = conn.query(&text, &[&self.id.0]).await?;
        let size = to_i64(p.size)?;
        rows.first().map(|row| Ok((raw_text(row, 0)?, int(row, 1)? == size))).transpose()
    }

    async fn published(&self, retry: &sql::Retry, p: &Publish) -> Result<bool, Error> {
        Ok(self.now(retry, p).await?.is_some_and(|(name, same)| same && name == p.name.as_bytes()))
    }

    /// The publishing statement found nothing to publish: done already, row gone, or chunks missing.
    async fn why_not(&self, retry: &sql::Retry, p: &Publish) -> Result<(), Error> {
        match self.now(retry, p).await? {
            Some((name, true)) if name == p.name.as_bytes() => Ok(()),
            Some((name, _)) if name == self.table.hidden_name(self.id).as_bytes() => {
                let spans: Vec<ChunkSpan> = self.table.layout(self.id).await?;
                let damage = match check(&spans, to_i64(p.size)?) {
                    Err(damage) => damage,
                    // It was not so a moment ago.
                    Ok(end) => Damage::Size { stored: to_i64(p.size)?, end },
                };
                Err(Error::Corrupt { what: p.name.clone(), id: self.id, damage })
            }
            _ => Err(lost(self.id)),
        }
    }

    /// Gives the file up and removes what was stored. An error leaves the rest to the next sweep.
    pub async fn discard(self) -> Result<(), Error> {
        self.ended.store(true, Ordering::Release);
        self.table.inner.redo.forget(self.id);
        self.table.remove_hidden(self.id).await
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.ended.load(Ordering::Acquire) {
            return;
        }
        let (table, id) = (self.table.clone(), self.id);
        table.inner.redo.forget(id);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(e) = table.remove_hidden(id).await {
                    log::debug!("file {id}, given up, is left to the next sweep: {e}");
                }
            });
        }
    }
}

impl std::fmt::Debug for Staging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Staging({})", self.id)
    }
}
