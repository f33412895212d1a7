//! Random tables with random rows: encoded, decoded, compared; index entries give back what they hold.

use super::examples::{collated, plain_index};
use super::generate::{datum, key_types, nullable, value_types};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, TestRng, TestRunner};
use std::sync::Arc;
use userfilefs::format::kv::datum::{Collated, Datum};
use userfilefs::format::kv::error::Error;
use userfilefs::format::kv::index::{Entry, IndexDecoder};
use userfilefs::format::kv::layout::{
    Column, Direction, Family, IndexKind, IndexLayout, KeyColumn, TableLayout,
};
use userfilefs::format::kv::row::{Decoded, RowDecoder, row_prefix};
use userfilefs::format::kv::row_encode::RowEncoder;
use userfilefs::format::kv::types::ColumnType;

/// A small generator of choices.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn pick<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.roll(list.len())].clone()
    }
}

pub fn random_table(dice: &mut Dice) -> TableLayout {
    let count = 1 + dice.roll(9);
    let keys = 1 + dice.roll(count.min(4));
    let mut id = 0;
    let columns: Vec<Column> = (0..count)
        .map(|i| {
            id += 1 + dice.roll(9) as u32 / 6 * 7;
            let ty = match i {
                i if i < keys && dice.roll(8) == 0 => collated(),
                i if i < keys => dice.pick(&key_types()),
                _ => dice.pick(&value_types()),
            };
            Column { id, name: format!("c{id}"), ty, nullable: i >= keys, is_virtual: false }
        })
        .collect();
    let direction = |dice: &mut Dice| if dice.roll(2) == 0 { Direction::Asc } else { Direction::Desc };
    let mut pk: Vec<(u32, Direction)> = columns[..keys].iter().map(|c| (c.id, direction(dice))).collect();
    pk.rotate_left(dice.roll(keys));
    let mut families: Vec<Family> = (0..1 + dice.roll(4) as u32)
        .map(|f| Family { id: if f == 0 { 0 } else { f * 37 }, column_ids: vec![], default_column_id: 0 })
        .collect();
    for c in &columns {
        let f = dice.roll(families.len());
        families[f].column_ids.push(c.id);
    }
    families.retain(|f| f.id == 0 || !f.column_ids.is_empty());
    for f in families.iter_mut().filter(|f| !f.column_ids.is_empty()) {
        let scalar = columns.iter().any(|c| c.id == f.column_ids[0] && !matches!(c.ty, ColumnType::Tuple(_)));
        if f.column_ids.len() == 1 && scalar {
            f.default_column_id = f.column_ids[0];
        }
    }
    let mut layout = TableLayout {
        key_prefix: Vec::new(),
        table_id: 50 + dice.roll(500) as u32,
        name: "t".into(),
        columns,
        primary: plain_index(1, &pk),
        families,
        indexes: vec![],
    };
    layout.indexes = (2..5).map(|id| random_index(&layout, id, dice)).collect();
    layout
}

fn random_index(layout: &TableLayout, id: u32, dice: &mut Dice) -> IndexLayout {
    let pk: Vec<u32> = layout.primary.columns.iter().map(|c| c.id).collect();
    let forward: Vec<&Column> = layout
        .columns
        .iter()
        .filter(|c| key_types().contains(&c.ty) || matches!(c.ty, ColumnType::Collated { .. }))
        .collect();
    let mut index = plain_index(id, &[]);
    index.unique = dice.roll(2) == 0;
    index.version = dice.roll(3) as u32;
    for c in &forward {
        if index.columns.is_empty() || dice.roll(3) == 0 {
            let direction = if dice.roll(2) == 0 { Direction::Asc } else { Direction::Desc };
            index.columns.push(KeyColumn { id: c.id, direction });
        }
    }
    if let Some(array) = layout.columns.iter().find(|c| {
        matches!(&c.ty, ColumnType::Json) || matches!(&c.ty, ColumnType::Array(e) if key_types().contains(e))
    }) && dice.roll(2) == 0
    {
        index.kind = IndexKind::Inverted;
        index.unique = false;
        index.columns = vec![KeyColumn { id: array.id, direction: Direction::Asc }];
    }
    let in_key = |id: u32| index.columns.iter().any(|c| c.id == id);
    index.suffix_ids = pk.iter().copied().filter(|id| !in_key(*id)).collect();
    if index.kind == IndexKind::Forward {
        for c in &layout.columns {
            let used = in_key(c.id) || index.suffix_ids.contains(&c.id);
            if used && c.ty.can_be_composite() {
                index.composite_ids.push(c.id);
            } else if !used && dice.roll(3) == 0 {
                index.stored_ids.push(c.id);
            }
        }
    }
    index
}

/// Generates rows; collated columns get a sort key that stands for the text.
pub fn random_row(layout: &TableLayout, runner: &mut TestRunner) -> Vec<Datum<'static>> {
    let row = layout.columns.iter().map(|c| {
        let strategy = if c.nullable { nullable(&c.ty) } else { datum(&c.ty) };
        match (strategy.new_tree(runner).unwrap().current(), &c.ty) {
            (Datum::String(text), ColumnType::Collated { .. }) => {
                let sort_key = text.to_ascii_lowercase().into();
                Datum::Collated(Box::new(Collated { text: Some(text), sort_key }))
            }
            (datum, _) => datum,
        }
    });
    row.collect()
}

