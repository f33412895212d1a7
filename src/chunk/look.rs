//! Looking: one name, a directory, everything with a prefix, totals.

use super::error::Error;
use super::listing::{self, PAGE_MAX};
use super::names::{HIDDEN_DIR, is_hidden, prefix_end, split_path, valid_not_below};
use super::rows::{
    ATTR_COLUMNS, FILE_COLUMNS, PATH_COLUMNS, attr_columns, boolean, file_row, int, path_columns, path_row,
};
use super::table::{FileTable, retrying};
use super::types::{DirCursor, DirPage, FileRow, Lookup, PathRow, Usage};
use crate::sql::{self, Lane, ToSql};
use uuid::Uuid;

const NIL: Uuid = Uuid::nil();
/// Above every valid string.
const TOP: &str = "\u{10FFFF}";

impl FileTable {
    /// The file row, the companion row and whether anything lies below `path` (`/a/b`; the root is empty), in one
    /// statement. Hidden names find nothing. Reads only; may be cancelled at any time.
    pub async fn lookup(&self, path: &str) -> Result<Lookup, Error> {
        let path = if path == "/" { "" } else { path };
        if is_hidden(path.as_bytes()) || path.contains('\0') {
            return Ok(Lookup::default());
        }
        retrying!(self, "look up a name", |retry| {
            let attrs = self.attrs_now(retry).await?;
            self.lookup_once(retry, path, attrs).await
        })
    }

    async fn lookup_once(&self, retry: &sql::Retry, path: &str, attrs: bool) -> Result<Lookup, Error> {
        let t = &self.inner.tables;
        let size = self.size_column("f");
        let mut text = format!(
            "SELECT f.filename, f.file_id, {size}, f.username, f.upload_time, {}",
            attr_columns(attrs.then_some("a"))
        );
        let (dir, last) = split_path(path);
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![&path];
        let (low, high) = listing::range_below(path);
        let before_hidden = format!("{HIDDEN_DIR}/");
        let behind_hidden = format!("{HIDDEN_DIR}0");
        let below = if path.is_empty() {
            params.extend([&before_hidden as &(dyn ToSql + Sync), &behind_hidden]);
            let (before, behind) = (self.first_file("''", "$2"), self.first_file("$3", &format!("'{TOP}'")));
            format!("{before} IS NOT NULL OR {behind} IS NOT NULL")
        } else {
            params.extend([&low as &(dyn ToSql + Sync), &high]);
            format!("{} IS NOT NULL", self.first_file("$2", "$3"))
        };
        let children_dir = if path.is_empty() { "/" } else { path };
        text += &format!(", {below}");
        if attrs {
            text += &format!(" OR {} IS NOT NULL", self.first_path("$6"));
            text += &format!(", {}", path_columns("p"));
        }
        text += &format!(" FROM (SELECT 1 AS one) o LEFT JOIN {} f ON f.filename = $1::text", t.files);
        if attrs {
            params.extend([&dir as &(dyn ToSql + Sync), &last, &children_dir]);
            text += &format!(
                " LEFT JOIN {0} a ON a.dir = '' AND a.name = '' AND a.file_id = f.file_id \
                 LEFT JOIN {0} p ON p.dir = $4::text AND p.name = $5::text AND p.file_id = '{NIL}'::uuid",
                t.attrs
            );
        }
        let conn = retry.conn(Lane::Meta).await?;
        let Some(row) = conn.query(&text, &params).await?.into_iter().next() else {
            return Ok(Lookup::default());
        };
        let below_at = FILE_COLUMNS + ATTR_COLUMNS;
        Ok(Lookup {
            file: if path.is_empty() { None } else { file_row(&row, 0)? },
            has_children: boolean(&row, below_at)?,
            path: if attrs { path_row(&row, below_at + 1)? } else { None },
        })
    }

    /// `file_size`, or in recover mode what the chunks come to.
    fn size_column(&self, alias: &str) -> String {
        if self.inner.options.recover {
            format!(
                "(SELECT coalesce(sum(length(s.payload)), 0)::int8 FROM {} s WHERE s.file_id = {alias}.file_id)",
                self.inner.tables.payload
            )
        } else {
            format!("{alias}.file_size")
        }
    }

