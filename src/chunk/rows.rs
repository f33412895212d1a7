//! From columns to values: raw names, attributes, the column lists of the queries.

use super::error::Error;
use super::names::join_path;
use super::types::{Attrs, FileId, FileRow, PathKind, PathRow};
use crate::sql::{self, FromSql, Row, ToSql, Type};
use crate::util::clock::Micros;
use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;
use tokio_postgres::types::{IsNull, to_sql_checked};
use uuid::Uuid;

type BoxError = Box<dyn std::error::Error + Sync + Send>;

/// `kind` of a file's companion row.
pub const KIND_FILE: i64 = 0;
/// `kind` of a directory's companion row.
pub const KIND_DIR: i64 = 1;
/// `kind` of a symbolic link's companion row.
pub const KIND_LINK: i64 = 2;

/// A text column as bytes, valid UTF-8 or not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawText(pub Vec<u8>);

impl FromSql<'_> for RawText {
    fn from_sql(_: &Type, raw: &[u8]) -> Result<RawText, BoxError> {
        Ok(RawText(raw.to_vec()))
    }

    fn accepts(ty: &Type) -> bool {
        [Type::TEXT, Type::VARCHAR, Type::BPCHAR, Type::NAME, Type::UNKNOWN].contains(ty)
    }
}

/// Bytes of a chunk as a parameter.
#[derive(Clone, Debug)]
pub struct Payload(pub Bytes);

impl ToSql for Payload {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, BoxError> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::BYTEA
    }

    to_sql_checked!();
}

fn column<'a, T: FromSql<'a>>(row: &'a Row, i: usize) -> Result<T, Error> {
    row.try_get(i)
        .map_err(|e| Error::Shape(format!("a column of the userfile tables has an unexpected type: {e}")))
}

/// Reads a whole number column of any result, with a clear error where it is not one.
pub fn int(row: &Row, i: usize) -> Result<i64, Error> {
    Ok(column::<Option<i64>>(row, i)?.unwrap_or_default())
}

/// Reads a boolean column.
pub fn boolean(row: &Row, i: usize) -> Result<bool, Error> {
    Ok(column::<Option<bool>>(row, i)?.unwrap_or_default())
}

/// Reads a file's identity.
pub fn file_id(row: &Row, i: usize) -> Result<FileId, Error> {
    Ok(FileId(column::<Option<Uuid>>(row, i)?.unwrap_or_default()))
}

/// Reads a text column as bytes; NULL is empty.
pub fn raw_text(row: &Row, i: usize) -> Result<Vec<u8>, Error> {
    Ok(column::<Option<RawText>>(row, i)?.map(|t| t.0).unwrap_or_default())
}

/// Reads an optional length: NULL is None, lengths beyond u32 (impossible) are clamped.
pub fn opt_len(row: &Row, i: usize) -> Result<Option<u32>, Error> {
    let len = column::<Option<i64>>(row, i)?;
    Ok(len.map(|l| u32::try_from(l).unwrap_or(u32::MAX)))
}

/// Number of columns of a file row in front of the attributes.
pub const FILE_COLUMNS: usize = 5;
/// Number of columns of attributes.
pub const ATTR_COLUMNS: usize = 4;

/// The attribute columns of the companion row `alias`, or NULLs where there is no companion table.
pub fn attr_columns(alias: Option<&str>) -> String {
    match alias {
        Some(a) => format!("{a}.mode, {a}.uid, {a}.gid, {a}.xattrs"),
        None => "NULL::int8, NULL::int8, NULL::int8, NULL::bytea".to_owned(),
    }
}

/// A row of `filename, file_id, file_size, username, upload_time`, then the attribute columns, from column
/// `at` on. None: `file_id` is NULL, so a join found no file.
pub fn file_row(row: &Row, at: usize) -> Result<Option<FileRow>, Error> {
    let Some(id) = column::<Option<Uuid>>(row, at + 1)? else {
        return Ok(None);
    };
    Ok(Some(FileRow {
        name: raw_text(row, at)?,
        id: FileId(id),
        size: int(row, at + 2)?,
        username: String::from_utf8_lossy(&raw_text(row, at + 3)?).into_owned(),
        mtime: column::<Option<Micros>>(row, at + 4)?,
        attrs: attrs(row, at + FILE_COLUMNS)?,
    }))
}

fn attrs(row: &Row, at: usize) -> Result<Attrs, Error> {
    let number = |i| -> Result<Option<u32>, Error> {
        Ok(column::<Option<i64>>(row, i)?.and_then(|v| u32::try_from(v).ok()))
    };
    let xattrs = column::<Option<&[u8]>>(row, at + 3)?.map(decode_xattrs).unwrap_or_default();
    Ok(Attrs { mode: number(at)?, uid: number(at + 1)?, gid: number(at + 2)?, xattrs })
}

/// The columns that [`path_row`] reads, of the companion row `alias`.
pub fn path_columns(alias: &str) -> String {
    format!(
        "{alias}.dir, {alias}.name, {alias}.kind, {alias}.mtime, {alias}.target, {}",
        attr_columns(Some(alias))
    )
}

