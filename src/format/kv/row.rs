//! Rows from the key-value pairs of a primary index.
//!
//! A row is one pair per column family. Family 0 is always there and holds a TUPLE; a family of one column
//! may hold the bare value; NULL columns and families without values are left out.

use super::datum::{self, Datum};
use super::envelope::{self, Value, tag};
use super::error::{Error, Result};
use super::key;
use super::layout::{IndexLayout, TableLayout};
use super::ordered::INTERLEAVED;
use super::plan::{KeyPlan, column_name};
use super::value;
use super::varint::Reader;
use std::sync::Arc;

/// What a group of pairs turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A row of the table.
    Row,
    /// Every pair is a tombstone.
    Deleted,
    /// The key belongs to another table or index (interleaved tables share a span).
    Foreign,
}

/// Decodes rows of one table. Cheap to share between threads.
#[derive(Clone, Debug)]
pub struct RowDecoder {
    layout: Arc<TableLayout>,
    plan: KeyPlan,
    columns: ColumnMap,
    /// Family id and position of its default column.
    defaults: Vec<(u32, usize)>,
    verify: bool,
}

/// Column positions by ascending column id.
#[derive(Clone, Debug)]
pub(crate) struct ColumnMap {
    by_id: Vec<(u32, usize)>,
}

impl ColumnMap {
    pub fn new(layout: &TableLayout) -> Result<ColumnMap> {
        let mut by_id: Vec<(u32, usize)> =
            layout.columns.iter().enumerate().map(|(position, c)| (c.id, position)).collect();
        by_id.sort_unstable();
        if let Some(twice) = by_id.windows(2).find(|w| matches!(w, [a, b] if a.0 == b.0)) {
            let id = twice.first().map_or(0, |c| c.0);
            return Err(Error::Layout { what: format!("column id {id} of {:?} occurs twice", layout.name) });
        }
        Ok(ColumnMap { by_id })
    }
}

impl RowDecoder {
    /// For the rows of the primary index.
    pub fn new(layout: Arc<TableLayout>) -> Result<RowDecoder> {
        let index = layout.primary.clone();
        RowDecoder::for_index(layout, &index)
    }

    /// For another index of the table that holds whole rows (`primary_encoding`).
    pub fn for_index(layout: Arc<TableLayout>, index: &IndexLayout) -> Result<RowDecoder> {
        let plan = KeyPlan::new(&layout, index, index.columns.len())?;
        let columns = ColumnMap::new(&layout)?;
        let defaults = layout
            .families
            .iter()
            .filter_map(|f| Some((f.id, layout.column_position(f.default_column_id)?)))
            .collect();
        Ok(RowDecoder { layout, plan, columns, defaults, verify: true })
    }

    /// Whether value checksums are verified (they are unless switched off).
    pub fn verify_checksums(mut self, verify: bool) -> RowDecoder {
        self.verify = verify;
        self
    }

    /// The table.
    pub fn layout(&self) -> &TableLayout {
        &self.layout
    }

    /// The beginning of the row that `key` lies in; a key that is no row's comes back as it is.
    pub fn row_start(&self, key: &[u8]) -> Vec<u8> {
        let mut row = vec![Datum::Null; self.layout.columns.len()];
        let mut r = Reader::new(key);
        let len = match self.plan.get(&mut r, &self.layout, &mut row) {
            Ok(Some(_)) => key.len() - r.rest().len(),
            Ok(None) | Err(_) => key.len(),
        };
        key.get(..len).unwrap_or(key).to_vec()
    }

