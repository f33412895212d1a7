//! Statements that make whatever stands at a name give way, as parts of a transaction.

use super::error::Error;
use super::listing::range_below;
use super::names::{HIDDEN_DIR, split_path};
use super::rows::{Batch, KIND_DIR, KIND_FILE, KIND_LINK, attr_params, params};
use super::table::FileTable;
use super::types::{Attrs, FileId, Old, Replace};
use crate::sql::ToSql;
use uuid::Uuid;

pub(super) const NIL: Uuid = Uuid::nil();
/// Contents up to this many chunks are removed inside the transaction; longer ones in the background.
const INLINE_CHUNKS: u64 = 4;

/// Names of files on their way out begin with this.
pub(super) fn trash_prefix() -> String {
    format!("{HIDDEN_DIR}/trash/")
}

impl FileTable {
    /// Identity of the first file with `low <= filename < high` (parameters or constants), or NULL: an expression.
    /// Unlike EXISTS, its order leaves PostgreSQL no choice but the primary key.
    pub(super) fn first_file(&self, low: &str, high: &str) -> String {
        let name = self.inner.by_bytes;
        format!(
            "(SELECT file_id FROM {} WHERE {name} >= {low}::text AND {name} < {high}::text ORDER BY {name} LIMIT 1)",
            self.inner.tables.files
        )
    }

    /// The same for the companion rows in a directory.
    pub(super) fn first_path(&self, dir: &str) -> String {
        format!(
            "(SELECT file_id FROM {} WHERE dir = {dir}::text ORDER BY dir, name, file_id LIMIT 1)",
            self.inner.tables.attrs
        )
    }

    /// The same for the companion rows in directories with `low <= dir < high`.
    pub(super) fn first_path_between(&self, low: &str, high: &str) -> String {
        format!(
            "(SELECT file_id FROM {} WHERE dir >= {low}::text AND dir < {high}::text \
             ORDER BY dir, name, file_id LIMIT 1)",
            self.inner.tables.attrs
        )
    }

    /// True if the old contents are too long to be removed while somebody waits.
    pub(super) fn in_background(&self, replace: Replace) -> bool {
        let limit = INLINE_CHUNKS * super::CHUNK_LEN as u64;
        matches!(replace, Replace::Displace(Old::Delete { size_hint }) if size_hint > limit)
    }

    /// Adds what makes the holder of `name` give way: the file and, with `links`, a symbolic link. Returns the
    /// index of the statement whose count says whether there was a file.
    pub(super) fn displace(
        &self,
        batch: &mut Batch,
        name: &str,
        old: Old,
        attrs: bool,
        links: bool,
    ) -> usize {
        let t = &self.inner.tables;
        if links && attrs {
            let (dir, last) = split_path(name);
            batch.add(
                format!(
                    "DELETE FROM {} WHERE dir = $1 AND name = $2 AND file_id = '{NIL}'::uuid AND kind = {KIND_LINK}",
                    t.attrs
                ),
                params![dir.to_owned(), last.to_owned()],
            );
        }
        let kept = match old {
            Old::Keep(id) => Some(id.0),
            Old::Delete { .. } if self.in_background(Replace::Displace(old)) => Some(NIL),
            Old::Delete { .. } => None,
        };
        match kept {
            Some(kept) => batch.add(
                format!(
                    "UPDATE {} SET filename = CASE WHEN file_id = $2 THEN $3::text ELSE $4::text END || file_id::text, \
                     upload_time = now()::timestamp WHERE filename = $1",
                    t.files
                ),
                params![name.to_owned(), kept, self.hidden_prefix(), trash_prefix()],
            ),
            None if self.inner.portable => self.delete_portably(batch, name, attrs),
            None => self.delete_locked(batch, name, attrs),
        }
        batch.len() - 1
    }