/// Number of columns of [`path_columns`].
pub const PATH_COLUMNS: usize = 5 + ATTR_COLUMNS;

/// A companion row keyed by path, from column `at` on. None: a join found nothing, or it is of no known kind.
pub fn path_row(row: &Row, at: usize) -> Result<Option<PathRow>, Error> {
    let kind = match column::<Option<i64>>(row, at + 2)? {
        Some(KIND_DIR) => PathKind::Dir,
        Some(KIND_LINK) => {
            let target = column::<Option<&[u8]>>(row, at + 4)?.unwrap_or_default();
            PathKind::Symlink { target: target.to_vec() }
        }
        _ => return Ok(None),
    };
    Ok(Some(PathRow {
        path: join_path(&raw_text(row, at)?, &raw_text(row, at + 1)?),
        kind,
        mtime: column::<Option<Micros>>(row, at + 3)?.unwrap_or_default(),
        attrs: attrs(row, at + 5)?,
    }))
}

/// The stored form of extended attributes; None: there are none.
///
/// A version byte (1), then for each the lengths of name and value as 32-bit big-endian numbers and both.
pub fn encode_xattrs(xattrs: &BTreeMap<Vec<u8>, Vec<u8>>) -> Option<Vec<u8>> {
    if xattrs.is_empty() {
        return None;
    }
    let mut out = vec![1];
    for (k, v) in xattrs {
        for part in [k, v] {
            out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        }
        out.extend_from_slice(k);
        out.extend_from_slice(v);
    }
    Some(out)
}

/// The opposite of [`encode_xattrs`]; what cannot be read is left out.
pub fn decode_xattrs(stored: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut out = BTreeMap::new();
    let Some((1, mut rest)) = stored.split_first().map(|(v, r)| (*v, r)) else {
        return out;
    };
    let length = |b: &[u8], i: usize| -> Option<usize> {
        let four: [u8; 4] = b.get(i..i + 4)?.try_into().ok()?;
        usize::try_from(u32::from_be_bytes(four)).ok()
    };
    while let (Some(k), Some(v)) = (length(rest, 0), length(rest, 4)) {
        let end = 8usize.saturating_add(k).saturating_add(v);
        let Some(both) = rest.get(8..end) else { break };
        out.insert(both[..k].to_vec(), both[k..].to_vec());
        rest = &rest[end..];
    }
    out
}

/// Attributes as parameters.
pub fn attr_params(attrs: &Attrs) -> [Box<dyn ToSql + Sync + Send>; 4] {
    let number = |v: Option<u32>| Box::new(v.map(i64::from));
    [number(attrs.mode), number(attrs.uid), number(attrs.gid), Box::new(encode_xattrs(&attrs.xattrs))]
}

/// Sizes and offsets go to the server as signed numbers.
pub fn to_i64(v: u64) -> Result<i64, Error> {
    i64::try_from(v).map_err(|_| Error::TooLarge(format!("{v} is beyond the largest possible file")))
}

/// Owned statements of one transaction, turned into borrowed ones when sent.
#[derive(Default)]
pub struct Batch {
    stmts: Vec<(String, Vec<Box<dyn ToSql + Sync + Send>>)>,
}

impl Batch {
    /// Adds a statement.
    pub fn add(&mut self, sql: String, params: Vec<Box<dyn ToSql + Sync + Send>>) {
        self.stmts.push((sql, params));
    }

    /// Number of statements.
    pub fn len(&self) -> usize {
        self.stmts.len()
    }

    /// The statements with borrowed parameters.
    pub fn borrowed(&self) -> Vec<(&str, Vec<&(dyn ToSql + Sync)>)> {
        self.stmts
            .iter()
            .map(|(sql, params)| {
                (sql.as_str(), params.iter().map(|p| -> &(dyn ToSql + Sync) { &**p }).collect())
            })
            .collect()
    }

    /// Runs them in one transaction. Row counts, one a statement.
    pub async fn run(&self, conn: &sql::Conn, durability: sql::Durability) -> Result<Vec<u64>, sql::Error> {
        let stmts: Vec<sql::Stmt<'_>> =
            self.borrowed().into_iter().map(|(sql, params)| sql::Stmt { sql, params }).collect();
        conn.transaction(&stmts, durability).await
    }
}

/// Boxes parameters of different types.
macro_rules! params {
    ($($p:expr),* $(,)?) => {
        vec![$(Box::new($p) as Box<dyn $crate::sql::ToSql + Sync + Send>),*]
    };
}
pub(super) use params;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xattrs_round_trip() {
        let mut x = BTreeMap::new();
        assert_eq!(encode_xattrs(&x), None);
        x.insert(b"user.a".to_vec(), b"".to_vec());
        x.insert(b"user.b".to_vec(), vec![0, 255]);
        let stored = encode_xattrs(&x).unwrap();
        assert_eq!(decode_xattrs(&stored), x);
        for cut in 0..stored.len() {
            assert!(decode_xattrs(&stored[..cut]).len() < 2);
        }
        assert!(decode_xattrs(&[2, 0, 0]).is_empty());
        assert!(decode_xattrs(&[1, 255, 255, 255, 255, 255, 255, 255, 255, 1]).is_empty());
    }
}
