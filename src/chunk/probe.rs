//! Cheap questions about a file's rows, and about the tables themselves.

use super::error::Error;
use super::table::{FileTable, retrying};
use super::types::FileId;
use crate::sql::{Lane, Row};

impl FileTable {
    /// Whether the file has chunk rows at `offset` or beyond: after the recorded size there should
    /// be none. One index probe.
    pub async fn rows_from(&self, id: FileId, offset: u64) -> Result<bool, Error> {
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        let text = format!(
            "SELECT byte_offset FROM {} WHERE file_id = $1 AND byte_offset >= $2 LIMIT 1",
            self.inner.tables.payload
        );
        let rows: Vec<Row> = retrying!(self, "look for chunks", |retry| {
            let conn = retry.conn(Lane::Meta).await?;
            Ok(conn.query(&text, &[&id.0, &offset]).await?)
        })?;
        Ok(!rows.is_empty())
    }

    /// Whether [`FileTable::range`] reads less than the whole chunk on this server.
    pub fn ranges_are_cheap(&self) -> bool {
        !self.inner.cockroach && !self.inner.options.recover
    }

    /// Whether a file can take over chunks of the one that it replaces without a copy ([`super::Take`]): PostgreSQL
    /// leaves large values where they are when their row changes.
    pub fn can_take(&self) -> bool {
        !self.inner.cockroach && !self.inner.portable
    }

    /// The server, without secrets.
    pub fn describe(&self) -> String {
        self.inner.pool.settings().describe()
    }
}
