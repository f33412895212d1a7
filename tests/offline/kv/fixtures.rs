//! Every row and index entry that the real server backed up: decoded, compared with its own dump, encoded
//! again.

use super::layouts::{Schema, schema};
use super::unhex;
use crate::support::fixtures::{files_below, fixtures};
use serde_json::Value as JsonValue;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use userfilefs::format::kv::datum::{Collated, Datum};
use userfilefs::format::kv::envelope::{self, Value};
use userfilefs::format::kv::error::Error;
use userfilefs::format::kv::index::{Entry, IndexDecoder};
use userfilefs::format::kv::layout::{IndexKind, TableLayout};
use userfilefs::format::kv::row::{Decoded, RowDecoder, row_prefix};
use userfilefs::format::kv::row_encode::RowEncoder;
use userfilefs::format::kv::types::ColumnType;
use userfilefs::format::kv::{json, key, mvcc};
use userfilefs::format::sst::Reader;

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

/// A backup with the manifest that the server decoded, and the folder of its dump, if there is one.
struct Backup {
    name: String,
    schema: Schema,
    pairs: Pairs,
    dump: Option<PathBuf>,
}

fn load(name: &str, files: &Path, manifest: &Path, dump: Option<PathBuf>) -> Backup {
    let manifest: JsonValue =
        serde_json::from_slice(&std::fs::read(manifest).expect("manifest")).expect("JSON");
    let mut pairs = Pairs::new();
    for path in files_below(files, ".sst") {
        let bytes = std::fs::read(&path).expect("readable");
        let reader = Reader::open(bytes.as_slice(), bytes.len() as u64).expect("table");
        let mut iter = reader.iter();
        while let Some(entry) = iter.next().expect("entry") {
            let (key, version) = mvcc::split(entry.user_key).expect("key");
            assert_eq!(mvcc::join(key, version.expect("version")), entry.user_key);
            let twice = pairs.insert(key.to_vec(), entry.value.to_vec());
            assert!(twice.is_none(), "{} occurs twice", unhex(key));
        }
    }
    assert!(!pairs.is_empty());
    Backup { name: name.to_string(), schema: schema(&manifest), pairs, dump }
}

fn backups() -> Vec<Backup> {
    let Some(folder) = fixtures() else { return Vec::new() };
    let folder = folder.join("backups");
    let whole = |name: &str| {
        let dir = folder.join(name);
        let manifest = dir.join("manifest/BACKUP_MANIFEST.json");
        load(name, &dir.join("backup"), &manifest, Some(dir.join("dump")))
    };
    let bare = |name: &str| {
        let manifest = folder.join(format!("{name}-manifest/BACKUP_MANIFEST.json"));
        load(name, &folder.join(name), &manifest, None)
    };
    vec![whole("bank-to"), whole("keyenc"), whole("extra"), bare("x-to"), bare("cust-acct")]
}

/// The pairs of one index.
fn span(pairs: &Pairs, start: &[u8], end: &[u8]) -> Vec<Pair> {
    pairs.range(start.to_vec()..end.to_vec()).map(|(k, v)| (k.clone(), v.clone())).collect()
}

type Row = Vec<Datum<'static>>;
type Pair = (Vec<u8>, Vec<u8>);

/// The rows of a table in key order with their pairs.
fn rows(backup: &Backup, layout: &Arc<TableLayout>) -> Vec<(Row, Vec<Pair>)> {
    let decoder = RowDecoder::new(layout.clone()).expect("layout");
    let root = layout.primary.ancestors.first().map_or(layout.table_id, |a| a.table_id);
    let (start, end) = key::index_span(root, 1.max(layout.primary.id * u32::from(root == layout.table_id)));
    let all = span(&backup.pairs, &start, &end);
    let mut found = Vec::new();
    for group in all.chunk_by(|a, b| row_prefix(&a.0).unwrap() == row_prefix(&b.0).unwrap()) {
        let pairs: Vec<(&[u8], &[u8])> = group.iter().map(|(k, v)| (&k[..], &v[..])).collect();
        let mut row = Vec::new();
        match decoder.decode(&pairs, &mut row) {
            Ok(Decoded::Row) => {
                found.push((row.into_iter().map(Datum::into_owned).collect(), group.to_vec()));
            }
            Ok(Decoded::Foreign) => {}
            other => panic!("{} {}: {other:?} for {}", backup.name, layout.name, unhex(&group[0].0)),
        }
    }
    found
}

