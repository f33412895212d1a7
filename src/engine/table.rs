//! One table of a backup at a time: its rows in primary key order.

use std::sync::Arc;

use crate::format::descriptor::{Catalog, TableDescriptor};
use crate::format::kv::datum::Datum;
use crate::format::kv::envelope::{self, Value};
use crate::format::kv::layout::TableLayout;
use crate::format::kv::row::{Decoded, RowDecoder};
use crate::format::kv::types::ColumnType;
use crate::format::kv::value;
use crate::format::manifest::{Manifest, Timestamp};

use super::Error;
use super::open::{Backup, Layer};
use super::scan::{Pair, Scan};

/// A backup at a time: descriptors and layers.
pub struct State<'b> {
    /// Descriptors at the time.
    pub catalog: Catalog,
    /// Data at the time.
    pub scan: Scan<'b>,
    /// The time.
    pub at: Timestamp,
}

impl Backup {
    /// The state at a time; by default that of the newest layer.
    pub fn state(&self, at: Option<Timestamp>) -> Result<State<'_>, Error> {
        let (layers, at) = self.at(at)?;
        let manifests: Vec<&Manifest> = layers.iter().map(|layer: &Layer| &layer.manifest).collect();
        Ok(State { catalog: Catalog::at(&manifests, at)?, scan: Scan::new(layers, at), at })
    }
}

/// A row: one datum per column of the layout.
pub type Row<'a> = [Datum<'a>];

impl State<'_> {
    /// All rows of a table in the order of its primary key. Stops at the first error, also of `emit`.
    pub fn rows<E: From<Error>>(
        &self,
        table: &TableDescriptor,
        layout: &Arc<TableLayout>,
        emit: &mut dyn FnMut(&Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let decoder = RowDecoder::new(layout.clone()).map_err(|error| self.layout_error(table, &error))?;
        let span = self.catalog.index_span(root_table(layout), root_index(layout));
        self.scan.require_covered(&span)?;
        let start = |key: &[u8]| decoder.row_start(key);
        for segment in self.scan.segments(&span, &start) {
            self.scan.rows(&segment, &mut |pairs: &[Pair]| {
                let borrowed: Vec<(&[u8], &[u8])> =
                    pairs.iter().map(|pair| (pair.key.as_slice(), pair.value.as_slice())).collect();
                let mut row = Vec::new();
                match decoder.decode(&borrowed, &mut row) {
                    Ok(Decoded::Row) => emit(&row),
                    Ok(Decoded::Deleted | Decoded::Foreign) => Ok(()),
                    Err(error) => Err(E::from(self.pair_error(pairs, &error))),
                }
            })?;
        }
        Ok(())
    }

    /// The last value of a sequence; `None` when the backup has none.
    pub fn sequence_value(&self, table: &TableDescriptor) -> Result<Option<i64>, Error> {
        let span = self.catalog.index_span(table.id(), 1);
        self.scan.require_covered(&span)?;
        let mut found = None;
        for segment in self.scan.segments(&span, &<[u8]>::to_vec) {
            self.scan.rows(&segment, &mut |pairs: &[Pair]| {
                for pair in pairs {
                    let value = sequence_value(&pair.key, &pair.value);
                    found = value.map_err(|error| self.pair_error(pairs, &error))?;
                }
                Ok::<(), Error>(())
            })?;
        }
        Ok(found)
    }

    fn layout_error(&self, table: &TableDescriptor, error: &crate::format::kv::error::Error) -> Error {
        Error::Request(format!("table {}: {error}", self.catalog.full_name(table)))
    }

    fn pair_error(&self, pairs: &[Pair], cause: &dyn std::fmt::Display) -> Error {
        match pairs.first() {
            Some(pair) => Error::Data {
                file: self.scan.place(pair.file),
                offset: pair.offset,
                cause: format!("key {}: {cause}", super::pretty::key(&pair.key)),
            },
            None => Error::Request(cause.to_string()),
        }
    }
}

/// The number in the only pair of a sequence; `None` for a tombstone.
pub fn sequence_value(key: &[u8], raw: &[u8]) -> Result<Option<i64>, crate::format::kv::error::Error> {
    let Value::Present { tag, data, .. } = envelope::open_verified(key, raw)? else { return Ok(None) };
    match value::get_scalar(tag, data, &ColumnType::INT8)? {
        Datum::Int(n) => Ok(Some(n)),
        _ => Ok(None),
    }
}

/// The table whose span holds the rows: the root of old interleaved tables, else the table itself.
pub fn root_table(layout: &TableLayout) -> u32 {
    layout.primary.ancestors.first().map_or(layout.table_id, |ancestor| ancestor.table_id)
}

fn root_index(layout: &TableLayout) -> u32 {
    layout.primary.ancestors.first().map_or(layout.primary.id, |ancestor| ancestor.index_id)
}
