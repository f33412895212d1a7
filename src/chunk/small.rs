//! Small files: row, chunk and attributes in one durable transaction and one round trip.

use super::error::Error;
use super::names::check_new_name;
use super::rows::{Batch, KIND_FILE, Payload, attr_params, file_id, params, to_i64};
use super::table::{FileTable, retrying};
use super::types::{FileId, Publish, Replace};
use crate::sql::{self, ErrorClass, Lane, ToSql};
use bytes::Bytes;
use std::collections::HashMap;

/// Most bytes of one transaction's contents; CockroachDB refuses commands of 64 MiB.
const BYTES_MAX: usize = 32 << 20;
/// Most bytes of one file, so of one statement; CockroachDB refuses messages of 16 MiB.
const FILE_MAX: usize = 12 << 20;
/// Names taken by others between two statements of ours: how often to try again.
const COLLISIONS_MAX: u32 = 100;

impl FileTable {
    /// Stores a file whole: files row, chunk (none if empty) and attributes, in one durable transaction. With
    /// nothing to displace it is one statement, else one pipelined transaction: one round trip either way.
    ///
    /// `id` must be new ([`FileTable::new_id`]); the same id again is the same file. [`Error::Exists`] if the name is
    /// taken and may not be, [`Error::TooLarge`] beyond 12 MiB. Cancelled: the file is there whole or not at all.
    pub async fn put_small(&self, id: FileId, p: &Publish, data: &[u8]) -> Result<(), Error> {
        self.put_small_many(&[(id, p.clone(), Bytes::copy_from_slice(data))]).await
    }

    /// As [`FileTable::put_small`] for several files in one transaction: all or none. At most 32 MiB together.
    pub async fn put_small_many(&self, items: &[(FileId, Publish, Bytes)]) -> Result<(), Error> {
        self.check_writable()?;
        let mut total = 0usize;
        let mut wants_attrs = false;
        for (_, p, data) in items {
            check_new_name(&p.name)?;
            if p.size != data.len() as u64 {
                return Err(Error::Shape(format!(
                    "{}: {} bytes given for a size of {}",
                    p.name,
                    data.len(),
                    p.size
                )));
            }
            if data.len() > FILE_MAX {
                return Err(Error::TooLarge(format!(
                    "{}: {} bytes are too much for one statement",
                    p.name,
                    data.len()
                )));
            }
            total = total.saturating_add(data.len());
            wants_attrs |= !p.attrs.is_default();
        }
        if total > BYTES_MAX {
            return Err(Error::TooLarge(format!("{total} bytes are too much for one transaction")));
        }
        if items.is_empty() {
            return Ok(());
        }
        if total > 0 {
            self.check_disk().await?;
        }
        if wants_attrs {
            let wish = items.iter().map(|(_, p, _)| &p.attrs).find(|a| !a.is_default());
            self.attrs_for(wish).await?;
        }
        let mut collisions = 0;
        let mut looked_at = 0;
        let result: Result<(), Error> = retrying!(self, "store a file", |retry| {
            if retry.maybe_committed() && looked_at != retry.attempts() {
                looked_at = retry.attempts();
                if self.all_there(retry, items).await? {
                    return Ok(());
                }
            }
            loop {
                match self.put_once(retry, items).await {
                    Err(Error::Sql(e)) if e.class() == ErrorClass::Exists => {
                        if self.all_there(retry, items).await? {
                            return Ok(());
                        }
                        self.refused(retry, items).await?;
                    }
                    Err(Error::Sql(e))
                        if e.class() == ErrorClass::ForeignKey && collisions < COLLISIONS_MAX => {}
                    other => return other,
                }
                collisions += 1;
                if collisions >= COLLISIONS_MAX {
                    return Err(Error::Changed(names_of(items)));
                }
                tokio::time::sleep(std::time::Duration::from_millis(u64::from(collisions.min(20)))).await;
            }
        });
        result?;
        self.stored(total);
        items.iter().for_each(|(_, p, _)| self.gave_way(p.replace));
        Ok(())
    }