    /// Decodes the pairs (logical key without version, value with envelope) of one row: all those with an
    /// equal row prefix, see [`row_prefix`], the newest version of each. `row` is cleared and gets one datum
    /// per column of the table; absent and virtual columns are NULL.
    pub fn decode<'a>(&self, pairs: &[(&'a [u8], &'a [u8])], row: &mut Vec<Datum<'a>>) -> Result<Decoded> {
        datum::reset(row, self.layout.columns.len());
        let Some((first, _)) = pairs.first() else { return Ok(Decoded::Deleted) };
        let mut r = Reader::new(first);
        if self.plan.get(&mut r, &self.layout, row)?.is_none() || r.peek() == Some(INTERLEAVED) {
            return Ok(Decoded::Foreign);
        }
        let (prefix, _) = key::split_family(first)?;
        if prefix != first.len() - r.rest().len() {
            return Err(Error::Invalid { what: "row key (bytes between the key columns and the family)" });
        }
        let mut decoded = Decoded::Deleted;
        for (key, raw) in pairs {
            let (_, family) = key::split_family(key)?;
            let opened = if self.verify { envelope::open_verified(key, raw)? } else { envelope::open(raw)? };
            let Value::Present { tag, data, .. } = opened else { continue };
            decoded = Decoded::Row;
            if tag == tag::TUPLE {
                read_tuple(&mut Reader::new(data), &self.layout, &self.columns, row)?;
            } else {
                self.read_scalar(family, tag, data, row)?;
            }
        }
        Ok(decoded)
    }

    fn read_scalar<'a>(&self, family: u32, tag: u8, data: &'a [u8], row: &mut [Datum<'a>]) -> Result<()> {
        let Some(&(_, position)) = self.defaults.iter().find(|(id, _)| *id == family) else {
            // The column of this family was dropped.
            return match self.layout.families.iter().find(|f| f.id == family) {
                Some(f) if f.default_column_id == 0 && !f.column_ids.is_empty() => {
                    Err(Error::Invalid { what: "family value (a single value, but no default column)" })
                }
                _ => Ok(()),
            };
        };
        let column = self.layout.columns.get(position).ok_or(Error::Invalid { what: "column" })?;
        let datum = value::get_scalar(tag, data, &column.ty).map_err(|e| e.in_column(&column.name))?;
        if let Some(slot) = row.get_mut(position) {
            merge(slot, datum);
        }
        Ok(())
    }
}

/// Reads the tagged columns of a tuple into a row; columns that the table does not have are skipped.
pub(crate) fn read_tuple<'a>(
    r: &mut Reader<'a>,
    layout: &TableLayout,
    columns: &ColumnMap,
    row: &mut [Datum<'a>],
) -> Result<()> {
    let mut id = 0u32;
    let mut known = columns.by_id.iter().peekable();
    while !r.is_empty() {
        let (delta, kind) = value::get_tag(r)?;
        let Some(next) = id.checked_add(delta) else { return Err(Error::Invalid { what: "column tag" }) };
        id = next;
        while known.next_if(|(k, _)| *k < id).is_some() {}
        let column = match known.peek() {
            Some(&&(k, position)) if k == id => {
                layout.columns.get(position).zip(row.get_mut(position)).map(|c| (c, position))
            }
            _ => None,
        };
        match column {
            Some(((column, slot), position)) => {
                let read = if slot.is_null() {
                    value::get_payload_into(r, kind, &column.ty, slot)
                } else {
                    value::get_payload(r, kind, &column.ty, 0).map(|datum| merge(slot, datum))
                };
                read.map_err(|e| e.in_column(column_name(layout, position)))?;
            }
            None => value::skip_payload(r, kind, 0)?,
        }
    }
    Ok(())
}

/// Puts a datum from a value where one from the key may be: the value knows more, except a sort key.
#[inline]
fn merge<'a>(slot: &mut Datum<'a>, datum: Datum<'a>) {
    match (&mut *slot, datum) {
        (Datum::Collated(known), Datum::String(text)) => known.text = Some(text),
        (slot, datum) => *slot = datum,
    }
}

/// The part of a key that all pairs of a row have in common.
pub fn row_prefix(key: &[u8]) -> Result<&[u8]> {
    let (len, _) = key::split_family(key)?;
    Ok(key.get(..len).unwrap_or_default())
}
