//! Changes to a file that stands at a name: rename, remove, append, attributes.

use super::error::Error;
use super::listing::range_below;
use super::names::check_new_name;
use super::rows::{Batch, Payload, file_id, int, params, raw_text, to_i64};
use super::table::{FileTable, asserted, assertion_failed, colliding, retrying};
use super::types::{Attrs, FileId, Old, Rename, Replace};
use crate::sql::{self, ErrorClass, Lane, Row};
use crate::util::clock::Micros;
use bytes::Bytes;

/// A file's row as it is now, by its identity.
struct Now {
    name: Vec<u8>,
    size: i64,
    mtime: Option<Micros>,
}

impl FileTable {
    async fn now(&self, retry: &sql::Retry, id: FileId) -> Result<Option<Now>, Error> {
        let text = format!(
            "SELECT filename, file_size, upload_time FROM {} WHERE file_id = $1",
            self.inner.tables.files
        );
        let conn = retry.conn(Lane::Meta).await?;
        let rows = conn.query(&text, &[&id.0]).await?;
        rows.first()
            .map(|r| {
                let mtime = r.try_get(2).map_err(|e| Error::Shape(format!("upload_time: {e}")))?;
                Ok(Now { name: raw_text(r, 0)?, size: int(r, 1)?, mtime })
            })
            .transpose()
    }

    async fn holder(&self, retry: &sql::Retry, name: &str) -> Result<Option<FileId>, Error> {
        let text = format!("SELECT file_id FROM {} WHERE filename = $1", self.inner.tables.files);
        let conn = retry.conn(Lane::Meta).await?;
        conn.query(&text, &[&name]).await?.first().map(|r: &Row| file_id(r, 0)).transpose()
    }

    /// What a change of file `id` at `name` that found nothing to change is answered with.
    async fn not_there(&self, retry: &sql::Retry, name: &str) -> Error {
        match self.holder(retry, name).await {
            Ok(None) => Error::NotFound(name.to_owned()),
            Ok(Some(_)) => Error::Changed(name.to_owned()),
            Err(e) => e,
        }
    }

    /// Removes whatever file stands at `name`, in one durable transaction. False: there was none. (Where the answer
    /// to a commit was lost and no file is left, true.)
    ///
    /// `keep_dir`: a directory that gets a companion row in the same transaction if it becomes empty by this.
    pub async fn remove(&self, name: &str, old: Old, keep_dir: Option<&str>) -> Result<bool, Error> {
        self.check_writable()?;
        let _turn = self.removal_turn().await;
        let removed: bool = colliding!(self, "remove a file", |retry| {
            let attrs = self.attrs_present();
            let mut batch = Batch::default();
            let at = self.displace(&mut batch, name, old, attrs, false);
            if let (Some(dir), true) = (keep_dir, attrs) {
                self.keep_dir(&mut batch, dir, true);
            }
            let counts = self.durable(retry, &batch).await?;
            Ok(counts.get(at).is_some_and(|&n| n > 0) || retry.maybe_committed())
        })?;
        if removed {
            self.gave_way(Replace::Displace(old));
        }
        if removed && !self.attrs_present() {
            self.keep_if_empty(keep_dir).await;
        }
        Ok(removed)
    }

    /// Where there was no companion table: makes it for the sake of a directory that has become empty. Failures
    /// only mean that the empty directory does not last.
    async fn keep_if_empty(&self, dir: Option<&str>) {
        let Some(dir) = dir.filter(|d| !d.is_empty() && *d != "/" && self.attrs_available()) else { return };
        let kept: Result<(), Error> = async {
            if self.anything_below(dir).await? {
                return Ok(());
            }
            self.ensure_attrs().await?;
            retrying!(self, "keep an empty directory", |retry| {
                let mut batch = Batch::default();
                self.keep_dir(&mut batch, dir, true);
                self.durable(retry, &batch).await?;
                Ok(())
            })
        }
        .await;
        match kept {
            Ok(()) | Err(Error::NoAttrs(_)) => {}
            Err(e) => log::warn!("the empty directory {dir} is not kept: {e}"),
        }
    }