    async fn put_once(&self, retry: &sql::Retry, items: &[(FileId, Publish, Bytes)]) -> Result<(), Error> {
        let attrs = self.attrs_present();
        let mut batch = Batch::default();
        for (id, p, data) in items {
            if let Replace::Displace(old) = p.replace {
                self.displace(&mut batch, &p.name, old, attrs, true);
            }
            self.insert_file(&mut batch, *id, p, data, attrs)?;
        }
        let bytes = items.iter().map(|(_, _, data)| data.len()).sum();
        self.durable_sized(retry, &batch, bytes).await?;
        Ok(())
    }

    /// Adds one statement that inserts row, chunks and attributes.
    fn insert_file(
        &self,
        batch: &mut Batch,
        id: FileId,
        p: &Publish,
        data: &Bytes,
        attrs: bool,
    ) -> Result<(), Error> {
        let t = &self.inner.tables;
        let mut params: Vec<Box<dyn ToSql + Sync + Send>> =
            params![p.name.clone(), id.0, to_i64(p.size)?, self.inner.user.clone(), p.mtime];
        let file = format!(
            "INSERT INTO {} (filename, file_id, file_size, username, upload_time) VALUES ($1, $2, $3, $4, $5)",
            t.files
        );
        let mut parts: Vec<String> = Vec::new();
        if attrs && !p.attrs.is_default() {
            params.extend(attr_params(&p.attrs));
            parts.push(format!(
                "INSERT INTO {} (dir, name, file_id, kind, mode, uid, gid, xattrs) \
                 SELECT '', '', file_id, {KIND_FILE}, $6::int8, $7::int8, $8::int8, $9::bytea FROM f",
                t.attrs
            ));
        }
        if !data.is_empty() {
            let len = self.chunk_len();
            let mut values = Vec::new();
            for (i, start) in (0..data.len()).step_by(len).enumerate() {
                values.push(format!("({}::int8, ${}::bytea)", i * len, params.len() + 1));
                params.push(Box::new(Payload(data.slice(start..data.len().min(start + len)))));
            }
            parts.push(format!(
                "INSERT INTO {} (file_id, byte_offset, payload) SELECT f.file_id, v.o, v.p FROM f, (VALUES {}) AS v (o, p)",
                t.payload,
                values.join(", ")
            ));
        }
        let text = match parts.as_slice() {
            [] => file,
            [main] => format!("WITH f AS ({file} RETURNING file_id) {main}"),
            [first, main, ..] => {
                format!("WITH f AS ({file} RETURNING file_id), a AS ({first} RETURNING file_id) {main}")
            }
        };
        batch.add(text, params);
        Ok(())
    }

    /// Whether all of these files stand at their names: an attempt whose answer was lost has succeeded.
    async fn all_there(&self, retry: &sql::Retry, items: &[(FileId, Publish, Bytes)]) -> Result<bool, Error> {
        let holders = self.holders(retry, items).await?;
        Ok(items.iter().all(|(id, p, _)| holders.get(p.name.as_bytes()) == Some(id)))
    }

    /// [`Error::Exists`] if a name that must be free is taken by another file.
    async fn refused(&self, retry: &sql::Retry, items: &[(FileId, Publish, Bytes)]) -> Result<(), Error> {
        let holders = self.holders(retry, items).await?;
        for (id, p, _) in items {
            let taken = holders.get(p.name.as_bytes()).is_some_and(|h| h != id);
            if p.replace == Replace::Refuse && taken {
                return Err(Error::Exists(p.name.clone()));
            }
        }
        Ok(())
    }

    async fn holders(
        &self,
        retry: &sql::Retry,
        items: &[(FileId, Publish, Bytes)],
    ) -> Result<HashMap<Vec<u8>, FileId>, Error> {
        let names: Vec<&str> = items.iter().map(|(_, p, _)| p.name.as_str()).collect();
        let text = format!(
            "SELECT filename, file_id FROM {} WHERE filename = ANY($1::text[])",
            self.inner.tables.files
        );
        let conn = retry.conn(Lane::Meta).await?;
        let rows = conn.query(&text, &[&names]).await?;
        rows.iter().map(|r| Ok((super::rows::raw_text(r, 0)?, file_id(r, 1)?))).collect()
    }
}

fn names_of(items: &[(FileId, Publish, Bytes)]) -> String {
    match items {
        [(_, p, _)] => p.name.clone(),
        [(_, p, _), ..] => format!("{} or another of {} files", p.name, items.len()),
        [] => String::new(),
    }
}
