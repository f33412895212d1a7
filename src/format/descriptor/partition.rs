//! PARTITION BY as it stands in CREATE statements.
//!
//! ```text
//! 16 02 6575     one value per column: 'eu'        02 00 DEFAULT   02 01 MAXVALUE   02 02 MINVALUE
//! ```

use super::catalog::Catalog;
use super::names::{ident, ident_list, literal};
use super::proto::{IndexDescriptor, Partitioning};
use super::{Error, TableDescriptor};
use crate::format::kv::datum::Datum;
use crate::format::kv::types::ColumnType;
use crate::format::kv::value;
use crate::format::kv::varint::Reader;

/// Nesting of partitions that is followed.
const DEPTH_MAX: usize = 8;
/// The tag of a special value.
const NOT_NULL: u8 = 0x02;

/// Key columns that an index has only because its table is partitioned by them.
pub(super) fn implicit_columns(index: &IndexDescriptor) -> usize {
    let count = index.partitioning.as_ref().map_or(0, Partitioning::num_implicit_columns);
    usize::try_from(count).unwrap_or(0)
}

struct Show<'c> {
    catalog: &'c Catalog,
    table: &'c TableDescriptor,
    index: &'c IndexDescriptor,
}

impl Catalog {
    /// ` PARTITION BY …`, or nothing. `indent` is that of the line which it follows.
    pub(super) fn partitions(
        &self,
        table: &TableDescriptor,
        index: &IndexDescriptor,
        indent: usize,
    ) -> Result<String, Error> {
        let by_row =
            table.locality_config.as_ref().is_some_and(|locality| locality.regional_by_row.is_some());
        let is_primary = table.primary_index.as_ref().is_some_and(|primary| primary.id() == index.id());
        // The locality says it, or the primary index does for all others.
        if by_row || (table.partition_all_by() && !is_primary) {
            return Ok(String::new());
        }
        let Some(partitioning) = &index.partitioning else { return Ok(String::new()) };
        let mut out = String::new();
        Show { catalog: self, table, index }.show(partitioning, indent, 0, 0, &mut out)?;
        Ok(out)
    }
}

impl Show<'_> {
    fn wrong(&self, what: &str) -> Error {
        Error::Inconsistent {
            object: self.table.name().to_owned(),
            what: format!("partitions of index {}: {what}", self.index.name()),
        }
    }

    fn show(
        &self,
        own: &Partitioning,
        indent: usize,
        offset: usize,
        depth: usize,
        out: &mut String,
    ) -> Result<(), Error> {
        let count = usize::try_from(own.num_columns()).unwrap_or(usize::MAX);
        if count == 0 {
            return Ok(());
        }
        let end = offset.checked_add(count).filter(|_| depth < DEPTH_MAX);
        let columns = end.and_then(|end| self.index.column_names.get(offset..end));
        let columns = columns.ok_or_else(|| self.wrong("more columns than the index has"))?;
        let all = if self.table.partition_all_by() && depth == 0 { "ALL " } else { "" };
        let kind = match (own.list.is_empty(), own.range.is_empty()) {
            (false, _) => "LIST",
            (true, false) => "RANGE",
            (true, true) => {
                out.push_str(&format!(" PARTITION {all}BY NOTHING"));
                return Ok(());
            }
        };
        let types = self.types(offset, count)?;
        let tabs = "\t".repeat(indent);
        let names = ident_list(columns.iter().map(String::as_str));
        out.push_str(&format!(" PARTITION {all}BY {kind} ({names}) ("));
        for (at, part) in own.list.iter().enumerate() {
            let tuples: Vec<String> =
                part.values.iter().map(|tuple| self.tuple(tuple, &types)).collect::<Result<_, Error>>()?;
            let comma = if at == 0 { "" } else { ", " };
            out.push_str(&format!(
                "{comma}\n{tabs}\tPARTITION {} VALUES IN ({})",
                ident(part.name()),
                tuples.join(", ")
            ));
            if let Some(below) = &part.subpartitioning {
                self.show(below, indent + 1, offset + count, depth + 1, out)?;
            }
        }
        for (at, part) in own.range.iter().enumerate() {
            let comma = if at == 0 && own.list.is_empty() { "" } else { ", " };
            let from = self.tuple(part.from_inclusive(), &types)?;
            let to = self.tuple(part.to_exclusive(), &types)?;
            let name = ident(part.name());
            out.push_str(&format!("{comma}\n{tabs}\tPARTITION {name} VALUES FROM {from} TO {to}"));
        }
        out.push_str(&format!("\n{tabs})"));
        Ok(())
    }

    fn types(&self, offset: usize, count: usize) -> Result<Vec<ColumnType>, Error> {
        let ids = self.index.column_ids.iter().skip(offset).take(count);
        let types = ids.map(|&id| {
            let column = self.table.column(id).and_then(|column| column.r#type.as_ref());
            self.catalog.column_type(column.ok_or_else(|| self.wrong("a column does not exist"))?)
        });
        types.collect()
    }

    /// `(1, 'a', DEFAULT)`.
    fn tuple(&self, raw: &[u8], types: &[ColumnType]) -> Result<String, Error> {
        let mut reader = Reader::new(raw);
        let mut texts = Vec::with_capacity(types.len());
        let broken = |error: &dyn std::fmt::Display| self.wrong(&format!("a broken value: {error}"));
        for ty in types {
            if reader.peek() == Some(NOT_NULL) {
                let special = reader.take(2, "partition value").map_err(|error| broken(&error))?;
                texts.push(match special {
                    [_, 0] => "DEFAULT".to_owned(),
                    [_, 1] => "MAXVALUE".to_owned(),
                    [_, 2] => "MINVALUE".to_owned(),
                    _ => return Err(self.wrong("an unknown special value")),
                });
                continue;
            }
            let (_, datum) = value::get_tagged(&mut reader, ty).map_err(|error| broken(&error))?;
            if let Datum::String(text) = &datum {
                texts.push(literal(&String::from_utf8_lossy(text)));
                continue;
            }
            let mut text = Vec::new();
            datum.write_sql(ty, &mut text).map_err(|error| broken(&error))?;
            texts.push(String::from_utf8_lossy(&text).into_owned());
        }
        reader.finish("partition value").map_err(|error| broken(&error))?;
        Ok(format!("({})", texts.join(", ")))
    }
}