    /// Rows with `low <= filename < high`, in byte order, with attributes.
    async fn rows_between(
        &self,
        conn: &sql::Conn,
        low: &str,
        high: &str,
        limit: usize,
        attrs: bool,
    ) -> Result<Vec<FileRow>, Error> {
        let (t, name) = (&self.inner.tables, self.inner.by_bytes);
        let mut text = format!(
            "SELECT f.filename, f.file_id, {}, f.username, f.upload_time, {} FROM \
             (SELECT filename, file_id, file_size, username, upload_time FROM {} \
             WHERE {name} >= $1 AND {name} < $2 ORDER BY {name} LIMIT {limit}) f",
            self.size_column("f"),
            attr_columns(attrs.then_some("a")),
            t.files,
        );
        if attrs {
            text +=
                &format!(" LEFT JOIN {} a ON a.dir = '' AND a.name = '' AND a.file_id = f.file_id", t.attrs);
        }
        let rows = conn.query(&text, &[&low, &high]).await?;
        let mut files = Vec::with_capacity(rows.len());
        for row in &rows {
            files.extend(file_row(row, 0)?);
        }
        // A join may have changed the order.
        if attrs && !files.is_sorted_by(|a, b| a.name <= b.name) {
            files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        }
        Ok(files)
    }

    /// Direct entries of a directory (`/a/b` without trailing slash; the root is empty), by skip-scan: the cost is
    /// that of the entries, not of the files below them. Hidden rows are left out. Begin with None; go on with
    /// [`DirPage::next`]. A page holds about `limit` entries. Reads only; may be cancelled at any time.
    ///
    /// Files come in byte order. Directories come in the order of their rows (`a-b` before `a`, since `-` sorts
    /// before `/`). Changes made meanwhile may or may not be seen; nothing else is left out or seen twice.
    pub async fn list_dir(
        &self,
        dir: &str,
        after: Option<DirCursor>,
        limit: usize,
    ) -> Result<DirPage, Error> {
        let dir = if dir == "/" { "" } else { dir };
        if is_hidden(dir.as_bytes()) || dir.contains('\0') {
            return Ok(DirPage::default());
        }
        let first = after.is_none();
        let mut cursor = after.unwrap_or_else(|| listing::start(dir));
        let mut out = DirPage::default();
        loop {
            let with_paths = first && out.next.is_none() && cursor == listing::start(dir);
            let (rows, paths) = retrying!(self, "list a directory", |retry| self
                .list_once(retry, dir, &cursor, with_paths)
                .await)?;
            let full = rows.len() > cursor.page;
            let rows = skip_seen(rows, &cursor);
            out.paths.extend(paths);
            out.next = listing::take_page(dir, rows, full, &cursor, limit, &mut out);
            match &out.next {
                Some(next) if out.files.len() + out.dirs.len() < limit.max(1) => cursor = next.clone(),
                _ => return Ok(out),
            }
        }
    }

    async fn list_once(
        &self,
        retry: &sql::Retry,
        dir: &str,
        cursor: &DirCursor,
        with_paths: bool,
    ) -> Result<(Vec<FileRow>, Vec<PathRow>), Error> {
        let attrs = self.attrs_now(retry).await?;
        let conn = retry.conn(Lane::Meta).await?;
        let high = listing::range_below(dir).1;
        // One more than a page, in place of the row that the cursor stands on.
        let rows = self.rows_between(&conn, &cursor.from, &high, cursor.page + 1, attrs);
        if !(attrs && with_paths) {
            return Ok((rows.await?, Vec::new()));
        }
        let (rows, paths) = futures_util::future::join(rows, self.paths_in(&conn, dir)).await;
        Ok((rows?, paths?))
    }

