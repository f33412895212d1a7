//! Renaming directories and links, and swapping two names: everything at and below a path, in one transaction.

use super::displace::NIL;
use super::error::Error;
use super::listing::range_below;
use super::names::{check_new_name, split_path};
use super::rows::{Batch, KIND_LINK, boolean, file_id, int, params, raw_text};
use super::table::{FileTable, colliding};
use super::types::{FileId, Old, Replace};
use crate::sql::{Durability, Lane, Stmt, ToSql, Txn};
use uuid::Uuid;

/// What is at and below a path.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Subject {
    /// The file of exactly this name, and its size.
    file: Option<(FileId, i64)>,
    /// Kind, time and target of the companion row.
    path: Option<(i64, Vec<u8>)>,
    /// The first file below.
    below: Option<FileId>,
    /// Companion rows below.
    paths_below: bool,
}

impl Subject {
    fn is_nothing(&self) -> bool {
        *self == Subject::default()
    }

    fn is_empty_dir_or_link(&self) -> bool {
        self.below.is_none() && !self.paths_below
    }
}

impl FileTable {
    /// Renames a symbolic link or a directory with everything below it, in one durable transaction. Nothing may be at
    /// `to`, else [`Error::Exists`]; with [`Replace::Displace`] it may be, for a link, a link or a file, for a directory
    /// an empty one, and gives way in the same transaction; a directory with entries is [`Error::NotEmpty`].
    /// [`Error::NotFound`]: nothing is at `from`.
    ///
    /// The parent of `from` is kept if it becomes empty. Time grows with the number of files below.
    pub async fn rename_path(&self, from: &str, to: &str, replace: Replace) -> Result<(), Error> {
        self.check_writable()?;
        check_new_name(to)?;
        check_separate(from, to)?;
        colliding!(self, "rename a directory or link", |retry| {
            let conn = retry.conn(Lane::Meta).await?;
            let txn = conn.begin(Durability::Synchronous);
            let attrs = self.attrs_present();
            let source = self.subject(&txn, from, attrs).await?;
            let target = self.subject(&txn, to, attrs).await?;
            let moved = source.path.is_none() && source.is_empty_dir_or_link();
            if moved && !target.is_nothing() && retry.maybe_committed() {
                txn.rollback().await;
                return Ok(());
            }
            let verdict = may_rename(from, to, &source, &target, replace);
            if let Err(e) = verdict {
                txn.rollback().await;
                return Err(e);
            }
            let mut batch = Batch::default();
            if let (Some((_, size)), Replace::Displace(old)) = (target.file, replace) {
                let old = match old {
                    Old::Keep(_) => old,
                    Old::Delete { .. } => Old::Delete { size_hint: u64::try_from(size).unwrap_or_default() },
                };
                self.displace(&mut batch, to, old, attrs, false);
            }
            if target.path.is_some() {
                self.drop_path_row(&mut batch, to);
            }
            self.move_all(&mut batch, from, to, attrs, false);
            if attrs {
                self.keep_dir(&mut batch, split_path(to).0, false);
                self.keep_dir(&mut batch, split_path(from).0, true);
            }
            finish(txn, &batch).await
        })?;
        self.kick_trash();
        Ok(())
    }

    /// Swaps two names with everything at and below them (files, links, directories), through a third name, in one
    /// durable transaction. Both must exist, else [`Error::NotFound`].
    pub async fn exchange(&self, a: &str, b: &str) -> Result<(), Error> {
        self.check_writable()?;
        check_new_name(a)?;
        check_new_name(b)?;
        if a == b {
            return Ok(());
        }
        check_separate(a, b)?;
        let mut before: Option<(Subject, Subject)> = None;
        let third = format!("{}swap-{}", self.hidden_prefix(), Uuid::new_v4());
        colliding!(self, "exchange two names", |retry| {
            let conn = retry.conn(Lane::Meta).await?;
            let txn = conn.begin(Durability::Synchronous);
            let attrs = self.attrs_present();
            let now = (self.subject(&txn, a, attrs).await?, self.subject(&txn, b, attrs).await?);
            let swapped = before.as_ref().is_some_and(|(x, y)| (y, x) == (&now.0, &now.1) && x != y);
            if swapped && retry.maybe_committed() {
                txn.rollback().await;
                return Ok(());
            }
            for (subject, name) in [(&now.0, a), (&now.1, b)] {
                if subject.is_nothing() {
                    txn.rollback().await;
                    return Err(Error::NotFound(name.to_owned()));
                }
            }
            before.get_or_insert(now);
            let mut batch = Batch::default();
            for (from, to) in [(a, third.as_str()), (b, a), (third.as_str(), b)] {
                self.move_all(&mut batch, from, to, attrs, true);
            }
            finish(txn, &batch).await
        })
    }

