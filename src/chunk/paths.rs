//! Companion rows keyed by path: directories and symbolic links.

use super::displace::NIL;
use super::error::Error;
use super::listing::range_below;
use super::names::{check_new_name, split_path};
use super::rows::{Batch, KIND_DIR, KIND_LINK, attr_params, params};
use super::table::{FileTable, retrying};
use super::types::{PathKind, PathRow};
use crate::sql::{self, ErrorClass, ToSql};
use std::collections::{BTreeMap, BTreeSet};

fn path_text(row: &PathRow) -> Result<String, Error> {
    let text = String::from_utf8(row.path.clone())
        .map_err(|e| super::NameError::NotUtf8(String::from_utf8_lossy(e.as_bytes()).into_owned()))?;
    let text = if text == "/" { String::new() } else { text };
    if !text.is_empty() {
        check_new_name(&text)?;
    }
    Ok(text)
}

impl FileTable {
    /// Stores a directory or symbolic link; the companion table is made on first need ([`Error::NoAttrs`] where it
    /// cannot be), and so are rows for the directories above. One durable transaction.
    ///
    /// `exclusive`: there may be nothing at the path yet, neither a row, nor a file, nor anything below it, else
    /// [`Error::Exists`]. Otherwise an existing row is replaced.
    pub async fn put_path(&self, row: &PathRow, exclusive: bool) -> Result<(), Error> {
        if !exclusive {
            return self.put_paths(std::slice::from_ref(row)).await;
        }
        self.check_writable()?;
        let path = path_text(row)?;
        self.ensure_attrs().await?;
        retrying!(self, "store a directory or link", |retry| {
            let mut batch = Batch::default();
            self.put_path_row(&mut batch, row, &path, exclusive);
            self.keep_dir(&mut batch, split_path(&path).0, false);
            match self.durable(retry, &batch).await {
                Ok(counts) if counts.first() == Some(&0) => self.taken(retry, row, &path).await,
                Err(e) if e.class() == ErrorClass::Exists => self.taken(retry, row, &path).await,
                Ok(_) => Ok(()),
                Err(e) => Err(e.into()),
            }
        })
    }

    /// As [`FileTable::put_path`] for several paths, in one transaction: all or none. Existing rows are replaced.
    pub async fn put_paths(&self, rows: &[PathRow]) -> Result<(), Error> {
        self.check_writable()?;
        if rows.is_empty() {
            return Ok(());
        }
        // By path, so that two clients with the same rows wait for each other and not in a ring.
        let mut paths = BTreeMap::new();
        for row in rows {
            paths.insert(path_text(row)?, row);
        }
        self.ensure_attrs().await?;
        retrying!(self, "store directories or links", |retry| {
            let mut batch = Batch::default();
            paths.iter().for_each(|(path, row)| self.put_path_row(&mut batch, row, path, false));
            let above: BTreeSet<&str> = paths.keys().map(|path| split_path(path).0).collect();
            above.iter().for_each(|dir| self.keep_dir(&mut batch, dir, false));
            Ok(self.durable(retry, &batch).await.map(|_| ())?)
        })
    }

    /// The path is taken: by the very row that was to be stored, if an attempt has succeeded unheard.
    async fn taken(&self, retry: &sql::Retry, row: &PathRow, path: &str) -> Result<(), Error> {
        if retry.maybe_committed() {
            let stored = self.lookup(path).await?.path;
            if stored.is_some_and(|s| s.kind == row.kind && s.mtime == row.mtime && s.attrs == row.attrs) {
                return Ok(());
            }
        }
        Err(Error::Exists(path.to_owned()))
    }

    fn put_path_row(&self, batch: &mut Batch, row: &PathRow, path: &str, exclusive: bool) {
        let t = &self.inner.tables;
        let (dir, last) = split_path(path);
        let (kind, target) = match &row.kind {
            PathKind::Dir => (KIND_DIR, None),
            PathKind::Symlink { target } => (KIND_LINK, Some(target.clone())),
        };
        let mut params: Vec<Box<dyn ToSql + Sync + Send>> =
            params![dir.to_owned(), last.to_owned(), kind, row.mtime, target];
        params.extend(attr_params(&row.attrs));
        let mut text = format!(
            "INSERT INTO {} (dir, name, file_id, kind, mtime, target, mode, uid, gid, xattrs) \
             SELECT $1::text, $2::text, '{NIL}'::uuid, $3::int8, $4::timestamp, $5::bytea, $6::int8, $7::int8, \
             $8::int8, $9::bytea",
            t.attrs
        );
        if exclusive {
            let (low, high) = range_below(path);
            params.extend(params![path.to_owned(), low, high]);
            text += &format!(
                " WHERE (SELECT file_id FROM {} WHERE filename = $10::text) IS NULL AND {} IS NULL",
                t.files,
                self.first_file("$11", "$12")
            );
        } else {
            text += " ON CONFLICT (dir, name, file_id) DO UPDATE SET kind = excluded.kind, mtime = excluded.mtime, \
                     target = excluded.target, mode = excluded.mode, uid = excluded.uid, gid = excluded.gid, \
                     xattrs = excluded.xattrs";
        }
        batch.add(text, params);
    }

    /// Removes the companion row of a directory or link, in one durable transaction. [`Error::NotEmpty`] if it is a
    /// directory and anything lies below. False: there was no such row (and nothing below). `keep_dir` as in
    /// [`FileTable::remove`].
    pub async fn remove_path(&self, path: &str, keep_dir: Option<&str>) -> Result<bool, Error> {
        self.check_writable()?;
        let path = if path == "/" { "" } else { path };
        if !self.attrs_present() && !self.lookup(path).await?.has_children && !self.attrs_present() {
            return Ok(false);
        }
        retrying!(self, "remove a directory or link", |retry| {
            let removed = self.remove_path_once(retry, path, keep_dir).await?;
            if removed || retry.maybe_committed() {
                return Ok(true);
            }
            let now = self.lookup(path).await?;
            if now.has_children {
                return Err(Error::NotEmpty(path.to_owned()));
            }
            if now.path.is_some() {
                // Empty only since a moment ago.
                return Err(sql::Error::new(ErrorClass::Retry, "the directory changed meanwhile").into());
            }
            Ok(false)
        })
    }

    async fn remove_path_once(
        &self,
        retry: &sql::Retry,
        path: &str,
        keep_dir: Option<&str>,
    ) -> Result<bool, Error> {
        if !self.attrs_present() {
            return Ok(false);
        }
        let (dir, last) = split_path(path);
        let (low, high) = range_below(path);
        let mut batch = Batch::default();
        batch.add(
            format!(
                "DELETE FROM {} WHERE dir = $1 AND name = $2 AND file_id = '{NIL}'::uuid AND (kind = {KIND_LINK} OR \
                 ({} IS NULL AND {} IS NULL AND {} IS NULL))",
                self.inner.tables.attrs,
                self.first_file("$3", "$4"),
                self.first_path("$5"),
                self.first_path_between("$3", "$4"),
            ),
            params![dir.to_owned(), last.to_owned(), low, high, path.to_owned()],
        );
        if let Some(keep) = keep_dir {
            self.keep_dir(&mut batch, keep, true);
        }
        let counts = self.durable(retry, &batch).await?;
        Ok(counts.first().is_some_and(|&n| n > 0))
    }
}