    async fn anything_below(&self, dir: &str) -> Result<bool, Error> {
        let (low, high) = range_below(dir);
        let name = self.inner.by_bytes;
        let text = format!(
            "SELECT file_id FROM {} WHERE {name} >= $1 AND {name} < $2 LIMIT 1",
            self.inner.tables.files
        );
        retrying!(self, "look into a directory", |retry| {
            let conn = retry.conn(Lane::Meta).await?;
            Ok(!conn.query(&text, &[&low, &high]).await?.is_empty())
        })
    }

    /// Gives a file another name, in one durable transaction and one round trip, with the changes of [`Rename`].
    ///
    /// [`Error::NotFound`]: nothing is at `from`; [`Error::Changed`]: another file is; [`Error::Exists`]: `to` is taken
    /// and may not be. Cancelled: done or not.
    pub async fn rename(&self, r: &Rename) -> Result<(), Error> {
        self.check_writable()?;
        check_new_name(&r.to)?;
        if r.from == r.to {
            return match &r.update {
                Some((mtime, attrs)) => self.set_file_attrs(r.id, &r.from, *mtime, attrs).await,
                None => Ok(()),
            };
        }
        self.attrs_for(r.update.as_ref().map(|(_, a)| a)).await?;
        colliding!(self, "rename a file", |retry| {
            if retry.maybe_committed() && self.is_at(retry, r.id, &r.to).await? {
                return Ok(());
            }
            match self.rename_once(retry, r).await {
                Err(Error::Sql(e)) if e.class() == ErrorClass::Exists && r.replace == Replace::Refuse => {
                    if self.is_at(retry, r.id, &r.to).await? {
                        Ok(())
                    } else {
                        Err(Error::Exists(r.to.clone()))
                    }
                }
                Err(Error::Sql(e)) if assertion_failed(&e) => {
                    if self.is_at(retry, r.id, &r.to).await? {
                        return Ok(());
                    }
                    Err(self.not_there(retry, &r.from).await)
                }
                other => other,
            }
        })?;
        self.gave_way(r.replace);
        if !self.attrs_present() {
            self.keep_if_empty(r.keep_dir.as_deref()).await;
        }
        Ok(())
    }

    async fn is_at(&self, retry: &sql::Retry, id: FileId, name: &str) -> Result<bool, Error> {
        Ok(self.now(retry, id).await?.is_some_and(|n| n.name == name.as_bytes()))
    }

    async fn rename_once(&self, retry: &sql::Retry, r: &Rename) -> Result<(), Error> {
        let attrs = self.attrs_present();
        let mut batch = Batch::default();
        if let Replace::Displace(old) = r.replace {
            self.displace(&mut batch, &r.to, old, attrs, true);
        }
        let mut params = params![r.to.clone(), r.from.clone(), r.id.0];
        let mut set = "filename = $1".to_owned();
        if let Some((mtime, _)) = &r.update {
            set += ", upload_time = $4";
            params.push(Box::new(*mtime));
        }
        let change =
            format!("UPDATE {} SET {set} WHERE filename = $2 AND file_id = $3", self.inner.tables.files);
        batch.add(asserted(&change), params);
        if let (Some((_, a)), true) = (&r.update, attrs) {
            self.put_attrs(&mut batch, r.id, a);
        }
        if let (Some(dir), true) = (&r.keep_dir, attrs) {
            self.keep_dir(&mut batch, dir, true);
        }
        self.durable(retry, &batch).await?;
        Ok(())
    }

