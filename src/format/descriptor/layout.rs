//! From table descriptors to what the key and value codec needs.

use crate::format::kv::layout::{
    Ancestor, Column, Direction, Family, IndexKind, IndexLayout, KeyColumn, TableLayout,
};
use crate::format::manifest::Span;

use super::catalog::Catalog;
use super::proto::{self, IndexDescriptor};
use super::{Error, TableDescriptor};

fn index_layout(index: &IndexDescriptor) -> IndexLayout {
    let direction = |at: usize| match index.column_directions.get(at) {
        Some(&proto::DIRECTION_DESC) => Direction::Desc,
        _ => Direction::Asc,
    };
    let ancestors = index.interleave.as_ref().map_or(&[][..], |interleave| &interleave.ancestors);
    IndexLayout {
        id: index.id(),
        name: index.name().to_owned(),
        unique: index.unique(),
        kind: match index.r#type() {
            0 => IndexKind::Forward,
            proto::INDEX_INVERTED => IndexKind::Inverted,
            _ => IndexKind::Other,
        },
        version: index.version(),
        columns: index
            .column_ids
            .iter()
            .enumerate()
            .map(|(at, &id)| KeyColumn { id, direction: direction(at) })
            .collect(),
        suffix_ids: index.extra_column_ids.clone(),
        stored_ids: index.store_column_ids.clone(),
        composite_ids: index.composite_column_ids.clone(),
        primary_encoding: index.encoding_type() == 1,
        partial: !index.predicate().is_empty(),
        sharded: index.sharded.as_ref().is_some_and(proto::Sharded::is_sharded),
        ancestors: ancestors
            .iter()
            .map(|ancestor| Ancestor {
                table_id: ancestor.table_id(),
                index_id: ancestor.index_id(),
                shared_prefix_len: ancestor.shared_prefix_len(),
            })
            .collect(),
    }
}

impl Catalog {
    /// The keys of one index, with the prefix that all keys of the backup's tables have.
    pub fn index_span(&self, table: u32, index: u32) -> Span {
        let span = index_span(table, index);
        let whole = |key: &[u8]| [self.key_prefix(), key].concat();
        Span { key: whole(&span.key), end_key: whole(&span.end_key) }
    }

    /// The layout of a table's keys and values.
    pub fn layout(&self, table: &TableDescriptor) -> Result<TableLayout, Error> {
        let wrong = |what: &str| Error::Inconsistent { object: self.full_name(table), what: what.into() };
        let primary = table.primary_index.as_ref().ok_or_else(|| wrong("no primary index"))?;
        if table.families.is_empty() {
            return Err(wrong("no column families"));
        }
        let mut columns = Vec::with_capacity(table.columns.len());
        for column in &table.columns {
            let ty = column.r#type.as_ref().ok_or_else(|| wrong("a column has no type"))?;
            columns.push(Column {
                id: column.id(),
                name: column.name().to_owned(),
                ty: self.column_type(ty)?,
                nullable: column.nullable(),
                is_virtual: column.r#virtual(),
            });
        }
        let mut families: Vec<Family> = table
            .families
            .iter()
            .map(|family| Family {
                id: family.id(),
                column_ids: family.column_ids.clone(),
                default_column_id: family.default_column_id(),
            })
            .collect();
        families.sort_by_key(|family| family.id);
        Ok(TableLayout {
            key_prefix: self.key_prefix().to_vec(),
            table_id: table.id(),
            name: self.full_name(table),
            columns,
            primary: IndexLayout { unique: true, ..index_layout(primary) },
            families,
            indexes: table.indexes.iter().map(index_layout).collect(),
        })
    }
}

/// An ordered unsigned integer, as keys begin with: one byte up to 109, then length and big-endian bytes.
pub fn key_uint(value: u64) -> Vec<u8> {
    if let Some(byte) = u8::try_from(value).ok().filter(|&v| v <= 109) {
        return vec![0x88 + byte];
    }
    let bytes = value.to_be_bytes();
    let skip = bytes.iter().take_while(|&&b| b == 0).count();
    let significant = bytes.get(skip..).unwrap_or_default();
    let len = u8::try_from(significant.len()).unwrap_or(8);
    let mut out = vec![0xf5 + len];
    out.extend_from_slice(significant);
    out
}

/// The keys of one index.
pub fn index_span(table: u32, index: u32) -> Span {
    let key = |index: u64| [key_uint(u64::from(table)), key_uint(index)].concat();
    Span { key: key(u64::from(index)), end_key: key(u64::from(index) + 1) }
}

/// All keys of a table.
pub fn table_span(table: u32) -> Span {
    Span { key: key_uint(u64::from(table)), end_key: key_uint(u64::from(table) + 1) }
}