    /// Reads what is at and below a path, locking its own rows.
    async fn subject(&self, txn: &Txn<'_>, path: &str, attrs: bool) -> Result<Subject, Error> {
        let (t, name) = (&self.inner.tables, self.inner.by_bytes);
        let (low, high) = range_below(path);
        let (dir, last) = split_path(path);
        let exact = format!("SELECT file_id, file_size FROM {} WHERE filename = $1 FOR UPDATE", t.files);
        let below = format!(
            "SELECT file_id FROM {} WHERE {name} >= $1 AND {name} < $2 ORDER BY {name} LIMIT 1",
            t.files
        );
        let row = format!(
            "SELECT kind, coalesce(target, ''::bytea), coalesce(mtime::text, '') FROM {} \
             WHERE dir = $1 AND name = $2 AND file_id = '{NIL}'::uuid FOR UPDATE",
            t.attrs
        );
        let rows_below = format!(
            "SELECT ({} IS NOT NULL OR {} IS NOT NULL)",
            self.first_path("$1"),
            self.first_path_between("$2", "$3")
        );
        let mut stmts = vec![Stmt::new(&exact, &[&path]), Stmt::new(&below, &[&low, &high])];
        if attrs {
            stmts.push(Stmt::new(&row, &[&dir, &last]));
            stmts.push(Stmt::new(&rows_below, &[&path, &low, &high]));
        }
        let answers = txn.run(&stmts).await?;
        let first = |i: usize| answers.get(i).and_then(|rows| rows.first());
        let mut subject = Subject::default();
        if let Some(r) = first(0) {
            subject.file = Some((file_id(r, 0)?, int(r, 1)?));
        }
        if let Some(r) = first(1) {
            subject.below = Some(file_id(r, 0)?);
        }
        if let Some(r) = first(2) {
            let mut mark = raw_text(r, 2)?;
            mark.extend_from_slice(r.try_get::<_, &[u8]>(1).unwrap_or_default());
            subject.path = Some((int(r, 0)?, mark));
        }
        if let Some(r) = first(3) {
            subject.paths_below = boolean(r, 0)?;
        }
        Ok(subject)
    }

    fn drop_path_row(&self, batch: &mut Batch, path: &str) {
        let (dir, last) = split_path(path);
        let text = format!(
            "DELETE FROM {} WHERE dir = $1 AND name = $2 AND file_id = '{NIL}'::uuid",
            self.inner.tables.attrs
        );
        batch.add(text, params![dir.to_owned(), last.to_owned()]);
    }

    /// Adds the statements that move everything below `from` and its companion row, and with `file` also the file of
    /// exactly this name. Lengths are the server's to count: characters, or bytes where it knows no encoding.
    fn move_all(&self, batch: &mut Batch, from: &str, to: &str, attrs: bool, file: bool) {
        let (t, name) = (&self.inner.tables, self.inner.by_bytes);
        let (low, high) = range_below(from);
        if file {
            batch.add(
                format!("UPDATE {} SET filename = $2 WHERE filename = $1", t.files),
                params![from.to_owned(), to.to_owned()],
            );
        }
        batch.add(
            format!(
                "UPDATE {} SET filename = $3::text || substr(filename, length($4::text) + 1) \
                 WHERE {name} >= $1::text AND {name} < $2::text",
                t.files
            ),
            params![low.clone(), high.clone(), to.to_owned(), from.to_owned()],
        );
        if !attrs {
            return;
        }
        let ((old_dir, old_name), (new_dir, new_name)) = (split_path(from), split_path(to));
        batch.add(
            format!(
                "UPDATE {} SET dir = $3, name = $4 WHERE dir = $1 AND name = $2 AND file_id = '{NIL}'::uuid",
                t.attrs
            ),
            params![old_dir.to_owned(), old_name.to_owned(), new_dir.to_owned(), new_name.to_owned()],
        );
        for (condition, mut range) in [
            ("dir = $3::text", params![from.to_owned()]),
            ("dir >= $3::text AND dir < $4::text", params![low, high]),
        ] {
            let mut params: Vec<Box<dyn ToSql + Sync + Send>> = params![to.to_owned(), from.to_owned()];
            params.append(&mut range);
            batch.add(
                format!(
                    "UPDATE {} SET dir = $1::text || substr(dir, length($2::text) + 1) WHERE {condition}",
                    t.attrs
                ),
                params,
            );
        }
    }
}

/// Sends the statements and COMMIT.
async fn finish(txn: Txn<'_>, batch: &Batch) -> Result<(), Error> {
    let borrowed = batch.borrowed();
    let stmts: Vec<Stmt<'_>> =
        borrowed.iter().map(|(sql, params)| Stmt { sql, params: params.clone() }).collect();
    txn.commit_after(&stmts).await?;
    Ok(())
}

fn may_rename(
    from: &str,
    to: &str,
    source: &Subject,
    target: &Subject,
    replace: Replace,
) -> Result<(), Error> {
    let is_link = |subject: &Subject| subject.path.as_ref().is_some_and(|(kind, _)| *kind == KIND_LINK);
    let is_file_or_link = target.file.is_some() || is_link(target);
    if source.path.is_none() && source.is_empty_dir_or_link() {
        return Err(Error::NotFound(from.to_owned()));
    }
    if target.is_nothing() {
        return Ok(());
    }
    if replace == Replace::Refuse {
        return Err(Error::Exists(to.to_owned()));
    }
    if !target.is_empty_dir_or_link() {
        return Err(Error::NotEmpty(to.to_owned()));
    }
    // A directory takes the place of directories only, a link that of anything else.
    if is_link(source) != is_file_or_link {
        return Err(Error::Exists(to.to_owned()));
    }
    Ok(())
}

/// Neither may lie below the other.
fn check_separate(a: &str, b: &str) -> Result<(), Error> {
    let below =
        |x: &str, y: &str| x.strip_prefix(y).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if a.is_empty() || b.is_empty() || below(a, b) || below(b, a) {
        return Err(Error::Shape(format!("{a} and {b} are not separate")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separate() {
        assert!(check_separate("/a", "/ab").is_ok());
        for (a, b) in [("/a", "/a/b"), ("/a/b", "/a"), ("/a", "/a"), ("", "/a")] {
            assert!(check_separate(a, b).is_err());
        }
    }
}