    /// Row, chunks and attributes in one statement, which sees one state of the tables and has locked the row:
    /// PostgreSQL's transactions otherwise let others' commits show between statements.
    fn delete_locked(&self, batch: &mut Batch, name: &str, attrs: bool) {
        let t = &self.inner.tables;
        let companion = match attrs {
            true => format!(
                ", a AS (DELETE FROM {} WHERE dir = '' AND name = '' AND file_id IN (SELECT file_id FROM old))",
                t.attrs
            ),
            false => String::new(),
        };
        batch.add(
            format!(
                "WITH old AS (SELECT file_id FROM {0} WHERE filename = $1 FOR UPDATE), \
                 p AS (DELETE FROM {1} WHERE file_id IN (SELECT file_id FROM old)){companion} \
                 DELETE FROM {0} WHERE filename = $1 AND file_id IN (SELECT file_id FROM old)",
                t.files, t.payload
            ),
            params![name.to_owned()],
        );
    }

    /// The same for serializable transactions, in the order that the foreign key wants.
    fn delete_portably(&self, batch: &mut Batch, name: &str, attrs: bool) {
        let t = &self.inner.tables;
        let which = format!("(SELECT file_id FROM {} WHERE filename = $1)", t.files);
        batch.add(format!("DELETE FROM {} WHERE file_id IN {which}", t.payload), params![name.to_owned()]);
        if attrs {
            batch.add(
                format!("DELETE FROM {} WHERE dir = '' AND name = '' AND file_id IN {which}", t.attrs),
                params![name.to_owned()],
            );
        }
        batch.add(format!("DELETE FROM {} WHERE filename = $1", t.files), params![name.to_owned()]);
    }

    /// Adds the attributes of a file: its companion row is made, changed, or (nothing to store) removed.
    pub(super) fn put_attrs(&self, batch: &mut Batch, id: FileId, attrs: &Attrs) {
        let t = &self.inner.tables;
        if attrs.is_default() {
            batch.add(
                format!("DELETE FROM {} WHERE dir = '' AND name = '' AND file_id = $1", t.attrs),
                params![id.0],
            );
            return;
        }
        let mut params = params![id.0];
        params.extend(attr_params(attrs));
        batch.add(
            format!(
                "INSERT INTO {} (dir, name, file_id, kind, mode, uid, gid, xattrs) \
                 VALUES ('', '', $1, {KIND_FILE}, $2, $3, $4, $5) \
                 ON CONFLICT (dir, name, file_id) DO UPDATE SET mode = excluded.mode, uid = excluded.uid, \
                 gid = excluded.gid, xattrs = excluded.xattrs",
                t.attrs
            ),
            params,
        );
    }

    /// Adds companion rows for a directory and those above it where there are none, if the directory has become
    /// empty; without `only_if_empty`, in any case. Nothing to do for the root.
    pub(super) fn keep_dir(&self, batch: &mut Batch, dir: &str, only_if_empty: bool) {
        if dir.is_empty() || dir == "/" {
            return;
        }
        let t = &self.inner.tables;
        let (low, high) = range_below(dir);
        let mut params: Vec<Box<dyn ToSql + Sync + Send>> = Vec::new();
        let mut condition = String::new();
        if only_if_empty {
            params.extend(params![dir.to_owned(), low, high]);
            condition = format!(
                " WHERE {} IS NULL AND {} IS NULL",
                self.first_file("$2", "$3"),
                self.first_path("$1")
            );
        }
        let mut values = Vec::new();
        let mut at = dir;
        while !at.is_empty() {
            let (parent, last) = split_path(at);
            values.push(format!("(${}::text, ${}::text)", params.len() + 1, params.len() + 2));
            params.extend(params![parent.to_owned(), last.to_owned()]);
            at = if parent == "/" { "" } else { parent };
        }
        batch.add(
            format!(
                "INSERT INTO {} (dir, name, file_id, kind, mtime) \
                 SELECT v.d, v.n, '{NIL}'::uuid, {KIND_DIR}, now()::timestamp FROM (VALUES {}) AS v (d, n){condition} \
                 ON CONFLICT (dir, name, file_id) DO NOTHING",
                t.attrs,
                values.join(", ")
            ),
            params,
        );
    }

    /// The companion table's presence for a change that stores `attrs`: made on first need; where it cannot be
    /// made, attributes are silently not stored.
    pub(super) async fn attrs_for(&self, attrs: Option<&Attrs>) -> Result<bool, Error> {
        if attrs.is_some_and(|a| !a.is_default()) && self.attrs_available() {
            match self.ensure_attrs().await {
                Ok(()) => return Ok(true),
                Err(Error::NoAttrs(_)) => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        Ok(self.attrs_present())
    }
}