    /// Sets time and attributes of a published file, in one durable transaction. [`Error::NotFound`] or
    /// [`Error::Changed`] if it no longer stands at `name`. Where attributes cannot be stored only the time is set.
    pub async fn set_file_attrs(
        &self,
        id: FileId,
        name: &str,
        mtime: Micros,
        attrs: &Attrs,
    ) -> Result<(), Error> {
        self.check_writable()?;
        self.attrs_for(Some(attrs)).await?;
        retrying!(self, "set attributes", |retry| {
            let mut batch = Batch::default();
            let change = format!(
                "UPDATE {} SET upload_time = $1 WHERE filename = $2 AND file_id = $3",
                self.inner.tables.files
            );
            batch.add(asserted(&change), params![mtime, name.to_owned(), id.0]);
            if self.attrs_present() {
                self.put_attrs(&mut batch, id, attrs);
            }
            match self.durable(retry, &batch).await {
                Ok(_) => Ok(()),
                Err(e) if assertion_failed(&e) => Err(self.not_there(retry, name).await),
                Err(e) => Err(e.into()),
            }
        })
    }

    /// Extends a published file in place, keeping its identity: one durable transaction, one round trip. Verifies
    /// that file `id` stands at `name` with `old_size` bytes, stores `chunks` (offset and bytes; one at the offset of
    /// the old tail replaces it), sets size and time. On PostgreSQL the chunks must then add up to `new_size`.
    ///
    /// [`Error::Changed`] if verification fails; [`Error::Corrupt`] if the chunks do not add up. Readers see the old file
    /// or the new one.
    pub async fn append(
        &self,
        id: FileId,
        name: &str,
        old_size: u64,
        new_size: u64,
        chunks: &[(u64, Bytes)],
        mtime: Micros,
    ) -> Result<(), Error> {
        self.check_writable()?;
        let (old, new) = (to_i64(old_size)?, to_i64(new_size)?);
        let chunks: Vec<(i64, Bytes)> =
            chunks.iter().map(|(o, b)| Ok((to_i64(*o)?, b.clone()))).collect::<Result<_, Error>>()?;
        retrying!(self, "append to a file", |retry| {
            if retry.maybe_committed() {
                let now = self.now(retry, id).await?;
                if now.is_some_and(|n| n.name == name.as_bytes() && n.size == new && n.mtime == Some(mtime)) {
                    return Ok(());
                }
            }
            let batch = self.append_batch(id, name, (old, new), &chunks, mtime);
            let bytes = chunks.iter().map(|(_, data)| data.len()).sum();
            match self.durable_sized(retry, &batch, bytes).await {
                Ok(_) => Ok(()),
                Err(e) if assertion_failed(&e) => {
                    let now = self.now(retry, id).await?;
                    if now.is_some_and(|n| n.name == name.as_bytes() && n.size == old) {
                        let spans = self.layout(id).await?;
                        let damage = super::layout::check(&spans, old)
                            .err()
                            .unwrap_or(super::Damage::Size { stored: new, end: old_size });
                        return Err(Error::Corrupt { what: name.to_owned(), id, damage });
                    }
                    Err(Error::Changed(name.to_owned()))
                }
                Err(e) => Err(e.into()),
            }
        })
    }

    fn append_batch(
        &self,
        id: FileId,
        name: &str,
        (old, new): (i64, i64),
        chunks: &[(i64, Bytes)],
        mtime: Micros,
    ) -> Batch {
        let t = &self.inner.tables;
        let mut batch = Batch::default();
        let change = format!(
            "UPDATE {} SET file_size = $1, upload_time = $2 \
             WHERE filename = $3 AND file_id = $4 AND file_size = $5",
            t.files
        );
        batch.add(asserted(&change), params![new, mtime, name.to_owned(), id.0, old]);
        for (offset, data) in chunks {
            batch.add(
                format!(
                    "INSERT INTO {} (file_id, byte_offset, payload) VALUES ($1, $2, $3) \
                     ON CONFLICT (file_id, byte_offset) DO UPDATE SET payload = excluded.payload",
                    t.payload
                ),
                params![id.0, *offset, Payload(data.clone())],
            );
        }
        if !self.inner.cockroach {
            batch.add(
                format!(
                    "SELECT 1 / count(*) FROM (SELECT coalesce(sum(length(payload)), 0)::int8 AS n \
                     FROM {} WHERE file_id = $1) s WHERE s.n = $2",
                    t.payload
                ),
                params![id.0, new],
            );
        }
        batch
    }
}