    /// Companion rows of the links and directories in a directory.
    async fn paths_in(&self, conn: &sql::Conn, dir: &str) -> Result<Vec<PathRow>, Error> {
        let text = format!(
            "SELECT {} FROM {} p WHERE p.dir = $1 AND p.file_id = '{NIL}'::uuid ORDER BY p.name",
            path_columns("p"),
            self.inner.tables.attrs
        );
        let dir = if dir.is_empty() { "/" } else { dir };
        let rows = conn.query(&text, &[&dir]).await?;
        let mut out = Vec::with_capacity(rows.len());
        for row in &rows {
            debug_assert!(row.len() >= PATH_COLUMNS);
            out.extend(path_row(row, 0)?);
        }
        Ok(out)
    }

    /// Files whose names begin with `prefix` (literally), in byte order, behind the name `after`. Fewer than
    /// `limit` means that there are no more. Hidden rows are left out. Reads only.
    pub async fn list_files(
        &self,
        prefix: &str,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<FileRow>, Error> {
        let mut out: Vec<FileRow> = Vec::new();
        if prefix.contains('\0') {
            return Ok(out);
        }
        let high = prefix_end(prefix).unwrap_or_else(|| TOP.to_owned());
        let (mut low, mut seen) = match after {
            None => (prefix.to_owned(), false),
            Some(name) => match valid_not_below(name) {
                Some(low) => {
                    let low = low.max(prefix.to_owned());
                    let seen = low.as_bytes() == name;
                    (low, seen)
                }
                None => return Ok(out),
            },
        };
        while out.len() < limit {
            // At least two, so that the row in place of the one seen already is not the whole page.
            let page = (limit - out.len()).clamp(2, PAGE_MAX);
            let rows: Vec<FileRow> = retrying!(self, "list files", |retry| {
                let attrs = self.attrs_now(retry).await?;
                let conn = retry.conn(Lane::Meta).await?;
                self.rows_between(&conn, &low, &high, page_size(page), attrs).await
            })?;
            let full = rows.len() == page_size(page);
            let Some(last) = rows.last().map(|r| r.name.clone()) else { break };
            let fresh =
                rows.into_iter().filter(|r| !(is_hidden(&r.name) || seen && r.name == low.as_bytes()));
            out.extend(fresh);
            let next = match is_hidden(&last) {
                true => Some(format!("{HIDDEN_DIR}0")),
                false => valid_not_below(&last),
            };
            match next {
                Some(next) if full => {
                    seen = next.as_bytes() == last;
                    low = next;
                }
                _ => break,
            }
        }
        out.truncate(limit);
        Ok(out)
    }

    /// Number and total size of the files that are not hidden. Reads the whole files table.
    pub async fn usage(&self) -> Result<Usage, Error> {
        let (t, name) = (&self.inner.tables, self.inner.by_bytes);
        let text = format!(
            "SELECT count(*)::int8, \
             coalesce(sum(CASE WHEN file_size > 0 THEN file_size ELSE 0 END), 0)::int8 \
             FROM {} WHERE {name} < $1 OR {name} >= $2",
            t.files
        );
        let (low, high) = (format!("{HIDDEN_DIR}/"), format!("{HIDDEN_DIR}0"));
        retrying!(self, "add up sizes", |retry| {
            let conn = retry.conn(Lane::Meta).await?;
            let rows = conn.query(&text, &[&low, &high]).await?;
            let Some(row) = rows.first() else { return Ok(Usage::default()) };
            let number = |i| -> Result<u64, Error> { Ok(u64::try_from(int(row, i)?).unwrap_or_default()) };
            Ok(Usage { files: number(0)?, bytes: number(1)? })
        })
    }
}

/// Page sizes are of few kinds, so that few statements are prepared.
fn page_size(wanted: usize) -> usize {
    wanted.next_power_of_two().clamp(16, PAGE_MAX)
}

/// Leaves out the row that the cursor stands on, or the last one in its place.
fn skip_seen(mut rows: Vec<FileRow>, cursor: &DirCursor) -> Vec<FileRow> {
    let seen = cursor.after && rows.first().is_some_and(|r| r.name == cursor.from.as_bytes());
    if seen {
        rows.remove(0);
    } else {
        rows.truncate(cursor.page);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_sizes() {
        assert_eq!([1, 16, 17, 4_000, 1_000_000].map(page_size), [16, 16, 32, 4_096, 4_096]);
    }
}
