//! Reading contents.

use super::error::Error;
use super::layout::{ChunkSpan, Damage, RecoveredSpan, check, recovered};
use super::rows::{file_id, int, opt_len, to_i64};
use super::table::{FileTable, retrying};
use super::types::{Chunk, ChunkData, FileId, FileRow};
use crate::sql::{Lane, Row};
use bytes::Bytes;
use std::collections::HashMap;
use uuid::Uuid;

/// Most bytes of one [`FileTable::range`].
const RANGE_MAX: usize = 64 << 20;

impl FileTable {
    /// The row with the greatest `byte_offset` not above `pos`, whole. None: there is none. `pos` may lie behind
    /// its end: at the end of the file, or in a gap (the caller knows the size). A NULL payload is
    /// [`Error::Corrupt`]. Reads only; may be cancelled at any time.
    ///
    /// In recover mode positions count over the rows in order, whatever their offsets.
    pub async fn chunk_at(&self, id: FileId, pos: u64) -> Result<Option<Chunk>, Error> {
        let start = pos - pos % self.chunk_len() as u64;
        if let Some(data) = self.inner.redo.chunk(id, start) {
            return Ok(Some(Chunk { offset: start, data: ChunkData::from(data) }));
        }
        if self.inner.options.recover {
            return self.recovered_chunk(id, pos).await;
        }
        let pos = i64::try_from(pos).unwrap_or(i64::MAX);
        let text = format!(
            "SELECT byte_offset, payload FROM {} WHERE file_id = $1 AND byte_offset <= $2 \
             ORDER BY byte_offset DESC LIMIT 1",
            self.inner.tables.payload
        );
        let row: Option<Row> = retrying!(self, "read a chunk", |retry| {
            let conn = retry.conn(Lane::Download).await?;
            Ok(conn.query(&text, &[&id.0, &pos]).await?.pop())
        })?;
        match row {
            Some(row) => {
                let at = int(&row, 0)?;
                Ok(Some(chunk(id, at, row, 1)?))
            }
            None => Ok(None),
        }
    }

    /// All chunks of several small files, in order, in one statement. Every id is answered, in the order asked;
    /// a file without chunks has none. The caller sees to it that the sum is bearable.
    pub async fn small(&self, ids: &[FileId]) -> Result<Vec<(FileId, Vec<Chunk>)>, Error> {
        if self.inner.options.recover {
            let mut out = Vec::with_capacity(ids.len());
            for &id in ids {
                out.push((id, self.recovered_all(id).await?));
            }
            return Ok(out);
        }
        let text = format!(
            "SELECT file_id, byte_offset, payload FROM {} WHERE file_id = ANY($1) ORDER BY file_id, byte_offset",
            self.inner.tables.payload
        );
        let wanted: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let rows: Vec<Row> = retrying!(self, "read small files", |retry| {
            let conn = retry.conn(Lane::Download).await?;
            Ok(conn.query(&text, &[&wanted]).await?)
        })?;
        let mut found: HashMap<FileId, Vec<Chunk>> = HashMap::with_capacity(ids.len());
        for row in rows {
            let id = file_id(&row, 0)?;
            let at = int(&row, 1)?;
            found.entry(id).or_default().push(chunk(id, at, row, 2)?);
        }
        Ok(ids.iter().map(|id| (*id, found.remove(id).unwrap_or_default())).collect())
    }

    /// Up to `len` bytes from `pos` on, out of the one row that covers `chunk_pos` (the row with the greatest
    /// `byte_offset` not above it). Fewer where the row ends; none where `pos` is outside it. None: there is no
    /// such row. Cheap on PostgreSQL, where only the range is read.
    pub async fn range(
        &self,
        id: FileId,
        chunk_pos: u64,
        pos: u64,
        len: usize,
    ) -> Result<Option<Bytes>, Error> {
        let start = chunk_pos - chunk_pos % self.chunk_len() as u64;
        if let Some(data) = self.inner.redo.chunk(id, start) {
            let from = usize::try_from(pos.saturating_sub(start)).unwrap_or(usize::MAX).min(data.len());
            let to = from.saturating_add(len).min(data.len());
            return Ok(Some(if pos < start { Bytes::new() } else { data.slice(from..to) }));
        }
        let (mut chunk_pos, mut pos, mut back) = (chunk_pos, pos, 0);
        if self.inner.options.recover {
            let Some(span) = self.recovered_span(id, chunk_pos).await? else { return Ok(None) };
            let Ok(stored) = u64::try_from(span.stored) else { return Ok(None) };
            back = pos.checked_sub(span.logical).unwrap_or(u64::MAX);
            (chunk_pos, pos) = (stored, stored.saturating_add(back));
        }
        if back == u64::MAX {
            return Ok(Some(Bytes::new()));
        }
        let text = format!(
            "SELECT byte_offset, length(payload)::int8, \
             substr(payload, least(greatest($3::int8 - byte_offset + 1, 1), 2147483647)::int4, $4::int4) \
             FROM {} WHERE file_id = $1 AND byte_offset <= $2 ORDER BY byte_offset DESC LIMIT 1",
            self.inner.tables.payload
        );
        let len = i32::try_from(len.min(RANGE_MAX)).unwrap_or(i32::MAX);
        let (chunk_pos, pos) = (to_i64(chunk_pos)?, to_i64(pos)?);
        let row: Option<Row> = retrying!(self, "read a range", |retry| {
            let conn = retry.conn(Lane::Download).await?;
            Ok(conn.query(&text, &[&id.0, &chunk_pos, &pos, &len]).await?.pop())
        })?;
        let Some(row) = row else { return Ok(None) };
        let at = int(&row, 0)?;
        let data = row.try_get::<_, Option<&[u8]>>(2).unwrap_or_default();
        let Some(data) = data else { return Err(corrupt(id, Damage::Null { at })) };
        if pos < at {
            return Ok(Some(Bytes::new()));
        }
        Ok(Some(Bytes::copy_from_slice(data)))
    }

