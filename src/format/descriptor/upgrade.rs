//! Old forms of table descriptors, brought to the form of 21.1.

use super::proto::{ColumnFamily, IndexDescriptor, InternalType, TableDescriptor};

const FORMAT_WITH_FAMILIES: u32 = 2;
const FAMILY_INT: i32 = 1;
const FAMILY_FLOAT: i32 = 2;
const VISIBLE_INTEGER: i32 = 1;
const VISIBLE_SMALLINT: i32 = 2;
const VISIBLE_BIGINT: i32 = 3;
const VISIBLE_BIT: i32 = 4;
const VISIBLE_REAL: i32 = 5;
const VISIBLE_DOUBLE: i32 = 6;

/// Types: widths instead of visible types, element types of arrays. Families where there are none.
///
/// Foreign keys inside indexes need other tables and are resolved by the catalog.
pub(super) fn table(table: &mut TableDescriptor) {
    for column in &mut table.columns {
        if let Some(ty) = &mut column.r#type {
            internal_type(ty, 0);
        }
    }
    if table.families.is_empty() && table.format_version() < FORMAT_WITH_FAMILIES && !table.columns.is_empty()
    {
        families(table);
    }
}

/// Before families: primary key columns in family 0, every other column in the family of its own id.
fn families(table: &mut TableDescriptor) {
    let key: Vec<u32> =
        table.primary_index.iter().flat_map(|index: &IndexDescriptor| index.column_ids.clone()).collect();
    let mut first = ColumnFamily { name: Some("primary".into()), id: Some(0), ..Default::default() };
    let mut others = Vec::new();
    for column in &table.columns {
        if key.contains(&column.id()) {
            first.column_ids.push(column.id());
            first.column_names.push(column.name().to_owned());
        } else {
            others.push(ColumnFamily {
                name: Some(format!("fam_{}_{}", column.id(), column.name())),
                id: Some(column.id()),
                column_names: vec![column.name().to_owned()],
                column_ids: vec![column.id()],
                default_column_id: Some(column.id()),
            });
        }
    }
    others.sort_by_key(ColumnFamily::id);
    table.next_family_id = Some(others.last().map_or(0, ColumnFamily::id).saturating_add(1));
    table.families = std::iter::once(first).chain(others).collect();
}

fn internal_type(ty: &mut InternalType, depth: usize) {
    match ty.family() {
        FAMILY_INT => {
            let width = match (ty.visible_type(), ty.width()) {
                (VISIBLE_SMALLINT, _) | (0 | VISIBLE_BIT, 16) => 16,
                (VISIBLE_INTEGER, _) | (0 | VISIBLE_BIT, 32) => 32,
                _ => 64,
            };
            ty.width = Some(width);
            if matches!(ty.visible_type(), VISIBLE_INTEGER | VISIBLE_SMALLINT | VISIBLE_BIGINT | VISIBLE_BIT)
            {
                ty.visible_type = Some(0);
                ty.oid = Some(match width {
                    16 => 21,
                    32 => 23,
                    _ => 20,
                });
            }
        }
        FAMILY_FLOAT => {
            let single = match (ty.visible_type(), ty.width()) {
                (VISIBLE_REAL, _) | (_, 32) => true,
                (VISIBLE_DOUBLE, _) | (_, 64) => false,
                _ => (1..=24).contains(&ty.precision()),
            };
            ty.width = Some(if single { 32 } else { 64 });
            ty.precision = ty.precision.map(|_| 0);
        }
        15 if ty.array_contents.is_none() => {
            if let Some(family) = ty.array_elem_type {
                ty.array_contents = Some(Box::new(InternalType {
                    family: Some(family),
                    width: ty.width,
                    precision: ty.precision,
                    locale: ty.locale.clone(),
                    visible_type: ty.visible_type,
                    ..Default::default()
                }));
            }
        }
        _ => {}
    }
    if depth < 16 {
        if let Some(contents) = &mut ty.array_contents {
            internal_type(contents, depth + 1);
        }
        for contents in &mut ty.tuple_contents {
            internal_type(contents, depth + 1);
        }
    }
}