/// Tag and data, without the checksum that backfills leave out.
fn body(value: &[u8]) -> (u8, Vec<u8>) {
    match envelope::open(value).expect("value") {
        Value::Present { tag, data, .. } => (tag, data.to_vec()),
        Value::Tombstone => panic!("tombstone in a full backup"),
    }
}

#[test]
fn rows_equal_the_dump_and_encode_to_the_same_bytes() {
    let mut tables = 0;
    let mut count = 0;
    for backup in backups() {
        for layout in &backup.schema.tables {
            tables += 1;
            let rows = rows(&backup, layout);
            let mut encoder = RowEncoder::new(layout.clone()).expect("layout");
            for (row, pairs) in &rows {
                count += 1;
                let mut encoded = Vec::new();
                encoder
                    .primary::<Error>(row, &mut |k, v| {
                        encoded.push((k.to_vec(), v.to_vec()));
                        Ok(())
                    })
                    .unwrap_or_else(|e| panic!("{} {}: {e}", backup.name, layout.name));
                for (a, b) in encoded.iter().zip(pairs) {
                    assert_eq!(unhex(&a.0), unhex(&b.0), "{} {} {row:?}", backup.name, layout.name);
                    if b.1[..4] == [0; 4] {
                        assert_eq!(body(&a.1), body(&b.1));
                    } else {
                        assert_eq!(unhex(&a.1), unhex(&b.1), "{} {} {row:?}", backup.name, layout.name);
                    }
                }
                assert_eq!(encoded.len(), pairs.len(), "{} {} {row:?}", backup.name, layout.name);
            }
            compare_with_dump(&backup, layout, &rows.iter().map(|r| &r.0).collect::<Vec<_>>());
        }
    }
    assert!(tables == 0 || (tables > 50 && count > 6000), "{tables} tables, {count} rows");
}

fn dump_of(backup: &Backup, table: &str) -> Option<String> {
    let dump = backup.dump.as_ref()?;
    let found = files_below(dump, &format!(".{table}.jsonl"));
    // A materialized view is dumped as CSV only.
    assert!(found.len() == 1 || table == "kind_totals", "{} {table}", backup.name);
    found.first().map(|f| std::fs::read_to_string(f).expect("dump"))
}

fn compare_with_dump(backup: &Backup, layout: &TableLayout, rows: &[&Row]) {
    let Some(dump) = dump_of(backup, &layout.name) else { return };
    let lines: Vec<&str> = dump.lines().collect();
    assert_eq!(lines.len(), rows.len(), "{} {}", backup.name, layout.name);
    for (line, row) in lines.iter().zip(rows) {
        let expected: JsonValue = serde_json::from_str(line).expect("JSON");
        for (column, datum) in layout.columns.iter().zip(row.iter()).filter(|(c, _)| !c.is_virtual) {
            let text = datum.to_string_cast(&column.ty).expect("text");
            let expected = &expected[&column.name];
            assert!(expected.is_null() || expected.is_string());
            assert_eq!(text.as_deref(), expected.as_str(), "{}.{}", layout.name, column.name);
            round_trip_text(&column.ty, datum, text.as_deref());
        }
    }
}

/// What parses back gives the same value bytes.
fn round_trip_text(ty: &ColumnType, datum: &Datum<'static>, text: Option<&str>) {
    use userfilefs::format::kv::value::put_tagged;
    if let (ColumnType::Array(e), Some(text)) = (ty, text)
        && matches!(**e, ColumnType::Enum(_))
        && text.contains('\'')
    {
        return; // quoted twice: not meant to be read back
    }
    let geo = matches!(ty, ColumnType::Geography(_)) && !text.is_none_or(|t| t.starts_with("0101"));
    if geo || (text.is_some() && matches!(datum, Datum::Collated(_))) {
        return;
    }
    let parsed = match text {
        None => Datum::Null,
        Some(text) => Datum::from_text(ty, text).unwrap_or_else(|e| panic!("{e}")),
    };
    let (mut a, mut b) = (Vec::new(), Vec::new());
    put_tagged(&mut a, 1, datum, ty).expect("encode");
    put_tagged(&mut b, 1, &parsed, ty).expect("encode");
    assert_eq!(unhex(&a), unhex(&b), "{ty} {text:?}");
}

