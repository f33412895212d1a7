//! Tables in memory that become backups: rows as texts, their pairs, and what a restore must show.

use std::collections::BTreeMap;
use std::sync::Arc;

use userfilefs::engine::store::Store;
use userfilefs::engine::tabular::json_string;
use userfilefs::format::descriptor::layout::index_span;
use userfilefs::format::descriptor::{Catalog, Descriptor, TableDescriptor};
use userfilefs::format::kv::datum::Datum;
use userfilefs::format::kv::error::Error as KvError;
use userfilefs::format::kv::layout::{IndexKind, IndexLayout, TableLayout};
use userfilefs::format::kv::mvcc::Timestamp;
use userfilefs::format::kv::row_encode::RowEncoder;
use userfilefs::format::kv::{envelope, key};
use userfilefs::format::manifest::Span;

/// A row: the text of every column, as `::STRING` prints it; virtual columns too.
pub type Row = Vec<Option<String>>;
type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;
/// Whether a row belongs into a partial index, by the index's position.
pub type Partial = fn(usize, &Row) -> bool;

pub struct Table {
    pub id: u32,
    pub name: String,
    layout: Arc<TableLayout>,
    encoder: RowEncoder,
    partial: Partial,
    /// By the first key of the row, so in primary key order.
    rows: BTreeMap<Vec<u8>, Row>,
}

impl Table {
    pub fn new(descriptors: &[Descriptor], table: &TableDescriptor, partial: Partial) -> Table {
        let raw: Vec<Vec<u8>> = descriptors.iter().map(Descriptor::encode).collect();
        let catalog = Catalog::new(raw.iter().map(Vec::as_slice)).unwrap();
        let layout = Arc::new(catalog.layout(table).unwrap());
        let encoder = RowEncoder::new(layout.clone()).unwrap();
        let name = catalog.full_name(table);
        Table { id: table.id(), name, layout, encoder, partial, rows: BTreeMap::new() }
    }

    /// The spans of all its indexes.
    pub fn spans(&self) -> Vec<Span> {
        let ids = std::iter::once(self.layout.primary.id).chain(self.layout.indexes.iter().map(|i| i.id));
        ids.map(|id| index_span(self.id, id)).collect()
    }

    fn pairs(&mut self, row: &Row) -> Pairs {
        let mut datums: Vec<Datum<'static>> = Vec::new();
        for (column, text) in self.layout.columns.iter().zip(row) {
            let Some(text) = text else {
                datums.push(Datum::Null);
                continue;
            };
            let datum = Datum::from_text(&column.ty, text)
                .unwrap_or_else(|e| panic!("{} {}: {text:?}: {e}", self.name, column.name));
            // What is expected after a restore is what stands in the sample, not what the codec makes of it.
            assert_eq!(datum.to_string_cast(&column.ty).unwrap().as_ref(), Some(text), "{}", column.name);
            datums.push(if column.is_virtual { Datum::Null } else { datum });
        }
        assert_eq!(datums.len(), self.layout.columns.len(), "{}", self.name);
        let mut pairs = Pairs::new();
        let mut keep = |key: &[u8], value: &[u8]| {
            pairs.insert(key.to_vec(), value.to_vec());
            Ok::<(), KvError>(())
        };
        self.encoder.primary(&datums, &mut keep).unwrap();
        for (at, index) in self.layout.indexes.iter().enumerate() {
            if !index.partial || (self.partial)(at, row) {
                self.encoder.index(at, &datums, &mut keep).unwrap();
            }
        }
        pairs
    }

    fn first_key(&mut self, row: &Row) -> Vec<u8> {
        let (start, end) = key::index_span(self.id, self.layout.primary.id);
        let pairs = self.pairs(row);
        pairs.range(start..end).next().map(|(key, _)| key.clone()).unwrap()
    }

    /// Inserts a row, or replaces the one with the same primary key.
    pub fn upsert(&mut self, store: &mut Store, at: Timestamp, row: Row) {
        let key = self.first_key(&row);
        let old = self.rows.get(&key).cloned().map(|old| self.pairs(&old)).unwrap_or_default();
        let new = self.pairs(&row);
        store.replace(&old, &new, at);
        self.rows.insert(key, row);
    }

    /// Deletes the rows for which `which` is true.
    pub fn delete(&mut self, store: &mut Store, at: Timestamp, which: impl Fn(&Row) -> bool) {
        let gone: Vec<(Vec<u8>, Row)> =
            self.rows.iter().filter(|(_, row)| which(row)).map(|(k, r)| (k.clone(), r.clone())).collect();
        for (key, row) in gone {
            let old = self.pairs(&row);
            store.replace(&old, &Pairs::new(), at);
            self.rows.remove(&key);
        }
    }

    /// Changes the rows for which `change` gives something.
    pub fn update(&mut self, store: &mut Store, at: Timestamp, change: impl Fn(&Row) -> Option<Row>) {
        let changed: Vec<Row> = self.rows.values().filter_map(change).collect();
        for row in changed {
            self.upsert(store, at, row);
        }
    }

    /// Statements that must give true: each index that holds every row has as many entries as there are rows.
    pub fn index_checks(&self) -> Vec<String> {
        let quoted: Vec<String> = self.name.splitn(3, '.').map(|part| format!("\"{part}\"")).collect();
        let whole = |index: &&IndexLayout| !index.partial && index.kind == IndexKind::Forward;
        std::iter::once(&self.layout.primary)
            .chain(self.layout.indexes.iter().filter(whole))
            .map(|index| {
                let (table, rows) = (quoted.join("."), self.rows.len());
                format!("SELECT count(*) = {rows} FROM {table}@\"{}\"", index.name)
            })
            .collect()
    }

    /// What `SELECT` must show, as the fixtures' dumps have it.
    pub fn jsonl(&self) -> String {
        let mut order: Vec<usize> = (0..self.layout.columns.len()).collect();
        order.sort_by_key(|&at| self.layout.columns[at].name.clone());
        let mut out = String::new();
        for row in self.rows.values() {
            let fields: Vec<String> = order
                .iter()
                .map(|&at| {
                    let value = row[at].as_ref().map_or("null".to_owned(), |text| json_string(text));
                    format!("{}: {value}", json_string(&self.layout.columns[at].name))
                })
                .collect();
            out += &format!("{{{}}}\n", fields.join(", "));
        }
        out
    }
}

/// Sets a sequence to a value.
pub fn set_sequence(store: &mut Store, id: u32, at: Timestamp, value: i64) {
    let mut key = index_span(id, 1).key;
    key.extend([0x88, 0x88]);
    let mut raw = Vec::new();
    envelope::begin(&mut raw, envelope::tag::INT);
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        raw.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    raw.push(zigzag as u8);
    envelope::seal(&key, &mut raw);
    store.put(&key, at, raw);
}