    /// Offsets and lengths of a file's chunks as stored, in order. On PostgreSQL the bytes are not read for it; on
    /// CockroachDB they are, on the server.
    pub async fn layout(&self, id: FileId) -> Result<Vec<ChunkSpan>, Error> {
        let text = format!(
            "SELECT byte_offset, length(payload)::int8 FROM {} WHERE file_id = $1 ORDER BY byte_offset",
            self.inner.tables.payload
        );
        retrying!(self, "read a file's layout", |retry| {
            let conn = retry.conn(Lane::Download).await?;
            let rows = conn.query(&text, &[&id.0]).await?;
            rows.iter().map(|r| Ok(ChunkSpan { offset: int(r, 0)?, len: opt_len(r, 1)? })).collect()
        })
    }

    /// Checks that a file's chunks are contiguous from 0 and end where its size says; the size otherwise is
    /// [`Error::Corrupt`] with the first damage. In recover mode the size is what the chunks come to.
    pub async fn verify(&self, file: &FileRow) -> Result<u64, Error> {
        let spans = self.layout(file.id).await?;
        if self.inner.options.recover {
            return Ok(recovered(&spans).last().map_or(0, |s| s.logical + u64::from(s.len)));
        }
        let name = String::from_utf8_lossy(&file.name).into_owned();
        check(&spans, file.size).map_err(|damage| Error::Corrupt { what: name, id: file.id, damage })
    }

    async fn recovered_span(&self, id: FileId, pos: u64) -> Result<Option<RecoveredSpan>, Error> {
        let spans = recovered(&self.layout(id).await?);
        let after = spans.partition_point(|s| s.logical <= pos);
        Ok(after.checked_sub(1).and_then(|i| spans.get(i)).copied())
    }

    async fn recovered_chunk(&self, id: FileId, pos: u64) -> Result<Option<Chunk>, Error> {
        match self.recovered_span(id, pos).await? {
            Some(span) => self.chunk_exactly(id, span).await,
            None => Ok(None),
        }
    }

    async fn recovered_all(&self, id: FileId) -> Result<Vec<Chunk>, Error> {
        let mut out = Vec::new();
        for span in recovered(&self.layout(id).await?) {
            out.extend(self.chunk_exactly(id, span).await?);
        }
        Ok(out)
    }

    async fn chunk_exactly(&self, id: FileId, span: RecoveredSpan) -> Result<Option<Chunk>, Error> {
        let text = format!(
            "SELECT payload FROM {} WHERE file_id = $1 AND byte_offset = $2",
            self.inner.tables.payload
        );
        let row: Option<Row> = retrying!(self, "read a chunk", |retry| {
            let conn = retry.conn(Lane::Download).await?;
            Ok(conn.query(&text, &[&id.0, &span.stored]).await?.pop())
        })?;
        let data = row.and_then(|row| ChunkData::from_row(row, 0));
        Ok(data.map(|data| Chunk { offset: span.logical, data }))
    }
}

fn corrupt(id: FileId, damage: Damage) -> Error {
    Error::Corrupt { what: format!("file {id}"), id, damage }
}

fn chunk(id: FileId, at: i64, row: Row, column: usize) -> Result<Chunk, Error> {
    let offset = u64::try_from(at).map_err(|_| corrupt(id, Damage::NegativeOffset { at }))?;
    let data = ChunkData::from_row(row, column).ok_or_else(|| corrupt(id, Damage::Null { at }))?;
    Ok(Chunk { offset, data })
}
