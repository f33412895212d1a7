//! Rows to the key-value pairs of the primary index and of the secondary indexes.

use super::datum::Datum;
use super::envelope::{self, tag};
use super::error::{Error, Result};
use super::inverted;
use super::key;
use super::layout::{Direction, IndexKind, IndexLayout, TableLayout};
use super::plan::{KeyPart, KeyPlan, column_name, part, row_datum};
use super::value;
use std::sync::Arc;

/// Takes a logical key without version and a value with its envelope.
pub type Emit<'e, E> = dyn FnMut(&[u8], &[u8]) -> std::result::Result<(), E> + 'e;

/// Encodes rows of one table. Buffers are reused, so it is not shared between threads; clone it.
#[derive(Clone, Debug)]
pub struct RowEncoder {
    layout: Arc<TableLayout>,
    primary: RowPlan,
    indexes: Vec<IndexPlan>,
    pair: Output,
}

/// The pair that is being put together.
#[derive(Clone, Debug)]
struct Output {
    key: Vec<u8>,
    value: Vec<u8>,
    /// Whether values get checksums.
    sealed: bool,
}

impl Output {
    fn emit<E: From<Error>>(&mut self, emit: &mut Emit<'_, E>) -> std::result::Result<(), E> {
        if self.sealed {
            envelope::seal(&self.key, &mut self.value);
        }
        emit(&self.key, &self.value)
    }
}

/// How an index with whole rows is written.
#[derive(Clone, Debug)]
struct RowPlan {
    key: KeyPlan,
    /// Positions of the key columns.
    key_columns: Vec<usize>,
    families: Vec<FamilyPlan>,
}

#[derive(Clone, Debug)]
struct FamilyPlan {
    id: u32,
    /// Columns by ascending id.
    columns: Vec<KeyPart>,
    /// A bare value instead of a tuple.
    scalar: bool,
}

#[derive(Clone, Debug)]
enum IndexPlan {
    WholeRows(RowPlan),
    Forward(ForwardPlan),
    Inverted { key: KeyPlan, column: KeyPart, suffix: Vec<KeyPart>, version: u32 },
    Unknown,
}

#[derive(Clone, Debug)]
struct ForwardPlan {
    key: KeyPlan,
    suffix: Vec<KeyPart>,
    unique: bool,
    families: Vec<StoredFamily>,
}

#[derive(Clone, Debug)]
struct StoredFamily {
    id: u32,
    /// Stored and composite columns by ascending id; composite ones are written only if needed.
    columns: Vec<(KeyPart, bool)>,
}

impl RowEncoder {
    /// For a table.
    pub fn new(layout: Arc<TableLayout>) -> Result<RowEncoder> {
        let primary = row_plan(&layout, &layout.primary)?;
        let indexes = layout.indexes.iter().map(|i| index_plan(&layout, i)).collect::<Result<_>>()?;
        let pair = Output { key: Vec::new(), value: Vec::new(), sealed: true };
        Ok(RowEncoder { layout, primary, indexes, pair })
    }

    /// Whether values get their checksums (they do unless switched off: then 0 stands there, not computed).
    pub fn seal_values(mut self, seal: bool) -> RowEncoder {
        self.pair.sealed = seal;
        self
    }

    /// The table.
    pub fn layout(&self) -> &TableLayout {
        &self.layout
    }