#[test]
fn index_entries_follow_from_the_rows() {
    let mut kinds = BTreeMap::new();
    for backup in backups() {
        for layout in &backup.schema.tables {
            let rows: Vec<Row> = rows(&backup, layout).into_iter().map(|r| r.0).collect();
            for (position, index) in layout.indexes.iter().enumerate() {
                let (start, end) = key::index_span(layout.table_id, index.id);
                let actual = span(&backup.pairs, &start, &end);
                let sort_keys = check_entries(&backup, layout, position, &actual);
                let mut encoder = RowEncoder::new(layout.clone()).expect("layout");
                let mut expected: BTreeMap<_, Vec<_>> = BTreeMap::new();
                for row in &rows {
                    let row = with_sort_keys(layout, row, &sort_keys);
                    encoder
                        .index::<Error>(position, &row, &mut |k, v| {
                            expected.entry(k.to_vec()).or_default().push(body(v));
                            Ok(())
                        })
                        .or_else(|e| match e {
                            // A partial index does not know every sort key.
                            Error::NotDerivable { .. } if index.partial => Ok(()),
                            e => Err(e),
                        })
                        .unwrap_or_else(|e| panic!("{} {} {}: {e}", backup.name, layout.name, index.name));
                }
                if index.partial {
                    assert!(actual.len() < rows.len());
                } else {
                    assert_eq!(actual.len(), expected.len(), "{} {}", layout.name, index.name);
                }
                for (k, v) in &actual {
                    let ours = expected.get(k).unwrap_or_else(|| panic!("{} lacks {}", index.name, unhex(k)));
                    assert!(ours.contains(&body(v)), "{} {} {ours:?}", layout.name, index.name);
                    assert!(index.partial || ours.len() == 1);
                }
                let kind = format!("{:?} partial {} unique {}", index.kind, index.partial, index.unique);
                *kinds.entry(kind).or_insert(0) += actual.len();
            }
        }
    }
    assert!(kinds.is_empty() || kinds.len() >= 5, "{kinds:?}");
}

/// Decodes every entry; returns text → sort key of each collated column.
fn check_entries(
    backup: &Backup,
    layout: &Arc<TableLayout>,
    position: usize,
    actual: &[Pair],
) -> BTreeMap<(usize, Vec<u8>), Vec<u8>> {
    let index = &layout.indexes[position];
    let mut sort_keys = BTreeMap::new();
    let decoder = IndexDecoder::new(layout.clone(), index).expect("layout");
    for (k, v) in actual {
        let mut row = Vec::new();
        let entry = decoder
            .decode(k, v, &mut row)
            .unwrap_or_else(|e| panic!("{} {} {}: {e}", backup.name, layout.name, index.name));
        let Entry::Present { inverted, .. } = entry else { panic!("{entry:?}") };
        assert_eq!(inverted.is_some(), index.kind == IndexKind::Inverted);
        for (i, datum) in row.into_iter().enumerate() {
            if let Datum::Collated(c) = datum {
                let text = c.text.expect("the text is in the value").into_owned();
                sort_keys.insert((i, text), c.sort_key.into_owned());
            }
        }
    }
    sort_keys
}

fn with_sort_keys(layout: &TableLayout, row: &Row, sort_keys: &BTreeMap<(usize, Vec<u8>), Vec<u8>>) -> Row {
    let mut row = row.clone();
    for (i, datum) in row.iter_mut().enumerate() {
        if let (Datum::String(text), ColumnType::Collated { .. }) = (&*datum, &layout.columns[i].ty)
            && let Some(key) = sort_keys.get(&(i, text.to_vec()))
        {
            *datum = Datum::Collated(Box::new(Collated {
                text: Some(text.clone()),
                sort_key: key.clone().into(),
            }));
        }
    }
    row
}

#[test]
fn json_values_encode_to_the_same_bytes() {
    for backup in backups() {
        for layout in &backup.schema.tables {
            for (row, _) in rows(&backup, layout) {
                for datum in row {
                    if let Datum::Json(bytes) = datum {
                        let mut again = Vec::new();
                        json::decode(&bytes).expect("JSON").encode(&mut again).expect("encode");
                        assert_eq!(unhex(&bytes), unhex(&again));
                    }
                }
            }
        }
    }
}

#[test]
fn sequences_hold_an_integer() {
    use userfilefs::format::kv::value::{get_scalar, put_sequence, sequence_key};
    for backup in backups() {
        for (id, name) in &backup.schema.sequences {
            let key = sequence_key(*id);
            let raw = backup.pairs.get(&key).unwrap_or_else(|| panic!("{name} has no value"));
            let (tag, data) = body(raw);
            let Datum::Int(v) = get_scalar(tag, &data, &ColumnType::INT8).expect("integer") else { panic!() };
            let mut again = Vec::new();
            put_sequence(&mut again, &key, v);
            assert_eq!(unhex(&again), unhex(raw), "{name}");
        }
    }
}
