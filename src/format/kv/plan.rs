//! How the key of an index is put together from a row: literal prefixes and columns.

use super::datum::Datum;
use super::error::{Error, Result};
use super::key;
use super::layout::{Direction, IndexLayout, TableLayout};
use super::ordered::INTERLEAVED;
use super::types::ColumnType;
use super::varint::Reader;

/// A part of a key.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Literal(Vec<u8>),
    Column(KeyPart),
}

/// A column in a key.
#[derive(Clone, Debug)]
pub(crate) struct KeyPart {
    pub position: usize,
    pub id: u32,
    pub ty: ColumnType,
    pub direction: Direction,
}

impl KeyPart {
    /// Appends a datum of this column. A collated string needs its sort key.
    pub fn put(&self, datum: &Datum<'_>, out: &mut Vec<u8>) -> Result<()> {
        match (&self.ty, datum) {
            (ColumnType::Collated { .. }, Datum::String(_)) => {
                Err(Error::NotDerivable { what: "the sort key of a collated string" })
            }
            _ => key::put(out, datum, self.direction),
        }
    }
}

/// The steps of an index's key up to its last key column, without suffix columns and family.
#[derive(Clone, Debug)]
pub(crate) struct KeyPlan {
    pub steps: Vec<Step>,
}

/// Finds a column or says which is missing.
pub(crate) fn part(layout: &TableLayout, id: u32, direction: Direction) -> Result<KeyPart> {
    let position = layout.column_position(id).ok_or_else(|| Error::Layout {
        what: format!("an index of {:?} uses column {id}, which does not exist", layout.name),
    })?;
    let column = layout.columns.get(position).ok_or(Error::Invalid { what: "column" })?;
    Ok(KeyPart { position, id, ty: column.ty.clone(), direction })
}

impl KeyPlan {
    /// For the first `count` key columns of an index.
    pub fn new(layout: &TableLayout, index: &IndexLayout, count: usize) -> Result<KeyPlan> {
        let mut steps = Vec::new();
        let mut columns = index.columns.iter().take(count);
        let mut literal = layout.key_prefix.clone();
        for ancestor in &index.ancestors {
            key::put_index_prefix(&mut literal, ancestor.table_id, ancestor.index_id);
            steps.push(Step::Literal(std::mem::take(&mut literal)));
            for _ in 0..ancestor.shared_prefix_len {
                let c = columns.next().ok_or_else(|| Error::Layout {
                    what: format!("index {:?} shares more columns than it has", index.name),
                })?;
                steps.push(Step::Column(part(layout, c.id, c.direction)?));
            }
            literal.push(INTERLEAVED);
        }
        key::put_index_prefix(&mut literal, layout.table_id, index.id);
        steps.push(Step::Literal(literal));
        for c in columns {
            steps.push(Step::Column(part(layout, c.id, c.direction)?));
        }
        Ok(KeyPlan { steps })
    }

    /// Appends the key of a row. Returns whether a column was NULL.
    pub fn put(&self, row: &[Datum<'_>], out: &mut Vec<u8>) -> Result<bool> {
        let mut has_null = false;
        for step in &self.steps {
            match step {
                Step::Literal(bytes) => out.extend_from_slice(bytes),
                Step::Column(part) => {
                    let datum = row_datum(row, part.position)?;
                    has_null |= datum.is_null();
                    part.put(datum, out)?;
                }
            }
        }
        Ok(has_null)
    }

    /// Reads a key into a row. `None`: the key belongs to another table or index. Otherwise whether a column
    /// was NULL.
    pub fn get<'a>(
        &self,
        r: &mut Reader<'a>,
        layout: &TableLayout,
        row: &mut [Datum<'a>],
    ) -> Result<Option<bool>> {
        let mut has_null = false;
        for step in &self.steps {
            match step {
                Step::Literal(bytes) => {
                    if !r.rest().starts_with(bytes) {
                        return Ok(None);
                    }
                    r.take(bytes.len(), "key prefix")?;
                }
                Step::Column(part) => {
                    let datum = key::get(r, &part.ty, part.direction)
                        .map_err(|e| e.in_column(column_name(layout, part.position)))?;
                    has_null |= datum.is_null();
                    if let Some(slot) = row.get_mut(part.position) {
                        *slot = datum;
                    }
                }
            }
        }
        Ok(Some(has_null))
    }
}

pub(crate) fn column_name(layout: &TableLayout, position: usize) -> &str {
    layout.columns.get(position).map_or("", |c| c.name.as_str())
}

pub(crate) fn row_datum<'r, 'a>(row: &'r [Datum<'a>], position: usize) -> Result<&'r Datum<'a>> {
    row.get(position)
        .ok_or_else(|| Error::Layout { what: "the row has fewer datums than the table columns".into() })
}