    /// Encodes the pairs of a row's primary index, in key order: logical key without version, value with
    /// envelope. Stops at the first error of `emit`.
    pub fn primary<E: From<Error>>(
        &mut self,
        row: &[Datum<'_>],
        emit: &mut Emit<'_, E>,
    ) -> std::result::Result<(), E> {
        whole_row(&self.layout, &self.primary, row, &mut self.pair, emit)
    }

    /// Encodes the entries of a row in a secondary index (its position in the layout). A partial index's
    /// predicate is the caller's business. Entries of one row come in key order.
    pub fn index<E: From<Error>>(
        &mut self,
        index: usize,
        row: &[Datum<'_>],
        emit: &mut Emit<'_, E>,
    ) -> std::result::Result<(), E> {
        let plan = self
            .indexes
            .get(index)
            .ok_or_else(|| Error::Layout { what: format!("there is no index {index}") })?;
        let pair = &mut self.pair;
        match plan {
            IndexPlan::WholeRows(plan) => whole_row(&self.layout, plan, row, pair, emit),
            IndexPlan::Forward(plan) => forward(plan, row, pair, emit),
            IndexPlan::Inverted { key: plan, column, suffix, version } => {
                for inverted in inverted::keys(row_datum(row, column.position)?, *version)? {
                    pair.key.clear();
                    plan.put(row, &mut pair.key)?;
                    pair.key.extend_from_slice(&inverted);
                    put_suffix(suffix, row, &mut pair.key)?;
                    key::put_family(&mut pair.key, 0);
                    envelope::begin(&mut pair.value, tag::BYTES);
                    pair.emit(emit)?;
                }
                Ok(())
            }
            IndexPlan::Unknown => Err(Error::NotDerivable { what: "an entry of this kind of index" }.into()),
        }
    }
}

fn row_plan(layout: &TableLayout, index: &IndexLayout) -> Result<RowPlan> {
    let key_columns = index
        .columns
        .iter()
        .map(|c| Ok(part(layout, c.id, c.direction)?.position))
        .collect::<Result<Vec<_>>>()?;
    let mut families = Vec::new();
    for family in &layout.families {
        let mut columns = Vec::new();
        for id in &family.column_ids {
            // Dropped columns may still be listed.
            if let Some(c) = layout.columns.iter().find(|c| c.id == *id)
                && !c.is_virtual
            {
                columns.push(part(layout, *id, Direction::Asc)?);
            }
        }
        columns.sort_by_key(|c| c.id);
        let scalar =
            family.id != 0 && matches!(family.column_ids.as_slice(), [id] if *id == family.default_column_id);
        families.push(FamilyPlan { id: family.id, columns, scalar });
    }
    families.sort_by_key(|f| f.id);
    if families.first().is_none_or(|f| f.id != 0) {
        return Err(Error::Layout { what: format!("table {:?} has no column family 0", layout.name) });
    }
    Ok(RowPlan { key: KeyPlan::new(layout, index, index.columns.len())?, key_columns, families })
}

fn index_plan(layout: &TableLayout, index: &IndexLayout) -> Result<IndexPlan> {
    let suffix =
        index.suffix_ids.iter().map(|id| part(layout, *id, Direction::Asc)).collect::<Result<Vec<_>>>()?;
    match index.kind {
        _ if index.primary_encoding => Ok(IndexPlan::WholeRows(row_plan(layout, index)?)),
        IndexKind::Other => Ok(IndexPlan::Unknown),
        IndexKind::Inverted => {
            let last = index
                .columns
                .last()
                .ok_or_else(|| Error::Layout { what: format!("index {:?} has no columns", index.name) })?;
            Ok(IndexPlan::Inverted {
                key: KeyPlan::new(layout, index, index.columns.len() - 1)?,
                column: part(layout, last.id, Direction::Asc)?,
                suffix,
                version: index.version,
            })
        }
        IndexKind::Forward => Ok(IndexPlan::Forward(ForwardPlan {
            key: KeyPlan::new(layout, index, index.columns.len())?,
            suffix,
            unique: index.unique,
            families: stored_families(layout, index)?,
        })),
    }
}

fn stored_families(layout: &TableLayout, index: &IndexLayout) -> Result<Vec<StoredFamily>> {
    let mut columns = Vec::new();
    for (ids, composite) in [(&index.stored_ids, false), (&index.composite_ids, true)] {
        for id in ids {
            columns.push((part(layout, *id, Direction::Asc)?, composite));
        }
    }
    columns.sort_by_key(|(c, _)| c.id);
    if index.version == 0 || layout.families.len() <= 1 {
        return Ok(vec![StoredFamily { id: 0, columns }]);
    }
    let mut families: Vec<StoredFamily> = layout
        .families
        .iter()
        .map(|f| StoredFamily {
            id: f.id,
            columns: columns.iter().filter(|(c, _)| f.column_ids.contains(&c.id)).cloned().collect(),
        })
        .filter(|f| f.id == 0 || !f.columns.is_empty())
        .collect();
    families.sort_by_key(|f| f.id);
    Ok(families)
}

fn whole_row<E: From<Error>>(
    layout: &TableLayout,
    plan: &RowPlan,
    row: &[Datum<'_>],
    pair: &mut Output,
    emit: &mut Emit<'_, E>,
) -> std::result::Result<(), E> {
    pair.key.clear();
    plan.key.put(row, &mut pair.key)?;
    let prefix = pair.key.len();
    for family in &plan.families {
        pair.key.truncate(prefix);
        key::put_family(&mut pair.key, family.id);
        let mut any = family.id == 0;
        envelope::begin(&mut pair.value, tag::TUPLE);
        let mut last = 0;
        for column in &family.columns {
            let datum = row_datum(row, column.position)?;
            if datum.is_null() || (!datum.is_composite() && plan.key_columns.contains(&column.position)) {
                continue;
            }
            let wrap = |e: Error| e.in_column(column_name(layout, column.position));
            any = true;
            if family.scalar {
                let tag = value::put_scalar(&mut pair.value, datum, &column.ty).map_err(wrap)?;
                if let Some(slot) = pair.value.get_mut(4) {
                    *slot = tag;
                }
            } else {
                value::put_tagged(&mut pair.value, column.id - last, datum, &column.ty).map_err(wrap)?;
                last = column.id;
            }
        }
        if any {
            pair.emit(emit)?;
        }
    }
    Ok(())
}

fn put_suffix(suffix: &[KeyPart], row: &[Datum<'_>], out: &mut Vec<u8>) -> Result<()> {
    for column in suffix {
        column.put(row_datum(row, column.position)?, out)?;
    }
    Ok(())
}

fn forward<E: From<Error>>(
    plan: &ForwardPlan,
    row: &[Datum<'_>],
    pair: &mut Output,
    emit: &mut Emit<'_, E>,
) -> std::result::Result<(), E> {
    pair.key.clear();
    let has_null = plan.key.put(row, &mut pair.key)?;
    if !plan.unique || has_null {
        put_suffix(&plan.suffix, row, &mut pair.key)?;
    }
    let prefix = pair.key.len();
    for family in &plan.families {
        pair.key.truncate(prefix);
        key::put_family(&mut pair.key, family.id);
        envelope::begin(&mut pair.value, if family.id == 0 { tag::BYTES } else { tag::TUPLE });
        if family.id == 0 && plan.unique {
            put_suffix(&plan.suffix, row, &mut pair.value)?;
        }
        let mut any = family.id == 0;
        let mut last = 0;
        for (column, composite) in &family.columns {
            let datum = row_datum(row, column.position)?;
            if datum.is_null() || (*composite && !is_composite(datum, column)) {
                continue;
            }
            any = true;
            value::put_tagged(&mut pair.value, column.id - last, datum, &column.ty)?;
            last = column.id;
        }
        if any {
            pair.emit(emit)?;
        }
    }
    Ok(())
}

/// Collated strings are composite even where their sort key is not known.
fn is_composite(datum: &Datum<'_>, column: &KeyPart) -> bool {
    datum.is_composite() || matches!(column.ty, super::types::ColumnType::Collated { .. })
}