pub fn runner() -> TestRunner {
    let config = Config::default();
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    TestRunner::new_with_rng(config, rng)
}

fn show(row: &[Datum]) -> String {
    format!("{row:?}")
}

/// A collated column outside every key is decoded without its sort key.
fn without_sort_keys(row: &[Datum<'static>], keep: impl Fn(usize) -> bool) -> Vec<Datum<'static>> {
    let strip = |(i, d): (usize, &Datum<'static>)| match d {
        Datum::Collated(c) if !keep(i) => Datum::String(c.text.clone().unwrap()),
        d => d.clone(),
    };
    row.iter().enumerate().map(strip).collect()
}

#[test]
fn random_rows_round_trip() {
    let mut dice = Dice(7);
    let mut runner = runner();
    for _ in 0..120 {
        let layout = Arc::new(random_table(&mut dice));
        let mut encoder = RowEncoder::new(layout.clone()).unwrap();
        let decoder = RowDecoder::new(layout.clone()).unwrap();
        let in_pk = |i: usize| layout.primary.columns.iter().any(|c| c.id == layout.columns[i].id);
        for _ in 0..20 {
            let row = random_row(&layout, &mut runner);
            let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
            let result = encoder.primary::<Error>(&row, &mut |k, v| {
                pairs.push((k.to_vec(), v.to_vec()));
                Ok(())
            });
            result.unwrap();
            assert!(pairs.is_sorted(), "pairs of a row come in key order");
            let prefix = row_prefix(&pairs[0].0).unwrap();
            assert!(pairs.iter().all(|(k, _)| row_prefix(k).unwrap() == prefix));
            let slices: Vec<(&[u8], &[u8])> = pairs.iter().map(|(k, v)| (&k[..], &v[..])).collect();
            // What a row held before does not matter.
            let mut longer = random_row(&layout, &mut runner);
            longer.push(Datum::Bool(true));
            for mut back in [Vec::new(), longer] {
                assert_eq!(decoder.decode(&slices, &mut back), Ok(Decoded::Row));
                assert_eq!(show(&back), show(&without_sort_keys(&row, in_pk)), "{layout:?}");
            }
            check_unsealed(encoder.clone().seal_values(false), &row, &pairs);
            check_indexes(&layout, &mut encoder, &row);
        }
    }
}

/// Without checksums everything else is the same.
fn check_unsealed(mut encoder: RowEncoder, row: &[Datum<'static>], pairs: &[(Vec<u8>, Vec<u8>)]) {
    let mut sealed = pairs.iter();
    let result = encoder.primary::<Error>(row, &mut |k, v| {
        let (key, value) = sealed.next().unwrap();
        assert_eq!((k, &v[4..]), (&key[..], &value[4..]));
        assert_eq!(v[..4], [0; 4]);
        Ok(())
    });
    result.unwrap();
    assert!(sealed.next().is_none());
}

fn check_indexes(layout: &Arc<TableLayout>, encoder: &mut RowEncoder, row: &[Datum<'static>]) {
    for (position, index) in layout.indexes.iter().enumerate() {
        let mut entries: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let result = encoder.index::<Error>(position, row, &mut |k, v| {
            entries.push((k.to_vec(), v.to_vec()));
            Ok(())
        });
        result.unwrap();
        assert!(entries.is_sorted());
        let decoder = IndexDecoder::new(layout.clone(), index).unwrap();
        let held = |id: u32| {
            index.columns.iter().any(|c| c.id == id && index.kind == IndexKind::Forward)
                || index.suffix_ids.contains(&id)
                || index.stored_ids.contains(&id)
        };
        let mut merged: Vec<Datum> = vec![Datum::Null; row.len()];
        for (k, v) in &entries {
            let mut found = Vec::new();
            let Entry::Present { .. } = decoder.decode(k, v, &mut found).unwrap() else { panic!() };
            for (slot, datum) in merged.iter_mut().zip(found) {
                // A family's entry knows only its own stored and composite columns.
                let better = !datum.is_null()
                    && !matches!(&datum, Datum::Collated(c) if c.text.is_none())
                    && (slot.is_null() || datum.is_composite() || matches!(slot, Datum::Collated(_)));
                if better {
                    *slot = datum.into_owned();
                }
            }
        }
        if entries.is_empty() {
            continue; // an inverted index of NULL
        }
        for (i, c) in layout.columns.iter().enumerate() {
            let expected = if held(c.id) { row[i].clone() } else { Datum::Null };
            let expected = match (&expected, &merged[i]) {
                (Datum::Collated(c), Datum::String(_)) => Datum::String(c.text.clone().unwrap()),
                // Inverted indexes repeat nothing: the key is all there is.
                (d, _) if index.kind == IndexKind::Inverted && d.is_composite() => continue,
                _ => expected,
            };
            assert_eq!(show(&[merged[i].clone()]), show(&[expected]), "{} {index:?} {layout:?}", c.name);
        }
    }
}
