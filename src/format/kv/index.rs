//! Entries of secondary indexes back to the columns they hold.

use super::datum::{self, Datum};
use super::envelope::{self, Value, tag};
use super::error::{Error, Result};
use super::inverted;
use super::key;
use super::layout::{Direction, IndexKind, IndexLayout, TableLayout};
use super::ordered::INTERLEAVED;
use super::plan::{KeyPart, KeyPlan, column_name, part};
use super::row::{ColumnMap, read_tuple};
use super::types::ColumnType;
use super::varint::Reader;
use std::sync::Arc;

/// What an index entry turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// An entry: its column family and, in an inverted index, the inverted key.
    Present {
        /// Family of the entry.
        family: u32,
        /// Bytes of the inverted key.
        inverted: Option<&'a [u8]>,
    },
    /// A tombstone.
    Deleted,
    /// The key belongs to another table or index.
    Foreign,
}

/// Decodes the entries of one secondary index (not one that holds whole rows; see
/// [`super::row::RowDecoder::for_index`]).
#[derive(Clone, Debug)]
pub struct IndexDecoder {
    layout: Arc<TableLayout>,
    plan: KeyPlan,
    suffix: Vec<KeyPart>,
    columns: ColumnMap,
    unique: bool,
    /// For inverted indexes: the element type of the array, if it is one.
    inverted: Option<Option<ColumnType>>,
    verify: bool,
}

impl IndexDecoder {
    /// For an index of a table.
    pub fn new(layout: Arc<TableLayout>, index: &IndexLayout) -> Result<IndexDecoder> {
        let (count, inverted) = match index.kind {
            IndexKind::Forward => (index.columns.len(), None),
            IndexKind::Inverted => {
                let last = index.columns.last().ok_or_else(|| Error::Layout {
                    what: format!("index {:?} has no columns", index.name),
                })?;
                let element = match part(&layout, last.id, Direction::Asc)?.ty {
                    ColumnType::Array(element) => Some(*element),
                    _ => None,
                };
                (index.columns.len() - 1, Some(element))
            }
            IndexKind::Other => return Err(Error::NotDerivable { what: "an entry of this kind of index" }),
        };
        Ok(IndexDecoder {
            plan: KeyPlan::new(&layout, index, count)?,
            suffix: index
                .suffix_ids
                .iter()
                .map(|id| part(&layout, *id, Direction::Asc))
                .collect::<Result<_>>()?,
            columns: ColumnMap::new(&layout)?,
            unique: index.unique,
            inverted,
            layout,
            verify: true,
        })
    }

    /// Whether value checksums are verified (they are unless switched off).
    pub fn verify_checksums(mut self, verify: bool) -> IndexDecoder {
        self.verify = verify;
        self
    }

    /// Decodes an entry (logical key without version, value with envelope). `row` is cleared and gets one
    /// datum per column of the table; columns that the entry does not hold are NULL.
    pub fn decode<'a>(&self, key: &'a [u8], raw: &'a [u8], row: &mut Vec<Datum<'a>>) -> Result<Entry<'a>> {
        datum::reset(row, self.layout.columns.len());
        let mut r = Reader::new(key);
        let Some(has_null) = self.plan.get(&mut r, &self.layout, row)? else { return Ok(Entry::Foreign) };
        let inverted = match &self.inverted {
            Some(element) => Some(inverted::skip(&mut r, element.as_ref())?),
            None => None,
        };
        let unique = self.unique && inverted.is_none();
        if !unique || has_null {
            self.read_suffix(&mut r, row)?;
        }
        if r.peek() == Some(INTERLEAVED) {
            return Ok(Entry::Foreign);
        }
        let (prefix, family) = key::split_family(key)?;
        if prefix != key.len() - r.rest().len() {
            return Err(Error::Invalid { what: "index key (bytes between the columns and the family)" });
        }
        let opened = if self.verify { envelope::open_verified(key, raw)? } else { envelope::open(raw)? };
        let (tag, data) = match opened {
            Value::Tombstone => return Ok(Entry::Deleted),
            Value::Present { tag, data, .. } => (tag, data),
        };
        let mut data = Reader::new(data);
        match (tag, family) {
            (tag::BYTES, 0) => {
                if unique {
                    self.read_suffix(&mut data, row)?;
                }
            }
            (tag::TUPLE, _) => {}
            _ => return Err(Error::Invalid { what: "value of an index entry" }),
        }
        read_tuple(&mut data, &self.layout, &self.columns, row)?;
        Ok(Entry::Present { family, inverted })
    }

    fn read_suffix<'a>(&self, r: &mut Reader<'a>, row: &mut [Datum<'a>]) -> Result<()> {
        for column in &self.suffix {
            let datum = key::get(r, &column.ty, Direction::Asc)
                .map_err(|e| e.in_column(column_name(&self.layout, column.position)))?;
            if let Some(slot) = row.get_mut(column.position) {
                *slot = datum;
            }
        }
        Ok(())
    }
}
