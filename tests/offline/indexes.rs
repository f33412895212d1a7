//! `check` of indexes whose entries cannot be made from rows, or not from all of them.

use std::sync::Arc;

use userfilefs::destination::{Memory, Source};
use userfilefs::engine::OpenOptions;
use userfilefs::engine::check::{CheckOptions, Progress, check};
use userfilefs::engine::store::Store;
use userfilefs::engine::write::{LayerSpec, LayerWriter, MemorySink};
use userfilefs::format::descriptor::build::{self, ColumnSpec, IndexSpec, TableSpec};
use userfilefs::format::descriptor::layout::index_span;
use userfilefs::format::descriptor::{Catalog, Descriptor};
use userfilefs::format::kv::datum::Datum;
use userfilefs::format::kv::error::Error as KvError;
use userfilefs::format::kv::layout::Direction::Asc;
use userfilefs::format::kv::mvcc::Timestamp as Version;
use userfilefs::format::kv::ordered::{put_int, put_ku};
use userfilefs::format::kv::row_encode::RowEncoder;
use userfilefs::format::kv::types::{ColumnType, GeoShape};
use userfilefs::format::kv::{envelope, key};
use userfilefs::format::manifest::Timestamp;

const TABLE: u32 = 120;
const AT: i64 = 1_614_556_800_000_000_000;
/// Geometry: inverted, one entry for each cell.
const SPATIAL: u32 = 2;
/// A JSON column in the order of its values, of a later version.
const FORWARD_JSON: u32 = 3;
/// `WHERE n > 1 AND t IS NOT NULL`
const PARTIAL: u32 = 4;

fn column(name: &str, ty: ColumnType) -> ColumnSpec {
    ColumnSpec {
        name: name.into(),
        ty,
        nullable: name != "id",
        default: None,
        computed: None,
        hidden: false,
        uses_sequences: Vec::new(),
    }
}

fn table() -> TableSpec {
    let index = |name: &str, column: &str| IndexSpec {
        name: name.into(),
        columns: vec![(column.into(), Asc)],
        ..IndexSpec::default()
    };
    TableSpec {
        id: TABLE,
        database: 110,
        schema: 29,
        name: "t".into(),
        columns: vec![
            column("id", ColumnType::INT8),
            column("g", ColumnType::Geometry(GeoShape::default())),
            column("j", ColumnType::Json),
            column("n", ColumnType::INT8),
            column("t", ColumnType::TEXT),
        ],
        primary: vec![("id".into(), Asc)],
        indexes: vec![
            IndexSpec { inverted: true, ..index("g_idx", "g") },
            index("j_idx", "j"),
            IndexSpec { predicate: "(n > 1:::INT8) AND (t IS NOT NULL)".into(), ..index("n_idx", "n") },
        ],
        ..TableSpec::default()
    }
}

/// id, point, n, t
type Row = (i64, Option<(f64, f64)>, i64, Option<&'static str>);

const ROWS: [Row; 4] = [
    (1, Some((1.0, 2.0)), 1, Some("a")),
    (2, Some((0.0, -4.5)), 2, Some("b")),
    (3, None, 3, None),
    (4, Some((7.0, 8.0)), 4, Some("d")),
];

type Pair = (Vec<u8>, Vec<u8>);

fn entry(index: u32, middle: &[u8], id: i64) -> Pair {
    let mut key = Vec::new();
    key::put_index_prefix(&mut key, TABLE, index);
    key.extend_from_slice(middle);
    put_int(&mut key, id, Asc);
    key.push(0x88);
    let mut value = Vec::new();
    envelope::begin(&mut value, envelope::tag::BYTES);
    envelope::seal(&key, &mut value);
    (key, value)
}

fn spatial(cell: u64, (x, y): (f64, f64), id: i64) -> Pair {
    let mut middle = vec![0x42];
    put_ku(&mut middle, cell);
    middle.push(1);
    middle.extend(x.to_be_bytes());
    middle.extend(y.to_be_bytes());
    entry(SPATIAL, &middle, id)
}

fn number(n: i64, id: i64) -> Pair {
    let mut middle = Vec::new();
    put_int(&mut middle, n, Asc);
    entry(PARTIAL, &middle, id)
}

/// What the indexes must have: two cells for each point.
fn entries() -> Vec<Pair> {
    let mut all = Vec::new();
    for (id, point, n, t) in ROWS {
        if let Some(point) = point {
            all.push(spatial(0x1000_0000_0000_0001, point, id));
            all.push(spatial(0x2000_0000_0000_0001 + id as u64, point, id));
        }
        all.push(entry(FORWARD_JSON, &[0x50, 0x01, id as u8], id));
        if n > 1 && t.is_some() {
            all.push(number(n, id));
        }
    }
    all
}

/// What `check` says of a backup with these entries.
fn look(entries: Vec<Pair>) -> Vec<String> {
    let table = build::table(&table(), &|_| None).unwrap();
    let descriptors = [build::database(110, "d", &[], AT), Descriptor::Table(Box::new(table.clone()))];
    let raw: Vec<Vec<u8>> = descriptors.iter().map(Descriptor::encode).collect();
    let mut layout = Catalog::new(raw.iter().map(Vec::as_slice)).unwrap().layout(&table).unwrap();
    layout.indexes.clear();
    let mut encoder = RowEncoder::new(Arc::new(layout)).unwrap();
    let mut store = Store::default();
    let version = Version::from_wall(AT as u64);
    for (id, point, n, t) in ROWS {
        let geo = point.map_or(Datum::Null, |(x, y)| {
            let mut text = String::from("0101000000");
            [x, y].iter().flat_map(|v| v.to_le_bytes()).for_each(|byte| text += &format!("{byte:02x}"));
            Datum::from_text(&ColumnType::Geometry(GeoShape::default()), &text).unwrap()
        });
        let json = Datum::from_text(&ColumnType::Json, &id.to_string()).unwrap();
        let row = [Datum::Int(id), geo, json, Datum::Int(n), t.map_or(Datum::Null, Datum::text)];
        let mut put = |key: &[u8], value: &[u8]| {
            store.put(key, version, value.to_vec());
            Ok::<(), KvError>(())
        };
        encoder.primary(&row, &mut put).unwrap();
    }
    for (key, value) in entries {
        store.put(&key, version, value);
    }
    let spec = LayerSpec {
        end: Timestamp::from_nanos(AT + 1),
        spans: (1..=4).map(|index| index_span(TABLE, index)).collect(),
        descriptors: raw,
        complete_dbs: vec![110],
        file_len: 1 << 20,
        ..LayerSpec::default()
    };
    let mut sink = MemorySink::default();
    LayerWriter { sink: &mut sink, stores: Vec::new(), seal: None, next_file: 1 }
        .layer(&store, &spec)
        .unwrap();
    let files = sink.0.into_iter().map(|(name, content)| (name, Arc::new(content))).collect();
    let source: Arc<dyn Source> = Arc::new(Memory { files });
    let options = CheckOptions { open: OpenOptions::default(), threads: 2 };
    let report = check(&source, "", &options, &Progress::default());
    assert_eq!(report.rows, 4);
    let notices: Vec<&String> = report.notices.iter().collect();
    assert_eq!(
        notices,
        ["index j_idx of d.public.t: its entries were counted but not compared with the rows"]
    );
    report.damages.iter().map(|damage| damage.what.clone()).chain(report.troubles).collect()
}

fn without(at: usize) -> Vec<Pair> {
    let mut all = entries();
    all.remove(at);
    all
}

#[test]
fn whole_indexes_are_clean() {
    assert_eq!(look(entries()), Vec::<String>::new());
}

#[test]
fn spatial_entries_belong_to_rows() {
    // One of two cells: which cells there must be is not known.
    assert_eq!(look(without(0)), Vec::<String>::new());
    let mut none = entries();
    none.drain(..2);
    assert_eq!(look(none), ["index g_idx of d.public.t lacks the entry of a row"]);
    let mut more = entries();
    more.push(spatial(5, (1.0, 2.0), 9));
    assert_eq!(look(more), ["index g_idx of d.public.t has an entry without a row"]);
    let mut moved = entries();
    moved.push(spatial(5, (1.0, 2.5), 1));
    assert_eq!(look(moved), ["index g_idx of d.public.t has an entry without a row"]);
}

#[test]
fn partial_indexes_hold_the_rows_of_their_predicate() {
    let at = entries().iter().position(|pair| *pair == number(2, 2)).unwrap();
    assert_eq!(look(without(at)), ["index n_idx of d.public.t lacks the entry /Table/120/4/2/2/0 of a row"]);
    for (n, id) in [(1, 1), (3, 3)] {
        let mut more = entries();
        more.push(number(n, id));
        let what = format!("index n_idx of d.public.t has an entry /Table/120/4/{n}/{id}/0 without a row");
        assert_eq!(look(more), [what]);
    }
}

#[test]
fn entries_that_cannot_be_read_are_counted() {
    let at = entries().iter().position(|pair| *pair == entry(FORWARD_JSON, &[0x50, 0x01, 3], 3)).unwrap();
    assert_eq!(look(without(at)), ["index j_idx has 3 entries for 4 rows"]);
}

/// Their checksums are right: what wrote them was wrong.
#[test]
fn entries_that_cannot_be_decoded_are_named() {
    let mut all = entries();
    let entry_of_2 = all.iter_mut().find(|pair| **pair == number(2, 2)).unwrap();
    envelope::begin(&mut entry_of_2.1, envelope::tag::INT);
    envelope::seal(&entry_of_2.0, &mut entry_of_2.1);
    assert_eq!(look(all), ["key /Table/120/4/2/2/0: invalid value of an index entry"]);
    let mut more = entries();
    more.extend((10..22).map(|id| entry(PARTIAL, &[0x12, b'x', 0x00, 0x01], id)));
    let found = look(more);
    assert_eq!(found.len(), 11);
    assert!(
        found.iter().all(|what| what.contains("column \"n\"") || what.contains("2 more entries")),
        "{found:?}"
    );
}
